//! The Python that gives the numbers of a page (docs/python.md).

use super::subject::parsed;
use crate::cli::Usage;
use crate::cli::args::ServeArgs;
use crate::intervention::{Kind, LayerList, Needs};
use crate::serve::TryAsk;
use crate::trial::Stack;
use clap::ValueEnum;

/// `midlayer.Model(...).run(...)` with the same model, settings and question.
pub fn python(args: &ServeArgs, ask: &TryAsk) -> Result<String, Usage> {
    let mut lines = vec!["import midlayer as ml".to_string(), String::new()];
    lines.push(format!("m = ml.Model({})", model(args)));
    let chat = if ask.chat { ", chat=True" } else { "" };
    lines.push(format!("p = m.prompt({}{chat})", text(&ask.prompt)));
    let stacks = match &ask.manipulate[..] {
        [] => vec![Stack(vec![(Kind::ALL[0], None)])],
        stacks => {
            let read = stacks.iter().map(|stack| parsed("manipulate", stack));
            read.collect::<Result<Vec<Stack>, Usage>>()?
        }
    };
    let stacks = stacks.iter().map(|stack| {
        let parts = stack.0.iter();
        let parts = parts.map(|(kind, layer)| part(args, ask, *kind, *layer));
        Ok(parts.collect::<Result<Vec<_>, Usage>>()?.join(" + "))
    });
    let stacks = stacks.collect::<Result<Vec<String>, Usage>>()?;
    let mut run = vec!["p".to_string()];
    run.push(match &stacks[..] {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    });
    if !ask.answer.is_empty() {
        let answers: Vec<String> = ask.answer.iter().map(|answer| text(answer)).collect();
        run.push(format!("answers=[{}]", answers.join(", ")));
    }
    if let Some(generate) = ask.generate {
        run.push(format!("generate={generate}"));
    }
    lines.push(format!("r = m.run({})", run.join(", ")));
    lines.push("r".into());
    Ok(lines.join("\n"))
}

/// A text as Python reads it: what JSON escapes, Python does alike.
fn text(text: &str) -> String {
    serde_json::to_string(text).expect("a text")
}

fn model(args: &ServeArgs) -> String {
    let model = &args.model;
    let name = model.model.as_ref().or(model.hf_repo.as_ref());
    let mut all = vec![text(name.map_or("", String::as_str))];
    if model.hf_repo.is_some() {
        all.push("hub=True".into());
    }
    let numbers = [
        ("threads", model.threads, None),
        ("gpu_layers", model.n_gpu_layers, None),
        ("ctx_size", Some(model.ctx_size), Some(2048)),
        ("batch_size", Some(model.batch_size), Some(2048)),
        ("ubatch_size", Some(model.ubatch_size), Some(512)),
    ];
    for (name, value, default) in numbers {
        if let Some(value) = value.filter(|_| value != default) {
            all.push(format!("{name}={value}"));
        }
    }
    let flash = model.flash_attn.to_possible_value();
    let flash = flash.map_or("auto".into(), |value| value.get_name().to_string());
    let words = [
        ("flash_attn", flash, "auto"),
        ("cache_type_k", model.cache_type_k.to_string(), "f16"),
        ("cache_type_v", model.cache_type_v.to_string(), "f16"),
    ];
    for (name, value, default) in words {
        if value != default {
            all.push(format!("{name}={}", text(&value)));
        }
    }
    let places = [
        ("device", model.device.as_deref()),
        ("rpc", Some(&model.rpc[..]).filter(|rpc| !rpc.is_empty())),
    ];
    for (name, value) in places {
        all.extend(value.map(|value| format!("{name}={}", text(&value.join(",")))));
    }
    all.join(", ")
}

/// A manipulation as its function's call.
fn part(args: &ServeArgs, ask: &TryAsk, kind: Kind, layer: Option<u32>) -> Result<String, Usage> {
    let mut all: Vec<String> = Vec::new();
    let layers = ask.layers.as_deref().unwrap_or("all");
    match layer {
        Some(layer) => all.push(layer.to_string()),
        None if parsed::<LayerList>("layers", layers)?.is_all() => {}
        None => all.push(text(layers)),
    }
    let of = kind.manipulation();
    let default = Kind::ALL.into_iter().find(|one| one.name() == kind.name());
    for parameter in of.parameters() {
        let value = kind.parameter(parameter.name);
        if default.is_none_or(|default| default.parameter(parameter.name) != value) {
            let value = serde_json::to_string(&value).expect("a number or a word");
            all.push(format!("{}={value}", parameter.name.replace('-', "_")));
        }
    }
    let mut named = |name: &str, value: Option<&str>| {
        if let Some(value) = value {
            all.push(format!("{name}={}", text(value)));
        }
    };
    match of.needs() {
        Needs::Donor => {
            named("donor", ask.inject_from.as_deref());
            named("at", ask.inject_at.as_deref());
            named("from_at", ask.inject_from_at.as_deref());
        }
        needs => {
            let file = match needs {
                Needs::Direction => ("direction", &args.outside.direction),
                Needs::Mean => ("mean_of", &args.outside.mean_of),
                Needs::Scaffold => ("scaffold", &args.outside.scaffold),
                Needs::Nothing | Needs::Donor | Needs::Filler => ("", &None),
            };
            if let (name, Some(file)) = file {
                let file = text(&file.display().to_string());
                all.push(match needs {
                    // The text itself.
                    Needs::Scaffold => format!("{name}=open({file}).read()"),
                    _ => format!("{name}={file}"),
                });
            }
        }
    }
    if kind.has_seed() && !ask.seed.is_empty() {
        all.push(match &ask.seed[..] {
            [seed] => format!("seed={seed}"),
            seeds => format!("seed={seeds:?}"),
        });
    }
    let places = [
        ("tokens", &ask.tokens, "prior"),
        ("extent", &ask.extent, "paper"),
        ("site", &ask.site, "residual"),
    ];
    for (name, value, default) in places {
        if let Some(value) = value.as_ref().filter(|value| *value != default) {
            all.push(format!("{name}={}", text(value)));
        }
    }
    Ok(format!("ml.{}({})", of.function(), all.join(", ")))
}
