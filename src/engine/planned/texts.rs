//! Clean runs of the texts at hand: each once, what they begin with in common once for all.

use std::collections::HashMap;
use std::sync::Arc;

use super::{Job, Planned, needed};
use crate::engine::EngineError;
use crate::hook::{Capture, Row};
use crate::intervention::{States, Target};
use crate::runtime::Token;

/// A text whose clean run is in the cache.
pub(super) struct Text {
    /// Its tokens.
    pub tokens: Vec<Token>,
    /// Its cells, while requests need them.
    pub sequence: Option<u32>,
    /// The states entering every layer, of every token that a request needs them of.
    pub states: Arc<States>,
    /// The logits after the last token.
    pub logits: Vec<f32>,
}

/// The texts at hand.
pub(super) struct Texts {
    pub texts: Vec<Text>,
    /// How many tokens they all begin with.
    pub common: usize,
}

/// How many tokens all texts begin with, so that each has at least its last for itself.
pub(super) fn common_prefix(texts: &[impl AsRef<[Token]>]) -> usize {
    let [first, rest @ ..] = texts else { return 0 };
    if rest.is_empty() {
        return 0;
    }
    let first = first.as_ref();
    let shared = rest.iter().map(AsRef::as_ref).map(|text| {
        let same = text.iter().zip(first).take_while(|(a, b)| a == b);
        same.count().min(text.len() - 1)
    });
    shared.min().unwrap_or(0).min(first.len() - 1)
}

impl Text {
    /// Its cells, which requests that need them have kept.
    pub fn cells(&self) -> u32 {
        self.sequence.expect("kept as long as a request needs them")
    }
}

impl Planned {
    /// Runs the texts clean and keeps their states from position `from` on. Each comes with the
    /// first request on it, to which its errors are put down.
    pub(super) fn run_clean(
        &mut self,
        asked: &[(&[Token], usize)],
        from: u32,
    ) -> Result<Texts, EngineError> {
        let texts: Vec<&[Token]> = asked.iter().map(|(tokens, _)| *tokens).collect();
        let mut owners = HashMap::new();
        let common = common_prefix(&texts);
        let mut prefix = States::new();
        let mut base = None;
        if common > 0 {
            let sequence = self.sequences.take();
            let rows: Vec<Row> = (0..common)
                .map(|i| row(sequence, i, texts[0][i], false))
                .collect();
            let (mut states, _) = self.decode_clean(&rows, &owners, from)?;
            prefix = states.remove(&sequence).unwrap_or_default();
            base = Some(sequence);
        }
        let mut rows = Vec::new();
        let mut sequences = Vec::new();
        for (text, owner) in asked {
            let sequence = self.sequences.take();
            owners.insert(sequence, *owner);
            if let Some(base) = base {
                self.context().share(base, sequence, common as u32)?;
            }
            sequences.push(sequence);
            rows.extend(
                (common..text.len()).map(|i| row(sequence, i, text[i], i + 1 == text.len())),
            );
        }
        if let Some(base) = base {
            self.release(base)?;
        }
        let (mut states, mut logits) = self.decode_clean(&rows, &owners, from)?;
        let made = texts.iter().zip(&sequences).map(|(tokens, sequence)| {
            let mut all = prefix.clone();
            all.extend(states.remove(sequence).unwrap_or_default());
            Text {
                tokens: tokens.to_vec(),
                sequence: Some(*sequence),
                states: Arc::new(all),
                logits: logits.remove(sequence).expect("the last row is an output"),
            }
        });
        Ok(Texts {
            texts: made.collect(),
            common,
        })
    }

    /// Frees the cells of texts that no request builds on: attention looks at every cell in
    /// use, whosever it is.
    pub(super) fn free_texts(
        &mut self,
        texts: &mut Texts,
        jobs: &[Job],
    ) -> Result<(), EngineError> {
        for (n, text) in texts.texts.iter_mut().enumerate() {
            if !needed(n, jobs)
                && let Some(sequence) = text.sequence.take()
            {
                self.release(sequence)?;
            }
        }
        Ok(())
    }

    /// States and logits by sequence.
    #[allow(clippy::type_complexity)] // two maps
    fn decode_clean(
        &mut self,
        rows: &[Row],
        owners: &HashMap<u32, usize>,
        from: u32,
    ) -> Result<(HashMap<u32, States>, HashMap<u32, Vec<f32>>), EngineError> {
        let capture = Capture {
            targets: vec![Target::Input],
            layers: (0..self.n_layer()).collect(),
            from,
        };
        let mut states: HashMap<u32, States> = HashMap::new();
        let mut logits = HashMap::new();
        let n_batch = self.context().options().n_batch as usize;
        for rows in rows.chunks(n_batch) {
            let context = self.context();
            let wanted = rows.iter().any(|row| row.position >= from);
            let capture = wanted.then(|| capture.clone());
            let observed = context.decode(rows, HashMap::new(), capture)?;
            for (sequence, captured) in observed.states {
                states.entry(sequence).or_default().extend(captured.inputs);
            }
            for (n, row) in rows.iter().enumerate().filter(|(_, row)| row.output) {
                let of_row = context.logits(n).map_err(EngineError::from);
                let of_row = of_row.map_err(|error| error.of(owners[&row.sequence]))?;
                logits.insert(row.sequence, of_row.to_vec());
            }
            self.work.layer_rows += rows.len() as u64 * u64::from(self.n_layer());
            self.work.decodes += 1;
        }
        Ok((states, logits))
    }
}

/// A row of a batch; the last of its text has logits and is not prior.
pub(super) fn row(sequence: u32, position: usize, token: Token, last: bool) -> Row {
    Row {
        sequence,
        position: position as u32,
        token: token.0,
        prior: !last,
        output: last,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_keeps_its_last_token_to_itself() {
        let text = |ids: &[i32]| ids.iter().map(|i| Token(*i)).collect::<Vec<_>>();
        let of = |texts: &[&[i32]]| {
            let texts: Vec<_> = texts.iter().map(|t| text(t)).collect();
            common_prefix(&texts)
        };
        assert_eq!(of(&[&[1, 2, 3]]), 0);
        assert_eq!(of(&[&[1, 2, 3], &[1, 2, 4, 5]]), 2);
        assert_eq!(of(&[&[1, 2, 3], &[1, 2, 3]]), 2);
        assert_eq!(of(&[&[1, 2, 3, 4], &[1, 2]]), 1);
        assert_eq!(of(&[&[2, 2], &[1, 2]]), 0);
    }
}
