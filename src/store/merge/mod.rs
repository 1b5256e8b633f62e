//! One run of several parts: their union by key, verified.
//!
//! All parts are taken in within one transaction, one after another and row by row: memory does
//! not grow with them, and a merge that is refused or killed leaves what was there before.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Transaction, params_from_iter};

mod facts;

use facts::firsts;

use super::connection::{Reading, to_read};
use super::layout::has_column;
use super::notes::OfShard;
use super::read::specs_of;
use super::rows::parameters;
use super::{Machines, Notes, Opening, Store, StoreError, database};
use crate::experiment::{GridError, Spec, Variant};

/// What came of a merge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// The parts, in the order in which they were taken in.
    pub parts: Vec<Taken>,
    /// Results of the merged run.
    pub stored: usize,
    /// Results of the complete run, where that is known.
    pub planned: Option<usize>,
}

/// A part that was taken in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its folder.
    pub folder: PathBuf,
    /// Which part it is, if it says.
    pub shard: Option<OfShard>,
    /// Its results.
    pub results: usize,
    /// Those of them that were not there before.
    pub new: usize,
}

/// Takes parts of a run into the run in `out`, which is begun where there is none. What is there
/// already stays; the parts are not written to, and may be worked on meanwhile.
///
/// # Errors
/// [`StoreError`]: a part of another run, a result that two parts have with other numbers. `out`
/// is as it was then.
pub fn merge(out: &Path, parts: &[PathBuf]) -> Result<Merged, StoreError> {
    let mut specs = None;
    for part in parts {
        // One that is only being begun has nothing yet.
        match specs_of(&*to_read(part)?, part) {
            Err(StoreError::NotBegun(_)) => {}
            found => {
                specs = Some((part, found?));
                break;
            }
        }
    }
    let Some((first, specs)) = specs else {
        return Ok(Merged::default());
    };
    let of = |(_, spec): (String, Spec)| Variant::new(spec);
    let variants: Result<Vec<Variant>, GridError> = specs.into_iter().map(of).collect();
    let variants = variants.map_err(|error| StoreError::Damaged {
        folder: first.clone(),
        what: format!("its specification is none: {error}"),
    })?;
    let anywhere = Opening {
        machines: Machines::Any,
        scratch: None,
    };
    let mut store = Store::open_by(out, &variants, anywhere)?;
    let taken = store.guard.carry_out(&mut store.db, |db| {
        let firsts = RefCell::new(firsts(db).map_err(database(out))?);
        let taken = parts
            .iter()
            .map(|part| Merging::new(out, db, part, &firsts)?.take());
        taken.collect::<Result<Vec<_>, _>>()
    });
    let parts = match taken {
        Ok(parts) => parts,
        Err(error) => {
            store.close_failed()?;
            return Err(error);
        }
    };
    let notes = Notes::of(&store.db).map_err(database(out))?;
    let variants = (0i64..).zip(&variants);
    let planned = variants.map(|(n, variant)| notes.planned(n, &variant.spec).results);
    Ok(Merged {
        parts,
        planned: planned.sum(),
        stored: store.results()?,
    })
}

/// A part being taken in.
struct Merging<'m> {
    out: &'m Path,
    db: &'m Transaction<'m>,
    folder: &'m Path,
    part: Reading,
    /// The first item that has a result under each cell of the run, without this part.
    firsts: &'m RefCell<HashMap<i64, i64>>,
}

/// What tells a result apart, and what it says.
const NUMBERS: &str = "score, correct, metrics, agrees, answer, logprob, rank, kl, argmax, \
                       argmax_text, modified_correct, modified_logprob";

const ITEM: &str = "prompt, prompt_sha256, answer, donor, modified_answer, cut";

impl<'m> Merging<'m> {
    fn new(
        out: &'m Path,
        db: &'m Transaction<'m>,
        folder: &'m Path,
        firsts: &'m RefCell<HashMap<i64, i64>>,
    ) -> Result<Self, StoreError> {
        let part = to_read(folder)?;
        // All of it as it is at one moment, whoever writes meanwhile.
        part.execute_batch("BEGIN").map_err(database(folder))?;
        Ok(Self {
            out,
            db,
            folder,
            part,
            firsts,
        })
    }

