//! `midlayer sweep`.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::ProgressBar;

use super::args::{SweepArgs, YesNo};
use super::command_line::command_line;
use super::output::{bar, print, say, width};
use super::pull::pulled_dataset;
use super::selftest::before_sweep;
use super::setup::{Loaded, load_file, model_files};
use midlayer::engine::Strategy;
use midlayer::hub::Origin;
use midlayer::models::{Held, HeldError, ModelFiles};
use midlayer::runtime::{CacheType, ContextOptions, devices, llama_cpp_version};
use midlayer::shown::visible;
use midlayer::store::{Store, StoredRun};
use midlayer::sweep::{
    DataSource, ModelIdentity, Progress, Spec, TaskSpec, Variant, alike, labels,
};
use midlayer::tasks::TaskName;
use midlayer::{report, sweep};

pub fn run(args: SweepArgs) -> anyhow::Result<()> {
    if args.dry_run {
        return super::dry_run::run(&args);
    }
    let files = model_files(&args.model)?;
    let mut sources = Vec::new();
    let mut variants = Vec::new();
    let mut last = None;
    for file in &files {
        let loaded = load_file(file.clone(), &args.model)?;
        for notice in loaded.model.facts().notices() {
            say(&notice);
        }
        for cache in cache_types(&args) {
            let spec = specification(&args, &loaded, cache)?;
            variants.push(Variant::new(spec)?);
            sources.push(file);
        }
        last = Some(loaded);
    }
    let out = args.out.clone().unwrap_or_else(|| {
        let stem = files[0].file_stem().unwrap_or_default();
        PathBuf::from("runs").join(stem)
    });
    // Opened before anything is computed, so that a bad folder fails early.
    let mut store = Store::open(&out, &variants)?;
    if let Some(notice) = store.notice() {
        say(&notice);
    }
    store.begin_session(midlayer::REVISION, std::env::consts::ARCH)?;
    store.note_command(&command_line(std::env::args_os().skip(1)))?;
    let mut progress = Terminal::new()?;
    tell_samples(&variants[0].spec);
    let mut noted = Vec::new();
    for note in variants.iter().flat_map(|variant| &variant.grid.notes) {
        if !noted.contains(&note) {
            say(note);
            noted.push(note);
        }
    }
    let specs: Vec<&Spec> = variants.iter().map(|v| &v.spec).collect();
    alike(&specs).iter().for_each(|notice| say(notice));
    let labels = labels(&specs);
    let mut resumed = 0;
    for (n, (variant, file)) in variants.iter().zip(sources).enumerate() {
        if variants.len() > 1 {
            say(&format!("{} ({} of {})", labels[n], n + 1, variants.len()));
        }
        // One model at a time is in memory, and none is loaded twice in a row.
        let mut loaded = match last.take() {
            Some(loaded) if loaded.path == *file => loaded,
            _ => load_file(file.clone(), &args.model)?,
        };
        loaded.files.expect(&variant.spec.model.sha256)?;
        progress.model = Some(loaded.files.clone());
        loaded.options = variant.spec.context.clone();
        let strategy = args.strategy.into();
        let examined = before_sweep(&loaded, &variant.spec, &mut store.part(n), args.force);
        let result = examined
            .and_then(|()| loaded.engine_by(strategy, args.parallel))
            .and_then(|mut engine| {
                let mut part = store.part(n);
                Ok(sweep::run(
                    variant,
                    engine.as_mut(),
                    &mut part,
                    &mut progress,
                )?)
            });
        progress.bar.finish_and_clear();
        match result {
            Ok(summary) => resumed += summary.resumed,
            Err(error) => {
                store.close_failed();
                return Err(error);
            }
        }
        last = Some(loaded);
    }
    drop(store);
    if resumed > 0 {
        say(&format!("{resumed} items were there already"));
    }
    let stored = StoredRun::read(&out)?;
    let threshold = args.threshold.threshold;
    // The report is written whether anybody reads the tables or not.
    let printed = print(&report::terminal(&stored, threshold, width()));
    for file in report::write(&stored, threshold)? {
        say(&format!("wrote {}", file.display()));
    }
    let page = out.join(report::PAGE);
    report::write_page(std::slice::from_ref(&stored), threshold, &page)?;
    say(&format!("wrote {}", page.display()));
    say(&format!(
        "results are in {}",
        out.join(midlayer::store::DATABASE).display()
    ));
    printed
}

/// The cache types to compare, as (K, V).
pub fn cache_types(args: &SweepArgs) -> Vec<(CacheType, CacheType)> {
    if args.cache_type.is_empty() {
        return vec![(args.model.cache_type_k, args.model.cache_type_v)];
    }
    args.cache_type.iter().map(|both| (*both, *both)).collect()
}

/// Everything the results of a model depend on.
pub fn specification(
    args: &SweepArgs,
    loaded: &Loaded,
    (cache_k, cache_v): (CacheType, CacheType),
) -> anyhow::Result<Spec> {
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
    let mut spec = Spec {
        model: ModelIdentity {
            sha256: loaded.files.sha256().to_string(),
            parts: loaded.files.parts(),
            hub: Origin::of(&loaded.path),
            facts,
        },
        llama_cpp: llama_cpp_version(),
        devices: devices()?.into_iter().map(|d| d.description).collect(),
        gpu_layers: args.model.n_gpu_layers,
        context: ContextOptions {
            cache_k,
            cache_v,
            ..loaded.options.clone()
        },
        strategy,
        parallel: (strategy == Strategy::Planned).then_some(args.parallel),
        tasks,
        manipulations,
        layers,
        left_out: Vec::new(),
        seeds,
        extent: args.place.extent,
        tokens: args.place.tokens.to_string(),
        sites: args.place.sites(),
        manipulate_generated: args.generation.manipulate_generated == YesNo::Yes,
        from_step: args.generation.from_step as usize,
    };
    spec.fit(&loaded.anatomy(&spec.context)?, &args.layers)?;
    Ok(spec)
}

/// The task's own limit, or else the one for all.
fn limit_of(args: &SweepArgs, task: TaskName) -> Option<usize> {
    let find = |of: Option<TaskName>| args.limit.iter().rev().find(|limit| limit.task == of);
    find(Some(task)).or(find(None)).map(|limit| limit.limit)
}

/// Says which tasks of a specification run on the program's own sample.
pub fn tell_samples(spec: &Spec) {
    for task in spec.tasks.iter().filter(|task| task.is_sample()) {
        let task = task.task;
        say(&format!(
            "{task}: using the small sample written for midlayer by a language model; for the real set: midlayer pull {task}, or --data {task}=FILE"
        ));
    }
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
    Ok(Some(DataSource {
        sha256: path
            .as_deref()
            .map(Held::open)
            .transpose()
            .map_err(|error| anyhow::anyhow!("{error} (--data {task}=FILE)"))?
            .map(|held| held.sha256().to_string()),
        path,
    }))
}

/// A bar with the time left; Ctrl-C asks the sweep to stop, a second one stops at once.
struct Terminal {
    bar: ProgressBar,
    /// The files of the model that runs.
    model: Option<Arc<ModelFiles>>,
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
            model: None,
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
        self.bar
            .set_message(visible(&format!("{task} {item}")).into_owned());
        self.bar.inc(1);
    }

    fn note(&mut self, text: &str) {
        self.bar.suspend(|| say(text));
    }

    fn check(&self) -> Result<(), HeldError> {
        let model = self.model.as_ref();
        model.map_or(Ok(()), |files| files.check_contents())
    }

    fn stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }
}
