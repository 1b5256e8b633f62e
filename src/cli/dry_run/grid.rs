//! The grid as a table: what runs of each task, at which layers, with which seeds.

use crate::cli::output::table;
use crate::experiment::Treatment;
use crate::intervention::Kind;
use crate::report::Column;
use crate::sweep::Prepared;
use crate::tasks::Item;

/// Every kind of cell of a variant by task, with its items and results.
pub fn of(prepared: &Prepared) -> String {
    let head = [
        "task", "what", "layers", "seeds", "cells", "items", "results",
    ];
    let mut rows = Vec::new();
    let grid = &prepared.variant().grid;
    for of in prepared.tasks() {
        let (task, set) = (of.task, &of.set);
        let cells: Vec<_> = grid.cells_of(task).map(|(_, cell)| cell).collect();
        for group in cells.chunk_by(|a, b| a.treatment == b.treatment) {
            let treatment = group[0].treatment;
            let injects = treatment.has_donor();
            let runs = |of: &&Item| !injects || of.swap.is_some();
            let items = set.items.iter().filter(runs).count();
            let manipulates = treatment.kind().is_some();
            let mut layers: Vec<u32> = group.iter().map(|cell| cell.layer).collect();
            layers.dedup();
            let mut seeds: Vec<u64> = group.iter().map(|cell| cell.seed).collect();
            seeds.sort_unstable();
            seeds.dedup();
            let seeds: Vec<String> = seeds.iter().map(ToString::to_string).collect();
            let seeded = treatment.kind().is_some_and(Kind::has_seed);
            let what = match treatment {
                Treatment::CleanAgain => {
                    "clean-again (its last token apart: what rounding does)".to_string()
                }
                other => other.to_string(),
            };
            rows.push(vec![
                task.to_string(),
                what,
                if manipulates {
                    spans(&layers)
                } else {
                    String::new()
                },
                if seeded {
                    seeds.join(",")
                } else {
                    String::new()
                },
                group.len().to_string(),
                items.to_string(),
                (group.len() * items).to_string(),
            ]);
        }
    }
    let mut columns = [Column::Words; 5];
    columns[4] = Column::Numbers;
    table(&head, &rows, &columns)
}

/// Rising layers as `--layers` takes them: `0-29`, `0-27+3`, `3,7`.
fn spans(layers: &[u32]) -> String {
    let mut parts = Vec::new();
    let mut rest = layers;
    while let [first, ..] = rest {
        let step = rest.get(1).map_or(1, |second| second - first);
        let run = rest.windows(2).take_while(|pair| pair[1] - pair[0] == step);
        let n = 1 + run.count();
        // Two layers are no span, unless they are neighbours.
        if n > 2 || (n == 2 && step == 1) {
            let last = rest[n - 1];
            parts.push(match step {
                1 => format!("{first}-{last}"),
                _ => format!("{first}-{last}+{step}"),
            });
            rest = &rest[n..];
        } else {
            parts.push(first.to_string());
            rest = &rest[1..];
        }
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::intervention::LayerList;

    #[test]
    fn layers_are_written_as_they_are_read() {
        for (layers, text) in [
            (vec![], ""),
            (vec![4], "4"),
            (vec![4, 5], "4-5"),
            (vec![4, 7], "4,7"),
            (vec![0, 1, 2, 3], "0-3"),
            (vec![0, 3, 6, 9], "0-9+3"),
            (vec![0, 5, 6, 7, 20], "0,5-7,20"),
        ] {
            assert_eq!(spans(&layers), text);
            if !layers.is_empty() {
                let list: LayerList = text.parse().unwrap();
                assert_eq!(list.resolve(30).unwrap(), layers);
            }
        }
    }
}
