//! What is done to the rows: manipulations, layer spans, token sets and noise.
//!
//! Pure arithmetic on rows of `f32`; nothing here knows llama.cpp. The vocabulary is that of
//! Ben-Artzy & Schwartz 2024, "Attend First, Consolidate Later" (arXiv 2409.03621): `h[l][i]` is
//! the hidden state of token `i` *entering* layer `l`, prior tokens are all tokens of a text but
//! the last, and `k` is the layer at which a manipulation begins.

mod editor;
mod kind;
mod layers;
mod manipulations;
mod noise;
mod site;
mod table;
mod tokens;

use std::collections::HashMap;
use std::fmt;
use std::mem::discriminant;
use std::sync::Arc;

pub use editor::{Editor, Met, Missed, Shown};
pub use kind::{Extent, Kind, Value};
pub use layers::{LayerList, LayerListError, LayerSpan};
pub use noise::{Part, length, permutation, random_row, shuffle_row};
pub use site::{HeadSet, Site, Sites};
pub use table::{Known, Manipulation, Needs, Parameter, Place, RowEdit, SecondWay, Values};
pub use tokens::PositionSet;

/// A function on one hidden state: `|layer, position, row|`, where `row` is the state of the
/// token at `position` entering `layer` (as many values as the model is wide).
pub type RowFunction = dyn Fn(u32, u32, &mut [f32]) + Send + Sync;

/// A function on the hidden states of many tokens at once: `|layer, positions, rows|`, where `rows`
/// holds a state for each of `positions`, one after the other. It is called once for the rows of a
/// text that are computed together, and again where that is begun anew, since a device had put the
/// graph in an order that was not known; its error, a text, stops the run.
pub type RowsFunction = dyn Fn(u32, &[u32], &mut [f32]) -> Result<(), String> + Send + Sync;

/// Hidden states by (layer, position), each as wide as the model.
#[derive(Clone, Default, Debug, PartialEq)]
pub struct States {
    rows: HashMap<(u32, u32), Arc<[f32]>>,
}

impl States {
    /// No states.
    pub fn new() -> Self {
        Self::default()
    }

    /// The state entering `layer` at `position`, if there is one.
    pub fn get(&self, layer: u32, position: u32) -> Option<&[f32]> {
        self.rows.get(&(layer, position)).map(|row| &**row)
    }

    /// The state entering `layer` at `position`, which must have `width` values.
    ///
    /// # Errors
    /// [`Missed::NotGiven`], [`Missed::Width`].
    pub(crate) fn fitting(
        &self,
        layer: u32,
        position: u32,
        width: usize,
    ) -> Result<&[f32], Missed> {
        let given = self.get(layer, position);
        let given = given.ok_or(Missed::NotGiven { layer, position })?;
        if given.len() != width {
            return Err(Missed::Width {
                layer,
                position,
                given: given.len(),
                width,
            });
        }
        Ok(given)
    }

    /// Stores the state entering `layer` at `position`, replacing an earlier one.
    pub fn insert(&mut self, layer: u32, position: u32, row: impl Into<Arc<[f32]>>) {
        self.rows.insert((layer, position), row.into());
    }

    /// Takes over another's states; they win where both have one.
    pub fn extend(&mut self, other: Self) {
        self.rows.extend(other.rows);
    }

    /// The states at `layers` of the first `positions` tokens in one array, by layer, then by
    /// token, and their width.
    ///
    /// # Errors
    /// [`Missed`] for the first that is not held, or is of another width than the first.
    pub fn stacked(&self, layers: &[u32], positions: u32) -> Result<(Vec<f32>, usize), Missed> {
        let first = layers.first().and_then(|layer| self.get(*layer, 0));
        let width = first.map_or(0, <[f32]>::len);
        let mut all = Vec::with_capacity(layers.len() * positions as usize * width);
        for &layer in layers {
            for position in 0..positions {
                all.extend_from_slice(self.fitting(layer, position, width)?);
            }
        }
        Ok((all, width))
    }

