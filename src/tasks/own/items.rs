//! From records to items: shown examples, answers in tokens, parts, swaps.

use std::ops::Range;

use super::super::usable::usable;
use super::super::{
    Answer, Asked, Item, ItemSet, Parts, SUBJECT, Scoring, Swap, TaskError, TaskSpec, answer_after,
    prompt_for,
};
use super::record::Record;
use super::{Definition, How};
use crate::engine::{EngineError, Prompt};

/// Records that are tried as a donor for an item, the next ones in the file first.
const DONORS_TRIED: usize = 50;

/// Fills a template: `{key}` becomes what `value` says, `{{` and `}}` become braces.
///
/// # Errors
/// A brace without its other half; those of `value`.
pub(super) fn fill(
    template: &str,
    value: impl Fn(&str) -> Result<String, String>,
) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['{', '}']) {
        filled.push_str(&rest[..at]);
        let brace = &rest[at..];
        if let Some(after) = brace.strip_prefix("{{").or(brace.strip_prefix("}}")) {
            filled.push_str(&brace[..1]);
            rest = after;
        } else if let Some((key, after)) = brace.strip_prefix('{').and_then(|b| b.split_once('}')) {
            filled.push_str(&value(key)?);
            rest = after;
        } else {
            return Err("a brace without its other half; write {{ or }} for a brace".into());
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

/// What is wrong with a template, whatever the records are.
pub(super) fn check_template(template: &str) -> Result<(), String> {
    let mut keys = 0;
    let counted = std::cell::RefCell::new(&mut keys);
    fill(template, |_| {
        **counted.borrow_mut() += 1;
        Ok(String::new())
    })?;
    match keys {
        0 => Err("it names no key of a record, as {question}".into()),
        _ => Ok(()),
    }
}

/// The items of a task's records.
///
/// # Errors
/// The tokenizer's.
pub(super) fn items(
    definition: &Definition,
    spec: &TaskSpec,
    records: &[Record],
    asked: Asked<'_>,
) -> Result<ItemSet, TaskError> {
    let (shown, questions) = records.split_at(spec.shots.min(records.len()));
    let examples = shown.iter().map(|record| {
        let gap = gap(&record.prompt);
        let (prompt, answer) = (&record.prompt, &record.answers[0]);
        format!("{prompt}{gap}{answer}{}", definition.separator)
    });
    let making = Making {
        definition,
        examples: examples.collect(),
        questions,
        asked,
    };
    let mut without_swap = Vec::new();
    let make = |record: &Record| {
        let made = making.item(record)?;
        Ok(made.map(|(item, why)| {
            if let Some(why) = why {
                without_swap.push((item.id.clone(), why));
            }
            item
        }))
    };
    let mut set = usable(questions, |record| &record.id, spec.limit, make)?;
    set.without_swap = without_swap;
    Ok(set)
}

fn gap(prompt: &str) -> &'static str {
    if prompt.ends_with(char::is_whitespace) {
        ""
    } else {
        " "
    }
}

struct Making<'m> {
    definition: &'m Definition,
    examples: String,
    questions: &'m [Record],
    asked: Asked<'m>,
}

/// Something, or the reason why there is none.
type Or<T> = Result<T, String>;

