//! Contexts: a K/V cache, a graph, and the callback.

use std::cell::Cell;
use std::collections::HashMap;
use std::ptr::NonNull;
use std::sync::Arc;

use llama_cpp_sys_2 as sys;

use super::backend::backend;
use super::log::{forget_log, reason, reported_buffers};
use super::options::{ContextOptions, FlashAttention};
use super::{Facts, Model, RuntimeError};
use crate::hook::{
    Anatomy, Capture, Cells, Cut, CutError, Observed, Pass, Resume, Role, Row, Sabotage, Slot,
    Start, Witness, trampoline,
};
use crate::intervention::Editor;

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
    anatomy: Option<Arc<Anatomy>>,
    roles: HashMap<Cut, Result<Arc<[Role]>, CutError>>,
    outputs: Vec<bool>,
    /// Whether logits were no numbers since the cells were emptied. Cells may hold such values
    /// then, which spread to other texts: attention multiplies what it does not see by zero.
    pub(super) spoilt: Cell<bool>,
    /// Which token is in which cell, where that is followed.
    cells: Option<Cells>,
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
        let mut anatomy = self.record()?;
        if self.options.sabotage == Some(Sabotage::LayerOffByOne) {
            anatomy.mistake_layers();
        }
        self.anatomy = Some(Arc::new(anatomy));
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
            anatomy: None,
            roles: HashMap::new(),
            outputs: Vec::new(),
            spoilt: Cell::new(false),
            cells: None,
            unified: setup.unified,
            twins,
            buffers: reported_buffers(),
            options: options.clone(),
            model,
        })
    }

    /// Decodes three tokens, writes the graph down and looks for the sites in it.
    fn record(&mut self) -> Result<Anatomy, RuntimeError> {
        let facts = self.model.facts().clone();
        let n = 3.min(self.options.n_batch.min(self.options.n_ubatch));
        let rows: Vec<Row> = (0..n)
            .map(|i| Row {
                sequence: 0,
                position: i,
                token: (i % facts.n_vocab.max(1)) as i32,
                prior: i + 1 < n,
                output: i + 1 == n,
            })
            .collect();
        let watch = self.slot.record();
        let decoded = self.raw_decode(&rows);
        let recording = watch.recording();
        self.clear();
        decoded?;
        let Facts {
            n_layer,
            n_embd,
            n_vocab,
            ..
        } = facts;
        Ok(Anatomy::of(&recording?, n_layer, n_embd, n_vocab)?)
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

    /// How the context was made.
    pub fn options(&self) -> &ContextOptions {
        &self.options
    }

    /// Where the sites are in this model's graph.
    pub fn anatomy(&self) -> Option<&Anatomy> {
        self.anatomy.as_deref()
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

    /// Runs `rows` through the model, rewriting what the editors (by sequence) say.
    ///
    /// # Errors
    /// [`RuntimeError`]; after one the cache holds an unknown part of the rows, so clear it.
    pub fn decode(
        &mut self,
        rows: &[Row],
        editors: HashMap<u32, Editor>,
        capture: Option<Capture>,
    ) -> Result<Observed, RuntimeError> {
        if editors.is_empty() && capture.is_none() && self.cells.is_none() {
            self.raw_decode(rows)?;
            return Ok(Observed::default());
        }
        self.watched_decode(rows, editors, capture, None)
    }

    /// Computes only the part of the graph that `cut` names: each row begins where its entry of
    /// `starts` says.
    ///
    /// # Errors
    /// [`RuntimeError`], [`RuntimeError::Cut`] where the graph cannot be computed in part; after
    /// one the cache holds an unknown part of the rows, so clear it.
    pub fn decode_part(
        &mut self,
        rows: &[Row],
        editors: HashMap<u32, Editor>,
        cut: &Cut,
        mut starts: Vec<Start>,
    ) -> Result<Observed, RuntimeError> {
        if self.options.sabotage == Some(Sabotage::StaleCell) && rows[0].prior {
            starts[0].from = self.model.n_layer();
            starts[0].frozen = None;
        }
        let resume = Resume {
            cut: cut.clone(),
            roles: self.roles(cut)?,
            starts,
        };
        self.watched_decode(rows, editors, None, Some(resume))
    }

    /// What `cut` means for this model's graph.
    ///
    /// # Errors
    /// [`RuntimeError::Cut`].
    pub fn roles(&mut self, cut: &Cut) -> Result<Arc<[Role]>, RuntimeError> {
        if let Some(known) = self.roles.get(cut) {
            return Ok(known.clone()?);
        }
        let anatomy = self.anatomy.as_ref().ok_or(RuntimeError::NoCallback)?;
        let found: Result<Arc<[Role]>, CutError> = cut.roles(anatomy).map(Into::into);
        self.roles.insert(cut.clone(), found.clone());
        Ok(found?)
    }

    fn watched_decode(
        &mut self,
        rows: &[Row],
        editors: HashMap<u32, Editor>,
        capture: Option<Capture>,
        resume: Option<Resume>,
    ) -> Result<Observed, RuntimeError> {
        let anatomy = self.anatomy.clone().ok_or(RuntimeError::NoCallback)?;
        let pass = Pass::new(anatomy, rows.to_vec(), editors, capture, resume)?
            .sabotaged(self.options.sabotage)
            .following(self.cells.take());
        let watch = self.slot.edit(pass);
        let decoded = self.raw_decode(rows);
        let observed = watch.observed();
        if observed.is_err() {
            // llama.cpp knows of no error: it has logits, of what was computed until then.
            self.outputs.clear();
        }
        decoded?;
        let mut observed = observed?;
        self.cells = observed.cells.take();
        Ok(observed)
    }

    /// `llama_decode` with everything checked that it would assert on or read out of bounds.
    pub(super) fn raw_decode(&mut self, rows: &[Row]) -> Result<(), RuntimeError> {
        let options = &self.options;
        if options.stop.is_asked() {
            return Err(RuntimeError::Stopped);
        }
        if rows.is_empty() {
            return Err(RuntimeError::EmptyBatch);
        }
        if rows.len() > options.n_batch as usize {
            return Err(RuntimeError::BatchTooLarge {
                rows: rows.len(),
                n_batch: options.n_batch,
            });
        }
        let n_vocab = self.model.facts().n_vocab;
        for row in rows {
            self.check_sequence(row.sequence)?;
            if row.position >= options.n_ctx {
                return Err(RuntimeError::TooLong {
                    tokens: row.position as usize + 1,
                    n_ctx: options.n_ctx,
                });
            }
            self.check_positions(row.position as usize + 1)?;
            if row.token < 0 || row.token >= n_vocab as i32 {
                return Err(RuntimeError::Token {
                    token: row.token,
                    n_vocab,
                });
            }
        }
        let mut tokens: Vec<i32> = rows.iter().map(|r| r.token).collect();
        let mut positions: Vec<i32> = rows.iter().map(|r| r.position as i32).collect();
        let mut sequences: Vec<Vec<i32>> = rows
            .iter()
            .map(|r| self.with_twin(r.sequence).collect())
            .collect();
        let mut counts: Vec<i32> = sequences.iter().map(|s| s.len() as i32).collect();
        let mut sequence_pointers: Vec<*mut i32> =
            sequences.iter_mut().map(|s| s.as_mut_ptr()).collect();
        let mut logits: Vec<i8> = rows.iter().map(|r| i8::from(r.output)).collect();
        let batch = sys::llama_batch {
            n_tokens: rows.len() as i32,
            token: tokens.as_mut_ptr(),
            embd: std::ptr::null_mut(),
            pos: positions.as_mut_ptr(),
            n_seq_id: counts.as_mut_ptr(),
            seq_id: sequence_pointers.as_mut_ptr(),
            logits: logits.as_mut_ptr(),
        };
        forget_log();
        self.outputs.clear();
        // SAFETY: every array of the batch has n_tokens entries and lives until the call
        // returns; tokens, sequences and the number of rows were checked above.
        let code = unsafe { sys::llama_decode(self.raw.as_ptr(), batch) };
        match code {
            0 => {
                self.outputs = rows.iter().map(|r| r.output).collect();
                Ok(())
            }
            1 => Err(RuntimeError::CacheFull {
                n_ctx: options.n_ctx,
            }),
            code => Err(RuntimeError::Decode {
                code,
                reason: reason(),
            }),
        }
    }

    /// The logits of row `row` of the latest decode, one for each token of the vocabulary. They
    /// make a distribution: minus infinity rules a token out, at least one is finite.
    ///
    /// # Errors
    /// [`RuntimeError::NoLogits`] when they were not asked for, [`RuntimeError::NotNumbers`] when
    /// they make no distribution.
    pub fn logits(&self, row: usize) -> Result<&[f32], RuntimeError> {
        if !self.outputs.get(row).copied().unwrap_or(false) {
            return Err(RuntimeError::NoLogits(row));
        }
        // SAFETY: the row was flagged as an output in the latest decode (checked above).
        let logits = unsafe { sys::llama_get_logits_ith(self.raw.as_ptr(), row as i32) };
        if logits.is_null() {
            return Err(RuntimeError::NoLogits(row));
        }
        let n_vocab = self.model.facts().n_vocab as usize;
        // SAFETY: a row of logits has n_vocab values and is valid until the next decode, which
        // needs `&mut self`.
        let logits = unsafe { std::slice::from_raw_parts(logits, n_vocab) };
        match not_numbers(logits) {
            Some(what) => {
                self.spoilt.set(true);
                Err(RuntimeError::NotNumbers(what))
            }
            None => Ok(logits),
        }
    }
}

/// What keeps logits from being a distribution. Some models rule tokens out by minus infinity.
fn not_numbers(logits: &[f32]) -> Option<&'static str> {
    let mut largest = f32::NEG_INFINITY;
    for logit in logits {
        if logit.is_nan() {
            return Some("NaN");
        }
        largest = largest.max(*logit);
    }
    largest.is_infinite().then_some("infinite")
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: made by llama_init_from_model, freed once. The model and the slot, which the
        // context calls into, are dropped after it (Arc).
        unsafe { sys::llama_free(self.raw.as_ptr()) };
    }
}

#[cfg(test)]
mod tests {
    use super::not_numbers;

    #[test]
    fn logits_that_make_no_distribution_are_not_numbers() {
        let (nan, infinite) = (f32::NAN, f32::INFINITY);
        assert_eq!(not_numbers(&[1.0, -infinite, f32::MIN]), None);
        assert_eq!(not_numbers(&[1.0, nan]), Some("NaN"));
        assert_eq!(not_numbers(&[infinite, nan]), Some("NaN"));
        assert_eq!(not_numbers(&[1.0, infinite]), Some("infinite"));
        assert_eq!(not_numbers(&[-infinite; 2]), Some("infinite"));
        assert_eq!(not_numbers(&[]), Some("infinite"));
    }
}
