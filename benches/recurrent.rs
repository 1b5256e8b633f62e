//! Seconds of `random` at all layers of models whose layers keep a state, by both strategies, and the
//! layer-rows that each computes (docs/performance.md): `cargo bench --bench recurrent`.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use midlayer::engine::{Engine, Planned, Request, Straightforward};
use midlayer::intervention::Intervention;
use midlayer::runtime::{Architecture, ContextOptions, Synthetic, Token};

const DEEP: u32 = 12;
const LENGTH: i32 = 100;
const ROUNDS: usize = 3;

fn main() {
    println!(
        "| model, {DEEP} layers, {LENGTH} tokens | layer-rows | planned | ratio | straightforward, s | planned, s | ratio |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    for architecture in [
        Architecture::Jamba,
        Architecture::Qwen35,
        Architecture::Mamba,
    ] {
        measure(architecture);
    }
}

/// Medians of rounds in which the strategies take turns.
fn measure(architecture: Architecture) {
    let model = Synthetic {
        n_layer: DEEP,
        n_ctx: 512,
        ..Synthetic::new(architecture)
    };
    let model = Arc::new(model.build().expect("llama.cpp knows it"));
    let options = ContextOptions {
        n_ctx: 512,
        threads: 2,
        ..ContextOptions::default()
    };
    let mut slow = Straightforward::new(model.clone(), &options).expect("it is small");
    let mut planned =
        Planned::new(model.clone(), &options, Planned::PARALLEL).expect("it is small");
    let tokens: Vec<Token> = (0..LENGTH).map(|i| Token(3 + i * 7 % 89)).collect();
    let at = |plan| Request {
        tokens: tokens.clone(),
        plan,
        ..Request::default()
    };
    let clean = std::iter::once(at(vec![]));
    let requests: Vec<Request> = clean
        .chain((0..DEEP).map(|k| at(vec![Intervention::random(k, 3)])))
        .collect();
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let engines: [&mut dyn Engine; 2] = [&mut slow, &mut planned];
        for (engine, times) in engines.into_iter().zip(&mut times) {
            let begin = Instant::now();
            let ran = engine.run_all(&requests, &mut |_, _| ControlFlow::Continue(()));
            ran.expect("nothing is refused");
            times.push(begin.elapsed().as_secs_f64());
        }
    }
    let [slow_s, planned_s] = times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    });
    let rows = |engine: &dyn Engine| engine.work().layer_rows as f64 / ROUNDS as f64;
    let (all, part) = (rows(&slow), rows(&planned));
    println!(
        "| {architecture}, {} wide | {all} | {part} | {:.2} | {slow_s:.2} | {planned_s:.2} | {:.2} |",
        model.facts().n_embd,
        all / part,
        slow_s / planned_s
    );
}
