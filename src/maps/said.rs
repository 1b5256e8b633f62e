//! The likeliest next tokens of a map's runs, beside the clean run's.

use crate::engine::{Spread, Tokenizer, top};
use crate::runtime::Token;

/// How many of the likeliest tokens are kept of each run.
const KEPT: usize = 5;

/// What the runs of a map say comes next.
#[derive(Clone, Debug, PartialEq)]
pub struct Says {
    /// The clean run's likeliest tokens.
    pub clean: Vec<Next>,
    /// By row, then by layer: each cell's likeliest five and the clean run's, the likeliest first;
    /// nothing where the manipulation has no place. Of several seeds the first.
    pub cells: Vec<Vec<Vec<Next>>>,
}

/// A token that may come next.
#[derive(Clone, Debug, PartialEq)]
pub struct Next {
    /// Its id.
    pub token: Token,
    /// Its text.
    pub text: String,
    /// Natural logarithm of its probability in the run.
    pub logprob: f64,
    /// The same in the clean run.
    pub clean: f64,
}

/// The clean run's next token.
pub(super) struct Clean {
    logits: Vec<f32>,
    spread: Spread,
    top: Vec<Token>,
}

impl Clean {
    pub fn of(logits: &[f32]) -> Self {
        Self {
            logits: logits.to_vec(),
            spread: Spread::of(logits),
            top: likeliest(logits),
        }
    }

    /// The likeliest tokens of a run and of the clean one; their texts are not known yet.
    pub fn beside(&self, logits: &[f32]) -> Vec<Next> {
        let spread = Spread::of(logits);
        let mut tokens = likeliest(logits);
        let own = tokens.clone();
        tokens.extend(self.top.iter().filter(|token| !own.contains(token)));
        let logprob = |logits: &[f32], spread: &Spread, token: Token| {
            f64::from(logits[token.0 as usize]) - spread.log_sum
        };
        let mut next: Vec<Next> = tokens
            .into_iter()
            .map(|token| Next {
                token,
                text: String::new(),
                logprob: logprob(logits, &spread, token),
                clean: logprob(&self.logits, &self.spread, token),
            })
            .collect();
        next.sort_by(|a, b| b.logprob.total_cmp(&a.logprob));
        next
    }
}

fn likeliest(logits: &[f32]) -> Vec<Token> {
    top(logits, KEPT)
        .into_iter()
        .map(|(token, _)| token)
        .collect()
}

impl Says {
    /// Nothing yet, but of the clean run.
    pub(super) fn new(clean: &Clean, (rows, layers): (usize, usize)) -> Self {
        Self {
            clean: clean.beside(&clean.logits),
            cells: vec![vec![Vec::new(); layers]; rows],
        }
    }

    /// Writes the tokens' texts.
    pub(super) fn spell(&mut self, tokenizer: &dyn Tokenizer) {
        let cells = self.cells.iter_mut().flatten().flatten();
        for next in self.clean.iter_mut().chain(cells) {
            next.text = tokenizer.piece(next.token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_stands_beside_the_clean_one() {
        let clean: Vec<f32> = (0..20).map(|n| n as f32).collect();
        let mut run = clean.clone();
        run[3] = 40.0;
        let clean = Clean::of(&clean);
        let next = clean.beside(&run);
        let ids: Vec<i32> = next.iter().map(|next| next.token.0).collect();
        assert_eq!(
            ids,
            [3, 19, 18, 17, 16, 15],
            "its own five, and the clean run's"
        );
        assert!(next[0].logprob > -1e-6 && next[0].clean < -15.0);
        assert!(next[5].logprob < -20.0 && next[5].clean > -5.0);
        let says = Says::new(&clean, (1, 2));
        assert!(says.clean.iter().all(|next| next.logprob == next.clean));
        assert_eq!((says.clean.len(), says.cells[0].len()), (5, 2));
    }
}
