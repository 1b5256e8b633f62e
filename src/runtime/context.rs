//! Contexts: a K/V cache, a graph, and the callback.

use std::cell::Cell;
use std::ptr::NonNull;
use std::sync::Arc;

use llama_cpp_sys_2 as sys;

use super::backend::backend;
use super::log::{forget_log, reason, reported_buffers};
use super::options::{ContextOptions, FlashAttention};
use super::{Model, RuntimeError};
use crate::hook::{Anatomy, Cells, Graphs, Held, Slot, Traffic, Witness, trampoline};

mod decode;
mod graphs;
mod held;

/// What tests and benches vary about a context.
struct Setup {
    callback: bool,
    unified: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            callback: true,
            unified: true,
        }
    }
}

/// A K/V cache and the graphs that fill it, with the callback registered for good.
pub struct Context {
    pub(super) raw: NonNull<sys::llama_context>,
    slot: Arc<Slot>,
    graphs: Option<Graphs>,
    outputs: Vec<bool>,
    /// Whether logits were no numbers since the cells were emptied. Cells may hold such values
    /// then, which spread to other texts: attention multiplies what it does not see by zero.
    pub(super) spoilt: Cell<bool>,
    /// Which token is in which cell, where that is followed.
    cells: Option<Cells>,
    /// Rows kept on a device.
    held: Option<Box<dyn Held>>,
    /// See [`Context::traffic`].
    traffic: Traffic,
    pub(super) unified: bool,
    /// What to add to a sequence's number for its twin's, where there are any.
    pub(super) twins: Option<u32>,
    /// See [`Context::buffers`].
    buffers: u64,
    options: ContextOptions,
    model: Arc<Model>,
}

// SAFETY: a llama_context may be used from any thread, by one at a time. `Context` is not `Sync`
// (asserted below), so no two threads have it at once, not even to read logits, for which
// llama.cpp may reorder its outputs. The slot is behind a mutex, and idle outside a decode.
// The model behind the `Arc` is shared between threads as llama-cpp-2 has it (`LlamaModel` is
// `Sync`): contexts read its weights, and `Model::without_attention`, which writes them, needs
// the model for itself.
unsafe impl Send for Context {}

// Two implementations of `some` would fit a `Context` that is `Sync`, and this would not compile.
const _: fn() = || {
    trait Ambiguous<A> {
        fn some() {}
    }
    struct IsSync;
    impl<T: ?Sized> Ambiguous<()> for T {}
    impl<T: ?Sized + Sync> Ambiguous<IsSync> for T {}
    let _ = <Context as Ambiguous<_>>::some;
};

impl Context {
    /// Makes a context and analyses the model's graph once.
    ///
    /// # Errors
    /// [`RuntimeError`], [`RuntimeError::Anatomy`] for a graph without a residual stream that
    /// could be found.
    pub fn new(model: Arc<Model>, options: &ContextOptions) -> Result<Self, RuntimeError> {
        Self::make(model, options, Setup::default())?.recorded()
    }

