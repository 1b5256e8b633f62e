//! What clean runs of texts leave, of all their tokens.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::straightforward::row;
use super::{Engine, EngineError, PromptError, Straightforward};
use crate::hook::{Capture, Captured, Row};
use crate::intervention::Target;
use crate::runtime::Token;

impl Straightforward {
    /// What a clean run of a text leaves of what `capture` names, of each of its tokens, the last
    /// layer's sums among it. As many as the model has layers is the state that leaves the last one.
    /// [`Target::Mask`] stands for the weights of attention, which need a context without flash
    /// attention.
    ///
    /// # Errors
    /// [`EngineError`]; [`crate::hook::HookFault::Weights`].
    pub fn captured_of_all(
        &mut self,
        tokens: &[Token],
        capture: &Capture,
    ) -> Result<Captured, EngineError> {
        if tokens.is_empty() {
            return Err(PromptError::Empty.into());
        }
        self.positions().fit(tokens.len())?;
        let rows = rows(tokens, needs_all(capture, self.facts().n_layer));
        let mut captured = Captured::default();
        let context = self.context_mut();
        context.clear();
        // Weights of attention are by cell, and told by position.
        context.follow_cells(capture.targets.contains(&Target::Mask));
        for rows in rows.chunks(self.context().options().n_batch as usize) {
            let seen = self.decode(rows, Arc::new([]), None, Some(capture))?;
            captured.extend(seen.states);
        }
        self.context_mut().follow_cells(false);
        Ok(captured)
    }

    /// The same of several texts that fit one batch, each in a sequence of its own, from 0 up.
    ///
    /// # Errors
    /// [`EngineError`].
    pub(super) fn captured_together(
        &mut self,
        texts: &[&[Token]],
        capture: &Capture,
    ) -> Result<Vec<Captured>, EngineError> {
        let all = needs_all(capture, self.facts().n_layer);
        let of_text = |(n, tokens): (u32, &&[Token])| {
            let in_sequence = move |row| Row { sequence: n, ..row };
            rows(tokens, all).into_iter().map(in_sequence)
        };
        let rows: Vec<Row> = (0..).zip(texts).flat_map(of_text).collect();
        let context = self.context_mut();
        context.clear();
        let mut observed = context.decode(&rows, HashMap::new(), Some(capture.clone()))?;
        context.clear();
        self.count(rows.len());
        let of_text = |n: u32| observed.states.remove(&n).unwrap_or_default();
        Ok((0..texts.len() as u32).map(of_text).collect())
    }
}

/// Whether every token needs logits for what is to be kept of it: in the last layer llama.cpp
/// computes what follows attention for tokens with logits only.
fn needs_all(capture: &Capture, n_layer: u32) -> bool {
    let of_last =
        |target: &Target| !matches!(target, Target::Input | Target::Keys | Target::Values);
    capture.layers.contains(&n_layer)
        || capture.layers.contains(&(n_layer - 1)) && capture.targets.iter().any(of_last)
}

/// The rows of a text: with logits for all tokens, or for the last one.
pub(super) fn rows(tokens: &[Token], all: bool) -> Vec<Row> {
    let rows = tokens.iter().enumerate().map(|(i, token)| {
        let row = row(i, *token, i + 1 == tokens.len());
        Row {
            output: all || row.output,
            ..row
        }
    });
    rows.collect()
}

/// Neighbouring texts of these lengths that fit into `rows` rows and `sequences` sequences.
pub(super) fn batches(lengths: &[usize], rows: usize, sequences: usize) -> Vec<Range<usize>> {
    let mut batches: Vec<Range<usize>> = Vec::new();
    let mut filled = 0;
    for (n, length) in lengths.iter().enumerate() {
        match batches.last_mut() {
            Some(last) if filled + length <= rows && last.len() < sequences => {
                last.end = n + 1;
                filled += length;
            }
            _ => {
                batches.push(n..n + 1);
                filled = *length;
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_hold_all_texts_in_order_and_no_more_than_fits() {
        assert_eq!(batches(&[3, 4, 5, 9, 1], 8, 9), [0..2, 2..3, 3..4, 4..5]);
        assert_eq!(batches(&[1; 5], 8, 2), [0..2, 2..4, 4..5]);
        assert!(batches(&[], 8, 2).is_empty());
    }

    #[test]
    fn logits_are_asked_for_where_the_last_layer_s_sums_are() {
        let needs = |target, layers: &[u32]| {
            let capture = Capture {
                targets: vec![target],
                layers: layers.iter().copied().collect(),
                ..Capture::default()
            };
            needs_all(&capture, 4)
        };
        assert!(!needs(Target::Input, &[0, 3]) && needs(Target::Input, &[1, 4]));
        assert!(!needs(Target::Keys, &[3]) && !needs(Target::Attention, &[0, 2]));
        assert!(needs(Target::Attention, &[3]) && needs(Target::Mask, &[3]));
    }
}
