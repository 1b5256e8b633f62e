//! Maps of a task's items, averaged: by head, or by what a token is to the question.

use std::ops::Range;

use super::{Down, Map};
use crate::stats::{deviation, mean, t_quantile};

/// What a token is to its prompt's subject, the part that the question is about: how tokens of
/// prompts that differ are aligned in causal tracing (Meng et al. 2022, arXiv 2202.05262).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Before the subject.
    Before,
    /// The subject's first token, where it has two or more.
    First,
    /// Those between its first and its last.
    Middle,
    /// Its last token, or its only one.
    Last,
    /// After the subject.
    Between,
    /// The last prior token, where it is after the subject.
    End,
}

impl Role {
    /// In the order of the prompt, which is that of a map's rows.
    pub const ALL: [Role; 6] = [
        Role::Before,
        Role::First,
        Role::Middle,
        Role::Last,
        Role::Between,
        Role::End,
    ];

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Role::Before => "before",
            Role::First => "subject first",
            Role::Middle => "subject middle",
            Role::Last => "subject last",
            Role::Between => "between",
            Role::End => "last prior",
        }
    }

    /// The role of the token at `position`, among `prior` prior tokens.
    pub fn of(position: u32, subject: &Range<u32>, prior: u32) -> Self {
        if position < subject.start {
            Role::Before
        } else if position + 1 == subject.end {
            Role::Last
        } else if position == subject.start {
            Role::First
        } else if position < subject.end {
            Role::Middle
        } else if position + 1 == prior {
            Role::End
        } else {
            Role::Between
        }
    }
}

/// The map of one item.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemMap {
    /// The item's name within its task.
    pub item: String,
    /// Its map, by token or by head.
    pub map: Map,
    /// The token of each row where rows are tokens: its id, its text, its role.
    pub tokens: Vec<(i32, String, Role)>,
}

impl ItemMap {
    /// The map by role: a cell is the mean over the item's tokens of that role. A map by head is
    /// itself.
    fn aligned(&self) -> Map {
        if self.map.down != Down::Tokens {
            return self.map.clone();
        }
        let of_role = |role: Role| {
            let rows = self.map.values.iter().zip(&self.tokens);
            let rows = rows.filter(move |(_, (_, _, own))| *own == role);
            let column = move |layer: usize| {
                let values = rows.clone().filter_map(|(values, _)| values[layer]);
                Some(mean(values)).filter(|mean| !mean.is_nan())
            };
            (0..self.map.layers.len()).map(column).collect()
        };
        Map {
            down: Down::Roles,
            rows: (0..Role::ALL.len() as u32).collect(),
            values: Role::ALL.into_iter().map(of_role).collect(),
            ..self.map.clone()
        }
    }
}

/// Items' maps, averaged.
#[derive(Clone, Debug, PartialEq)]
pub struct Averaged {
    /// The means over items: of each cell, of the measures, and of the items' noise floors, which
    /// the mean's own does not exceed.
    pub mean: Map,
    /// For each cell the 95% interval of its mean over items, by Student's t; `None` of fewer than
    /// two items.
    pub intervals: Vec<Vec<Option<(f64, f64)>>>,
    /// How many items have each cell.
    pub counts: Vec<Vec<usize>>,
}

impl Averaged {
    /// The average of maps of one model at the same layers; `None` of no item.
    pub fn of(items: &[ItemMap]) -> Option<Self> {
        let maps: Vec<Map> = items.iter().map(ItemMap::aligned).collect();
        let first = maps.first()?;
        let cells = |row: usize, layer: usize| -> Vec<f64> {
            let cells = maps.iter().filter_map(|map| map.values[row][layer]);
            cells.collect()
        };
        let (rows, layers) = (first.rows.len(), first.layers.len());
        fn table<T>(rows: usize, layers: usize, of: impl Fn(usize, usize) -> T) -> Vec<Vec<T>> {
            let row = |row| (0..layers).map(|layer| of(row, layer)).collect();
            (0..rows).map(row).collect()
        }
        let over = |of: fn(&Map) -> f64| mean(maps.iter().map(of));
        let corrupted: Option<Vec<f64>> = maps.iter().map(|map| map.corrupted).collect();
        Some(Self {
            mean: Map {
                values: table(rows, layers, |row, layer| {
                    let cells = cells(row, layer);
                    (!cells.is_empty()).then(|| mean(cells))
                }),
                clean: over(|map| map.clean),
                corrupted: corrupted.map(mean),
                floor: over(|map| map.floor),
                says: None,
                ..first.clone()
            },
            intervals: table(rows, layers, |row, layer| interval(&cells(row, layer))),
            counts: table(rows, layers, |row, layer| cells(row, layer).len()),
        })
    }
}

/// The 95% interval of a mean by Student's t.
fn interval(values: &[f64]) -> Option<(f64, f64)> {
    let n = values.len();
    let half = t_quantile(0.975, n.saturating_sub(1)) * deviation(values)? / (n as f64).sqrt();
    let mean = mean(values.iter().copied());
    Some((mean - half, mean + half))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roles_are_told_by_the_subject() {
        let roles = |subject: Range<u32>| -> Vec<Role> {
            let roles = (0..8).map(|at| Role::of(at, &subject, 8));
            roles.collect()
        };
        use Role::*;
        let expected = [Before, Before, First, Middle, Middle, Last, Between, End];
        assert_eq!(roles(2..6), expected);
        let expected = [
            Last, Between, Between, Between, Between, Between, Between, End,
        ];
        assert_eq!(roles(0..1), expected, "one token is the last");
        assert_eq!(
            roles(6..8)[6..],
            [First, Last],
            "a subject that ends the prior tokens"
        );
    }

    fn item(values: Vec<Vec<Option<f64>>>, roles: &[Role], clean: f64) -> ItemMap {
        ItemMap {
            item: "a".into(),
            tokens: roles.iter().map(|role| (1, "x".into(), *role)).collect(),
            map: Map {
                layers: vec![0, 1],
                down: Down::Tokens,
                rows: (0..roles.len() as u32).collect(),
                values,
                clean,
                corrupted: None,
                floor: 0.5,
                says: None,
            },
        }
    }

    #[test]
    fn tokens_of_a_role_are_averaged_before_items_are() {
        use Role::*;
        let one = item(
            vec![
                vec![Some(1.0), None],
                vec![Some(3.0), None],
                vec![Some(8.0), Some(1.0)],
            ],
            &[Before, Before, Last],
            -1.0,
        );
        let two = item(vec![vec![Some(6.0), Some(5.0)]], &[Last], -3.0);
        let all = Averaged::of(&[one, two]).unwrap();
        let role = |role: Role| Role::ALL.iter().position(|own| *own == role).unwrap();
        assert_eq!(all.mean.down, Down::Roles);
        assert_eq!(all.mean.values[role(Before)], [Some(2.0), None]);
        assert_eq!(all.mean.values[role(Last)], [Some(7.0), Some(3.0)]);
        assert_eq!(all.mean.values[role(Middle)], [None, None]);
        assert_eq!(all.counts[role(Last)], [2, 2]);
        assert_eq!((all.mean.clean, all.mean.floor), (-2.0, 0.5));
        assert_eq!(
            all.intervals[role(Before)],
            [None, None],
            "one item has none"
        );
        // The t quantile of one degree of freedom is 12.706, the standard error 1 and 2.
        let (low, high) = all.intervals[role(Last)][1].unwrap();
        assert!((low - (3.0 - 25.412)).abs() < 1e-2 && (high - 28.412).abs() < 1e-2);
        assert!(Averaged::of(&[]).is_none());
    }
}
