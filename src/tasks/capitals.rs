//! Capitals: `Q: What is the capital of France?\nA:` after a few examples, as in the paper's
//! public demo.

use std::collections::BTreeSet;

use super::fold::fold;
use super::item;
use super::{
    Answer, Asked, Item, ItemSet, Metric, Room, Scoring, Swap, Task, TaskError, TaskSpec,
    answer_after, prompt_for,
};
use crate::engine::{EngineError, Prompt, PromptError, TextPart, Tokenizer, Wording};

/// A row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Country {
    /// ISO 3166 code, the item's id.
    pub code: &'static str,
    /// English name.
    pub name: &'static str,
    /// Capital.
    pub capital: &'static str,
    also: &'static str,
}

impl Country {
    /// Other names of the capital, or other seats, that are accepted.
    pub fn alternatives(&self) -> Vec<&'static str> {
        self.also.split('|').filter(|s| !s.is_empty()).collect()
    }

    /// Whether the country's name gives the capital away (Singapore, Mexico City).
    pub fn gives_itself_away(&self) -> bool {
        let name = fold(self.name);
        let begins = |long: &str, short: &str| {
            long.strip_prefix(short)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        std::iter::once(self.capital)
            .chain(self.alternatives())
            .map(fold)
            .any(|capital| begins(&name, &capital) || begins(&capital, &name))
    }
}

/// The 195 sovereign states and their capitals.
pub fn country_table() -> Vec<Country> {
    include_str!("capitals.tsv")
        .lines()
        .skip(1)
        .map(|line| {
            let mut fields = line.split('\t');
            let mut next = || fields.next().unwrap_or("");
            Country {
                code: next(),
                name: next(),
                capital: next(),
                also: next(),
            }
        })
        .collect()
}

/// The countries shown as examples, in this order; the first is the paper's.
const EXAMPLES: [&str; 8] = ["ES", "JP", "EG", "SE", "PE", "KE", "TH", "CA"];

/// The capitals task.
#[derive(Clone, Copy, Debug)]
pub struct Capitals {
    /// Examples before the question.
    pub shots: usize,
    /// How the prompt is worded.
    pub wording: Wording,
    /// What a prompt and its answer must fit.
    pub room: Room,
}

impl Capitals {
    /// The most examples that can be shown.
    pub const MAX_SHOTS: usize = EXAMPLES.len();

    /// Makes the items for a tokenizer, at most `limit`.
    ///
    /// # Errors
    /// The tokenizer's.
    pub fn items(&self, tokenizer: &dyn Tokenizer, limit: usize) -> Result<ItemSet, EngineError> {
        let table = country_table();
        let shown = &EXAMPLES[..self.shots.min(EXAMPLES.len())];
        let examples: String = shown
            .iter()
            .filter_map(|code| table.iter().find(|c| c.code == *code))
            .map(|c| format!("{} {}\n", question(c.name), c.capital))
            .collect();
        let mut set = ItemSet::default();
        let mut asked = Vec::new();
        for country in &table {
            if country.gives_itself_away() {
                let reason = "the capital repeats the country's name";
                set.left_out.push((country.code.into(), reason.into()));
            } else if !shown.contains(&country.code) {
                asked.push(*country);
            }
        }
        // A fixed order that is not the alphabet's, so that every prefix is a fair sample.
        asked.sort_by_key(|c| (spread(c.code), c.code));
        let donors = asked.clone();
        for country in asked {
            if set.items.len() == limit {
                break;
            }
            let text = format!("{examples}{}", question(country.name));
            let prompt = match prompt_for(tokenizer, &text, self.wording)? {
                Ok(prompt) => prompt,
                Err(reason) => {
                    set.left_out.push((country.code.into(), reason));
                    continue;
                }
            };
            let answer = answer_of(tokenizer, &prompt, &country)?;
            let fits = |answer: &Answer| self.room.fits(&prompt, answer.tokens.len());
            match answer.and_then(|answer| fits(&answer).map(|()| answer)) {
                Err(reason) => set.left_out.push((country.code.into(), reason)),
                Ok(answer) => {
                    let swap = swap(tokenizer, &prompt, &country, &donors, &answer)?;
                    let swap = swap.and_then(|swap| fits(&swap.answer).map(|()| swap));
                    let place = name_at(&prompt, country.name).ok();
                    let subject = place.map(|place| (item::SUBJECT.to_string(), vec![place]));
                    let swap = swap
                        .map_err(|reason| set.without_swap.push((country.code.into(), reason)))
                        .ok();
                    set.items.push(Item {
                        id: country.code.into(),
                        prompt,
                        answer,
                        scoring: Scoring::FirstToken,
                        cut: false,
                        foils: swap.iter().map(|swap| swap.answer.clone()).collect(),
                        parts: subject.into_iter().collect(),
                        swap,
                    });
                }
            }
        }
        Ok(set)
    }
}

/// The task, as the list of tasks has it.
pub(super) struct Entry;

impl Task for Entry {
    fn sentence(&self) -> &'static str {
        "the capital of a country"
    }

    fn example(&self) -> String {
        format!("{} -> Paris", question("France").replace('\n', "\\n"))
    }

    fn version(&self) -> u32 {
        1
    }

    fn metric(&self) -> Metric {
        Metric::Accuracy
    }

    fn usual_limit(&self) -> usize {
        195
    }

    fn has_swaps(&self) -> bool {
        true
    }

    /// The country.
    fn title(&self, id: &str, _prompt: &str) -> String {
        let mut table = country_table().into_iter();
        let country = table.find(|country| country.code == id);
        country.map_or(id, |country| country.name).to_string()
    }

    fn items(&self, spec: &TaskSpec, asked: Asked<'_>) -> Result<ItemSet, TaskError> {
        let capitals = Capitals {
            shots: spec.shots,
            wording: asked.wording,
            room: asked.room,
        };
        Ok(capitals.items(asked.tokenizer, spec.limit)?)
    }
}

