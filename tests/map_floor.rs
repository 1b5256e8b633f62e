//! The noise floor of a map: what rounding does among its cells, not before them.

mod common;

use std::ops::ControlFlow;

use common::around::{Around, Done, Watch, anatomy};
use common::tiny::{CLOSE, N_LAYER, engine, prompt};
use midlayer::engine::{Engine, EngineError, Prompt, Request, Straightforward, donor_states};
use midlayer::hook::Anatomy;
use midlayer::intervention::{Extent, Intervention, Kind, PositionSet, Site};
use midlayer::maps::{Corruption, Down, Followed, Map, Measure, Question, Steps, draw, draw_steps};
use midlayer::runtime::{Architecture, Token};

const TOKENS: i32 = 24;
const ANSWER: Token = Token(40);

/// An engine whose rounding grows with what has run before: after `n` cells all logits but the
/// first are larger by `n` times [`STEP`].
#[derive(Default)]
struct Rounding {
    /// Whether each request rewrites a state by itself.
    controls: Vec<bool>,
    /// How many cells had run before the last control.
    reached: usize,
}

const STEP: f32 = 0.01;

fn is_control(plan: &[Intervention]) -> bool {
    plan.last()
        .is_some_and(|last| last.action.kind() == Some(Kind::control()))
}

impl Watch for Rounding {
    fn run_all(
        &mut self,
        engine: &mut Straightforward,
        requests: &[Request],
        done: &mut Done<'_>,
    ) -> Result<(), EngineError> {
        self.controls = requests.iter().map(|one| is_control(&one.plan)).collect();
        let controls = self.controls.clone();
        let first = controls.iter().position(|control| *control).unwrap();
        let (mut cells, mut reached) = (0, 0);
        let ran = engine.run_all(requests, &mut |n, mut outcome| {
            match controls[n] {
                true => reached = cells,
                false => cells += usize::from(n > first),
            }
            for logit in &mut outcome.logits[1..] {
                *logit += STEP * cells as f32;
            }
            done(n, outcome)
        });
        self.reached = reached;
        ran
    }
}

fn question(prompt: &Prompt) -> Question<'_> {
    Question {
        prompt,
        kind: Kind::Zero,
        states: None,
        sites: vec![Site::Residual],
        seeds: vec![1],
        layers: (0..N_LAYER).collect(),
        positions: (0..TOKENS as u32 - 1).collect(),
        down: Down::Tokens,
        corrupted: None,
        // Of the answer's logit less that of the token that rounding leaves alone.
        measure: Measure::LogitDifference(Followed(vec![ANSWER]), vec![Followed(vec![Token(0)])]),
    }
}

fn drawn(engine: &mut dyn Engine, anatomy: &Anatomy, question: &Question<'_>) -> Map {
    let told = &mut |_: &Map, _, _| ControlFlow::Continue(());
    draw(engine, anatomy, question, told).unwrap()
}

/// Where rounding depends on what runs besides, the floor is that of the cells.
#[test]
fn controls_travel_among_the_cells() {
    let prompt = prompt(TOKENS);
    let mut rounding = Around::new(Rounding::default());
    let anatomy = anatomy();
    let map = drawn(&mut rounding, &anatomy, &question(&prompt));
    let cells = (TOKENS as usize - 1) * N_LAYER as usize;
    // The last control comes when nearly all cells have run, and the floor tells what it saw.
    assert!(
        rounding.watch.reached > cells * 9 / 10,
        "{} of {cells}",
        rounding.watch.reached
    );
    let expected = f64::from(STEP) * rounding.watch.reached as f64;
    assert!(
        (map.floor - expected).abs() < f64::from(CLOSE),
        "{} is not {expected}",
        map.floor
    );
    // They are a few, and lie evenly.
    let among = &rounding.watch.controls[2..];
    let n = among.iter().filter(|control| **control).count();
    assert!((12..=24).contains(&n), "{n} controls");
    let gaps = among.split(|control| *control).map(<[bool]>::len);
    let longest = gaps.max().unwrap();
    assert!(
        longest <= cells.div_ceil(n) + 1,
        "{longest} cells without a control"
    );
}

/// A small map has controls among its cells, too.
#[test]
fn a_small_map_has_a_control_among_its_cells() {
    let prompt = prompt(TOKENS);
    let mut rounding = Around::new(Rounding::default());
    let anatomy = anatomy();
    let small = Question {
        layers: vec![1],
        positions: vec![3, 4],
        ..question(&prompt)
    };
    let map = drawn(&mut rounding, &anatomy, &small);
    let controls = rounding
        .watch
        .controls
        .iter()
        .filter(|control| **control)
        .count();
    assert_eq!(
        (rounding.watch.controls.len(), controls),
        (5, 2),
        "one before, one among two"
    );
    let expected = f64::from(STEP) * 2.0;
    assert!(
        (map.floor - expected).abs() < f64::from(CLOSE),
        "{}",
        map.floor
    );
}

/// Where a map restores, a control is corrupted as its cells are.
#[test]
fn controls_are_corrupted_as_cells_are() {
    let prompt = prompt(TOKENS);
    let mut whole = engine(Architecture::Llama);
    let anatomy = anatomy();
    let moves: Vec<(u32, u32)> = (0..TOKENS as u32 - 1).map(|at| (at, at)).collect();
    let states = donor_states(&mut whole, &prompt, &moves, &[Site::Residual]).unwrap();
    let restored = Question {
        kind: Kind::Inject,
        states: Some(states),
        seeds: vec![1, 2],
        corrupted: Some(Corruption {
            kind: "add-noise".parse().unwrap(),
            layer: 0,
            positions: PositionSet::ranges([5..9]),
        }),
        ..question(&prompt)
    };
    let map = drawn(&mut whole, &anatomy, &restored);
    let lost = (map.clean - map.corrupted.unwrap()).abs();
    assert!(lost > 10.0 * f64::from(CLOSE), "{lost}");
    // Of the first seed alone, and the seeds differ.
    assert!(map.floor < f64::from(CLOSE), "{}", map.floor);
}

/// A map of steps has its controls among its cells as well.
#[test]
fn controls_travel_among_the_cells_of_steps() {
    let prompt = prompt(TOKENS);
    let mut rounding = Around::new(Rounding::default());
    let question = Steps {
        prompt: &prompt,
        followed: Followed((40..52).map(Token).collect()),
        steps: (0..12).collect(),
        kind: Kind::Zero,
        states: None,
        sites: vec![Site::Residual],
        extent: Extent::Paper,
        seeds: vec![1],
        layers: (0..N_LAYER).collect(),
        tokens: PositionSet::all(),
        kl: false,
    };
    let told = &mut |_: &Map, _, _| ControlFlow::Continue(());
    draw_steps(&mut rounding, &anatomy(), &question, told).unwrap();
    let cells = question.steps.len() * N_LAYER as usize;
    // Each step's clean run comes before.
    let among = &rounding.watch.controls[question.steps.len()..];
    let n = among.iter().filter(|control| **control).count();
    assert_eq!((among.len(), n), (cells + 24, 24));
    let gaps = among.split(|control| *control).map(<[bool]>::len);
    assert!(gaps.max().unwrap() <= 3);
}
