//! The manipulations by name, as a user asks for them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Action, Intervention, LayerSpan, PositionSet, States};

/// A manipulation by name. [`Kind::intervention`] gives it a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// See [`Action::Freeze`].
    Freeze,
    /// See [`Action::Random`].
    Random,
    /// See [`Action::Shuffle`].
    Shuffle,
    /// See [`Action::SkipAttention`].
    SkipAttention,
    /// [`Action::Given`] with the states of a donor prompt.
    Inject,
    /// See [`Action::Zero`].
    Zero,
    /// [`Action::Given`] with the states of a neutral text of the same length.
    Filler,
}

/// Which layers a manipulation acts on, seen from its layer `k`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// As in the paper: freeze and skip-attention from `k` up, the others at `k` alone.
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

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 7] = [
        Kind::Freeze,
        Kind::Random,
        Kind::Shuffle,
        Kind::SkipAttention,
        Kind::Inject,
        Kind::Zero,
        Kind::Filler,
    ];

    /// Whether results depend on a seed.
    pub fn has_seed(self) -> bool {
        matches!(self, Kind::Random | Kind::Shuffle)
    }

    /// The lowest layer at which it is defined.
    pub fn first_layer(self) -> u32 {
        match self {
            Kind::Freeze => 1,
            _ => 0,
        }
    }

    /// The manipulation at layer `k` on `tokens`. `donor` holds the states that `inject`
    /// or `filler` puts there; without them nothing is given, and running the intervention is an
    /// error.
    pub fn intervention(
        self,
        k: u32,
        seed: u64,
        extent: Extent,
        tokens: PositionSet,
        donor: Option<Arc<States>>,
    ) -> Intervention {
        let action = match self {
            Kind::Freeze => Action::Freeze,
            Kind::Random => Action::Random { seed },
            Kind::Shuffle => Action::Shuffle { seed },
            Kind::SkipAttention => Action::SkipAttention,
            Kind::Inject | Kind::Filler => Action::Given(donor.unwrap_or_default()),
            Kind::Zero => Action::Zero,
        };
        let upward = matches!(self, Kind::Freeze | Kind::SkipAttention);
        let layers = match extent {
            Extent::Paper if upward => LayerSpan::from(k),
            Extent::Paper | Extent::Only => LayerSpan::only(k),
            Extent::From => LayerSpan::from(k),
            Extent::Window(width) => LayerSpan::window(k, width),
        };
        Intervention::new(action, layers).at(tokens)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Freeze => "freeze",
            Kind::Random => "random",
            Kind::Shuffle => "shuffle",
            Kind::SkipAttention => "skip-attention",
            Kind::Inject => "inject",
            Kind::Zero => "zero",
            Kind::Filler => "filler",
        })
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.to_string() == text)
            .ok_or_else(|| {
                let names: Vec<_> = Self::ALL.iter().map(ToString::to_string).collect();
                format!(
                    "'{text}' is not a manipulation; choose from {}",
                    names.join(", ")
                )
            })
    }
}
