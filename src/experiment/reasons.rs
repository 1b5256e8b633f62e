//! Why items are left out.

use std::collections::BTreeMap;
use std::fmt;

/// Reasons with how many items have each, the most frequent first, as
/// `it does not fit the context (12), it has no answer (1)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reasons(Vec<(String, usize)>);

impl Reasons {
    /// Counts reasons.
    pub fn of<'r>(reasons: impl IntoIterator<Item = &'r str>) -> Self {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for reason in reasons {
            *counts.entry(reason).or_default() += 1;
        }
        counts.into_iter().collect()
    }

    /// How many items there are in all.
    pub fn count(&self) -> usize {
        self.0.iter().map(|(_, n)| n).sum()
    }
}

impl<R: Into<String>> FromIterator<(R, usize)> for Reasons {
    fn from_iter<I: IntoIterator<Item = (R, usize)>>(counts: I) -> Self {
        let counts = counts.into_iter().map(|(reason, n)| (reason.into(), n));
        let mut counts: Vec<_> = counts.collect();
        counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        Self(counts)
    }
}

impl fmt::Display for Reasons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = self.0.iter().map(|(reason, n)| format!("{reason} ({n})"));
        f.write_str(&each.collect::<Vec<_>>().join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_the_most_frequent_first() {
        let reasons = Reasons::of(["b", "a", "b", "c"]);
        assert_eq!(reasons.to_string(), "b (2), a (1), c (1)");
        assert_eq!(reasons.count(), 4);
    }
}
