//! What can be asked, as JSON. Names and texts are those of `midlayer try`.

use schemars::JsonSchema;
use serde::Deserialize;

/// Bytes of a prompt at most.
const PROMPT: usize = 16 * 1024;
/// Bytes of any other text at most.
const TEXT: usize = 1024;
/// Entries of a list at most.
const LIST: usize = 16;

/// A request.
#[derive(Debug)]
pub enum Ask {
    /// The tokens of a prompt.
    Tokens(TokensAsk),
    /// A prompt, clean and manipulated.
    Try(Box<TryAsk>),
    /// A prompt continued, clean and manipulated at one layer.
    Generate(Box<TryAsk>),
    /// The plan of a single run.
    Plan(Box<TryAsk>),
    /// A number for each state of a prompt.
    Map(MapAsk),
    /// What a result of a stored run asks, for this model.
    Open(OpenAsk),
}

/// A result of a stored run, to be asked again. Its id and its place come from `/v1/runs`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenAsk {
    /// The run's id.
    pub run: String,
    /// The number of the run's model.
    #[serde(default)]
    pub variant: usize,
    /// The item's number.
    pub item: usize,
    /// What was done, as the result says it.
    pub manipulation: String,
    /// Which model is asked, as `/v1/model` lists them; unless said the one that the run had.
    pub model: Option<Which>,
    /// Who asks: a newer request under the same name ends an older one.
    pub page: Option<String>,
}

/// One of the models that are served.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "model is a number or a name")]
pub enum Which {
    /// Its place in the list of `/v1/model`, from 0.
    Number(usize),
    /// Its name there.
    Name(String),
}

/// A number for each state of a prompt: `midlayer map`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MapAsk {
    /// The prompt, as it is.
    pub prompt: String,
    /// Whether it is put into the model's chat template.
    #[serde(default)]
    pub chat: bool,
    /// Instead of an effect, what the head says of each state.
    #[serde(default)]
    pub lens: bool,
    /// What is done to one state at a time; noise unless said.
    pub manipulate: Option<String>,
    /// The answer that is followed.
    pub answer: Option<String>,
    /// Which model is asked, as `/v1/model` lists them; the first unless said.
    pub model: Option<Which>,
    /// Who asks: a newer request under the same name ends an older one.
    pub page: Option<String>,
}

/// Tokens of a prompt, and which of them a selector takes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TokensAsk {
    /// The prompt, as it is.
    pub prompt: String,
    /// Whether it is put into the model's chat template.
    #[serde(default)]
    pub chat: bool,
    /// Which tokens are selected, as `--tokens` says it.
    pub tokens: Option<String>,
    /// Which model is asked, as `/v1/model` lists them; the first unless said.
    pub model: Option<Which>,
    /// Who asks: a newer request under the same name ends an older one.
    pub page: Option<String>,
}

/// A prompt, clean and manipulated: `midlayer try`. Continuing takes a single run.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TryAsk {
    /// The prompt, as it is.
    pub prompt: String,
    /// Whether it is put into the model's chat template.
    #[serde(default)]
    pub chat: bool,
    /// What to do, each as an entry of `--manipulate`; freeze unless said.
    #[serde(default)]
    pub manipulate: Vec<String>,
    /// The layers, as `--layers` says it; all unless said.
    pub layers: Option<String>,
    /// Seeds; 1 unless said.
    #[serde(default)]
    pub seed: Vec<u64>,
    /// Answers to follow; the clean run's likeliest token unless said.
    #[serde(default)]
    pub answer: Vec<String>,
    /// Which tokens are manipulated, as `--tokens` says it; all prior ones unless said.
    pub tokens: Option<String>,
    /// The model whose tokens the positions in `tokens` are: those that hold the same text are
    /// taken of the model that is asked.
    pub tokens_of: Option<Which>,
    /// Which layers, as `--extent` says it.
    pub extent: Option<String>,
    /// What is rewritten, as `--site` says it: residual, k, v or kv.
    pub site: Option<String>,
    /// The donor prompt of inject, as it is.
    pub inject_from: Option<String>,
    /// The part of the prompt that is replaced.
    pub inject_at: Option<String>,
    /// The part of the donor prompt that is taken instead of its last tokens.
    pub inject_from_at: Option<String>,
    /// Continue both texts by so many tokens.
    pub generate: Option<u32>,
    /// Which model is asked, as `/v1/model` lists them; the first unless said.
    pub model: Option<Which>,
    /// Who asks: a newer request under the same name ends an older one.
    pub page: Option<String>,
}

