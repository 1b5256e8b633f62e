//! Requests drawn at random.

use std::sync::Arc;

use midlayer::engine::{Ending, Request};
use midlayer::intervention::{Extent, Intervention, Kind, PositionSet, States};
use midlayer::runtime::{Architecture, Token};
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;

use super::{check_in_parts, request};
use crate::common::tiny::{N_LAYER, model, options};

fn any_intervention() -> impl Strategy<Value = Intervention> {
    let kinds = prop::sample::select(vec![
        Kind::Freeze,
        Kind::Random,
        Kind::Shuffle,
        Kind::SkipAttention,
        Kind::Hide,
        Kind::Zero,
        Kind::Inject,
        Kind::Scale,
        Kind::SkipLayer,
        Kind::Itself,
    ]);
    let extents = prop_oneof![
        Just(Extent::Paper),
        Just(Extent::From),
        Just(Extent::Only),
        (1..4u32).prop_map(Extent::Window),
    ];
    let positions = prop_oneof![
        3 => Just(PositionSet::all()),
        1 => (0..20u32).prop_map(PositionSet::all_but_first),
        1 => (0..20u32).prop_map(PositionSet::below),
        2 => prop::collection::vec((0..20u32, 1..4u32), 1..3).prop_map(|ranges| {
            PositionSet::ranges(ranges.into_iter().map(|(at, n)| at..at + n))
        }),
    ];
    (kinds, 0..N_LAYER, extents, positions, 0..4u64).prop_map(|(kind, k, extent, at, seed)| {
        let above = kind.manipulation().layers_above();
        let k = k.clamp(kind.first_layer(), N_LAYER - 1 - above);
        let donor = (kind == Kind::Inject).then(|| {
            // States for the tokens named, wherever a window may reach.
            let mut states = States::new();
            for layer in 0..N_LAYER {
                for position in 0..40 {
                    let row: Vec<f32> = (0..64).map(|i| ((i * 7 + position) % 11) as f32).collect();
                    states.insert(layer, position, row);
                }
            }
            Arc::new(states)
        });
        kind.intervention(k, seed, extent, at, donor)
    })
}

fn any_request() -> impl Strategy<Value = Request> {
    let plan = prop::collection::vec(any_intervention(), 0..3);
    let tails = prop::collection::vec(prop::collection::vec(3..80i32, 0..4), 0..3);
    let generate = prop::option::of(1..5usize);
    (0..5i32, plan, tails, generate, any::<bool>()).prop_map(
        |(n, plan, tails, generate, manipulate_generated)| Request {
            continuations: tails
                .into_iter()
                .map(|tail| tail.into_iter().map(Token).collect())
                .collect(),
            generate: generate.map(|max_tokens| Ending {
                max_tokens,
                stop: "\n".into(),
            }),
            manipulate_generated,
            ..request(n, plan)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource(
            "proptest-regressions",
        ))),
        ..ProptestConfig::default()
    })]
    #[test]
    fn random_plans_give_the_same(
        architecture in prop::sample::select(vec![
            Architecture::Llama, Architecture::Gemma3, Architecture::Gpt2, Architecture::Qwen2,
        ]),
        requests in prop::collection::vec(any_request(), 1..12),
        parallel in 8..40u32,
    ) {
        let what = format!("{architecture:?}, {parallel} sequences");
        check_in_parts(&model(architecture), &options(), parallel, &requests, &what);
    }
}