    fn take(&self) -> Result<Taken, StoreError> {
        if let Err(StoreError::NotBegun(folder)) = specs_of(&self.part, self.folder) {
            return Ok(Taken {
                folder,
                shard: None,
                results: 0,
                new: 0,
            });
        }
        let notes = Notes::of(&self.part).map_err(database(self.folder))?;
        self.check()?;
        self.notes(&notes)?;
        let sessions = self.of_out(self.sessions())?;
        self.of_out(self.facts())?;
        let items = self.items()?;
        let (results, new, firsts) = self.results(&items, &sessions)?;
        self.of_out(self.touched(&firsts))?;
        Ok(Taken {
            folder: self.folder.to_path_buf(),
            shard: notes.shard(),
            results,
            new,
        })
    }

    /// Errors of either database, told as those of the merged one: the part's own have been met
    /// when it was opened and its specification read.
    fn of_out<T>(&self, result: rusqlite::Result<T>) -> Result<T, StoreError> {
        result.map_err(database(self.out))
    }

    fn refuse<T>(&self, difference: String) -> Result<T, StoreError> {
        Err(StoreError::AnotherPart {
            part: self.folder.to_path_buf(),
            out: self.out.to_path_buf(),
            difference,
        })
    }

    /// That it is of the same run.
    fn check(&self) -> Result<(), StoreError> {
        let (ours_all, theirs_all) = (
            specs_of(self.db, self.out)?,
            specs_of(&self.part, self.folder)?,
        );
        let (ours, theirs) = (ours_all.len(), theirs_all.len());
        if ours != theirs {
            return self.refuse(format!(
                "models and cache types: stored {ours}, now {theirs}"
            ));
        }
        for ((label, ours), (_, theirs)) in ours_all.iter().zip(&theirs_all) {
            if let Some(difference) = ours.anywhere().difference(&theirs.anywhere()) {
                return self.refuse(match theirs_all.len() {
                    1 => difference,
                    _ => format!("{label}: {difference}"),
                });
            }
        }
        let cells = |db: &Connection| -> rusqlite::Result<Vec<Vec<Value>>> {
            let parameters = parameters(db)?;
            let query = format!(
                "SELECT cell, variant, task, manipulation, {parameters}, layer, seed FROM cells ORDER BY cell"
            );
            let mut query = db.prepare(&query)?;
            let rows = query.query_map([], |row| (0..7).map(|n| row.get(n)).collect())?;
            rows.collect()
        };
        let ours = self.of_out(cells(self.db))?;
        if ours != cells(&self.part).map_err(database(self.folder))? {
            return self.refuse(
                "its cells are numbered in another way, as by another version of midlayer".into(),
            );
        }
        Ok(())
    }

