//! A plan: what is done to a text, as a JSON file that `midlayer try --save-plan` writes and the
//! plugin carries out in another program.
//!
//! ```json
//! {
//!   "midlayer_plan": 1,
//!   "interventions": [{ "manipulation": "freeze", "layer": 25 }],
//!   "requests": "first"
//! }
//! ```

mod check;
mod states;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::intervention::{Action, Extent, Intervention, Kind, PositionSet, Site, States};

pub use states::{StatesFileError, read_states, write_states};

/// The version of the schema that this reads and writes.
pub const VERSION: u32 = 1;

/// A plan that cannot be read, written or carried out.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// Not JSON, or not of this schema.
    #[error("the plan cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// Another version of the schema.
    #[error("the plan has version {0} (midlayer_plan), this reads version {VERSION}")]
    Version(u32),
    /// Nothing to do.
    #[error("the plan has neither interventions nor a capture, so it would do nothing")]
    Empty,
    /// `requests` of `{"every": 0}`.
    #[error("requests: every 0th request is none; write {{\"every\": 1}} or more")]
    EveryZeroth,
    /// A layer that no model has, or not the plan's own.
    #[error("layer {layer} is out of range: layers are counted from 0 and end before {beyond}")]
    Layer {
        /// The layer.
        layer: u32,
        /// The number of layers.
        beyond: u32,
    },
    /// A window of no layers, or of more than there are.
    #[error("extent: a window of {0} layers is none; write {{\"window\": 1}} or more")]
    Window(u32),
    /// A range of tokens that runs backwards.
    #[error("tokens: the range {0}-{1} runs backwards")]
    Backwards(u32, u32),
    /// A manipulation that needs states, without them.
    #[error("{0} needs states: {{\"file\": ...}} or {{\"rows\": [...]}}")]
    NoStates(Kind),
    /// A manipulation that draws at random, without a seed.
    #[error("{0} needs a seed")]
    NoSeed(Kind),
    /// A function of the program's own.
    #[error("a custom row function cannot be written to a file")]
    Custom,
    /// The states' file.
    #[error(transparent)]
    States(#[from] StatesFileError),
    /// The plan's file.
    #[error("{}: {error}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
}

/// What is done, to which texts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`VERSION`].
    pub midlayer_plan: u32,
    /// The model that it was made for; another one is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<Shape>,
    /// What is done to each text, in this order.
    #[serde(default)]
    pub interventions: Vec<Step>,
    /// Which texts are touched (the plugin only).
    #[serde(default)]
    pub requests: Requests,
    /// A text that begins at position 0 and has fewer tokens is a warm-up: left alone and not
    /// counted (the plugin only).
    #[serde(default = "shortest")]
    pub shortest: u32,
    /// States to keep (the plugin only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<Keep>,
}

fn shortest() -> u32 {
    3
}

/// The shape of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Number of layers.
    pub layers: u32,
    /// Values of a hidden state.
    pub width: u32,
}

/// Which texts are touched. They are counted from 1, from when the plan was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Requests {
    /// Every one.
    #[default]
    All,
    /// The first only.
    First,
    /// Those whose number is a multiple of this.
    Every(u64),
}

impl Requests {
    /// Whether the text of this number, from 1, is touched.
    pub fn selects(self, number: u64) -> bool {
        match self {
            Requests::All => true,
            Requests::First => number == 1,
            Requests::Every(n) => n > 0 && number.is_multiple_of(n),
        }
    }
}

/// States to keep.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keep {
    /// The layers; the state *entering* layer `l` is kept, `l_out` of the layer below.
    pub layers: Vec<u32>,
    /// A safetensors file, with the number of the text before its extension: `states.1.safetensors`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<PathBuf>,
}

/// One intervention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What is done.
    pub manipulation: Kind,
    /// The layer `k`.
    pub layer: u32,
    /// Which layers, seen from `k`.
    #[serde(default = "paper")]
    pub extent: Extent,
    /// Rows of what.
    #[serde(default = "residual")]
    pub site: Site,
    /// The seed, for manipulations that draw at random.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Positions, as `[first, last]`, both included, `null` for no end. Without it all prior
    /// tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<(u32, Option<u32>)>>,
    /// The states that a manipulation needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub states: Option<Given>,
}

fn paper() -> Extent {
    Extent::Paper
}

fn residual() -> Site {
    Site::Residual
}

/// States that are put in place of a text's own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Given {
    /// A file as [`write_states`] writes it; a relative path is seen from the plan's folder.
    File(PathBuf),
    /// Here.
    Rows(Vec<GivenRow>),
}

/// One state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GivenRow {
    /// The layer it enters.
    pub layer: u32,
    /// The position.
    pub position: u32,
    /// The state.
    pub values: Vec<f32>,
}

impl Plan {
    /// A plan for every text of a model of this shape.
    ///
    /// # Errors
    /// [`PlanFileError::Custom`].
    pub fn of(interventions: &[Intervention], model: Shape) -> Result<Self, PlanFileError> {
        Ok(Self {
            midlayer_plan: VERSION,
            model: Some(model),
            interventions: interventions
                .iter()
                .map(Step::of)
                .collect::<Result<_, _>>()?,
            requests: Requests::All,
            shortest: shortest(),
            capture: None,
        })
    }

