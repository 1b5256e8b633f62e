//! A single run beside the clean one: the likeliest tokens of both, the answers, what was
//! written.

use std::fmt::Write;

use crate::cli::output::{table, width};
use crate::engine::{Outcome, kl, log_sum, top};
use crate::hook::{Touched, layer_left};
use crate::report::Column::{Numbers, Words};
use crate::report::wrap;
use crate::runtime::Model;
use crate::shown::shown;
use crate::trial::{Answer, Run, percent};

/// How many of the likeliest tokens are shown.
const SHOWN: usize = 10;

pub fn side_by_side(
    model: &Model,
    run: &Run,
    answers: &[Answer],
    clean: &Outcome,
    outcome: &Outcome,
) -> String {
    let column = |outcome: &Outcome| -> Vec<[String; 2]> {
        let log_sum = log_sum(&outcome.logits);
        let best = top(&outcome.logits, SHOWN).into_iter();
        best.map(|(token, logit)| {
            let probability = (f64::from(logit) - log_sum).exp();
            [shown(&model.piece(token)), percent(probability)]
        })
        .collect()
    };
    let rows: Vec<Vec<String>> = column(clean)
        .into_iter()
        .zip(column(outcome))
        .map(|(a, b)| a.into_iter().chain(b).collect())
        .collect();
    let label = run.label();
    let head = ["clean", "%", &label, "%"];
    let tops = table(&head, &rows, &[Words, Numbers, Words, Numbers]);
    format!("{tops}\n{}", findings(run, answers, clean, outcome))
}

/// What became of the answers, how far the distribution moved, and what was written.
pub fn findings(run: &Run, answers: &[Answer], clean: &Outcome, outcome: &Outcome) -> String {
    let rows: Vec<Vec<String>> = answers
        .iter()
        .map(|answer| {
            let (was, is) = (answer.chance(clean), answer.chance(outcome));
            vec![
                answer.shown.clone(),
                was.percent(),
                was.rank.to_string(),
                is.percent(),
                is.rank.to_string(),
            ]
        })
        .collect();
    let label = format!("{}, %", run.label());
    let head = ["answer", "clean, %", "rank", &label, "rank"];
    let mut text = table(&head, &rows, &[Words, Numbers]);
    text.push('\n');
    let mut notes = String::new();
    for answer in answers.iter().filter(|answer| answer.tokens.len() > 1) {
        writeln!(
            notes,
            "{}: {} tokens; % is the product of their probabilities, rank that of the first",
            answer.shown,
            answer.tokens.len()
        )
        .expect("a String takes any text");
    }
    let divergence = kl(&clean.logits, &outcome.logits);
    let written = written(&outcome.touched);
    writeln!(notes, "KL {divergence:.4} nats; wrote {written}").expect("a String takes any text");
    text + &wrap(&notes, width())
}

/// The tensors that were written to, those that differ by a layer alone together.
pub fn written(touched: &[Touched]) -> String {
    let mut families: Vec<(&str, Vec<u32>, usize)> = Vec::new();
    let mut others = Vec::new();
    for Touched { tensor, rows } in touched {
        let parts = tensor.rsplit_once('-');
        let Some((name, layer)) = parts.and_then(|(name, n)| Some((name, n.parse().ok()?))) else {
            others.push(format!("{} of {tensor}", of_rows(*rows)));
            continue;
        };
        match families.iter_mut().find(|family| family.0 == name) {
            Some((_, layers, sum)) => {
                layers.push(layer);
                *sum += rows;
            }
            None => families.push((name, vec![layer], *rows)),
        }
    }
    for (name, mut layers, rows) in families {
        layers.sort_unstable();
        let (first, last) = (layers[0], layers[layers.len() - 1]);
        let tensors = match layers.len() {
            1 => format!("{name}-{first}"),
            n => format!("{n} tensors, {name}-{first} to {name}-{last}"),
        };
        // llama.cpp numbers what a layer gives; a manipulation names what enters one.
        let entered = |n: u32| Some(layer_left(&format!("{name}-{n}"))? + 1);
        let meaning = match (entered(first), entered(last)) {
            (Some(first), _) if layers.len() == 1 => {
                format!(" (the state entering layer {first})")
            }
            (Some(first), Some(last)) => {
                format!(" (the states entering layers {first} to {last})")
            }
            _ => String::new(),
        };
        others.push(format!("{} of {tensors}{meaning}", of_rows(rows)));
    }
    match others.len() {
        0 => "nothing".into(),
        _ => others.join("; "),
    }
}

fn of_rows(n: usize) -> String {
    match n {
        1 => "1 row".into(),
        n => format!("{n} rows"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_are_numbers() {
        let touched = |names: &[&str]| -> Vec<Touched> {
            let one = |tensor: &&str| Touched {
                tensor: tensor.to_string(),
                rows: 5,
            };
            names.iter().map(one).collect()
        };
        assert_eq!(
            written(&touched(&["l_out-10", "l_out-11", "l_out-9"])),
            "15 rows of 3 tensors, l_out-9 to l_out-11 (the states entering layers 10 to 12)"
        );
        assert_eq!(
            written(&touched(&["l_out-14"])),
            "5 rows of l_out-14 (the state entering layer 15)"
        );
        assert_eq!(
            written(&touched(&["embd", "Kcur-3", "Kcur-10"])),
            "5 rows of embd; 10 rows of 2 tensors, Kcur-3 to Kcur-10"
        );
        assert_eq!(written(&[]), "nothing");
    }
}
