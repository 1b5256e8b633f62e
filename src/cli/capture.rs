//! `midlayer capture`: states of a clean run in a file.

use super::Usage;
use super::args::CaptureArgs;
use super::output::{print, say, table};
use super::setup::load;
use super::tokens::read;
use super::try_prompt::engine;
use crate::captures::{CaptureError, Captures, Format, Keep, Source, name, write};
use crate::engine::read_texts;
use crate::intervention::Site;
use crate::report::Column::{Numbers, Words};

pub fn run(args: CaptureArgs) -> anyhow::Result<()> {
    let sites = sites(&args);
    let texts = match &args.prompts {
        None => vec![args.prompt.prompt.read("-p")?],
        Some(path) => read_texts(path)
            .map_err(|error| Usage(format!("{}: {error} (--prompts)", path.display())))?,
    };
    check(&args, &sites, texts.len())?;
    let loaded = load(&args.model)?;
    let mut engine = engine(&loaded)?;
    let keep = Keep {
        sites: &sites,
        layers: &args.layers,
        tokens: args.tokens.as_ref(),
    };
    let mut all = Vec::new();
    for text in &texts {
        let prompt = read(&engine, &args.prompt, text)?;
        if let Some(notice) = loaded.model.facts().length_notice(prompt.tokens.len()) {
            say(&notice);
        }
        all.push(Captures::of(&mut engine, &prompt, &keep).map_err(told)?);
    }
    let source = Source {
        model: loaded.model.facts().name.clone(),
        sha256: loaded.files.sha256().to_string(),
    };
    write(&args.out, &all, &source).map_err(told)?;
    tell_left_out(&all);
    print(&listed(&all))?;
    say(&format!("wrote {}", args.out.display()));
    Ok(())
}

/// The sites asked for, each once.
fn sites(args: &CaptureArgs) -> Vec<Site> {
    let mut sites: Vec<Site> = Vec::new();
    for site in args.sites.iter().flat_map(|sites| &sites.0) {
        if !sites.contains(site) {
            sites.push(*site);
        }
    }
    sites
}

/// What can be known to be wrong without a model.
fn check(args: &CaptureArgs, sites: &[Site], texts: usize) -> anyhow::Result<()> {
    let format = Format::of(&args.out).map_err(told)?;
    if format == Format::Npy && (sites.len(), texts) != (1, 1) {
        return Err(Usage(
            "a .npy file holds one array: name one site and one prompt, or write .safetensors (--out)"
                .into(),
        )
        .into());
    }
    match sites.iter().find(|site| site.some_heads().is_some()) {
        Some(some) => Err(told(CaptureError::SomeHeads(*some))),
        None => Ok(()),
    }
}

/// What is wrong with what was asked for is wrong usage.
fn told(error: CaptureError) -> anyhow::Error {
    match error {
        CaptureError::Engine(error) => error.into(),
        CaptureError::File { .. } => error.into(),
        error => Usage(error.to_string()).into(),
    }
}

fn tell_left_out(all: &[Captures]) {
    for array in all.first().into_iter().flat_map(|text| &text.arrays) {
        if !array.left_out.is_empty() {
            let layers: Vec<String> = array.left_out.iter().map(ToString::to_string).collect();
            let (name, layers) = (name(array.site), layers.join(", "));
            say(&format!(
                "{name} is left out where a layer has none (layers {layers})"
            ));
        }
    }
}

/// A line for each array.
fn listed(all: &[Captures]) -> String {
    let mut rows = Vec::new();
    for (n, text) in all.iter().enumerate() {
        for array in &text.arrays {
            let before = match all.len() {
                1 => String::new(),
                _ => format!("{n}."),
            };
            let [layers, tokens, width] = array.shape().map(|n| n.to_string());
            rows.push(vec![
                format!("{before}{}", name(array.site)),
                layers,
                tokens,
                width,
            ]);
        }
    }
    let head = ["array", "layers", "tokens", "width"];
    format!("{}\n", table(&head, &rows, &[Words, Numbers]))
}
