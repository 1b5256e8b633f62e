//! Maps: every cell against a run asked for by hand and computed whole, what restoring must give
//! back, and that both strategies agree.

mod common;

use std::ops::ControlFlow;

use common::attentive;
use common::tiny::{CLOSE, FAR, N_LAYER, engine, model, options, prompt, tokens};
use midlayer::engine::{
    DonorStates, Engine, Outcome, Planned, Prompt, Request, donor_states, kl, log_softmax,
};
use midlayer::hook::Anatomy;
use midlayer::intervention::{Intervention, Kind, LayerSpan, PositionSet, Site};
use midlayer::maps::{Corruption, Down, Followed, Form, Map, Measure, Picture, Question, draw};
use midlayer::runtime::{Architecture, Token};
use parquet::file::reader::{FileReader, SerializedFileReader};

const TOKENS: i32 = 12;
const ANSWER: Token = Token(40);
const FOIL: Token = Token(17);

fn planned(architecture: Architecture) -> (Planned, Anatomy) {
    let planned = Planned::new(model(architecture), &options(), 8)
        .unwrap()
        .eager();
    let anatomy = planned.inspect().anatomy().unwrap().clone();
    (planned, anatomy)
}

fn question(prompt: &Prompt, kind: Kind) -> Question<'_> {
    Question {
        prompt,
        kind,
        states: None,
        sites: vec![Site::Residual],
        seeds: vec![1],
        layers: (0..N_LAYER).collect(),
        positions: (0..TOKENS as u32 - 1).collect(),
        down: Down::Tokens,
        corrupted: None,
        measure: Measure::LogProbability(Followed(vec![ANSWER])),
    }
}

fn drawn(planned: &mut (Planned, Anatomy), question: &Question<'_>) -> Map {
    let (engine, anatomy) = planned;
    draw(engine, anatomy, question, &mut |_, _, _| {
        ControlFlow::Continue(())
    })
    .unwrap()
}

fn logprob(outcome: &Outcome) -> f64 {
    log_softmax(&outcome.logits)[ANSWER.0 as usize]
}

fn donor(engine: &mut dyn Engine, prompt: &Prompt) -> DonorStates {
    let moves: Vec<(u32, u32)> = (0..prompt.tokens.len() as u32 - 1)
        .map(|at| (at, at))
        .collect();
    donor_states(engine, prompt, &moves, &[Site::Residual]).unwrap()
}

/// What is not sharper than rounding is not compared.
fn same(a: f64, b: f64, what: &str) {
    assert!((a - b).abs() < f64::from(CLOSE), "{what}: {a} is not {b}");
}

#[test]
fn a_cell_is_a_run_with_one_state_manipulated() {
    let prompt = prompt(TOKENS);
    for architecture in attentive() {
        let map = drawn(&mut planned(architecture), &question(&prompt, Kind::Random));
        let mut whole = engine(architecture);
        let clean = logprob(&whole.run(&Request::new(&prompt)).unwrap());
        same(map.clean, clean, "clean");
        assert!(map.largest() > f64::from(FAR) && map.largest() > 100.0 * map.floor);
        let floor = map.floor;
        assert!(floor < f64::from(CLOSE), "{architecture:?}: {floor}");
        for (at, values) in map.rows.iter().zip(&map.values) {
            for (layer, value) in map.layers.iter().zip(values) {
                let by_hand =
                    Intervention::random(*layer, 1).at(PositionSet::ranges([*at..at + 1]));
                let outcome = whole.run(&Request::new(&prompt).with(by_hand)).unwrap();
                let what = format!("{architecture:?}, token {at}, layer {layer}");
                same(value.unwrap(), logprob(&outcome) - clean, &what);
            }
        }
    }
}

/// Where one token is corrupted, its clean state where it enters the corrupted layer is all that
/// was lost, and tokens before it lost nothing.
#[test]
fn restoring_gives_back_what_was_lost() {
    const AT: u32 = 5;
    let prompt = prompt(TOKENS);
    for architecture in attentive() {
        let mut planned = planned(architecture);
        let states = donor(&mut planned.0, &prompt);
        let noise: Kind = "add-noise".parse().unwrap();
        let restored = Question {
            states: Some(states),
            seeds: vec![1, 2],
            corrupted: Some(Corruption {
                kind: noise,
                layer: 0,
                positions: PositionSet::ranges([AT..AT + 1]),
            }),
            ..question(&prompt, Kind::Inject)
        };
        let map = drawn(&mut planned, &restored);
        let lost = map.clean - map.corrupted.unwrap();
        assert!(
            lost.abs() > 2.0 * f64::from(CLOSE),
            "{architecture:?}: {lost}"
        );
        let at = |token: u32, layer: usize| map.values[token as usize][layer].unwrap();
        same(at(AT, 0), lost, &format!("{architecture:?}"));
        for token in 0..AT {
            for layer in 0..N_LAYER as usize {
                same(
                    at(token, layer),
                    0.0,
                    &format!("{architecture:?}, token {token}"),
                );
            }
        }
        // By hand: the mean of the seeds, one state put back in the middle.
        let mut whole = engine(architecture);
        let clean = donor(&mut whole, &prompt);
        let each = [1, 2].map(|seed| {
            let corrupted = || {
                let action = noise.action(seed, None);
                let at = PositionSet::ranges([AT..AT + 1]);
                Intervention::new(action, LayerSpan::only(0)).at(at)
            };
            let back =
                Intervention::given(2, clean.at(Site::Residual), PositionSet::ranges([7..8]));
            let zero = whole.run(&Request::new(&prompt).with(corrupted())).unwrap();
            let request = Request::new(&prompt).with(corrupted()).with(back);
            logprob(&whole.run(&request).unwrap()) - logprob(&zero)
        });
        same(
            at(7, 2),
            (each[0] + each[1]) / 2.0,
            &format!("{architecture:?}, by hand"),
        );
    }
}

