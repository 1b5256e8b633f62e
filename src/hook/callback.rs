//! The one function that llama.cpp calls, and the slot behind it.
//!
//! The callback is registered once, with the context; what it does is swapped inside its slot.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::ggml as sys;

use super::HookFault;
use super::node::Node;
use super::observed::Observed;
use super::pass::Pass;
use super::recording::Recording;
use super::witness::Witness;

enum Mode {
    Idle,
    /// Of each evaluation one.
    Recording(Vec<Recording>),
    Editing(Box<Pass>),
    /// Some weights become zero in some layers.
    Silencing(Silence),
}

/// See [`Slot::silence`].
struct Silence {
    silenced: Silenced,
    wanted: BTreeSet<u32>,
    done: BTreeSet<u32>,
}

/// Which weights become zero, by llama.cpp's names.
#[derive(Clone, Debug)]
pub enum Silenced {
    /// Output weights of attention, and their biases.
    Attention,
    /// The weights that project an MLP's (all experts') activations down, and their biases.
    Mlp,
    /// The columns of attention's output weights that are multiplied with what one head gave.
    Head {
        /// The head.
        head: usize,
        /// How many there are.
        of: usize,
    },
}

impl Silenced {
    fn is_meant(&self, part: &str) -> bool {
        match self {
            Silenced::Attention => ["attn_output.weight", "attn_output.bias"].contains(&part),
            Silenced::Mlp => {
                let down = part.starts_with("ffn_down");
                down && (part.ends_with(".weight") || part.ends_with(".bias"))
            }
            Silenced::Head { .. } => part == "attn_output.weight",
        }
    }
}

impl Silence {
    fn ask(&mut self, node: Node<'_>) {
        for weight in node
            .sources()
            .filter(|source| source.op() == sys::GGML_OP_NONE)
        {
            let name = weight.name();
            let layer = name.strip_prefix("blk.").and_then(|rest| {
                let (layer, part) = rest.split_once('.')?;
                layer.parse().ok().filter(|_| self.silenced.is_meant(part))
            });
            let Some(layer) = layer.filter(|layer| self.wanted.contains(layer)) else {
                continue;
            };
            let cleared = match &self.silenced {
                Silenced::Head { head, of } => {
                    let width = weight.shape()[0] as usize / of.max(&1);
                    // SAFETY: `Slot::silence` requires that weights may be written to.
                    unsafe { weight.clear_columns(head * width..(head + 1) * width) }
                }
                Silenced::Attention | Silenced::Mlp => {
                    // SAFETY: as above.
                    unsafe { weight.clear() };
                    true
                }
            };
            if cleared {
                self.done.insert(layer);
            }
        }
    }
}

impl Mode {
    fn ask(&mut self, node: Node<'_>) -> Result<bool, HookFault> {
        match self {
            Mode::Idle => {}
            Mode::Recording(evaluations) => Recording::note(evaluations, *node),
            Mode::Silencing(silence) => silence.ask(node),
            Mode::Editing(pass) => return pass.ask(node),
        }
        Ok(false)
    }

    fn computed(&mut self, node: Node<'_>) -> Result<(), HookFault> {
        match self {
            Mode::Editing(pass) => pass.computed(node),
            _ => Ok(()),
        }
    }
}

struct State {
    mode: Mode,
    fault: Option<HookFault>,
    /// Whether the mode asked to see the node that is being computed.
    wanted: bool,
    witness: Option<Witness>,
}

/// What the callback does at the moment. One for each context; outlives it.
pub struct Slot(Mutex<State>);

impl Default for Slot {
    fn default() -> Self {
        Self(Mutex::new(State {
            mode: Mode::Idle,
            fault: None,
            wanted: false,
            witness: None,
        }))
    }
}

/// What goes on in a slot during one decode. When it is dropped the slot is idle again and the
/// graph as it was built, whatever happened in between.
pub struct Watch(Arc<Slot>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}

impl Watch {
    fn end(&self) -> (Mode, Option<HookFault>) {
        let mut state = self.0.state();
        // A pass that is dropped puts the graph back in order.
        let mode = std::mem::replace(&mut state.mode, Mode::Idle);
        (mode, state.fault.take())
    }

    /// After [`Slot::record`]: a recording for each micro-batch.
    ///
    /// # Errors
    /// A fault met on the way.
    pub fn recordings(self) -> Result<Vec<Recording>, HookFault> {
        match self.end() {
            (_, Some(fault)) => Err(fault),
            (Mode::Recording(recordings), None) => Ok(recordings),
            _ => Ok(Vec::new()),
        }
    }

