//! Exact match and F1 of SQuAD 1.1.
//!
//! The rules are those of the official evaluation script (Rajpurkar et al. 2016,
//! arXiv 1606.05250, `evaluate-v1.1.py`), including what follows from them: an empty prediction
//! matches an empty reference exactly and has an F1 of 0.

use std::collections::HashMap;

use unicode_normalization::char::is_combining_mark;

use super::f_measure;

/// What is compared: lower case, without ASCII punctuation, without the words `a`, `an` and
/// `the`, single spaces between the words and none around them.
///
/// Punctuation is deleted, not replaced: `twenty-one` becomes `twentyone`, and `a.` is an article.
pub fn normalize(text: &str) -> String {
    let mut kept = text.to_lowercase();
    kept.retain(|c| !c.is_ascii_punctuation());
    let kept = without_articles(&kept);
    let mut normal = String::with_capacity(kept.len());
    for word in kept.split(is_space).filter(|word| !word.is_empty()) {
        if !normal.is_empty() {
            normal.push(' ');
        }
        normal.push_str(word);
    }
    normal
}

/// Whether the prediction equals one of the references once both are normalized.
pub fn exact_match(prediction: &str, references: &[String]) -> bool {
    let prediction = normalize(prediction);
    references
        .iter()
        .any(|reference| normalize(reference) == prediction)
}

/// The best F1, over the references, of the normalized words as multisets: the harmonic mean of
/// the share of the prediction's words that the reference has and the other way round. From 0
/// to 1; 0 without references.
pub fn f1(prediction: &str, references: &[String]) -> f64 {
    let prediction = normalize(prediction);
    references
        .iter()
        .map(|reference| f1_of_normal(&prediction, &normalize(reference)))
        .fold(0.0, f64::max)
}

fn f1_of_normal(prediction: &str, reference: &str) -> f64 {
    let mut unmatched: HashMap<&str, usize> = HashMap::new();
    let mut in_reference = 0_usize;
    for word in words(reference) {
        *unmatched.entry(word).or_default() += 1;
        in_reference += 1;
    }
    let (mut in_prediction, mut shared) = (0_usize, 0_usize);
    for word in words(prediction) {
        in_prediction += 1;
        if let Some(left) = unmatched.get_mut(word).filter(|left| **left > 0) {
            *left -= 1;
            shared += 1;
        }
    }
    if shared == 0 {
        return 0.0;
    }
    f_measure(
        shared as f64 / in_prediction as f64,
        shared as f64 / in_reference as f64,
    )
}

/// The words of a normalized text.
fn words(normal: &str) -> impl Iterator<Item = &str> {
    normal.split(' ').filter(|word| !word.is_empty())
}

/// Puts a space for every article that stands between word boundaries. A boundary need not be
/// space: in `the–end` the dash, which is not ASCII, is one.
fn without_articles(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let inside = is_word(first);
        let end = rest.find(|c| is_word(c) != inside).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        kept.push_str(if matches!(run, "a" | "an" | "the") {
            " "
        } else {
            run
        });
        rest = after;
    }
    kept
}

/// What the script's language takes for space: Unicode's, and the four ASCII separators.
fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// What `\w` matches in the script: letters and numbers by category. Unicode's property
/// *Alphabetic* also has vowel signs and enclosed letters, which are not letters by category.
fn is_word(c: char) -> bool {
    let enclosed = matches!(c,
        '\u{24b6}'..='\u{24e9}'
        | '\u{1f130}'..='\u{1f149}'
        | '\u{1f150}'..='\u{1f169}'
        | '\u{1f170}'..='\u{1f189}');
    c == '_' || (c.is_alphanumeric() && !is_combining_mark(c) && !enclosed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn references(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn normalizes() {
        assert_eq!(normalize("  The Cat's\t a-hat. "), "cats ahat");
        assert_eq!(normalize("a an the"), "");
        assert_eq!(normalize("A. Then another"), "then another");
        assert_eq!(normalize("the–end"), "–end");
        assert_eq!(normalize("x\u{1d}y\u{a0}z"), "x y z");
        assert_eq!(normalize("O(_A_)"), "oa");
    }

    #[test]
    fn takes_the_best_reference() {
        let two = references(&["the red barn", "a very large red barn"]);
        assert!(exact_match("Red barn!", &two));
        assert!(!exact_match("barn", &two));
        assert_eq!(f1("barn", &two), 2.0 / 3.0);
        assert_eq!(f1("green", &two), 0.0);
        assert_eq!(f1("red", &[]), 0.0);
        assert!(!exact_match("red", &[]));
    }

    #[test]
    fn words_count_as_often_as_they_occur() {
        let one = references(&["dog dog cat"]);
        // Two of four, two of three.
        assert_eq!(
            f1("dog dog dog dog", &one),
            2.0 * 0.5 * (2.0 / 3.0) / (0.5 + 2.0 / 3.0)
        );
    }

    #[test]
    fn nothing_left_is_equal_but_shares_no_word() {
        let article = references(&["the"]);
        assert!(exact_match("", &article));
        assert_eq!(f1("", &article), 0.0);
    }

    proptest! {
        #[test]
        fn one_word_order_and_articles_do_not_matter(words in "[b-z]{2,5}( [b-z]{2,5}){0,6}") {
            prop_assume!(!words.split(' ').any(|w| w == "the"));
            let reference = references(&[&words]);
            let turned: Vec<&str> = words.split(' ').rev().collect();
            prop_assert_eq!(f1(&turned.join(" The, "), &reference), 1.0);
            let with_articles = format!("The {}.", words.to_uppercase());
            prop_assert!(exact_match(&with_articles, &reference));
        }

        #[test]
        fn normalizing_gives_clean_words(text in any::<String>()) {
            let normal = normalize(&text);
            prop_assert_eq!(normal.trim(), &normal);
            prop_assert!(!normal.contains("  "));
            prop_assert!(!normal.split(' ').any(|w| matches!(w, "a" | "an" | "the")));
        }

        #[test]
        fn f1_is_symmetric_and_bounded(a in "[ab ,]{0,20}", b in "[ab ,]{0,20}") {
            let forth = f1(&a, &references(&[&b]));
            let back = f1(&b, &references(&[&a]));
            prop_assert!((forth - back).abs() < 1e-12);
            prop_assert!((0.0..=1.0 + 1e-12).contains(&forth));
        }
    }
}
