//! Faults on purpose, so that the self-test can be seen to find them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A fault of the kind that the self-test exists to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sabotage {
    /// Every site is taken for that of the layer below it.
    LayerOffByOne,
    /// Every row is taken for the one that follows it.
    RowsShifted,
    /// Nothing is written at the last layer's site.
    SiteSkipped,
    /// When a graph is computed in part, the first row's cells keep what a clean run left.
    StaleCell,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Sabotage; 4] = [
        Sabotage::LayerOffByOne,
        Sabotage::RowsShifted,
        Sabotage::SiteSkipped,
        Sabotage::StaleCell,
    ];
}

impl fmt::Display for Sabotage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sabotage::LayerOffByOne => "layer-off-by-one",
            Sabotage::RowsShifted => "rows-shifted",
            Sabotage::SiteSkipped => "site-skipped",
            Sabotage::StaleCell => "stale-cell",
        })
    }
}

impl FromStr for Sabotage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|s| s.to_string() == text);
        found.ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(ToString::to_string).collect();
            format!("'{text}' is no fault; choose from {}", names.join(", "))
        })
    }
}
