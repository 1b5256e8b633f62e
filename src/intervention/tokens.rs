//! Sets of token positions.

use std::ops::Range;

/// Positions of a text, as sorted disjoint half-open ranges. The set speaks about positions
/// only; that the last token is left alone is the rule of the place that applies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionSet(Vec<Range<u32>>);

impl PositionSet {
    /// Every position, tokens generated later included.
    pub fn all() -> Self {
        Self(vec![0..u32::MAX])
    }

    /// No position.
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Every position but the first `n` (attention sinks).
    pub fn all_but_first(n: u32) -> Self {
        Self(vec![n..u32::MAX])
    }

    /// Every position below `end`: a prompt's tokens without those generated later.
    pub fn below(end: u32) -> Self {
        Self(vec![0..end])
    }

    /// The positions of several ranges.
    pub fn ranges(ranges: impl IntoIterator<Item = Range<u32>>) -> Self {
        let mut ranges: Vec<_> = ranges.into_iter().filter(|r| r.start < r.end).collect();
        ranges.sort_by_key(|r| r.start);
        let mut merged: Vec<Range<u32>> = Vec::new();
        for range in ranges {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        Self(merged)
    }

    /// The ranges, sorted and disjoint; an open end is `u32::MAX`.
    pub fn as_ranges(&self) -> &[Range<u32>] {
        &self.0
    }

    /// Whether the set holds `position`.
    pub fn contains(&self, position: u32) -> bool {
        self.0.iter().any(|r| r.contains(&position))
    }

    /// Every position that the set does not hold.
    pub fn others(&self) -> Self {
        let starts = std::iter::once(0).chain(self.0.iter().map(|r| r.end));
        let ends = self.0.iter().map(|r| r.start).chain([u32::MAX]);
        Self::ranges(starts.zip(ends).map(|(start, end)| start..end))
    }

    /// The positions of the set that are below `end`.
    pub fn below_only(&self, end: u32) -> Self {
        Self::ranges(self.0.iter().map(|r| r.start..r.end.min(end)))
    }

    /// The lowest position of the set.
    pub fn first(&self) -> Option<u32> {
        self.0.first().map(|r| r.start)
    }

    /// How many positions below `end` the set holds.
    pub fn count_below(&self, end: u32) -> u32 {
        self.0
            .iter()
            .map(|r| r.end.min(end).saturating_sub(r.start))
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_merge() {
        let set = PositionSet::ranges([5..7, 0..2, 6..9, 3..3]);
        assert_eq!(set, PositionSet(vec![0..2, 5..9]));
        assert!(set.contains(8) && !set.contains(9) && !set.contains(3));
        assert_eq!(set.count_below(6), 3);
        assert_eq!(PositionSet::none().count_below(9), 0);
        assert_eq!(PositionSet::all_but_first(4).count_below(10), 6);
        assert_eq!(set.others(), PositionSet(vec![2..5, 9..u32::MAX]));
        assert_eq!(set.others().others(), set);
        assert_eq!(PositionSet::all().others(), PositionSet::none());
        assert_eq!(PositionSet::none().others(), PositionSet::all());
    }
}
