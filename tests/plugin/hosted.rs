//! A program that asks for the plugin: the C hosts of `plugin/examples` and `plugin/tests`.

use std::process::Command;
use std::sync::Arc;

use midlayer::engine::Engine;
use midlayer::intervention::{Extent, Intervention, Kind, PositionSet, Target};
use midlayer::plan::{Keep, Plan, Requests, Shape, read_states};
use midlayer::runtime::Architecture;

use super::{CLOSE, Place, TEXT, build, build_from, distance, release};

#[test]
fn every_manipulation_gives_the_library_s_logits() {
    let folder = tempfile::tempdir().unwrap();
    let host = build(folder.path());
    for architecture in [
        Architecture::Llama,
        Architecture::Qwen2,
        Architecture::Gemma3,
        Architecture::Gpt2,
        Architecture::Phi2,
        Architecture::Olmo2,
    ] {
        let mut place = Place::new(architecture);
        let clean = place.library(&[]);
        for kind in [
            Kind::Freeze,
            Kind::Random,
            Kind::Shuffle,
            Kind::SkipAttention,
            Kind::Zero,
        ] {
            for layer in kind.first_layer()..place.shape().layers {
                let tokens = PositionSet::all_but_first(2);
                let steps = [kind.intervention(layer, 7, Extent::Paper, tokens, None)];
                let plan = Plan::of(&steps, place.shape()).unwrap();
                let expected = place.library(&steps);
                assert!(distance(&expected, &clean) > 10.0 * CLOSE, "a control");
                for piece in [512, 7] {
                    let (logits, said) = place.host(&host, &plan, piece);
                    let far = distance(&logits, &expected);
                    assert!(
                        far < CLOSE,
                        "{architecture:?} {kind} at {layer}, {piece} at a time: {far}; {said}"
                    );
                }
            }
        }
    }
}

#[test]
fn texts_in_one_batch_are_told_apart_and_a_warm_up_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let host = build_from(folder.path(), "plugin/tests/fake/batch.c");
    let mut place = Place::new(Architecture::Llama);
    let other = "Another text, and a longer one at that, too.";
    let steps = [Intervention::freeze(2)];
    let own = [place.library(&[]), place.library(&steps)];
    place.prompt = place.engine.prompt(other).unwrap();
    let others = [place.library(&[]), place.library(&steps)];
    for (requests, first, second) in [
        (Requests::All, 1, 1),
        (Requests::First, 1, 0),
        (Requests::Every(2), 0, 1),
    ] {
        let mut plan = Plan::of(&steps, place.shape()).unwrap();
        plan.requests = requests;
        plan.write(&place.path("plan.json")).unwrap();
        for unified in ["0", "1"] {
            let mut command = Command::new(&host);
            command
                .arg(place.path("tiny.gguf"))
                .arg(place.path("plan.json"));
            command.args([TEXT, other, unified]);
            command.env("LD_LIBRARY_PATH", release());
            let output = command.output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{said}");
            let lines = String::from_utf8(output.stdout).unwrap();
            let logits: Vec<f32> = lines.lines().map(|line| line.parse().unwrap()).collect();
            let (a, b) = logits.split_at(own[0].len());
            assert!(distance(a, &own[first]) < CLOSE, "{requests:?} {said}");
            assert!(distance(b, &others[second]) < CLOSE, "{requests:?} {said}");
            let counted = format!("2 texts, {} chosen", first + second);
            assert!(said.starts_with(&counted), "{said}");
        }
    }
}

