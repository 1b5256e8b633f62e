//! The geometry of states: against what an engine captures, and one model against another.

mod common;

use std::sync::Arc;

use common::place::{Place, json_lines, one_line_error, recipe};
use common::tiny::{CLOSE, N_LAYER, engine, model, options, prompt};
use midlayer::engine::{Engine, Planned};
use midlayer::experiment::LayerDrift;
use midlayer::intervention::Target;
use midlayer::maps::{Aspect, Form, GeometryPicture, Kept};
use midlayer::runtime::{Architecture, Model, Synthetic};

const TOKENS: i32 = 12;

fn kept(model: Arc<Model>) -> Kept {
    let mut engine = Planned::new(model, &options(), 8).unwrap();
    Kept::of(&mut engine, &prompt(TOKENS)).unwrap()
}

fn all() -> (Vec<u32>, Vec<u32>) {
    ((0..N_LAYER).collect(), (0..TOKENS as u32).collect())
}

fn same(a: f64, b: f64, what: &str) {
    assert!((a - b).abs() < f64::from(CLOSE), "{what}: {a} is not {b}");
}

#[test]
fn norms_and_turns_are_those_of_the_states() {
    let (layers, positions) = all();
    for architecture in [
        Architecture::Llama,
        Architecture::Gemma3,
        Architecture::Mamba,
    ] {
        let geometry = kept(model(architecture))
            .geometry(&layers, &positions, None)
            .unwrap();
        assert_eq!(
            geometry.layers,
            [0, 1, 2, 3, 4],
            "what leaves the last layer too"
        );
        let tokens = prompt(TOKENS).tokens;
        let own = engine(architecture)
            .captured(&tokens, 0, &[Target::Input])
            .unwrap()
            .inputs;
        for layer in 0..N_LAYER {
            for &at in &positions {
                let state = own.get(layer, at).unwrap();
                let shape = geometry.states[at as usize][layer as usize];
                let what = format!("{architecture:?} {layer} {at}");
                let norm = state.iter().map(|x| x * x).sum::<f32>().sqrt();
                same(shape.norm, f64::from(norm), &what);
                assert!(shape.norm > 0.1 && shape.drift.is_none(), "{what}");
                assert_eq!(shape.before.is_some(), layer > 0, "{what}");
                let Some(cosine) = shape.before else { continue };
                let below = own.get(layer - 1, at).unwrap();
                same(
                    cosine,
                    LayerDrift::between(below, state).unwrap().cosine,
                    &what,
                );
                assert!(cosine < 1.0 - 1e-6, "{what}");
            }
        }
        let turn = geometry.map(Aspect::Turn);
        assert_eq!(turn.values[3][0], None);
        same(
            turn.values[3][2].unwrap(),
            1.0 - geometry.states[3][2].before.unwrap(),
            "turn",
        );
        assert!(
            geometry.by_layer().is_none() && geometry.map(Aspect::Drift).values[0][0].is_none()
        );
    }
}

#[test]
fn a_model_drifts_from_others_and_not_from_itself() {
    let (layers, positions) = all();
    let one = kept(model(Architecture::Llama));
    let itself = one.geometry(&layers, &positions, Some(&one)).unwrap();
    for shape in itself.states.iter().flatten() {
        let drift = shape.drift.unwrap();
        assert!(drift.error == 0.0 && (drift.cosine - 1.0).abs() < 1e-12);
    }
    let other = Synthetic {
        seed: 2,
        ..Synthetic::new(Architecture::Llama)
    };
    let other_model = Arc::new(other.build().unwrap());
    let other = kept(other_model.clone());
    let apart = one.geometry(&layers, &positions, Some(&other)).unwrap();
    let states = |model: Arc<Model>| {
        let mut engine = Planned::new(model, &options(), 8).unwrap();
        let tokens = prompt(TOKENS).tokens;
        engine
            .captured(&tokens, 0, &[Target::Input])
            .unwrap()
            .inputs
    };
    let (a, b) = (states(model(Architecture::Llama)), states(other_model));
    let by_layer = apart.by_layer().unwrap();
    for layer in 0..N_LAYER {
        let drifts = positions.iter().map(|at| {
            let (a, b) = (a.get(layer, *at).unwrap(), b.get(layer, *at).unwrap());
            LayerDrift::between(a, b).unwrap().error
        });
        let drifts: Vec<f64> = drifts.collect();
        for (at, error) in drifts.iter().enumerate() {
            let own = apart.states[at][layer as usize].drift.unwrap().error;
            same(own, *error, &format!("{layer} {at}"));
        }
        let (_, mean, rounding) = by_layer[layer as usize];
        same(
            mean.error,
            drifts.iter().sum::<f64>() / TOKENS as f64,
            "mean",
        );
        assert!(
            rounding.error < 1e-3 && rounding.error < mean.error / 10.0,
            "{rounding:?}"
        );
    }
    assert!(apart.map(Aspect::Drift).floor < 1e-3);
    // Not the same shape.
    let deeper = Synthetic {
        n_layer: 5,
        ..Synthetic::new(Architecture::Llama)
    };
    let deeper = kept(Arc::new(deeper.build().unwrap()));
    let error = one
        .geometry(&layers, &positions, Some(&deeper))
        .unwrap_err();
    assert!(error.contains("5 layers"), "{error}");
}

