//! `midlayer runs`: what is stored in a folder of runs, and what can be done with it.

use std::path::Path;

use super::Usage;
use super::args::RunsArgs;
use super::output::{print, say, table};
use crate::report::Column::{self, Numbers, Words};
use crate::shards::{ReadError, Shards, glance, list, runs_in};
use crate::store::{Glanced, StoreError};

const HEAD: [&str; 8] = [
    "run",
    "model",
    "tasks",
    "manipulations",
    "layers",
    "items",
    "results",
    "begun (UTC)",
];

const COLUMNS: [Column; 8] = [Words, Words, Words, Words, Numbers, Numbers, Numbers, Words];

pub fn run(args: RunsArgs) -> anyhow::Result<()> {
    if let Some(named) = args.folder.as_ref().filter(|folder| !folder.exists()) {
        return Err(Usage(format!("{}: there is no such folder", named.display())).into());
    }
    let folder = args.folder.unwrap_or_else(|| "runs".into());
    if args.missing {
        return missing(&folder);
    }
    let folders = runs_in(&folder)
        .map_err(|e| anyhow::anyhow!("{} cannot be read: {e}", folder.display()))?;
    if folders.is_empty() {
        let folder = folder.display();
        return print(&format!(
            "no run in {folder}; midlayer sweep makes one, midlayer runs FOLDER looks elsewhere\n"
        ));
    }
    let mut all = Vec::new();
    let mut unreadable = String::new();
    let mut readable = None;
    let mut unfinished = Vec::new();
    for folder in &folders {
        match listed(folder) {
            Ok(Listed { rows, to_go_on }) => {
                all.extend(rows);
                unfinished.extend(to_go_on);
                readable = readable.or(Some(folder.display()));
            }
            Err(error) => unreadable.push_str(&format!("{error}\n")),
        }
    }
    print(&format!("{}\n{unreadable}", table(&HEAD, &all, &COLUMNS)))?;
    for line in unfinished {
        say(&line);
    }
    if let Some(folder) = readable {
        say(&format!(
            "midlayer report {folder} shows what a run found, midlayer export {folder} writes its rows for other programs"
        ));
    }
    Ok(())
}

/// Prints the parts of a run that are not complete.
fn missing(folder: &Path) -> anyhow::Result<()> {
    let shards = Shards::of(folder)?.ok_or_else(|| {
        Usage(format!(
            "{} holds no part of a run yet: submit the whole array, as --array=1-16",
            folder.display()
        ))
    })?;
    let gaps = shards.gaps()?;
    let numbers: Vec<u32> = gaps.iter().map(|gap| gap.number).collect();
    for gap in &gaps {
        let Some(begun) = &gap.begun else { continue };
        let worked_on = begun.holder.as_ref();
        let worked_on = worked_on.map_or(String::new(), |(who, _)| format!("; in use by {who}"));
        say(&format!(
            "part {} of {} has {} of {} results{worked_on}",
            gap.number,
            shards.count,
            begun.stored(),
            begun.all().map_or("unknown".into(), |all| all.to_string())
        ));
    }
    if numbers.is_empty() {
        say(&format!("all {} parts are complete", shards.count));
        return Ok(());
    }
    print(&format!("--array={}\n", list(&numbers)))
}

struct Listed {
    /// One a variant.
    rows: Vec<Vec<String>>,
    /// How to complete the run, if anything is known to be missing.
    to_go_on: Option<String>,
}

fn listed(folder: &Path) -> Result<Listed, ReadError> {
    let run = glance(folder)?;
    if run.variants.is_empty() {
        return Err(StoreError::NotBegun(folder.to_path_buf()).into());
    }
    let begun = run.begun.as_deref().unwrap_or_default();
    let begun = begun.trim_end_matches('Z').replace('T', " ");
    let variants = run.variants.iter();
    let rows = variants.map(|variant| row(folder, variant, &begun));
    let to_go_on = run.missing().map(|missing| {
        let command = missing.command.as_deref();
        let command = command.map_or(String::new(), |command| {
            format!("; to go on where it stopped: {command}")
        });
        format!("{} is incomplete: {missing}{command}", folder.display())
    });
    Ok(Listed {
        rows: rows.collect(),
        to_go_on,
    })
}

fn of(there: usize, planned: Option<usize>) -> String {
    planned.map_or(there.to_string(), |planned| format!("{there} of {planned}"))
}

fn row(folder: &Path, variant: &Glanced, begun: &str) -> Vec<String> {
    let spec = &variant.spec;
    let tasks: Vec<String> = spec.tasks.iter().map(|t| t.task.to_string()).collect();
    let kinds: Vec<String> = spec.manipulations.iter().map(ToString::to_string).collect();
    let name = &spec.model.facts.name;
    let model = if variant.label.contains(name) {
        variant.label.clone()
    } else {
        format!("{name} ({})", variant.label)
    };
    vec![
        folder.display().to_string(),
        model,
        tasks.join(" "),
        kinds.join(" "),
        spec.layers.len().to_string(),
        of(variant.items, variant.planned.items),
        of(variant.results, variant.planned.results),
        begun.to_string(),
    ]
}