fn question(country: &str) -> String {
    format!("Q: What is the capital of {country}?\nA:")
}

fn answer_of(
    tokenizer: &dyn Tokenizer,
    prompt: &Prompt,
    country: &Country,
) -> Result<Result<Answer, String>, EngineError> {
    answer_after(tokenizer, prompt, country.capital, &country.alternatives())
}

/// The first donor after the country, in an order of its own, whose name has as many tokens and
/// whose capital begins with another token. Every token of the name is replaced, the donor's
/// first by the first, so nothing of the original name stays.
fn swap(
    tokenizer: &dyn Tokenizer,
    prompt: &Prompt,
    country: &Country,
    donors: &[Country],
    answer: &Answer,
) -> Result<Result<Swap, String>, EngineError> {
    let place = match name_at(prompt, country.name) {
        Ok(place) => place,
        Err(_) => return Ok(Err("the country's name has no tokens of its own".into())),
    };
    let own = donors.iter().position(|d| d.code == country.code);
    let after = own.map_or(0, |n| n + 1);
    for donor in donors.iter().cycle().skip(after).take(donors.len() - 1) {
        let text = tokenizer.prompt(&format!("The country {}", donor.name))?;
        let Ok(from) = name_at(&text, donor.name) else {
            continue;
        };
        if from.len() != place.len() {
            continue;
        }
        let Ok(other) = answer_of(tokenizer, prompt, donor)? else {
            continue;
        };
        let ours: BTreeSet<_> = answer.accepted.iter().collect();
        if other.accepted.iter().any(|a| ours.contains(a)) {
            continue;
        }
        let moves = from
            .zip(place)
            .map(|(from, to)| (from as u32, to as u32))
            .collect();
        return Ok(Ok(Swap {
            donor: text,
            moves,
            answer: other,
        }));
    }
    Ok(Err("no donor's name has as many tokens".into()))
}

/// The tokens of a country's name, with the space before it.
fn name_at(prompt: &Prompt, name: &str) -> Result<std::ops::Range<usize>, PromptError> {
    let found = TextPart::only(format!(" {name}")).find(prompt)?;
    Ok(found.into_iter().next().expect("one where it is found"))
}

/// FNV-1a: a fixed order that has nothing to do with the name.
fn spread(code: &str) -> u32 {
    code.bytes().fold(0x811c_9dc5, |h, b| {
        (h ^ u32::from(b)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, Mock};

    fn of(shots: usize) -> Capitals {
        Capitals {
            shots,
            wording: Wording::default(),
            room: Room::new(4096, None),
        }
    }

    #[test]
    fn the_table_is_whole() {
        let table = country_table();
        assert_eq!(table.len(), 195);
        let away: Vec<_> = table
            .iter()
            .filter(|c| c.gives_itself_away())
            .map(|c| c.code)
            .collect();
        for code in ["SG", "MC", "LU", "DJ", "VA", "KW", "PA", "GT", "SM", "MX"] {
            assert!(away.contains(&code), "{code}");
        }
        assert!(!away.contains(&"TN") && !away.contains(&"DZ"));
        for example in EXAMPLES {
            assert!(table.iter().any(|c| c.code == example), "{example}");
        }
    }

    #[test]
    fn items_are_a_prefix_of_more_items() {
        let engine = Mock::new(4);
        let few = of(1).items(engine.tokenizer(), 20).unwrap();
        let many = of(1).items(engine.tokenizer(), 1000).unwrap();
        assert_eq!(few.items.len(), 20);
        let ids = |set: &ItemSet| set.items.iter().map(|i| i.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(&few), ids(&many)[..20]);
        assert!(!ids(&many).contains(&"ES".to_string()), "shown as example");
        assert!(many.items[0].prompt.text.starts_with(
            "Q: What is the capital of Spain?\nA: Madrid\nQ: What is the capital of "
        ));
        assert!(many.items[0].prompt.text.ends_with("?\nA:"));
    }

    #[test]
    fn swaps_align_token_by_token() {
        let engine = Mock::new(4);
        let set = of(1).items(engine.tokenizer(), 1000).unwrap();
        let with_swap = set.items.iter().filter(|i| i.swap.is_some()).count();
        assert_eq!(with_swap + set.without_swap.len(), set.items.len());
        assert!(with_swap > 150, "{with_swap}");
        for item in &set.items {
            let Some(swap) = &item.swap else { continue };
            let part = |prompt: &Prompt, positions: Vec<u32>| -> String {
                let tokens = positions.iter().map(|p| prompt.tokens[*p as usize]);
                tokens.map(|t| engine.tokenizer().piece(t)).collect()
            };
            let (from, to): (Vec<u32>, Vec<u32>) = swap.moves.iter().copied().unzip();
            let name = part(&swap.donor, from);
            assert_eq!(format!("The country{name}"), swap.donor.text);
            let replaced = format!("capital of{}?\nA:", part(&item.prompt, to));
            assert!(item.prompt.text.ends_with(&replaced), "{replaced}");
            assert_ne!(item.answer.accepted[0], swap.answer.accepted[0]);
        }
    }

    #[test]
    fn accepted_first_tokens_fold_case_and_diacritics() {
        let engine = Mock::new(4);
        let set = of(0).items(engine.tokenizer(), 1000).unwrap();
        let mongolia = set.items.iter().find(|i| i.id == "MN").unwrap();
        assert_eq!(mongolia.answer.text, "Ulan Bator");
        assert_eq!(mongolia.answer.accepted.len(), 2);
    }
}
