//! A manipulation with its parameters, as a user asks for it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::manipulations::TABLE;
use super::{
    Action, Intervention, Manipulation, Needs, PositionSet, RowEdit, Site, States, Values,
};

mod text;

/// Parameters of a manipulation at most.
const MOST: usize = 4;

/// A manipulation of the table with its parameters, written and stored as `scale:factor=0.5`.
/// [`Kind::intervention`] gives it a layer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Kind {
    number: u8,
    /// Bits of the parameters that were given; of a word its place in the list.
    given: [u64; MOST],
}

/// The bits of a parameter that has its default: no finite number's.
const DEFAULT: u64 = u64::MAX;

/// Which layers a manipulation acts on, seen from its layer `k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// As in the paper: some manipulations from `k` up, the others at `k` alone.
    Paper,
    /// From `k` up.
    From,
    /// At `k` alone.
    Only,
    /// At `k` and the layers above it, so many in all.
    Window(u32),
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Extent::Paper => f.write_str("paper"),
            Extent::From => f.write_str("from"),
            Extent::Only => f.write_str("only"),
            Extent::Window(width) => write!(f, "window:{width}"),
        }
    }
}

impl FromStr for Extent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let window = text.strip_prefix("window:").map(str::parse::<u32>);
        match (text, window) {
            ("paper", _) => Ok(Extent::Paper),
            ("from", _) => Ok(Extent::From),
            ("only", _) => Ok(Extent::Only),
            (_, Some(Ok(width))) if width > 0 => Ok(Extent::Window(width)),
            _ => Err(format!(
                "'{text}' is not an extent; write paper, from, only or window:N"
            )),
        }
    }
}

/// The value of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Value {
    /// A number.
    Number(f64),
    /// A word.
    Word(&'static str),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => number.fmt(f),
            Value::Word(word) => f.write_str(word),
        }
    }
}

impl Kind {
    /// The manipulation of this number, with its defaults.
    pub(super) const fn numbered(number: u8) -> Self {
        Self {
            number,
            given: [DEFAULT; MOST],
        }
    }

