//! `midlayer sweep`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::ProgressBar;

use super::args::SweepArgs;
use super::output::{bar, print, say};
use super::setup::{Loaded, load};
use midlayer::engine::Engine;
use midlayer::models::sha256;
use midlayer::runtime::{devices, llama_cpp_version};
use midlayer::store::{Store, StoredRun};
use midlayer::sweep::{Grid, ModelIdentity, Progress, Spec, TaskSpec};
use midlayer::tasks::TaskName;
use midlayer::{report, sweep};

pub fn run(args: SweepArgs) -> anyhow::Result<()> {
    let loaded = load(&args.model)?;
    let spec = specification(&args, &loaded)?;
    let grid = Grid::of(&spec)?;
    let out = args.out.clone().unwrap_or_else(|| {
        let stem = loaded.path.file_stem().unwrap_or_default();
        PathBuf::from("runs").join(stem)
    });
    let mut engine = loaded.engine()?;
    // Opened before anything is computed, so that a bad folder fails early.
    let mut store = Store::open(&out, &spec, &grid)?;
    store.begin_session(midlayer::REVISION, std::env::consts::ARCH)?;
    let mut progress = Terminal::new()?;
    for note in &grid.notes {
        say(note);
    }
    let result = sweep::run(
        &spec,
        &grid,
        &mut engine as &mut dyn Engine,
        &mut store,
        &mut progress,
    );
    progress.bar.finish_and_clear();
    let summary = result?;
    drop(store);
    if summary.resumed > 0 {
        say(&format!("{} items were there already", summary.resumed));
    }
    let stored = StoredRun::read(&out)?;
    print(&report::terminal(&stored))?;
    for file in report::write(&stored)? {
        say(&format!("wrote {}", file.display()));
    }
    say(&format!(
        "results are in {}",
        out.join(midlayer::store::DATABASE).display()
    ));
    Ok(())
}

fn specification(args: &SweepArgs, loaded: &Loaded) -> anyhow::Result<Spec> {
    let facts = loaded.model.facts().clone();
    let layers = args.layers.resolve(facts.n_layer)?;
    let mut tasks: Vec<TaskSpec> = Vec::new();
    for &task in &args.task {
        if tasks.iter().any(|t| t.task == task) {
            continue;
        }
        let math = task == TaskName::Math;
        let all = if math { 100 } else { 195 };
        tasks.push(TaskSpec {
            task,
            version: task.version(),
            limit: args.limit.map_or(all, |n| n as usize),
            shots: args.shots as usize,
            math_max: math.then_some(args.math_max),
            math_seed: math.then_some(args.math_seed),
        });
    }
    let mut manipulations = args.manipulate.clone();
    let mut seen = Vec::new();
    manipulations.retain(|kind| {
        !seen.contains(kind) && {
            seen.push(*kind);
            true
        }
    });
    let mut seeds = args.seed.clone();
    seeds.sort_unstable();
    seeds.dedup();
    Ok(Spec {
        model: ModelIdentity {
            sha256: sha256(&loaded.path)?,
            facts,
        },
        llama_cpp: llama_cpp_version(),
        devices: devices()?.into_iter().map(|d| d.description).collect(),
        gpu_layers: args.model.n_gpu_layers,
        context: loaded.options.clone(),
        strategy: "straightforward".into(),
        tasks,
        manipulations,
        layers,
        seeds,
        extent: args.place.extent,
        tokens: args.place.tokens.to_string(),
    })
}

/// A bar with the time left; Ctrl-C asks the sweep to stop, a second one stops at once.
struct Terminal {
    bar: ProgressBar,
    stopped: Arc<AtomicBool>,
}

impl Terminal {
    fn new() -> anyhow::Result<Self> {
        let stopped = Arc::new(AtomicBool::new(false));
        let flag = stopped.clone();
        ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
        })?;
        Ok(Self {
            bar: ProgressBar::hidden(),
            stopped,
        })
    }
}

impl Progress for Terminal {
    fn begin(&mut self, cells: usize, done: usize) {
        self.bar = bar(cells as u64);
        self.bar.set_position(done as u64);
        self.bar.reset_eta();
    }

    fn cell(&mut self, task: TaskName, item: &str) {
        self.bar.set_message(format!("{task} {item}"));
        self.bar.inc(1);
    }

    fn note(&mut self, text: &str) {
        self.bar.suspend(|| say(text));
    }

    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}
