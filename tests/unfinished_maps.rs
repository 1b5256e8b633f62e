//! Maps that were stopped go on: what is there is not run again, and what is of another question is
//! not taken.

mod common;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use common::around::{Around, Done, Watch, anatomy};
use common::place::Place;
use common::tiny::{CLOSE, N_LAYER, engine, model, prompt};
use midlayer::engine::{
    DonorStates, Engine, EngineError, Prompt, Request, Straightforward, donor_states,
};
use midlayer::hook::Anatomy;
use midlayer::intervention::{Extent, Kind, PositionSet, Site, States};
use midlayer::maps::{
    Corruption, Down, Followed, Map, Measure, Question, Says, Steps, Unfinished, draw, draw_on,
    draw_steps, draw_steps_on,
};
use midlayer::runtime::{Architecture, Token};

const TOKENS: i32 = 12;

/// Counts the runs.
#[derive(Default)]
struct Counting(usize);

impl Watch for Counting {
    fn run_all(
        &mut self,
        engine: &mut Straightforward,
        requests: &[Request],
        done: &mut Done<'_>,
    ) -> Result<(), EngineError> {
        self.0 = requests.len();
        engine.run_all(requests, done)
    }
}

fn counting() -> Around<Counting> {
    Around::new(Counting::default())
}

fn question(prompt: &Prompt) -> Question<'_> {
    Question {
        prompt,
        kind: "random".parse().unwrap(),
        states: None,
        sites: vec![Site::Residual],
        seeds: vec![1, 2],
        layers: (0..N_LAYER).collect(),
        positions: (0..TOKENS as u32 - 1).collect(),
        down: Down::Tokens,
        corrupted: None,
        measure: Measure::LogProbability(Followed(vec![Token(40)])),
    }
}

fn whole(_: &Map, _: usize, _: usize) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// Draws until so many cells are there, as a program that is killed then.
fn begun(out: &Path, anatomy: &Anatomy, question: &Question<'_>, cells: usize) {
    let mut unfinished = Unfinished::beside(out, "a model").unwrap();
    let told = &mut |_: &Map, done: usize, _| match done < cells {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    };
    let kept = Some(&mut unfinished);
    let stopped = draw_on(&mut counting(), anatomy, question, kept, told);
    assert!(matches!(stopped, Err(EngineError::Stopped)));
}

#[test]
fn a_map_goes_on_where_it_was_stopped() {
    const CELLS: usize = 17;
    let (prompt, anatomy) = (prompt(TOKENS), anatomy());
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("map.svg");
    let mut engine = engine(Architecture::Llama);
    let moves: Vec<(u32, u32)> = (0..TOKENS as u32 - 1).map(|at| (at, at)).collect();
    let own = donor_states(&mut engine, &prompt, &moves, &[Site::Residual]).unwrap();
    let restored = Question {
        kind: Kind::Inject,
        states: Some(own),
        corrupted: Some(Corruption {
            kind: "add-noise".parse().unwrap(),
            layer: 0,
            positions: PositionSet::ranges([5..7]),
        }),
        ..question(&prompt)
    };
    for question in [question(&prompt), restored] {
        let mut all = counting();
        let undisturbed = draw(&mut all, &anatomy, &question, &mut whole).unwrap();
        begun(&out, &anatomy, &question, CELLS);
        // The last line is cut off, as by a crash.
        let file = folder.path().join("map.svg.unfinished");
        let text = fs::read_to_string(&file).unwrap();
        fs::write(&file, &text[..text.len() - 9]).unwrap();
        begun(&out, &anatomy, &question, CELLS + 3);

        let mut unfinished = Unfinished::beside(&out, "a model").unwrap();
        assert_eq!(unfinished.cells(&question), CELLS + 3);
        let mut rest = counting();
        let mut counts = Vec::new();
        let told = &mut |_: &Map, done, _| {
            counts.push(done);
            ControlFlow::Continue(())
        };
        let kept = Some(&mut unfinished);
        let map = draw_on(&mut rest, &anatomy, &question, kept, told).unwrap();
        let cells = (TOKENS as usize - 1) * N_LAYER as usize;
        assert_eq!(counts, (1..=cells).collect::<Vec<_>>());
        let saved = all.watch.0 - rest.watch.0;
        // Two seeds a cell, and the controls among them.
        assert!(
            (2 * (CELLS + 3)..3 * (CELLS + 3)).contains(&saved),
            "{saved}"
        );
        assert_eq!(map.values.len(), undisturbed.values.len());
        let pairs = map
            .values
            .iter()
            .flatten()
            .zip(undisturbed.values.iter().flatten());
        for (a, b) in pairs {
            let (a, b) = (a.unwrap(), b.unwrap());
            assert!((a - b).abs() < f64::from(CLOSE), "{a} is not {b}");
        }
        // What comes next as well, texts included.
        let (says, expected) = (map.says.unwrap(), undisturbed.says.unwrap());
        let texts = |says: &Says| -> Vec<(Token, String)> {
            let next = says.cells.iter().flatten().flatten();
            next.map(|next| (next.token, next.text.clone())).collect()
        };
        assert_eq!(texts(&says), texts(&expected));
        unfinished.finish().unwrap();
        assert!(!file.exists());
    }
}

