//! Everything that the results of a run depend on.

use serde::{Deserialize, Serialize};

use super::{Grid, GridError, Outside};
use crate::engine::{Shape, Strategy};
use crate::hook::Anatomy;
use crate::hub::Origin;
use crate::intervention::{Extent, Kind, LayerList, PositionSet, Site};
use crate::runtime::{ContextOptions, Facts};
use crate::stats::Until;
use crate::tasks::{Metric, TaskName, TaskSpec};

/// One model under one set of settings: what a run has one or several of.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// Everything its results depend on.
    pub spec: Spec,
    /// Its cells.
    pub grid: Grid,
}

impl Variant {
    /// The variant of a specification.
    ///
    /// # Errors
    /// [`GridError`].
    pub fn new(spec: Spec) -> Result<Self, GridError> {
        let grid = Grid::of(&spec)?;
        Ok(Self { spec, grid })
    }
}

/// A variant's whole specification, stored with it. Two runs with the same specifications give
/// the same rows; a run can be resumed only under the ones it was begun with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// The model.
    pub model: ModelIdentity,
    /// llama.cpp's version.
    pub llama_cpp: String,
    /// The devices that llama.cpp computes on.
    pub devices: Vec<String>,
    /// Layers on a GPU, as asked for.
    pub gpu_layers: Option<u32>,
    /// Context, batch, thread, cache and attention settings.
    pub context: ContextOptions,
    /// How cells are computed.
    pub strategy: Strategy,
    /// Sequences in one batch, where the strategy knows any: batch shapes change rounding.
    pub parallel: Option<u32>,
    /// The tasks.
    pub tasks: Vec<TaskSpec>,
    /// The manipulations.
    pub manipulations: Vec<Kind>,
    /// The layers `k`, before those at which a manipulation is not defined are left out.
    pub layers: Vec<u32>,
    /// Layers of these that the model has no place for a manipulation at ([`Spec::fit`]).
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub left_out: Vec<LeftOut>,
    /// Seeds of the manipulations that have one.
    pub seeds: Vec<u64>,
    /// Which layers each manipulation acts on.
    pub extent: Extent,
    /// Which tokens: a selector as the user writes it.
    pub tokens: String,
    /// What of a layer is rewritten.
    pub sites: Vec<Site>,
    /// Whether tokens after the prompt are manipulated once they are not the last any more.
    pub manipulate_generated: bool,
    /// How many tokens follow the prompt when manipulation begins.
    pub from_step: usize,
    /// What the sweep finds out before it stops; without it all cells run for all items.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<Until>,
    /// What manipulations need besides the prompts.
    #[serde(skip_serializing_if = "Outside::is_empty", default)]
    pub outside: Outside,
}

/// A manipulation, and the layers at which the model has no place for it: no attention to skip,
/// no keys and values of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// The manipulation.
    pub manipulation: Kind,
    /// The layers.
    pub layers: Vec<u32>,
}

/// Which model a run used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// What it is by the contents of its files, see [`ModelFiles`](crate::models::ModelFiles).
    pub sha256: String,
    /// SHA-256 of each part of a model in parts.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub parts: Vec<String>,
    /// Where on the Hugging Face hub it is from, its revision included.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hub: Option<Origin>,
    /// What the model says of itself, its quantization included.
    #[serde(flatten)]
    pub facts: Facts,
}

impl Spec {
    /// What a reader of the results should know of the model and its settings.
    pub fn notices(&self) -> Vec<String> {
        let facts = &self.model.facts;
        let mut notices = facts.notices();
        notices.extend(facts.context_notice(self.context.n_ctx));
        notices
    }

