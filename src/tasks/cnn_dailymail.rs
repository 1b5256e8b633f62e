//! CNN/DailyMail: a summary of a news article. The paper's figure is the mean of ROUGE-1 and
//! ROUGE-L.

use std::collections::BTreeMap;

use super::data::Article;
use super::metrics::rouge::rouge;
use super::usable::usable;
use super::{Item, ItemSet, Scores, Scoring, answer_after, prompt_for};
use crate::engine::{Engine, EngineError, Prompt};

/// The cnn_dailymail task.
#[derive(Clone, Debug)]
pub struct CnnDailymail {
    /// The articles, in the order of the file.
    pub articles: Vec<Article>,
    /// Whether the prompt goes into the model's chat template.
    pub chat: bool,
    /// Tokens that fit the context.
    pub n_ctx: usize,
}

/// Tokens of a summary at most, as in the paper.
const MAX_TOKENS: usize = 100;

impl CnnDailymail {
    /// Makes the items for the engine's tokenizer: `limit` articles that can be used,
    /// spread over the file.
    ///
    /// An article that does not fit is cut: the most words from its beginning are kept with
    /// which the prompt and a summary of the greatest length fit the context.
    ///
    /// # Errors
    /// The engine's.
    pub fn items(&self, engine: &dyn Engine, limit: usize) -> Result<ItemSet, EngineError> {
        usable(
            &self.articles,
            |a| &a.id,
            limit,
            |article| {
                let (prompt, cut) = self.fitted(engine, &article.article)?;
                // The gold answer whose log-probability is recorded is the first highlight.
                let first = article.highlights.lines().next().unwrap_or_default();
                let answer = answer_after(engine, &prompt, first, &[])?;
                Ok(answer.map(|mut answer| {
                    answer.tokens.truncate(MAX_TOKENS);
                    Item {
                        id: article.id.clone(),
                        prompt,
                        answer,
                        scoring: Scoring::Generated {
                            max_tokens: MAX_TOKENS,
                            stop: "\n\n",
                            references: vec![article.highlights.clone()],
                        },
                        cut,
                        swap: None,
                    }
                }))
            },
        )
    }

    fn fitted(&self, engine: &dyn Engine, article: &str) -> Result<(Prompt, bool), EngineError> {
        let room = self.n_ctx.saturating_sub(MAX_TOKENS);
        let ends = word_ends(article);
        let prompt = |words: usize| {
            let text = &article[..ends[words - 1]];
            let text =
                format!("Article: {text}\n\nSummary of the article in two or three sentences:");
            prompt_for(engine, &text, self.chat)
        };
        let whole = prompt(ends.len())?;
        if whole.tokens.len() <= room || ends.len() < 2 {
            return Ok((whole, false));
        }
        // The most words that fit, by halving: more words never make fewer tokens.
        let (mut fits, mut too_many) = (1, ends.len());
        while too_many - fits > 1 {
            let middle = usize::midpoint(fits, too_many);
            if prompt(middle)?.tokens.len() <= room {
                fits = middle;
            } else {
                too_many = middle;
            }
        }
        Ok((prompt(fits)?, true))
    }
}

/// The byte offset behind each word of a text.
fn word_ends(text: &str) -> Vec<usize> {
    let mut ends = Vec::new();
    let mut in_word = false;
    for (at, c) in text.char_indices() {
        if c.is_whitespace() && in_word {
            ends.push(at);
        }
        in_word = !c.is_whitespace();
    }
    if in_word || ends.is_empty() {
        ends.push(text.len());
    }
    ends
}

pub(super) fn score(prediction: &str, references: &[String]) -> Scores {
    let reference = references.first().map_or("", String::as_str);
    let r = rouge(prediction, reference);
    Scores {
        score: (r.r1 + r.rl) / 2.0,
        correct: false,
        metrics: BTreeMap::from([
            ("rouge1".to_string(), r.r1),
            ("rouge2".to_string(), r.r2),
            ("rougeL".to_string(), r.rl),
            ("rougeLsum".to_string(), r.rlsum),
        ]),
    }
}
