//! Which row of a tensor is which token.

use super::Pass;
use super::place::Place;
use crate::hook::sabotage::Sabotage;
use crate::hook::{HookFault, Row, Tensor};

impl Pass {
    pub(super) fn micro_batch(&self) -> Result<&[Row], HookFault> {
        self.rows
            .get(self.offset..self.offset + self.n_rows)
            .ok_or(HookFault::RowTotal {
                found: self.offset + self.n_rows,
                expected: self.rows.len(),
            })
    }

    /// Compares a row-by-row input of the graph with the batch. The input is read while its
    /// first consumer is only being asked about, so it has not been overwritten: the scheduler
    /// copies inputs before it asks about the first node that reads them.
    pub(super) fn prove_rows(
        &self,
        node: Tensor<'_>,
        what: &'static str,
        expected: impl Fn(&Row) -> i32,
    ) -> Result<(), HookFault> {
        let rows = self.micro_batch()?;
        let input = node.sources().nth(1);
        let values = input.and_then(|input| input.read_i32_input(rows.len()));
        let values = values.ok_or(HookFault::NotProved(what))?;
        for (n, (row, found)) in rows.iter().zip(values).enumerate() {
            if expected(row) != found {
                return Err(HookFault::RowOrder {
                    row: n,
                    what,
                    found,
                    expected: expected(row),
                });
            }
        }
        Ok(())
    }

    /// Reads a node's rows from position `from` on and says which they are.
    pub(super) fn read(
        &self,
        (target, layer): Place,
        node: Tensor<'_>,
        from: u32,
        buffer: &mut Vec<f32>,
    ) -> Result<Vec<(usize, Row)>, HookFault> {
        if self.course.anatomy.cache_site(target, layer).is_some() {
            let rows = self.micro_batch()?.len();
            node.read_strided(rows, buffer)?;
            return self.rows_of(node, rows);
        }
        let (_, found) = node.rows_f32()?;
        let mut rows = self.rows_of(node, found)?;
        let is_wanted = |(_, row): &(usize, Row)| row.position >= from;
        let wanted: Vec<bool> = rows.iter().map(is_wanted).collect();
        node.read_rows(&wanted, buffer)?;
        rows.retain(is_wanted);
        Ok(rows)
    }

    /// Which rows of the batch a node with `found` rows holds, with their index in the batch.
    pub(super) fn rows_of(
        &self,
        node: Tensor<'_>,
        found: usize,
    ) -> Result<Vec<(usize, Row)>, HookFault> {
        let micro_batch = self.micro_batch()?;
        let rows = (self.offset..).zip(micro_batch.iter().copied());
        let mut rows: Vec<_> = rows.collect();
        if self.sabotage == Some(Sabotage::RowsShifted) {
            rows.rotate_left(1);
        }
        let outputs = micro_batch.iter().filter(|row| row.output).count();
        if found == micro_batch.len() {
            Ok(rows)
        } else if found == outputs {
            rows.retain(|(_, row)| row.output);
            Ok(rows)
        } else {
            Err(HookFault::RowCount {
                tensor: node.name(),
                found,
                rows: micro_batch.len(),
                outputs,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Arc;

    use super::*;
    use crate::ggml as sys;
    use crate::hook::fake::Graph;
    use crate::hook::graph::Edges;
    use crate::hook::site::Site;
    use crate::hook::{Anatomy, Recording};

    #[test]
    fn rows_that_cannot_be_told_are_an_error() {
        let mut graph = Graph::default();
        let (table, ids) = (graph.leaf(), graph.leaf());
        let look_up = graph.node(sys::GGML_OP_GET_ROWS, &[table, ids]);
        graph.name(look_up, "embd");
        let mut recording = Recording::default();
        recording.add_node(*graph.get(look_up));
        let anatomy = Anatomy {
            n_nodes: 1,
            tokens: Site {
                index: 0,
                name: "embd".into(),
                op: sys::GGML_OP_GET_ROWS,
            },
            positions: None,
            learned_positions: None,
            logits: Site {
                index: 0,
                name: "embd".into(),
                op: sys::GGML_OP_GET_ROWS,
            },
            inputs: Vec::new(),
            output: None,
            attention: Vec::new(),
            heads: Vec::new(),
            mlps: Vec::new(),
            masks: Vec::new(),
            reads_cache: Vec::new(),
            keys: Vec::new(),
            values: Vec::new(),
            joined: Vec::new(),
            borrows: Vec::new(),
            edges: Edges::of(&recording, Vec::new(), None),
        };
        let row = Row {
            sequence: 0,
            position: 0,
            token: 5,
            prior: false,
            output: true,
        };
        let pass = Pass::new(Arc::new(anatomy), vec![row], HashMap::new(), None, None);
        // The ids have no memory.
        let asked = pass.unwrap().ask(graph.get(look_up));
        assert_eq!(asked, Err(HookFault::NotProved("token")));
    }
}
