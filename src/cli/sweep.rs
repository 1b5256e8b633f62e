//! `midlayer sweep`.

use std::path::PathBuf;

use super::args::{ChatArg, SweepArgs, TaskArg, YesNo};
use super::command_line::command_line;
use super::follow::Follow;
use super::output::{print, say, width};
use super::pull::pulled_dataset;
use super::selftest::{Wishes, before_sweep};
use super::setup::{Loaded, load_file, model_files};
use midlayer::engine::Strategy;
use midlayer::hub::Origin;
use midlayer::models::{Held, Remember, cache_folder};
use midlayer::report::{self, Report};
use midlayer::runtime::{CacheType, ContextOptions, devices, llama_cpp_version};
use midlayer::stats::{Expected, FEWEST_ITEMS, normal_quantile, tango_bound, wilson};
use midlayer::store::{Part, Store, StoredRun};
use midlayer::sweep;
use midlayer::sweep::{
    Comparison, ModelIdentity, Outside, Prepared, PreparedTask, Spec, Summary, SweepError, Variant,
    alike, labels,
};
use midlayer::tasks::own::Definition;
use midlayer::tasks::{DataSource, Task, TaskError, TaskName, TaskSpec};

pub fn run(args: SweepArgs) -> anyhow::Result<()> {
    args.outside.check(args.manipulate.iter().copied())?;
    if args.dry_run {
        return super::dry_run::run(&args);
    }
    let mut follow = Follow::new(args.budget)?;
    let files = model_files(&args.model)?;
    let strategy = args.strategy.into();
    let (mut sources, mut prepared) = (Vec::new(), Vec::new());
    let mut last = None;
    // Everything that can be known is known before the first variant is computed.
    for file in &files {
        follow.step(&format!("loading {}", file.display()));
        let mut loaded = load_file(file.clone(), &args.model)?;
        let facts = loaded.model.facts();
        let of_context = facts.context_notice(loaded.options.n_ctx);
        for notice in facts.notices().into_iter().chain(of_context) {
            say(&notice);
        }
        for cache in cache_types(&args) {
            let spec = specification(&args, &loaded, cache, Remember::Hash)?;
            loaded.options = spec.context.clone();
            let engine = loaded.engine_by(strategy, args.parallel)?;
            prepared.push(Prepared::new(Variant::new(spec)?, engine.as_ref())?);
            sources.push(file);
        }
        last = Some(loaded);
    }
    let variants: Vec<Variant> = prepared.iter().map(|p| p.variant().clone()).collect();
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
    for (n, prepared) in prepared.iter().enumerate() {
        prepared.note(&mut store.part(n))?;
    }
    let results = prepared.iter().map(|p| p.amount().results).sum();
    let adaptive = variants[0].spec.until.is_some();
    follow.opened((!adaptive).then_some(results), store.results()?);
    tell_samples(&variants[0].spec);
    tell_once(prepared.iter().flat_map(notes));
    let specs: Vec<&Spec> = variants.iter().map(|v| &v.spec).collect();
    alike(&specs).iter().for_each(|notice| say(notice));
    let labels = labels(&specs);
    let mut resumed = 0;
    let mut spent = false;
    let mut comparison = match variants.len() {
        1 => Comparison::Alone,
        _ => Comparison::First,
    };
    for (n, (prepared, file)) in prepared.iter().zip(sources).enumerate() {
        if variants.len() > 1 {
            say(&format!("{} ({} of {})", labels[n], n + 1, variants.len()));
        }
        // One model at a time is in memory, and none is loaded twice in a row.
        let mut loaded = match last.take() {
            Some(loaded) if loaded.path == *file => loaded,
            _ => load_file(file.clone(), &args.model)?,
        };
        let spec = &prepared.variant().spec;
        loaded.files.expect(&spec.model.sha256)?;
        follow.model = Some(loaded.files.clone());
        loaded.options = spec.context.clone();
        let part = &mut store.part(n);
        let result = run_variant(&args, &loaded, prepared, part, &mut follow, &comparison);
        follow.rest();
        match result {
            Ok(summary) => {
                resumed += summary.resumed;
                spent |= summary.spent;
                if n == 0 && variants.len() > 1 {
                    comparison = Comparison::With(summary.windows);
                }
            }
            Err(error) if matches!(error.downcast_ref(), Some(SweepError::Interrupted)) => {
                return Err(follow.stopped_error().into());
            }
            Err(error) => {
                store.close_failed();
                return Err(error);
            }
        }
        last = Some(loaded);
        if spent {
            break;
        }
    }
    drop(store);
    follow.reports();
    if spent {
        say(
            "the time that --budget allows is over: what follows is about what is stored so far; repeat the command to go on",
        );
    }
    if resumed > 0 {
        say(&format!("{resumed} results were there already"));
    }
    let stored = StoredRun::read(&out)?;
    let report = Report::new(&stored, args.verdicts.options());
    // The report is written whether anybody reads the tables or not.
    let printed = print(&report::terminal(&report, width()));
    for file in report::write(&report)? {
        say(&format!("wrote {}", file.display()));
    }
    let page = out.join(report::PAGE);
    report::write_page(std::slice::from_ref(&report), &page)?;
    say(&format!("wrote {}", page.display()));
    say(&format!(
        "results are in {}",
        out.join(midlayer::store::DATABASE).display()
    ));
    printed
}

