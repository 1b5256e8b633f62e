//! Which groups of items belong to which part: neighbours, so that a part needs few models and
//! the parts one after another are the run's own order.

use std::ops::Range;

/// Divides groups that run in this order into so many pieces, whose largest is as small as it can
/// be. What each group takes decides, nothing else: the pieces are the same on every machine.
/// With fewer groups than pieces the last pieces are empty.
pub fn pieces(works: &[f64], count: usize) -> Vec<Range<usize>> {
    // Whole numbers, whose sums do not depend on the order of adding.
    let works: Vec<u64> = works
        .iter()
        .map(|work| (work.ceil() as u64).max(1))
        .collect();
    let (mut fits, mut least) = (
        works.iter().sum::<u64>(),
        works.iter().copied().max().unwrap_or(0),
    );
    while least < fits {
        let middle = u64::midpoint(least, fits);
        if needed(&works, middle) <= count {
            fits = middle;
        } else {
            least = middle + 1;
        }
    }
    let mut pieces = Vec::new();
    let mut start = 0;
    for left in (0..count).rev() {
        let (mut end, mut sum) = (start, 0);
        // None of those that follow is to be empty while there are groups for it.
        while end < works.len()
            && sum + works[end] <= fits
            && (end == start || works.len() - end > left)
        {
            sum += works[end];
            end += 1;
        }
        pieces.push(start..end);
        start = end;
    }
    pieces
}

/// How many pieces of at most so much there are.
fn needed(works: &[u64], most: u64) -> usize {
    let (mut pieces, mut sum) = (0, 0);
    for work in works {
        if pieces == 0 || sum + work > most {
            (pieces, sum) = (pieces + 1, 0);
        }
        sum += work;
    }
    pieces
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn work_is_shared_out() {
        let cut = |works: &[f64], count| -> Vec<usize> {
            pieces(works, count)
                .into_iter()
                .map(|piece| piece.len())
                .collect()
        };
        assert_eq!(cut(&[1.0; 8], 4), [2, 2, 2, 2]);
        assert_eq!(cut(&[1.0; 7], 3), [3, 3, 1]);
        assert_eq!(cut(&[9.0, 1.0, 1.0, 1.0], 2), [1, 3]);
        assert_eq!(cut(&[1.0, 1.0, 9.0], 3), [1, 1, 1]);
        assert_eq!(cut(&[5.0, 5.0], 4), [1, 1, 0, 0]);
        assert_eq!(cut(&[], 2), [0, 0]);
    }

    proptest! {
        #[test]
        fn every_group_has_one_piece_and_no_division_is_better(
            works in prop::collection::vec(1u32..50, 0..9), count in 1usize..6
        ) {
            let works: Vec<f64> = works.into_iter().map(f64::from).collect();
            let found = pieces(&works, count);
            prop_assert_eq!(found.len(), count);
            let all: Vec<usize> = found.iter().cloned().flatten().collect();
            prop_assert_eq!(all, (0..works.len()).collect::<Vec<_>>());
            let full = found.iter().filter(|piece| !piece.is_empty()).count();
            prop_assert_eq!(full, count.min(works.len()), "a piece is idle");
            let largest = found.iter().map(|piece| works[piece.clone()].iter().sum::<f64>());
            let largest = largest.fold(0.0, f64::max);
            prop_assert_eq!(largest, best(&works, count));
        }
    }

    /// The same by trying all divisions.
    fn best(works: &[f64], count: usize) -> f64 {
        if count == 1 || works.is_empty() {
            return works.iter().sum();
        }
        let first = (0..=works.len()).map(|end| {
            let sum: f64 = works[..end].iter().sum();
            sum.max(best(&works[end..], count - 1))
        });
        first.fold(f64::INFINITY, f64::min)
    }
}