/// Patched with its own states a prompt stays as it is; with another's it does not.
#[test]
fn patching_from_another_prompt() {
    let own = prompt(TOKENS);
    let mut changed = tokens(TOKENS);
    changed[4] = Token(90);
    let other = Prompt::new("", changed, |_| Vec::new());
    let mut planned = planned(Architecture::Llama);
    let patched = |planned: &mut (Planned, Anatomy), from: &Prompt, measure: Measure| {
        let states = Some(donor(&mut planned.0, from));
        let question = Question {
            states,
            measure,
            ..question(&own, Kind::Inject)
        };
        drawn(planned, &question)
    };
    for measure in [
        Measure::Kl,
        Measure::LogitDifference(Followed(vec![ANSWER]), vec![Followed(vec![FOIL])]),
    ] {
        let map = patched(&mut planned, &own, measure.clone());
        assert!(map.largest() < f64::from(CLOSE), "{map:?}");
        let map = patched(&mut planned, &other, measure.clone());
        assert!(map.largest() > f64::from(CLOSE));
        // Tokens before the one that differs have the same states.
        assert!(
            map.values[..4]
                .iter()
                .flatten()
                .all(|v| v.unwrap().abs() < f64::from(CLOSE))
        );
        // The state that enters layer 0 is the token.
        let mut whole = engine(Architecture::Llama);
        let clean = whole.run(&Request::new(&own)).unwrap();
        let swapped = whole.run(&Request::new(&other)).unwrap();
        let difference =
            |o: &Outcome| f64::from(o.logits[ANSWER.0 as usize] - o.logits[FOIL.0 as usize]);
        let expected = match measure {
            Measure::Kl => kl(&clean.logits, &swapped.logits),
            _ => difference(&swapped) - difference(&clean),
        };
        same(map.values[4][0].unwrap(), expected, "at layer 0");
    }
}

/// An answer of several tokens counts as a whole.
#[test]
fn answers_of_several_tokens() {
    let prompt = prompt(TOKENS);
    let answer = vec![ANSWER, FOIL, Token(3)];
    let mut planned = planned(Architecture::Llama);
    let map = drawn(
        &mut planned,
        &Question {
            measure: Measure::LogProbability(Followed(answer.clone())),
            layers: vec![1],
            positions: vec![3],
            ..question(&prompt, Kind::Zero)
        },
    );
    let mut whole = engine(Architecture::Llama);
    let mut sum = |plan: Vec<Intervention>| -> f64 {
        let request = Request {
            plan,
            continuations: vec![answer[..2].to_vec()],
            ..Request::new(&prompt)
        };
        let outcome = whole.run(&request).unwrap();
        let each = answer.iter().enumerate();
        each.map(|(n, token)| log_softmax(outcome.after(0, n))[token.0 as usize])
            .sum()
    };
    let clean = sum(vec![]);
    let zero = Intervention::new(Kind::Zero.action(1, None), LayerSpan::only(1));
    let one = sum(vec![zero.at(PositionSet::ranges([3..4]))]);
    same(map.clean, clean, "clean");
    same(map.values[0][0].unwrap(), one - clean, "the cell");
}

#[test]
fn both_strategies_draw_the_same_map() {
    let prompt = prompt(TOKENS);
    let mut planned = planned(Architecture::Llama);
    for name in ["zero", "shuffle", "scale:factor=0.5", "freeze"] {
        let question = question(&prompt, name.parse().unwrap());
        let fast = drawn(&mut planned, &question);
        let anatomy = planned.1.clone();
        let mut slow = engine(Architecture::Llama);
        let slow = draw(&mut slow, &anatomy, &question, &mut |_, _, _| {
            ControlFlow::Continue(())
        });
        let slow = slow.unwrap();
        let pairs = fast
            .values
            .iter()
            .flatten()
            .zip(slow.values.iter().flatten());
        for (a, b) in pairs {
            assert_eq!(a.is_some(), b.is_some(), "{name}");
            same(a.unwrap_or(0.0), b.unwrap_or(0.0), name);
        }
        // freeze takes the state of the layer below, which layer 0 has not.
        assert_eq!(fast.values[0][0].is_none(), name == "freeze");
    }
}