    /// How many states are held.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether no state is held.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All states with their (layer, position), in no order.
    pub fn iter(&self) -> impl Iterator<Item = ((u32, u32), &[f32])> {
        self.rows.iter().map(|(at, row)| (*at, &**row))
    }

    /// The same states at other positions: `moves` holds (from, to) pairs, other positions are
    /// left out. This is how a donor's tokens are aligned with the tokens they replace.
    pub fn moved(&self, moves: &[(u32, u32)]) -> Self {
        let mut moved = Self::new();
        for (&(layer, position), row) in &self.rows {
            for &(from, to) in moves {
                if from == position {
                    moved.rows.insert((layer, to), row.clone());
                }
            }
        }
        moved
    }
}

/// What an [`Editor`] is shown of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// The state entering the layer.
    Input,
    /// What attention adds to the residual stream.
    Attention,
    /// Which tokens attention sees.
    Mask,
    /// What the MLP adds to the residual stream.
    Mlp,
    /// The rows that attention's output projection reads, head by head.
    Heads,
    /// Keys on their way into the cache.
    Keys,
    /// Values on their way into the cache.
    Values,
}

impl Target {
    /// Whether it is what a layer adds to the residual stream, or a part of that: in the last
    /// layer nothing reads it but the logits of its own token.
    pub fn is_added(self) -> bool {
        matches!(self, Target::Attention | Target::Mlp | Target::Heads)
    }
}

/// What happens to a row.
#[derive(Clone)]
pub enum Action {
    /// `h[l][i]` becomes the state that entered layer `k - 1`, for every layer of the span
    /// (`k` is the span's first layer, so it must be at least 1).
    Freeze,
    /// The row becomes the given one; positions of the token set without a given row are an
    /// error. Injection from a donor prompt is this with the donor's states.
    Given(Arc<States>),
    /// The attention sub-layer adds nothing to the residual stream; the MLP runs as usual.
    SkipAttention,
    /// Attention does not see the token set's positions; each token still sees itself.
    Hide,
    /// Each row is rewritten by itself, as a manipulation of the table says.
    Row(RowEdit),
    /// The caller's own function.
    Custom(Arc<RowFunction>),
    /// The caller's own function of all rows of a layer at once.
    CustomRows(Arc<RowsFunction>),
}

impl Action {
    /// Whether the action applies to the last token too.
    pub fn touches_last(&self) -> bool {
        matches!(self, Action::SkipAttention)
    }

    /// The manipulation of the table that has this action, the first one where several have;
    /// `None` for the caller's own function.
    pub fn kind(&self) -> Option<Kind> {
        match self {
            Action::Row(edit) => Some(edit.kind),
            other => {
                let own = |kind: &Kind| discriminant(&kind.action(0, None)) == discriminant(other);
                Kind::ALL.into_iter().find(own)
            }
        }
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Given(states) => write!(f, "given({} rows)", states.len()),
            Action::Row(edit) if edit.kind.has_seed() => {
                write!(f, "{}(seed {})", edit.kind, edit.seed)
            }
            Action::Freeze | Action::SkipAttention | Action::Hide | Action::Row(_) => {
                let kind = self.kind().expect("actions of the table");
                write!(f, "{kind}")
            }
            Action::Custom(_) | Action::CustomRows(_) => write!(f, "custom"),
        }
    }
}

/// One manipulation of one text: what, at which layers, at which positions.
#[derive(Clone, Debug)]
pub struct Intervention {
    /// What happens to each row.
    pub action: Action,
    /// Rows of what. Skip-attention and hide have their own places, whatever this says.
    pub site: Site,
    /// At which layers.
    pub layers: LayerSpan,
    /// At which positions. The last token is left alone whatever this says, except by
    /// [`Action::SkipAttention`]. [`Action::Hide`] hides these from all that come after them.
    pub tokens: PositionSet,
}

impl Intervention {
    /// An intervention on all prior tokens.
    pub fn new(action: Action, layers: LayerSpan) -> Self {
        Self {
            action,
            site: Site::Residual,
            layers,
            tokens: PositionSet::all(),
        }
    }

