//! `midlayer map --geometry`: norms, turns, and the drift from another model.

use super::terminal::{self, Paint};
use super::{check_files, tokens, write_files};
use crate::cli::Usage;
use crate::cli::args::{AspectArg, Format, MapArgs};
use crate::cli::output::{print, print_painted, say, table, width};
use crate::cli::setup::{Loaded, load};
use crate::cli::tokens::read;
use crate::cli::try_prompt::engine;
use crate::engine::{Engine, Prompt};
use crate::maps::{Aspect, Form, Geometry, GeometryPicture, Kept};
use crate::report::Column::Numbers;

pub fn run(args: &MapArgs, aspect: AspectArg) -> anyhow::Result<()> {
    check_files(args)?;
    let aspect = chosen(args, aspect)?;
    let text = args.prompt.prompt.read("-p")?;
    let loaded = load(&args.model)?;
    let (prompt, kept) = kept(args, &loaded, &text)?;
    let other = args.against.as_ref().map(|name| {
        let mut model = args.model.clone();
        (model.model, model.hf_repo) = (Some(name.clone()), None);
        let other = load(&model)?;
        let (_, kept) = self::kept(args, &other, &text)?;
        anyhow::Ok((other.model.facts().name.clone(), kept))
    });
    let other = other.transpose()?;
    let n_layer = loaded.model.facts().n_layer;
    let chosen = args.tokens.among_all(&prompt)?;
    let all = 0..prompt.tokens.len() as u32;
    let positions: Vec<u32> = all.filter(|at| chosen.contains(*at)).collect();
    let layers = args.layers.resolve(n_layer)?;
    let geometry = kept.geometry(&layers, &positions, other.as_ref().map(|(_, kept)| kept));
    let geometry = geometry.map_err(|why| Usage(format!("{why} (--against)")))?;
    let rows = tokens(&loaded, &prompt, &positions);
    let picture = GeometryPicture {
        geometry: &geometry,
        aspect,
        tokens: &rows,
        title: title(&loaded, args),
    };
    let printed = match args.output {
        Format::Json => print(&picture.text(Form::Jsonl)),
        Format::Text => {
            let map = geometry.map(aspect);
            let drawn = terminal::text(&picture.picture(&map), width(), Paint::of_stdout());
            print_painted(&format!("{drawn}{}", by_layer(&geometry)))
        }
    };
    write_files(args, |file| picture.write(file))?;
    printed
}

/// What is drawn; without a wish the drift where there is another model, and else norms.
fn chosen(args: &MapArgs, aspect: AspectArg) -> Result<Aspect, Usage> {
    match (aspect, &args.against) {
        (AspectArg::Drift, None) => Err(Usage(
            "the drift is that from another model's states: --against MODEL".into(),
        )),
        (AspectArg::Norm, _) | (AspectArg::Auto, None) => Ok(Aspect::Norm),
        (AspectArg::Turn, _) => Ok(Aspect::Turn),
        (AspectArg::Drift | AspectArg::Auto, Some(_)) => Ok(Aspect::Drift),
    }
}

fn kept(args: &MapArgs, loaded: &Loaded, text: &str) -> anyhow::Result<(Prompt, Kept)> {
    let mut engine = engine(loaded)?;
    let prompt = read(&engine, &args.prompt, text)?;
    if let Some(notice) = engine.facts().length_notice(prompt.tokens.len()) {
        say(&notice);
    }
    let kept = Kept::of(&mut engine, &prompt)?;
    Ok((prompt, kept))
}

fn title(loaded: &Loaded, args: &MapArgs) -> String {
    let name = |given: &Option<String>| given.clone().unwrap_or_default();
    let model = &loaded.model.facts().name;
    match &args.against {
        None => format!("{model}: the states of a prompt"),
        // Levels of one model have one name.
        Some(other) => format!("{model}: {other} against {}", name(&args.model.model)),
    }
}

/// The drift by layer beside what rounding alone does, where another model was compared.
fn by_layer(geometry: &Geometry) -> String {
    let Some(layers) = geometry.by_layer() else {
        return String::new();
    };
    let last = layers.len() - 1;
    let rows: Vec<Vec<String>> = (layers.iter().enumerate())
        .map(|(n, (layer, drift, rounding))| {
            vec![
                match n == last {
                    true => "out".into(),
                    false => layer.to_string(),
                },
                format!("{:.2}", 100.0 * drift.error),
                format!("{:.5}", drift.cosine),
                format!("{:.2}", 100.0 * rounding.error),
            ]
        })
        .collect();
    let head = ["layer", "difference, %", "cosine", "rounding alone, %"];
    format!("\n{}\n", table(&head, &rows, &[Numbers]))
}