    /// The items. Returns those that have another number here, with it.
    fn items(&self) -> Result<HashMap<i64, i64>, StoreError> {
        let mut renumbered = HashMap::new();
        let select = format!("SELECT item, variant, task, name, {ITEM} FROM items ORDER BY item");
        let mut query = self.of_out(self.part.prepare(&select))?;
        let mut rows = self.of_out(query.query([]))?;
        let find = format!(
            "SELECT item, {ITEM} FROM items WHERE variant = ?1 AND task = ?2 AND name = ?3"
        );
        let mut find = self.of_out(self.db.prepare(&find))?;
        let mut put = self.of_out(self.db.prepare(
            "INSERT INTO items (item, variant, task, name, prompt, prompt_sha256, answer, donor,
                 modified_answer, cut)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) ON CONFLICT DO NOTHING",
        ))?;
        while let Some(row) = self.of_out(rows.next())? {
            let theirs: rusqlite::Result<Vec<Value>> = (0..10).map(|n| row.get(n)).collect();
            let mut theirs = self.of_out(theirs)?;
            let item = theirs[0].clone();
            let mut look = || {
                let stored = find.query_row(params_from_iter(&theirs[1..4]), |row| {
                    let rest: rusqlite::Result<Vec<Value>> = (1..7).map(|n| row.get(n)).collect();
                    Ok((row.get::<_, i64>(0)?, rest?))
                });
                self.of_out(stored.optional())
            };
            let mut stored = look()?;
            if stored.is_none() {
                self.of_out(put.execute(params_from_iter(&theirs)))?;
                stored = look()?;
            }
            if stored.is_none() {
                // Its number is another item's.
                theirs[0] = Value::Null;
                self.of_out(put.execute(params_from_iter(&theirs)))?;
                let number = self.db.last_insert_rowid();
                stored = Some((number, theirs[4..].to_vec()));
            }
            let Some((number, ours)) = stored else {
                continue;
            };
            if ours != theirs[4..] {
                let name = format!("{}, item {}", text(&theirs[2]), text(&theirs[3]));
                return self.refuse(format!("{name} has another prompt or answer"));
            }
            if item != Value::Integer(number)
                && let Value::Integer(item) = item
            {
                renumbered.insert(item, number);
            }
        }
        Ok(renumbered)
    }

    /// The results: how many there are, how many were not there before, and the first item under
    /// each cell.
    fn results(
        &self,
        items: &HashMap<i64, i64>,
        sessions: &HashMap<i64, i64>,
    ) -> Result<(usize, usize, HashMap<i64, i64>), StoreError> {
        let session = match self.of_out(has_column(&self.part, "results", "session"))? {
            true => "session",
            false => "NULL",
        };
        let select =
            format!("SELECT item, cell, {NUMBERS}, {session} FROM results ORDER BY item, cell");
        let mut query = self.of_out(self.part.prepare(&select))?;
        let mut rows = self.of_out(query.query([]))?;
        let put = format!(
            "INSERT INTO results (item, cell, {NUMBERS}, session)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             ON CONFLICT DO NOTHING"
        );
        let mut put = self.of_out(self.db.prepare(&put))?;
        let find = format!("SELECT {NUMBERS} FROM results WHERE item = ?1 AND cell = ?2");
        let mut find = self.of_out(self.db.prepare(&find))?;
        let (mut all, mut new, mut firsts) = (0, 0, HashMap::new());
        while let Some(row) = self.of_out(rows.next())? {
            let values: rusqlite::Result<Vec<Value>> = (0..15).map(|n| row.get(n)).collect();
            let mut values = self.of_out(values)?;
            renumber(&mut values[0], items);
            renumber(&mut values[14], sessions);
            all += 1;
            if let (Value::Integer(item), Value::Integer(cell)) = (&values[0], &values[1]) {
                let first = firsts.entry(*cell).or_insert(*item);
                *first = (*first).min(*item);
            }
            if self.of_out(put.execute(params_from_iter(&values)))? == 1 {
                new += 1;
                continue;
            }
            let stored = find.query_row(params_from_iter(&values[..2]), |row| {
                (0..12)
                    .map(|n| row.get(n))
                    .collect::<Result<Vec<Value>, _>>()
            });
            let stored = self.of_out(stored)?;
            if stored != values[2..14] {
                return Err(self.two(&values, &stored)?);
            }
        }
        Ok((all, new, firsts))
    }

    /// A result that is stored with other numbers.
    fn two(&self, theirs: &[Value], ours: &[Value]) -> Result<StoreError, StoreError> {
        let name = "SELECT items.task, name, manipulation, layer, seed
                    FROM items JOIN cells USING (variant, task) WHERE item = ?1 AND cell = ?2";
        let name = self
            .db
            .query_row(name, params_from_iter(&theirs[..2]), |row| {
                (0..5)
                    .map(|n| row.get(n))
                    .collect::<Result<Vec<Value>, _>>()
            });
        let name = self.of_out(name)?;
        let mut result = format!(
            "{}, item {}, {}",
            text(&name[0]),
            text(&name[1]),
            text(&name[2])
        );
        for (what, value) in [("layer", &name[3]), ("seed", &name[4])] {
            if *value != Value::Null {
                result.push_str(&format!(", {what} {}", text(value)));
            }
        }
        let names = NUMBERS.split(", ").map(str::trim);
        let pairs = names.zip(ours.iter().zip(&theirs[2..]));
        let apart = pairs.filter(|(_, (ours, theirs))| ours != theirs);
        let (mut stored, mut found) = (Vec::new(), Vec::new());
        for (name, (ours, theirs)) in apart {
            stored.push(format!("{name} {}", text(ours)));
            found.push(format!("{name} {}", text(theirs)));
        }
        Ok(StoreError::TwoResults {
            part: self.folder.to_path_buf(),
            out: self.out.to_path_buf(),
            result,
            stored: stored.join(", "),
            found: found.join(", "),
        })
    }
}

fn renumber(value: &mut Value, numbers: &HashMap<i64, i64>) {
    if let Value::Integer(n) = value
        && let Some(number) = numbers.get(n)
    {
        *n = *number;
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "none".into(),
        Value::Integer(n) => n.to_string(),
        Value::Real(x) => x.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(_) => "bytes".into(),
    }
}
