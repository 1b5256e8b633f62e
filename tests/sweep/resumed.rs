//! Sweeps that are stopped, or fail, and go on.

use std::path::Path;

use midlayer::engine::{Engine, EngineError, Mock, Request, Session, Tokenizer};
use midlayer::experiment::{Comparison, Spec, Variant};
use midlayer::hook::Captured;
use midlayer::intervention::{Kind, Target};
use midlayer::runtime::{RuntimeError, Token};
use midlayer::store::{Store, StoreError, StoredRun};
use midlayer::sweep::{Prepared, Progress, SweepError, run};
use midlayer::tasks::TaskName;

use super::{CAPITALS, MATH, Stop, rows, spec, sweep};

#[test]
fn stopped_anywhere_a_sweep_resumes_to_the_same_rows_in_the_same_order() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    sweep(&mut Mock::new(4), &whole, &mut ()).unwrap();
    let expected = rows(&whole);
    assert!(expected.len() > 4 * (CAPITALS - 3 + MATH));
    for cells in [1, CAPITALS, CAPITALS + 1, 3 * CAPITALS, 4 * CAPITALS + MATH] {
        let cut = folder.path().join(format!("cut-{cells}"));
        let stopped = sweep(&mut Mock::new(4), &cut, &mut Stop(cells));
        assert!(matches!(stopped, Err(SweepError::Interrupted)));
        let kept = rows(&cut);
        assert_eq!(kept, expected[..kept.len()], "whole items only, in order");
        let mut engine = Mock::new(4);
        sweep(&mut engine, &cut, &mut ()).unwrap();
        assert_eq!(rows(&cut), expected, "{cells}");
        let floor = engine.runs - (expected.len() - kept.len());
        assert_eq!(floor, 0, "no cell is run twice, the floor is measured once");
    }
}

/// A specification under which an item alone is more than a unit: its cells are divided.
fn large_items(engine: &dyn Engine) -> Spec {
    let mut spec = spec(engine);
    spec.manipulations = vec![Kind::Freeze, Kind::Random, Kind::Inject];
    spec.seeds = (1..=800).collect();
    spec.tasks.iter_mut().for_each(|task| task.limit = 2);
    spec
}

#[test]
fn an_item_s_cells_are_divided_and_stopped_anywhere_it_ends_with_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let sweep = |out: &Path, engine: &mut Mock, progress: &mut dyn Progress| {
        let variant = Variant::new(large_items(engine)).unwrap();
        let mut store = Store::open(out, std::slice::from_ref(&variant)).unwrap();
        let prepared = Prepared::new(variant, engine).unwrap();
        run(
            &prepared,
            engine,
            &mut store.part(0),
            progress,
            &Comparison::Alone,
        )
    };
    let whole = folder.path().join("whole");
    sweep(&whole, &mut Mock::new(4), &mut ()).unwrap();
    let expected = rows(&whole);
    let each = expected.iter().filter(|r| r.task == TaskName::Math).count() / 2;
    for results in [1, each / 2, each - 1, each, 3 * each] {
        let cut = folder.path().join(format!("cut-{results}"));
        let stopped = sweep(&cut, &mut Mock::new(4), &mut Stop(results));
        assert!(matches!(stopped, Err(SweepError::Interrupted)));
        let kept = rows(&cut);
        assert!(kept.len() >= results, "what was computed is stored");
        assert_eq!(kept, expected[..kept.len()], "whole units, in order");
        let mut engine = Mock::new(4);
        let summary = sweep(&cut, &mut engine, &mut ()).unwrap();
        assert_eq!(summary.resumed, kept.len());
        assert_eq!(rows(&cut), expected, "{results}");
        // The clean run of what was begun is computed once more, to compare with.
        assert!(engine.runs - (expected.len() - kept.len()) < 8);
    }
}

/// What is stored of an item that lacks cells of a manipulation is in no table.
#[test]
fn half_items_are_kept_and_not_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = Mock::new(4);
    let variant = Variant::new(large_items(&engine)).unwrap();
    let mut store = Store::open(folder.path(), std::slice::from_ref(&variant)).unwrap();
    store.note_command("midlayer sweep").unwrap();
    let prepared = Prepared::new(variant, &engine).unwrap();
    let stopped = run(
        &prepared,
        &mut engine,
        &mut store.part(0),
        &mut Stop(1),
        &Comparison::Alone,
    );
    assert!(matches!(stopped, Err(SweepError::Interrupted)));
    drop(store);
    let stored = StoredRun::read(folder.path()).unwrap();
    let missing = stored.missing().unwrap();
    let all = prepared.amount().results;
    assert_eq!(missing.planned, Some(all));
    assert_eq!(missing.stored, stored.variants[0].rows.len());
    // Clean, clean again and freeze are whole, random is not.
    let counted = stored.variants[0].counted();
    assert_eq!(counted.len(), 2 + 2);
    assert_eq!(missing.uncounted, missing.stored - counted.len());
    assert!(missing.uncounted > 1000);
    let text = {
        let report = midlayer::report::Report::new(&stored, Default::default());
        midlayer::report::terminal(&report, Some(200))
    };
    let of = format!("{} of {all} results are stored", missing.stored);
    assert!(text.contains("INCOMPLETE") && text.contains(&of), "{text}");
    assert!(text.contains("math: no result is stored yet"), "{text}");
    assert!(!text.contains("NaN") && !text.contains("random"), "{text}");
}

/// Takes the database away once so many results are computed.
struct Thief<'p>(usize, &'p Path);

impl Progress for Thief<'_> {
    fn result(&mut self, _: TaskName, _: &str) {
        self.0 = self.0.wrapping_sub(1);
        if self.0 == 0 {
            std::fs::rename(self.1, self.1.with_extension("taken")).unwrap();
        }
    }
}

#[test]
fn a_database_that_is_taken_away_is_missed_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = Mock::new(4);
    let database = folder.path().join(midlayer::store::DATABASE);
    let error = sweep(
        &mut engine,
        folder.path(),
        &mut Thief(CAPITALS + 1, &database),
    );
    let error = error.unwrap_err();
    let gone = matches!(&error, SweepError::Store(StoreError::Gone(path)) if *path == database);
    assert!(gone, "{error}");
    assert!(error.to_string().contains("`out`"));
}

/// An engine that fails at its n-th run.
struct Fragile {
    mock: Mock,
    left: usize,
}

impl Engine for Fragile {
    fn tokenizer(&self) -> &dyn Tokenizer {
        self.mock.tokenizer()
    }
    fn start<'e>(&'e mut self, request: &Request) -> Result<Box<dyn Session + 'e>, EngineError> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or(RuntimeError::CacheFull { n_ctx: 7 })?;
        self.mock.start(request)
    }
    fn captured(
        &mut self,
        tokens: &[Token],
        first_position: u32,
        targets: &[Target],
    ) -> Result<Captured, EngineError> {
        self.mock.captured(tokens, first_position, targets)
    }
}

#[test]
fn a_failing_engine_loses_only_the_item_at_hand() {
    let folder = tempfile::tempdir().unwrap();
    let mut fragile = Fragile {
        mock: Mock::new(4),
        left: 100,
    };
    let error = sweep(&mut fragile, folder.path(), &mut ()).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, SweepError::Item { .. }), "{text}");
    assert!(text.starts_with("capitals, item "), "{text}");
    let kept = rows(folder.path()).len();
    assert!(kept > 0 && kept < 100);
    sweep(&mut Mock::new(4), folder.path(), &mut ()).unwrap();
}
