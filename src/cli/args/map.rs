//! Options of `midlayer map`.

use std::path::PathBuf;

use clap::builder::ArgPredicate;
use clap::{Args, ValueEnum};

use super::{
    DataArg, Format, ModelArgs, OutsideArgs, PlaceArgs, PromptArgs, TaskArg, all_manipulations,
    extents, manipulations, seeds, sites, text,
};
use crate::engine::TokenSelector;
use crate::intervention::{Extent, Kind, LayerList, Site, Sites};

const EXAMPLES: &str = "\
Examples:
  midlayer map -m smollm2-135m:q8_0 -p 'The capital of France is' --answer ' Paris'
  midlayer map -m smollm2-135m:q8_0 -p 'The capital of France is' --answer ' Paris' --corrupt 'text: France'
  midlayer map -m smollm2-135m:q8_0 -p 'The capital of France is' --answer ' Paris' --foil ' Rome' \\
      --from 'The capital of Italy is' --out map.svg
  midlayer map -m smollm2-135m:q8_0 -p 'The capital of France is' --answer ' Paris' --heads --manipulate zero
  midlayer map -m smollm2-135m:q8_0 --task capitals --limit 30 --shots 1 --corrupt subject --out map.svg
  midlayer map -m smollm2-135m:q8_0 -p 'The capital of France is' --steps 0-20+4 --manipulate freeze
  midlayer map -m smollm2-135m:q8_0 -p 'The capital of France is' --geometry --against smollm2-135m:q4_0
  midlayer map -m smollm2-135m:q8_0 -p 'The capital of France is' --lens --layers 0-29+3";

const LENS: &str = "\
Instead of an effect, show the logit lens: what the model's own final norm and head say of each token's state where it enters each layer. A cell is the likeliest next token, or with --answer the answer's probability; the last column, 'out', is what leaves the last layer, so the model's own prediction. The strip below tells from which of the layers shown the prediction stays on top. All tokens are rows; --tokens chooses prior ones, and the last stays. The answer must be one token.

Fields of -o json, one object a state: position, token, text (of the row), layer (the number of layers for 'out'), top_token, top_text, top_logprob (the likeliest next token), stays (whether it is the prediction, here and at all further layers shown), entropy (nats), answer_logprob, answer_rank (null without --answer), top (the five likeliest; not in .csv). Logarithms are natural.";

const TASK: &str = "\
Instead of a prompt, the items of a task: one map an item, averaged, with a 95% interval over items (Student's t) for each cell. Rows are heads (--heads), or else roles of tokens as in causal tracing: before the subject, its first token, those in its middle, its last (or only) one, those between it and the end, the last prior token. A role's cell is the mean over an item's tokens of that role, and then over items. Items without a subject are left out. The measure is the log-probability of the item's right answer. With --foil it is the logit of the right answer less that of the item's own foil: the foil that its record names, else its wrong choices, else the answer that inject would bring (in capitals another country's capital); of several the one that comes closest to the answer where the two part. --foil ' Rome' takes one text for all items. Items without a foil that differs from their answer are left out. With --kl it is the distance from the clean run. --corrupt subject traces what the subject is worth.

Fields of -o json and .csv, the average first (item is null), then each item's map: item, then head or position, token, text, role, then layer, value, low, high (the interval), items (how many have the cell), clean, corrupted, floor.";

const GEOMETRY: &str = "\
Instead of an effect, show the states themselves, where they enter each layer and where they leave the last one (the column after the last layer): norm, the base-10 logarithm of a state's length; turn, 1 less the cosine of its angle with the state one layer below; drift, with --against, the length of its difference from the other model's state as a share of the state. All tokens are rows; --tokens takes the last one, too.

