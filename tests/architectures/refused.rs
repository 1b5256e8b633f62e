//! Graphs and models that are refused whole.

use midlayer::hook::AnatomyError;
use midlayer::runtime::{Architecture, Context, ContextOptions, RuntimeError};

use crate::common::tiny::{model, options};

#[test]
fn a_graph_of_one_row_is_refused() {
    for (n_batch, n_ubatch) in [(64, 1), (1, 64)] {
        let narrow = ContextOptions {
            n_batch,
            n_ubatch,
            ..options()
        };
        let made = Context::new(model(Architecture::Llama), &narrow);
        let Some(RuntimeError::Anatomy(error)) = made.err() else {
            panic!("made of one row");
        };
        assert_eq!(error, AnatomyError::OneRow);
        assert!(error.to_string().contains("n_ubatch"), "{error}");
    }
    for n_ubatch in [2, 3] {
        let narrow = ContextOptions {
            n_ubatch,
            ..options()
        };
        let context = Context::new(model(Architecture::Llama), &narrow).unwrap();
        let anatomy = context.anatomy().unwrap();
        let sites = anatomy.keys.iter().chain(&anatomy.values);
        let heads: Vec<usize> = sites.map(|site| site.as_ref().unwrap().head).collect();
        assert_eq!(heads, [16; 8]);
    }
}

#[test]
fn a_graph_with_a_path_around_its_layers_is_refused() {
    let error = |architecture| {
        let made = Context::new(model(architecture), &options());
        match made.err() {
            Some(RuntimeError::Anatomy(error)) => error,
            other => panic!("{architecture}: {other:?}"),
        }
    };
    let around = [
        (Architecture::Rwkv7, 1),
        (Architecture::Arwkv7, 1),
        (Architecture::Talkie, 1),
        (Architecture::Gemma4PerLayer, 1),
        (Architecture::KimiK3, 1),
        (Architecture::HrmText, 0),
    ];
    for (architecture, layer) in around {
        let expected = AnatomyError::Bypassed(layer);
        assert_eq!(error(architecture), expected, "{architecture}");
    }
    let streams = [
        Architecture::Gemma3n,
        Architecture::HyV4,
        Architecture::Deepseek4,
        Architecture::Glm5Next,
        Architecture::Qwen4Exp,
    ];
    for architecture in streams {
        let expected = AnatomyError::NoLayerOutput(0);
        assert_eq!(error(architecture), expected, "{architecture}");
    }
    assert_eq!(error(Architecture::GraniteSwitch), AnatomyError::NoTokens);
    let first = AnatomyError::OtherLogits { found: 3, asked: 1 };
    assert_eq!(error(Architecture::Cogvlm), first);
    // And a diffusion model.
    let n = around.len() + streams.len() + 3;
    assert_eq!(Architecture::REFUSED.len(), n);
}

#[test]
fn a_diffusion_model_is_refused_by_name() {
    let made = Context::new(model(Architecture::Llada), &options());
    let error = made.err().expect("tokens that see later ones");
    assert!(
        error.to_string().contains("llada is a diffusion model"),
        "{error}"
    );
}