    /// The same intervention on another site. Heads, keys and values are rewritten head by head:
    /// noise keeps each head's norm, a shuffle stays within a head. Freeze of keys and values
    /// means those computed from the saved residual state.
    pub fn on(mut self, site: Site) -> Self {
        self.site = site;
        self
    }

    /// What of a layer the intervention rewrites.
    pub fn target(&self) -> Target {
        match (&self.action, self.site) {
            (Action::SkipAttention, _) => Target::Attention,
            (Action::Hide, _) => Target::Mask,
            (_, site) => site.target(),
        }
    }

    /// The heads that it rewrites, where not all are.
    pub fn some_heads(&self) -> Option<HeadSet> {
        let heads = self.site.some_heads();
        heads.filter(|_| self.target() == Target::Heads)
    }

    /// The same intervention at other positions.
    pub fn at(mut self, tokens: PositionSet) -> Self {
        self.tokens = tokens;
        self
    }

    /// Replaces states entering layer `k` by given ones at `tokens`.
    pub fn given(k: u32, states: Arc<States>, tokens: PositionSet) -> Self {
        Self::new(Action::Given(states), LayerSpan::only(k)).at(tokens)
    }

    /// Applies a function of the caller to all prior tokens' states entering layer `k`.
    pub fn custom(k: u32, f: impl Fn(u32, u32, &mut [f32]) + Send + Sync + 'static) -> Self {
        Self::new(Action::Custom(Arc::new(f)), LayerSpan::only(k))
    }

    /// Applies a function of the caller to all prior tokens' states entering layer `k`, all of
    /// those that are computed together at once.
    pub fn custom_rows(
        k: u32,
        f: impl Fn(u32, &[u32], &mut [f32]) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self::new(Action::CustomRows(Arc::new(f)), LayerSpan::only(k))
    }

    /// The lowest layer of which it must see the state that enters it.
    pub fn first_seen(&self) -> u32 {
        match self.action {
            Action::Freeze => self.layers.first.saturating_sub(1),
            _ => self.layers.first,
        }
    }

    /// Whether both do the same to the positions below `end`, given the same states there.
    pub fn same_below(&self, other: &Self, end: u32) -> bool {
        let same_action = match (&self.action, &other.action) {
            (Action::Freeze, Action::Freeze)
            | (Action::SkipAttention, Action::SkipAttention)
            | (Action::Hide, Action::Hide) => true,
            (Action::Row(a), Action::Row(b)) => a.is_same(b),
            (Action::Given(a), Action::Given(b)) => Arc::ptr_eq(a, b),
            (Action::Custom(a), Action::Custom(b)) => Arc::ptr_eq(a, b),
            (Action::CustomRows(a), Action::CustomRows(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        same_action
            && self.target() == other.target()
            && self.some_heads() == other.some_heads()
            && self.layers == other.layers
            && self.tokens.below_only(end) == other.tokens.below_only(end)
    }

    /// Checks the intervention against a model of `n_layer` layers.
    ///
    /// # Errors
    /// [`PlanError`] names the layer and the limit.
    pub fn check(&self, n_layer: u32) -> Result<(), PlanError> {
        if self.layers.first >= n_layer {
            return Err(PlanError::LayerOutOfRange {
                layer: self.layers.first,
                last: n_layer.saturating_sub(1),
            });
        }
        if matches!(self.action, Action::Freeze) && self.layers.first == 0 {
            return Err(PlanError::FreezeAtZero);
        }
        Ok(())
    }
}

/// An intervention that cannot be carried out on a model.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PlanError {
    /// The layer does not exist.
    #[error("layer {layer} is out of range: the model's layers are 0 to {last} (`layers`)")]
    LayerOutOfRange {
        /// The layer asked for.
        layer: u32,
        /// The model's last layer.
        last: u32,
    },
    /// Freeze copies the state that entered the layer below.
    #[error(
        "freeze is not defined at layer 0: there is no state below it to copy; begin with layer 1 (`layers`)"
    )]
    FreezeAtZero,
}
