//! The sweep's order, resumption and crash safety, on an engine without a model; and that both
//! strategies fill the same rows.

#[path = "../common/mod.rs"]
mod common;

mod resumed;
mod stored;

use std::path::Path;
use std::sync::Arc;

use common::{exact_options, specs};
use midlayer::engine::{Engine, Mock, Planned, Straightforward, Strategy};
use midlayer::experiment::{Comparison, Grid, GridError, Spec, Treatment, Variant};
use midlayer::intervention::Kind;
use midlayer::runtime::{Architecture, ContextOptions, Synthetic, Vocabulary};
use midlayer::store::{Machine, ResultRow, Store, StoredRun};
use midlayer::sweep::{Prepared, Progress, SweepError, run};
use midlayer::tasks::{TaskName, TaskSpec};

fn spec(engine: &dyn Engine) -> Spec {
    let math = TaskSpec {
        math_max: Some(20),
        math_seed: Some(20),
        ..specs::task(TaskName::Math, 4, 2)
    };
    Spec {
        tasks: vec![specs::task(TaskName::Capitals, 4, 2), math],
        manipulations: FIVE.to_vec(),
        layers: vec![0, 2, 3],
        seeds: vec![1, 2],
        ..specs::of(engine.facts().clone())
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
                version: task.built_in().unwrap().version(),
                ..specs::task(task, limit, 0)
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
