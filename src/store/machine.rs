//! What results were computed on.

use std::fmt;

use rusqlite::Connection;

use super::holder::host;
use super::layout::has_column;

/// What a session computed on. Between two that differ, results differ by rounding.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Machine {
    /// The machine's name.
    pub host: String,
    /// Its processor.
    pub processor: String,
    /// What computes: `CPU`, or a GPU's backend with its name.
    pub backend: String,
    /// Threads.
    pub threads: u32,
}

impl Machine {
    /// This machine.
    pub fn here(processor: &str, backend: &str, threads: u32) -> Self {
        Self {
            host: host(),
            processor: processor.into(),
            backend: backend.into(),
            threads,
        }
    }

    /// Whether results are the same to the last bit, as far as the machine decides.
    pub fn is_like(&self, other: &Self) -> bool {
        let of = |machine: &Self| {
            let named = (machine.processor.clone(), machine.backend.clone());
            (named, machine.threads)
        };
        of(self) == of(other)
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            processor,
            backend,
            threads,
        } = self;
        let s = if *threads == 1 { "" } else { "s" };
        write!(f, "{host}: {processor}, {backend}, {threads} thread{s}")
    }
}

/// How many results were computed on which machine; results of sessions that do not say are left
/// out.
pub(super) fn machines(db: &Connection) -> rusqlite::Result<Vec<(Machine, usize)>> {
    if !has_column(db, "results", "session")? {
        return Ok(Vec::new());
    }
    let count = "SELECT machine, processor, backend, threads, sum(n)
                 FROM (SELECT session, count(*) AS n FROM results GROUP BY session)
                 JOIN sessions USING (session) WHERE machine IS NOT NULL
                 GROUP BY machine, processor, backend, threads";
    let counted = |row: &rusqlite::Row<'_>| {
        let machine = Machine {
            host: row.get(0)?,
            processor: row.get(1)?,
            backend: row.get(2)?,
            threads: row.get(3)?,
        };
        Ok((machine, row.get::<_, i64>(4)? as usize))
    };
    db.prepare(count)?.query_map([], counted)?.collect()
}
