//! What a graph of the host's is: its layers, and where its rows' positions and outputs stand.

use std::collections::HashSet;
use std::sync::Arc;

use crate::chain;
use crate::ggml::{
    GGML_OP_GET_ROWS, GGML_OP_NONE, GGML_OP_ROPE, GGML_OP_SET_ROWS, GGML_TYPE_I32, ggml_op,
    ggml_tensor,
};
use crate::hook::{Anatomy, AnatomyError, Recording, Tensor, layer_named};
use crate::requests::Row;

/// Why a graph is left alone.
#[derive(Debug, Clone, thiserror::Error, PartialEq)]
pub enum GraphError {
    /// Its residual stream was not found.
    #[error(transparent)]
    Anatomy(#[from] AnatomyError),
    /// There is no end.
    #[error("the graph has no node result_output, so what it computes is not known")]
    NoResult,
    /// There are no positions.
    #[error("the graph has no input inp_pos that a node reads, so positions are not known")]
    NoPositions,
    /// It is not known whose logits are wanted.
    #[error("the graph does not say whose logits are wanted, so prior tokens are not known")]
    NoOutputs,
    /// An input is not in the host's memory.
    #[error(
        "the graph's input '{0}' cannot be read before it is computed (it is not in host memory)"
    )]
    NotReadable(String),
    /// An input names a row that does not exist.
    #[error("the graph's input '{0}' names row {1} of {2}")]
    NoSuchRow(String, i32, usize),
}

/// A tensor's place in the chain that begins at the look-up of tokens, and its name.
#[derive(Clone, PartialEq)]
struct Place {
    index: usize,
    name: String,
}

/// The structure of a graph. It is the same for every evaluation of one kind; the tensors are
/// others each time.
pub struct Structure {
    /// Where everything is, by node.
    pub anatomy: Arc<Anatomy>,
    /// Layers.
    pub layers: u32,
    /// Values of a hidden state.
    pub width: u32,
    /// The operation of every tensor of the chain.
    ops: Vec<ggml_op>,
    /// The place in the chain of each node of the anatomy.
    nodes: Vec<usize>,
    positions: Place,
    outputs: Place,
    result: Place,
}

/// Whether `node` is the look-up of token embeddings, with which every evaluation begins.
pub fn looks_up_tokens(node: Tensor<'_>) -> bool {
    if node.op() != GGML_OP_GET_ROWS {
        return false;
    }
    let mut sources = node.sources();
    let (Some(table), Some(ids)) = (sources.next(), sources.next()) else {
        return false;
    };
    table.op() == GGML_OP_NONE
        && !table.is_input()
        && ids.op() == GGML_OP_NONE
        && ids.element_type() == GGML_TYPE_I32
        && (ids.is_input() || ids.is_copy())
        && !ids.name().contains("inp_pos")
}

/// The tensor behind a pointer of the chain.
fn tensor<'a>(raw: *mut ggml_tensor) -> Tensor<'a> {
    // SAFETY: pointers of the chain are live while the callback runs (chain::from).
    let tensor = unsafe { Tensor::from_raw(raw) };
    tensor.expect("the chain holds no null")
}

/// All tensors from the look-up on.
pub fn tensors(first: Tensor<'_>, limit: usize) -> Vec<*mut ggml_tensor> {
    // SAFETY: a graph's node, live while the callback runs, made in llama.cpp's graph context.
    unsafe { chain::from(first.id() as *mut ggml_tensor, limit) }
}

/// The other look-ups of tokens in the chain that begins with one.
pub fn lookups(chain: &[*mut ggml_tensor]) -> Vec<usize> {
    let others = chain[1..].iter().map(|raw| tensor(*raw));
    let others = others.filter(|node| looks_up_tokens(*node));
    others.map(|node| node.id()).collect()
}

