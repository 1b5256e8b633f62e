//! From an outcome to a row of results: what is kept of the logits, and how it is scored.

use std::collections::BTreeMap;

use crate::engine::{Ending, Engine, Outcome, argmax, kl, logprob, rank};
use crate::experiment::Row;
use crate::hook::Touched;
use crate::runtime::Token;
use crate::tasks::{Answer, CHANCE, Item, LOGIT_DIFFERENCE, Scores, Scoring, Swap, answer_part};

/// What is kept of an outcome: an item's under one cell.
pub(super) struct Seen {
    likeliest: Token,
    generated: Vec<Token>,
    right: Said,
    /// The log-probabilities of the other choices, each by the scoring's own measure.
    others: Vec<f64>,
    /// For a swap: the donor's answer.
    modified: Option<Said>,
    /// How much likelier the right answer is than its foils, see [`logit_difference`].
    difference: Option<f64>,
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
    forced.extend(others(item).iter().map(|other| steps(item, other)));
    forced.extend(swap.map(|of| steps(item, &of.answer)));
    let ending = match &item.scoring {
        Scoring::Generated {
            max_tokens, stop, ..
        } => Some(Ending {
            max_tokens: *max_tokens,
            stop: stop.clone(),
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
        Scoring::Generated { .. } | Scoring::Choices { .. } => &[],
    }
}

/// The other choices.
fn others(item: &Item) -> &[Answer] {
    match &item.scoring {
        Scoring::Choices { others, .. } => others,
        _ => &[],
    }
}

/// The logit of the right answer's token less that of the likeliest foil's, nats, at the first
/// place where the two differ and after what they share (Wang et al. 2022, arXiv 2211.00593).
/// `None` for an item without a foil.
fn logit_difference(outcome: &Outcome, item: &Item) -> Option<f64> {
    let answer = &item.answer.tokens;
    let differences = item.foils.iter().filter_map(|foil| {
        let pairs = answer.iter().zip(&foil.tokens);
        let shared = pairs.take_while(|(a, b)| a == b).count();
        let (right, wrong) = (answer.get(shared)?, foil.tokens.get(shared)?);
        let logits = outcome.after(0, shared);
        let logit = |token: &Token| f64::from(logits[token.0 as usize]);
        Some(logit(right) - logit(wrong))
    });
    differences.min_by(f64::total_cmp)
}

impl Seen {
    /// What is kept; `clean` are the logits of the item's clean run.
    pub fn of(outcome: Outcome, clean: &[f32], item: &Item, swap: Option<&Swap>) -> Self {
        Self {
            likeliest: outcome.argmax(),
            right: Said::of(&outcome, 0, item, &item.answer),
            others: (others(item).iter().zip(1..))
                .map(|(other, n)| Said::of(&outcome, n, item, other).likelihood(item, other))
                .collect(),
            modified: swap.map(|of| {
                let branch = 1 + others(item).len();
                Said::of(&outcome, branch, item, &of.answer)
            }),
            difference: logit_difference(&outcome, item),
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
        (item, swap): (&Item, Option<&Swap>),
        engine: &dyn Engine,
    ) -> Row {
        let answer = self.answer(item, engine);
        let likelihood = |said: &Said, answer| said.likelihood(item, answer);
        let right = likelihood(&self.right, &item.answer);
        let given = self.modified.as_ref().zip(swap);
        let given = given.map(|(said, of)| likelihood(said, &of.answer));
        let best = self
            .others
            .iter()
            .copied()
            .fold(f64::NEG_INFINITY, f64::max);
        let correct = match &item.scoring {
            Scoring::Choices { .. } => right > best.max(given.unwrap_or(f64::NEG_INFINITY)),
            scoring => self.right.is(scoring, &item.answer, engine),
        };
        let modified = swap.zip(self.modified.as_ref()).map(|(of, said)| {
            let is = match &item.scoring {
                Scoring::Choices { .. } => given.is_some_and(|given| given > best.max(right)),
                scoring => said.is(scoring, &of.answer, engine),
            };
            (is, said.logprob)
        });
        let mut scores = match &item.scoring {
            Scoring::Generated {
                references, metric, ..
            } => metric.score(&answer, references),
            _ => Scores {
                score: f64::from(u8::from(correct)),
                correct,
                metrics: BTreeMap::new(),
            },
        };
        if let Scoring::Choices { others, .. } = &item.scoring {
            let chance = 1.0 / (1 + others.len()) as f64;
            scores.metrics.insert(CHANCE.to_string(), chance);
        }
        let difference = self.difference.map(|d| (LOGIT_DIFFERENCE.to_string(), d));
        scores.metrics.extend(difference);
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
            modified,
            touched: self.touched,
        }
    }
}

impl Said {
    fn of(outcome: &Outcome, branch: usize, item: &Item, answer: &Answer) -> Self {
        let likeliest = |n: usize| argmax(outcome.after(branch, n));
        let deciding = deciding(&item.scoring, answer);
        let each = |(n, token): (usize, &Token)| logprob(outcome.after(branch, n), *token);
        Self {
            told: (deciding.iter().enumerate()).all(|(n, token)| likeliest(n) == *token),
            next: likeliest(deciding.len()),
            logprob: answer.tokens.iter().enumerate().map(each).sum(),
        }
    }

    /// What choices are compared by: the answer's log-probability, or that of each of its
    /// tokens on average.
    fn likelihood(&self, item: &Item, answer: &Answer) -> f64 {
        match item.scoring {
            Scoring::Choices {
                normalised: true, ..
            } => self.logprob / answer.tokens.len() as f64,
            _ => self.logprob,
        }
    }

    /// Whether the model gives this answer of itself.
    fn is(&self, scoring: &Scoring, answer: &Answer, engine: &dyn Engine) -> bool {
        let next = engine.piece(self.next);
        self.told
            && match scoring {
                Scoring::FirstToken => answer.begins_with(&next),
                Scoring::WholeAnswer => !next.starts_with(char::is_alphanumeric),
                Scoring::Generated { .. } | Scoring::Choices { .. } => false,
            }
    }
}
