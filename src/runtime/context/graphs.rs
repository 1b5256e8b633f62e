//! The graphs of a context: written down once for each order of nodes that its batches meet.

use std::collections::BTreeMap;

use super::Context;
use crate::hook::{Graphs, Row, Size};
use crate::runtime::RuntimeError;

impl Context {
    /// Decodes three tokens, writes the graph down and looks for the sites in it.
    pub(super) fn record(&mut self) -> Result<Graphs, RuntimeError> {
        let facts = self.model.facts();
        let size = Size {
            n_layer: facts.n_layer,
            n_embd: facts.n_embd,
            n_vocab: facts.n_vocab,
        };
        let n = 3.min(self.options.n_batch.min(self.options.n_ubatch));
        let rows: Vec<Row> = (0..n)
            .map(|i| Row {
                sequence: 0,
                position: i,
                token: (i % size.n_vocab.max(1)) as i32,
                prior: i + 1 < n,
                output: i + 1 == n,
            })
            .collect();
        let watch = self.slot.record();
        let decoded = self.raw_decode(&rows);
        let recordings = watch.recordings();
        self.clear();
        decoded?;
        let recording = recordings?.pop().unwrap_or_default();
        Ok(Graphs::of(recording, size, self.options.sabotage)?)
    }

    /// Writes the graphs of a batch down that are none of those that are known, and drops what
    /// was stored of it, by this decode and by the one that failed. Returns whether they are
    /// known now; if not, what the cache holds of the batch is not known.
    pub(super) fn learn(&mut self, rows: &[Row]) -> Result<bool, RuntimeError> {
        if !self.drop_rows(rows) {
            return Ok(false);
        }
        let watch = self.slot.record();
        let decoded = self.raw_decode(rows);
        let recordings = watch.recordings();
        let dropped = self.drop_rows(rows);
        self.outputs.clear();
        decoded?;
        let recordings = recordings?;
        let graphs = self.graphs.as_mut().ok_or(RuntimeError::NoCallback)?;
        Ok(graphs.learn(recordings, rows) && dropped)
    }

    /// Drops the cells of a batch's rows, which are the latest of their sequences; recurrent
    /// memory can be dropped from its beginning only.
    fn drop_rows(&mut self, rows: &[Row]) -> bool {
        let mut begins: BTreeMap<u32, u32> = BTreeMap::new();
        for row in rows {
            let first = begins.entry(row.sequence).or_insert(row.position);
            *first = row.position.min(*first);
        }
        let mut dropped = begins.into_iter().map(|(s, first)| self.rewind(s, first));
        dropped.all(|dropped| dropped.is_ok())
    }

    /// How many graphs were written down so far: one of three tokens, and one for each order of
    /// nodes, or other set of nodes, that a batch came with.
    pub fn recordings(&self) -> usize {
        self.graphs.as_ref().map_or(0, Graphs::written)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::sync::Arc;

    use llama_cpp_sys_2 as sys;

    use super::*;
    use crate::hook::{CacheFill, Capture, Cut, Start};
    use crate::intervention::{Editor, Extent, Intervention, Kind, PositionSet, States, Target};
    use crate::runtime::{Architecture, ContextOptions, Synthetic};

    const N: u32 = 70;

    /// Has llama.cpp add a node to the graph of every layer but the first, which adds zero, or
    /// takes them away again.
    fn add_nothing(context: &mut Context, wanted: bool) {
        let facts = context.model().facts();
        let (n_embd, n_layer) = (facts.n_embd as i32, facts.n_layer as i32);
        let zeros = vec![0.0f32; (n_embd * (n_layer - 1)) as usize];
        let data = if wanted {
            zeros.as_ptr()
        } else {
            std::ptr::null()
        };
        let raw = context.raw.as_ptr();
        // SAFETY: the context is live; the data are n_embd values for each layer from 1 on.
        let code =
            unsafe { sys::llama_set_adapter_cvec(raw, data, zeros.len(), n_embd, 1, n_layer - 1) };
        assert_eq!(code, 0);
    }

    fn rows() -> Vec<Row> {
        let row = |position| Row {
            sequence: 0,
            position,
            token: 3 + (position as i32 * 7) % 89,
            prior: position + 1 < N,
            output: position + 1 == N,
        };
        (0..N).map(row).collect()
    }

    fn zero() -> Intervention {
        Kind::Zero.intervention(2, 0, Extent::Paper, PositionSet::all(), None)
    }

    /// Zero at layer 2, whole and from what enters layer 2 on; the logits, and these states.
    fn run(context: &mut Context) -> (Vec<f32>, Vec<f32>, States) {
        let n_layer = context.model().n_layer();
        let editors = || HashMap::from([(0, Editor::new([zero()].into(), n_layer))]);
        let capture = Capture {
            targets: vec![Target::Input],
            layers: HashSet::from([2]),
            ..Capture::default()
        };
        context.clear();
        let mut seen = context.decode(&rows(), editors(), Some(capture)).unwrap();
        let whole = context.logits(N as usize - 1).unwrap().to_vec();
        let states = seen.states.remove(&0).unwrap().inputs;
        let cut = Cut {
            first: 2,
            cache: CacheFill::FromFirst,
            silent: false,
            onward: true,
        };
        let start = Start {
            states: Arc::new(states.clone()),
            from: 2,
            frozen: None,
        };
        context.clear();
        let starts = vec![start; N as usize];
        context
            .decode_part(&rows(), editors(), &cut, starts)
            .unwrap();
        let part = context.logits(N as usize - 1).unwrap().to_vec();
        (whole, part, states)
    }

    #[test]
    fn other_nodes_are_written_down_as_well_and_once() {
        let model = Arc::new(Synthetic::new(Architecture::Llama).build().unwrap());
        let options = ContextOptions {
            n_ctx: 128,
            n_batch: 128,
            threads: 1,
            ..ContextOptions::default()
        };
        let mut context = Context::new(model, &options).unwrap();
        let before = run(&mut context);
        let kept = |position| before.2.get(2, position).unwrap();
        let is_zero = |position| kept(position).iter().all(|x| *x == 0.0);
        assert!(is_zero(0) && !is_zero(N - 1), "kept as rewritten");
        assert_eq!(context.recordings(), 1);
        for _ in 0..2 {
            add_nothing(&mut context, true);
            assert!(run(&mut context) == before);
            assert_eq!(context.recordings(), 2);
        }
        add_nothing(&mut context, false);
        assert!(run(&mut context) == before);
        assert_eq!(context.recordings(), 2, "the first one fits again");

        // Four rows could be taken for four heads.
        let mut context = Context::new(context.model().clone(), &options).unwrap();
        add_nothing(&mut context, true);
        let few: Vec<Row> = rows().into_iter().take(4).collect();
        let editors = HashMap::from([(0, Editor::new([zero()].into(), 4))]);
        let refused = context.decode(&few, editors, None).err().unwrap();
        assert!(
            refused.to_string().contains("the graph changed"),
            "{refused}"
        );
        assert_eq!(context.recordings(), 1);
    }
}
