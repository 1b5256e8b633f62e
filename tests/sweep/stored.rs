//! What is stored of a cell, in this schema and in the older one.

use std::path::Path;

use midlayer::engine::{Engine, Mock};
use midlayer::experiment::{Comparison, Variant};
use midlayer::intervention::Kind;
use midlayer::store::{Store, StoredRun};
use midlayer::sweep::{Prepared, SweepError, run};

use super::{CAPITALS, Stop, rows, spec, sweep};

/// A specification with two scales, which are told apart by their parameters alone.
fn scales(engine: &dyn Engine) -> Variant {
    let mut spec = spec(engine);
    spec.manipulations = vec![Kind::Scale, Kind::Scale.with("factor", "2").unwrap()];
    Variant::new(spec).unwrap()
}

#[test]
fn cells_keep_their_parameters() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = Mock::new(4);
    let variant = scales(&engine);
    let mut store = Store::open(folder.path(), std::slice::from_ref(&variant)).unwrap();
    let prepared = Prepared::new(variant.clone(), &engine).unwrap();
    run(
        &prepared,
        &mut engine,
        &mut store.part(0),
        &mut (),
        &Comparison::Alone,
    )
    .unwrap();
    drop(store);
    let stored = StoredRun::read(folder.path()).unwrap();
    let kinds = |kind: &Kind| {
        let rows = stored.variants[0].rows.iter();
        rows.filter(|r| r.cell.treatment.kind() == Some(*kind))
            .count()
    };
    let both = &variant.spec.manipulations;
    assert_eq!(both.iter().map(kinds).collect::<Vec<_>>(), [24, 24]);
    assert_eq!(
        stored.variants[0].counted().len(),
        stored.variants[0].rows.len()
    );
    let db = rusqlite::Connection::open(folder.path().join(midlayer::store::DATABASE)).unwrap();
    let named = "SELECT count(DISTINCT parameters) FROM cells
                 WHERE manipulation = 'scale' AND parameters IN ('{}', '{\"factor\":2.0}')";
    let n: i64 = db.query_row(named, [], |row| row.get(0)).unwrap();
    assert_eq!(n, 2);
    let report = midlayer::report::Report::new(&stored, Default::default());
    let table = midlayer::report::terminal(&report, Some(200));
    assert!(table.contains("scale:factor=2"), "{table}");
    let mut other = variant.clone();
    other.spec.manipulations.pop();
    assert!(Store::open(folder.path(), &[other]).is_err(), "another run");
}

/// What a midlayer of schema 3 wrote: cells without parameters.
fn make_old(folder: &Path) {
    let db = rusqlite::Connection::open(folder.join(midlayer::store::DATABASE)).unwrap();
    db.execute_batch(
        "PRAGMA foreign_keys = OFF;
         CREATE TABLE old (
             cell INTEGER PRIMARY KEY, variant INTEGER NOT NULL REFERENCES variants,
             task TEXT NOT NULL, manipulation TEXT NOT NULL, layer INTEGER, seed INTEGER,
             UNIQUE (variant, task, manipulation, layer, seed)
         ) STRICT;
         INSERT INTO old SELECT cell, variant, task, manipulation, layer, seed FROM cells;
         DROP TABLE cells;
         ALTER TABLE old RENAME TO cells;
         UPDATE meta SET value = '3' WHERE key = 'schema_version';",
    )
    .unwrap();
}

#[test]
fn runs_of_the_older_schema_are_read_and_gone_on_with() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    sweep(&mut Mock::new(4), &whole, &mut ()).unwrap();
    let expected = rows(&whole);
    let cut = folder.path().join("cut");
    let stopped = sweep(&mut Mock::new(4), &cut, &mut Stop(CAPITALS + 1));
    assert!(matches!(stopped, Err(SweepError::Interrupted)));
    make_old(&cut);
    let kept = rows(&cut);
    assert_eq!(kept, expected[..kept.len()]);
    sweep(&mut Mock::new(4), &cut, &mut ()).unwrap();
    assert_eq!(rows(&cut), expected);
    let stored = StoredRun::read(&cut).unwrap();
    assert_eq!(stored.variants[0].counted().len(), expected.len());
}
