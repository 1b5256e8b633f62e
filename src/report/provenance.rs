//! What a run's results depend on, for people.

use std::fmt::Write;

use crate::engine::Strategy;
use crate::intervention::Extent;
use crate::selftest::{SelfTest, Verdict, worst};
use crate::shown;
use crate::store::{StoredRun, StoredVariant};
use crate::tasks::{DataSource, Task};

pub(super) fn provenance(run: &StoredRun) -> String {
    let mut text = String::from("## Provenance\n\n");
    writeln!(text, "- program revisions: {}", run.revisions.join(", ")).expect("a String");
    if let Some(started) = &run.started {
        writeln!(text, "- begun: {started}").expect("a String");
    }
    if run.fallbacks > 0 {
        writeln!(
            text,
            "- results computed whole although a part should have done: {}",
            run.fallbacks
        )
        .expect("a String");
    }
    if let Some(machines) = machines(run) {
        let machines = shown::markdown(&machines);
        writeln!(
            text,
            "- computed on different machines, so that rounding may differ between rows: {machines}"
        )
        .expect("a String");
    }
    for variant in &run.variants {
        if run.variants.len() > 1 {
            writeln!(text, "\n### {}\n", shown::markdown(&variant.label)).expect("a String");
        }
        for (name, value) in settings(variant) {
            writeln!(text, "- {name}: {}", shown::markdown(&value)).expect("a String");
        }
    }
    text
}

/// The machines that results were computed on with how many of them, where they differ in what
/// results depend on.
pub(super) fn machines(run: &StoredRun) -> Option<String> {
    let (first, _) = run.machines.first()?;
    if run.machines.iter().all(|(other, _)| other.is_like(first)) {
        return None;
    }
    let machines = run.machines.iter();
    let machines = machines.map(|(machine, n)| format!("{n} results on {}", machine));
    Some(machines.collect::<Vec<_>>().join("; "))
}

/// The self-test's verdict on each manipulation, in a line.
fn verdicts(found: &SelfTest, strategy: Strategy) -> String {
    if found.left_out {
        return "left out, so that nothing tells whether manipulations do what they say here"
            .into();
    }
    let layers: Vec<String> = found.layers.iter().map(ToString::to_string).collect();
    let verdicts: Vec<String> = found
        .manipulations()
        .map(|(kind, site)| {
            let both = [Strategy::Straightforward, strategy];
            let verdicts = both.map(|strategy| found.verdict(kind, site, strategy));
            let verdict = worst(verdicts.into_iter().flatten()).map_or("", Verdict::name);
            format!("{kind} of {site} {verdict}")
        })
        .collect();
    format!("{}; at layers {}", verdicts.join(", "), layers.join(", "))
}

/// Everything a variant's results depend on, for people: (name, value).
pub fn settings(run: &StoredVariant) -> Vec<(String, String)> {
    let spec = &run.spec;
    let c = &spec.context;
    let mut items = Vec::new();
    let mut item = |name: &str, value: String| items.push((name.to_string(), value));
    let facts = &spec.model.facts;
    item(
        "model",
        format!(
            "{} ({}), {}, {} layers, {:.2} bits a weight",
            facts.name,
            facts.quantization,
            facts.architecture,
            facts.n_layer,
            facts.bits_per_weight()
        ),
    );
    item("model SHA-256", spec.model.sha256.clone());
    if let Some(hub) = &spec.model.hub {
        item(
            "from the hub",
            format!("{}, revision {}", hub.repo, hub.revision),
        );
    }
    item("llama.cpp", spec.llama_cpp.clone());
    item("devices", spec.devices.join(", "));
    let mut strategy = spec.strategy.to_string();
    if let Some(n) = spec.parallel {
        write!(strategy, ", {n} sequences in a batch").expect("a String");
    }
    item("strategy", strategy);
    item(
        "settings",
        format!(
            "{} threads, context {}, batch {}, micro-batch {}, flash attention {:?}, cache K {} V {}",
            c.threads, c.n_ctx, c.n_batch, c.n_ubatch, c.flash_attention, c.cache_k, c.cache_v
        ),
    );
    for task in &spec.tasks {
        let mut value = format!("version {}, limit {}", task.version, task.limit);
        if task.shots > 0 && !task.about().is_some_and(Task::reads_data) || task.own.is_some() {
            write!(value, ", {} shots", task.shots).expect("writing to a String");
        }
        if let (Some(max), Some(seed)) = (task.math_max, task.math_seed) {
            write!(value, ", operands to {max}, seed {seed}").expect("writing to a String");
        }
        if task.chat {
            value.push_str(", chat template");
            if let Some(date) = task.chat_date {
                value.push_str(&format!(" on {date}"));
            }
        }
        if task.parse_special {
            value.push_str(", special tokens in texts read as such");
        }
        match &task.data {
            Some(DataSource {
                path: Some(path),
                sha256,
            }) => {
                let hash = sha256.as_deref().unwrap_or("unknown");
                write!(value, ", {} (SHA-256 {hash})", path.display()).expect("a String");
            }
            Some(_) => value.push_str(", the program's own sample, written by a language model"),
            None => {}
        }
        item(&task.task.to_string(), value);
    }
    for (task, n) in run.cut.iter().filter(|(_, n)| **n > 0) {
        item(
            &format!("{task}, texts cut to fit the context"),
            n.to_string(),
        );
    }
    let sites: Vec<String> = spec
        .sites
        .iter()
        .map(|s| format!("{s:?}").to_lowercase())
        .collect();
    item("rewritten", sites.join(" and "));
    let after = match (spec.manipulate_generated, spec.from_step) {
        (true, 0) => "manipulated too, once it is not the last".to_string(),
        (false, 0) => "left clean".to_string(),
        (true, t) => format!("manipulation begins when {t} tokens follow the prompt"),
        (false, t) => format!("manipulation of what is there when {t} tokens follow the prompt"),
    };
    item("text after the prompt", after);
    item("seeds of random and shuffle", format!("{:?}", spec.seeds));
    item("tokens", spec.tokens.clone());
    if spec.extent != Extent::Paper {
        item("layers acted on", format!("{:?}", spec.extent));
    }
    if let Some(found) = &run.selftest {
        item("self-test before the run", verdicts(found, spec.strategy));
    }
    for ((task, what), reasons) in &run.left_out {
        let whom = if what == "item" {
            "items left out".to_string()
        } else {
            format!("items left out by {what}")
        };
        let value = format!("{}: {reasons}", reasons.count());
        item(&format!("{task}, {whom}"), value);
    }
    items
}
