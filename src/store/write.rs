//! A run being written.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use rand::RngExt;
use rusqlite::{Connection, params};

use super::connection::{BESIDE, Journal, to_write};
use super::fresh;
use super::guard::{Guard, sorted, version};
use super::hold::{self, Hold};
use super::layout::complete;
use super::opened::Opened;
use super::scratch::{self, PUBLISHED_EVERY, Scratch};
use super::{DATABASE, Machine, Part, SCHEMA_VERSION, SHARDS, StoreError, database};
use crate::experiment::{Spec, Variant, labels};
use crate::intervention::{Kind, Value};

/// Which machines may have computed results of a run that is gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machines {
    /// Only such as this one: a run of one machine has the same settings throughout.
    Same,
    /// Any: the parts of a run are computed where there is room.
    Any,
}

/// How a run's folder is opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening<'a> {
    /// Which machines may have computed what it holds.
    pub machines: Machines,
    /// A folder of a disk of this machine where the results are while they are worked on. The
    /// run's folder gets them whole, every [`PUBLISHED_EVERY`](super::PUBLISHED_EVERY) and at the
    /// end.
    pub scratch: Option<&'a Path>,
}

/// A run's folder, held by this process alone.
pub struct Store {
    pub(super) folder: PathBuf,
    pub(super) db: Connection,
    /// The number of each variant's first cell.
    first_cells: Vec<i64>,
    /// Whether this session made the run, and whether it made the folder.
    fresh: bool,
    existed: bool,
    /// After the database, which must be closed before the folder is another's.
    pub(super) guard: Guard,
}

impl Store {
    /// Opens a run's folder: makes it, or resumes the run it holds if that has the same
    /// variants.
    ///
    /// # Errors
    /// [`StoreError`]; nothing is left behind when a new run cannot be begun.
    pub fn open(folder: &Path, variants: &[Variant]) -> Result<Self, StoreError> {
        let opening = Opening {
            machines: Machines::Same,
            scratch: None,
        };
        Self::open_by(folder, variants, opening)
    }