#[test]
fn cells_of_another_question_are_not_taken() {
    let (prompt, anatomy) = (prompt(TOKENS), anatomy());
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("map.svg");
    let asked = question(&prompt);
    begun(&out, &anatomy, &asked, 9);
    let cells = |source: &str, question: &Question<'_>| {
        let unfinished = Unfinished::beside(&out, source).unwrap();
        unfinished.cells(question)
    };
    assert_eq!(cells("a model", &asked), 9);
    assert_eq!(cells("another", &asked), 0);
    let mut tokens = prompt.tokens.clone();
    tokens[3] = Token(90);
    let changed = Prompt::new("", tokens, |_| Vec::new());
    let width = model(Architecture::Llama).facts().n_embd as usize;
    let injected = |value: f32| {
        let mut states = States::new();
        states.insert(1, 2, vec![value; width]);
        let mut all = DonorStates::default();
        all.put(Site::Residual, Arc::new(states));
        Question {
            kind: Kind::Inject,
            states: Some(all),
            layers: vec![1],
            positions: vec![2],
            ..asked.clone()
        }
    };
    let others = [
        question(&changed),
        Question {
            kind: Kind::Zero,
            ..asked.clone()
        },
        Question {
            seeds: vec![1, 3],
            ..asked.clone()
        },
        Question {
            layers: vec![0, 1],
            ..asked.clone()
        },
        Question {
            positions: vec![0, 1],
            ..asked.clone()
        },
        Question {
            sites: vec![Site::MlpOut],
            ..asked.clone()
        },
        Question {
            down: Down::Heads(4),
            ..asked.clone()
        },
        Question {
            measure: Measure::Kl,
            ..asked.clone()
        },
        injected(0.5),
    ];
    for (n, other) in others.iter().enumerate() {
        assert_eq!(cells("a model", other), 0, "{n}");
    }
    // States count by what they hold.
    begun(&out, &anatomy, &injected(0.5), 1);
    let found = [0.5, 0.25].map(|value| cells("a model", &injected(value)));
    assert_eq!(found, [1, 0]);
}

/// A map of steps goes on as well.
#[test]
fn a_map_of_steps_goes_on() {
    const CELLS: usize = 5;
    let (prompt, anatomy) = (prompt(TOKENS), anatomy());
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("steps.svg");
    let asked = Steps {
        prompt: &prompt,
        followed: Followed([40, 41, 42, 43].map(Token).to_vec()),
        steps: vec![0, 2, 3],
        kind: "random".parse().unwrap(),
        states: None,
        sites: vec![Site::Residual],
        extent: Extent::Paper,
        seeds: vec![1, 2],
        layers: (0..N_LAYER).collect(),
        tokens: PositionSet::all(),
        kl: false,
    };
    let mut all = counting();
    let undisturbed = draw_steps(&mut all, &anatomy, &asked, &mut whole).unwrap();
    for to in [CELLS, CELLS + 2] {
        let mut unfinished = Unfinished::beside(&out, "a model").unwrap();
        let told = &mut |_: &Map, done: usize, _| match done < to {
            true => ControlFlow::Continue(()),
            false => ControlFlow::Break(()),
        };
        let kept = Some(&mut unfinished);
        let stopped = draw_steps_on(&mut counting(), &anatomy, &asked, kept, told);
        assert!(matches!(stopped, Err(EngineError::Stopped)));
    }
    let mut unfinished = Unfinished::beside(&out, "a model").unwrap();
    assert_eq!(unfinished.cells(&asked), CELLS + 2);
    let others = [
        Steps {
            steps: vec![0, 2],
            ..asked.clone()
        },
        Steps {
            followed: Followed([40, 41, 42, 44].map(Token).to_vec()),
            ..asked.clone()
        },
        Steps {
            extent: Extent::Only,
            ..asked.clone()
        },
        Steps {
            tokens: PositionSet::ranges([0..9]),
            ..asked.clone()
        },
        Steps {
            kl: true,
            ..asked.clone()
        },
    ];
    assert!(others.iter().all(|other| unfinished.cells(other) == 0));
    let mut rest = counting();
    let mut counts = Vec::new();
    let told = &mut |_: &Map, done, _| {
        counts.push(done);
        ControlFlow::Continue(())
    };
    let kept = Some(&mut unfinished);
    let map = draw_steps_on(&mut rest, &anatomy, &asked, kept, told).unwrap();
    assert_eq!(counts, (1..=3 * N_LAYER as usize).collect::<Vec<_>>());
    let saved = all.watch.0 - rest.watch.0;
    let two_seeds = 2 * (CELLS + 2);
    assert!(
        (two_seeds..3 * (CELLS + 2)).contains(&saved),
        "{saved}, with the controls among them"
    );
    let cells = |map: &Map| -> Vec<f64> {
        let cells = map.values.iter().flatten();
        cells.map(|value| value.unwrap()).collect()
    };
    let close = |a: f64, b: f64| (a - b).abs() < f64::from(CLOSE);
    let pairs = cells(&map).into_iter().zip(cells(&undisturbed));
    assert!(pairs.into_iter().all(|(a, b)| close(a, b)));
    assert!(close(map.clean, undisturbed.clean) && close(map.floor, undisturbed.floor));
}

/// A map that is written leaves nothing else behind.
#[test]
fn a_finished_map_leaves_its_file_alone() {
    let place = Place::new();
    let line = "map -m tiny.gguf -p abcdefgh --answer i --layers 1-2 --out m.csv -t 1";
    place.run(line).success();
    place
        .run("map -m tiny.gguf --task capitals --limit 2 --shots 0 --layers 1 --out t.csv")
        .success();
    assert!(place.path("m.csv").exists() && !place.path("m.csv.unfinished").exists());
    assert!(place.path("t.csv").exists() && !place.path("t.csv.unfinished").exists());
    place
        .run("map -m tiny.gguf -p abcdefgh --steps 0-2 --generate 4 --out s.csv")
        .success();
    assert!(place.path("s.csv").exists() && !place.path("s.csv.unfinished").exists());
}
