//! The logit lens: the last layer's is the model itself to the bit, and each other layer's is what
//! the head makes of that layer's state, told in two other ways.

#[path = "../common/mod.rs"]
mod common;

mod map;

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use common::rewrite::Pieces;
use common::tiny::{CLOSE, FAR, N_LAYER, distance, engine, model, options, prompt, tokens};
use midlayer::engine::{Engine, EngineError, Request, Straightforward};
use midlayer::hook::{Capture, Row, Sabotage};
use midlayer::intervention::{Editor, Intervention, PlanError, PositionSet, States, Target};
use midlayer::runtime::{
    Architecture, Context, ContextOptions, Model, ModelOptions, RuntimeError, Token,
};

const TOKENS: i32 = 20;

const ANSWER: Token = Token(40);

/// By layer and position, the logits.
type Told = HashMap<(u32, u32), Vec<f32>>;

/// What a lens tells; each state once, layers in order.
fn looked(
    lens: impl FnOnce(
        &mut dyn FnMut(midlayer::engine::Reading<'_>) -> ControlFlow<()>,
    ) -> Result<(), EngineError>,
) -> Result<Told, EngineError> {
    let mut told = Told::new();
    lens(&mut |reading| {
        for (at, logits) in (reading.first..).zip(&reading.logits) {
            let before = told.insert((reading.layer, at), logits.to_vec());
            assert!(before.is_none(), "layer {}, token {at}", reading.layer);
        }
        ControlFlow::Continue(())
    })?;
    Ok(told)
}

fn lens(engine: &mut Straightforward, tokens: &[Token], layers: &[u32]) -> Told {
    looked(|told| engine.lens(tokens, layers, told)).unwrap()
}

fn every() -> Vec<u32> {
    (0..=N_LAYER).collect()
}

/// Rows that all have logits and may all be rewritten.
fn rows(tokens: &[Token]) -> Vec<Row> {
    let row = |(i, token): (usize, &Token)| Row {
        sequence: 0,
        position: i as u32,
        token: token.0,
        prior: true,
        output: true,
    };
    tokens.iter().enumerate().map(row).collect()
}

/// The logits of every row of a decode.
fn decoded(context: &mut Context, tokens: &[Token], plan: Vec<Intervention>) -> Vec<Vec<f32>> {
    context.clear();
    let mut editors = HashMap::new();
    if !plan.is_empty() {
        editors.insert(0, Editor::new(plan.into(), N_LAYER));
    }
    context.decode(&rows(tokens), editors, None).unwrap();
    let logits = (0..tokens.len()).map(|n| context.logits(n).unwrap().to_vec());
    logits.collect()
}

#[test]
fn the_last_layers_lens_is_the_model_itself() {
    let text = tokens(TOKENS);
    for &architecture in Architecture::ALL {
        let own = decoded(
            &mut Context::new(model(architecture), &options()).unwrap(),
            &text,
            vec![],
        );
        let mut engine = engine(architecture);
        let told = lens(&mut engine, &text, &every());
        assert_eq!(told.len(), text.len() * every().len(), "{architecture}");
        for (at, own) in own.iter().enumerate() {
            let last = &told[&(N_LAYER, at as u32)];
            assert_eq!(last, own, "{architecture}, token {at}");
            let before = &told[&(N_LAYER - 1, at as u32)];
            assert!(distance(before, own) > FAR, "{architecture}, token {at}");
        }
        // What comes later is as if nothing had been looked at.
        let after = engine.run(&Request::new(&prompt(TOKENS))).unwrap();
        let last = &own[own.len() - 1];
        assert!(distance(&after.logits, last) < CLOSE, "{architecture}");
    }
}

/// A tiny model whose last layer adds nothing, through a file.
fn with_silent_last_layer(architecture: Architecture) -> Arc<Model> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("silent.gguf");
    model(architecture).save(&file).unwrap();
    let mut pieces = Pieces::of(&std::fs::read(&file).unwrap());
    // What a whole state is multiplied with stays, and what makes the zeros that something is
    // divided by (mpt, qwen2moe).
    let stay = ["scale", "norm", "ffn_gate_inp_shexp"];
    let stays = |name: &str| stay.iter().any(|part| name.contains(part));
    let last = format!("blk.{}.", N_LAYER - 1);
    pieces.silence(|name| name.starts_with(&last) && !stays(name));
    if architecture == Architecture::Gemma4 {
        // llama.cpp leaves it out where it is zero, and wants it.
        pieces.set_u32("gemma4.embedding_length_per_layer_input", 0);
    }
    std::fs::write(&file, pieces.write()).unwrap();
    let loaded = Model::load(&file, &ModelOptions::default());
    Arc::new(loaded.unwrap_or_else(|error| panic!("{architecture}: {error}")))
}

