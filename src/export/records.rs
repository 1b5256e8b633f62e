//! From stored results to records.

use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::{EXPORT_VERSION, Record};
use crate::experiment::{Spec, Treatment};
use crate::intervention::Site;
use crate::store::{ResultRow, StoredItem, StoredRun, StoredVariant};
use crate::tasks::{CHANCE, LOGIT_DIFFERENCE, TaskName};

/// Whether records hold prompts. They repeat in every record of an item, and may be long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prompts {
    /// They do.
    Included,
    /// They are empty.
    LeftOut,
}

/// The records of a run, in the order in which its results are stored. `name` is what the run is
/// called in them.
pub fn records<'r>(
    name: &'r str,
    run: &'r StoredRun,
    prompts: Prompts,
) -> impl Iterator<Item = Record<'r>> {
    let id = id(run);
    run.variants.iter().flat_map(move |variant| {
        let common = Record {
            run: name.into(),
            run_id: id.clone().into(),
            started: run.started.as_deref().unwrap_or_default().into(),
            revision: run.revisions.join(", ").into(),
            ..of_variant(variant)
        };
        let items = Items::of(variant);
        let rows = variant.rows.iter();
        rows.map(move |row| of_row(&common, variant, &items, row, prompts))
    })
}

/// Twelve digits of a hash of what a run depends on and of when it was begun.
fn id(run: &StoredRun) -> String {
    let specs: Vec<&Spec> = run.variants.iter().map(|variant| &variant.spec).collect();
    let of = serde_json::to_string(&(specs, &run.started)).expect("plain data");
    let hash = Sha256::digest(of.as_bytes());
    hash.iter().take(6).map(|b| format!("{b:02x}")).collect()
}

/// A variant's items with the names that people know them by, and the scores of their clean runs, by task and name.
struct Items<'r> {
    items: HashMap<(TaskName, &'r str), (&'r StoredItem, String)>,
    clean: HashMap<(TaskName, &'r str), f64>,
}

impl<'r> Items<'r> {
    fn of(variant: &'r StoredVariant) -> Self {
        let items = variant.items.iter();
        let clean = variant.rows.iter();
        let clean = clean.filter(|row| row.cell.treatment == Treatment::Clean);
        Self {
            items: items
                .map(|item| ((item.task, &*item.name), (item, item.title())))
                .collect(),
            clean: clean
                .map(|row| ((row.task, &*row.item), row.score))
                .collect(),
        }
    }
}

/// What all records of a variant have in common.
fn of_variant(variant: &StoredVariant) -> Record<'_> {
    let spec = &variant.spec;
    let facts = &spec.model.facts;
    let sites: Vec<String> = spec.sites.iter().map(Site::to_string).collect();
    Record {
        schema_version: EXPORT_VERSION,
        variant: (&variant.label).into(),
        model: (&facts.name).into(),
        model_sha256: (&spec.model.sha256).into(),
        architecture: (&facts.architecture).into(),
        quantization: facts.level().into(),
        n_layer: facts.n_layer,
        bits_per_weight: finite(facts.bits_per_weight()),
        cache_k: spec.context.cache_k.to_string().into(),
        cache_v: spec.context.cache_v.to_string().into(),
        strategy: spec.strategy.to_string().into(),
        threads: spec.context.threads,
        manipulate_generated: spec.manipulate_generated,
        from_step: saturating(spec.from_step as u64),
        site: sites.join("+").into(),
        extent: spec.extent.to_string().into(),
        tokens: (&spec.tokens).into(),
        ..Record::default()
    }
}

fn of_row<'r>(
    common: &Record<'r>,
    variant: &StoredVariant,
    items: &Items<'r>,
    row: &'r ResultRow,
    prompts: Prompts,
) -> Record<'r> {
    let key = (row.task, &*row.item);
    let known = items.items.get(&key);
    let item = known.map(|(item, _)| *item);
    let title = known.map_or(row.item.to_string(), |(_, title)| title.clone());
    let prompt = |of: fn(&StoredItem) -> &str| match prompts {
        Prompts::Included => item.map_or("", of),
        Prompts::LeftOut => "",
    };
    let mut tasks = variant.spec.tasks.iter();
    let task = tasks.find(|task| task.task == row.task);
    let metric = |name: &str| row.metrics.get(name).copied().and_then(finite);
    Record {
        task: row.task.to_string().into(),
        task_version: task.map_or(0, |task| task.version),
        sample: task.is_some_and(|task| task.is_sample()),
        limit: task.map_or(0, |task| saturating(task.limit as u64)),
        shots: task.map_or(0, |task| saturating(task.shots as u64)),
        chat: task.is_some_and(|task| task.chat),
        item: (&*row.item).into(),
        item_name: title.into(),
        prompt: prompt(|item| &item.prompt).into(),
        right_answer: item.map_or("", |item| item.answer.as_str()).into(),
        donor_prompt: prompt(|item| item.donor.as_deref().unwrap_or_default()).into(),
        donor_answer: item
            .and_then(|item| item.modified_answer.as_deref())
            .unwrap_or_default()
            .into(),
        manipulation: row.cell.treatment.to_string().into(),
        layer: row.cell.layer,
        depth: row
            .cell
            .layer
            .and_then(|layer| finite(f64::from(layer) / f64::from(common.n_layer))),
        seed: row.cell.seed,
        score: finite(row.score),
        clean_score: items.clean.get(&key).copied().and_then(finite),
        correct: row.correct,
        agrees: row.agrees,
        answer: (&*row.answer).into(),
        logprob: finite(row.logprob),
        rank: saturating(row.rank),
        kl: finite(row.kl),
        argmax_text: (&*row.argmax_text).into(),
        modified_correct: row.modified_correct,
        modified_logprob: row.modified_logprob.and_then(finite),
        metric_exact_match: metric("exact_match"),
        metric_f1: metric("f1"),
        metric_rouge1: metric("rouge1"),
        metric_rouge2: metric("rouge2"),
        metric_rougel: metric("rougeL"),
        metric_rougelsum: metric("rougeLsum"),
        metric_chance: metric(CHANCE),
        metric_logit_difference: metric(LOGIT_DIFFERENCE),
        ..common.clone()
    }
}

fn finite(number: f64) -> Option<f64> {
    number.is_finite().then_some(number)
}

/// Vocabularies and steps are far below the limit.
fn saturating(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
