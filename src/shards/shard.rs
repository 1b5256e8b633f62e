//! A part of a run by its number.

use std::fmt;
use std::str::FromStr;

/// Parts at most.
const MOST: u32 = 100_000;

/// A part of a run, the third of sixteen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Shard {
    /// How many parts there are.
    pub count: u32,
    /// Its number, from 1 up.
    pub number: u32,
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.number, self.count)
    }
}

/// Which part is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// This one: `3/16`.
    This(Shard),
    /// The one that belongs to the task of a scheduler's array, `auto`; `auto/16` says how many
    /// parts there are.
    Task(Option<u32>),
}

impl FromStr for Asked {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("'{text}' is no part of a run: K/N as 3/16, auto, or auto/16");
        let count = |text: &str| {
            let count = text.parse().ok();
            let count = count.filter(|count| (1..=MOST).contains(count));
            count.ok_or_else(|| format!("'{text}' is not a number of parts from 1 to {MOST}"))
        };
        match text.split_once('/') {
            None if text == "auto" => Ok(Self::Task(None)),
            Some(("auto", n)) => Ok(Self::Task(Some(count(n)?))),
            Some((number, n)) => {
                let count = count(n)?;
                let number: u32 = number.parse().map_err(|_| wrong())?;
                if !(1..=count).contains(&number) {
                    return Err(format!(
                        "parts are numbered from 1 to {count}, and {number} is none of them"
                    ));
                }
                Ok(Self::This(Shard { count, number }))
            }
            None => Err(wrong()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_read_or_refused() {
        let part = |number, count| Asked::This(Shard { count, number });
        for (text, asked) in [
            ("1/1", part(1, 1)),
            ("3/16", part(3, 16)),
            ("auto", Asked::Task(None)),
            ("auto/16", Asked::Task(Some(16))),
        ] {
            assert_eq!(text.parse(), Ok(asked));
        }
        for wrong in [
            "", "3", "0/16", "17/16", "3/0", "-1/4", "auto/0", "auto/x", "3/16/2", "3/999999",
        ] {
            assert!(wrong.parse::<Asked>().is_err(), "{wrong}");
        }
    }
}