    /// Makes a context that keeps each sequence's cells apart. llama.cpp then regroups a batch's
    /// rows by sequence, which the hook notices and refuses; this exists to show that it does.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn with_separate_streams(
        model: Arc<Model>,
        options: &ContextOptions,
    ) -> Result<Self, RuntimeError> {
        let setup = Setup {
            unified: false,
            ..Setup::default()
        };
        Self::make(model, options, setup)?.recorded()
    }

    fn recorded(mut self) -> Result<Self, RuntimeError> {
        self.graphs = Some(self.record()?);
        Ok(self)
    }

    /// Makes a context with no callback at all, for comparison.
    ///
    /// # Errors
    /// [`RuntimeError`].
    pub fn without_callback(
        model: Arc<Model>,
        options: &ContextOptions,
    ) -> Result<Self, RuntimeError> {
        let setup = Setup {
            callback: false,
            ..Setup::default()
        };
        Self::make(model, options, setup)
    }

    fn make(
        model: Arc<Model>,
        options: &ContextOptions,
        setup: Setup,
    ) -> Result<Self, RuntimeError> {
        backend()?;
        if let Some(why) = model.unfit() {
            let facts = model.facts();
            return Err(why.error(facts.name.clone(), &facts.architecture));
        }
        if options.cache_v.is_quantized() && options.flash_attention == FlashAttention::Off {
            return Err(RuntimeError::QuantizedV);
        }
        // SAFETY: no arguments, returns a plain struct.
        let mut params = unsafe { sys::llama_context_default_params() };
        params.n_ctx = options.n_ctx;
        // A cell that leaves its sequence's sliding window counts as free, although a token
        // that is decoded again may still see it, and other sequences may share it. Cells of
        // two sequences never do (llama_kv_cache::find_slot), so each sequence has a twin.
        let twins = (setup.unified && model.has_window()).then_some(options.n_seq_max);
        let sequences = options.n_seq_max + twins.unwrap_or(0);
        // llama.cpp keeps room for one output a sequence, and aborts where a batch is smaller.
        params.n_batch = options.n_batch.max(sequences);
        params.n_ubatch = options.n_ubatch.min(options.n_batch);
        params.n_seq_max = sequences;
        params.n_threads = options.threads as i32;
        params.n_threads_batch = options.threads as i32;
        params.flash_attn_type = match options.flash_attention {
            FlashAttention::Off => sys::LLAMA_FLASH_ATTN_TYPE_DISABLED,
            FlashAttention::On => sys::LLAMA_FLASH_ATTN_TYPE_ENABLED,
            FlashAttention::Auto => sys::LLAMA_FLASH_ATTN_TYPE_AUTO,
        };
        params.type_k = options.cache_k.entry().2;
        params.type_v = options.cache_v.entry().2;
        // Rows follow the batch only in a unified cache; cells outside a sliding window must
        // survive for anything that decodes a position again.
        params.kv_unified = setup.unified;
        params.swa_full = true;
        // Otherwise batches of 32 rows and more go to the device, layers that are kept off it
        // included: other kernels and another order of nodes than a smaller batch meets.
        params.op_offload = false;
        params.no_perf = true;
        let slot = Arc::new(Slot::default());
        if setup.callback {
            params.cb_eval = Some(trampoline);
            params.cb_eval_user_data = Arc::as_ptr(&slot).cast_mut().cast();
        }
        forget_log();
        // SAFETY: the model is live (and kept alive by the Arc), the parameters are defaults
        // with checked changes.
        let raw = unsafe { sys::llama_init_from_model(model.pointer(), params) };
        let Some(raw) = NonNull::new(raw) else {
            return Err(RuntimeError::Context {
                n_ctx: options.n_ctx,
                reason: reason(),
            });
        };
        Ok(Self {
            raw,
            slot,
            graphs: None,
            outputs: Vec::new(),
            spoilt: Cell::new(false),
            cells: None,
            held: None,
            traffic: Traffic::default(),
            unified: setup.unified,
            twins,
            buffers: reported_buffers(),
            options: options.clone(),
            model,
        })
    }

    pub(super) fn slot(&self) -> &Arc<Slot> {
        &self.slot
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Has a `Witness` see what every decode leaves, from now on.
    pub fn call_witness(&self) {
        self.slot.call_witness();
    }

    /// What the witness saw of the latest micro-batch.
    pub fn testimony(&self) -> Witness {
        self.slot.testimony()
    }

    /// Bytes of the K/V cache and the compute and output buffers, as llama.cpp reported them.
    pub fn buffers(&self) -> u64 {
        self.buffers
    }

    /// What has passed between the host and the graphs' memory since the context was made.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// How the context was made.
    pub fn options(&self) -> &ContextOptions {
        &self.options
    }

    /// Where the sites are in this model's graph, as it was written down of three tokens.
    pub fn anatomy(&self) -> Option<&Anatomy> {
        Some(self.graphs.as_ref()?.first())
    }

    /// How many positions a text may have at most, where the model has learned a state for each
    /// position and so has no others.
    pub fn learned_positions(&self) -> Option<u32> {
        self.anatomy()?.learned_positions
    }

    /// Checks that a text of so many tokens has a position for each.
    ///
    /// # Errors
    /// [`RuntimeError::TooFewPositions`].
    pub fn check_positions(&self, tokens: usize) -> Result<(), RuntimeError> {
        let learned = self.learned_positions();
        match learned.filter(|positions| tokens > *positions as usize) {
            Some(positions) => Err(RuntimeError::TooFewPositions { tokens, positions }),
            None => Ok(()),
        }
    }

    /// From now on follows which token is in which cell, or does not. Whoever hides tokens must
    /// have had them followed from the decode on in which they were written.
    pub fn follow_cells(&mut self, follow: bool) {
        self.cells = follow.then(Cells::default);
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: made by llama_init_from_model, freed once. The model and the slot, which the
        // context calls into, are dropped after it (Arc).
        unsafe { sys::llama_free(self.raw.as_ptr()) };
    }
}
