//! ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum.
//!
//! Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries", with the rules of the
//! Python package `rouge-score` 0.1.2 under `use_stemmer=True`, which is what papers report.
//! Where several longest common subsequences exist, the same one is taken as there: ROUGE-Lsum
//! depends on which.

use std::collections::HashMap;

use super::f_measure;
use super::porter::stem;

/// F-measures of a prediction against one reference, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rouge {
    /// ROUGE-1: words as a multiset.
    pub r1: f64,
    /// ROUGE-2: pairs of neighbours as a multiset.
    pub r2: f64,
    /// ROUGE-L: the longest common subsequence of the whole texts, lines ignored.
    pub rl: f64,
    /// ROUGE-Lsum: subsequences sentence by sentence, a line being a sentence.
    pub rlsum: f64,
}

/// Scores `prediction` against `reference`. An empty one scores 0, also against an empty one.
pub fn rouge(prediction: &str, reference: &str) -> Rouge {
    let mut words = Words::default();
    let predicted = words.tokenize(prediction);
    let expected = words.tokenize(reference);
    Rouge {
        r1: overlap::<1>(&predicted, &expected),
        r2: overlap::<2>(&predicted, &expected),
        rl: of_hits(
            Subsequences::new(&expected, &predicted).longest(),
            predicted.len(),
            expected.len(),
        ),
        rlsum: summary(&words.sentences(prediction), &words.sentences(reference)),
    }
}

/// Stemmed words by number, so that comparing two is cheap.
#[derive(Default)]
struct Words(HashMap<String, usize>);

impl Words {
    /// The stems of the runs of ASCII letters and digits; all else separates. Words of up to
    /// three letters are not stemmed.
    fn tokenize(&mut self, text: &str) -> Vec<usize> {
        text.to_lowercase()
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty())
            .map(|word| {
                let next = self.0.len();
                let token = if word.len() > 3 {
                    stem(word)
                } else {
                    word.to_string()
                };
                *self.0.entry(token).or_insert(next)
            })
            .collect()
    }

    fn sentences(&mut self, text: &str) -> Vec<Vec<usize>> {
        text.split('\n').map(|line| self.tokenize(line)).collect()
    }
}

/// The F-measure of `hits` words found in both.
fn of_hits(hits: usize, predicted: usize, expected: usize) -> f64 {
    if hits == 0 {
        return 0.0;
    }
    f_measure(
        hits as f64 / predicted as f64,
        hits as f64 / expected as f64,
    )
}

/// ROUGE-N.
fn overlap<const N: usize>(predicted: &[usize], expected: &[usize]) -> f64 {
    let mut unmatched: HashMap<&[usize], usize> = HashMap::new();
    for ngram in expected.windows(N) {
        *unmatched.entry(ngram).or_default() += 1;
    }
    let mut hits = 0;
    for ngram in predicted.windows(N) {
        if let Some(left) = unmatched.get_mut(ngram).filter(|left| **left > 0) {
            *left -= 1;
            hits += 1;
        }
    }
    of_hits(hits, predicted.windows(N).len(), expected.windows(N).len())
}

/// The table of the lengths of longest common subsequences of all beginnings of two texts.
struct Subsequences<'a> {
    expected: &'a [usize],
    predicted: &'a [usize],
    /// [expected.len() + 1, predicted.len() + 1], row by row.
    lengths: Vec<usize>,
}

impl<'a> Subsequences<'a> {
    fn new(expected: &'a [usize], predicted: &'a [usize]) -> Self {
        let width = predicted.len() + 1;
        let mut table = Self {
            expected,
            predicted,
            lengths: vec![0; (expected.len() + 1) * width],
        };
        for (i, word) in expected.iter().enumerate() {
            for (j, other) in predicted.iter().enumerate() {
                table.lengths[(i + 1) * width + j + 1] = if word == other {
                    table.length(i, j) + 1
                } else {
                    table.length(i, j + 1).max(table.length(i + 1, j))
                };
            }
        }
        table
    }

    /// For the first `i` words of the expected text and the first `j` of the predicted.
    fn length(&self, i: usize, j: usize) -> usize {
        self.lengths[i * (self.predicted.len() + 1) + j]
    }

    fn longest(&self) -> usize {
        self.length(self.expected.len(), self.predicted.len())
    }

