//! From the options of `midlayer sweep` to everything that its results depend on.

use super::args::{ChatArg, SweepArgs, TaskArg, YesNo};
use super::setup::Loaded;
use crate::engine::Strategy;
use crate::experiment::{ModelIdentity, Outside, Spec};
use crate::hub::Origin;
use crate::intervention::Kind;
use crate::models::Remember;
use crate::runtime::{CacheType, ContextOptions, devices, llama_cpp_version};
use crate::tasks::{TaskName, TaskSpec};
use crate::trial::Told;

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
            tasks.push(asked.named().spec(&told(args, asked), keep)?);
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

/// What options say of one task.
fn told<'a>(args: &'a SweepArgs, asked: &TaskArg) -> Told<'a> {
    let task = asked.task;
    let mut data = args.data.iter();
    let chat = args.chat.contains(&ChatArg::All) || args.chat.contains(&ChatArg::Task(task));
    Told {
        limit: limit_of(args, task),
        shots: args.shots.map(|shots| shots as usize),
        chat: chat.then_some(args.wording.chat_date),
        parse_special: args.wording.in_data(),
        data: data.find(|data| data.task == task).map(|data| &*data.path),
        math: Some((args.math_max, args.math_seed)),
    }
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