impl Ask {
    /// Who asks.
    pub fn page(&self) -> Option<&str> {
        match self {
            Self::Tokens(ask) => ask.page.as_deref(),
            Self::Map(ask) => ask.page.as_deref(),
            Self::Open(ask) => ask.page.as_deref(),
            Self::Try(ask) | Self::Generate(ask) | Self::Plan(ask) => ask.page.as_deref(),
        }
    }

    /// Which model is asked.
    pub fn model(&self) -> Option<&Which> {
        match self {
            Self::Tokens(ask) => ask.model.as_ref(),
            Self::Map(ask) => ask.model.as_ref(),
            Self::Open(ask) => ask.model.as_ref(),
            Self::Try(ask) | Self::Generate(ask) | Self::Plan(ask) => ask.model.as_ref(),
        }
    }

    /// What is too long or too much, if anything.
    pub fn excess(&self) -> Option<String> {
        let (prompt, lists, texts): (&str, Vec<usize>, Vec<&str>) = match self {
            Self::Tokens(ask) => {
                let texts = [&ask.tokens, &ask.page];
                let texts = texts.into_iter().flatten().map(String::as_str);
                (&ask.prompt, vec![], texts.collect())
            }
            Self::Map(ask) => {
                let texts = [&ask.manipulate, &ask.answer, &ask.page];
                let texts = texts.into_iter().flatten().map(String::as_str);
                (&ask.prompt, vec![], texts.collect())
            }
            Self::Open(ask) => {
                let mut texts = vec![&*ask.run, &*ask.manipulation];
                texts.extend(ask.page.as_deref());
                ("", vec![], texts)
            }
            Self::Try(ask) | Self::Generate(ask) | Self::Plan(ask) => {
                let some = [
                    &ask.layers,
                    &ask.tokens,
                    &ask.extent,
                    &ask.site,
                    &ask.inject_at,
                    &ask.inject_from_at,
                    &ask.page,
                ];
                let texts = some.into_iter().flatten();
                let texts = texts.chain(&ask.manipulate).chain(&ask.answer);
                let runs = ask.manipulate.len().max(1) * ask.seed.len().max(1);
                let lists = vec![runs, ask.answer.len()];
                (&ask.prompt, lists, texts.map(String::as_str).collect())
            }
        };
        let donor = match self {
            Self::Try(ask) | Self::Generate(ask) | Self::Plan(ask) => {
                ask.inject_from.as_deref().unwrap_or_default()
            }
            Self::Tokens(_) | Self::Map(_) | Self::Open(_) => "",
        };
        if prompt.len().max(donor.len()) > PROMPT {
            return Some(format!("a prompt has at most {PROMPT} bytes"));
        }
        if prompt.contains('\0') || donor.contains('\0') || texts.iter().any(|t| t.contains('\0')) {
            return Some("a text holds a byte 0, which ends a text".into());
        }
        if texts.iter().any(|text| text.len() > TEXT) {
            return Some(format!(
                "a text other than a prompt has at most {TEXT} bytes"
            ));
        }
        if lists.iter().any(|n| *n > LIST) {
            return Some(format!(
                "at most {LIST} answers, and {LIST} manipulations times seeds"
            ));
        }
        None
    }
}
