//! Sweeps that stop when they know, on an engine without a model whose curves are known: what runs,
//! that a stopped sweep goes on as an undisturbed one, and what the report says of it.

mod common;

use std::collections::HashMap;
use std::path::Path;

use common::specs;
use midlayer::engine::{Engine, EngineError, Mock, Request, Session, Tokenizer};
use midlayer::experiment::{Amount, Comparison, Spec, Variant};
use midlayer::hook::{Captured, Touched};
use midlayer::intervention::{Kind, Target};
use midlayer::report::{Options, Report, markdown, terminal};
use midlayer::runtime::Token;
use midlayer::stats::{HalfWay, Margin, Until, Verdict};
use midlayer::store::{ResultRow, Store, StoredRun};
use midlayer::sweep::{Prepared, Progress, Summary, SweepError, run};
use midlayer::tasks::TaskName;

const LAYERS: u32 = 24;
const ITEMS: usize = 100;

/// A model that knows three capitals of four, and names them again from a layer up.
struct Stepped {
    mock: Mock,
    answers: HashMap<Vec<Token>, Token>,
    step: u32,
}

impl Stepped {
    fn new(step: u32) -> Self {
        let mut stepped = Stepped {
            mock: Mock::new(LAYERS),
            answers: HashMap::new(),
            step,
        };
        let variant = Variant::new(spec(&stepped.mock, Until::DEFAULT)).unwrap();
        let prepared = Prepared::new(variant, &stepped.mock).unwrap();
        for item in &prepared.tasks()[0].set.items {
            let answer = item.answer.tokens[0];
            stepped.answers.insert(item.prompt.tokens.clone(), answer);
        }
        stepped
    }
}

impl Engine for Stepped {
    fn tokenizer(&self) -> &dyn Tokenizer {
        self.mock.tokenizer()
    }
    fn start<'e>(&'e mut self, request: &Request) -> Result<Box<dyn Session + 'e>, EngineError> {
        let answer = self.answers.get(&request.tokens).copied();
        let layer = request
            .plan
            .first()
            .map(|intervention| intervention.layers.first);
        let knows = answer.is_some_and(|token| token.0 % 4 != 0);
        let right = knows && layer.is_none_or(|layer| layer >= self.step);
        let mut logits = self.mock.start(request)?.logits().to_vec();
        if let Some(answer) = answer {
            logits[answer.0 as usize] = if right { 50.0 } else { -50.0 };
        }
        Ok(Box::new(Held {
            tokenizer: &self.mock,
            logits,
        }))
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

/// A session that says the same whatever follows.
struct Held<'e> {
    tokenizer: &'e Mock,
    logits: Vec<f32>,
}

impl Session for Held<'_> {
    fn tokenizer(&self) -> &dyn Tokenizer {
        self.tokenizer
    }
    fn logits(&self) -> &[f32] {
        &self.logits
    }
    fn advance(&mut self, _: Token) -> Result<&[f32], EngineError> {
        Ok(&self.logits)
    }
    fn back(&mut self) -> Result<(), EngineError> {
        Ok(())
    }
    fn touched(&self) -> &[Touched] {
        &[]
    }
}

fn spec(engine: &dyn Engine, until: Until) -> Spec {
    Spec {
        tasks: vec![specs::task(TaskName::Capitals, ITEMS, 0)],
        manipulations: vec![Kind::Freeze, Kind::Random],
        layers: (0..LAYERS).collect(),
        seeds: vec![1, 2],
        until: Some(until),
        ..specs::of(engine.facts().clone())
    }
}

/// Stops, or has no time left, after so many results.
struct Stop {
    left: usize,
    spends: bool,
}

impl Progress for Stop {
    fn result(&mut self, _: TaskName, _: &str) {
        self.left = self.left.saturating_sub(1);
    }
    fn stopped(&self) -> bool {
        self.left == 0 && !self.spends
    }
    fn spent(&self) -> bool {
        self.left == 0 && self.spends
    }
}

fn sweep(folder: &Path, step: u32, progress: &mut dyn Progress) -> Result<Summary, SweepError> {
    let mut engine = Stepped::new(step);
    let variant = Variant::new(spec(&engine, Until::DEFAULT)).unwrap();
    let mut store = Store::open(folder, std::slice::from_ref(&variant)).unwrap();
    let prepared = Prepared::new(variant, &engine)?;
    run(
        &prepared,
        &mut engine,
        &mut store.part(0),
        progress,
        &Comparison::Alone,
    )
}

fn rows(folder: &Path) -> Vec<ResultRow> {
    StoredRun::read(folder).unwrap().variants.remove(0).rows
}

#[test]
fn it_finds_the_step_with_a_part_of_the_cells() {
    let folder = tempfile::tempdir().unwrap();
    sweep(folder.path(), 17, &mut ()).unwrap();
    let stored = StoredRun::read(folder.path()).unwrap();
    assert_eq!(stored.missing(), None, "it is complete");
    let cells = (LAYERS as usize - 1) + 2 * LAYERS as usize;
    let full = ITEMS * cells;
    let swept = stored.variants[0].rows.len();
    assert!(swept * 100 < full * 40, "{swept} of {full}");
    let report = Report::new(&stored, Options::default());
    for finding in &report.findings {
        let HalfWay::At(found) = &finding.half_way else {
            panic!("{:?}", finding.half_way);
        };
        assert!((16.0..17.0).contains(&found.layer), "{found:?}");
        assert!(found.high - found.low <= 0.5 && finding.decided);
        assert_eq!(finding.ignorable.from, Some(17));
    }
    let text = terminal(&report, Some(80));
    assert!(text.contains("97%"), "{text}");
    assert!(
        text.contains("From layer 17 up it can be ignored"),
        "{text}"
    );
    assert!(!text.contains("INCOMPLETE") && !markdown(&report).contains("NaN"));
}

