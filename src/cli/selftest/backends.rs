//! `midlayer selftest --backends`: a model on everything that this build and machine have.

use std::fmt::Write;
use std::path::PathBuf;

use super::super::args::{ModelArgs, SelftestArgs};
use super::super::setup::{load_file, model_files};
use super::follow::Follow;
use super::{Wrong, architectures, examine};
use crate::cli::Usage;
use crate::cli::output::print;
use crate::engine::Strategy;
use crate::runtime::{Architecture, Device, Synthetic, cpu_features, devices};
use crate::selftest::{Scope, SelfTest, worst};

/// Layers at which manipulations are carried out.
const LAYERS: u32 = 3;

/// Examined where no model is given.
const TINY: Architecture = Architecture::Llama;

/// Where a model's layers lie.
struct Placement {
    name: String,
    layers: u32,
}

pub fn run(args: &SelftestArgs) -> anyhow::Result<()> {
    let file = match (&args.model.model, &args.model.hf_repo) {
        (None, None) => None,
        _ => Some(one_file(&args.model)?),
    };
    let mut rows = Vec::new();
    let mut wrong = Vec::new();
    let n_layer = match &file {
        Some(file) => load_file(file.clone(), &args.model)?.model.n_layer(),
        None => Synthetic::new(TINY).n_layer,
    };
    for placement in placements(n_layer)? {
        let model = ModelArgs {
            n_gpu_layers: Some(placement.layers),
            ..args.model.clone()
        };
        let mut follow = Follow::new(&format!("examining on {}", placement.name));
        let found = match &file {
            Some(file) => {
                let mut loaded = load_file(file.clone(), &model)?;
                loaded.options.sabotage = args.sabotage;
                examine(&loaded, &Scope::spread(n_layer, LAYERS), true, &mut follow)?
            }
            None => architectures::examine(TINY, &model, args.sabotage, &mut follow)?.1,
        };
        drop(follow);
        if found.wrong().next().is_some() {
            wrong.push(placement.name.clone());
        }
        rows.push((placement, found));
    }
    print(&table(&rows, n_layer)?)?;
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Wrong(format!("something is wrong on {}", wrong.join(", "))).into())
}

fn one_file(args: &ModelArgs) -> anyhow::Result<PathBuf> {
    match &model_files(args)?[..] {
        [file] => Ok(file.clone()),
        _ => Err(Usage("one model at a time here (-m)".into()).into()),
    }
}

/// The processor alone, and each graphics device with all layers and with half of them.
fn placements(n_layer: u32) -> anyhow::Result<Vec<Placement>> {
    let devices = devices()?;
    let mut found = vec![Placement {
        name: format!("CPU ({})", cpu_features()?.join(" ")),
        layers: 0,
    }];
    let others: Vec<&Device> = devices.iter().filter(|d| !d.is_processor).collect();
    if !others.is_empty() {
        let names: Vec<String> = others
            .iter()
            .map(|d| format!("{} ({})", d.backend, d.description))
            .collect();
        for layers in [n_layer + 1, n_layer / 2] {
            found.push(Placement {
                name: names.join(", "),
                layers,
            });
        }
    }
    Ok(found)
}

fn table(rows: &[(Placement, SelfTest)], n_layer: u32) -> anyhow::Result<String> {
    let mut text = String::from(
        "| backend | layers on it | straightforward | planned | computed by it | noise floor, logits |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for (placement, found) in rows {
        let layers = match placement.layers {
            0 => "all".into(),
            n if n > n_layer => "all".to_string(),
            n => format!("{n} of {n_layer}, the rest on the CPU"),
        };
        let of = |strategy: Strategy| {
            let about = found.findings.iter().filter(|f| f.strategy == strategy);
            worst(about.map(|f| &f.verdict)).map_or(String::new(), ToString::to_string)
        };
        writeln!(
            text,
            "| {} | {layers} | {} | {} | {} | {:.1e} |",
            placement.name,
            of(Strategy::Straightforward),
            of(Strategy::Planned),
            found
                .computed_whole
                .as_deref()
                .map_or("in part", |_| "whole"),
            found.noise_floor
        )?;
    }
    Ok(text)
}
