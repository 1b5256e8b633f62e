//! The graphs of a model that were written down: a device may order nodes by the batch's shape,
//! and llama.cpp may make other nodes for more tokens.

use std::collections::HashMap;
use std::sync::Arc;

use crate::ggml as sys;

use super::anatomy::Anatomy;
use super::asked::Row;
use super::cut::{Cut, CutError};
use super::graph::Role;
use super::order::{Other, is_ordered, places};
use super::recording::Recording;
use super::sabotage::Sabotage;
use super::site::{AnatomyError, NoMlp, Site};

/// How many are kept: those that fitted last.
const MOST: usize = 16;

/// What the search for a model's parts must be told of it.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    /// Layers.
    pub n_layer: u32,
    /// Values of a state.
    pub n_embd: u32,
    /// Tokens of the vocabulary.
    pub n_vocab: u32,
}

/// One of them.
struct Known {
    /// The nodes in its own order. Of a graph that was recorded before in another order they have
    /// the rows that they had then.
    recording: Recording,
    anatomy: Arc<Anatomy>,
    roles: HashMap<Cut, Result<Arc<[Role]>, CutError>>,
}

impl Known {
    fn new(recording: Recording, anatomy: Anatomy) -> Self {
        Self {
            recording,
            anatomy: Arc::new(anatomy),
            roles: HashMap::new(),
        }
    }
}

/// All graphs of a model that were written down so far.
pub struct Graphs {
    size: Size,
    sabotage: Option<Sabotage>,
    /// The first one that was written down.
    first: Arc<Anatomy>,
    /// The one that fitted last comes first.
    known: Vec<Known>,
    written: usize,
}

impl Graphs {
    /// Analyses the first recording, of a batch with one output.
    ///
    /// # Errors
    /// [`AnatomyError`].
    pub fn of(
        recording: Recording,
        size: Size,
        sabotage: Option<Sabotage>,
    ) -> Result<Self, AnatomyError> {
        let anatomy = anatomy_of(&recording, size, sabotage)?;
        let (found, asked) = (recording.rows_of(anatomy.logits.index), 1);
        if found != asked {
            return Err(AnatomyError::OtherLogits { found, asked });
        }
        let known = Known::new(recording, anatomy);
        Ok(Self {
            size,
            sabotage,
            first: known.anatomy.clone(),
            known: vec![known],
            written: 1,
        })
    }

    /// Where everything is in the graph that was written down first.
    pub fn first(&self) -> &Arc<Anatomy> {
        &self.first
    }

    /// How many were written down.
    pub fn written(&self) -> usize {
        self.written
    }

    /// All that are kept, the one that fitted last first.
    pub fn all(&self) -> impl Iterator<Item = Arc<Anatomy>> {
        self.known.iter().map(|known| known.anatomy.clone())
    }

    /// What `cut` means for the one that fitted last.
    ///
    /// # Errors
    /// [`CutError`].
    pub fn roles(&mut self, cut: &Cut) -> Result<Arc<[Role]>, CutError> {
        let latest = &mut self.known[0];
        if let Some(known) = latest.roles.get(cut) {
            return known.clone();
        }
        let found: Result<Arc<[Role]>, CutError> = cut.roles(&latest.anatomy).map(Into::into);
        latest.roles.insert(cut.clone(), found.clone());
        found
    }

    /// Notes which one fitted.
    pub fn fitted(&mut self, anatomy: &Arc<Anatomy>) {
        let fits = |known: &Known| Arc::ptr_eq(&known.anatomy, anatomy);
        if let Some(at) = self.known.iter().position(fits) {
            self.known[..=at].rotate_right(1);
        }
    }

    /// Takes the recordings of the micro-batches of a batch (`rows`) that fitted none of these
    /// graphs. Returns whether all of them are known now.
    pub fn learn(&mut self, recordings: Vec<Recording>, mut rows: &[Row]) -> bool {
        for recording in recordings {
            let Some((anatomy, n)) = self.recognise(recording, rows) else {
                return false;
            };
            self.fitted(&anatomy);
            rows = rows.get(n..).unwrap_or_default();
        }
        true
    }

