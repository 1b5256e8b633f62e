//! What sweeps of tests ask for, as far as the test does not say otherwise.

use midlayer::engine::Strategy;
use midlayer::experiment::{ModelIdentity, Outside, Spec};
use midlayer::intervention::{Extent, Site};
use midlayer::runtime::{ContextOptions, Facts};
use midlayer::tasks::{TaskName, TaskSpec};

/// So many items of a built-in task, each after so many solved ones.
pub fn task(task: TaskName, limit: usize, shots: usize) -> TaskSpec {
    TaskSpec {
        task,
        version: 1,
        limit,
        shots,
        chat: false,
        chat_date: None,
        parse_special: false,
        data: None,
        math_max: None,
        math_seed: None,
        own: None,
    }
}

/// A sweep of a model that has no file. It has no tasks, manipulations and layers yet.
pub fn of(facts: Facts) -> Spec {
    Spec {
        model: ModelIdentity {
            sha256: "0".repeat(64),
            parts: vec![],
            hub: None,
            facts,
        },
        llama_cpp: "none".into(),
        devices: vec![],
        gpu_layers: None,
        context: ContextOptions::default(),
        strategy: Strategy::Straightforward,
        parallel: None,
        tasks: vec![],
        manipulations: vec![],
        layers: vec![],
        left_out: vec![],
        seeds: vec![1],
        extent: Extent::Paper,
        tokens: "prior".into(),
        sites: vec![Site::Residual],
        manipulate_generated: true,
        from_step: 0,
        until: None,
        outside: Outside::default(),
    }
}
