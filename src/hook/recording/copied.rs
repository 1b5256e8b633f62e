//! What another backend's copies in a recorded graph are copies of.

use super::Recording;
use crate::ggml as sys;
use crate::hook::content::copied_from;
use crate::hook::tensor::Tensor;

/// Another backend's copy, when it was first read.
#[derive(Clone, Debug)]
pub(super) struct Copied {
    name: String,
    /// As [`Tensor::id`].
    id: usize,
    layout: ([i64; 4], [usize; 4]),
    /// What it was taken for.
    found: Option<usize>,
    /// How many tensors there were before.
    since: usize,
}

impl Recording {
    /// Whether this is another backend's copy of an input of the graph. Of what no node computes,
    /// only weights and caches are read besides inputs; those of llama.cpp's have a dot or
    /// `cache_` in their names, and what has no name of its own (`leaf_N`) is no input.
    pub(super) fn is_copied_input(tensor: Tensor<'_>) -> bool {
        let name = tensor.name();
        let original = name.split('#').nth(1).unwrap_or_default();
        let other = ["cache_", "leaf_", "node_"];
        let is_other = original.is_empty() || other.iter().any(|p| original.starts_with(p));
        tensor.is_copy() && !is_other && !original.contains('.')
    }

    /// Between backends the scheduler replaces a source by a copy named `backend#name#n`, one for
    /// all that the backend computes (ggml_backend_sched_split_graph). Names repeat, within a layer
    /// too: the edge continues at the node of that name that has the copy's layout, has no such
    /// copy yet, and holds what the copy holds.
    pub(super) fn original_of_copy(&mut self, source: Tensor<'_>) -> Option<usize> {
        if source.op() != sys::GGML_OP_NONE || self.by_id.contains_key(&source.id()) {
            return None;
        }
        let name = source.name();
        let original = name.split('#').nth(1)?;
        let nodes = self.nodes.iter().rev().copied();
        let mut named = nodes
            .filter(|&n| self.tensors[n].name == original)
            .peekable();
        named.peek()?;
        let layout = (source.shape(), source.strides());
        let backend = |name: &str| name.split('#').next().map(String::from);
        let here = backend(&name);
        self.read_here.retain(|copy| backend(&copy.name) == here);
        self.read_here.push(Copied {
            name: name.clone(),
            id: source.id(),
            layout,
            found: None,
            since: self.tensors.len(),
        });
        let alike = |&n: &usize| (self.tensors[n].shape, self.tensors[n].strides) == layout;
        let mut alike: Vec<usize> = named.filter(alike).collect();
        let Some(&latest) = alike.first() else {
            self.lost.get_or_insert(name);
            self.n_lost += 1;
            return None;
        };
        alike.retain(|&n| !self.copies.contains(&(name.clone(), n)));
        let found = self.told(source, &alike).unwrap_or_else(|| {
            self.doubtful.get_or_insert(name.clone());
            latest
        });
        self.copies.insert((name, found));
        if let Some(copy) = self.read_here.last_mut() {
            copy.found = Some(found);
        }
        // When it is read again its original may be overwritten.
        self.by_id.insert(source.id(), found);
        Some(found)
    }

