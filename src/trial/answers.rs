//! The answers that a trial follows, and how probable a run makes them.

use super::TrialError;
use crate::engine::{Engine, Outcome, Prompt, Request, logprob, rank};
use crate::runtime::{Model, Token};
use crate::shown::{plain, shown};

#[derive(Clone, Debug)]
/// An answer and its tokens: those of prompt and answer together, after the prompt's own.
pub struct Answer {
    /// The text.
    pub text: String,
    /// Its tokens.
    pub tokens: Vec<Token>,
    /// In quotes, for people.
    pub shown: String,
    /// Its place among the continuations; an answer of a single token needs none.
    branch: Option<usize>,
}

/// What a run makes of an answer.
#[derive(Clone, Copy)]
pub struct Chance {
    /// Natural logarithm of the probability that the whole answer follows the prompt: the sum
    /// over its tokens.
    pub logprob: f64,
    /// Rank of its first token after the prompt; 1 is the likeliest.
    pub rank: usize,
}

impl Chance {
    /// The probability in percent, in seven characters at most.
    pub fn percent(self) -> String {
        percent(self.logprob.exp())
    }
}

/// A probability in percent, in seven characters at most: two decimals, and one digit with its
/// exponent where these would be zeros.
pub fn percent(probability: f64) -> String {
    let percent = 100.0 * probability;
    if percent > 0.0 && percent < 0.005 {
        format!("{percent:.0e}")
    } else {
        format!("{percent:.2}")
    }
}

impl Answer {
    /// The likeliest next token of the clean run.
    pub fn likeliest(model: &Model, clean: &Outcome) -> Self {
        let token = clean.argmax();
        let bytes = model.piece(token);
        Self {
            text: plain(&bytes),
            tokens: vec![token],
            shown: shown(&bytes),
            branch: None,
        }
    }

    /// The answers asked about, and the tokens to be appended so that they can be followed.
    ///
    /// # Errors
    /// [`TrialError::Usage`] for an answer without tokens, or one that the prompt's end merges with.
    pub fn of(
        engine: &dyn Engine,
        prompt: &Prompt,
        texts: &[String],
    ) -> Result<(Vec<Self>, Vec<Vec<Token>>), TrialError> {
        let mut continuations: Vec<Vec<Token>> = Vec::new();
        let mut answers = Vec::new();
        for text in texts {
            let tokens = answer_tokens(engine, prompt, text, "`answer`")?;
            let [before @ .., _] = &tokens[..] else {
                return Err(TrialError::Usage(format!(
                    "{text:?} has no tokens (`answer`)"
                )));
            };
            let branch = (!before.is_empty()).then_some(continuations.len());
            if branch.is_some() {
                continuations.push(before.to_vec());
            }
            answers.push(Self {
                text: text.clone(),
                shown: shown(text.as_bytes()),
                tokens,
                branch,
            });
        }
        Ok((answers, continuations))
    }

    /// What the run makes of it.
    pub fn chance(&self, outcome: &Outcome) -> Chance {
        let logprobs = self.tokens.iter().enumerate().map(|(n, token)| {
            let logits = outcome.after(self.branch.unwrap_or(0), n);
            logprob(logits, *token)
        });
        Chance {
            logprob: logprobs.sum(),
            rank: rank(&outcome.logits, self.tokens[0]),
        }
    }
}

/// Has the request's prompt followed by what the answers need.
pub fn follow(mut request: Request, continuations: &[Vec<Token>]) -> Request {
    request.continuations = continuations.to_vec();
    request
}

/// The tokens that an answer adds to a prompt; `option` is what an error names.
///
/// # Errors
/// [`TrialError::Usage`] where the answer's first token would be one with the prompt's end.
pub fn answer_tokens(
    engine: &dyn Engine,
    prompt: &Prompt,
    answer: &str,
    option: &str,
) -> Result<Vec<Token>, TrialError> {
    let whole = engine.tokenized(&prompt.source().clone().with_markup(answer))?;
    match whole.tokens.strip_prefix(&prompt.tokens[..]) {
        Some(tokens) => Ok(tokens.to_vec()),
        None => Err(TrialError::Usage(format!(
            "the first token of {answer:?} would be one with the end of the prompt; where the prompt ends with a space, begin the answer with it instead ({option} ' {}', `prompt`)",
            answer.trim_start()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_probabilities_keep_a_digit() {
        assert_eq!(percent(0.95741), "95.74");
        assert_eq!(percent(1.0), "100.00");
        assert_eq!(percent(0.0), "0.00");
        assert_eq!(percent(3.2e-7), "3e-5");
        assert_eq!(percent(1e-120), "1e-118");
    }
}
