//! `midlayer bench model`: a random model of a wanted size as a file.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::super::args::BenchModelArgs;
use super::super::follow::Stopped;
use super::super::output::{byte_bar, print, say};
use super::super::setup::tried;
use crate::runtime::{ShapeError, is_ignored};

pub fn run(args: &BenchModelArgs) -> anyhow::Result<()> {
    let shape = args.shape();
    // Before anything is looked for.
    shape.check()?;
    let (source, _held) = tried(&args.model)?;
    // A stop takes the unfinished file away.
    let signal = Arc::new(AtomicUsize::new(0));
    for number in [SIGINT, SIGTERM, SIGHUP] {
        if !is_ignored(number) {
            signal_hook::flag::register_usize(number, signal.clone(), number as usize)?;
        }
    }
    let out = &args.out;
    let bar = byte_bar(format!("writing {}", out.display()));
    let mut begun = false;
    let written = shape.write(&source, args.seed, out, &mut |done, all| {
        if !std::mem::replace(&mut begun, true) {
            bar.set_length(all);
            if bar.is_hidden() {
                say(&format!(
                    "writing {}, {} MB",
                    out.display(),
                    all / 1_000_000
                ));
            }
        }
        bar.set_position(done);
        match signal.load(Ordering::SeqCst) {
            0 => ControlFlow::Continue(()),
            _ => ControlFlow::Break(()),
        }
    });
    bar.finish_and_clear();
    let written = match (written, signal.load(Ordering::SeqCst)) {
        (Err(ShapeError::Stopped), number) => {
            let text = format!("stopped; {} was not written", out.display());
            return Err(Stopped::by(number as i32, text).into());
        }
        (written, _) => written?,
    };
    print(&format!(
        "{}: {:.1} MB, {:.1} million weights, {} layers, {} tokens\n",
        out.display(),
        written.bytes as f64 / 1e6,
        written.weights as f64 / 1e6,
        shape.n_layer,
        written.tokens,
    ))
}