/// Examines what a variant is about to do, and runs it.
fn run_variant(
    args: &SweepArgs,
    loaded: &Loaded,
    prepared: &Prepared,
    part: &mut Part<'_>,
    follow: &mut Follow,
    comparison: &Comparison,
) -> anyhow::Result<Summary> {
    let mut engine = loaded.engine_by(args.strategy.into(), args.parallel)?;
    let wishes = Wishes {
        force: args.force,
        leave_out: args.no_selftest,
    };
    before_sweep(loaded, prepared, engine.as_mut(), part, wishes)?;
    Ok(sweep::run(
        prepared,
        engine.as_mut(),
        part,
        follow,
        comparison,
    )?)
}

/// What to know of a variant before it runs.
pub fn notes(prepared: &Prepared) -> Vec<String> {
    let mut notes = prepared.variant().grid.notes.clone();
    notes.extend(prepared.notes());
    notes.extend(prepared.tasks().iter().filter_map(too_few));
    notes
}

/// What so few items can show and what they cannot.
fn too_few(of: &PreparedTask) -> Option<String> {
    let (task, n) = (of.task, of.set.items.len());
    if n >= FEW {
        return None;
    }
    let (low, high) = wilson(0.5, n);
    let points = (50.0 * (high - low)).round();
    let least = FEWEST_ITEMS;
    let layers = if n < least {
        format!(
            "no half-way layer can be given, which takes {least} items that the clean model scores on"
        )
    } else {
        let within = |width| Expected::of(0.5, width).precision(n);
        format!(
            "a half-way layer is given only if the clean model scores on {least} of them (if on half, to about {:.1} layers of a sharp step and {:.1} of a gradual one)",
            within(1.0),
            within(4.0)
        )
    };
    // What is shown where not one answer changes.
    let bound = tango_bound(0.0, 0.0, n as f64, normal_quantile(0.95));
    Some(format!(
        "{task}: with {n} items {layers}; a loss can be shown to be at most {:.0} points and no less; 95% intervals reach up to {points} points to either side (--limit)",
        (100.0 * bound).ceil()
    ))
}

/// Items below which it is said what they cannot show.
const FEW: usize = 30;

/// Says each of several notes once.
pub fn tell_once(notes: impl IntoIterator<Item = String>) {
    let mut told = Vec::new();
    for note in notes {
        if !told.contains(&note) {
            say(&note);
            told.push(note);
        }
    }
}

/// The cache types to compare, as (K, V).
pub fn cache_types(args: &SweepArgs) -> Vec<(CacheType, CacheType)> {
    if args.cache_type.is_empty() {
        return vec![(args.model.cache_type_k, args.model.cache_type_v)];
    }
    args.cache_type.iter().map(|both| (*both, *both)).collect()
}

