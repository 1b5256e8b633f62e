//! `midlayer sweep`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::ProgressBar;

use super::args::{SweepArgs, YesNo};
use super::output::{bar, print, say};
use super::pull::pulled_dataset;
use super::setup::{Loaded, load};
use midlayer::engine::Strategy;
use midlayer::models::sha256;
use midlayer::runtime::{devices, llama_cpp_version};
use midlayer::store::{Store, StoredRun};
use midlayer::sweep::{DataSource, Grid, ModelIdentity, Progress, Spec, TaskSpec};
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
    let strategy = args.strategy.into();
    let mut engine = loaded.engine_by(strategy, args.parallel)?;
    // Opened before anything is computed, so that a bad folder fails early.
    let mut store = Store::open(&out, &spec, &grid)?;
    store.begin_session(midlayer::REVISION, std::env::consts::ARCH)?;
    let mut progress = Terminal::new()?;
    for note in &grid.notes {
        say(note);
    }
    let result = sweep::run(&spec, &grid, engine.as_mut(), &mut store, &mut progress);
    progress.bar.finish_and_clear();
    let summary = match result {
        Ok(summary) => summary,
        Err(error) => {
            store.close_failed();
            return Err(error.into());
        }
    };
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
        let all = if task == TaskName::Capitals { 195 } else { 100 };
        tasks.push(TaskSpec {
            task,
            version: task.version(),
            limit: limit_of(args, task).unwrap_or(all),
            shots: args.shots as usize,
            chat: args.chat.contains(&task),
            data: data_source(args, task)?,
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
    let strategy = args.strategy.into();
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
        strategy,
        parallel: (strategy == Strategy::Planned).then_some(args.parallel),
        tasks,
        manipulations,
        layers,
        seeds,
        extent: args.place.extent,
        tokens: args.place.tokens.to_string(),
        sites: args.place.sites(),
        manipulate_generated: args.generation.manipulate_generated == YesNo::Yes,
        from_step: args.generation.from_step as usize,
    })
}

/// The task's own limit, or else the one for all.
fn limit_of(args: &SweepArgs, task: TaskName) -> Option<usize> {
    let find = |of: Option<TaskName>| args.limit.iter().rev().find(|limit| limit.task == of);
    find(Some(task)).or(find(None)).map(|limit| limit.limit)
}

/// Where a task's items come from: the file named, else the pulled set, else the sample.
fn data_source(args: &SweepArgs, task: TaskName) -> anyhow::Result<Option<DataSource>> {
    if !task.reads_data() {
        return Ok(None);
    }
    let named = args.data.iter().find(|data| data.task == task);
    let path = match named {
        Some(data) => Some(std::path::absolute(&data.path)?),
        None => pulled_dataset(&task.to_string()),
    };
    if path.is_none() {
        say(&format!(
            "{task}: using the small sample written for midlayer by a language model; for the real set: midlayer pull {task}, or --data {task}=FILE"
        ));
    }
    Ok(Some(DataSource {
        sha256: path
            .as_deref()
            .map(sha256)
            .transpose()
            .map_err(|error| anyhow::anyhow!("{error} (--data {task}=FILE)"))?,
        path,
    }))
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