Fields of -o json and .csv, all of them whatever is shown: position, token, text, layer (the number of layers where states leave the last one), norm, before (the cosine with the layer below), and with --against cosine, error (the share) and rounding (the same of the layer's states when the first tokens run in a batch of their own, a mean).";

const ATTENTION: &str = "\
Instead of an effect, show what heads weigh each token's values by, as LAYER:HEAD: 10:3 or 10:3,12:0. Tokens down, the positions that they look at across: probabilities, which sum to 1 for each token (to less in models that have attention sinks of their own). Heads are those of queries, as in --site heads. Flash attention is off for the run, since it gives no weights.

Fields of -o json, .csv and .parquet, a row for each pair of tokens: layer, head, position, token, text, at, at_token, at_text (of the token looked at), weight. A figure or a page shows one head.";

const STEPS: &str = "\
Instead of single states, show steps of generation. The clean run continues the prompt greedily by up to --generate tokens, and every run follows that text. In a cell all --tokens before the newest one, generated ones too, are manipulated at its layer, but only once as many tokens follow the prompt as its row says. Its value is the change of the continuation's log-probability from that step on, a mean over its tokens (or their mean KL divergence from the clean run, --kl). With --manipulate splice --scaffold FILE --site kv it is the map of arXiv 2605.30574. --extent says at which layers a manipulation acts, seen from the cell's.

Fields of -o json and .csv: step, token, text (the continuation's token at that step), layer, value, clean (the continuation's log-probability a token, from the first step on), floor.";

/// A head of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadArg {
    pub layer: u32,
    pub head: u32,
}

impl std::str::FromStr for HeadArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(layer, head)| {
            Some(Self {
                layer: layer.trim().parse().ok()?,
                head: head.trim().parse().ok()?,
            })
        });
        parsed.ok_or_else(|| format!("'{text}' is no LAYER:HEAD, as 10:3"))
    }
}

/// What of a geometry is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum AspectArg {
    /// drift with --against, else norm
    Auto,
    /// How long each state is
    Norm,
    /// How it turns from one layer to the next
    Turn,
    /// How far it is from the other model's
    Drift,
}

#[derive(Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("prompt", |arg| arg
    .required(false)
    .required_unless_present("task")
    .default_value_if("task", ArgPredicate::IsPresent, "")))]