    /// Leaves out the layers at which the model has no place for a manipulation. `asked` is the
    /// list that the layers come from.
    ///
    /// # Errors
    /// [`GridError::NoPlace`] where such a layer was named by itself, and where no layer is left
    /// for a manipulation.
    pub fn fit(&mut self, anatomy: &Anatomy, asked: &LayerList) -> Result<(), GridError> {
        self.left_out.clear();
        for &manipulation in &self.manipulations {
            let mut layers = Vec::new();
            let mut reason = None;
            let architecture = &self.model.facts.architecture;
            let no_place = |why| GridError::NoPlace {
                kind: manipulation,
                architecture: architecture.clone(),
                why,
            };
            let defined: Vec<u32> = (self.layers.iter().copied())
                .filter(|layer| self.is_defined(manipulation, *layer))
                .collect();
            for &layer in &defined {
                let tokens = PositionSet::all();
                let intervention = manipulation.intervention(layer, 0, self.extent, tokens, None);
                let mut sites = self.sites.iter();
                let refused =
                    sites.find_map(|site| anatomy.admits(&intervention.clone().on(*site)).err());
                let Some(why) = refused else { continue };
                let why = why.to_string();
                if asked.names(layer) {
                    return Err(no_place(why));
                }
                layers.push(layer);
                reason.get_or_insert(why);
            }
            let Some(why) = reason else { continue };
            if layers.len() == defined.len() {
                return Err(no_place(why));
            }
            self.left_out.push(LeftOut {
                manipulation,
                layers,
            });
        }
        Ok(())
    }

    /// What costs depend on besides the requests.
    pub fn shape(&self) -> Shape {
        Shape {
            strategy: self.strategy,
            n_layer: self.model.facts.n_layer,
            n_batch: self.context.n_batch as usize,
            n_ubatch: self.context.n_ubatch as usize,
            sequences: self.parallel.unwrap_or(1),
        }
    }

    /// The layers at which a manipulation is carried out.
    pub fn layers_of(&self, kind: Kind) -> impl Iterator<Item = u32> {
        let left_out = self
            .left_out
            .iter()
            .filter(move |out| out.manipulation == kind);
        let left_out: Vec<u32> = left_out.flat_map(|out| out.layers.clone()).collect();
        let layers = self.layers.iter().copied();
        layers.filter(move |l| self.is_defined(kind, *l) && !left_out.contains(l))
    }

    /// Whether a manipulation is defined at a layer.
    pub fn is_defined(&self, kind: Kind, layer: u32) -> bool {
        kind.is_defined(layer, self.model.facts.n_layer) && self.outside.has(kind, layer)
    }

    /// What the score of a task of this specification is.
    pub fn metric(&self, task: TaskName) -> Metric {
        let mut tasks = self.tasks.iter();
        let of = tasks.find(|of| of.task == task);
        of.map_or(Metric::Accuracy, TaskSpec::metric)
    }

    /// The same specification without the machine: what it computes on and with how many threads.
    /// Results of two machines differ by rounding alone.
    #[must_use]
    pub fn anywhere(&self) -> Spec {
        Spec {
            devices: Vec::new(),
            gpu_layers: None,
            context: ContextOptions {
                threads: 0,
                ..self.context.clone()
            },
            ..self.clone()
        }
    }

    /// The first difference between this specification and another, as
    /// `seeds: stored [1,2], now [1]`; `None` when they are the same.
    pub fn difference(&self, now: &Spec) -> Option<String> {
        let value = |spec: &Spec| serde_json::to_value(spec).expect("plain data");
        first_difference("", &value(self), &value(now))
    }
}

fn first_difference(
    path: &str,
    stored: &serde_json::Value,
    now: &serde_json::Value,
) -> Option<String> {
    use serde_json::Value::{Array, Null, Object};
    if stored == now {
        return None;
    }
    if let (Object(a), Object(b)) = (stored, now) {
        return a.keys().chain(b.keys()).find_map(|key| {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            first_difference(
                &path,
                a.get(key).unwrap_or(&Null),
                b.get(key).unwrap_or(&Null),
            )
        });
    }
    // The settings of tasks, one by one; lists of numbers are shown whole.
    if let (Array(a), Array(b)) = (stored, now)
        && a.len() == b.len()
        && a.iter().chain(b).all(serde_json::Value::is_object)
    {
        let mut pairs = a.iter().zip(b).enumerate();
        return pairs.find_map(|(n, (a, b))| first_difference(&format!("{path}.{n}"), a, b));
    }
    Some(format!("{path}: stored {stored}, now {now}"))
}