    /// The same, where other machines may have begun the run, or where the results are elsewhere
    /// while they are worked on.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_by(
        folder: &Path,
        variants: &[Variant],
        opening: Opening<'_>,
    ) -> Result<Self, StoreError> {
        let mut faults = variants.iter().filter_map(|v| v.spec.context.sabotage);
        if let Some(fault) = faults.next() {
            return Err(StoreError::Sabotaged(fault));
        }
        let io = |source| StoreError::of_io(folder, source);
        let existed = folder.exists();
        fs::create_dir_all(folder).map_err(io)?;
        let fresh = !folder.join(DATABASE).exists();
        // Where parts of the run lie, their reports and logs may, too.
        let parts = folder.join(SHARDS).is_dir();
        if fresh && !parts && fs::read_dir(folder).map_err(io)?.any(|e| !is_ours(&e)) {
            return Err(StoreError::Foreign(folder.to_path_buf()));
        }
        let hold = match Hold::take(folder) {
            Ok(hold) => hold,
            Err(error) => {
                if fresh && !error.is_about_another() {
                    remove_new(folder, existed, None);
                }
                return Err(error);
            }
        };
        match Self::open_database(folder, &hold, variants, opening) {
            Ok(Database {
                at,
                db,
                version,
                opened,
                scratch,
            }) => Ok(Self {
                guard: Guard::new(at, hold, scratch, version, opened),
                folder: folder.to_path_buf(),
                db,
                first_cells: first_cells(variants),
                fresh,
                existed,
            }),
            Err(error) => {
                if fresh {
                    remove_new(folder, existed, Some(hold));
                }
                Err(error)
            }
        }
    }

    fn open_database(
        folder: &Path,
        hold: &Hold,
        variants: &[Variant],
        opening: Opening<'_>,
    ) -> Result<Database, StoreError> {
        if hold.network().is_some() {
            fresh::settle(folder).map_err(|source| StoreError::of_io(folder, source))?;
        }
        scratch::remove_parts(folder);
        let scratch = match opening.scratch {
            Some(at) => Some(Scratch::new(at, folder)?),
            None => None,
        };
        let (at, journal) = match &scratch {
            Some(scratch) => (scratch.path().to_path_buf(), Journal::Rollback),
            None => (folder.to_path_buf(), Journal::of(hold)),
        };
        let fail = sorted(&at, scratch.is_some());
        let mut db = to_write(&at, journal).map_err(&fail)?;
        let begun: i64 = db
            .query_row(
                "SELECT count(*) FROM sqlite_master WHERE name = 'meta'",
                [],
                |row| row.get(0),
            )
            .map_err(&fail)?;
        if begun == 0 {
            create(&mut db, variants).map_err(&fail)?;
        }
        let stored = super::read::specs_of(&db, folder)?;
        if let Some(difference) = difference(&stored, variants, opening.machines) {
            return Err(StoreError::AnotherRun {
                folder: folder.to_path_buf(),
                difference,
            });
        }
        complete(&mut db).map_err(&fail)?;
        let version = version(&db).map_err(&fail)?;
        let opened = Opened::new(at.join(DATABASE));
        Ok(Database {
            opened: opened.map_err(|source| StoreError::of_io(&at, source))?,
            db,
            version,
            scratch,
            at: at.clone(),
        })
    }

    /// What the user should know of where the results lie.
    pub fn notice(&self) -> Option<String> {
        let folder = self.folder.display();
        if self.guard.is_scratch() {
            return Some(format!(
                "results are worked on in {}, and {folder} gets them every {} minutes and at the end; a run that is killed loses those since",
                self.guard.folder().display(),
                PUBLISHED_EVERY.as_secs() / 60
            ));
        }
        let system = self.guard.hold().network()?;
        Some(format!(
            "{folder} is on a file system that other machines may reach ({system}): the database has a rollback journal there, and {} says who works on it",
            hold::IN_USE
        ))
    }

    /// Gives the run's folder what is stored, where the results are elsewhere while they are worked
    /// on.
    ///
    /// # Errors
    /// [`StoreError`]; the folder is as it was then.
    pub fn publish(&mut self) -> Result<(), StoreError> {
        self.guard.publish()
    }

    /// Closes the run; its folder has all that is stored.
    ///
    /// # Errors
    /// [`StoreError::Unpublished`], which says where the results are; or that another process works
    /// on the run.
    pub fn close(self) -> Result<(), StoreError> {
        self.guard.close(self.db).map(drop)
    }

    /// Closes the run after a failure, and removes it if this session began it and it holds no
    /// item.
    ///
    /// # Errors
    /// As [`close`](Self::close).
    pub fn close_failed(self) -> Result<(), StoreError> {
        let items = self
            .db
            .query_row("SELECT count(*) FROM items", [], |row| row.get(0));
        let Self {
            folder,
            db,
            fresh,
            existed,
            guard,
            ..
        } = self;
        // What another has taken over, or put in its place, is not ours to remove.
        if fresh && items == Ok(0i64) && guard.check().is_ok() {
            drop(db);
            remove_new(&folder, existed, Some(guard.into_hold()));
            return Ok(());
        }
        guard.close(db).map(drop)
    }

    /// How many results are stored.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn results(&self) -> Result<usize, StoreError> {
        let count = "SELECT count(*) FROM results";
        let n: Result<i64, _> = self.db.query_row(count, [], |row| row.get(0));
        n.map(|n| n as usize).map_err(database(self.guard.folder()))
    }

    /// The run's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Notes that the program works on the run now.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn begin_session(&mut self, revision: &str, on: &Machine) -> Result<(), StoreError> {
        let token = format!("{:016x}", rand::rng().random::<u64>());
        self.guard.write(&mut self.db, |db| {
            db.execute(
                "INSERT INTO sessions
                     (started, revision, host, token, machine, processor, backend, threads)
                 VALUES (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'), ?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![
                    revision,
                    std::env::consts::ARCH,
                    token,
                    on.host,
                    on.processor,
                    on.backend,
                    on.threads
                ],
            )
            .map(drop)
        })
    }

    /// The part of the run that belongs to its `n`-th variant.
    ///
    /// # Panics
    /// When there is no such variant.
    pub fn part(&mut self, n: usize) -> Part<'_> {
        let first_cell = self.first_cells[n];
        Part::new(&mut self.db, &mut self.guard, n as i64, first_cell)
    }
}

