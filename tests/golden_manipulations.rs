//! Golden numbers of manipulations that are not the paper's, from forward hooks in PyTorch: see
//! tests/golden/README.md.

mod common;

use std::collections::HashMap;
use std::sync::Arc;

use common::golden::{GoldenEntry, all_agree, golden_path, npy_f32, write_npy};
use common::place::PROGRAM;
use common::{default_model_at, golden_engine, golden_planned, outcomes};
use midlayer::directions::{layers_of, read_directions};
use midlayer::engine::{Engine, Means, Prompt, Request, filler_states, scaffold_states};
use midlayer::intervention::{
    Editor, Extent, Kind, Needs, PositionSet, Shown, Site, States, Target, length,
};
use serde::Deserialize;

const WIDTH: usize = 576;
const N_LAYER: u32 = 30;
const SEED: u64 = 1;
const TOLERANCE: f32 = 1e-3;

#[derive(Deserialize)]
struct Recorded {
    prompt: String,
    token_ids: Vec<i32>,
    layers: Vec<u32>,
    mean_of: Vec<String>,
    scaffold: String,
    positive: Vec<String>,
    negative: Vec<String>,
    /// By method and layer.
    explained: HashMap<String, Vec<f64>>,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    manipulation: Kind,
    #[serde(default = "residual")]
    sites: Vec<Site>,
    #[serde(default = "paper")]
    extent: Extent,
    /// Chosen positions, where they are not all.
    tokens: Option<Vec<u32>>,
    /// The positions rewritten for them.
    rewritten: Option<Vec<u32>>,
    entries: Vec<GoldenEntry>,
}

fn residual() -> Vec<Site> {
    vec![Site::Residual]
}

fn paper() -> Extent {
    Extent::Paper
}

