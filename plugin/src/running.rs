//! One evaluation in which something is done.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::error::SessionError;
use crate::ggml::ggml_tensor;
use crate::graph::Structure;
use crate::hook::{Capture, Pass, Row};
use crate::intervention::{Editor, Target};
use crate::requests::Run;
use crate::source::Ready;

/// An evaluation in which rows are rewritten or kept.
pub struct Running {
    /// What edits and keeps them.
    pub pass: Pass,
    /// Nodes that are waited for, with their index in the anatomy.
    pub wanted: HashMap<usize, usize>,
    /// The last node.
    pub result: usize,
    /// The texts, by run, with their plans.
    pub texts: HashMap<u32, (u64, Arc<Ready>)>,
}

impl Running {
    /// The first of its texts, for messages.
    pub fn text(&self) -> u64 {
        let numbers = self.texts.values().map(|(number, _)| *number);
        numbers.min().unwrap_or(0)
    }
}

/// The evaluation's rows; each run is a sequence of its own, whose positions do not repeat.
pub fn rows_of(runs: &[Run], rows: &[crate::requests::Row]) -> Vec<Row> {
    let numbered = (0..).zip(runs);
    numbered
        .flat_map(|(sequence, run)| {
            rows[run.rows.clone()].iter().map(move |row| Row {
                sequence,
                position: row.position,
                token: 0,
                prior: !row.output,
                output: row.output,
            })
        })
        .collect()
}

/// An evaluation of `texts`, by run.
///
/// # Errors
/// Skip-attention where a layer has no attention that was found.
pub fn running(
    structure: &Structure,
    chain: &[*mut ggml_tensor],
    rows: Vec<Row>,
    texts: HashMap<u32, (u64, Arc<Ready>)>,
) -> Result<Running, SessionError> {
    let text = texts.values().map(|(number, _)| *number).min();
    let text = text.unwrap_or(0);
    let editors = texts.iter().map(|(run, (_, ready))| {
        let editor = Editor::new(ready.interventions.clone(), structure.layers);
        (*run, editor)
    });
    let captures = texts
        .values()
        .filter_map(|(_, ready)| ready.plan.capture.as_ref());
    let layers: HashSet<u32> = captures.flat_map(|keep| &keep.layers).copied().collect();
    let capture = Capture {
        targets: vec![Target::Input],
        layers,
        ..Capture::default()
    };
    let anatomy = structure.anatomy.clone();
    let pass = Pass::new(anatomy, rows, editors.collect(), Some(capture), None);
    let pass = pass.map_err(|fault| SessionError::Fault { text, fault })?;
    let pass = pass.of_one_evaluation();
    let wanted = pass.sites();
    let wanted = wanted.map(|index| (structure.node(chain, index), index));
    Ok(Running {
        wanted: wanted.collect(),
        result: structure.result(chain),
        pass,
        texts,
    })
}