    /// What the table says of it.
    pub fn manipulation(self) -> &'static dyn Manipulation {
        TABLE[usize::from(self.number)]
    }

    /// Its name, without parameters.
    pub fn name(self) -> &'static str {
        self.manipulation().name()
    }

    /// The same manipulation with the defaults of its parameters.
    pub fn with_defaults(self) -> Self {
        Self::numbered(self.number)
    }

    /// The value of the parameter of this name.
    ///
    /// # Panics
    /// When the manipulation has no such parameter.
    pub fn parameter(self, name: &str) -> Value {
        let mut all = self.manipulation().parameters().iter().zip(self.given);
        let found = all.find(|(parameter, _)| parameter.name == name);
        let (parameter, bits) = found.expect("a manipulation asks for its own parameters");
        value(&parameter.values, bits)
    }

    /// The value of a parameter that is a number.
    ///
    /// # Panics
    /// When the manipulation has no such parameter.
    pub fn number(self, name: &str) -> f64 {
        match self.parameter(name) {
            Value::Number(number) => number,
            Value::Word(_) => panic!("{name} is a word"),
        }
    }

    /// The parameters that differ from their defaults.
    pub fn given(self) -> impl Iterator<Item = (&'static str, Value)> {
        let all = self.manipulation().parameters().iter().zip(self.given);
        let given = all.filter(|(_, bits)| *bits != DEFAULT);
        given.map(|(parameter, bits)| (parameter.name, value(&parameter.values, bits)))
    }

    /// The same manipulation with a parameter set to `text`.
    ///
    /// # Errors
    /// Says which parameters, or which values, there are.
    pub fn with(mut self, name: &str, text: &str) -> Result<Self, String> {
        let kind = self.name();
        let parameters = self.manipulation().parameters();
        let Some(n) = parameters.iter().position(|p| p.name == name) else {
            let names: Vec<&str> = parameters.iter().map(|p| p.name).collect();
            return Err(match &names[..] {
                [] => format!("{kind} has no parameters, so '{name}' is none"),
                names => format!(
                    "{kind} has no parameter '{name}'; it has {}",
                    names.join(", ")
                ),
            });
        };
        self.given[n] = match parameters[n].values {
            Values::Number { default } => match text.parse::<f64>() {
                Ok(number) if number == default => DEFAULT,
                Ok(number) if number.is_finite() => number.to_bits(),
                _ => return Err(format!("'{text}' is not a number ({kind}:{name})")),
            },
            Values::Words(words) => match words.iter().position(|word| *word == text) {
                Some(0) => DEFAULT,
                Some(n) => n as u64,
                None => {
                    let words = words.join(", ");
                    return Err(format!("{kind}:{name} is one of {words}, not '{text}'"));
                }
            },
        };
        Ok(self)
    }

    /// Whether a parameter is this word.
    ///
    /// # Panics
    /// When the manipulation has no such parameter.
    pub fn is_word(self, name: &str, word: &str) -> bool {
        matches!(self.parameter(name), Value::Word(own) if own == word)
    }

    /// The positions that it rewrites when `chosen` are asked for, among `prior` prior tokens.
    /// None are left where there is no other place for what acts elsewhere.
    pub fn places(self, seed: u64, chosen: &PositionSet, prior: u32) -> PositionSet {
        let places = self.manipulation();
        let places = places.places(&self.edit(seed, None), chosen, prior);
        match self.manipulation().needs() {
            // States are known for the prompt alone: what follows it stays clean.
            Needs::Donor | Needs::Filler | Needs::Scaffold | Needs::Mean => {
                places.below_only(prior + 1)
            }
            Needs::Nothing | Needs::Direction => places,
        }
    }

    fn edit(self, seed: u64, states: Option<Arc<States>>) -> RowEdit {
        RowEdit {
            kind: self,
            seed: if self.has_seed() { seed } else { 0 },
            states,
        }
    }

    /// What is done to rows. `states` are those that it needs; without them nothing is given,
    /// and running the action is an error.
    pub fn action(self, seed: u64, states: Option<Arc<States>>) -> Action {
        self.manipulation().action(self.edit(seed, states))
    }

    /// The manipulation at layer `k` on `tokens`; see [`Self::action`] for `states`.
    pub fn intervention(
        self,
        k: u32,
        seed: u64,
        extent: Extent,
        tokens: PositionSet,
        states: Option<Arc<States>>,
    ) -> Intervention {
        let layers = self.manipulation().layers(k, extent);
        Intervention::new(self.action(seed, states), layers).at(tokens)
    }

    /// The same manipulation with the parameters of one that has the same.
    fn with_parameters_of(self, other: Self) -> Self {
        Self {
            given: other.given,
            ..self
        }
    }

    /// These manipulations, each followed by the control that belongs beside it, where it has one
    /// that is not among them.
    pub fn with_controls(kinds: &[Self]) -> Vec<Self> {
        let mut all = Vec::new();
        for &kind in kinds {
            all.push(kind);
            let is_control = |of: &Self| of.manipulation().is_control_of(kind.manipulation());
            let control = Self::ALL.into_iter().find(is_control);
            let control = control.map(|control| control.with_parameters_of(kind));
            all.extend(control.filter(|control| !kinds.contains(control)));
        }
        all
    }

    /// Whether results depend on a seed.
    pub fn has_seed(self) -> bool {
        self.manipulation().has_seed()
    }

    /// The lowest layer at which it is defined.
    pub fn first_layer(self) -> u32 {
        self.manipulation().first_layer()
    }

    /// Whether it is defined at layer `k` of a model with `n_layer` layers.
    pub fn is_defined(self, k: u32, n_layer: u32) -> bool {
        k >= self.first_layer() && k.saturating_add(self.manipulation().layers_above()) < n_layer
    }

    /// What draws a map unless another is named: the first that is noise.
    pub fn noise() -> Self {
        Self::first(Self::has_seed)
    }

    /// What puts another run's states in place of a prompt's own.
    pub fn patch() -> Self {
        Self::first(Self::has_donor)
    }

    /// What corrupts a prompt unless another is named.
    pub fn corruption() -> Self {
        Self::first(|kind| kind.manipulation().corrupts())
    }

    /// What rewrites a state by itself: a control.
    pub fn control() -> Self {
        Self::first(|kind| kind.manipulation().changes_nothing())
    }

    fn first(is: impl Fn(Self) -> bool) -> Self {
        let mut all = Self::ALL.into_iter();
        all.find(|kind| is(*kind)).expect("the table has one")
    }

    /// Whether it takes the states of a donor prompt, which has an answer of its own.
    pub fn has_donor(self) -> bool {
        self.manipulation().needs() == Needs::Donor
    }

    /// What tells apart, in figures, one manipulation with several parameters: from -0.5, much
    /// darker, to 0.5, much lighter; 0 for the defaults.
    pub fn tint(self) -> f64 {
        if self == self.with_defaults() {
            return 0.0;
        }
        let mixed = self.given.iter().fold(0u64, |sum, bits| {
            (sum ^ bits)
                .wrapping_mul(0x9e37_79b9_7f4a_7c15)
                .rotate_left(23)
        });
        [-0.45, -0.25, 0.25, 0.4, 0.55][(mixed % 5) as usize]
    }

    /// Whether it rewrites rows of `site`.
    pub fn has_site(self, site: Site) -> bool {
        let mut sites = self.manipulation().sites().iter();
        sites.any(|own| own.is_kind_of(site))
    }

    /// Says why it cannot be asked for at `site`, if it cannot. (What has a place of its own takes
    /// any.)
    ///
    /// # Errors
    /// The reason.
    pub fn check_site(self, site: Site) -> Result<(), String> {
        let own_place = matches!(self.action(0, None), Action::SkipAttention | Action::Hide);
        if own_place || self.has_site(site) {
            return Ok(());
        }
        let sites = self.manipulation().sites().iter();
        let sites: Vec<String> = sites.map(Site::to_string).collect();
        Err(format!(
            "{self} does not rewrite {site}; it rewrites {}",
            sites.join(", ")
        ))
    }

    /// The first manipulation of the table that differs from this one at most in which states it
    /// is given.
    pub fn carried_out_as(self) -> Self {
        let gives = |kind: Kind| matches!(kind.action(0, None), Action::Given(_));
        match gives(self) {
            true => Self::ALL
                .into_iter()
                .find(|kind| gives(*kind))
                .unwrap_or(self),
            false => self,
        }
    }

    /// The names of all manipulations for which `holds`, as `random, shuffle`.
    pub fn names(holds: impl Fn(Kind) -> bool) -> String {
        let kinds = Self::ALL.into_iter().filter(|kind| holds(*kind));
        kinds.map(Kind::name).collect::<Vec<_>>().join(", ")
    }
}

fn value(values: &Values, bits: u64) -> Value {
    match values {
        Values::Number { default } if bits == DEFAULT => Value::Number(*default),
        Values::Number { .. } => Value::Number(f64::from_bits(bits)),
        Values::Words(words) if bits == DEFAULT => Value::Word(words[0]),
        Values::Words(words) => Value::Word(words[bits as usize]),
    }
}

#[cfg(test)]
mod tests;
