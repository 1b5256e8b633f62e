//! From an outcome to a row of results: what is kept of the logits, and how it is scored.

use std::collections::BTreeMap;

use crate::engine::{Ending, Engine, Outcome, argmax, kl, log_softmax, rank};
use crate::hook::Touched;
use crate::runtime::Token;
use crate::store::Row;
use crate::tasks::{Answer, Item, Scores, Scoring, Swap, TaskName, answer_part};

/// What is kept of an outcome: an item's under one cell.
pub(super) struct Seen {
    likeliest: Token,
    generated: Vec<Token>,
    right: Said,
    /// For a swap: the donor's answer.
    modified: Option<Said>,
    rank: usize,
    kl: f64,
    touched: Vec<Touched>,
}

/// How the model took to an answer forced upon it.
struct Said {
    /// Whether each of the tokens that decide was the likeliest in turn.
    told: bool,
    /// The likeliest token after those.
    next: Token,
    /// The sum of the answer's tokens' log-probabilities, each after those before it, nats.
    logprob: f64,
}

/// The texts to force after an item's prompt, and how to continue it freely.
pub(super) fn tails(item: &Item, swap: Option<&Swap>) -> (Vec<Vec<Token>>, Option<Ending>) {
    let mut forced = vec![steps(item, &item.answer)];
    forced.extend(swap.map(|of| steps(item, &of.answer)));
    let ending = match &item.scoring {
        Scoring::Generated {
            max_tokens, stop, ..
        } => Some(Ending {
            max_tokens: *max_tokens,
            stop: (*stop).to_string(),
        }),
        _ => None,
    };
    (forced, ending)
}

/// The tokens to force so that the answer can be scored: all but its last give its
/// log-probability; the last too where what follows the answer matters.
fn steps(item: &Item, answer: &Answer) -> Vec<Token> {
    let n = match item.scoring {
        Scoring::WholeAnswer => answer.tokens.len(),
        _ => answer.tokens.len() - 1,
    };
    answer.tokens[..n].to_vec()
}

/// The tokens that must be the likeliest in turn before [`Said::next`] decides.
fn deciding<'a>(scoring: &Scoring, answer: &'a Answer) -> &'a [Token] {
    match scoring {
        Scoring::FirstToken => answer.lead(),
        Scoring::WholeAnswer => &answer.tokens,
        Scoring::Generated { .. } => &[],
    }
}

impl Seen {
    /// What is kept; `clean` are the logits of the item's clean run.
    pub fn of(outcome: Outcome, clean: &[f32], item: &Item, swap: Option<&Swap>) -> Self {
        Self {
            likeliest: outcome.argmax(),
            right: Said::of(&outcome, 0, item, &item.answer),
            modified: swap.map(|of| Said::of(&outcome, 1, item, &of.answer)),
            rank: rank(&outcome.logits, item.answer.tokens[0]),
            kl: kl(clean, &outcome.logits),
            generated: outcome.generated,
            touched: outcome.touched,
        }
    }

    /// The generated answer; for tasks that do not generate, the likeliest first token.
    pub fn answer(&self, item: &Item, engine: &dyn Engine) -> String {
        match &item.scoring {
            Scoring::Generated { stop, .. } => {
                answer_part(&engine.text(&self.generated), stop).to_string()
            }
            _ => engine.piece(self.likeliest),
        }
    }

    /// The row of results.
    pub fn row(
        self,
        cell: usize,
        clean_answer: &str,
        (task, item, swap): (TaskName, &Item, Option<&Swap>),
        engine: &dyn Engine,
    ) -> Row {
        let answer = self.answer(item, engine);
        let correct = |said: &Said, answer: &Answer| said.is(&item.scoring, answer, engine);
        let scores = match &item.scoring {
            Scoring::Generated { references, .. } => task.score(&answer, references),
            _ => {
                let correct = correct(&self.right, &item.answer);
                Scores {
                    score: f64::from(u8::from(correct)),
                    correct,
                    metrics: BTreeMap::new(),
                }
            }
        };
        Row {
            cell,
            scores,
            agrees: answer == clean_answer,
            answer,
            logprob: self.right.logprob,
            rank: self.rank,
            kl: self.kl,
            argmax: self.likeliest.0,
            argmax_text: engine.piece(self.likeliest),
            modified: swap
                .zip(self.modified.as_ref())
                .map(|(of, said)| (correct(said, &of.answer), said.logprob)),
            touched: self.touched,
        }
    }
}

impl Said {
    fn of(outcome: &Outcome, branch: usize, item: &Item, answer: &Answer) -> Self {
        let likeliest = |n: usize| argmax(outcome.after(branch, n));
        let deciding = deciding(&item.scoring, answer);
        let logprob =
            |(n, token): (usize, &Token)| log_softmax(outcome.after(branch, n))[token.0 as usize];
        Self {
            told: (deciding.iter().enumerate()).all(|(n, token)| likeliest(n) == *token),
            next: likeliest(deciding.len()),
            logprob: answer.tokens.iter().enumerate().map(logprob).sum(),
        }
    }

    /// Whether the model gives this answer of itself.
    fn is(&self, scoring: &Scoring, answer: &Answer, engine: &dyn Engine) -> bool {
        let next = engine.piece(self.next);
        self.told
            && match scoring {
                Scoring::FirstToken => answer.begins_with(&next),
                Scoring::WholeAnswer => !next.starts_with(char::is_alphanumeric),
                Scoring::Generated { .. } => false,
            }
    }
}
