//! `midlayer quantize`.

use super::args::QuantizeArgs;
use super::output::{print, spinner};
use super::setup::find;
use midlayer::runtime::{ContextOptions, quantize};

pub fn run(args: QuantizeArgs) -> anyhow::Result<()> {
    let source = find(&args.model)?;
    std::fs::create_dir_all(&args.out)
        .map_err(|e| anyhow::anyhow!("{} cannot be made: {e} (--out)", args.out.display()))?;
    let stem = source.file_stem().unwrap_or_default().to_string_lossy();
    let threads = args.threads.unwrap_or(ContextOptions::default().threads);
    for level in &args.levels {
        let target = args.out.join(format!("{stem}.requantized-{level}.gguf"));
        let waiting = spinner(format!("requantizing {stem} to {level}"));
        let done = quantize(&source, &target, *level, threads);
        waiting.finish_and_clear();
        done?;
        print(&format!("{}\n", target.display()))?;
    }
    Ok(())
}
