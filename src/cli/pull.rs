//! `midlayer pull`.

use std::fmt::Write;

use super::Usage;
use super::args::PullArgs;
use super::output::{print, say, spinner};
use super::setup::check_caches;
use crate::hub::{DATASETS, Hub, dataset_file, pulled_dataset};
use crate::models::{Manifest, Part, Pip, cache_folder, pull};

pub fn run(args: PullArgs) -> anyhow::Result<()> {
    let manifest = Manifest::builtin();
    let folder = cache_folder();
    let Some(alias) = args.alias.filter(|_| !args.list) else {
        let mut text = String::new();
        for entry in &manifest.models {
            let here = if folder.join(&entry.file).is_file() {
                "here"
            } else {
                "-"
            };
            writeln!(
                text,
                "{:20} {:>5} MB  {here:5} {}; weights: {}",
                entry.alias,
                entry.bytes / 1_000_000,
                entry.title,
                entry.licence
            )?;
        }
        for dataset in &DATASETS {
            let here = if pulled_dataset(dataset.name).is_some() {
                "here"
            } else {
                "-"
            };
            writeln!(
                text,
                "{:20} {:>8}  {here:5} dataset {} of the Hugging Face hub",
                dataset.name, "", dataset.repo
            )?;
        }
        return print(&text);
    };
    check_caches()?;
    if let Some(dataset) = DATASETS.iter().find(|dataset| dataset.name == alias) {
        let waiting = spinner(format!("pulling {alias}"));
        let file = dataset_file(&Hub::from_env()?, dataset.repo, dataset.file);
        waiting.finish_and_clear();
        return print(&format!("{}\n", file?.display()));
    }
    let Some(entry) = manifest.get(&alias) else {
        let known: Vec<_> = manifest.models.iter().map(|e| e.alias.as_str()).collect();
        return Err(Usage(format!(
            "no model '{alias}'; there are {}",
            known.join(", ")
        ))
        .into());
    };
    let target = folder.join(&entry.file);
    if target.is_file() {
        say(&format!("{alias} is here already"));
        return print(&format!("{}\n", target.display()));
    }
    let pip = Pip::find()?;
    let waiting = spinner(format!("pulling {alias}, {} MB", entry.bytes / 1_000_000));
    let wait = || {
        waiting.suspend(|| {
            say(&format!(
                "another midlayer is pulling {alias}; waiting for it"
            ))
        });
    };
    let mut progress = |n, of, part: &Part| {
        let megabytes = part.bytes / 1_000_000;
        waiting.set_message(format!(
            "pulling {alias}, part {} of {of}, {megabytes} MB",
            n + 1
        ));
        if waiting.is_hidden() {
            say(&format!(
                "pulling {alias}, part {} of {of}, {megabytes} MB",
                n + 1
            ));
        }
    };
    let pulled = pull(entry, &folder, &pip, &mut progress, wait);
    waiting.finish_and_clear();
    print(&format!("{}\n", pulled?.display()))
}