    /// The anatomy of a recorded micro-batch that `rows` begin with, and how many rows it has.
    fn recognise(&mut self, found: Recording, rows: &[Row]) -> Option<(Arc<Anatomy>, usize)> {
        let rows_by = |anatomy: &Anatomy| found.rows_of(anatomy.tokens.index);
        let mut other = None;
        for known in &self.known {
            match places(&known.recording, &found) {
                Ok(places) if places.is_sorted() => {
                    return Some((known.anatomy.clone(), rows_by(&known.anatomy)));
                }
                Ok(places) => other = other.or(Some((known, places))),
                Err(Other::Order) => return None,
                Err(Other::Nodes) => {}
            }
        }
        let of = |recording: &Recording| anatomy_of(recording, self.size, self.sabotage).ok();
        let (new, n) = match other {
            // The rows are those that were recorded then, so that heads cannot be taken for them.
            Some((known, places)) => {
                let recording = known.recording.in_order(&places);
                let anatomy = of(&recording)?;
                let is_that = |here: usize, there: usize| places[here] == there;
                let same = anatomy.is_like(&known.anatomy, is_that);
                let n = rows_by(&anatomy);
                same.then(|| (Known::new(recording, anatomy), n))?
            }
            None => {
                let anatomy = of(&found)?;
                let n = rows_by(&anatomy);
                let outputs = rows.get(..n)?.iter().filter(|row| row.output).count();
                let same = found.rows_of(anatomy.logits.index) == outputs
                    && is_ordered(&found)
                    && tells_rows(&found, &self.first, n)
                    && anatomy.is_like(&self.first, |_, _| true);
                same.then(|| (Known::new(found, anatomy), n))?
            }
        };
        let anatomy = new.anatomy.clone();
        self.written += 1;
        self.known.insert(0, new);
        self.known.truncate(MOST);
        Some((anatomy, n))
    }
}

fn anatomy_of(
    recording: &Recording,
    size: Size,
    sabotage: Option<Sabotage>,
) -> Result<Anatomy, AnatomyError> {
    let mut anatomy = Anatomy::of(recording, size.n_layer, size.n_embd, size.n_vocab)?;
    if sabotage == Some(Sabotage::LayerOffByOne) {
        anatomy.mistake_layers();
    }
    Ok(anatomy)
}

/// Whether a number of rows is no other size in the graph, so that rows cannot be taken for
/// anything else.
fn tells_rows(recording: &Recording, first: &Anatomy, n: usize) -> bool {
    let leaves = recording.tensors.iter();
    let leaves = leaves.filter(|t| t.op == sys::GGML_OP_NONE && !t.is_input);
    let mut sizes = leaves.flat_map(|t| t.shape);
    let heads = first.heads.iter().flatten().flat_map(|h| [h.head, h.n]);
    let caches = first.keys.iter().chain(&first.values).flatten();
    let mut heads = heads.chain(caches.map(|cache| cache.head));
    n >= 2 && sizes.all(|size| size != n as i64) && heads.all(|size| size != n)
}

/// A place that was found or was not, and the sizes that were found with it.
type Part<'a> = (Option<&'a Site>, [usize; 2]);

impl Anatomy {
    /// All that the search finds, in a fixed order.
    fn parts(&self) -> Vec<Part<'_>> {
        let mut parts: Vec<Part<'_>> = Vec::new();
        let mut put = |site, sizes| parts.push((site, sizes));
        for site in [&self.tokens, &self.logits].into_iter().chain(&self.inputs) {
            put(Some(site), [0; 2]);
        }
        for site in [&self.positions, &self.output]
            .into_iter()
            .chain(&self.attention)
        {
            put(site.as_ref(), [0; 2]);
        }
        for heads in &self.heads {
            let sizes = heads.as_ref().map_or([0; 2], |heads| [heads.head, heads.n]);
            put(heads.as_ref().map(|heads| &heads.site), sizes);
        }
        for mlp in &self.mlps {
            put(
                mlp.as_ref().ok(),
                [usize::from(*mlp == Err(NoMlp::None)); 2],
            );
        }
        for mask in &self.masks {
            let sizes = mask
                .as_ref()
                .map_or([0; 2], |m| [m.operand, m.cache as usize]);
            put(mask.as_ref().map(|mask| &mask.site), sizes);
        }
        for cache in self.keys.iter().chain(&self.values) {
            let head = cache.as_ref().map_or(0, |cache| cache.head);
            put(cache.as_ref().map(|cache| &cache.site), [head; 2]);
        }
        parts
    }

    /// Whether another graph's anatomy says the same of the model. `is_that` tells whether the
    /// node of an index here is that of an index there.
    fn is_like(&self, other: &Self, is_that: impl Fn(usize, usize) -> bool) -> bool {
        let same = |(here, there): (Part<'_>, Part<'_>)| {
            let place = match (here.0, there.0) {
                (Some(here), Some(there)) => {
                    let named = here.name == there.name || both_unnamed(&here.name, &there.name);
                    here.op == there.op && named && is_that(here.index, there.index)
                }
                (None, None) => true,
                _ => false,
            };
            place && here.1 == there.1
        };
        let layers = |anatomy: &Self| {
            let writes = anatomy.edges.writes.iter().map(|(_, layer)| *layer);
            let mut layers: Vec<u32> = writes.collect();
            layers.sort_unstable();
            layers
        };
        let kept = |of: &Self| of.edges.kept.as_ref().map(super::Kept::extent);
        let (here, there) = (self.parts(), other.parts());
        here.len() == there.len()
            && here.into_iter().zip(there).all(same)
            && layers(self) == layers(other)
            && self.learned_positions == other.learned_positions
            && self.reads_cache == other.reads_cache
            && self.joined == other.joined
            && self.borrows == other.borrows
            && kept(self) == kept(other)
            && self.edges.chooser.is_some() == other.edges.chooser.is_some()
    }
}

