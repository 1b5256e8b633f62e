//! Products by a library of linear algebra, as Accelerate's on a Mac: ggml's BLAS backend over
//! the OpenBLAS of this machine (tests/twin) takes those of 32 rows and more out of the CPU's
//! graphs. Whole on demand: `make test-blas-twin`.
#![cfg(target_os = "linux")]

mod common;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::require::{BLAS, not_run};
use common::scheduled::{
    There, clean, each, exact, examined, flash, model, recipe, same_as_on_the_cpu, whole,
};
use common::tiny::{CLOSE, N_LAYER, distance};
use midlayer::engine::{Engine, Straightforward};
use midlayer::runtime::{Architecture, ContextOptions, FlashAttention, Model};
use midlayer_twin::blas;

/// One test at a time, for what the library does is counted; none where this machine has no
/// such library, and then that is said.
fn with_blas(test: &str) -> Option<MutexGuard<'static, ()>> {
    static ONE: Mutex<()> = Mutex::new(());
    match blas::register() {
        Ok(()) => Some(ONE.lock().unwrap_or_else(PoisonError::into_inner)),
        Err(why) => {
            not_run(test, BLAS, &why);
            None
        }
    }
}

/// Layers on Metal's twin, the output among them: none, and the upper half with the rest left to
/// the library and the CPU.
const ON_DEVICE: [u32; 2] = [0, N_LAYER / 2 + 1];

/// An engine whose context has the library, or has not.
fn engine(model: &Arc<Model>, options: &ContextOptions, by_blas: bool) -> Straightforward {
    blas::wanted(by_blas);
    Straightforward::new(model.clone(), options).unwrap()
}

#[test]
fn the_library_takes_products_of_32_rows_and_more_and_cuts_the_graph_there() {
    let Some(_one) = with_blas("products by a library") else {
        return;
    };
    let model = model(Architecture::Llama, 0);
    let before = blas::counts();
    let mut cpu = engine(&model, &exact(), false);
    let expected = cpu.run(&clean(40)).unwrap();
    assert_eq!(blas::counts(), before, "the CPU alone");

    let mut there = engine(&model, &exact(), true);
    there.run(&clean(31)).unwrap();
    assert_eq!(blas::counts(), before, "31 rows");
    let found = there.run(&clean(40)).unwrap();
    let products = blas::counts().products - before.products;
    // Q, K, V, the output of attention, gate, up and down; in the last layer these three are
    // computed of the last row alone, and so are the logits.
    assert_eq!(products, 7 * u64::from(N_LAYER) - 3);
    assert_eq!(blas::counts().rows - before.rows, 40 * products);
    // Q, K and V have one part, so have gate and up; each part ends where the CPU goes on.
    assert!(blas::counts().parts - before.parts > u64::from(N_LAYER));
    assert_ne!(found.logits, expected.logits, "another order of sums");
    assert!(distance(&found.logits, &expected.logits) < CLOSE);
}

/// Below, at and above the number of rows from which on the library computes.
const ROWS: [u32; 12] = [1, 2, 3, 8, 9, 16, 17, 30, 31, 32, 33, 250];

#[test]
fn manipulations_are_what_they_are_on_the_cpu_at_all_numbers_of_rows() {
    let Some(_one) = with_blas("manipulations on products by a library") else {
        return;
    };
    each(|architecture| {
        let mut oracle = engine(&model(architecture, 0), &exact(), false);
        blas::wanted(true);
        let there = |layers| {
            let what = format!("{architecture:?}, {layers} layers on Metal's twin");
            There::new(model(architecture, layers), what)
        };
        let before = blas::counts().products;
        same_as_on_the_cpu(&mut oracle, &mut ON_DEVICE.map(there), &ROWS);
        assert!(blas::counts().products > before, "{architecture:?}");
    });
    println!("{:?}", blas::counts());
}

/// The whole self-test, with flash attention and without; in short, no layers on Metal's twin
/// without and half of them with it.
#[test]
fn the_self_test_finds_nothing_wrong() {
    let Some(_one) = with_blas("the self-test on products by a library") else {
        return;
    };
    blas::wanted(true);
    each(|architecture| {
        for on_device in ON_DEVICE {
            for options in [exact(), flash()] {
                let is_flash = options.flash_attention == FlashAttention::On;
                if !whole() && is_flash == (on_device == ON_DEVICE[0]) {
                    continue;
                }
                let before = blas::counts().products;
                let what = format!("{architecture:?} {on_device} {:?}", options.flash_attention);
                examined(recipe(architecture, on_device), &options, &what);
                // Requests of recurrent models go alone, and the self-test's texts are shorter than
                // what the library takes. Texts of 33 and 250 rows are tried above.
                let together = (0..N_LAYER).any(|layer| architecture.has_cache(layer));
                assert!(blas::counts().products > before || !together, "{what}");
            }
        }
    });
    println!("{:?}", blas::counts());
}
