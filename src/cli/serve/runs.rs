//! Stored runs behind the page.

use std::path::Path;

use serde::Serialize;
use serde_json::json;

use super::subject::{HandOver, parsed, refusal, told};
use crate::cli::Usage;
use crate::cli::args::ServeArgs;
use crate::engine::Engine;
use crate::intervention::Kind;
use crate::runtime::CacheType;
use crate::serve::{Line, OpenAsk, Refusal, RunsAsk, Stored};
use crate::shelf::{Again, Shelf, ShelfError};
use crate::store::StoredVariant;

/// The runs in a folder.
pub struct Runs(Shelf);

impl Runs {
    pub fn of(folder: &Path) -> Self {
        Self(Shelf::new(folder.to_path_buf()))
    }
}

impl Stored for Runs {
    fn answer(&mut self, ask: &RunsAsk) -> Result<String, Refusal> {
        let shelf = &mut self.0;
        let answered = match ask {
            RunsAsk::List => shelf.list().map(|runs| text(&json!({"runs": runs}))),
            RunsAsk::Show(run) => shelf.show(run).map(|shown| text(&shown)),
            RunsAsk::Report(run) => shelf.report(run),
            RunsAsk::Items { run, variant, from } => {
                shelf.items(run, *variant, *from).map(|items| text(&items))
            }
            RunsAsk::Item { run, variant, item } => {
                shelf.item(run, *variant, *item).map(|item| text(&item))
            }
        };
        answered.map_err(|error| refusal(&error.into()))
    }
}

fn text(answer: &impl Serialize) -> String {
    let text = serde_json::to_string(answer).expect("plain data");
    crate::shown::json(&text).into_owned()
}

/// A run's model.
pub struct OfRun {
    pub name: String,
    pub sha256: String,
    pub caches: (CacheType, CacheType),
}

/// The model that a result is of.
pub fn model_of(args: &ServeArgs, ask: &OpenAsk) -> anyhow::Result<OfRun> {
    with_variant(args, ask, |variant| {
        let spec = &variant.spec;
        Ok(OfRun {
            name: format!(
                "{} {}",
                spec.model.facts.name, spec.model.facts.quantization
            ),
            sha256: spec.model.sha256.clone(),
            caches: (spec.context.cache_k, spec.context.cache_v),
        })
    })
}

fn with_variant<T>(
    args: &ServeArgs,
    ask: &OpenAsk,
    of: impl FnOnce(&StoredVariant) -> Result<T, ShelfError>,
) -> anyhow::Result<T> {
    let Some(folder) = &args.runs else {
        return Err(Usage(
            "no runs are served here; start midlayer serve with their folder".into(),
        )
        .into());
    };
    let mut shelf = Shelf::new(folder.clone());
    let run = shelf.run(&ask.run)?;
    let variant = run.variants.get(ask.variant);
    Ok(of(variant.ok_or(ShelfError::None("model"))?)?)
}

/// Answers with what a result asked, to be asked again.
pub fn open(
    name: &str,
    args: &ServeArgs,
    engine: &dyn Engine,
    ask: &OpenAsk,
    hand_over: HandOver,
) -> anyhow::Result<()> {
    let kind = parsed::<Kind>("manipulation", &ask.manipulation)?;
    let again = with_variant(args, ask, |variant| {
        Again::of(variant, ask.item, kind, engine)
    })?;
    told(hand_over(Line::new("model", &json!({"name": name}))))?;
    told(hand_over(Line::new("asked", &again)))?;
    Ok(())
}