/// A run's database, to be guarded.
struct Database {
    /// Its folder.
    at: PathBuf,
    db: Connection,
    version: i64,
    opened: Opened,
    scratch: Option<Scratch>,
}

/// What a run that was begun and cut off before its first commit may have left.
fn is_ours(entry: &std::io::Result<fs::DirEntry>) -> bool {
    let Ok(entry) = entry else {
        return false;
    };
    let name = entry.file_name();
    let beside = |suffix: &&str| name == *format!("{DATABASE}{suffix}");
    hold::is_ours(&name) || scratch::is_part(&name) || BESIDE.iter().any(beside)
}

/// Removes what opening a new run has made, and the folder if it was made too. It is held until
/// the rest is gone.
fn remove_new(folder: &Path, existed: bool, hold: Option<Hold>) {
    // Best effort: the error that led here is the one to report.
    for suffix in BESIDE.iter().chain(&[""]) {
        fs::remove_file(folder.join(format!("{DATABASE}{suffix}"))).ok();
    }
    scratch::remove_parts(folder);
    hold::remove(folder);
    drop(hold);
    if !existed {
        fs::remove_dir(folder).ok();
    }
}

/// The first difference between the variants of a run and those that are asked for.
fn difference(stored: &[(String, Spec)], asked: &[Variant], machines: Machines) -> Option<String> {
    if stored.len() != asked.len() {
        let (stored, now) = (stored.len(), asked.len());
        return Some(format!(
            "models and cache types: stored {stored}, now {now}"
        ));
    }
    let several = stored.len() > 1;
    let mut pairs = stored.iter().zip(asked);
    pairs.find_map(|((label, stored), asked)| {
        let difference = match machines {
            Machines::Same => stored.difference(&asked.spec),
            Machines::Any => stored.anywhere().difference(&asked.spec.anywhere()),
        }?;
        Some(if several {
            format!("{label}: {difference}")
        } else {
            difference
        })
    })
}

fn first_cells(variants: &[Variant]) -> Vec<i64> {
    let counts = variants.iter().map(|v| v.grid.cells().count() as i64);
    let sums = counts.scan(0, |next, n| {
        let first = *next;
        *next += n;
        Some(first)
    });
    sums.collect()
}

fn create(db: &mut Connection, variants: &[Variant]) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    transaction.execute_batch(include_str!("schema.sql"))?;
    transaction.execute(
        "INSERT INTO meta VALUES ('schema_version', ?1)",
        [SCHEMA_VERSION.to_string()],
    )?;
    let mut put_variant = transaction.prepare("INSERT INTO variants VALUES (?1, ?2, ?3)")?;
    let mut put_cell =
        transaction.prepare("INSERT INTO cells VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
    let specs: Vec<&Spec> = variants.iter().map(|variant| &variant.spec).collect();
    let labels = labels(&specs);
    let first_cells = first_cells(variants);
    for (n, variant) in variants.iter().enumerate() {
        let spec = serde_json::to_string(&variant.spec).expect("plain data");
        put_variant.execute(params![n as i64, labels[n], spec])?;
        for (cell, (task, of)) in (first_cells[n]..).zip(variant.grid.cells()) {
            let kind = of.treatment.kind();
            let name = kind.map_or_else(|| of.treatment.to_string(), |kind| kind.name().into());
            let layer = kind.map(|_| of.layer);
            let seed = kind.filter(|k| k.has_seed()).map(|_| of.seed as i64);
            let (task, parameters) = (task.to_string(), parameters(kind));
            let (variant, n) = (n as i64, cell);
            put_cell.execute(params![n, variant, task, name, parameters, layer, seed])?;
        }
    }
    drop((put_variant, put_cell));
    transaction.commit()
}

/// The parameters of a manipulation that are not its defaults, as JSON.
fn parameters(kind: Option<Kind>) -> String {
    let given: BTreeMap<&str, Value> = kind.into_iter().flat_map(Kind::given).collect();
    serde_json::to_string(&given).expect("plain data")
}
