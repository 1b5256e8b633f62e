//! What was run and how, in words.

use maud::{Markup, html};

use super::View;
use crate::intervention::{Extent, Kind, Site};
use crate::report::figure::hex;
use crate::report::provenance::{machines, settings};
use crate::store::{Missing, StoredRun, StoredVariant};
use crate::tasks::TaskName;

/// The folder's own name, or the whole path where it has none.
pub(super) fn folder_name(run: &StoredRun) -> String {
    let name = run.folder.file_name();
    name.map_or_else(
        || run.folder.display().to_string(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// That a run is not complete.
pub(super) fn incomplete(runs: &[&StoredRun], run: &StoredRun, missing: &Missing) -> Markup {
    html! {
        p.notice.incomplete {
            strong {
                "Incomplete. "
                @if runs.len() > 1 { (folder_name(run)) ": " }
            }
            (missing) "."
            @if let Some(command) = &missing.command { " To go on: " code { (command) } }
        }
    }
}

/// The models' names.
pub(super) fn title(views: &[View<'_>]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for view in views {
        let name = view.variant.spec.model.facts.name.as_str();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match names.as_slice() {
        [] => "an empty run".into(),
        [a] => (*a).to_string(),
        [a, b] => format!("{a} and {b}"),
        [a, rest @ ..] => format!("{a} and {} others", rest.len()),
    }
}

pub(super) fn what_was_run(views: &[View<'_>]) -> Markup {
    let mut kinds: Vec<Kind> = Vec::new();
    for kind in views
        .iter()
        .flat_map(|view| &view.variant.spec.manipulations)
    {
        if !kinds.contains(kind) {
            kinds.push(*kind);
        }
    }
    let several = views.len() > 1;
    html! {
        @if several {
            ul.variants { @for view in views { li { strong { (view.name) } ": " (model(view.variant)) } } }
        } @else if let Some(view) = views.first() {
            p.lead { (model(view.variant)) "." }
        }
        @for text in descriptions(views) { p { (text) } }
        @if !kinds.is_empty() {
            dl.kinds {
                @for kind in kinds {
                    dt { span.swatch style={ "background:" (hex(kind)) } {} (kind) }
                    dd { (kind.manipulation().sentence()) }
                }
            }
        }
    }
}

/// What to know of the models and the data, each once.
pub(super) fn notes(runs: &[&StoredRun], views: &[View<'_>]) -> Markup {
    let mut notices: Vec<String> = Vec::new();
    let mut samples: Vec<TaskName> = Vec::new();
    for variant in views.iter().map(|view| view.variant) {
        for notice in variant.spec.notices() {
            if !notices.contains(&notice) {
                notices.push(notice);
            }
        }
        for task in variant.spec.tasks.iter().filter(|task| task.is_sample()) {
            if !samples.contains(&task.task) {
                samples.push(task.task);
            }
        }
    }
    html! {
        @for notice in together(&notices) { p.notice { strong { "Note. " } (capital(&notice)) "." } }
        @for task in &samples {
            p.notice {
                strong { "Model-written sample. " }
                "The items of " (task) " are a small set that a language model wrote for this program; its numbers are not those of the real set."
            }
        }
        @if runs.iter().any(|run| run.fallbacks > 0) {
            p.notice {
                strong { "Note. " }
                (runs.iter().map(|run| run.fallbacks).sum::<u64>())
                " results were computed whole although a part should have done."
            }
        }
        @for machines in runs.iter().filter_map(|run| machines(run)) {
            p.notice {
                strong { "Different machines. " }
                "Rounding may differ between rows: " (machines) "."
            }
        }
    }
}

/// Notices of several models that say the same, as one.
fn together(notices: &[String]) -> Vec<String> {
    const SAYS: &str = " was made from ";
    let mut joined: Vec<(Vec<&str>, &str)> = Vec::new();
    let mut others = Vec::new();
    for notice in notices {
        let Some((name, rest)) = notice.split_once(SAYS) else {
            others.push(notice.clone());
            continue;
        };
        match joined.iter_mut().find(|(_, known)| *known == rest) {
            Some((names, _)) => names.push(name),
            None => joined.push((vec![name], rest)),
        }
    }
    let joined = joined.into_iter().map(|(names, rest)| match *names {
        [name] => format!("{name}{SAYS}{rest}"),
        _ => format!("{}: each{SAYS}{rest}", names.join(", ")),
    });
    joined.chain(others).collect()
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str()
}

fn model(variant: &StoredVariant) -> String {
    let facts = &variant.spec.model.facts;
    let c = &variant.spec.context;
    format!(
        "{} layers ({}), weights at {} ({:.2} bits each), cache K {} and V {}",
        facts.n_layer,
        facts.architecture,
        facts.quantization,
        facts.bits_per_weight(),
        c.cache_k,
        c.cache_v
    )
}

/// A description for each way in which the variants were swept, which is one for those of a run
/// that have the same layers.
fn descriptions(views: &[View<'_>]) -> Vec<String> {
    let mut texts: Vec<(String, Vec<&str>)> = Vec::new();
    for view in views {
        let text = description(view);
        match texts.iter_mut().find(|(known, _)| *known == text) {
            Some((_, names)) => names.push(&view.name),
            None => texts.push((text, vec![&view.name])),
        }
    }
    let one = texts.len() == 1;
    let told = texts.into_iter().map(|(text, names)| match one {
        true => text,
        false => format!("{}. {text}", names.join(", ")),
    });
    told.collect()
}

fn description(view: &View<'_>) -> String {
    let spec = &view.variant.spec;
    let tasks: Vec<String> = spec
        .tasks
        .iter()
        .map(|task| {
            let n = view.task(task.task).map_or(0, |series| series.clean.n);
            let asked = task.limit;
            match n {
                0 => format!("{} (no item yet)", task.task),
                n if n < asked => format!("{} ({n} items, {asked} at most)", task.task),
                n => format!("{} ({n} items)", task.task),
            }
        })
        .collect();
    let tokens = match spec.tokens.as_str() {
        "prior" => "All tokens before the last".to_string(),
        chosen => format!("The tokens \u{201c}{chosen}\u{201d}"),
    };
    let extent = match spec.extent {
        Extent::Paper => String::new(),
        Extent::From => " from layer k up, whatever is said below".to_string(),
        Extent::Only => " at layer k alone, whatever is said below".to_string(),
        Extent::Window(n) => format!(" in {n} layers from k up, whatever is said below"),
    };
    let mut text = format!(
        "{tokens} were manipulated {}{extent}, with one layer k after the other ({}), and the model was asked again each time: {}.",
        sites(&spec.sites),
        layers(&spec.layers),
        and(&tasks)
    );
    if spec.seeds.len() > 1 && spec.manipulations.iter().any(|k| k.has_seed()) {
        text.push_str(&format!(
            " Random and shuffle ran with {} seeds, of which an item counts the mean.",
            spec.seeds.len()
        ));
    }
    text
}

fn sites(sites: &[Site]) -> String {
    let name = |site: &Site| match site {
        Site::Residual => "in the residual stream".to_string(),
        Site::AttnOut => "in what attention adds to the residual stream".to_string(),
        Site::MlpOut => "in what the MLP adds to the residual stream".to_string(),
        Site::Heads(heads) => match site.some_heads() {
            Some(_) => format!("in heads {heads} of attention"),
            None => "in the heads of attention".to_string(),
        },
        Site::Keys => "in the keys of the cache".to_string(),
        Site::Values => "in the values of the cache".to_string(),
    };
    and(&sites.iter().map(name).collect::<Vec<_>>())
}

fn and(words: &[String]) -> String {
    match words {
        [] => String::new(),
        [only] => only.clone(),
        [rest @ .., last] => format!("{} and {last}", rest.join(", ")),
    }
}

/// `30 layers: 0-29`, `11 layers: 0, 3, 6, ... 29`.
fn layers(layers: &[u32]) -> String {
    let (Some(first), Some(last)) = (layers.first(), layers.last()) else {
        return "no layer".into();
    };
    let n = layers.len();
    let each_next = layers.windows(2).all(|pair| pair[1] == pair[0] + 1);
    let list = |layers: &[u32]| {
        let words: Vec<String> = layers.iter().map(u32::to_string).collect();
        words.join(", ")
    };
    match n {
        1 => format!("layer {first} alone"),
        _ if each_next => format!("{n} layers, {first} to {last}"),
        2..=12 => format!("{n} layers: {}", list(layers)),
        _ => format!("{n} layers: {}, \u{2026} {last}", list(&layers[..4])),
    }
}

pub(super) fn provenance(runs: &[&StoredRun], views: &[View<'_>]) -> Markup {
    let mut names = views.iter();
    html! {
        section #provenance {
            h2 { "Provenance" }
            @for run in runs {
                @if runs.len() > 1 { h3 { (folder_name(run)) } }
                dl.facts {
                    dt { "folder" } dd { (run.folder.display()) }
                    dt { "program revisions" } dd { (run.revisions.join(", ")) }
                    @if let Some(started) = &run.started { dt { "begun" } dd { (started) } }
                    @if run.fallbacks > 0 {
                        dt { "results computed whole although a part should have done" } dd { (run.fallbacks) }
                    }
                    @if let Some(machines) = machines(run) { dt { "computed on" } dd { (machines) } }
                }
                @for view in names.by_ref().take(run.variants.len()) {
                    @if views.len() > 1 { h4 { (view.name) } }
                    dl.facts {
                        @for (name, value) in settings(view.variant) { dt { (name) } dd { (value) } }
                    }
                }
            }
        }
    }
}