    /// A view that a part of the graph begins with is copied before it, and may be asked about behind
    /// what reads the copy: Vulkan orders each part anew, and knows of no edge between the two. What
    /// read the copy reads what is viewed, which was computed before.
    pub(super) fn settle(&mut self, view: Tensor<'_>, index: usize) {
        let Some(&viewed) = self.tensors[index].sources.first() else {
            return;
        };
        let (name, layout) = (view.name(), (view.shape(), view.strides()));
        for at in 0..self.read_here.len() {
            let copy = self.read_here[at].clone();
            let original = copy.name.split('#').nth(1);
            if original != Some(&name) || copy.layout != layout || viewed >= copy.since {
                continue;
            }
            let raw = std::iter::once(copy.id).chain(copy.found.map(|found| self.ids[found]));
            // SAFETY: as in `told`.
            let tensor =
                |id| unsafe { Tensor::from_raw(std::ptr::with_exposed_provenance_mut(id)) };
            let Some(tensors) = raw.map(tensor).collect::<Option<Vec<_>>>() else {
                continue;
            };
            let alike: Vec<_> = [view]
                .into_iter()
                .chain(tensors[1..].iter().copied())
                .collect();
            if copied_from(tensors[0], &alike) != Some(0) {
                continue;
            }
            match copy.found {
                Some(found) => {
                    let readers = self.tensors[copy.since..index].iter_mut();
                    let sources = readers.flat_map(|reader| &mut reader.sources);
                    sources.filter(|n| **n == found).for_each(|n| *n = viewed);
                }
                // It stands in the recording itself.
                None => {
                    let itself = self.by_id[&copy.id];
                    self.tensors[itself].sources = vec![viewed];
                    self.n_lost -= 1;
                    self.lost.take_if(|_| self.n_lost == 0);
                }
            }
            self.by_id.insert(copy.id, index);
            self.copies.insert((copy.name, index));
            self.read_here[at].found = Some(index);
        }
    }