#[test]
fn forms_hold_every_state() {
    let (layers, positions) = all();
    let one = kept(model(Architecture::Llama));
    let geometry = one.geometry(&layers, &positions, Some(&one)).unwrap();
    let tokens: Vec<(i32, String)> = positions
        .iter()
        .map(|at| (*at as i32, "<a>".into()))
        .collect();
    let picture = GeometryPicture {
        geometry: &geometry,
        aspect: Aspect::Norm,
        tokens: &tokens,
        title: "<title>".into(),
    };
    let lines = picture.text(Form::Jsonl);
    assert_eq!(lines.lines().count(), 12 * 5);
    let first: serde_json::Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    assert!(first["norm"].as_f64().unwrap() > 0.0 && first["before"].is_null());
    assert_eq!(first["error"], 0.0);
    let svg = picture.text(Form::Svg);
    assert!(
        svg.contains("&lt;title&gt;") && svg.contains("logarithm"),
        "{svg}"
    );
}

#[test]
fn the_program_compares_models() {
    let place = Place::new();
    let other = Synthetic {
        seed: 3,
        ..recipe()
    };
    other
        .build()
        .unwrap()
        .save(&place.path("other.gguf"))
        .unwrap();
    let line = "map -m tiny.gguf -p abcdefgh --geometry --against other.gguf";
    let states = json_lines(place.run(&format!("{line} -o json --out g.csv --out g.svg")));
    let tokens = states
        .iter()
        .map(|s| s["position"].as_u64().unwrap())
        .max()
        .unwrap()
        + 1;
    assert_eq!(
        states.len() as u64,
        tokens * 5,
        "four layers and what leaves them"
    );
    assert!(
        states
            .iter()
            .all(|s| s["error"].as_f64().unwrap() > s["rounding"].as_f64().unwrap())
    );
    let rows = std::fs::read_to_string(place.path("g.csv")).unwrap();
    assert!(rows.starts_with("position,token,text,layer,norm,before,cosine,error,rounding\n"));
    let shown = place.run(line).success();
    let shown = String::from_utf8(shown.get_output().stdout.clone()).unwrap();
    assert!(shown.contains("other.gguf against tiny.gguf"), "{shown}");
    assert!(
        shown.contains("rounding alone, %") && shown.contains("out"),
        "{shown}"
    );
    let norm = place
        .run("map -m tiny.gguf -p abcdefgh --geometry --tokens last:2")
        .success();
    let norm = String::from_utf8(norm.get_output().stdout.clone()).unwrap();
    assert!(norm.contains("\"h\"") && !norm.contains("\"f\""), "{norm}");
    let wrong = |arguments: &str, says: &str| {
        let line = format!("map -m tiny.gguf -p abcdefgh {arguments}");
        one_line_error(2, says)(place.run(&line));
    };
    wrong("--geometry=drift", "--against MODEL");
    wrong("--geometry --tokens 90-91", "is outside the prompt");
    let deeper = Synthetic {
        n_layer: 5,
        ..recipe()
    };
    deeper
        .build()
        .unwrap()
        .save(&place.path("deeper.gguf"))
        .unwrap();
    wrong(
        "--geometry --against deeper.gguf",
        "cannot be compared (--against)",
    );
}
