//! What help says of manipulations: it is read from their table.

use std::path::PathBuf;

use clap::Args;

use super::ModelArgs;
use crate::cli::Usage;
use crate::directions::Method;
use crate::experiment::Files;
use crate::intervention::{Kind, Needs, Values};

/// The manipulations of `midlayer try`.
pub const WHAT_TO_DO: &str = "What to do: a comma separates runs, + stacks manipulations in one run, @ fixes a layer (freeze,random or inject@8+freeze@20)";

/// A line for short help.
pub fn manipulations(what: &str) -> String {
    let parameters = Kind::ALL.into_iter().find_map(|kind| {
        let parameter = kind.manipulation().parameters().first()?;
        let value = kind.parameter(parameter.name);
        Some(format!(
            "; {kind}:{}={value} sets a parameter",
            parameter.name
        ))
    });
    let parameters = parameters.unwrap_or_default();
    format!("{what}: {}{parameters}", Kind::names(|_| true))
}

/// All manipulations with their parameters, for long help.
pub fn all_manipulations(what: &str) -> String {
    let mut text = format!("{what}:");
    for kind in Kind::ALL {
        let of = kind.manipulation();
        text.push_str(&format!("\n- {kind}"));
        if !of.synonyms().is_empty() {
            text.push_str(&format!(" (or {})", of.synonyms().join(", ")));
        }
        text.push_str(&format!(": {}", of.sentence()));
        for parameter in of.parameters() {
            let default = kind.parameter(parameter.name);
            let words = match parameter.values {
                Values::Number { .. } => String::new(),
                Values::Words(words) => format!(" ({})", words.join(" or ")),
            };
            let (name, sentence) = (parameter.name, parameter.sentence);
            text.push_str(&format!("\n  {kind}:{name}={default}: {sentence}{words}"));
        }
    }
    text
}

/// Whose seeds they are.
pub fn seeds() -> String {
    format!("Seeds of {}", Kind::names(Kind::has_seed))
}

/// What the extents are.
pub fn extents() -> String {
    let upward = Kind::names(|kind| kind.manipulation().is_upward());
    format!(
        "Which layers, seen from the layer k: paper ({upward} from k up, the others at k alone), from (k up), only (k alone), window:N (k and the N-1 above it)"
    )
}

/// What the sites are.
pub fn sites() -> &'static str {
    "The hook point that is rewritten: residual (the state entering a layer, also resid_pre), attn_out and mlp_out (what its attention and its MLP add to the residual stream), heads (the rows that attention's output projection reads; heads:3,7 are some of them), k, v or kv (keys and values in the cache)"
}

/// Files that manipulations need.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Manipulation")]
pub struct OutsideArgs {
    #[arg(long, value_name = "FILE", help = directions())]
    pub direction: Option<PathBuf>,
    #[arg(long, value_name = "FILE", help = means())]
    pub mean_of: Option<PathBuf>,
    #[arg(long, value_name = "FILE", help = scaffold())]
    pub scaffold: Option<PathBuf>,
}

impl OutsideArgs {
    /// Refuses manipulations whose file is not named, before a model is loaded.
    pub fn check(&self, kinds: impl IntoIterator<Item = Kind>) -> Result<(), Usage> {
        for kind in kinds {
            if let Some(option) = self.files().lack(kind) {
                return Err(Usage(format!("{kind} needs {option}")));
            }
        }
        Ok(())
    }

    /// The files.
    pub fn files(&self) -> Files<'_> {
        Files {
            direction: self.direction.as_deref(),
            mean_of: self.mean_of.as_deref(),
            scaffold: self.scaffold.as_deref(),
        }
    }
}

#[derive(Args)]
pub struct DirectionArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    /// Texts that have what the direction should lead to, one in each line
    #[arg(long, value_name = "FILE")]
    pub positive: PathBuf,
    /// Texts that have it not
    #[arg(long, value_name = "FILE")]
    pub negative: PathBuf,
    /// mean-difference, or pca: the first principal component of the differences of pairs, the
    /// first positive text with the first negative one and so on
    #[arg(long, value_name = "METHOD", default_value_t = Method::MeanDifference)]
    pub method: Method,
    /// The file: a control vector for llama.cpp where its name ends in .gguf, else states
    /// (safetensors)
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

fn needing(needs: Needs) -> String {
    Kind::names(|kind| kind.manipulation().needs() == needs)
}

fn scaffold() -> String {
    format!(
        "{}: the text whose keys and values are put in place of the prompt's, repeated where the prompt is longer",
        needing(Needs::Scaffold)
    )
}

fn directions() -> String {
    format!(
        "{}: the directions, one for each layer: a control vector of llama.cpp (GGUF) or states (safetensors)",
        needing(Needs::Direction)
    )
}

fn means() -> String {
    format!(
        "{}: the texts over which states are averaged, one in each line",
        needing(Needs::Mean)
    )
}