    /// After [`Slot::edit`]: what the pass observed.
    ///
    /// # Errors
    /// A fault met on the way, or rows that never went through.
    pub fn observed(self) -> Result<Observed, HookFault> {
        match self.end() {
            (_, Some(fault)) => Err(fault),
            (Mode::Editing(pass), None) => pass.finish(),
            _ => Ok(Observed::default()),
        }
    }

    /// After [`Slot::silence`]: the layers of which some weights are zero now.
    ///
    /// # Errors
    /// A fault met on the way.
    pub fn silenced(self) -> Result<BTreeSet<u32>, HookFault> {
        match self.end() {
            (_, Some(fault)) => Err(fault),
            (Mode::Silencing(silence), None) => Ok(silence.done),
            _ => Ok(BTreeSet::new()),
        }
    }
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic inside the callback is caught before it could poison anything half-done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(self: &Arc<Self>, mode: Mode) -> Watch {
        let mut state = self.state();
        state.mode = mode;
        state.fault = None;
        state.wanted = false;
        Watch(self.clone())
    }

    /// From now on nodes are written down.
    pub fn record(self: &Arc<Self>) -> Watch {
        self.begin(Mode::Recording(Vec::new()))
    }

    /// From now on rows are rewritten by `pass`. What is returned must be dropped before the
    /// graph is built anew, so right after the decode.
    pub fn edit(self: &Arc<Self>, pass: Pass) -> Watch {
        self.begin(Mode::Editing(Box::new(pass)))
    }

    /// From now on weights of these layers become zero as their nodes come by.
    ///
    /// # Safety
    /// The model's weights may be written to: they were not mapped from a file, and nothing
    /// else uses the model.
    pub unsafe fn silence(self: &Arc<Self>, silenced: Silenced, layers: BTreeSet<u32>) -> Watch {
        self.begin(Mode::Silencing(Silence {
            silenced,
            wanted: layers,
            done: BTreeSet::new(),
        }))
    }

    /// Has a witness see what every decode leaves, from now on.
    pub fn call_witness(&self) {
        self.state().witness.get_or_insert_default();
    }

    /// What the witness saw of the latest micro-batch.
    pub fn testimony(&self) -> Witness {
        self.state().witness.clone().unwrap_or_default()
    }

    fn on_node(&self, node: Node<'_>, ask: bool) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        if state.fault.is_some() {
            return match &mut state.mode {
                Mode::Editing(pass) => pass.abandoned(node, ask),
                _ => !ask,
            };
        }
        // Unwind safety: after a panic the pass only leads the evaluation to its end.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            if ask {
                state.wanted = state.mode.ask(node)?;
                Ok(state.wanted || (state.witness.is_some() && Witness::wants(*node)))
            } else {
                if state.wanted {
                    state.mode.computed(node)?;
                }
                // After the mode, which may have rewritten the node.
                state.witness.as_mut().map_or(Ok(()), |w| w.see(*node))?;
                Ok(true)
            }
        }));
        let fault = match outcome {
            Ok(Ok(answer)) => return answer,
            Ok(Err(fault)) => fault,
            Err(panic) => {
                let message = panic
                    .downcast_ref::<&str>()
                    .map(ToString::to_string)
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "no message".to_string());
                HookFault::Panicked(message)
            }
        };
        state.fault = Some(fault);
        if let Mode::Editing(pass) = &mut state.mode {
            pass.abandon(ask);
        }
        !ask
    }
}

/// ggml's eval callback: asked before each node whether its data is wanted (`ask`), and called
/// again once a wanted node has been computed.
///
/// # Safety
/// Called by ggml's scheduler only, with a live node, and with the `user_data` that the context
/// was made with: a pointer to a [`Slot`] that outlives the context.
pub unsafe extern "C" fn trampoline(
    node: *mut sys::ggml_tensor,
    ask: bool,
    user_data: *mut std::ffi::c_void,
) -> bool {
    // SAFETY: the context was made with a pointer to a Slot that is freed after the context.
    let Some(slot) = (unsafe { user_data.cast::<Slot>().as_ref() }) else {
        return !ask;
    };
    // SAFETY: ggml passes a live node of the graph that it evaluates, and waits for the answer
    // (ggml_backend_sched_compute_splits).
    match unsafe { Node::from_raw(node) } {
        Some(node) => slot.on_node(node, ask),
        None => !ask,
    }
}
