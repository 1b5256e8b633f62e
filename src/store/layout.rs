//! What databases of older layouts are given when they are gone on with.

use rusqlite::{Connection, Transaction};

use super::SCHEMA_VERSION;

/// Columns that a table has since layout 5.
const ADDED: [(&str, &str, &str); 6] = [
    ("results", "session", "INTEGER REFERENCES sessions"),
    ("sessions", "token", "TEXT"),
    ("sessions", "machine", "TEXT"),
    ("sessions", "processor", "TEXT"),
    ("sessions", "backend", "TEXT"),
    ("sessions", "threads", "INTEGER"),
];

/// Whether a table has a column.
pub(super) fn has_column(db: &Connection, table: &str, column: &str) -> rusqlite::Result<bool> {
    let count = "SELECT count(*) FROM pragma_table_info(?1) WHERE name = ?2";
    let n: i64 = db.query_row(count, [table, column], |row| row.get(0))?;
    Ok(n > 0)
}

/// Gives the tables what they lack. Nothing that is stored changes.
pub(super) fn complete(db: &mut Connection) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    for (table, column, kind) in ADDED {
        if !has_column(&transaction, table, column)? {
            add(&transaction, table, column, kind)?;
        }
    }
    let noted = "UPDATE meta SET value = ?1 WHERE key = 'schema_version' AND value != ?1";
    transaction.execute(noted, [SCHEMA_VERSION.to_string()])?;
    transaction.commit()
}

fn add(db: &Transaction<'_>, table: &str, column: &str, kind: &str) -> rusqlite::Result<()> {
    db.execute_batch(&format!("ALTER TABLE {table} ADD COLUMN {column} {kind}"))
}
