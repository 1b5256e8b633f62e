//! The table of manipulations: that adding one touches one file and one line, and that each of
//! its entries is what it says on tiny models.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::tiny::{
    CLOSE, FAR, N_LAYER, distance, engine, model, options, prompt, request, run, tokens,
};
use common::{attentive, outcomes};
use midlayer::engine::{Engine, Means, Outcome, Planned, Request};
use midlayer::intervention::{
    Action, Editor, Extent, Intervention, Kind, LayerSpan, Needs, PositionSet, Shown, States,
    Target, Values,
};
use midlayer::runtime::Architecture;

const FOLDER: &str = "src/intervention/manipulations";

/// Files that use manipulations by name to measure or to show something: a new one does not
/// concern them.
const EXAMPLES: [&str; 1] = ["src/cli/bench"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// A source without its tests and comments.
fn program(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let program = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = program.lines();
    let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The lines of the table: (file, constant) of each manipulation.
fn table() -> Vec<(String, String)> {
    let list = program(&root().join(FOLDER).join("mod.rs"));
    let lines = list.lines().filter_map(|line| {
        let (file, name) = line.trim().strip_suffix(',')?.split_once("::")?;
        Some((file.to_string(), name.to_string()))
    });
    lines.collect()
}

/// Whether `source` speaks of the manipulation: its name as a whole string, or its constant. Some
/// names are everyday words, which may be those of parameters or of tensors.
fn mentions(source: &str, name: &str, constant: &str) -> bool {
    let knows_manipulations = source.contains("Kind") || source.to_lowercase().contains("manipul");
    let literal = format!("\"{name}\"");
    let mut literals = source.match_indices(&literal).map(|(at, _)| &source[..at]);
    let is_parameter = |before: &&str| {
        let places = ["number(", "is_word(", "name: "];
        places.iter().any(|place| before.ends_with(place))
    };
    let named = literals.any(|before| !is_parameter(&before));
    let path = format!("Kind::{constant}");
    let mut paths = source
        .match_indices(&path)
        .map(|(at, _)| &source[at + path.len()..]);
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_');
    (knows_manipulations && named) || paths.any(ends)
}

#[test]
fn a_manipulation_is_one_file_and_one_line() {
    let table = table();
    assert_eq!(table.len(), Kind::ALL.len());
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let relative = |path: &Path| {
        let path = path.strip_prefix(root()).unwrap();
        path.to_string_lossy().replace('\\', "/")
    };
    for (kind, (file, constant)) in Kind::ALL.into_iter().zip(&table) {
        let own = format!("{FOLDER}/{file}.rs");
        let mut found = Vec::new();
        for path in &files {
            let at = relative(path);
            let is_tests = at.ends_with("/tests.rs");
            let example = EXAMPLES.iter().any(|folder| at.starts_with(folder));
            if !is_tests && !example && mentions(&program(path), kind.name(), constant) {
                found.push(at);
            }
        }
        assert_eq!(found, [own], "{kind}: who speaks of it");
    }
    let listed = fs::read_dir(root().join(FOLDER)).unwrap().count();
    assert_eq!(listed, table.len() + 1, "a file for each, and the list");
}

#[test]
fn a_second_place_would_be_noticed() {
    assert!(mentions("let x = Kind::Zero;", "zero", "Zero"));
    assert!(mentions(
        "let kind: Kind = match name { \"zero\" => 1 }",
        "zero",
        "Zero"
    ));
    assert!(!mentions("tensor == \"zero\"", "zero", "Zero"));
    assert!(!mentions(
        "edit.kind.number(\"zero\"), Kind",
        "zero",
        "Zero"
    ));
    assert!(!mentions(
        "Kind::ZeroPadding, \"zero rows\"",
        "zero",
        "Zero"
    ));
}

/// The plan of one manipulation at a layer.
fn at(kind: &str, k: u32, states: Option<Arc<States>>) -> Vec<Intervention> {
    let kind: Kind = kind.parse().unwrap();
    vec![kind.intervention(k, 1, Extent::Paper, PositionSet::all(), states)]
}

/// A direction for every layer, the same as a control vector would be read.
fn directions(value: impl Fn(u32, usize) -> f32) -> Arc<States> {
    let mut states = States::new();
    for layer in 0..N_LAYER {
        let row: Vec<f32> = (0..64).map(|i| value(layer, i)).collect();
        states.insert(layer, 0, row);
    }
    Arc::new(states)
}

/// Runs plans by both strategies: (straightforward, planned).
fn both(architecture: Architecture, plans: &[Vec<Intervention>]) -> [Vec<Outcome>; 2] {
    let requests: Vec<Request> = plans.iter().cloned().map(request).collect();
    let mut slow = engine(architecture);
    let mut planned = Planned::new(model(architecture), &options(), 16).unwrap();
    let outcomes = [
        outcomes(&mut slow, &requests),
        outcomes(&mut planned, &requests),
    ];
    assert_eq!(planned.work().fallbacks, 0, "{architecture}");
    outcomes
}

/// Each manipulation with parameters that make it do nothing, and beside it with some that do.
#[test]
fn what_must_change_nothing_is_the_clean_run_by_both_strategies() {
    let wave = directions(|layer, i| ((i as f32) * 0.7 + layer as f32).sin());
    let none = directions(|_, _| 0.0);
    for architecture in attentive() {
        let mut engine = engine(architecture);
        let own = engine.states(&prompt(20)).unwrap();
        let means = Means::over(&mut engine, &[prompt(20)], Target::Input).unwrap();
        let mean = means.states(&tokens(20), false).unwrap();
        for k in 0..N_LAYER {
            for position in 0..19 {
                assert_eq!(
                    mean.get(k, position),
                    own.get(k, position),
                    "{architecture}"
                );
            }
        }
        // The prompt has no token twice, so its mean by token is the same.
        assert_eq!(means.states(&tokens(20), true).unwrap(), mean);
        let wave = || Some(wave.clone());
        let k = 2;
        let still = [
            at("self", k, None),
            at("scale:factor=1", k, None),
            at("add:scale=0", k, wave()),
            at("add:scale=0:unit=absolute", k, wave()),
            at("add:scale=3", k, Some(none.clone())),
            at("ablate", k, Some(none.clone())),
            at("mean", k, Some(mean.clone())),
        ];
        let moved = [
            at("scale", k, None),
            at("skip-layer", k, None),
            at("add:scale=0.5", k, wave()),
            at("add:scale=0.5:unit=absolute", k, wave()),
            at("add-random:scale=0.5", k, wave()),
            at("ablate", k, wave()),
        ];
        let plans = [vec![vec![]], still.to_vec(), moved.to_vec()].concat();
        let [slow, planned] = both(architecture, &plans);
        for (n, (a, b)) in slow.iter().zip(&planned).enumerate() {
            let what = format!("{architecture} {:?}", plans[n]);
            let apart = distance(&a.logits, &b.logits);
            assert!(apart < CLOSE, "{what}: strategies differ by {apart}");
            let off = distance(&a.logits, &slow[0].logits);
            match n <= still.len() {
                true => assert_eq!(off, 0.0, "{what}"),
                false => assert!(off > FAR, "{what} moved {off}"),
            }
        }
    }
}

/// A layer skipped for prior tokens leaves them the state that they entered it with; the last
/// layer of all is no place for it.
#[test]
fn skip_layer_is_freeze_of_one_layer() {
    let mut engine = engine(Architecture::Llama);
    for k in 0..N_LAYER - 1 {
        assert!(Kind::SkipLayer.is_defined(k, N_LAYER));
        let skipped = run(&mut engine, at("skip-layer", k, None));
        let only = LayerSpan::only(k + 1);
        let frozen = run(&mut engine, vec![Intervention::new(Action::Freeze, only)]);
        assert_eq!(skipped.logits, frozen.logits);
        let own = run(&mut engine, vec![]);
        assert!(distance(&own.logits, &skipped.logits) > FAR);
    }
    assert!(!Kind::SkipLayer.is_defined(N_LAYER - 1, N_LAYER));
}

#[test]
fn rows_are_what_their_formulas_say() {
    let direction = [3.0f32, 0.0, 4.0, 0.0];
    let mut states = States::new();
    states.insert(1, 0, direction.to_vec());
    let states = Arc::new(states);
    let rewritten = |kind: &str, row: [f32; 4]| {
        let plan = at(kind, 1, Some(states.clone()));
        let mut editor = Editor::new(plan.into(), 2);
        let mut row = row;
        let shown = Shown {
            position: 0,
            prior: true,
            values: &mut row,
        };
        let edited = editor.edit(Target::Input, 1, 4, &mut [shown]);
        assert_eq!(edited.unwrap(), [true]);
        row
    };
    let row = [0.0, 2.0, 0.0, 0.0];
    assert_eq!(rewritten("scale:factor=-3", row), [0.0, -6.0, 0.0, 0.0]);
    // As long as the row, 2, along a direction of length 5.
    let near = |a: [f32; 4], b: [f32; 4]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(near(rewritten("add", row), [1.2, 2.0, 1.6, 0.0]));
    assert!(near(
        rewritten("steer:scale=-0.5", row),
        [-0.6, 2.0, -0.8, 0.0]
    ));
    assert!(near(
        rewritten("add:unit=absolute", row),
        [3.0, 2.0, 4.0, 0.0]
    ));
    assert!(near(
        rewritten("ablate", [1.0, 7.0, 3.0, 0.0]),
        [-0.8, 7.0, 0.6, 0.0]
    ));
    assert_eq!(rewritten("ablate", row), row);
    assert_eq!(rewritten("self", row), row);
    let drawn = rewritten("add-random:unit=absolute", [0.0; 4]);
    let length = drawn.iter().map(|x| x * x).sum::<f32>().sqrt();
    assert!((length - 5.0).abs() < 1e-5 && !near(drawn, direction));
}

/// The page of the docs, from the table.
fn page() -> String {
    let mut page = String::from(
        "# Manipulations\n\n\
         `k` is the layer of `--layers`; prior tokens are all tokens but the last. A manipulation acts at\n\
         layer k alone, or from layer k up, unless `--extent` says otherwise. Parameters are written\n\
         behind the name, each after a colon: `--manipulate add:scale=0.8:unit=absolute`. With another\n\
         `--site` it is that site's rows of layer k that are rewritten, wherever the table speaks of the\n\
         state entering it. `--tokens` chooses prior tokens; `--keep` names those that stay as they\n\
         are, as the anchors of `hide`: `--keep first:1`, `--keep 0-3`, `--keep 'text: France'`. This page is\n\
         made from the program's table: `MIDLAYER_WRITE=1 cargo test --release --test manipulations page`.\n\n\
         | name | what happens | parameters and defaults | layers | rewrites | needs |\n\
         | --- | --- | --- | --- | --- | --- |\n",
    );
    for kind in Kind::ALL {
        let of = kind.manipulation();
        let synonyms = of.synonyms().iter().map(|name| format!(", `{name}`"));
        let parameters = of.parameters().iter().map(|parameter| {
            let words = match parameter.values {
                Values::Number { .. } => String::new(),
                Values::Words(words) => format!(" ({})", words.join(" or ")),
            };
            let default = kind.parameter(parameter.name);
            format!(
                "`{}={default}`: {}{words}",
                parameter.name, parameter.sentence
            )
        });
        let mut layers = match of.is_upward() {
            true => "from k up",
            false => "k",
        }
        .to_string();
        if of.first_layer() > 0 {
            layers += &format!("; k from {} up", of.first_layer());
        }
        if of.layers_above() > 0 {
            layers += "; k below the last layer";
        }
        let sites = of.sites().iter().map(ToString::to_string);
        let mut needs = vec![match of.needs() {
            Needs::Nothing => "",
            Needs::Donor => "a donor prompt",
            Needs::Filler => "",
            Needs::Direction => "`--direction FILE`",
            Needs::Mean => "`--mean-of FILE`",
            Needs::Scaffold => "`--scaffold FILE`",
        }];
        if kind.has_seed() {
            needs.push("a seed");
        }
        needs.retain(|need| !need.is_empty());
        page += &format!(
            "| `{}`{} | {} | {} | {layers} | {} | {} |\n",
            kind.name(),
            synonyms.collect::<String>(),
            of.sentence(),
            parameters.collect::<Vec<_>>().join("; "),
            sites.collect::<Vec<_>>().join(", "),
            needs.join(", "),
        );
    }
    page
}

#[test]
fn the_page_of_the_docs_is_the_table() {
    let path = root().join("docs/manipulations.md");
    if std::env::var_os("MIDLAYER_WRITE").is_some() {
        fs::write(&path, page()).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), page());
}
