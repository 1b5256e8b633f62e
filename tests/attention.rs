//! The weights of attention: they sum to one, and times the values they give what heads gather.

mod common;

use std::sync::Arc;

use common::place::{Place, json_lines, one_line_error};
use common::tiny::{CLOSE, N_LAYER, model, options, prompt};
use midlayer::engine::{EngineError, Planned};
use midlayer::hook::{Capture, HookFault};
use midlayer::intervention::Target;
use midlayer::maps::{Attention, AttentionPicture, Form};
use midlayer::runtime::{
    Architecture, ContextOptions, FlashAttention, Model, RuntimeError, Synthetic,
};

const TOKENS: i32 = 12;

fn engine(model: Arc<Model>, flash_attention: FlashAttention) -> Planned {
    let options = ContextOptions {
        flash_attention,
        ..options()
    };
    Planned::new(model, &options, 8).unwrap()
}

#[test]
fn weights_times_values_are_what_heads_gather() {
    let architectures = [
        Architecture::Llama,
        Architecture::Qwen2,
        Architecture::Gemma3,
        Architecture::Gpt2,
        Architecture::Phi2,
        Architecture::Falcon,
    ];
    let prompt = prompt(TOKENS);
    for architecture in architectures {
        let model = model(architecture);
        let mut engine = engine(model.clone(), FlashAttention::Off);
        let capture = Capture {
            targets: vec![Target::Values, Target::Heads],
            layers: (0..N_LAYER).collect(),
            ..Capture::default()
        };
        let captured = engine.captured_of_all(&prompt.tokens, &capture).unwrap();
        for layer in 0..N_LAYER {
            let n = model.heads().of_queries(layer).unwrap() as u32;
            let every: Vec<(u32, u32)> = (0..n).map(|head| (layer, head)).collect();
            let attention = Attention::of(&mut engine, &prompt, &every)
                .unwrap()
                .unwrap();
            for head in &attention.heads {
                for at in 0..TOKENS as usize {
                    let what = format!("{architecture:?}, layer {layer}, head {}, {at}", head.head);
                    let weights = &head.weights[at];
                    let sum: f32 = weights.iter().sum();
                    assert!((sum - 1.0).abs() < 1e-4, "{what}: {sum}");
                    assert!(weights[at + 1..].iter().all(|w| *w == 0.0), "{what}");
                    let gathered = captured.heads.get(layer, at as u32).unwrap();
                    let width = gathered.len() / n as usize;
                    let value = |key: usize| {
                        let row = captured.values.get(layer, key as u32).unwrap();
                        let shared = n as usize / (row.len() / width);
                        &row[head.head as usize / shared * width..][..width]
                    };
                    let own = &gathered[head.head as usize * width..][..width];
                    for (dimension, own) in own.iter().enumerate() {
                        let terms = weights.iter().enumerate();
                        let sum: f32 = terms.map(|(key, w)| w * value(key)[dimension]).sum();
                        assert!((sum - own).abs() < CLOSE, "{what}: {sum} is not {own}");
                    }
                    assert!(own.iter().any(|x| x.abs() > CLOSE), "{what}");
                }
            }
        }
    }
}

#[test]
fn flash_attention_gives_no_weights() {
    let mut engine = engine(model(Architecture::Llama), FlashAttention::On);
    let error = Attention::of(&mut engine, &prompt(TOKENS), &[(1, 0)]).unwrap_err();
    let EngineError::Runtime(RuntimeError::Hook(fault)) = error else {
        panic!("{error}");
    };
    assert_eq!(fault, HookFault::Weights(1));
}

#[test]
fn what_is_not_there_is_said() {
    let prompt = prompt(TOKENS);
    let mut llama = engine(model(Architecture::Llama), FlashAttention::Off);
    let mut wrong = |head| {
        Attention::of(&mut llama, &prompt, &[head])
            .unwrap()
            .unwrap_err()
    };
    assert!(wrong((4, 0)).contains("layer 4 is out of range"));
    assert!(wrong((1, 4)).contains("layer 1 has 4 heads"));
    let recurrent = Synthetic::new(Architecture::Mamba).build().unwrap();
    let mut recurrent = engine(Arc::new(recurrent), FlashAttention::Off);
    let none = Attention::of(&mut recurrent, &prompt, &[(1, 0)]).unwrap();
    assert!(none.unwrap_err().contains("no attention"));
}

#[test]
fn forms_hold_every_pair() {
    let mut llama = engine(model(Architecture::Llama), FlashAttention::Off);
    let heads = [(1, 0), (2, 3)];
    let attention = Attention::of(&mut llama, &prompt(TOKENS), &heads)
        .unwrap()
        .unwrap();
    let tokens: Vec<(i32, String)> = (0..TOKENS).map(|id| (id, "<a>".into())).collect();
    let picture = AttentionPicture {
        attention: &attention,
        tokens: &tokens,
        model: "tiny".into(),
    };
    let lines = picture.text(Form::Jsonl);
    assert_eq!(lines.lines().count(), 2 * 12 * 13 / 2);
    let svg = picture.text(Form::Svg);
    assert!(svg.contains("attention of layer 1, head 0") && svg.contains("position"));
    let page = picture.text(Form::Html);
    assert_eq!(page.matches("<td class=").count(), 12 * 13 / 2);
}

#[test]
fn the_program_shows_heads() {
    let place = Place::new();
    let line = "map -m tiny.gguf -p abcdefgh --attention 1:3,2:0";
    let run = place.run(&format!("{line} -o json --out a.csv")).success();
    let said = String::from_utf8(run.get_output().stderr.clone()).unwrap();
    assert!(
        said.contains("flash attention is off for this run"),
        "{said}"
    );
    let pairs = json_lines(place.run(&format!("{line} -o json")));
    let of = |position: u64| {
        let pairs = pairs
            .iter()
            .filter(|p| p["layer"] == 2 && p["position"] == position);
        pairs.map(|p| p["weight"].as_f64().unwrap()).sum::<f64>()
    };
    assert!((of(5) - 1.0).abs() < 1e-3 && (of(0) - 1.0).abs() < 1e-3);
    let shown = place.run(line).success();
    let shown = String::from_utf8(shown.get_output().stdout.clone()).unwrap();
    assert!(
        shown.contains("layer 1, head 3") && shown.contains("layer 2, head 0"),
        "{shown}"
    );
    let wrong = |arguments: &str, says: &str| {
        let line = format!("map -m tiny.gguf -p abcdefgh {arguments}");
        one_line_error(2, says)(place.run(&line));
    };
    wrong("--attention 9:0", "out of range");
    wrong("--attention 1:9", "no head 9 (--attention)");
    wrong("--attention 1:2,1:3 --out a.svg", "a figure shows one head");
}
