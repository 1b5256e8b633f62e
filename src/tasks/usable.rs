//! Which items of a file are asked.

use std::collections::{BTreeSet, HashSet};

use super::data::spread;
use super::{Item, ItemSet};
use crate::engine::EngineError;

/// `limit` items that can be used, spread evenly over `all`, or as many as there are. For those
/// that cannot, others are tried, spread over what is left. `make` gives the item or says why
/// there is none.
///
/// # Errors
/// The first of `make`.
pub(super) fn usable<T>(
    all: &[T],
    id: impl Fn(&T) -> &str,
    limit: usize,
    mut make: impl FnMut(&T) -> Result<Result<Item, String>, EngineError>,
) -> Result<ItemSet, EngineError> {
    let mut set = ItemSet::default();
    let mut known = HashSet::new();
    let mut left: Vec<usize> = Vec::new();
    for (n, of) in all.iter().enumerate() {
        if known.insert(id(of)) {
            left.push(n);
        } else {
            let reason = "another item has the same id";
            set.left_out.push((id(of).to_string(), reason.into()));
        }
    }
    let mut made: Vec<(usize, Item)> = Vec::new();
    while made.len() < limit && !left.is_empty() {
        let tried: BTreeSet<usize> = spread(&left, limit - made.len()).copied().collect();
        left.retain(|n| !tried.contains(n));
        for n in tried {
            match make(&all[n])? {
                Ok(item) => made.push((n, item)),
                Err(reason) => set.left_out.push((id(&all[n]).to_string(), reason)),
            }
        }
    }
    made.sort_by_key(|(n, _)| *n);
    set.items = made.into_iter().map(|(_, item)| item).collect();
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, Mock};
    use crate::tasks::{Parts, Scoring, answer_after};

    fn of(all: &[(&str, bool)], limit: usize) -> (Vec<String>, Vec<String>) {
        let engine = Mock::new(2);
        let set = usable(
            all,
            |(id, _)| id,
            limit,
            |(id, fine)| {
                if !fine {
                    return Ok(Err("no".into()));
                }
                let prompt = engine.prompt("a b")?;
                let answer = answer_after(engine.tokenizer(), &prompt, "c", &[])?;
                Ok(answer.map(|answer| Item {
                    id: (*id).into(),
                    prompt,
                    answer,
                    scoring: Scoring::FirstToken,
                    cut: false,
                    foils: Vec::new(),
                    parts: Parts::new(),
                    swap: None,
                }))
            },
        );
        let set = set.unwrap();
        let ids = set.items.into_iter().map(|item| item.id).collect();
        let left_out = set.left_out.into_iter().map(|(id, _)| id).collect();
        (ids, left_out)
    }

    #[test]
    fn others_take_the_places_of_items_that_cannot_be_used() {
        let fine = |id| (id, true);
        let all = ["a", "b", "c", "d", "e", "f"].map(fine);
        assert_eq!(
            of(&all, 3),
            (vec!["a".into(), "c".into(), "e".into()], vec![])
        );
        let mut some = all;
        (some[0].1, some[2].1) = (false, false);
        let (ids, left_out) = of(&some, 3);
        assert_eq!((ids.len(), left_out), (3, vec!["a".into(), "c".into()]));
        assert!(ids.is_sorted(), "in the order of the file: {ids:?}");
        let (ids, left_out) = of(&some, 99);
        assert_eq!((ids.len(), left_out.len()), (4, 2), "all that there are");
        assert_eq!(of(&[("a", false)], 5).0.len(), 0);
    }

    #[test]
    fn the_first_of_one_id_is_taken() {
        let all = [("a", true), ("b", true), ("a", true), ("c", true)];
        let (ids, left_out) = of(&all, 3);
        assert_eq!(
            (ids, left_out),
            (vec!["a".into(), "b".into(), "c".into()], vec!["a".into()])
        );
    }
}