/// Everything the results of a model depend on. Where nothing is to be written, data files have no
/// hash in it.
pub fn specification(
    args: &SweepArgs,
    loaded: &Loaded,
    (cache_k, cache_v): (CacheType, CacheType),
    keep: Remember,
) -> anyhow::Result<Spec> {
    let facts = loaded.model.facts().clone();
    let layers = args.layers.resolve(facts.n_layer)?;
    let mut tasks: Vec<TaskSpec> = Vec::new();
    check_names(args)?;
    for asked in &args.task {
        if tasks.iter().all(|t| t.task != asked.task) {
            tasks.push(task_spec(args, asked, keep)?);
        }
    }
    let mut manipulations = args.manipulate.clone();
    let mut seen = Vec::new();
    manipulations.retain(|kind| {
        !seen.contains(kind) && {
            seen.push(*kind);
            true
        }
    });
    let (direction, mean_of) = (
        args.outside.direction.as_deref(),
        args.outside.mean_of.as_deref(),
    );
    let outside = Outside::of(direction, mean_of, &facts)?;
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
        until: args.until()?,
        outside,
    };
    spec.fit(&loaded.anatomy(&spec.context)?, &args.layers)?;
    Ok(spec)
}

/// A task's settings.
fn task_spec(args: &SweepArgs, asked: &TaskArg, keep: Remember) -> anyhow::Result<TaskSpec> {
    let task = asked.task;
    let own = asked.file.as_deref().map(Definition::beside).transpose()?;
    let about: &dyn Task = match (&own, task.built_in()) {
        (Some(own), _) => own,
        (None, Some(built_in)) => built_in,
        (None, None) => anyhow::bail!("{}", TaskError::Unknown(task)),
    };
    let all = match (&own, &asked.file) {
        (Some(own), Some(file)) => own.count(task, file)?,
        _ => about.usual_limit(),
    };
    let math = task == TaskName::Math;
    let chat = args.chat.contains(&ChatArg::All) || args.chat.contains(&ChatArg::Task(task));
    let shots = args.shots.map(|shots| shots as usize);
    Ok(TaskSpec {
        task,
        version: about.version(),
        limit: limit_of(args, task).unwrap_or(all),
        shots: shots.unwrap_or(about.usual_shots()),
        chat,
        chat_date: chat.then_some(args.wording.chat_date),
        parse_special: args.wording.in_data(),
        data: data_source(args, asked, about, keep)?,
        math_max: math.then_some(args.math_max),
        math_seed: math.then_some(args.math_seed),
        own,
    })
}

/// That options about single tasks are about tasks that run.
fn check_names(args: &SweepArgs) -> anyhow::Result<()> {
    let runs = |task: TaskName| args.task.iter().any(|asked| asked.task == task);
    let limits = args.limit.iter().filter_map(|limit| limit.task);
    let chats = args.chat.iter().filter_map(|chat| match chat {
        ChatArg::All => None,
        ChatArg::Task(task) => Some(*task),
    });
    let named = limits.map(|task| ("--limit", task));
    let mut named = named.chain(chats.map(|task| ("--chat", task)));
    match named.find(|(_, task)| task.built_in().is_none() && !runs(*task)) {
        Some((option, task)) => {
            anyhow::bail!("{option}: {task} is neither a built-in task nor one of --task")
        }
        None => Ok(()),
    }
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
fn data_source(
    args: &SweepArgs,
    asked: &TaskArg,
    about: &dyn Task,
    keep: Remember,
) -> anyhow::Result<Option<DataSource>> {
    if !about.reads_data() {
        return Ok(None);
    }
    let task = asked.task;
    let named = args.data.iter().find(|data| data.task == task);
    let named = asked.file.as_ref().or(named.map(|data| &data.path));
    let path = match named {
        Some(path) => Some(std::path::absolute(path)?),
        None => pulled_dataset(task.as_str()),
    };
    let option = match asked.file {
        Some(_) => format!("--task {task}=FILE"),
        None => format!("--data {task}=FILE"),
    };
    let open = |path: &PathBuf| Held::open_in(path, &cache_folder(), keep);
    let held = path.as_ref().map(open).transpose();
    let held = held.map_err(|error| anyhow::anyhow!("{error} ({option})"))?;
    let noted = held.filter(|_| keep == Remember::Hash);
    Ok(Some(DataSource {
        sha256: noted.map(|held| held.sha256().to_string()),
        path,
    }))
}