/// The states entering every layer, and leaving the last.
fn states(context: &mut Context, text: &[Token]) -> Arc<States> {
    context.clear();
    let capture = Capture {
        targets: vec![Target::Input],
        layers: (0..=N_LAYER).collect(),
        ..Capture::default()
    };
    let mut seen = context
        .decode(&rows(text), HashMap::new(), Some(capture))
        .unwrap();
    Arc::new(seen.states.remove(&0).unwrap().inputs)
}

fn moved(states: &States, (from, to): (u32, u32)) -> Arc<States> {
    let mut moved = States::new();
    for at in 0..TOKENS as u32 {
        moved.insert(to, at, states.get(from, at).unwrap());
    }
    Arc::new(moved)
}

/// Where the last layer adds nothing, the whole graph with a layer's states put where they enter
/// the last one is the head on these states.
#[test]
fn a_lens_is_the_whole_graph_above_a_layer_that_adds_nothing() {
    let text = tokens(TOKENS);
    let mut compared = Vec::new();
    for &architecture in Architecture::ALL {
        let model = with_silent_last_layer(architecture);
        let mut context = Context::new(model.clone(), &options()).unwrap();
        let states = states(&mut context, &text);
        let enter = |at| states.get(N_LAYER - 1, at).unwrap();
        let adds = |at| distance(enter(at), states.get(N_LAYER, at).unwrap()) > 0.0;
        if (0..TOKENS as u32).any(adds) {
            continue;
        }
        compared.push(architecture);
        let mut engine = Straightforward::new(model, &options()).unwrap();
        let told = lens(&mut engine, &text, &every());
        for layer in 0..N_LAYER {
            let put = moved(&states, (layer, N_LAYER - 1));
            let plan = Intervention::given(N_LAYER - 1, put, PositionSet::all());
            let whole = decoded(&mut context, &text, vec![plan]);
            for (at, logits) in whole.iter().enumerate() {
                let told = &told[&(layer, at as u32)];
                assert_eq!(told, logits, "{architecture}, layer {layer}, token {at}");
            }
        }
    }
    let all = Architecture::ALL.iter().copied();
    let left_out: Vec<Architecture> = all.filter(|a| !compared.contains(a)).collect();
    // Its layers end by a factor on the whole state.
    assert_eq!(left_out, [Architecture::Gemma4]);
}

/// Final norm and head from the file's own weights, in double precision.
struct ByHand {
    weight: Vec<f32>,
    norm: Vec<f32>,
    bias: Option<Vec<f32>>,
    mean: bool,
    finish: fn(f64) -> f64,
}

impl ByHand {
    fn of(architecture: Architecture, pieces: &Pieces) -> Option<Self> {
        let (mean, finish): (bool, fn(f64) -> f64) = match architecture {
            Architecture::Llama | Architecture::Mamba => (false, |x| x),
            Architecture::Gpt2 => (true, |x| x),
            Architecture::Gemma2 => (false, |x| 5.0 * (x / 5.0).tanh()),
            Architecture::CommandR => (true, |x| 0.25 * x),
            Architecture::Granite => (false, |x| x / 1.5),
            _ => return None,
        };
        let weight = pieces.f32s("output.weight");
        Some(Self {
            weight: weight.or_else(|| pieces.f32s("token_embd.weight"))?,
            norm: pieces.f32s("output_norm.weight")?,
            bias: pieces.f32s("output_norm.bias"),
            mean,
            finish,
        })
    }

