//! What a run's database holds, asked in SQL and of a copy, so that nothing is changed by looking.

use std::path::Path;

use midlayer::store::DATABASE;
use rusqlite::types::Value;
use rusqlite::{Connection, params};
use tempfile::TempDir;

/// A copy of a run's database with what has not been taken into it yet; `None` where there is
/// none.
pub struct Copy {
    pub db: Connection,
    _folder: TempDir,
}

impl Copy {
    pub fn of(run: &Path) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        for suffix in ["", "-wal", "-journal"] {
            let name = format!("{DATABASE}{suffix}");
            let copied = std::fs::copy(run.join(&name), folder.path().join(&name));
            if suffix.is_empty() && copied.is_err() {
                return None;
            }
        }
        let db = Connection::open(folder.path().join(DATABASE)).unwrap();
        Some(Self {
            db,
            _folder: folder,
        })
    }

    /// Items stored; none in a database that is not begun.
    pub fn items(&self) -> i64 {
        let count = "SELECT count(*) FROM items";
        self.db.query_row(count, [], |row| row.get(0)).unwrap_or(0)
    }

    /// What `PRAGMA integrity_check` and `PRAGMA foreign_key_check` say.
    pub fn integrity(&self) -> String {
        let broken = "SELECT count(*) FROM pragma_foreign_key_check";
        let broken: i64 = self.db.query_row(broken, [], |row| row.get(0)).unwrap();
        assert_eq!(broken, 0, "rows without what they refer to");
        let check = "PRAGMA integrity_check";
        self.db.query_row(check, [], |row| row.get(0)).unwrap()
    }

    /// Results stored more than once, by the names of what they are results of.
    pub fn doubled(&self) -> i64 {
        let doubled = "SELECT count(*) FROM (
            SELECT 1 FROM results JOIN items USING (item) JOIN cells USING (cell)
            GROUP BY items.variant, items.task, name, manipulation, layer, seed
            HAVING count(*) > 1)";
        self.db.query_row(doubled, [], |row| row.get(0)).unwrap()
    }

    /// Every row of every table but when the program worked on the run, by names.
    pub fn dump(&self) -> Vec<Vec<Value>> {
        let queries = [
            "SELECT * FROM variants",
            "SELECT * FROM noise_floor",
            "SELECT * FROM cells",
            "SELECT * FROM touched",
            "SELECT * FROM left_out",
            "SELECT variant, task, name, prompt, prompt_sha256, answer, donor, modified_answer, cut
             FROM items",
            "SELECT items.variant, items.task, name, manipulation, layer, seed, score, correct,
                    metrics, agrees, results.answer, logprob, rank, kl, argmax, argmax_text,
                    modified_correct, modified_logprob
             FROM results JOIN items USING (item) JOIN cells USING (cell)",
        ];
        queries.iter().flat_map(|query| self.table(query)).collect()
    }

    fn table(&self, query: &str) -> Vec<Vec<Value>> {
        let mut query = self.db.prepare(query).unwrap();
        let columns = query.column_count();
        let rows = query.query_map(params![], |row| (0..columns).map(|n| row.get(n)).collect());
        let mut rows: Vec<Vec<Value>> = rows.unwrap().collect::<Result<_, _>>().unwrap();
        rows.sort_by_key(|row| format!("{row:?}"));
        rows
    }
}