impl Structure {
    /// Analyses a graph.
    ///
    /// # Errors
    /// [`GraphError`].
    pub fn of(chain: &[*mut ggml_tensor]) -> Result<Self, GraphError> {
        let all: Vec<Tensor<'_>> = chain.iter().map(|raw| tensor(*raw)).collect();
        let result = all.iter().rposition(|t| t.is_named("result_output"));
        let result = result.ok_or(GraphError::NoResult)?;
        let nodes = live(&all[..=result]);
        let mut recording = Recording::default();
        for &n in &nodes {
            recording.add_node(all[n]);
        }
        let layers = nodes.iter().filter_map(|&n| layer_named(&all[n].name()));
        let layers = layers.max().map_or(0, |last| last + 1);
        if layers == 0 {
            return Err(AnatomyError::NoLayerOutput(0).into());
        }
        let width = all[0].shape()[0] as u32;
        // The look-up reads a row of the table for each token that there is.
        let table = all[0].sources().next();
        let n_vocab = table.map_or(0, |table| table.shape()[1] as u32);
        let anatomy = Anatomy::of(&recording, layers, width, n_vocab)?;
        let place = |wanted: Tensor<'_>, reader: usize| {
            let index = all.iter().position(|t| t.id() == wanted.id());
            let index = index.or_else(|| original(&all[..reader], wanted))?;
            let name = all[index].name();
            Some(Place { index, name })
        };
        // The anatomy knows them by the same name, but not behind a copy.
        let positions = nodes.iter().find_map(|&n| {
            let takes = [GGML_OP_ROPE, GGML_OP_GET_ROWS].contains(&all[n].op());
            let ids = all[n].sources().nth(1).filter(|_| takes)?;
            place(ids, n).filter(|found| {
                let ids = all[found.index];
                ids.is_named("inp_pos") && ids.is_input() && ids.element_type() == GGML_TYPE_I32
            })
        });
        let positions = positions.ok_or(GraphError::NoPositions)?;
        // The rows whose logits are wanted are picked from a state, by an input.
        let outputs = nodes.iter().find_map(|&n| {
            let (state, ids) = (all[n].sources().next()?, all[n].sources().nth(1)?);
            let picks = all[n].op() == GGML_OP_GET_ROWS
                && state.op() != GGML_OP_NONE
                && state.shape()[0] == i64::from(width)
                && (ids.is_input() || ids.is_copy())
                && ids.element_type() == GGML_TYPE_I32;
            picks.then(|| place(ids, n)).flatten()
        });
        Ok(Self {
            anatomy: Arc::new(anatomy),
            layers,
            width,
            ops: all.iter().map(Tensor::op).collect(),
            nodes,
            positions,
            outputs: outputs.ok_or(GraphError::NoOutputs)?,
            result: Place {
                index: result,
                name: all[result].name(),
            },
        })
    }

    /// How much of the chain it takes to know the rows.
    pub fn head(&self) -> usize {
        self.positions.index.max(self.outputs.index) + 1
    }

    /// Whether the beginning of a chain is that of a graph of this structure.
    pub fn begins(&self, chain: &[*mut ggml_tensor]) -> bool {
        let rows = tensor(chain[0]).shape()[1];
        let is = |place: &Place| {
            chain.get(place.index).is_some_and(|raw| {
                let input = tensor(*raw);
                input.is_input()
                    && input.element_type() == GGML_TYPE_I32
                    && input.is_named(&place.name)
            })
        };
        is(&self.positions)
            && is(&self.outputs)
            && tensor(chain[self.positions.index]).shape()[0] >= rows
    }

    /// Whether a chain is that of a graph of this structure.
    pub fn is_of(&self, chain: &[*mut ggml_tensor]) -> bool {
        chain.len() == self.ops.len()
            && self.begins(chain)
            && tensor(chain[self.result.index]).is_named(&self.result.name)
            && chain
                .iter()
                .zip(&self.ops)
                .all(|(raw, op)| tensor(*raw).op() == *op)
    }

    /// The rows of the evaluation that is about to begin, from the graph's own inputs.
    ///
    /// # Errors
    /// [`GraphError`] when an input cannot be read.
    pub fn rows(&self, chain: &[*mut ggml_tensor]) -> Result<Vec<Row>, GraphError> {
        let n = tensor(chain[0]).shape()[1] as usize;
        let read = |place: &Place, n: usize| {
            let unreadable = || GraphError::NotReadable(place.name.clone());
            match n {
                0 => Ok(Vec::new()),
                _ => tensor(chain[place.index])
                    .read_i32_input(n)
                    .ok_or_else(unreadable),
            }
        };
        let positions = read(&self.positions, n)?;
        let wanted = tensor(chain[self.outputs.index]).shape()[0] as usize;
        let mut rows: Vec<Row> = positions
            .into_iter()
            .map(|position| Row {
                position: position.max(0) as u32,
                output: false,
            })
            .collect();
        for id in read(&self.outputs, wanted)? {
            let row = usize::try_from(id).ok().and_then(|id| rows.get_mut(id));
            let none = GraphError::NoSuchRow(self.outputs.name.clone(), id, n);
            row.ok_or(none)?.output = true;
        }
        Ok(rows)
    }

    /// The tensor that is node `index` of the anatomy.
    pub fn node(&self, chain: &[*mut ggml_tensor], index: usize) -> usize {
        chain[self.nodes[index]] as usize
    }

    /// The last node.
    pub fn result(&self, chain: &[*mut ggml_tensor]) -> usize {
        chain[self.result.index] as usize
    }
}

/// What the scheduler copied from another backend, `backend#name#n`, where the reader's operand is
/// not of the chain: the latest tensor of that name before the reader.
fn original(before: &[Tensor<'_>], copy: Tensor<'_>) -> Option<usize> {
    if !copy.is_copy() {
        return None;
    }
    let name = copy.name();
    let name = name.split('#').nth(1)?;
    before.iter().rposition(|tensor| tensor.is_named(name))
}

/// What of a chain is needed for its last tensor or is written to a cache, in order. The chain
/// also holds what llama.cpp made and did not use.
fn live(all: &[Tensor<'_>]) -> Vec<usize> {
    let known: std::collections::HashMap<usize, usize> =
        all.iter().enumerate().map(|(n, t)| (t.id(), n)).collect();
    let mut stack: Vec<usize> = vec![all.len() - 1];
    let writes_to_a_leaf = |n: &usize| {
        let mut root = all[*n].view_source();
        while let Some(deeper) = root.and_then(|root| root.view_source()) {
            root = Some(deeper);
        }
        all[*n].op() == GGML_OP_SET_ROWS && root.is_some_and(|root| root.op() == GGML_OP_NONE)
    };
    stack.extend((0..all.len()).filter(writes_to_a_leaf));
    let mut seen = HashSet::new();
    while let Some(n) = stack.pop() {
        if seen.insert(n) {
            let views = all[n].view_source();
            for source in all[n].sources().chain(views) {
                let own = known.get(&source.id()).copied();
                stack.extend(own.or_else(|| original(&all[..n], source)));
            }
        }
    }
    (0..all.len())
        .filter(|n| seen.contains(n) && all[*n].op() != GGML_OP_NONE)
        .collect()
}
