//! CNN/DailyMail: a summary of a news article. The paper's figure is the mean of ROUGE-1 and
//! ROUGE-L.

use super::data::{self, Article};
use super::usable::usable;
use super::{
    Asked, Item, ItemSet, Metric, Parts, Room, Scoring, Task, TaskError, TaskSpec, answer_after,
    prompt_for,
};
use crate::engine::{EngineError, Prompt, Tokenizer, Wording};

/// The cnn_dailymail task.
#[derive(Clone, Debug)]
pub struct CnnDailymail {
    /// The articles, in the order of the file.
    pub articles: Vec<Article>,
    /// How the prompt is worded.
    pub wording: Wording,
    /// What a prompt and its answer must fit.
    pub room: Room,
}

/// Tokens of a summary at most, as in the paper.
const MAX_TOKENS: usize = 100;

impl CnnDailymail {
    /// Makes the items for a tokenizer: `limit` articles that can be used,
    /// spread over the file.
    ///
    /// An article that does not fit is cut: the most words from its beginning are kept with
    /// which the prompt and a summary of the greatest length fit, and of a long text without
    /// spaces the most characters.
    ///
    /// # Errors
    /// The tokenizer's.
    pub fn items(&self, tokenizer: &dyn Tokenizer, limit: usize) -> Result<ItemSet, EngineError> {
        usable(
            &self.articles,
            |a| &a.id,
            limit,
            |article| {
                let (prompt, cut) = match self.fitted(tokenizer, &article.article)? {
                    Ok(fitted) => fitted,
                    Err(reason) => return Ok(Err(reason)),
                };
                // The gold answer whose log-probability is recorded is the first highlight.
                let first = article.highlights.lines().next().unwrap_or_default();
                let answer = answer_after(tokenizer, &prompt, first, &[])?;
                Ok(answer.map(|mut answer| {
                    answer.tokens.truncate(MAX_TOKENS);
                    Item {
                        id: article.id.clone(),
                        prompt,
                        answer,
                        scoring: Scoring::Generated {
                            max_tokens: MAX_TOKENS,
                            stop: "\n\n".into(),
                            references: vec![article.highlights.clone()],
                            metric: Metric::Rouge,
                        },
                        cut,
                        foils: Vec::new(),
                        parts: Parts::new(),
                        swap: None,
                    }
                }))
            },
        )
    }

    /// The prompt with as much of the article as fits, and whether that is not all of it; or why
    /// there is none.
    fn fitted(
        &self,
        tokenizer: &dyn Tokenizer,
        article: &str,
    ) -> Result<Result<(Prompt, bool), String>, EngineError> {
        if article.is_empty() {
            return Ok(Err("the article is empty".into()));
        }
        let upto = |end: usize| {
            let text = &article[..end];
            let text =
                format!("Article: {text}\n\nSummary of the article in two or three sentences:");
            prompt_for(tokenizer, &text, self.wording)
        };
        let whole = match upto(article.len())? {
            Ok(whole) => whole,
            Err(reason) => return Ok(Err(reason)),
        };
        let Err(reason) = self.room.fits(&whole, MAX_TOKENS) else {
            return Ok(Ok((whole, false)));
        };
        let fits = |end: usize| {
            let prompt = upto(end)?;
            Ok(prompt.is_ok_and(|prompt| self.room.fits(&prompt, MAX_TOKENS).is_ok()))
        };
        let words = word_ends(article);
        let n = most(words.len(), |n| fits(words[n - 1]))?;
        let mut end = n.checked_sub(1).map_or(0, |last| words[last]);
        // What follows, if it is longer than words are, is no word.
        let next = &article[end..words.get(n).copied().unwrap_or(article.len())];
        let letters: Vec<usize> = next
            .char_indices()
            .map(|(at, c)| at + c.len_utf8())
            .collect();
        if letters.len() > LONGEST_WORD {
            let n = most(letters.len(), |n| fits(end + letters[n - 1]))?;
            end += n.checked_sub(1).map_or(0, |last| letters[last]);
        }
        if article[..end].trim().is_empty() {
            return Ok(Err(reason));
        }
        Ok(upto(end)?.map(|prompt| (prompt, true)))
    }
}

/// A longer run of characters without space is a text of a language that has none between words,
/// or no language.
const LONGEST_WORD: usize = 64;

/// The largest number below `too_many` that will do, found by halving: what does for a number
/// does for smaller ones.
fn most(
    mut too_many: usize,
    will_do: impl Fn(usize) -> Result<bool, EngineError>,
) -> Result<usize, EngineError> {
    let mut does = 0;
    while too_many > does + 1 {
        let middle = usize::midpoint(does, too_many);
        if will_do(middle)? {
            does = middle;
        } else {
            too_many = middle;
        }
    }
    Ok(does)
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

/// The task, as the list of tasks has it.
pub(super) struct Entry;

impl Task for Entry {
    fn sentence(&self) -> &'static str {
        "CNN/DailyMail: a summary of a news article"
    }

    fn example(&self) -> String {
        "Article: ...\\n\\nSummary of the article in two or three sentences: -> a summary".into()
    }

    fn version(&self) -> u32 {
        3
    }

    fn metric(&self) -> Metric {
        Metric::Rouge
    }

    fn reads_data(&self) -> bool {
        true
    }

    fn items(&self, spec: &TaskSpec, asked: Asked<'_>) -> Result<ItemSet, TaskError> {
        let articles = CnnDailymail {
            articles: match spec.data_path() {
                None => data::sample_cnn_dailymail(),
                Some(path) => data::read_cnn_dailymail(path)?,
            },
            wording: asked.wording,
            room: asked.room,
        };
        Ok(articles.items(asked.tokenizer, spec.limit)?)
    }
}
