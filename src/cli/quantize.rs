//! `midlayer quantize`.

use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use super::args::QuantizeArgs;
use super::output::{print, say, table, tensor_bar};
use super::setup::tried;
use crate::models::requantize;
use crate::report::Column::{Numbers, Words};
use crate::runtime::{ContextOptions, Facts, Model, ModelOptions, model_name, quantize_progress};

pub fn run(args: QuantizeArgs) -> anyhow::Result<()> {
    let (source, files) = tried(&args.model)?;
    std::fs::create_dir_all(&args.out)
        .map_err(|e| anyhow::anyhow!("{} cannot be made: {e} (--out)", args.out.display()))?;
    let stem = model_name(&source);
    let threads = args.threads.unwrap_or(ContextOptions::default().threads);
    let head = ["file", "MB", "bits a weight", "types of the matrices"];
    let mut rows = Vec::new();
    let mut last = None;
    for level in &args.levels {
        let target = args.out.join(format!("{stem}.requantized-{level}.gguf"));
        with_bar(&format!("requantizing {stem} to {level}"), || {
            requantize(&files, &source, *level, &target, threads)
        })?;
        let facts = facts(&target)?;
        // That the source is quantized is said once, below.
        let quantized = usize::from(facts.is_from_quantized());
        facts.notices().iter().skip(quantized).for_each(|n| say(n));
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
    let from = last.filter(Facts::is_from_quantized);
    if let Some(from) = from.and_then(|facts| facts.weights.requantized_from) {
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