/// The whole is told as it grows, coarse first, and may be stopped.
#[test]
fn a_map_grows_from_coarse_to_fine() {
    let prompt = prompt(TOKENS);
    let (mut engine, anatomy) = planned(Architecture::Llama);
    let question = question(&prompt, Kind::Zero);
    let first = question.first_picture();
    let (mut told, mut columns, mut sparse) = (0, Vec::new(), Vec::new());
    let all = (TOKENS as usize - 1) * N_LAYER as usize;
    draw(&mut engine, &anatomy, &question, &mut |map, done, of| {
        told += 1;
        assert_eq!((done, of), (told, all));
        let filled = map.values.iter().flatten().flatten().count();
        assert_eq!(filled, done);
        let column = || map.values.iter().map(|row| row[0].is_some());
        if done == first {
            sparse = column().collect();
        }
        if done == TOKENS as usize - 1 {
            columns = column().collect();
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(
        told == all && columns.iter().all(|is| *is),
        "the first column comes first"
    );
    let expected: Vec<bool> = (0..11).map(|token| token % 8 == 0).collect();
    assert_eq!((sparse, first), (expected, 2), "every eighth token before");
    let stopped = draw(&mut engine, &anatomy, &question, &mut |_, _, _| {
        ControlFlow::Break(())
    });
    assert!(stopped.is_err());
}

#[test]
fn forms_hold_every_cell() {
    let prompt = prompt(TOKENS);
    let mut planned = planned(Architecture::Llama);
    let map = drawn(&mut planned, &question(&prompt, "freeze".parse().unwrap()));
    let tokens: Vec<(i32, String)> = (map.rows.iter())
        .map(|at| (prompt.tokens[*at as usize].0, format!("\u{1b}<{at}\">,")))
        .collect();
    let picture = Picture {
        map: &map,
        tokens: &tokens,
        title: "<title>".into(),
        measure: "nats",
        across: "layer",
        change: true,
        over: None,
    };
    let cells = map.values.len() * map.layers.len();
    let csv = picture.text(Form::Csv);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(reader.records().map(Result::unwrap).count(), cells);
    let lines: Vec<serde_json::Value> = picture
        .text(Form::Jsonl)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), cells);
    for line in &lines {
        let (at, layer) = (line["position"].as_u64(), line["layer"].as_u64());
        let value = map.values[at.unwrap() as usize][layer.unwrap() as usize];
        assert_eq!(line["value"].as_f64(), value, "null where there is none");
    }
    let svg = picture.text(Form::Svg);
    assert!(
        svg.contains("&lt;title&gt;") && !svg.contains('\u{1b}'),
        "{svg}"
    );
    let long = Picture {
        title: "a".repeat(200),
        tokens: &tokens,
        ..picture
    };
    let long = long.text(Form::Svg);
    let width = long.split("width=\"").nth(1).unwrap();
    let width: u32 = width.split('"').next().unwrap().parse().unwrap();
    assert!(width > 200 * 7, "{width}: the title has room");
    let folder = tempfile::tempdir().unwrap();
    for name in ["map.svg", "map.html", "map.csv", "map.jsonl", "map.parquet"] {
        let file = folder.path().join(name);
        picture.write(&file).unwrap();
        assert!(std::fs::metadata(&file).unwrap().len() > 100);
    }
    assert!(picture.write(&folder.path().join("map.png")).is_err());
    let rows = std::fs::File::open(folder.path().join("map.parquet")).unwrap();
    let rows = SerializedFileReader::new(rows).unwrap();
    assert_eq!(rows.get_row_iter(None).unwrap().count(), cells);
    let page = picture.text(Form::Html);
    assert!(page.contains("&lt;title&gt;") && !page.contains('\u{1b}'));
    assert!(!page.contains("<0"), "tokens are escaped");
    let filled = map.values.iter().flatten().flatten().count();
    assert_eq!(page.matches("<td class=").count(), filled);
}

/// What a run says comes next stands beside the clean run, as a run by hand says it.
#[test]
fn cells_know_what_comes_next() {
    let prompt = prompt(TOKENS);
    let map = drawn(
        &mut planned(Architecture::Llama),
        &question(&prompt, Kind::Zero),
    );
    let says = map.says.as_ref().unwrap();
    let mut whole = engine(Architecture::Llama);
    let clean = whole.run(&Request::new(&prompt)).unwrap();
    let zero = Intervention::new(Kind::Zero.action(1, None), LayerSpan::only(1));
    let zero = zero.at(PositionSet::ranges([3..4]));
    let run = whole.run(&Request::new(&prompt).with(zero)).unwrap();
    let cell = &says.cells[3][1];
    assert_eq!(cell[0].token, run.argmax());
    assert_eq!(says.clean[0].token, clean.argmax());
    assert!(cell.len() >= 5 && cell.iter().any(|next| next.token == clean.argmax()));
    for next in cell {
        let logprob = |of: &Outcome| log_softmax(&of.logits)[next.token.0 as usize];
        same(next.logprob, logprob(&run), "here");
        same(next.clean, logprob(&clean), "clean");
    }
}
