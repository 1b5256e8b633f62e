//! The sweep's order, resumption and crash safety, on an engine without a model; and that both
//! strategies fill the same rows.

mod common;

use std::path::Path;
use std::sync::Arc;

use common::exact_options;
use midlayer::engine::{
    Engine, EngineError, Mock, Planned, Request, Session, Straightforward, Strategy, Tokenizer,
};
use midlayer::experiment::{
    Comparison, Grid, GridError, ModelIdentity, Outside, Spec, Treatment, Variant,
};
use midlayer::hook::Captured;
use midlayer::intervention::{Extent, Kind, Site, Target};
use midlayer::runtime::{Architecture, ContextOptions, RuntimeError, Synthetic, Token, Vocabulary};
use midlayer::store::{Machine, ResultRow, Store, StoreError, StoredRun};
use midlayer::sweep::{Prepared, Progress, SweepError, run};
use midlayer::tasks::{TaskName, TaskSpec};

fn spec(engine: &dyn Engine) -> Spec {
    let task = |task: TaskName, math: Option<u32>| TaskSpec {
        task,
        version: 1,
        limit: 4,
        shots: 2,
        chat: false,
        chat_date: None,
        parse_special: false,
        data: None,
        math_max: math,
        math_seed: math.map(u64::from),
        own: None,
    };
    Spec {
        model: ModelIdentity {
            sha256: "0".repeat(64),
            parts: vec![],
            hub: None,
            facts: engine.facts().clone(),
        },
        llama_cpp: "none".into(),
        devices: vec![],
        gpu_layers: None,
        context: ContextOptions::default(),
        strategy: Strategy::Straightforward,
        parallel: None,
        tasks: vec![
            task(TaskName::Capitals, None),
            task(TaskName::Math, Some(20)),
        ],
        manipulations: FIVE.to_vec(),
        layers: vec![0, 2, 3],
        left_out: Vec::new(),
        seeds: vec![1, 2],
        extent: Extent::Paper,
        tokens: "prior".into(),
        sites: vec![Site::Residual],
        manipulate_generated: true,
        from_step: 0,
        until: None,
        outside: Outside::default(),
    }
}

const FIVE: [Kind; 5] = [
    Kind::Freeze,
    Kind::Random,
    Kind::Shuffle,
    Kind::SkipAttention,
    Kind::Inject,
];

/// Stops the sweep, or fails the engine, after so many cells.
struct Stop(usize);

impl Progress for Stop {
    fn result(&mut self, _: TaskName, _: &str) {
        self.0 = self.0.saturating_sub(1);
    }
    fn stopped(&self) -> bool {
        self.0 == 0
    }
}

fn sweep(
    engine: &mut dyn Engine,
    folder: &Path,
    progress: &mut dyn Progress,
) -> Result<(), SweepError> {
    let variant = Variant::new(spec(engine)).unwrap();
    let mut store = Store::open(folder, std::slice::from_ref(&variant)).unwrap();
    let prepared = Prepared::new(variant, engine)?;
    run(
        &prepared,
        engine,
        &mut store.part(0),
        progress,
        &Comparison::Alone,
    )
    .map(|_| ())
}

fn rows(folder: &Path) -> Vec<ResultRow> {
    StoredRun::read(folder).unwrap().variants.remove(0).rows
}

/// What the grid of `spec` has: capitals with all five manipulations, math without inject.
const CAPITALS: usize = 2 + 2 + 6 + 6 + 3 + 3;
const MATH: usize = 2 + 2 + 6 + 6 + 3;

#[test]
fn the_grid_leaves_out_what_is_not_defined_and_says_so() {
    let spec = spec(&Mock::new(4));
    let grid = Grid::of(&spec).unwrap();
    assert_eq!(grid.tasks[0].1.len(), CAPITALS);
    assert_eq!(grid.tasks[1].1.len(), MATH);
    assert_eq!(
        grid.tasks[0].1[0].treatment,
        Treatment::Clean,
        "clean comes first"
    );
    assert_eq!(grid.notes.len(), 2);
    let only = |layers: &[u32], kinds: &[Kind], task: usize| Spec {
        layers: layers.to_vec(),
        manipulations: kinds.to_vec(),
        tasks: vec![spec.tasks[task].clone()],
        ..spec.clone()
    };
    assert!(matches!(
        Grid::of(&only(&[0], &[Kind::Freeze], 0)),
        Err(GridError::NoLayer {
            kind: Kind::Freeze,
            ..
        })
    ));
    assert!(matches!(
        Grid::of(&only(&[1], &[Kind::Inject], 1)),
        Err(GridError::NothingForTask(TaskName::Math))
    ));
}

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

