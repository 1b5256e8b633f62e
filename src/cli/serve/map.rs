//! Maps of a prompt: what `midlayer map -o json` prints.

use std::ops::ControlFlow;

use serde_json::{Map, Value, json};

use super::command::map_command;
use super::subject::{HandOver, parsed, prompt_args, told};
use crate::cli::args::{Format, MapArgs, ServeArgs};
use crate::cli::map;
use crate::cli::setup::Loaded;
use crate::cli::text::Source;
use crate::engine::{Planned, TokenSelector};
use crate::intervention::{Extent, Kind, LayerList, Site, Sites};
use crate::serve::{Line, MapAsk};

/// Answers with a line for each state. How far it has come is told while it is computed.
pub fn answer(
    args: &ServeArgs,
    loaded: &Loaded,
    engine: &mut Planned,
    ask: &MapAsk,
    hand_over: HandOver,
) -> anyhow::Result<()> {
    let asked = map_args(args, ask)?;
    let meta = json!({"version": crate::serve::VERSION, "command": map_command(args, ask)});
    told(hand_over(Line::new("meta", &meta)))?;
    let mut last = 0;
    let text = map::json_lines(&asked, loaded, engine, &ask.prompt, &mut |done, all| {
        // Of a few hundred runs each; enough to see that it goes on.
        if done < all && done * 20 / all.max(1) == last {
            return ControlFlow::Continue(());
        }
        last = done * 20 / all.max(1);
        hand_over(Line::new("progress", &json!({"done": done, "all": all})))
    })?;
    for line in text.lines() {
        let state: Map<String, Value> = serde_json::from_str(line)?;
        told(hand_over(Line::new("state", &state)))?;
    }
    Ok(())
}

/// The arguments of `midlayer map` that ask for the same.
fn map_args(args: &ServeArgs, ask: &MapAsk) -> anyhow::Result<MapArgs> {
    let mut prompt = prompt_args(ask.chat);
    prompt.prompt = Source::Argument(ask.prompt.clone());
    Ok(MapArgs {
        model: args.model.clone(),
        prompt,
        task: None,
        limit: 1,
        shots: None,
        attention: Vec::new(),
        geometry: None,
        against: None,
        steps: None,
        generate: 1,
        extent: Extent::Only,
        lens: ask.lens,
        manipulate: match &ask.manipulate {
            Some(kind) => parsed::<Kind>("manipulate", kind)?,
            None => Kind::noise(),
        },
        layers: parsed::<LayerList>("layers", "all")?,
        tokens: TokenSelector::Prior,
        site: Sites(vec![Site::Residual]),
        heads: false,
        seed: vec![1],
        answer: ask.answer.clone(),
        foil: None,
        data: None,
        kl: false,
        from: None,
        corrupt: None,
        corrupt_by: Kind::corruption(),
        outside: args.outside.clone(),
        out: Vec::new(),
        output: Format::Json,
    })
}
