//! Databases of results: a whole one, and what no run would write.

use std::path::{Path, PathBuf};

use midlayer::store::DATABASE;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rusqlite::Connection;

use crate::common::place::Place;
use crate::mutate;

/// A run of two variants and two tasks, in one file. Its model knows nothing, so some answers
/// are made right: half-way layers need them.
pub fn whole() -> Vec<u8> {
    let place = Place::new();
    place
        .run("sweep -m tiny.gguf -t 1 --task capitals,math --shots 1 --limit 12 --cache-type f16,f32 \
              --manipulate freeze,random,inject --seed 1,2 --layers 1-3 --out run")
        .success();
    let path = place.path("run").join(DATABASE);
    let db = Connection::open(&path).unwrap();
    db.execute_batch(
        "UPDATE results SET score = 1, correct = 1 WHERE (item * 7 + cell * 5) % 3 > 0;
         UPDATE results SET score = 1, correct = 1
             WHERE cell IN (SELECT cell FROM cells WHERE layer IS NULL);
         PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode = DELETE;",
    )
    .unwrap();
    drop(db);
    std::fs::read(path).unwrap()
}

/// Makes a database the one of a run, in a folder of its own beside it.
pub fn as_run(file: &Path) -> PathBuf {
    let folder = file.with_extension("run");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(file, folder.join(DATABASE)).unwrap();
    folder
}

/// Columns of the tables that reports read, and what to put there.
const COLUMNS: [(&str, &str); 30] = [
    ("results", "score"),
    ("results", "score"),
    ("results", "score"),
    ("results", "correct"),
    ("results", "metrics"),
    ("results", "agrees"),
    ("results", "answer"),
    ("results", "logprob"),
    ("results", "rank"),
    ("results", "kl"),
    ("results", "kl"),
    ("results", "argmax_text"),
    ("results", "modified_correct"),
    ("cells", "task"),
    ("cells", "manipulation"),
    ("cells", "layer"),
    ("cells", "layer"),
    ("cells", "layer"),
    ("cells", "seed"),
    ("items", "task"),
    ("items", "name"),
    ("items", "answer"),
    ("items", "modified_answer"),
    ("items", "cut"),
    ("noise_floor", "mean_kl"),
    ("noise_floor", "prompts"),
    ("variants", "label"),
    ("sessions", "started"),
    ("sessions", "fallbacks"),
    ("meta", "value"),
];

const VALUES: [&str; 22] = [
    "0",
    "-1",
    "1",
    "0.5",
    "9e999",
    "-9e999",
    "1e308",
    "-1e308",
    "5e-324",
    "255",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "-9223372036854775808",
    "NULL",
    "''",
    "'squad'",
    "'clean'",
    "'{\"f1\": 1e400}'",
    "'a | b' || char(10) || '<svg>' || char(0) || char(127)",
    "x'ff00'",
    "hex(zeroblob(3000))",
];

/// A database with a few values changed, rows gone, or specifications damaged.
pub fn with_hostile_values(whole: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(DATABASE);
    std::fs::write(&path, whole).unwrap();
    let db = Connection::open(&path).unwrap();
    db.execute_batch("PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF;")
        .unwrap();
    for _ in 0..rng.random_range(1..=5) {
        let (table, column) = COLUMNS[rng.random_range(0..COLUMNS.len())];
        let value = VALUES[rng.random_range(0..VALUES.len())];
        let part = match rng.random_range(0..4) {
            0 => "1".to_string(),
            1 => format!("abs(random() % {}) = 0", rng.random_range(2..9)),
            _ => format!("rowid % {} = 0", rng.random_range(1..5)),
        };
        // Tables without row ids, of which all rows are meant then.
        let part = match table {
            "results" => part.replace("rowid", "(item + cell)"),
            "noise_floor" => "1".into(),
            _ => part,
        };
        // Not random: an input must follow from its number.
        let part = part.replace("random()", "item");
        let part = if table == "results" || !part.contains("item") {
            part
        } else {
            "1".into()
        };
        let statement = match rng.random_range(0..12) {
            0 => format!("DELETE FROM {table} WHERE {part}"),
            1 if table == "sessions" => "DROP TABLE left_out".into(),
            _ => format!("UPDATE OR REPLACE {table} SET {column} = {value} WHERE {part}"),
        };
        // What the table's types refuse stays as it is.
        let _ = db.execute_batch(&statement);
    }
    if rng.random_bool(0.5) {
        let spec: String = db
            .query_row("SELECT spec FROM variants LIMIT 1", [], |row| row.get(0))
            .unwrap_or_default();
        let spec = specification(&spec, rng);
        let _ = db.execute("UPDATE variants SET spec = ?1", [spec]);
    }
    drop(db);
    std::fs::read(&path).unwrap()
}

/// A specification with a number, or any byte, changed.
fn specification(spec: &str, rng: &mut ChaCha8Rng) -> String {
    if rng.random_bool(0.3) {
        let bytes = mutate::bytes(spec.as_bytes(), rng);
        return String::from_utf8_lossy(&bytes).into_owned();
    }
    let mut value: serde_json::Value = serde_json::from_str(spec).unwrap_or_default();
    let numbers = [0u64, 1, 2, 255, 65536, u32::MAX.into(), u64::MAX];
    let number = numbers[rng.random_range(0..numbers.len())];
    let keys = [
        "/n_layer",
        "/n_embd",
        "/n_params",
        "/bytes",
        "/context/n_ctx",
        "/from_step",
        "/tasks/0/limit",
        "/seeds/0",
        "/layers/0",
    ];
    if let Some(place) = value.pointer_mut(keys[rng.random_range(0..keys.len())]) {
        *place = number.into();
    }
    if let Some(tasks) = value.pointer_mut("/tasks").and_then(|t| t.as_array_mut()) {
        match rng.random_range(0..4) {
            0 => tasks.clear(),
            1 => tasks.extend(tasks.clone()),
            _ => {}
        }
    }
    value.to_string()
}