fn recorded() -> Recorded {
    let text = std::fs::read_to_string(golden_path("manipulations/runs.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

impl Run {
    fn places(&self, prior: u32) -> PositionSet {
        let Some(tokens) = &self.tokens else {
            return PositionSet::all();
        };
        let chosen = PositionSet::ranges(tokens.iter().map(|at| *at..at + 1));
        let places = self.manipulation.places(SEED, &chosen, prior);
        let rewritten: Vec<u32> = (0..prior).filter(|at| places.contains(*at)).collect();
        assert_eq!(Some(rewritten), self.rewritten, "{}", self.manipulation);
        places
    }
}

/// One of the recorded arrays, a direction for each recorded layer.
fn directions(name: &str) -> States {
    let (shape, values) = npy_f32(&format!("manipulations/{name}"));
    let layers = recorded().layers;
    assert_eq!(shape, [layers.len(), WIDTH]);
    let mut directions = States::new();
    for (layer, direction) in layers.into_iter().zip(values.chunks(WIDTH)) {
        directions.insert(layer, 0, direction);
    }
    directions
}

/// What the manipulations need, computed by `engine` but for the directions.
fn given(
    engine: &mut dyn Engine,
    recorded: &Recorded,
    prompt: &Prompt,
) -> impl Fn(Kind, Site) -> Option<Arc<States>> + use<> {
    let texts = recorded.mean_of.iter();
    let texts: Vec<Prompt> = texts.map(|text| engine.prompt(text).unwrap()).collect();
    let means = Means::over(engine, &texts, Target::Input).unwrap();
    let [by_position, by_token] =
        [false, true].map(|by_token| means.states(&prompt.tokens, by_token).unwrap());
    let filler = filler_states(engine, prompt, &[Site::Residual]).unwrap();
    let scaffold = engine.prompt(&recorded.scaffold).unwrap();
    let sites = [Site::Keys, Site::Values];
    let scaffold = scaffold_states(engine, &scaffold, prompt, &sites).unwrap();
    let directions = Arc::new(directions("mean-difference"));
    move |kind, site| match kind.manipulation().needs() {
        Needs::Nothing => None,
        Needs::Direction => Some(directions.clone()),
        Needs::Mean if kind.is_word("by", "token") => Some(by_token.clone()),
        Needs::Mean => Some(by_position.clone()),
        Needs::Filler => Some(filler.at(site)),
        Needs::Scaffold => Some(scaffold.at(site)),
        Needs::Donor => panic!("{kind} is not recorded here"),
    }
}

/// Runs everything recorded, and compares.
fn compare(engine: &mut dyn Engine) {
    let recorded = recorded();
    let prompt = engine.prompt(&recorded.prompt).unwrap();
    let ids: Vec<i32> = prompt.tokens.iter().map(|token| token.0).collect();
    assert_eq!(ids, recorded.token_ids, "tokenization");
    let given = given(engine, &recorded, &prompt);
    let mut requests = vec![Request::new(&prompt)];
    let mut expected = Vec::new();
    for run in &recorded.runs {
        let places = run.places(prompt.tokens.len() as u32 - 1);
        let kind = run.manipulation;
        for entry in &run.entries {
            let on = |site: &Site| {
                kind.intervention(
                    entry.k,
                    SEED,
                    run.extent,
                    places.clone(),
                    given(kind, *site),
                )
                .on(*site)
            };
            requests.push(Request {
                plan: run.sites.iter().map(on).collect(),
                ..Request::new(&prompt)
            });
            let (sites, extent) = (&run.sites, run.extent);
            let what = format!("{kind} of {sites:?}, {extent}, at {}", entry.k);
            expected.push((what, entry));
        }
    }
    all_agree(&outcomes(engine, &requests), &expected, TOLERANCE);
}

#[test]
fn straightforward() {
    compare(&mut golden_engine());
}

#[test]
fn planned() {
    let mut engine = golden_planned();
    compare(&mut engine);
    assert_eq!(engine.work().fallbacks, 0);
}

#[test]
fn all_but_the_papers_are_recorded() {
    let runs = recorded().runs;
    for kind in Kind::ALL {
        // tests/golden.rs has those.
        let is_papers = kind.manipulation().paper().is_some();
        let is_recorded = runs.iter().any(|run| run.manipulation == kind);
        assert!(
            is_papers || is_recorded,
            "{kind}: write it in vendor/golden/manipulations.py and run that"
        );
    }
}

/// For each layer, rows of length 1: the random direction, noise at the places of `equal-norm`,
/// and noise at those of `add-noise`.
fn drawn(recorded: &Recorded) -> Vec<f32> {
    let mut unit = vec![0.0; WIDTH];
    unit[0] = 1.0;
    let mut rows = Vec::new();
    for &layer in &recorded.layers {
        let mut direction = States::new();
        direction.insert(layer, 0, unit.clone());
        let states = Arc::new(direction);
        let draw = |kind: &str, position: u32, row: &[f32]| {
            let kind: Kind = kind.parse().unwrap();
            let plan = kind.intervention(
                layer,
                SEED,
                Extent::Only,
                PositionSet::all(),
                Some(states.clone()),
            );
            let mut editor = Editor::new([plan].into(), N_LAYER);
            let mut row = row.to_vec();
            let shown = Shown {
                position,
                prior: true,
                values: &mut row,
            };
            let edited = editor.edit(Target::Input, layer, WIDTH, &mut [shown]);
            assert_eq!(edited.unwrap(), [true]);
            row
        };
        let places = |kind: Kind| {
            let run = recorded.runs.iter().find(|run| run.manipulation == kind);
            run.and_then(|run| run.rewritten.clone()).unwrap()
        };
        rows.push(draw("add-random:unit=absolute", 0, &[0.0; WIDTH]));
        for position in places(Kind::EqualNorm) {
            rows.push(draw("equal-norm", position, &unit));
        }
        for position in places(Kind::AddNoise) {
            let mut row = draw("add-noise:sd=1", position, &unit);
            row[0] -= 1.0;
            rows.push(row);
        }
    }
    rows.concat()
}

#[test]
fn draws_are_the_programs() {
    let recorded = recorded();
    let drawn = drawn(&recorded);
    let layers = recorded.layers.len();
    let shape = [layers, drawn.len() / WIDTH / layers, WIDTH];
    let name = "manipulations/draws";
    if std::env::var_os("MIDLAYER_WRITE").is_some() {
        write_npy(name, &shape, &drawn);
    }
    let (read_shape, read) = npy_f32(name);
    assert_eq!(read_shape, shape);
    let apart = drawn.iter().zip(&read).map(|(a, b)| (a - b).abs());
    assert!(
        apart.fold(0.0, f32::max) < 1e-6,
        "the program draws otherwise: record the draws and what follows from them anew"
    );
}

/// A direction of the program's from the recorded texts, and the shares explained by layer.
fn made(recorded: &Recorded, method: &str) -> (States, Vec<f64>) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    std::fs::write(file("positive.txt"), recorded.positive.join("\n")).unwrap();
    std::fs::write(file("negative.txt"), recorded.negative.join("\n")).unwrap();
    let line = "direction -t 1 -fa off -ctk f32 -ctv f32 --positive positive.txt \
                --negative negative.txt --out made.safetensors --method";
    let run = assert_cmd::Command::new(PROGRAM)
        .current_dir(folder.path())
        .args(line.split_whitespace())
        .arg(method)
        .arg("-m")
        .arg(default_model_at("f32"))
        .assert()
        .success();
    let table = String::from_utf8(run.get_output().stdout.clone()).unwrap();
    let rows = table.lines().filter_map(|line| {
        let mut columns = line.split_whitespace();
        columns.next()?.parse::<u32>().ok()?;
        columns.last()?.parse::<f64>().ok()
    });
    let directions = read_directions(&file("made.safetensors"), WIDTH as u32, N_LAYER).unwrap();
    (directions, rows.collect())
}

#[test]
fn the_program_finds_the_recorded_directions() {
    let recorded = recorded();
    for method in ["mean-difference", "pca"] {
        let (made, explained) = made(&recorded, method);
        let expected = directions(method);
        for &layer in &recorded.layers {
            let [a, b] = [&made, &expected].map(|of| of.get(layer, 0).unwrap());
            let off: Vec<f32> = a.iter().zip(b).map(|(a, b)| a - b).collect();
            let off = length(&off) / length(b);
            assert!(off < 1e-4, "{method} at {layer} is off by {off}");
        }
        let shares = &recorded.explained[method];
        assert_eq!(explained.len(), shares.len());
        for (layer, (ours, share)) in explained.iter().zip(shares).enumerate() {
            // Percents with one digit.
            let off = (ours - 100.0 * share).abs();
            assert!(off < 0.051, "{method} at {layer}: {ours}% for {share}");
        }
    }
}

#[test]
fn a_control_vector_as_repeng_writes_it_is_read() {
    let path = golden_path("manipulations/repeng.gguf");
    let read = read_directions(&path, WIDTH as u32, N_LAYER).unwrap();
    let pca = directions("pca");
    assert_eq!(layers_of(&read, N_LAYER), [8, 15]);
    for layer in [8, 15] {
        assert_eq!(read.get(layer, 0), pca.get(layer, 0), "entering {layer}");
    }
}