    /// Which of several nodes, the latest first, a copy is of.
    ///
    /// A part of the graph that one backend computes begins with copies of all that it reads. When
    /// its nodes are asked about, the originals are still there: they lie on another backend,
    /// which has not gone on.
    fn told(&self, copy: Tensor<'_>, alike: &[usize]) -> Option<usize> {
        if let [only] = alike {
            return Some(*only);
        }
        let tensor = |&n: &usize| {
            let raw = std::ptr::with_exposed_provenance_mut(self.ids[n]);
            // SAFETY: the tensors of a recording are those of one evaluation's graph, which stands
            // as long as its nodes are asked about.
            unsafe { Tensor::from_raw(raw) }
        };
        let tensors: Option<Vec<_>> = alike.iter().map(tensor).collect();
        copied_from(copy, &tensors?).map(|at| alike[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::fake::Graph;

    /// A layer gives several tensors one name. Another backend's copy is of the one of its shape.
    #[test]
    fn a_copy_is_of_the_latest_node_of_its_name_and_shape() {
        let mut graph = Graph::default();
        let input = graph.leaf();
        let flat = graph.node(sys::GGML_OP_MUL_MAT, &[input]);
        let heads = graph.node(sys::GGML_OP_RESHAPE, &[flat]);
        graph.shape(flat, [8, 3, 1, 1]);
        graph.shape(heads, [4, 2, 3, 1]);
        for node in [flat, heads] {
            graph.name(node, "Qcur-3");
        }
        let mut copy = |shape| {
            let copy = graph.leaf();
            graph.name(copy, "CPU#Qcur-3#0");
            graph.shape(copy, shape);
            graph.node(sys::GGML_OP_CONT, &[copy])
        };
        let readers = [[8, 3, 1, 1], [4, 2, 3, 1], [2, 4, 3, 1]].map(&mut copy);
        let record = |reader| {
            let mut recording = Recording::default();
            for node in [flat, heads, reader] {
                recording.add_node(*graph.get(node));
            }
            let sources = recording.tensors[recording.nodes[2]].sources.clone();
            let read = recording.nodes.iter().position(|n| *n == sources[0]);
            assert_eq!(recording.doubtful, None);
            (read, recording.lost)
        };
        assert_eq!(record(readers[0]), (Some(0), None));
        assert_eq!(record(readers[1]), (Some(1), None));
        assert_eq!(record(readers[2]), (None, Some("CPU#Qcur-3#0".into())));
    }

    /// Nodes of one name, each followed by another backend's copy and what reads that. Without
    /// memory nothing else tells which of them it is.
    #[test]
    fn a_copy_is_of_no_node_that_was_copied_before() {
        let mut graph = Graph::default();
        let start = graph.node(sys::GGML_OP_GET_ROWS, &[]);
        let mut made = |op, name| {
            let input = graph.leaf();
            let node = graph.node(op, &[input]);
            graph.name(node, name);
            let copy = graph.leaf();
            graph.name(copy, "CPU#state#0");
            (node, copy)
        };
        let [first, second, third] = [(); 3].map(|()| made(sys::GGML_OP_ADD, "state"));
        let mut reader = |copy| graph.node(sys::GGML_OP_CONT, &[copy]);
        let readers = [first.1, second.1, third.1, first.1].map(&mut reader);
        let read = |nodes: &[usize]| {
            let mut recording = Recording::default();
            recording.add_node(*graph.get(start));
            for node in nodes {
                recording.add_node(*graph.get(*node));
            }
            let of = |reader: &usize| {
                let at = nodes.iter().position(|node| node == reader)?;
                let source = recording.tensors[recording.nodes[at + 1]].sources[0];
                let source = recording.nodes.iter().position(|n| *n == source)?;
                Some(nodes[source - 1])
            };
            let found: Vec<_> = readers.iter().filter_map(of).collect();
            (found, recording.doubtful.is_some())
        };
        let in_turn = [first.0, readers[0], second.0, readers[1], readers[3]];
        assert_eq!(read(&in_turn), (vec![first.0, second.0, first.0], false));
        // Of two that were not copied it may be either: no part of the graph is left out.
        let both = [first.0, readers[0], second.0, third.0, readers[1]];
        assert_eq!(read(&both), (vec![first.0, third.0], true));
    }

    /// The memory of the first view is used again for what the second one views; the copy is made of
    /// the second, which comes behind what reads the copy.
    #[test]
    fn a_view_may_come_behind_its_copy() {
        let mut graph = Graph::default();
        let start = graph.node(sys::GGML_OP_GET_ROWS, &[]);
        let input = graph.leaf();
        let mut made = |shape| {
            let base = graph.node(sys::GGML_OP_MUL_MAT, &[input]);
            let view = graph.node(sys::GGML_OP_VIEW, &[base]);
            graph.view(view, base);
            graph.name(view, " (view)");
            graph.shape(view, shape);
            for n in [base, view] {
                graph.lay(n, 1, 64);
            }
            (base, view)
        };
        let shape = [8, 3, 1, 1];
        let (first, second) = (made(shape), made(shape));
        let other = made([4, 3, 1, 1]);
        let copy = graph.leaf();
        graph.name(copy, "Vulkan0# (view)#0");
        graph.shape(copy, shape);
        graph.lay(copy, 2, 64);
        let reader = graph.node(sys::GGML_OP_CONT, &[copy]);
        let read = |nodes: &[usize]| {
            let mut recording = Recording::default();
            recording.add_node(*graph.get(start));
            for node in nodes {
                recording.add_node(*graph.get(*node));
            }
            let at = nodes.iter().position(|node| *node == reader).unwrap();
            let mut source = recording.tensors[recording.nodes[at + 1]].sources[0];
            // A copy of what was not known stands in between.
            if recording.tensors[source].op == sys::GGML_OP_NONE {
                let known = recording.tensors[source].sources.first();
                assert_eq!(known.is_none(), recording.lost.is_some());
                source = *known?;
            }
            assert_eq!(recording.doubtful, None);
            let found = recording.nodes.iter().position(|n| *n == source)?;
            Some(nodes[found - 1])
        };
        let (before, after) = ([first.0, first.1, second.0, reader], [second.1]);
        assert_eq!(read(&before), Some(first.1));
        assert_eq!(read(&[&before[..], &after].concat()), Some(second.0));
        // Nothing of its layout came before.
        let lost = [other.0, other.1, second.0, reader];
        assert_eq!(read(&lost), None);
        assert_eq!(read(&[&lost[..], &after].concat()), Some(second.0));
        // What is computed behind the copy is not what was copied.
        let later = [first.0, first.1, reader, second.0, second.1];
        assert_eq!(read(&later), Some(first.1));
        // One of two that were not known is settled, and the other one stays unknown.
        let mut recording = Recording::default();
        let unknown = graph.leaf();
        graph.name(unknown, "Vulkan0# (view)#0");
        graph.shape(unknown, [2, 3, 1, 1]);
        let reads_it = graph.node(sys::GGML_OP_CONT, &[unknown]);
        for node in [&[start][..], &lost, &[reads_it], &after].concat() {
            recording.add_node(*graph.get(node));
        }
        assert!(recording.lost.is_some());
    }
}
