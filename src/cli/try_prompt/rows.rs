//! The list of runs: a line for each as it comes, in the order of the runs.

use std::fmt::Write;

use crate::cli::text::{cut, padded};
use crate::engine::{Outcome, kl};
use crate::report::wrap;
use crate::runtime::Model;
use crate::shown::shown;
use crate::trial::{Answer, Chance, Run};

/// What a line shows.
pub struct Row {
    /// The likeliest next token, in quotes.
    pub next: String,
    /// From the clean next-token distribution, nats.
    pub kl: f64,
    pub chances: Vec<Chance>,
    /// What was generated.
    pub generated: Option<Vec<u8>>,
}

impl Row {
    pub fn of(model: &Model, answers: &[Answer], clean: &Outcome, outcome: &Outcome) -> Self {
        Self {
            next: shown(&model.piece(outcome.argmax())),
            kl: kl(&clean.logits, &outcome.logits),
            chances: answers.iter().map(|a| a.chance(outcome)).collect(),
            generated: None,
        }
    }
}

/// Where the columns are.
pub struct Layout {
    /// Of the layers.
    layer: usize,
    /// Of the likeliest token.
    next: usize,
    /// Of an answer: its probability and its rank.
    answer: usize,
    /// How many answers a line holds.
    together: usize,
    width: Option<usize>,
}

/// Of the KL divergence.
const KL: usize = 8;
/// Of a probability in percent.
const PERCENT: usize = 7;
/// Between columns, and before the first.
const GAP: &str = "  ";
/// Columns of the likeliest token at least and at most.
const NEXT: (usize, usize) = (8, 16);
/// Columns that an answer's text takes at most.
const ANSWER: usize = 20;

impl Layout {
    /// Columns for `answers`, so that lines keep to `width`.
    pub fn new(runs: &[Run], answers: &[Answer], n_vocab: u32, width: Option<usize>) -> Self {
        let layers = runs.iter().filter_map(|run| run.layer);
        let digits = layers.max().unwrap_or(0).to_string().len();
        let rank = n_vocab.to_string().len().max("rank".len());
        let texts = answers.iter().map(|a| padded(&cut(&a.shown, ANSWER), 0));
        let text = texts.map(|t| t.chars().count()).max().unwrap_or(0);
        let layer = digits.max("layer".len());
        let answer = (PERCENT + GAP.len() + rank).max(text);
        let fixed = 1 + layer + GAP.len() + GAP.len() + KL;
        let each = GAP.len() + answer;
        let n = answers.len();
        let (next, together) = match width {
            None => (NEXT.1, n),
            Some(width) => {
                let room = width.saturating_sub(fixed + NEXT.0);
                let together = (room / each).clamp(1, n.max(1));
                let left = width.saturating_sub(fixed + together * each);
                (left.clamp(NEXT.0, NEXT.1), together)
            }
        };
        Self {
            layer,
            next,
            answer,
            together: together.max(1),
            width,
        }
    }

    fn rule(&self, n: usize) -> String {
        let each = GAP.len() + self.answer;
        let fixed = 1 + self.layer + GAP.len() + self.next + GAP.len() + KL;
        format!("{}\n", "─".repeat(fixed + n.min(self.together) * each))
    }

    /// The head, with the clean run as first line.
    pub fn head(&self, answers: &[Answer], clean: &Row) -> String {
        let mut text = self.rule(answers.len());
        let blank = |columns: usize| " ".repeat(columns);
        let start = blank(1 + self.layer) + GAP + &blank(self.next) + GAP + &blank(KL);
        let groups: Vec<&[Answer]> = answers.chunks(self.together).collect();
        for (n, group) in groups.iter().enumerate() {
            let names = group
                .iter()
                .map(|answer| format!("{GAP}{:>1$}", cut(&answer.shown, ANSWER), self.answer));
            line(&mut text, &format!("{start}{}", names.collect::<String>()));
            let start = if n == 0 {
                let (layer, next) = (self.layer, self.next);
                let token = cut("next token", next);
                format!(
                    " {:>layer$}{GAP}{}{GAP}{:>KL$}",
                    "layer",
                    padded(&token, next),
                    "KL"
                )
            } else {
                start.clone()
            };
            let units = group.iter().map(|_| {
                let rank = self.answer - PERCENT - GAP.len();
                format!("{GAP}{:>PERCENT$}{GAP}{:>rank$}", "%", "rank")
            });
            line(&mut text, &format!("{start}{}", units.collect::<String>()));
        }
        text.push_str(&self.rule(answers.len()));
        text.push_str(&self.row("clean", clean));
        text
    }

    /// What the lines that follow are of.
    pub fn title(&self, run: &Run) -> String {
        let seed = run
            .seed
            .map_or(String::new(), |seed| format!(", seed {seed}"));
        format!(" {}{seed}\n", run.name)
    }

    /// A run.
    pub fn row(&self, layer: &str, row: &Row) -> String {
        let mut text = String::new();
        let (width, next) = (self.layer, self.next);
        let token = padded(&cut(&row.next, next), next);
        let mut start = format!(" {layer:>width$}{GAP}{token}{GAP}{:>KL$.4}", row.kl);
        for group in row.chances.chunks(self.together) {
            let chances = group.iter().map(|chance| {
                let rank = self.answer - PERCENT - GAP.len();
                format!(
                    "{GAP}{:>PERCENT$}{GAP}{:>rank$}",
                    chance.percent(),
                    chance.rank
                )
            });
            line(
                &mut text,
                &format!("{start}{}", chances.collect::<String>()),
            );
            start = " ".repeat(1 + width + GAP.len() + next + GAP.len() + KL);
        }
        if let Some(generated) = &row.generated {
            let indent = " ".repeat(1 + width + GAP.len());
            let quoted = format!("{indent}{}", shown(generated));
            line(&mut text, &wrap(&quoted, self.width));
        }
        text
    }

    pub fn end(&self, answers: &[Answer]) -> String {
        let mut text = self.rule(answers.len());
        for answer in answers.iter().filter(|answer| answer.tokens.len() > 1) {
            let note = format!(
                "{}: {} tokens; % is the product of their probabilities, rank that of the first",
                answer.shown,
                answer.tokens.len()
            );
            line(&mut text, &wrap(&note, self.width));
        }
        text
    }
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{}", line.trim_end()).expect("a String takes any text");
}
