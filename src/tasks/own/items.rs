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
    /// that is another one, has as many tokens and another answer.
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
        let donors = next.take(self.questions.len().saturating_sub(1).min(DONORS_TRIED));
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
mod tests {
    use super::*;
    use crate::engine::{Engine, Mock, Wording};
    use crate::tasks::{DataSource, TaskName};

    fn set(lines: &str, toml: &str) -> ItemSet {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.jsonl");
        std::fs::write(&path, lines).unwrap();
        std::fs::write(path.with_extension("toml"), toml).unwrap();
        let own = Definition::beside(&path).unwrap();
        let spec = TaskSpec {
            task: TaskName::new("mine").unwrap(),
            version: 1,
            limit: 100,
            shots: own.shots,
            chat: false,
            chat_date: None,
            parse_special: false,
            data: Some(DataSource {
                path: Some(path),
                sha256: None,
            }),
            math_max: None,
            math_seed: None,
            own: Some(own),
        };
        let engine = Mock::new(4);
        spec.items(engine.tokenizer(), 4096, None).unwrap()
    }

    const THREE: &str = r#"{"id": "a", "question": "the capital of France is", "answer": "Paris", "subject": "France"}
{"id": "b", "question": "the capital of Italy is", "answer": ["Rome", "Roma"], "subject": "Italy"}
{"id": "c", "question": "the capital of Peru is", "answer": "Lima", "subject": "Chile"}
"#;

    #[test]
    fn templates_are_filled() {
        let value = |key: &str| match key {
            "q" => Ok("x{y}".to_string()),
            _ => Err(format!("no {key}")),
        };
        assert_eq!(fill("{{{q}}} {q}", value), Ok("{x{y}} x{y}".into()));
        assert_eq!(fill("{a}", value), Err("no a".into()));
        assert!(fill("{q", value).is_err() && fill("q}", value).is_err());
        assert!(check_template("plain").is_err() && check_template("{q}").is_ok());
    }

    #[test]
    fn shown_records_are_not_asked_and_donors_are_found() {
        let set = set(THREE, "template = \"{question}\"\nshots = 1");
        let ids: Vec<_> = set.items.iter().map(|i| &*i.id).collect();
        assert_eq!(ids, ["b", "c"]);
        let first = &set.items[0];
        let shown = "the capital of France is Paris\nthe capital of Italy is";
        assert_eq!(first.prompt.text, shown);
        // c's subject is not in its prompt, so it can neither be swapped nor be a donor's.
        let reasons: Vec<_> = set.without_swap.iter().map(|(id, _)| &**id).collect();
        assert!(reasons.contains(&"c"), "{reasons:?}");
    }

    #[test]
    fn a_swap_moves_the_subject_s_tokens_alone() {
        let set = set(THREE, "template = \"{question}\"");
        let item = &set.items[0];
        let swap = item.swap.as_ref().unwrap();
        assert_eq!(swap.donor.text, "the capital of Italy is");
        assert_eq!(swap.answer.text, "Rome");
        let places: Vec<u32> = item.parts[SUBJECT]
            .iter()
            .cloned()
            .flatten()
            .map(|p| p as u32)
            .collect();
        assert_eq!(
            swap.moves.iter().map(|(_, to)| *to).collect::<Vec<_>>(),
            places
        );
        assert_eq!(item.foils, std::slice::from_ref(&swap.answer));
    }

    #[test]
    fn a_subject_is_not_swapped_for_itself() {
        let again = THREE
            .replace("\"b\"", "\"d\"")
            .replace("\"Rome\", \"Roma\"", "\"Parigi\"");
        let again = again
            .replace("of Italy", "of France")
            .replace("\"Italy", "\"France");
        let (first, rest) = again.split_once('\n').unwrap();
        let second = rest.lines().next().unwrap();
        let italy = THREE.lines().nth(1).unwrap();
        let set = set(
            &format!("{first}\n{second}\n{italy}\n"),
            "template = \"{question}\"",
        );
        let donors = set
            .items
            .iter()
            .map(|item| &*item.swap.as_ref().unwrap().donor.text);
        let (italy, france) = ("the capital of Italy is", "the capital of France is");
        assert_eq!(donors.collect::<Vec<_>>(), [italy, italy, france]);
    }

    #[test]
    fn choices_are_the_others_in_tokens() {
        let line = r#"{"prompt": "two plus two is", "answer": "four", "choices": ["three", "four", "five"]}"#;
        let set = set(line, "scoring = \"choices\"\nnormalise = true");
        let Scoring::Choices { others, normalised } = &set.items[0].scoring else {
            panic!("not choices")
        };
        let texts: Vec<_> = others.iter().map(|o| &*o.text).collect();
        assert_eq!((texts, *normalised), (vec!["three", "five"], true));
        assert_eq!(set.items[0].foils.len(), 2);
    }

    #[test]
    fn parts_are_found_in_the_question_alone() {
        let engine = Mock::new(4);
        let wording = Wording::default();
        let prompt = wording
            .prompt(engine.tokenizer(), "of France is Paris\nof France is")
            .unwrap();
        let found = within(&prompt, "France", "of France is").unwrap();
        assert_eq!(found.len(), 1);
        assert!(found[0].start > prompt.tokens.len() / 2);
        assert_eq!(within(&prompt, "Peru", "of France is"), None);
    }
}
