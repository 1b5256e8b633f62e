//! Math: addition and subtraction of one- and two-digit numbers, `7 + 5 = 12\n3 + 4 =`.

use std::collections::BTreeSet;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    Asked, Item, ItemSet, Metric, Parts, Room, Scoring, Task, TaskError, TaskSpec, answer_after,
    prompt_for,
};
use crate::engine::{EngineError, Tokenizer, Wording};

/// The math task.
#[derive(Clone, Copy, Debug)]
pub struct Math {
    /// Examples before the question.
    pub shots: usize,
    /// How the prompt is worded.
    pub wording: Wording,
    /// What a prompt and its answer must fit.
    pub room: Room,
    /// The largest operand.
    pub max: u32,
    /// Seed of the questions and of the examples.
    pub seed: u64,
}

/// The task, as the list of tasks has it.
pub(super) struct Entry;

impl Task for Entry {
    fn sentence(&self) -> &'static str {
        "addition and subtraction of small numbers"
    }

    fn example(&self) -> String {
        "7 + 5 = -> 12".into()
    }

    fn version(&self) -> u32 {
        1
    }

    fn metric(&self) -> Metric {
        Metric::Accuracy
    }

    fn items(&self, spec: &TaskSpec, asked: Asked<'_>) -> Result<ItemSet, TaskError> {
        let math = Math {
            shots: spec.shots,
            wording: asked.wording,
            room: asked.room,
            max: spec.math_max.unwrap_or(20),
            seed: spec.math_seed.unwrap_or(1),
        };
        Ok(math.items(asked.tokenizer, spec.limit)?)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Sum {
    a: u32,
    b: u32,
    minus: bool,
}

impl Sum {
    fn question(&self) -> String {
        let sign = if self.minus { '-' } else { '+' };
        format!("{} {sign} {} =", self.a, self.b)
    }

    fn answer(&self) -> u32 {
        if self.minus {
            self.a - self.b
        } else {
            self.a + self.b
        }
    }
}

impl Math {
    /// Makes the items for a tokenizer: `limit` questions, or all that can be used.
    /// Differences are never negative, no question is asked twice or shown as an example.
    ///
    /// # Errors
    /// The tokenizer's.
    pub fn items(&self, tokenizer: &dyn Tokenizer, limit: usize) -> Result<ItemSet, EngineError> {
        let mut sums = self.sums();
        let examples: String = sums
            .by_ref()
            .take(self.shots)
            .map(|s| format!("{} {}\n", s.question(), s.answer()))
            .collect();
        let mut set = ItemSet::default();
        for sum in sums {
            if set.items.len() == limit {
                break;
            }
            let id = sum.question().replace([' ', '='], "");
            let text = format!("{examples}{}", sum.question());
            let prompt = match prompt_for(tokenizer, &text, self.wording)? {
                Ok(prompt) => prompt,
                Err(reason) => {
                    set.left_out.push((id, reason));
                    continue;
                }
            };
            let answer = answer_after(tokenizer, &prompt, &sum.answer().to_string(), &[])?;
            let fitting = answer.and_then(|answer| {
                self.room.fits(&prompt, answer.tokens.len())?;
                Ok(answer)
            });
            match fitting {
                Err(reason) => set.left_out.push((id, reason)),
                Ok(answer) => set.items.push(Item {
                    id,
                    prompt,
                    answer,
                    scoring: Scoring::WholeAnswer,
                    cut: false,
                    foils: Vec::new(),
                    parts: Parts::new(),
                    swap: None,
                }),
            }
        }
        Ok(set)
    }

    /// The distinct sums of the seed, all that there are.
    fn sums(&self) -> impl Iterator<Item = Sum> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        // Half of the pairs for subtraction, all of them for addition.
        let side = self.max as usize + 1;
        let possible = side * side + side * (side + 1) / 2;
        let mut seen = BTreeSet::new();
        let max = self.max;
        std::iter::from_fn(move || {
            while seen.len() < possible {
                let (x, y) = (rng.random_range(0..=max), rng.random_range(0..=max));
                let minus = rng.random_bool(0.5);
                let (a, b) = if minus { (x.max(y), x.min(y)) } else { (x, y) };
                let sum = Sum { a, b, minus };
                if seen.insert(sum) {
                    return Some(sum);
                }
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, Mock};

    #[test]
    fn questions_are_distinct_right_and_stable() {
        let math = Math {
            shots: 3,
            wording: Wording::default(),
            room: Room::new(4096, None),
            max: 20,
            seed: 1,
        };
        let engine = Mock::new(4);
        let few = math.items(engine.tokenizer(), 5).unwrap().items;
        let many = math.items(engine.tokenizer(), 60).unwrap().items;
        let ids: BTreeSet<_> = many.iter().map(|i| &i.id).collect();
        assert_eq!((few.len(), many.len(), ids.len()), (5, 60, 60));
        for (a, b) in few.iter().zip(&many) {
            assert_eq!((&a.prompt, &a.answer), (&b.prompt, &b.answer));
        }
        assert_eq!(few[0].prompt.text.lines().count(), 4);
        for item in &many {
            let (sign, at) = match item.id.find('+') {
                Some(at) => (1, at),
                None => (-1, item.id.find('-').unwrap()),
            };
            let a: i64 = item.id[..at].parse().unwrap();
            let b: i64 = item.id[at + 1..].parse().unwrap();
            assert_eq!(item.answer.text, (a + sign * b).to_string());
        }
    }

    #[test]
    fn a_small_range_runs_out() {
        let math = Math {
            shots: 1,
            wording: Wording::default(),
            room: Room::new(4096, None),
            max: 1,
            seed: 1,
        };
        // 4 additions and 3 subtractions, one of them the example.
        assert_eq!(
            math.items(Mock::new(4).tokenizer(), 100)
                .unwrap()
                .items
                .len(),
            6
        );
    }
}
