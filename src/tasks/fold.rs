//! Comparing answers without case, diacritics and outer space.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Lower case, without diacritics, without the space around it. A text of nothing but space
/// keeps it, so that a lone space never equals an empty answer.
pub fn fold(text: &str) -> String {
    let trimmed = text.trim();
    let kept = if trimmed.is_empty() { text } else { trimmed };
    kept.nfd()
        .filter(|c| !is_combining_mark(*c))
        .flat_map(char::to_lowercase)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds() {
        assert_eq!(fold(" Brasília"), "brasilia");
        assert_eq!(fold("São Tomé "), "sao tome");
        assert_eq!(fold(" "), " ");
        assert_eq!(fold(""), "");
    }
}
