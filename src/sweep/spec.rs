//! Everything that the results of a run depend on.

use serde::{Deserialize, Serialize};

use crate::engine::{Engine, EngineError};
use crate::intervention::{Extent, Kind};
use crate::runtime::{ContextOptions, Facts};
use crate::tasks::{Capitals, ItemSet, Math, TaskName};

/// A run's whole specification, stored with it. Two runs with the same specification give the
/// same rows; a run can be resumed only under the specification it was begun with.
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
    pub strategy: String,
    /// The tasks.
    pub tasks: Vec<TaskSpec>,
    /// The manipulations.
    pub manipulations: Vec<Kind>,
    /// The layers `k`, before those at which a manipulation is not defined are left out.
    pub layers: Vec<u32>,
    /// Seeds of the manipulations that have one.
    pub seeds: Vec<u64>,
    /// Which layers each manipulation acts on.
    pub extent: Extent,
    /// Which tokens: a selector as the user writes it.
    pub tokens: String,
}

/// Which model a run used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// SHA-256 of the file.
    pub sha256: String,
    /// What the model says of itself, its quantization included.
    #[serde(flatten)]
    pub facts: Facts,
}

/// A task and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSpec {
    /// The task.
    pub task: TaskName,
    /// The version of its items.
    pub version: u32,
    /// Items at most.
    pub limit: usize,
    /// Examples before the question.
    pub shots: usize,
    /// Math: the largest operand.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub math_max: Option<u32>,
    /// Math: the seed of the questions.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub math_seed: Option<u64>,
}

impl TaskSpec {
    /// The task's items for the engine's tokenizer.
    ///
    /// # Errors
    /// The engine's.
    pub fn items(&self, engine: &dyn Engine) -> Result<ItemSet, EngineError> {
        match self.task {
            TaskName::Capitals => Capitals { shots: self.shots }.items(engine, self.limit),
            TaskName::Math => Math {
                shots: self.shots,
                max: self.math_max.unwrap_or(20),
                seed: self.math_seed.unwrap_or(1),
            }
            .items(engine, self.limit),
        }
    }
}

impl Spec {
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
    use serde_json::Value::{Null, Object};
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
    Some(format!("{path}: stored {stored}, now {now}"))
}
