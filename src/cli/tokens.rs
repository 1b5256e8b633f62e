//! `midlayer tokens`.

use std::fmt::Write;

use super::args::{Format, PromptArgs, TokensArgs};
use super::output::{print, table};
use super::setup::load;
use crate::engine::{Engine, Prompt};
use crate::report::Column::{Numbers, Words};
use crate::shown::{json, shown};
use crate::trial::listed;

/// What `--help` says of the lines.
pub const FIELDS: &str = "\
Fields of -o json, one object a line: position, id, text (bytes that are no text on their own as
<E3>), prior (whether manipulations act on it: all tokens but the last are), selected (whether
--tokens takes it).";

pub fn run(args: TokensArgs) -> anyhow::Result<()> {
    let text = args.prompt.prompt.read("-p")?;
    let loaded = load(&args.model)?;
    let engine = loaded.engine()?;
    let prompt = read(&engine, &args.prompt, &text)?;
    let selected = args.tokens.as_ref().map(|tokens| tokens.positions(&prompt));
    let selected = selected.transpose()?;
    let tokens = listed(&loaded.model, &prompt, selected.as_ref());
    if args.output == Format::Json {
        let mut lines = String::new();
        for token in &tokens {
            writeln!(lines, "{}", json(&serde_json::to_string(token)?))?;
        }
        return print(&lines);
    }
    let mut head = vec!["position", "id", "text", ""];
    if selected.is_some() {
        head.push("selected");
    }
    let rows: Vec<Vec<String>> = tokens
        .iter()
        .zip(&prompt.tokens)
        .map(|(listed, token)| {
            let mut row = vec![
                listed.position.to_string(),
                listed.id.to_string(),
                shown(&loaded.model.piece(*token)),
                if listed.prior { "prior" } else { "last" }.to_string(),
            ];
            if let Some(selected) = listed.selected {
                row.push(if selected { "*" } else { "" }.to_string());
            }
            row
        })
        .collect();
    let columns = [Numbers, Numbers, Words];
    print(&format!("{}\n", table(&head, &rows, &columns)))
}

/// The prompt that the arguments give.
pub fn read(engine: &dyn Engine, args: &PromptArgs, text: &str) -> anyhow::Result<Prompt> {
    let wording = args.wording.of_argument(args.chat);
    Ok(wording.prompt(engine.tokenizer(), text)?)
}