impl Making<'_> {
    /// A record's item, and why it has no swap, if it has none.
    fn item(&self, record: &Record) -> Result<Or<(Item, Option<String>)>, EngineError> {
        let prompt = match self.prompt(&record.prompt)? {
            Ok(prompt) => prompt,
            Err(reason) => return Ok(Err(reason)),
        };
        let answer = match self.answer(&prompt, &record.answers)? {
            Ok(answer) => answer,
            Err(reason) => return Ok(Err(reason)),
        };
        let mut others = Vec::new();
        for other in &record.others {
            match self.answer(&prompt, std::slice::from_ref(other))? {
                Ok(other) => others.push(other),
                Err(reason) => return Ok(Err(reason.replace("its answer", "a choice"))),
            }
        }
        let tails = others.iter().chain([&answer]).map(|a| a.tokens.len());
        let longest = match self.definition.scoring {
            How::Generated => tails.chain([self.definition.max_tokens]).max(),
            _ => tails.max(),
        };
        if let Err(reason) = self.asked.room.fits(&prompt, longest.unwrap_or(0)) {
            return Ok(Err(reason));
        }
        let mut parts = Parts::new();
        for (name, text) in &record.parts {
            match within(&prompt, text, &record.prompt) {
                Some(places) => parts.insert(name.clone(), places),
                None => {
                    return Ok(Err(format!(
                        "its {name} has no tokens of its own in the prompt"
                    )));
                }
            };
        }
        let swap = match &record.subject {
            None => Err("it names no subject".into()),
            Some(subject) => match within(&prompt, subject, &record.prompt) {
                None => Err("its subject has no tokens of its own in the prompt".into()),
                Some(places) => {
                    parts.insert(SUBJECT.into(), places.clone());
                    self.swap(record, subject, (&prompt, &places), &answer)?
                }
            },
        };
        let foils = match &record.foil {
            Some(foil) => match self.answer(&prompt, std::slice::from_ref(foil))? {
                Ok(foil) => vec![foil],
                Err(reason) => return Ok(Err(reason.replace("its answer", "its foil"))),
            },
            None if !others.is_empty() => others.clone(),
            None => swap.iter().map(|swap| swap.answer.clone()).collect(),
        };
        let (swap, why) = match swap {
            Ok(swap) => (Some(swap), None),
            Err(why) => (None, Some(why)),
        };
        let item = Item {
            id: record.id.clone(),
            scoring: self.scoring(record, others),
            prompt,
            answer,
            cut: false,
            foils,
            parts,
            swap,
        };
        Ok(Ok((item, why)))
    }

    fn scoring(&self, record: &Record, others: Vec<Answer>) -> Scoring {
        let definition = self.definition;
        match definition.scoring {
            How::NextToken => Scoring::FirstToken,
            How::WholeAnswer => Scoring::WholeAnswer,
            How::Choices => Scoring::Choices {
                others,
                normalised: definition.normalise,
            },
            How::Generated => Scoring::Generated {
                max_tokens: definition.max_tokens,
                stop: definition.stop.clone(),
                references: record.answers.clone(),
                metric: definition.metric,
            },
        }
    }

    fn prompt(&self, own: &str) -> Result<Or<Prompt>, EngineError> {
        let text = format!("{}{own}", self.examples);
        prompt_for(self.asked.tokenizer, &text, self.asked.wording)
    }

    fn answer(&self, prompt: &Prompt, answers: &[String]) -> Result<Or<Answer>, EngineError> {
        let others: Vec<&str> = answers[1..].iter().map(String::as_str).collect();
        answer_after(self.asked.tokenizer, prompt, &answers[0], &others)
    }

    /// What takes the subject's place: what the record names, or else the next record's subject
    /// of the same group that is another one, has as many tokens and another answer.
    fn swap(
        &self,
        record: &Record,
        subject: &str,
        at: (&Prompt, &[Range<usize>]),
        answer: &Answer,
    ) -> Result<Or<Swap>, EngineError> {
        if let Some((donor, answers)) = &record.swap {
            return self.swap_with(record, (subject, donor), answers, at, answer);
        }
        let own = self.questions.iter().position(|r| r.id == record.id);
        let next = self.questions.iter().cycle().skip(own.map_or(0, |n| n + 1));
        let others = next.take(self.questions.len().saturating_sub(1));
        let alike = others.filter(|other| other.group == record.group);
        let donors = alike.take(DONORS_TRIED);
        for donor in donors {
            let Some(other) = &donor.subject else {
                continue;
            };
            let swap = self.swap_with(record, (subject, other), &donor.answers, at, answer)?;
            if swap.is_ok() {
                return Ok(swap);
            }
        }
        Ok(Err(
            "no other record has another subject of as many tokens and another answer".into(),
        ))
    }

    fn swap_with(
        &self,
        record: &Record,
        (subject, other): (&str, &str),
        answers: &[String],
        (prompt, places): (&Prompt, &[Range<usize>]),
        answer: &Answer,
    ) -> Result<Or<Swap>, EngineError> {
        let text = record.prompt.replace(subject, other);
        let donor = match self.prompt(&text)? {
            Ok(donor) => donor,
            Err(reason) => return Ok(Err(reason)),
        };
        // Records may be about the same thing in other words, with other answers.
        if donor.tokens == prompt.tokens {
            return Ok(Err("the other subject is the same".into()));
        }
        let from = within(&donor, other, &text).unwrap_or_default();
        let alike =
            from.len() == places.len() && from.iter().zip(places).all(|(a, b)| a.len() == b.len());
        if !alike {
            return Ok(Err("the other subject has another number of tokens".into()));
        }
        let given = match self.answer(prompt, answers)? {
            Ok(given) => given,
            Err(reason) => return Ok(Err(reason.replace("its answer", "the other answer"))),
        };
        if let Err(reason) = self.asked.room.fits(prompt, given.tokens.len()) {
            return Ok(Err(reason));
        }
        let same = match self.definition.scoring {
            How::NextToken => given.accepted.iter().any(|a| answer.accepted.contains(a)),
            _ => given.tokens == answer.tokens,
        };
        if same {
            return Ok(Err("the other subject has the same answer".into()));
        }
        let pairs = from
            .into_iter()
            .flatten()
            .zip(places.iter().cloned().flatten());
        Ok(Ok(Swap {
            donor,
            moves: pairs.map(|(from, to)| (from as u32, to as u32)).collect(),
            answer: given,
        }))
    }
}

/// Where `part` stands in `text`, the last part of a prompt that holds it: all its places, each
/// in whole tokens, with the space before it or without. `None` where it has none.
fn within(prompt: &Prompt, part: &str, text: &str) -> Option<Vec<Range<usize>>> {
    let wanted = text.matches(part).count();
    let mut found: Vec<Range<usize>> = Vec::new();
    for text_of in [format!(" {part}"), part.to_string()] {
        let places = prompt.occurrences_within(&text_of, text);
        for place in places {
            let known = found
                .iter()
                .any(|k| k.start < place.end && place.start < k.end);
            if !known {
                found.push(place);
            }
        }
    }
    found.sort_by_key(|place| place.start);
    (wanted > 0 && found.len() == wanted).then_some(found)
}

#[cfg(test)]
mod tests;