    /// Marks the words of the expected text that are in one longest common subsequence: the one
    /// found from the end backwards, giving up an expected word where there is a choice.
    fn mark(&self, found: &mut [bool]) {
        let (mut i, mut j) = (self.expected.len(), self.predicted.len());
        while i > 0 && j > 0 {
            if self.expected[i - 1] == self.predicted[j - 1] {
                found[i - 1] = true;
                i -= 1;
                j -= 1;
            } else if self.length(i, j - 1) > self.length(i - 1, j) {
                j -= 1;
            } else {
                i -= 1;
            }
        }
    }
}

/// ROUGE-Lsum: for each expected sentence the union of its subsequences with every predicted
/// one (Lin 2004, section 3.2). A word hits at most as often as either text has it, as in
/// ROUGE 1.5.5, though the paper does not say so.
fn summary(predicted: &[Vec<usize>], expected: &[Vec<usize>]) -> f64 {
    let mut left_predicted = counts(predicted);
    let mut left_expected = counts(expected);
    let mut hits = 0;
    for sentence in expected {
        let mut found = vec![false; sentence.len()];
        for other in predicted {
            Subsequences::new(sentence, other).mark(&mut found);
        }
        for (word, _) in sentence.iter().zip(&found).filter(|(_, found)| **found) {
            let here = left_predicted.get_mut(word).filter(|left| **left > 0);
            let there = left_expected.get_mut(word).filter(|left| **left > 0);
            if let (Some(here), Some(there)) = (here, there) {
                *here -= 1;
                *there -= 1;
                hits += 1;
            }
        }
    }
    let total = |sentences: &[Vec<usize>]| sentences.iter().map(Vec::len).sum();
    of_hits(hits, total(predicted), total(expected))
}

fn counts(sentences: &[Vec<usize>]) -> HashMap<usize, usize> {
    let mut counts = HashMap::new();
    for word in sentences.iter().flatten() {
        *counts.entry(*word).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-12
    }

    #[test]
    fn counts_by_hand() {
        // Shared: the, cat, the, mat; pairs: the cat, the mat; in order: the cat the mat.
        let found = rouge("the cat sat near the mat", "The cats left the mat.");
        assert!(near(found.r1, 8.0 / 11.0));
        assert!(near(found.r2, 4.0 / 9.0));
        assert!(near(found.rl, 8.0 / 11.0));
        assert!(near(found.rlsum, 8.0 / 11.0));
    }

    #[test]
    fn lines_are_sentences_for_the_last_only() {
        let found = rouge("two three\nsix one", "six one\ntwo three");
        assert!(near(found.r1, 1.0));
        assert!(near(found.rl, 0.5));
        assert!(near(found.rlsum, 1.0));
    }

    #[test]
    fn a_word_hits_as_often_as_both_have_it() {
        let found = rouge("fish", "fish\nfish\nfish");
        assert!(near(found.rlsum, 0.5));
    }

    #[test]
    fn what_is_not_ascii_separates() {
        assert_eq!(rouge("caf\u{e9}s", "caf s").r1, 1.0);
        // The Kelvin sign's lower case is an ASCII k.
        assert_eq!(rouge("\u{212a}ing", "king").r1, 1.0);
    }

    #[test]
    fn empty_texts_score_nothing() {
        for (a, b) in [
            ("", ""),
            ("", "word"),
            ("word", ""),
            ("...", "!\n?"),
            ("\n", "\n\n"),
        ] {
            assert_eq!(rouge(a, b), Rouge::default(), "{a:?} {b:?}");
        }
        // A single word has no pairs.
        assert_eq!(rouge("word", "word").r2, 0.0);
    }

    proptest! {
        #[test]
        fn a_text_is_all_of_itself(text in "[a-e]{1,4}([ \n][a-e]{1,4}){1,12}") {
            let found = rouge(&text, &text);
            for score in [found.r1, found.r2, found.rl, found.rlsum] {
                prop_assert!(near(score, 1.0), "{:?}", found);
            }
        }

        #[test]
        fn subsequences_are_among_the_words(a in "[a-c \n]{0,30}", b in "[a-c \n]{0,30}") {
            let found = rouge(&a, &b);
            prop_assert!(found.rl <= found.r1 + 1e-12);
            prop_assert!(found.rlsum <= found.r1 + 1e-12);
            let back = rouge(&b, &a);
            prop_assert!(near(found.r1, back.r1) && near(found.r2, back.r2));
            prop_assert!(near(found.rl, back.rl));
        }
    }
}
