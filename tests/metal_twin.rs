//! Metal without a Mac: models on a device that orders, groups, refuses and hides as Metal does
//! (tests/twin). Whole on demand: `make test-metal-twin`.
#![cfg(target_os = "linux")]

mod common;

use std::sync::Arc;

use common::outcomes;
use common::scheduled::{
    There, clean, each, exact, examined, flash, model, recipe, same_as_on_the_cpu, self_test, whole,
};
use common::tiny::{CLOSE, N_LAYER, distance};
use midlayer::engine::{Engine, Planned, Request, Straightforward};
use midlayer::hook::Sabotage;
use midlayer::intervention::{Intervention, PositionSet};
use midlayer::runtime::{Architecture, ContextOptions, FlashAttention, Synthetic, Token, devices};
use midlayer::selftest::{Check, Verdict};

/// How many layers lie on the device: all with the output, or the upper half.
const ON_DEVICE: [u32; 2] = [99, N_LAYER / 2 + 1];

#[test]
fn the_device_is_a_gpu_that_reorders_fuses_refuses_and_hides() {
    let before = midlayer_twin::counts();
    let model = model(Architecture::Llama, 99);
    let found = devices().unwrap();
    assert!(found.iter().any(|d| d.name == "MTL0"), "{found:?}");
    let mut engine = Straightforward::new(model, &exact()).unwrap();
    let on_device = engine.run(&clean(20)).unwrap();
    let counts = midlayer_twin::counts();
    assert!(counts.graphs > before.graphs, "{counts:?}");
    assert!(counts.moved > before.moved, "{counts:?}");
    assert!(counts.fused > before.fused, "{counts:?}");
    let cpu = common::scheduled::model(Architecture::Llama, 0);
    let mut engine = Straightforward::new(cpu, &exact()).unwrap();
    let host = engine.run(&clean(20)).unwrap();
    assert!(distance(&on_device.logits, &host.logits) < CLOSE);

    // The result of most groups lies where their other nodes lie; not so of a router's.
    let experts = self::model(Architecture::Qwen3Experts, 99);
    let mut engine = Straightforward::new(experts, &exact()).unwrap();
    engine.run(&clean(20)).unwrap();
    let poisoned = midlayer_twin::counts().poisoned;
    assert!(poisoned > counts.poisoned, "{counts:?}");

    let narrow = Synthetic {
        n_head: 4,
        ..recipe(Architecture::Llama, 99)
    };
    let narrow = Arc::new(narrow.build().unwrap());
    let mut engine = Straightforward::new(narrow, &flash()).unwrap();
    engine.run(&clean(20)).unwrap();
    let refused = midlayer_twin::counts().refused;
    assert!(
        refused > counts.refused,
        "heads of 16 under flash attention"
    );
}

/// Metal chooses other kernels and other fusions at these numbers of rows.
const ROWS: [u32; 9] = [1, 2, 3, 8, 9, 16, 17, 33, 250];

/// Both strategies on the device give what the CPU alone gives, however many rows a batch has.
#[test]
fn manipulations_are_what_they_are_on_the_cpu_at_all_numbers_of_rows() {
    each(|architecture| {
        let host = model(architecture, 0);
        let mut oracle = Straightforward::new(host, &exact()).unwrap();
        let there = |layers| {
            let what = format!("{architecture:?}, {layers} layers there");
            There::new(model(architecture, layers), what)
        };
        same_as_on_the_cpu(&mut oracle, &mut ON_DEVICE.map(there), &ROWS);
    });
    println!("{:?}", midlayer_twin::counts());
}

/// A single row of gptneox comes in another order of nodes there than three, and so do rows of which
/// none has logits. Either strategy writes an order down once, whichever manipulation meets it
/// first, and nothing is computed whole for it.
#[test]
fn an_order_of_nodes_that_the_batch_decides_is_written_down_once() {
    let mut oracle = Straightforward::new(model(Architecture::Gptneox, 0), &exact()).unwrap();
    let mut there = There::new(model(Architecture::Gptneox, 99), "gptneox".into());
    let written = |there: &There| {
        let slow = there.slow.context().recordings();
        (slow, there.planned.inspect().recordings())
    };
    assert_eq!(written(&there), (1, 1));
    same_as_on_the_cpu(&mut oracle, std::slice::from_mut(&mut there), &[20, 2]);
    let orders = written(&there);
    assert_eq!(orders, (3, 2));
    assert_eq!(there.planned.work().fallbacks, 0);
    same_as_on_the_cpu(&mut oracle, std::slice::from_mut(&mut there), &[2, 20, 2]);
    assert_eq!(written(&there), orders, "the same shapes again");
    assert_eq!(oracle.context().recordings(), 1, "on the CPU");
}