pub struct MapArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// Instead of a prompt, a task's items, their maps averaged: capitals, math, squad,
    /// cnn_dailymail, or your own as NAME=FILE
    #[arg(
        long,
        value_name = "TASK",
        conflicts_with_all = ["prompt", "answer", "from", "lens"],
        long_help = TASK
    )]
    pub task: Option<TaskArg>,
    /// With --task: items at most
    #[arg(long, value_name = "N", default_value_t = 20, requires = "task", value_parser = clap::value_parser!(u32).range(1..))]
    pub limit: u32,
    /// With --task: examples before each question [default: 5; your own tasks: as their TOML file
    /// says, or none]
    #[arg(long, value_name = "N", requires = "task", value_parser = clap::value_parser!(u32).range(0..=8))]
    pub shots: Option<u32>,
    /// With --task: the data of squad or cnn_dailymail, as TASK=FILE [default: the pulled set, or
    /// else a small sample written for midlayer]
    #[arg(long, value_name = "TASK=FILE", requires = "task")]
    pub data: Option<DataArg>,
    /// Instead of an effect, show the logit lens: what the model's own final norm and head say of
    /// each token's state where it enters each layer
    #[arg(
        long,
        conflicts_with_all = [
            "manipulate", "site", "heads", "seed", "foil", "kl", "from", "corrupt", "corrupt_by",
            "direction", "mean_of",
        ],
        long_help = LENS,
    )]
    pub lens: bool,
    /// Instead of an effect, show the states themselves: norm, turn (from the layer below), drift
    /// (from --against)
    #[arg(
        long,
        value_enum,
        value_name = "ASPECT",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "auto",
        conflicts_with_all = [
            "task", "lens", "manipulate", "site", "heads", "seed", "answer", "foil", "kl", "from",
            "corrupt", "corrupt_by", "direction", "mean_of", "scaffold",
        ],
        long_help = GEOMETRY,
    )]
    pub geometry: Option<AspectArg>,
    /// Instead of an effect, show what heads weigh each token's values by, as LAYER:HEAD: 10:3 or
    /// 10:3,12:0; flash attention is off for the run
    #[arg(
        long,
        value_name = "HEADS",
        value_delimiter = ',',
        conflicts_with_all = [
            "task", "lens", "geometry", "manipulate", "layers", "tokens", "site", "heads", "seed",
            "answer", "foil", "kl", "from", "corrupt", "corrupt_by", "direction", "mean_of",
            "scaffold",
        ],
        long_help = ATTENTION,
    )]
    pub attention: Vec<HeadArg>,
    /// Instead of single states, show steps of generation: the rows are how many tokens follow the
    /// prompt when the manipulation begins, as all, 0-20+4 or 0,8,16
    #[arg(
        long,
        value_name = "STEPS",
        value_parser = text::layers,
        conflicts_with_all = [
            "task", "lens", "geometry", "attention", "heads", "answer", "foil", "from", "corrupt",
            "corrupt_by",
        ],
        long_help = STEPS,
    )]
    pub steps: Option<LayerList>,
    /// With --steps: tokens of the clean run's continuation that are followed, at most
    #[arg(long, value_name = "N", default_value_t = 24, requires = "steps", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub generate: u32,
    #[arg(long, value_name = "EXTENT", default_value = "paper", requires = "steps", help = extents_of_steps())]
    pub extent: Extent,
    /// With --geometry: compare with another model's or level's states of the same text
    #[arg(long, value_name = "FILE|ALIAS", requires = "geometry")]
    pub against: Option<String>,
    #[arg(
        long,
        value_name = "KIND",
        default_value = Kind::noise().name(),
        default_value_if("from", ArgPredicate::IsPresent, Kind::patch().name()),
        conflicts_with = "corrupt",
        help = manipulations("What is done to one state at a time"),
        long_help = all_manipulations("What is done to one state at a time")
    )]
    pub manipulate: Kind,
    /// Layers, the columns: all, 15, 0,5,10, 0-29, 0-29+3
    #[arg(long, value_name = "LAYERS", value_parser = text::layers, default_value = "all")]
    pub layers: LayerList,
    /// Prior tokens, the rows (or with --heads where a head is manipulated): prior (all), skip:N, first:N, last:N, positions as 3-7, or
    /// 'text: France'
    #[arg(long, value_name = "SELECTOR", value_parser = text::selector, default_value_t = TokenSelector::Prior)]
    pub tokens: TokenSelector,
    #[arg(long, value_name = "SITE", default_value = "residual", help = sites())]
    pub site: Sites,
    /// The rows are heads: one head of one layer is manipulated at a time (site heads), at all of
    /// --tokens together
    #[arg(long, conflicts_with = "site")]
    pub heads: bool,
    #[arg(long, value_name = "SEEDS", value_delimiter = ',', default_value = "1", help = seeds_averaged())]
    pub seed: Vec<u64>,
    /// The answer whose log-probability a cell is about, the space before it included (' Paris')
    /// [default: the clean run's likeliest token]
    #[arg(long, value_name = "TEXT", value_parser = text::literal)]
    pub answer: Option<String>,
    /// A cell is about the logit of the answer less that of this one; with --task and without a
    /// text, of each item's own foil
    #[arg(long, value_name = "TEXT", num_args = 0..=1, value_parser = text::literal, conflicts_with = "kl")]
    pub foil: Option<Option<String>>,
    /// A cell is about the KL divergence of the next token's distribution from the clean one
    #[arg(long, conflicts_with = "answer")]
    pub kl: bool,
    /// The donor prompt whose states are put in place of the prompt's own, each by itself
    /// (activation patching, --manipulate inject); written as -p is. Of another length it must end as the prompt does,
    /// and tokens are aligned by what the two have in common
    #[arg(long, value_name = "TEXT", conflicts_with = "corrupt")]
    pub from: Option<text::Source>,
    /// Restore instead (causal tracing): corrupt these tokens, and put one clean state back at a
    /// time; a cell is about what comes back
    #[arg(long, value_name = "SELECTOR", value_parser = text::selector)]
    pub corrupt: Option<TokenSelector>,
    /// With --corrupt: what corrupts them, where they enter layer 0
    #[arg(
        long,
        value_name = "KIND",
        default_value = Kind::corruption().name(),
        requires = "corrupt"
    )]
    pub corrupt_by: Kind,
    #[command(flatten)]
    pub outside: OutsideArgs,
    /// Write the map, as its ending says: a figure (.svg), a page (.html), a row a cell (.csv,
    /// .jsonl, .parquet); an effect map that is interrupted, over a task or by steps too, goes on with
    /// the same command (what is there lies in FILE.unfinished)
    #[arg(long, value_name = "FILE")]
    pub out: Vec<PathBuf>,
    /// Output
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

fn extents_of_steps() -> String {
    format!("With --steps: {}", extents())
}

fn seeds_averaged() -> String {
    format!("{} and of --corrupt; several are averaged", seeds())
}

impl MapArgs {
    /// Where a cell's manipulation acts.
    pub fn place(&self) -> PlaceArgs {
        let site = match self.heads {
            true => Sites(vec![Site::HEADS]),
            false => self.site.clone(),
        };
        let extent = match self.steps {
            Some(_) => self.extent,
            None => Extent::Only,
        };
        PlaceArgs::new(self.tokens.clone(), extent, site)
    }
}
