//! Texts for a tokenizer: which of their parts may spell out special tokens.

use std::ops::Range;

/// A text of two kinds of parts. In **markup** a special token that is spelled out, such as
/// `<|im_end|>`, is that token; in **data** it is text like any other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    whole: String,
    /// The bytes that are markup: ranges in order, none of which touches the next.
    markup: Vec<Range<usize>>,
}

impl Text {
    /// A text that is data from beginning to end.
    pub fn data(text: &str) -> Self {
        Self::default().with_data(text)
    }

    /// A text that is markup from beginning to end.
    pub fn markup(text: &str) -> Self {
        Self::default().with_markup(text)
    }

    /// The text with data appended.
    #[must_use]
    pub fn with_data(mut self, text: &str) -> Self {
        self.whole.push_str(text);
        self
    }

    /// The text with markup appended.
    #[must_use]
    pub fn with_markup(mut self, text: &str) -> Self {
        let start = self.whole.len();
        self.whole.push_str(text);
        let end = self.whole.len();
        match self.markup.last_mut() {
            _ if text.is_empty() => {}
            Some(last) if last.end == start => last.end = end,
            _ => self.markup.push(start..end),
        }
        self
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.whole
    }

    /// Whether all bytes of `range` are markup.
    pub fn is_markup(&self, range: &Range<usize>) -> bool {
        let n = self.markup.partition_point(|part| part.end < range.end);
        let part = self.markup.get(n);
        part.is_some_and(|part| part.start <= range.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_told_from_data() {
        let text = Text::markup("<a>").with_markup("<b>").with_data("<c>");
        let text = text.with_markup("").with_data("d").with_markup("<e>");
        assert_eq!(text.as_str(), "<a><b><c>d<e>");
        for (range, markup) in [
            (0..3, true),
            (2..6, true),
            (3..6, true),
            (5..7, false),
            (6..9, false),
            (9..10, false),
            (9..13, false),
            (10..13, true),
        ] {
            assert_eq!(text.is_markup(&range), markup, "{range:?}");
        }
        assert!(!Text::data("<a>").is_markup(&(0..3)));
        assert_eq!(
            Text::markup("a").with_data("b").with_data("c"),
            Text::markup("a").with_data("bc")
        );
    }
}