#[test]
fn states_are_captured_and_given() {
    let folder = tempfile::tempdir().unwrap();
    let host = build(folder.path());
    let mut place = Place::new(Architecture::Llama);
    let mut plan = Plan::of(&[], place.shape()).unwrap();
    plan.capture = Some(Keep {
        layers: vec![0, 2],
        file: Some("states.safetensors".into()),
    });
    let clean = place.library(&[]);
    let (logits, said) = place.host(&host, &plan, 7);
    assert!(distance(&logits, &clean) < CLOSE, "{said}");
    let states = read_states(&place.path("states.1.safetensors")).unwrap();
    let tokens = place.prompt.tokens.clone();
    let expected = place.engine.captured(&tokens, 0, &[Target::Input]).unwrap();
    assert_eq!(states.len(), 2 * tokens.len());
    for ((layer, position), row) in states.iter() {
        let own = expected.inputs.get(layer, position).unwrap();
        assert!(distance(row, own) < CLOSE);
    }
    // The same states, put two positions further.
    let moved = states.moved(&[(3, 5), (4, 6)]);
    let tokens = PositionSet::ranges([5..7]);
    let steps = [Intervention::given(2, Arc::new(moved), tokens)];
    let plan = Plan::of(&steps, place.shape()).unwrap();
    let expected = place.library(&steps);
    assert!(distance(&expected, &clean) > 10.0 * CLOSE, "a control");
    let (logits, said) = place.host(&host, &plan, 512);
    assert!(distance(&logits, &expected) < CLOSE, "{said}");
    assert!(said.contains("host: 2 rows written"), "{said}");
}

#[test]
fn what_does_not_fit_the_model_is_refused_and_the_host_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let host = build(folder.path());
    let mut place = Place::new(Architecture::Llama);
    let clean = place.library(&[]);
    let shape = place.shape();
    let refused = |plan: &Plan, why: &str| {
        let (logits, said) = place.host(&host, plan, 512);
        assert!(said.contains(why), "{said}");
        assert!(said.contains("0 rows written"), "{said}");
        assert!(distance(&logits, &clean) < CLOSE, "the host goes on");
    };
    let freeze = |layer| [Intervention::freeze(layer)];
    let larger = Shape {
        layers: shape.layers + 1,
        ..shape
    };
    let mut plan = Plan::of(&freeze(2), larger).unwrap();
    refused(&plan, "the plan is for a model of 5 layers");
    // With the model's shape that is told from the plan alone.
    plan = Plan::of(&freeze(4), shape).unwrap();
    let told = Plan::parse(&plan.to_json().unwrap()).unwrap_err();
    assert!(told.to_string().contains("layer 4 is out of range"));
    plan.model = None;
    refused(&plan, "layer 4 is out of range");
    plan = Plan::of(&freeze(2), shape).unwrap();
    plan.requests = Requests::Every(2);
    refused(&plan, "");
    // A text shorter than a warm-up may be is left alone too.
    plan = Plan::of(&freeze(2), shape).unwrap();
    plan.shortest = 1000;
    refused(&plan, "");
}

#[test]
fn error_texts_live_as_long_as_their_session() {
    let folder = tempfile::tempdir().unwrap();
    let host = build_from(folder.path(), "plugin/tests/fake/errors.c");
    let place = Place::new(Architecture::Llama);
    for (name, more) in [("plan.json", 1), ("other.json", 2)] {
        let shape = Shape {
            layers: place.shape().layers + more,
            ..place.shape()
        };
        let plan = Plan::of(&[Intervention::freeze(2)], shape).unwrap();
        plan.write(&place.path(name)).unwrap();
    }
    let mut command = Command::new(&host);
    for name in ["tiny.gguf", "plan.json", "other.json"] {
        command.arg(place.path(name));
    }
    command.arg(TEXT).env("LD_LIBRARY_PATH", release());
    let output = command.output().unwrap();
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && found == "kept\n", "{found}");
}

/// A panic inside ends the plan, not the host.
#[test]
fn a_panic_never_crosses_into_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let host = build(folder.path());
    let mut place = Place::new(Architecture::Llama);
    let clean = place.library(&[]);
    let steps = [Intervention::random(1, 7)];
    let plan = Plan::of(&steps, place.shape()).unwrap();
    let (changed, said) = place.host(&host, &plan, 512);
    assert!(distance(&changed, &clean) > CLOSE, "{said}");
    let panics = [("MIDLAYER_SABOTAGE", "panic")];
    for piece in [512, 7] {
        let (logits, said) = place.host_under(&host, &plan, piece, &panics);
        assert!(distance(&logits, &clean) < CLOSE, "{said}");
        let told = "leaves the model alone from here on: on purpose";
        assert!(said.contains(told), "{said}");
    }
}
