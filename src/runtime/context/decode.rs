//! Rows through the model: batches checked, callbacks set, logits read.

use std::collections::HashMap;
use std::sync::Arc;

use llama_cpp_sys_2 as sys;

use super::Context;
use super::held::DeviceRows;
use crate::hook::{Capture, Cut, HookFault, Observed, Pass, Resume, Role, Row, Sabotage, Start};
use crate::intervention::Editor;
use crate::runtime::RuntimeError;
use crate::runtime::log::{forget_log, reason};

impl Context {
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
    /// `starts` says. In a model with recurrent layers, rows begin with their sequence's first, and
    /// no other decode goes on with that sequence but by the same cut.
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
        self.watched_decode(rows, editors, None, Some((cut.clone(), starts)))
    }

    /// What `cut` means for this model's graph.
    ///
    /// # Errors
    /// [`RuntimeError::Cut`].
    pub fn roles(&mut self, cut: &Cut) -> Result<Arc<[Role]>, RuntimeError> {
        let graphs = self.graphs.as_mut().ok_or(RuntimeError::NoCallback)?;
        Ok(graphs.roles(cut)?)
    }

    /// A batch whose graph is not known is decoded again: once clean, to write the graph down,
    /// and once from the beginning, with all that was done and stored in the first attempt
    /// forgotten.
    fn watched_decode(
        &mut self,
        rows: &[Row],
        editors: HashMap<u32, Editor>,
        capture: Option<Capture>,
        part: Option<(Cut, Vec<Start>)>,
    ) -> Result<Observed, RuntimeError> {
        let cells = self.cells.clone();
        let tried = self.attempt(rows, editors.clone(), capture.clone(), part.clone());
        let Err(RuntimeError::Hook(fault @ HookFault::GraphChanged { .. })) = tried else {
            return tried;
        };
        if part.is_some() {
            // What was left out may have been read in the rest of that decode.
            self.spoilt.set(true);
        }
        if !self.learn(rows)? {
            return Err(fault.into());
        }
        self.cells = cells;
        self.attempt(rows, editors, capture, part)
    }

    fn attempt(
        &mut self,
        rows: &[Row],
        editors: HashMap<u32, Editor>,
        capture: Option<Capture>,
        part: Option<(Cut, Vec<Start>)>,
    ) -> Result<Observed, RuntimeError> {
        let resume = match part {
            Some((cut, starts)) => Some(Resume {
                roles: self.roles(&cut)?,
                cut,
                starts,
            }),
            None => None,
        };
        let graphs = self.graphs.as_ref().ok_or(RuntimeError::NoCallback)?;
        let known: Vec<_> = graphs.all().collect();
        let pass = Pass::new(known[0].clone(), rows.to_vec(), editors, capture, resume)?
            .or(known)
            .sabotaged(self.options.sabotage)
            .following(self.cells.take())
            .holding(
                self.held
                    .take()
                    .unwrap_or_else(|| Box::new(DeviceRows::default())),
            );
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
        self.held = observed.held.take();
        self.traffic.add(observed.traffic);
        if let (Some(graphs), Some(met)) = (&mut self.graphs, observed.met.take()) {
            graphs.fitted(&met);
        }
        Ok(observed)
    }

    /// `llama_decode` with everything checked that it would assert on or read out of bounds.
    pub(in crate::runtime) fn raw_decode(&mut self, rows: &[Row]) -> Result<(), RuntimeError> {
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
/// Lane by lane and without a way out, so that the compiler can look at several at once.
fn not_numbers(logits: &[f32]) -> Option<&'static str> {
    const LANES: usize = 16;
    let (mut largest, mut nan) = ([f32::NEG_INFINITY; LANES], [false; LANES]);
    let mut look = |lane: usize, logit: f32| {
        nan[lane] |= logit.is_nan();
        largest[lane] = largest[lane].max(logit);
    };
    let (chunks, rest) = logits.as_chunks::<LANES>();
    for chunk in chunks {
        (0..LANES).for_each(|lane| look(lane, chunk[lane]));
    }
    rest.iter().for_each(|logit| look(0, *logit));
    if nan.contains(&true) {
        return Some("NaN");
    }
    let largest = largest.into_iter().fold(f32::NEG_INFINITY, f32::max);
    largest.is_infinite().then_some("infinite")
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
        for at in [0, 15, 16, 31, 36] {
            let with = |what: f32| {
                let mut many = [-infinite; 37];
                many[at] = what;
                not_numbers(&many)
            };
            assert_eq!(with(1.0), None, "{at}");
            assert_eq!(with(nan), Some("NaN"), "{at}");
            assert_eq!(with(infinite), Some("infinite"), "{at}");
        }
    }
}
