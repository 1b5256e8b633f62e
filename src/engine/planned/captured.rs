//! Clean runs of many texts, several in one batch, for what they leave.

use super::route::Route;
use super::{Planned, is_about_parts};
use crate::engine::captured::batches;
use crate::engine::{EngineError, PromptError};
use crate::hook::{Capture, Captured};
use crate::intervention::Target;
use crate::runtime::Token;

/// Rows of a batch beyond which further texts gain nothing: attention looks at every cell in use,
/// whosever it is.
const ROWS: usize = 512;

impl Planned {
    /// [`Straightforward::captured_of_all`](crate::engine::Straightforward::captured_of_all), in
    /// this engine's context.
    ///
    /// # Errors
    /// As there.
    pub fn captured_of_all(
        &mut self,
        tokens: &[Token],
        capture: &Capture,
    ) -> Result<Captured, EngineError> {
        self.whole().captured_of_all(tokens, capture)
    }

    /// The same of several texts, which are handed over in their order. Short texts share a batch
    /// where the model's graph allows it; then the last digits depend on the texts beside.
    ///
    /// # Errors
    /// As there.
    pub fn captured_of_texts(
        &mut self,
        texts: &[&[Token]],
        capture: &Capture,
        told: &mut dyn FnMut(usize, Captured),
    ) -> Result<(), EngineError> {
        for text in texts {
            if text.is_empty() {
                return Err(PromptError::Empty.into());
            }
            self.inner.positions().fit(text.len())?;
        }
        let shares = !capture.targets.contains(&Target::Mask)
            && self.possible(Route::Frozen { k: 0 }).is_ok();
        let sequences = if shares { self.sequences.n as usize } else { 1 };
        let rows = ROWS.min(self.inspect().options().n_batch as usize);
        let lengths: Vec<usize> = texts.iter().map(|text| text.len()).collect();
        for batch in batches(&lengths, rows, sequences) {
            if batch.len() > 1 {
                match self.inner.captured_together(&texts[batch.clone()], capture) {
                    Ok(captured) => {
                        batch
                            .zip(captured)
                            .for_each(|(n, of_text)| told(n, of_text));
                        continue;
                    }
                    Err(error) if is_about_parts(&error).is_none() => return Err(error),
                    Err(_) => {}
                }
            }
            for n in batch {
                told(n, self.inner.captured_of_all(texts[n], capture)?);
            }
        }
        Ok(())
    }
}
