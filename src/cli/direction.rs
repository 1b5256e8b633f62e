//! `midlayer direction`: a direction for each layer, from two sets of texts.

use std::path::Path;

use super::Usage;
use super::args::DirectionArgs;
use super::output::{print, say, table};
use super::setup::load;
use super::try_prompt::engine;
use crate::directions::{Found, Method, between, write_directions};
use crate::engine::{Engine, Planned, read_texts};
use crate::hook::Capture;
use crate::intervention::{States, Target};
use crate::report::Column;
use crate::runtime::Token;

pub fn run(args: DirectionArgs) -> anyhow::Result<()> {
    let read = |path: &Path, option: &str| {
        read_texts(path).map_err(|error| Usage(format!("{}: {error} ({option})", path.display())))
    };
    let positive = read(&args.positive, "--positive")?;
    let negative = read(&args.negative, "--negative")?;
    if args.method == Method::Pca && positive.len() != negative.len() {
        return Err(Usage(format!(
            "pca compares texts in pairs, and there are {} positive and {} negative ones (--positive, --negative)",
            positive.len(),
            negative.len()
        ))
        .into());
    }
    let loaded = load(&args.model)?;
    let mut engine = engine(&loaded)?;
    let positive = last_states(&mut engine, &positive)?;
    let negative = last_states(&mut engine, &negative)?;
    let facts = engine.facts();
    let mut directions = States::new();
    let mut rows = Vec::new();
    for layer in 0..facts.n_layer {
        let (Some(a), Some(b)) = (of_layer(&positive, layer), of_layer(&negative, layer)) else {
            continue;
        };
        let Found {
            direction,
            explained,
        } = between(&a, &b, args.method);
        let length = direction.iter().map(|x| x * x).sum::<f32>().sqrt();
        rows.push(vec![
            layer.to_string(),
            format!("{length:.2}"),
            format!("{:.1}", 100.0 * explained),
        ]);
        directions.insert(layer, 0, direction);
    }
    write_directions(&args.out, &directions, &facts.architecture)?;
    let head = ["layer", "length", "explained, %"];
    print(&format!("{}\n", table(&head, &rows, &[Column::Numbers])))?;
    say(&format!("wrote {}", args.out.display()));
    Ok(())
}

/// The states of each text's last token, at position 0.
fn last_states(engine: &mut Planned, texts: &[String]) -> anyhow::Result<Vec<States>> {
    let prompts = texts.iter().map(|text| Ok(engine.prompt(text)?.tokens));
    let prompts = prompts.collect::<anyhow::Result<Vec<_>>>()?;
    let prompts: Vec<&[Token]> = prompts.iter().map(Vec::as_slice).collect();
    let capture = Capture {
        targets: vec![Target::Input],
        layers: (0..engine.facts().n_layer).collect(),
        ..Capture::default()
    };
    let mut all = Vec::new();
    engine.captured_of_texts(&prompts, &capture, &mut |n, captured| {
        let last = prompts[n].len() as u32 - 1;
        all.push(captured.inputs.moved(&[(last, 0)]));
    })?;
    Ok(all)
}

fn of_layer(texts: &[States], layer: u32) -> Option<Vec<&[f32]>> {
    texts.iter().map(|states| states.get(layer, 0)).collect()
}