#[test]
fn nothing_to_run_is_an_error_with_the_reasons() {
    let engine = Mock::new(4);
    let mut spec = spec(&engine);
    spec.context.n_ctx = 3;
    let math = TaskSpec {
        task: TaskName::Math,
        ..spec.tasks[0].clone()
    };
    spec.tasks = vec![math];
    let error = Prepared::new(Variant::new(spec).unwrap(), &engine).unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, SweepError::NoItem { .. }), "{text}");
    assert!(text.starts_with("math: no item can be used of "), "{text}");
    assert!(
        text.contains("it does not fit the context (`n_ctx`) ("),
        "{text}"
    );
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

/// A sweep by the planned strategy gives the rows of the straightforward one, for every task.
#[test]
fn both_strategies_give_the_same_rows() {
    let model = Arc::new(
        Synthetic {
            vocabulary: Vocabulary::Bytes,
            n_ctx: 2048,
            ..Synthetic::new(Architecture::Llama)
        }
        .build()
        .unwrap(),
    );
    let options = ContextOptions {
        n_ctx: 2048,
        n_batch: 2048,
        ..exact_options()
    };
    let folder = tempfile::tempdir().unwrap();
    let mut rows = Vec::new();
    for strategy in [Strategy::Straightforward, Strategy::Planned] {
        let mut engine: Box<dyn Engine> = match strategy {
            Strategy::Straightforward => {
                Box::new(Straightforward::new(model.clone(), &options).unwrap())
            }
            Strategy::Planned => Box::new(Planned::new(model.clone(), &options, 16).unwrap()),
        };
        let mut spec = spec(engine.as_ref());
        spec.strategy = strategy;
        spec.context = options.clone();
        spec.seeds = vec![1];
        for task in &mut spec.tasks {
            task.limit = 2;
            task.shots = 1;
        }
        for (task, limit) in [(TaskName::Squad, 1), (TaskName::CnnDailymail, 1)] {
            spec.tasks.push(TaskSpec {
                task,
                version: task.built_in().unwrap().version(),
                limit,
                shots: 0,
                chat: false,
                chat_date: None,
                parse_special: false,
                data: None,
                math_max: None,
                math_seed: None,
                own: None,
            });
        }
        let variant = Variant::new(spec).unwrap();
        let out = folder.path().join(strategy.to_string());
        let mut store = Store::open(&out, std::slice::from_ref(&variant)).unwrap();
        store.begin_session("test", &Machine::default()).unwrap();
        let prepared = Prepared::new(variant, engine.as_ref()).unwrap();
        run(
            &prepared,
            engine.as_mut(),
            &mut store.part(0),
            &mut (),
            &Comparison::Alone,
        )
        .unwrap();
        drop(store);
        let stored = StoredRun::read(&out).unwrap();
        assert_eq!(stored.fallbacks, 0);
        rows.extend(stored.variants.into_iter().map(|v| v.rows));
    }
    let [slow, fast] = &rows[..] else {
        panic!("two runs")
    };
    assert_eq!(slow.len(), fast.len());
    let generated = |row: &ResultRow| matches!(row.task, TaskName::Squad | TaskName::CnnDailymail);
    assert!(slow.iter().any(generated));
    for (a, b) in slow.iter().zip(fast) {
        let what = format!("{a:?} {b:?}");
        assert_eq!(
            (a.task, &a.item, a.cell.treatment),
            (b.task, &b.item, b.cell.treatment)
        );
        assert_eq!(
            (a.cell.layer, a.cell.seed, a.rank),
            (b.cell.layer, b.cell.seed, b.rank),
            "{what}"
        );
        assert_eq!(
            (a.correct, a.agrees, &a.answer),
            (b.correct, b.agrees, &b.answer),
            "{what}"
        );
        assert_eq!(a.score, b.score, "{what}");
        assert!(a.metrics.keys().eq(b.metrics.keys()), "{what}");
        for (of, theirs) in a.metrics.values().zip(b.metrics.values()) {
            assert!((of - theirs).abs() <= 2e-3, "{what}");
        }
        assert_eq!(a.modified_correct, b.modified_correct, "{what}");
        assert!((a.kl - b.kl).abs() < 1e-3, "{what}");
        // Answers of many tokens: the sum of as many differences.
        assert!((a.logprob - b.logprob).abs() < 1e-3 * 100.0, "{what}");
    }
}

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
