//! Batches of other shapes.

use std::sync::Arc;

use midlayer::engine::{Engine, Outcome, Planned, Request, Straightforward, Wording, kl};
use midlayer::intervention::{Extent, Intervention, Kind, PositionSet};
use midlayer::runtime::{Architecture, ContextOptions, FlashAttention, Model, ModelOptions};
use midlayer::tasks::{Capitals, Room};

use super::{check, check_in_parts, continued, plans, request};
use crate::common::tiny::{N_LAYER, model, options};
use crate::common::{default_model_at, outcomes};

/// Texts that begin alike travel together, whatever the shapes of batches and the number of
/// sequences; flash attention computes the same.
#[test]
fn every_shape_gives_the_same() {
    let shapes = [
        ("as usual", options(), 64),
        ("few sequences", options(), 8),
        (
            "small micro-batches",
            ContextOptions {
                n_ubatch: 7,
                ..options()
            },
            32,
        ),
        (
            "small batches",
            ContextOptions {
                n_batch: 10,
                n_ubatch: 10,
                ..options()
            },
            32,
        ),
        (
            "flash attention",
            ContextOptions {
                flash_attention: FlashAttention::On,
                ..options()
            },
            64,
        ),
    ];
    for architecture in [
        Architecture::Llama,
        Architecture::Gemma3,
        Architecture::Gpt2,
    ] {
        let model = model(architecture);
        for (shape, options, parallel) in &shapes {
            // Each text meets a third of the plans.
            let plans = plans();
            let requests: Vec<Request> = (0..3)
                .flat_map(|n| plans.iter().skip(n).step_by(3).map(move |p| (n, p.clone())))
                .map(|(n, plan)| request(n as i32, plan))
                .enumerate()
                .map(|(n, request)| match n % 3 {
                    0 => continued(request),
                    _ => request,
                })
                .map(|request| match options.flash_attention {
                    FlashAttention::Off => request,
                    // Where rounding chooses a token, greedy continuations part.
                    _ => Request {
                        generate: None,
                        ..request
                    },
                })
                .collect();
            let what = format!("{architecture:?}, {shape}");
            check_in_parts(&model, options, *parallel, &requests, &what);
        }
    }
}

/// A clean run with its last token apart, as sweeps measure their noise floor with: the same
/// numbers as the straightforward engine's with such a cut, and continued like it.
#[test]
fn a_clean_run_cut_before_its_last_token_is_that_token_alone() {
    for architecture in [Architecture::Llama, Architecture::Gemma3] {
        let model = model(architecture);
        let requests: Vec<Request> = (0..3)
            .map(|n| request(n, vec![]))
            .flat_map(|clean| {
                let cut = Request {
                    cuts: vec![clean.tokens.len() - 1],
                    ..clean.clone()
                };
                [clean, cut]
            })
            .map(continued)
            .collect();
        let planned = check(&model, &options(), 32, &requests, "clean again");
        let work = planned.work();
        assert_eq!(work.fallbacks, 0);
        let rows: usize = requests.iter().step_by(2).map(|r| r.tokens.len()).sum();
        // Each continuation decodes rows of its own; the prompts are not decoded twice.
        let tails = 6 * (3 + 4) * N_LAYER as usize;
        let most = (rows + 3) * N_LAYER as usize + tails;
        assert!(work.layer_rows <= most as u64, "{work:?}");
    }
}

/// A clean run decodes the same batch, so it gives the same bits.
#[test]
fn where_batches_are_the_same_so_are_the_bits() {
    let model = model(Architecture::Llama);
    let requests = [
        request(0, vec![]),
        request(0, vec![Intervention::freeze(2)]),
    ];
    let mut planned = Planned::new(model.clone(), &options(), 16).unwrap();
    let mut slow = Straightforward::new(model, &options()).unwrap();
    let (a, b) = (
        outcomes(&mut planned, &requests),
        outcomes(&mut slow, &requests),
    );
    assert_eq!(a[0].logits, b[0].logits);
}

/// On a quantized model the strategies differ as one strategy differs from itself when a batch
/// is cut, and not by more: both distances are taken over the same cells.
#[test]
fn a_quantized_model_differs_by_its_noise_floor() {
    let model = Model::load(&default_model_at("q8_0"), &ModelOptions::default()).unwrap();
    let model = Arc::new(model);
    let options = ContextOptions {
        n_ctx: 256,
        n_batch: 256,
        threads: 1,
        ..ContextOptions::default()
    };
    let mut slow = Straightforward::new(model.clone(), &options).unwrap();
    let mut planned = Planned::new(model, &options, 16).unwrap();
    let task = Capitals {
        shots: 5,
        wording: Wording::default(),
        room: Room::new(options.n_ctx, None),
    };
    let prompt = task
        .items(slow.tokenizer(), 1)
        .unwrap()
        .items
        .remove(0)
        .prompt;
    let mut cells = Vec::new();
    for k in [1, 8, 15, 22, 28] {
        let all = |kind: Kind| kind.intervention(k, 1, Extent::Paper, PositionSet::all(), None);
        let kinds = [
            Kind::Freeze,
            Kind::Random,
            Kind::Shuffle,
            Kind::SkipAttention,
        ];
        cells.extend(kinds.map(|kind| Request::new(&prompt).with(all(kind))));
    }
    let cut = |request: &Request| Request {
        cuts: vec![7],
        ..request.clone()
    };
    let (fast, whole) = (outcomes(&mut planned, &cells), outcomes(&mut slow, &cells));
    let pieces = outcomes(&mut slow, &cells.iter().map(cut).collect::<Vec<_>>());
    let mean = |others: &[Outcome]| {
        let each = whole
            .iter()
            .zip(others)
            .map(|(a, b)| kl(&a.logits, &b.logits));
        each.sum::<f64>() / others.len() as f64
    };
    let (between, floor) = (mean(&fast), mean(&pieces));
    assert!(floor > 1e-5, "the floor was not measured: {floor}");
    assert!(
        between < 2.0 * floor,
        "{between} between strategies, {floor} the floor"
    );
    assert_eq!(planned.work().fallbacks, 0);
}
