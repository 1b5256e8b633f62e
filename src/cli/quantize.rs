//! `midlayer quantize`.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::args::QuantizeArgs;
use super::check::{Settings, check};
use super::output::{print, say, table, tensor_bar};
use super::setup::{check_caches, find};
use midlayer::report::Column::{Numbers, Words};
use midlayer::runtime::{
    ContextOptions, Facts, Level, Model, ModelOptions, quantize, quantize_progress,
};

pub fn run(args: QuantizeArgs) -> anyhow::Result<()> {
    check_caches()?;
    let source = find(&args.model)?;
    check(&source, &Settings::default())?;
    std::fs::create_dir_all(&args.out)
        .map_err(|e| anyhow::anyhow!("{} cannot be made: {e} (--out)", args.out.display()))?;
    let stem = source.file_stem().unwrap_or_default().to_string_lossy();
    let threads = args.threads.unwrap_or(ContextOptions::default().threads);
    let head = ["file", "MB", "bits a weight", "types of the matrices"];
    let mut rows = Vec::new();
    let mut last = None;
    for level in &args.levels {
        let target = args.out.join(format!("{stem}.requantized-{level}.gguf"));
        with_bar(&format!("requantizing {stem} to {level}"), || {
            quantize(&source, &target, *level, threads)
        })?;
        let facts = facts(&target)?;
        if !facts.weights.is_mostly(*level) {
            say(&format!(
                "{}: the model's widths do not admit {level} everywhere (k-quants need multiples of 256); it holds {}",
                target.display(),
                facts.weights.shares()
            ));
        }
        rows.push(vec![
            target.display().to_string(),
            format!("{:.0}", facts.bytes as f64 / 1e6),
            format!("{:.2}", facts.bits_per_weight()),
            facts.weights.shares(),
        ]);
        last = Some(facts);
    }
    let columns = [Words, Numbers, Numbers, Words];
    print(&format!("{}\n", table(&head, &rows, &columns)))?;
    let from = last.and_then(|facts| facts.weights.requantized_from);
    if let Some(from) = from.filter(|from| from.parse() != Ok(Level::F32) && from != "F16") {
        say(&format!(
            "{stem} is itself quantized ({from}): its losses are in every file above, and the base of a comparison is the dequantized file (f32), not the original"
        ));
    }
    Ok(())
}

fn facts(path: &Path) -> anyhow::Result<Facts> {
    Ok(Model::load(path, &ModelOptions::default())?.facts().clone())
}

/// Shows how many tensors are done while `work` runs.
fn with_bar<T>(message: &str, work: impl FnOnce() -> T) -> T {
    let (done, waiting) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let bar = tensor_bar(message.to_string());
            let step = Duration::from_millis(120);
            while waiting.recv_timeout(step) == Err(RecvTimeoutError::Timeout) {
                let (tensors, total) = quantize_progress();
                bar.set_length(total.into());
                bar.set_position(tensors.into());
            }
            bar.finish_and_clear();
        });
        let result = work();
        drop(done);
        result
    })
}
