//! From the options of `midlayer sweep` to everything that its results depend on.

use std::path::PathBuf;

use super::args::{ChatArg, SweepArgs, TaskArg, WordingArgs, YesNo};
use super::pull::pulled_dataset;
use super::setup::Loaded;
use crate::engine::Strategy;
use crate::experiment::{ModelIdentity, Outside, Spec};
use crate::hub::Origin;
use crate::intervention::Kind;
use crate::models::{Held, Remember, cache_folder};
use crate::runtime::{CacheType, ContextOptions, devices, llama_cpp_version};
use crate::tasks::own::Definition;
use crate::tasks::{DataSource, Task, TaskError, TaskName, TaskSpec};

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
            tasks.push(task_spec(&Told::of(args, asked), asked, keep)?);
        }
    }
    let mut manipulations = match args.no_controls {
        true => args.manipulate.clone(),
        false => Kind::with_controls(&args.manipulate),
    };
    let mut seen = Vec::new();
    manipulations.retain(|kind| {
        !seen.contains(kind) && {
            seen.push(*kind);
            true
        }
    });
    let outside = Outside::of(args.outside.files(), &facts)?;
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
        tokens: args.place.tokens().to_string(),
        sites: args.place.sites(),
        manipulate_generated: args.generation.manipulate_generated == YesNo::Yes,
        from_step: args.generation.from_step as usize,
        until: args.until()?,
        outside,
    };
    spec.fit(&loaded.anatomy(&spec.context)?, &args.layers)?;
    Ok(spec)
}

/// What options say of one task, where they say something.
pub struct Told<'a> {
    pub limit: Option<usize>,
    pub shots: Option<u32>,
    pub chat: bool,
    pub wording: &'a WordingArgs,
    /// The file of a built-in task's data.
    pub data: Option<&'a PathBuf>,
    /// Math: the largest operand and the seed of the questions.
    pub math: (u32, u64),
}

impl<'a> Told<'a> {
    fn of(args: &'a SweepArgs, asked: &TaskArg) -> Self {
        let task = asked.task;
        let mut data = args.data.iter();
        Self {
            limit: limit_of(args, task),
            shots: args.shots,
            chat: args.chat.contains(&ChatArg::All) || args.chat.contains(&ChatArg::Task(task)),
            wording: &args.wording,
            data: data.find(|data| data.task == task).map(|data| &data.path),
            math: (args.math_max, args.math_seed),
        }
    }
}

/// A task's settings.
pub fn task_spec(told: &Told<'_>, asked: &TaskArg, keep: Remember) -> anyhow::Result<TaskSpec> {
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
    let chat = told.chat;
    let shots = told.shots.map(|shots| shots as usize);
    Ok(TaskSpec {
        task,
        version: about.version(),
        limit: told.limit.unwrap_or(all),
        shots: shots.unwrap_or(about.usual_shots()),
        chat,
        chat_date: chat.then_some(told.wording.chat_date),
        parse_special: told.wording.in_data(),
        data: data_source(told, asked, about, keep)?,
        math_max: math.then_some(told.math.0),
        math_seed: math.then_some(told.math.1),
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

/// Where a task's items come from: the file named, else the pulled set, else the sample.
fn data_source(
    told: &Told<'_>,
    asked: &TaskArg,
    about: &dyn Task,
    keep: Remember,
) -> anyhow::Result<Option<DataSource>> {
    if !about.reads_data() {
        return Ok(None);
    }
    let task = asked.task;
    let named = asked.file.as_ref().or(told.data);
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