    fn logits(&self, state: &[f32]) -> Vec<f32> {
        let n = state.len() as f64;
        let mut x: Vec<f64> = state.iter().map(|x| f64::from(*x)).collect();
        if self.mean {
            let mean = x.iter().sum::<f64>() / n;
            x.iter_mut().for_each(|x| *x -= mean);
        }
        let square = x.iter().map(|x| x * x).sum::<f64>() / n;
        for (i, x) in x.iter_mut().enumerate() {
            *x = *x / (square + 1e-5).sqrt() * f64::from(self.norm[i]);
            *x += self.bias.as_ref().map_or(0.0, |bias| f64::from(bias[i]));
        }
        let row = |w: &[f32]| w.iter().zip(&x).map(|(w, x)| f64::from(*w) * x).sum();
        let rows = self.weight.chunks(state.len());
        rows.map(|w| (self.finish)(row(w)) as f32).collect()
    }
}

#[test]
fn a_lens_is_final_norm_and_head_by_hand() {
    let text = tokens(TOKENS);
    let mut heads = 0;
    for &architecture in Architecture::ALL {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("whole.gguf");
        model(architecture).save(&file).unwrap();
        let pieces = Pieces::of(&std::fs::read(&file).unwrap());
        let Some(head) = ByHand::of(architecture, &pieces) else {
            continue;
        };
        heads += 1;
        let mut context = Context::new(model(architecture), &options()).unwrap();
        let states = states(&mut context, &text);
        let told = lens(&mut engine(architecture), &text, &every());
        for ((layer, at), logits) in &told {
            let by_hand = head.logits(states.get(*layer, *at).unwrap());
            let apart = distance(logits, &by_hand);
            assert!(
                apart < CLOSE,
                "{architecture}, layer {layer}, token {at}: {apart}"
            );
        }
    }
    assert_eq!(heads, 6);
}

/// The comparisons above see a layer taken for another one.
#[test]
fn a_layer_off_by_one_is_seen() {
    let text = tokens(TOKENS);
    let right = lens(&mut engine(Architecture::Llama), &text, &every());
    let options = ContextOptions {
        sabotage: Some(Sabotage::LayerOffByOne),
        ..options()
    };
    let mut wrong = Straightforward::new(model(Architecture::Llama), &options).unwrap();
    let wrong = lens(&mut wrong, &text, &every());
    for at in 0..TOKENS as u32 {
        assert_eq!(wrong[&(1, at)], right[&(2, at)]);
        assert!(distance(&wrong[&(1, at)], &right[&(1, at)]) > FAR);
    }
}

/// A text longer than a batch, and batches of several micro-batches.
#[test]
fn long_texts_come_in_parts() {
    let text = tokens(TOKENS);
    for architecture in [
        Architecture::Llama,
        Architecture::Gemma2,
        Architecture::Mamba,
    ] {
        let whole = lens(&mut engine(architecture), &text, &every());
        for (n_batch, n_ubatch) in [(8, 8), (16, 4)] {
            let options = ContextOptions {
                n_batch,
                n_ubatch,
                ..options()
            };
            let mut engine = Straightforward::new(model(architecture), &options).unwrap();
            let told = lens(&mut engine, &text, &every());
            assert_eq!(told.len(), whole.len());
            for (state, logits) in &told {
                let apart = distance(logits, &whole[state]);
                assert!(apart < CLOSE, "{architecture} {state:?}: {apart}");
            }
        }
    }
}

#[test]
fn what_cannot_be_looked_at_is_told() {
    let mut engine = engine(Architecture::Llama);
    let mut look = |tokens: &[Token], layers: &[u32]| {
        let told = looked(|told| engine.lens(tokens, layers, told));
        told.unwrap_err()
    };
    let beyond = look(&tokens(3), &[N_LAYER + 1]);
    assert!(matches!(
        beyond,
        EngineError::Plan(PlanError::LayerOutOfRange { layer: 5, .. })
    ));
    assert!(look(&[], &[0]).to_string().contains("(`prompt`)"));
    let long = look(&tokens(65), &[0]);
    assert!(matches!(
        long,
        EngineError::Runtime(RuntimeError::TooLong { tokens: 65, .. })
    ));
    let mut layers = 0;
    let stopped = engine.lens(&tokens(3), &every(), &mut |_| {
        layers += 1;
        ControlFlow::Break(())
    });
    assert!(matches!(stopped, Err(EngineError::Stopped)) && layers == 1);
}
