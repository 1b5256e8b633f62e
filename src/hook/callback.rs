//! The one function that llama.cpp calls, and the slot behind it.
//!
//! The callback is registered once, with the context; what it does is swapped inside its slot.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::ggml as sys;

use super::HookFault;
use super::observed::Observed;
use super::pass::Pass;
use super::recording::Recording;
use super::tensor::Tensor;
use super::witness::Witness;

enum Mode {
    Idle,
    Recording(Recording),
    Editing(Box<Pass>),
    /// Output weights of attention become zero in some layers.
    Silencing(Silence),
}

/// See [`Slot::begin_silencing`].
#[derive(Default)]
struct Silence {
    wanted: BTreeSet<u32>,
    done: BTreeSet<u32>,
}

impl Silence {
    fn ask(&mut self, node: Tensor<'_>) {
        for weight in node
            .sources()
            .filter(|source| source.op() == sys::GGML_OP_NONE)
        {
            let name = weight.name();
            let layer = name.strip_prefix("blk.").and_then(|rest| {
                let (layer, part) = rest.split_once('.')?;
                let silenced = part == "attn_output.weight" || part == "attn_output.bias";
                layer.parse().ok().filter(|_| silenced)
            });
            if let Some(layer) = layer.filter(|layer| self.wanted.contains(layer)) {
                // SAFETY: `begin_silencing` requires that weights may be written to.
                unsafe { weight.clear() };
                self.done.insert(layer);
            }
        }
    }
}

impl Mode {
    fn ask(&mut self, node: Tensor<'_>) -> Result<bool, HookFault> {
        match self {
            Mode::Idle => {}
            Mode::Recording(recording) => recording.add_node(node),
            Mode::Silencing(silence) => silence.ask(node),
            Mode::Editing(pass) => return pass.ask(node),
        }
        Ok(false)
    }

    fn computed(&mut self, node: Tensor<'_>) -> Result<(), HookFault> {
        match self {
            Mode::Editing(pass) => pass.computed(node),
            _ => Ok(()),
        }
    }
}

struct State {
    mode: Mode,
    fault: Option<HookFault>,
    calls: u64,
    /// Whether the mode asked for the node that is about to be computed.
    wanted: bool,
    witness: Option<Witness>,
}

impl State {
    /// Nothing is asked for any more, and the rest of the graph is computed as it was built.
    fn fail(&mut self, fault: HookFault) {
        if let Mode::Editing(pass) = &mut self.mode {
            pass.restore();
        }
        self.fault = Some(fault);
    }
}

/// What the callback does at the moment. One for each context; outlives it.
pub struct Slot(Mutex<State>);

impl Default for Slot {
    fn default() -> Self {
        Self(Mutex::new(State {
            mode: Mode::Idle,
            fault: None,
            calls: 0,
            wanted: false,
            witness: None,
        }))
    }
}

impl Slot {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic inside the callback is caught before it could poison anything half-done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, mode: Mode) {
        let mut state = self.state();
        state.mode = mode;
        state.fault = None;
        state.calls = 0;
    }

    fn end(&self) -> (Mode, Option<HookFault>, u64) {
        let mut state = self.state();
        if let Mode::Editing(pass) = &mut state.mode {
            pass.restore();
        }
        let mode = std::mem::replace(&mut state.mode, Mode::Idle);
        (mode, state.fault.take(), state.calls)
    }

    /// From now on nodes are written down.
    pub fn begin_recording(&self) {
        self.begin(Mode::Recording(Recording::default()));
    }

    /// The recording, and the slot idle again.
    ///
    /// # Errors
    /// A fault met on the way.
    pub fn end_recording(&self) -> Result<Recording, HookFault> {
        match self.end() {
            (_, Some(fault), _) => Err(fault),
            (Mode::Recording(recording), None, _) => Ok(recording),
            _ => Ok(Recording::default()),
        }
    }

    /// From now on rows are rewritten by `pass`.
    pub fn begin_pass(&self, pass: Pass) {
        self.begin(Mode::Editing(Box::new(pass)));
    }

    /// What the pass observed, and the slot idle again.
    ///
    /// # Errors
    /// A fault met on the way, or rows that never went through.
    pub fn end_pass(&self) -> Result<Observed, HookFault> {
        match self.end() {
            (_, Some(fault), _) => Err(fault),
            (Mode::Editing(pass), None, _) => pass.finish(),
            _ => Ok(Observed::default()),
        }
    }

    /// From now on the output weights of attention in these layers, and their biases, become
    /// zero as their nodes come by.
    ///
    /// # Safety
    /// The model's weights may be written to: they were not mapped from a file, and nothing
    /// else uses the model.
    pub unsafe fn begin_silencing(&self, layers: BTreeSet<u32>) {
        self.begin(Mode::Silencing(Silence {
            wanted: layers,
            ..Silence::default()
        }));
    }

    /// The layers whose attention is silent now.
    ///
    /// # Errors
    /// A fault met on the way.
    pub fn end_silencing(&self) -> Result<BTreeSet<u32>, HookFault> {
        match self.end() {
            (_, Some(fault), _) => Err(fault),
            (Mode::Silencing(silence), None, _) => Ok(silence.done),
            _ => Ok(BTreeSet::new()),
        }
    }

    /// Has a witness see what every decode leaves, from now on.
    pub fn call_witness(&self) {
        self.state().witness.get_or_insert_default();
    }

    /// What the witness saw of the latest micro-batch.
    pub fn testimony(&self) -> Witness {
        self.state().witness.clone().unwrap_or_default()
    }

    fn on_node(&self, node: Tensor<'_>, ask: bool) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        if state.fault.is_some() {
            return !ask;
        }
        state.calls += 1;
        // Unwind safety: on a panic the mode is dropped unread, only the fault is reported.
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            if ask {
                state.wanted = state.mode.ask(node)?;
                Ok(state.wanted || (state.witness.is_some() && Witness::wants(node)))
            } else {
                if state.wanted {
                    state.mode.computed(node)?;
                }
                // After the mode, which may have rewritten the node.
                state.witness.as_mut().map_or(Ok(()), |w| w.see(node))?;
                Ok(true)
            }
        }));
        match outcome {
            Ok(Ok(answer)) => answer,
            Ok(Err(fault)) => {
                state.fail(fault);
                !ask
            }
            Err(panic) => {
                let message = panic
                    .downcast_ref::<&str>()
                    .map(ToString::to_string)
                    .or_else(|| panic.downcast_ref::<String>().cloned())
                    .unwrap_or_else(|| "no message".to_string());
                state.fail(HookFault::Panicked(message));
                !ask
            }
        }
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
    // SAFETY: ggml passes a live node (ggml_backend_sched_compute_splits).
    match unsafe { Tensor::from_raw(node) } {
        Some(node) => slot.on_node(node, ask),
        None => !ask,
    }
}