/// Which token is in which cell is known across orders of nodes: the rows of a text's beginning, of
/// which none has logits, come in another one than its last row.
#[test]
fn tokens_stay_hidden_where_the_order_of_nodes_changes() {
    let hidden = |k| {
        let hide = Intervention::hide(k, PositionSet::ranges([5..7]));
        Request {
            cuts: vec![19],
            continuations: vec![vec![Token(4)]],
            ..clean(20).with(hide)
        }
    };
    let asked: Vec<Request> = (0..N_LAYER).map(hidden).collect();
    let mut oracle = Straightforward::new(model(Architecture::Gptneox, 0), &exact()).unwrap();
    let host = outcomes(&mut oracle, &asked);
    let there = || model(Architecture::Gptneox, 99);
    let mut slow = Straightforward::new(there(), &exact()).unwrap();
    let mut planned = Planned::new(there(), &exact(), 16).unwrap();
    let engines: [&mut dyn Engine; 2] = [&mut slow, &mut planned];
    for engine in engines {
        for (host, there) in host.iter().zip(outcomes(engine, &asked)) {
            assert!(distance(&host.logits, &there.logits) < CLOSE);
            for (host, there) in host.branches[0].iter().zip(&there.branches[0]) {
                assert!(distance(host, there) < CLOSE);
            }
        }
    }
    assert!(slow.context().recordings() > 1, "one order");
}

/// Under `freeze` the same rows enter many layers. A device gets them once and copies them itself;
/// what lies on the host is written in each layer.
#[test]
fn frozen_rows_are_sent_to_the_device_once() {
    let prior: u64 = 39;
    let asked = (1..N_LAYER).map(|k| clean(40).with(Intervention::freeze(k)));
    let asked: Vec<Request> = asked.collect();
    let on_device = |layers| {
        let model = model(Architecture::Llama, layers);
        let width = u64::from(model.facts().n_embd) * size_of::<f32>() as u64;
        let mut engine = Planned::new(model, &exact(), 16).unwrap();
        let found = outcomes(&mut engine, &asked);
        assert_eq!(engine.work().fallbacks, 0);
        let traffic = engine.work().traffic;
        (found, traffic, traffic.written / width)
    };
    let (host, before, written) = on_device(0);
    let (there, after, sent) = on_device(99);
    for (host, there) in host.iter().zip(&there) {
        assert!(distance(&host.logits, &there.logits) < CLOSE);
    }
    // Three requests in three layers, and the last tokens' rows at and below where they begin.
    let last = 3 + 2 + 1;
    assert_eq!(written, 3 * 3 * prior + last);
    // Rows frozen at layer 3 are held at the clean state in the layer below first.
    assert_eq!(sent, (1 + 1 + 2) * prior + last);
    assert_eq!((before.stops, before.read), (after.stops, after.read));
}

/// The whole self-test, with flash attention and without; in short, all layers on the device
/// without and half of them with it.
#[test]
fn the_self_test_finds_nothing_wrong() {
    each(|architecture| {
        for on_device in ON_DEVICE {
            for options in [exact(), flash()] {
                let is_flash = options.flash_attention == FlashAttention::On;
                if !whole() && is_flash == (on_device == ON_DEVICE[0]) {
                    continue;
                }
                let what = format!("{architecture:?} {on_device} {:?}", options.flash_attention);
                examined(recipe(architecture, on_device), &options, &what);
            }
        }
    });
    println!("{:?}", midlayer_twin::counts());
}

/// Where a node is asked for in the midst of what the device computes in one piece, it computes the
/// pieces, which round otherwise. The self-test tells that from something wrong.
#[test]
fn what_the_device_rounds_otherwise_where_nodes_are_asked_for_is_not_wrong() {
    let on_callback = |layers, what: &str| {
        let found = examined(recipe(Architecture::Falcon, layers), &exact(), what);
        found.of_check(Check::Callback).cloned()
    };
    let there = on_callback(N_LAYER, "three layers and the output");
    assert!(matches!(there, Some(Verdict::Within { .. })), "{there:?}");
    assert_eq!(on_callback(0, "the CPU"), Some(Verdict::Exact));
}

/// What is allowed there hides no fault.
#[test]
fn the_self_test_finds_faults_on_the_device() {
    for sabotage in Sabotage::ALL {
        let options = ContextOptions {
            sabotage: Some(sabotage),
            ..exact()
        };
        let found = self_test(recipe(Architecture::Gemma2, 99), &options);
        assert!(found.wrong().next().is_some(), "{sabotage}");
    }
}
