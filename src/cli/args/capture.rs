//! Options of `midlayer capture`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::ArgPredicate;

use super::{ModelArgs, PromptArgs, text};
use crate::engine::TokenSelector;
use crate::intervention::{LayerList, Sites};

const FILE: &str = "\
The file, written whole or not at all.

.safetensors: for each site a float32 tensor [layers, tokens, width] under its name (resid_pre, attn_out, mlp_out, heads, k, v), and int32 tensors layers.NAME (its layers), positions (of the tokens kept) and tokens (the ids of all tokens of the text). With --prompts the names begin with the text's number, from 0: 1.resid_pre. Metadata: model, model_sha256, sites, texts (how many), text.0 and so on.

.npy: the array of one site of one prompt alone.

heads are the rows that attention's output projection reads; heads, k and v have all heads of a layer one after the other. k is after rotary embedding. Without a manipulation, as computed for a prompt in one batch.";

const EXAMPLES: &str = "\
Examples:
  midlayer capture -m smollm2-135m:q8_0 -p 'The capital of France is' --sites resid_pre,heads --out states.safetensors
  midlayer capture -m smollm2-135m:q8_0 -p 'The capital of France is' --layers 15 --tokens last:1 --out state.npy";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
#[command(mut_arg("prompt", |arg| arg
    .required(false)
    .required_unless_present("prompts")
    .default_value_if("prompts", ArgPredicate::IsPresent, "")))]
pub struct CaptureArgs {
    #[command(flatten)]
    pub model: ModelArgs,
    #[command(flatten)]
    pub prompt: PromptArgs,
    /// Instead of one prompt several, one in each line
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    pub prompts: Option<PathBuf>,
    /// Layers: all, 15, 0,5,10, 0-29, 0-29+3; those that have no such site are left out, unless
    /// they are named
    #[arg(long, value_name = "LAYERS", value_parser = text::layers, default_value = "all")]
    pub layers: LayerList,
    /// What to keep: resid_pre (the state entering a layer, also residual), attn_out and mlp_out
    /// (what its attention and its MLP add to it), heads, k, v
    #[arg(
        long,
        value_name = "SITES",
        value_delimiter = ',',
        default_value = "resid_pre"
    )]
    pub sites: Vec<Sites>,
    /// Which tokens, the last one too: first:N, last:N, skip:N, positions as 3-7, or 'text: France'
    /// [default: all]
    #[arg(long, value_name = "SELECTOR", value_parser = text::selector)]
    pub tokens: Option<TokenSelector>,
    /// The file: states.safetensors, or state.npy for one site of one prompt
    #[arg(long, value_name = "FILE", long_help = FILE)]
    pub out: PathBuf,
}