#[test]
fn stopped_anywhere_it_goes_on_as_if_undisturbed() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let all = sweep(&whole, 17, &mut ()).unwrap();
    let expected = rows(&whole);
    assert_eq!(all.results, expected.len());
    for (n, left) in [1, 60, 400, expected.len() / 2, expected.len() * 2 / 3]
        .into_iter()
        .enumerate()
    {
        let cut = folder.path().join(format!("cut-{left}"));
        let spends = n % 2 == 0;
        let stopped = sweep(&cut, 17, &mut Stop { left, spends });
        match stopped {
            Ok(summary) => assert!(spends && summary.spent),
            Err(error) => assert!(!spends && matches!(error, SweepError::Interrupted)),
        }
        let stored = StoredRun::read(&cut).unwrap();
        let kept = stored.variants[0].rows.len();
        assert!(kept < expected.len() && stored.missing().is_some());
        let report = Report::new(&stored, Options::default());
        assert!(
            !report.findings.iter().all(|finding| finding.decided) || report.findings.is_empty()
        );
        assert!(terminal(&report, Some(80)).contains("INCOMPLETE"));
        let summary = sweep(&cut, 17, &mut ()).unwrap();
        assert_eq!(summary.resumed, kept);
        assert_eq!(rows(&cut), expected, "{left}");
        assert_eq!(summary.windows, all.windows);
        // Once more: there is nothing left to do.
        let again = sweep(&cut, 17, &mut ()).unwrap();
        assert_eq!((again.results, again.resumed), (0, expected.len()));
    }
}

/// Counts what is announced.
#[derive(Default)]
struct Told {
    steps: Vec<(Amount, Amount)>,
    stored: usize,
    unit: usize,
}

impl Progress for Told {
    fn step(&mut self, all: Amount, stored: Amount, told: &str) {
        assert!(told.contains("of 2 manipulations decided"), "{told}");
        self.steps.push((all, stored));
    }
    fn unit(&mut self, amount: Amount) {
        self.unit = amount.results;
    }
    fn stored(&mut self) {
        self.stored += self.unit;
    }
}

#[test]
fn each_step_is_announced_before_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut told = Told::default();
    let summary = sweep(folder.path(), 17, &mut told).unwrap();
    assert!(told.steps.len() >= 4, "{:?}", told.steps);
    assert_eq!(told.stored, summary.results);
    let last = told.steps.last().unwrap();
    assert_eq!(last.0.results, summary.results);
    for pair in told.steps.windows(2) {
        assert_eq!(
            pair[1].1.results, pair[0].0.results,
            "a step is stored whole"
        );
    }
}

/// Two models swept one after the other: the second at the first one's layers too.
#[test]
fn models_are_compared_over_the_same_cells() {
    let folder = tempfile::tempdir().unwrap();
    let mut engines: Vec<Stepped> = [17, 17, 19].map(Stepped::new).into();
    let variants: Vec<Variant> = ["Q8_0", "Q4_0", "Q2_K"]
        .iter()
        .zip(&engines)
        .map(|(level, engine)| {
            let mut spec = spec(engine, Until::DEFAULT);
            spec.model.facts.quantization = (*level).into();
            Variant::new(spec).unwrap()
        })
        .collect();
    let mut store = Store::open(folder.path(), &variants).unwrap();
    let mut comparison = Comparison::First;
    for (n, variant) in variants.iter().enumerate() {
        let engine = &mut engines[n];
        let prepared = Prepared::new(variant.clone(), engine).unwrap();
        let part = &mut store.part(n);
        let summary = run(&prepared, engine, part, &mut (), &comparison).unwrap();
        if n == 0 {
            comparison = Comparison::With(summary.windows);
        }
    }
    drop(store);
    let stored = StoredRun::read(folder.path()).unwrap();
    let report = Report::new(&stored, Options::default());
    assert_eq!(report.differences.len(), 4);
    for row in &report.differences {
        let (apart, verdict) = match row.variant.0 {
            1 => (0.0, Verdict::Same),
            _ => (2.0, Verdict::Different),
        };
        assert_eq!(row.verdict, verdict, "{row:?}");
        assert!(
            row.difference.items >= 25 && (row.difference.layers - apart).abs() < 0.6,
            "{row:?}"
        );
    }
}

/// What decides is the margin that the sweep was told of.
#[test]
fn a_wider_margin_is_reached_lower() {
    let folder = tempfile::tempdir().unwrap();
    let mut engine = Stepped::new(17);
    let until = Until {
        half_way: None,
        ignorable: Some(Margin::Points(0.3)),
    };
    let variant = Variant::new(spec(&engine, until)).unwrap();
    let mut store = Store::open(folder.path(), std::slice::from_ref(&variant)).unwrap();
    let prepared = Prepared::new(variant, &engine).unwrap();
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
    // Another margin of the report's changes nothing.
    let options = Options {
        margin: Margin::Points(0.01),
        threshold: None,
    };
    let report = Report::new(&stored, options);
    let text = markdown(&report);
    assert!(text.contains("loss at most 30 points from layer"), "{text}");
    for finding in &report.findings {
        assert_eq!(finding.ignorable.margin, Margin::Points(0.3));
        assert_eq!(finding.ignorable.from, Some(17));
        assert!(
            (finding.level - 0.95).abs() < 1e-9,
            "one look at the half-way layer"
        );
    }
}