    /// Reads a plan.
    ///
    /// # Errors
    /// [`PlanFileError`].
    pub fn parse(json: &str) -> Result<Self, PlanFileError> {
        serde_json::from_str::<Plan>(json)?.checked()
    }

    /// Reads a plan's file.
    ///
    /// # Errors
    /// [`PlanFileError`].
    pub fn read(path: &Path) -> Result<Self, PlanFileError> {
        let text = std::fs::read_to_string(path).map_err(|error| PlanFileError::File {
            path: path.into(),
            error,
        })?;
        Self::parse(&text)
    }

    /// The plan as JSON.
    ///
    /// # Errors
    /// [`PlanFileError::Json`].
    pub fn to_json(&self) -> Result<String, PlanFileError> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// Writes the plan to a file, whole or not at all: a host may be watching it.
    ///
    /// # Errors
    /// [`PlanFileError`].
    pub fn write(&self, path: &Path) -> Result<(), PlanFileError> {
        replace(path, self.to_json()?.as_bytes()).map_err(|error| PlanFileError::File {
            path: path.into(),
            error,
        })
    }

    /// The interventions; files of states are read, from `folder` where their path is relative.
    ///
    /// # Errors
    /// [`PlanFileError`].
    pub fn interventions(&self, folder: &Path) -> Result<Vec<Intervention>, PlanFileError> {
        let steps = self.interventions.iter();
        steps.map(|step| step.intervention(folder)).collect()
    }
}

impl Step {
    fn of(intervention: &Intervention) -> Result<Self, PlanFileError> {
        let manipulation = intervention.action.kind().ok_or(PlanFileError::Custom)?;
        let (seed, states) = match &intervention.action {
            Action::Given(states) => (None, Some(needed(intervention, states))),
            Action::Row(edit) => {
                let states = edit.states.as_ref();
                let in_span = |layer, _| intervention.layers.contains(layer);
                (
                    edit.kind.has_seed().then_some(edit.seed),
                    states.map(|states| given(states, in_span)),
                )
            }
            Action::Freeze
            | Action::SkipAttention
            | Action::Hide
            | Action::Custom(_)
            | Action::CustomRows(_) => (None, None),
        };
        let span = intervention.layers;
        let tokens = (intervention.tokens != PositionSet::all()).then(|| {
            let ranges = intervention.tokens.as_ranges().iter();
            let end = |end: u32| (end != u32::MAX).then(|| end - 1);
            ranges.map(|r| (r.start, end(r.end))).collect()
        });
        Ok(Self {
            manipulation,
            layer: span.first,
            extent: match span.last {
                None => Extent::From,
                Some(last) if last == span.first => Extent::Only,
                Some(last) => Extent::Window(last - span.first + 1),
            },
            site: intervention.site,
            seed,
            tokens,
            states,
        })
    }

    fn intervention(&self, folder: &Path) -> Result<Intervention, PlanFileError> {
        let kind = self.manipulation;
        if kind.has_seed() && self.seed.is_none() {
            return Err(PlanFileError::NoSeed(kind));
        }
        let tokens = match &self.tokens {
            None => PositionSet::all(),
            Some(ranges) => {
                for &(first, last) in ranges {
                    if let Some(last) = last.filter(|last| *last < first) {
                        return Err(PlanFileError::Backwards(first, last));
                    }
                }
                let end = |last: Option<u32>| last.map_or(u32::MAX, |last| last.saturating_add(1));
                PositionSet::ranges(ranges.iter().map(|&(first, last)| first..end(last)))
            }
        };
        let states = match &self.states {
            None => None,
            Some(Given::File(path)) => Some(read_states(&folder.join(path))?),
            Some(Given::Rows(rows)) => {
                let mut states = States::new();
                for row in rows {
                    states.insert(row.layer, row.position, row.values.clone());
                }
                Some(states)
            }
        };
        if kind.manipulation().needs().states() && states.is_none() {
            return Err(PlanFileError::NoStates(kind));
        }
        let seed = self.seed.unwrap_or(0);
        let states = states.map(Arc::new);
        let intervention = kind.intervention(self.layer, seed, self.extent, tokens, states);
        Ok(intervention.on(self.site))
    }
}

/// Writes a file beside the old one and puts it in its place.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = PathBuf::from(name);
    std::fs::write(&part, bytes)?;
    std::fs::rename(&part, path)
}

/// Of the states those that the intervention can ask for.
fn needed(intervention: &Intervention, states: &States) -> Given {
    given(states, |layer, position| {
        intervention.layers.contains(layer) && intervention.tokens.contains(position)
    })
}

fn given(states: &States, is_asked: impl Fn(u32, u32) -> bool) -> Given {
    let states = states.iter();
    let asked = states.filter(|((layer, position), _)| is_asked(*layer, *position));
    let mut rows: Vec<GivenRow> = asked
        .map(|((layer, position), values)| GivenRow {
            layer,
            position,
            values: values.to_vec(),
        })
        .collect();
    rows.sort_by_key(|row| (row.layer, row.position));
    Given::Rows(rows)
}

#[cfg(test)]
mod tests;