/// Nodes without a name of their own are numbered, which means nothing in another graph.
fn both_unnamed(a: &str, b: &str) -> bool {
    [a, b].iter().all(|name| name.starts_with("node_"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::hook::Record;
    use crate::hook::parts::tests::{VOCAB, WIDTH, layer};

    /// A layer of as many rows, the last of which has logits; its nodes in another order.
    pub(in crate::hook) fn recorded(rows: usize, order: impl Fn(&mut [usize])) -> Recording {
        let (mut graph, _, output, _) = layer(false);
        graph.tensors[output].name = "l_out-0".into();
        for &node in &graph.nodes {
            graph.tensors[node].shape[1] = rows as i64;
        }
        let logits = *graph.nodes.last().unwrap();
        graph.tensors[logits].shape[1] = 1;
        order(&mut graph.nodes);
        graph
    }

    pub(in crate::hook) fn rows(n: u32) -> Vec<Row> {
        let row = |position| Row {
            sequence: 0,
            position,
            token: 0,
            prior: position + 1 < n,
            output: position + 1 == n,
        };
        (0..n).map(row).collect()
    }

    pub(in crate::hook) fn graphs() -> Graphs {
        let size = Size {
            n_layer: 1,
            n_embd: WIDTH as u32,
            n_vocab: VOCAB as u32,
        };
        Graphs::of(recorded(3, |_| ()), size, None).unwrap()
    }

    /// The look at the cache before anything is written to it, which reads nothing yet.
    pub(in crate::hook) fn look_first(nodes: &mut [usize]) {
        nodes[1..4].rotate_right(1);
    }

    #[test]
    fn another_order_is_written_down_once_and_the_latest_is_tried_first() {
        let mut graphs = graphs();
        let first = graphs.first().clone();
        let cut = Cut::head(1);
        let in_first = graphs.roles(&cut).unwrap();
        assert!(graphs.learn(vec![recorded(7, look_first)], &rows(7)));
        assert_eq!(graphs.written(), 2);
        let all: Vec<_> = graphs.all().collect();
        assert!(all.len() == 2 && Arc::ptr_eq(&all[1], &first));
        // The look reads no node; in the first order it comes third.
        let sources = |anatomy: &Anatomy| -> Vec<usize> {
            let nodes = anatomy.edges.nodes.iter();
            nodes.map(|node| node.sources.len()).collect()
        };
        assert_ne!(sources(&all[0]), sources(&first));
        assert_eq!(graphs.roles(&cut).unwrap().len(), in_first.len());

        // Both orders, in two micro-batches of one batch.
        let both = vec![recorded(5, look_first), recorded(6, |_| ())];
        assert!(graphs.learn(both, &rows(11)));
        assert_eq!(graphs.written(), 2);
        assert!(Arc::ptr_eq(&graphs.all().next().unwrap(), &first));
        graphs.fitted(&all[0]);
        assert!(Arc::ptr_eq(&graphs.all().next().unwrap(), &all[0]));
    }

    #[test]
    fn an_order_that_computes_something_else_is_refused() {
        let mut graphs = graphs();
        let mut refused = |order: fn(&mut [usize])| {
            assert!(!graphs.learn(vec![recorded(7, order)], &rows(7)));
            assert_eq!(graphs.written(), 1);
        };
        // Attention before the keys are written; the sum before what is added.
        refused(|nodes| nodes[2..5].rotate_left(1));
        refused(|nodes| nodes.swap(5, 6));
    }

    /// The same model with a node more.
    #[test]
    fn another_graph_is_known_by_rows_that_are_nothing_else() {
        let mut graphs = graphs();
        let more = |n: usize| {
            let mut graph = recorded(n, |_| ());
            let mut logits = graph.tensors.pop().unwrap();
            let last = graph.nodes.pop().unwrap();
            let output = logits.sources[1];
            graph.tensors.push(Record {
                name: "result_norm".into(),
                sources: vec![output],
                op: sys::GGML_OP_RMS_NORM,
                ..graph.tensors[output].clone()
            });
            logits.sources[1] = last;
            graph.tensors.push(logits);
            graph.nodes.extend([last, last + 1]);
            graph
        };
        // Three is the height of a weight, eight the width of a state.
        for n in [3, 8] {
            assert!(!graphs.learn(vec![more(n)], &rows(n as u32)), "{n}");
        }
        // Logits of one row where two were asked for.
        let mut two = rows(7);
        two[3].output = true;
        assert!(!graphs.learn(vec![more(7)], &two));
        assert!(graphs.learn(vec![more(7)], &rows(7)));
        assert_eq!(graphs.written(), 2);
        assert!(graphs.learn(vec![more(9)], &rows(9)));
        assert_eq!(graphs.written(), 2);
    }
}
