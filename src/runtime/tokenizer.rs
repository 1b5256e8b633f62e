//! Text into tokens: llama.cpp's tokenizer, with special tokens read in markup only, and what it
//! puts around a text known beforehand.

use std::collections::HashMap;
use std::ffi::CStr;
use std::ops::Range;

use llama_cpp_2::vocab::LlamaVocab;
use llama_cpp_sys_2 as sys;

use super::{Text, Token};

/// Why a token is looked for in a text before anything else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It controls (BOS, end of turn). Read in markup only.
    Control,
    /// It stands for what is not in the vocabulary. Read in markup only.
    Unknown,
    /// The vocabulary's maker wants it kept whole. Read in data, too.
    UserDefined,
}

/// A token that llama.cpp looks for in a text before anything else.
#[derive(Clone, Debug)]
struct Special {
    token: Token,
    text: Vec<u8>,
    kind: Kind,
    /// Swallows the space before it.
    lstrip: bool,
    /// Swallows the space behind it.
    rstrip: bool,
}

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fragment {
    /// Bytes to be tokenized.
    Raw(Range<usize>),
    /// A special token.
    Special(Token),
}

/// What there is to know of a vocabulary before a text is tokenized.
#[derive(Debug)]
pub(super) struct Tokenizer {
    /// The longest first, as llama.cpp looks for them.
    special: Vec<Special>,
    /// Control tokens by number, spelled in tokens that are a letter each.
    spelled: HashMap<i32, Vec<Token>>,
    /// Whether it is a SentencePiece vocabulary, which has a BOS and an EOS by itself.
    pub sentence_piece: bool,
    /// What the tokenizer puts before every text (BOS, CLS).
    pub before: Option<Token>,
    /// What the tokenizer would put behind every text (EOS, SEP). It is never put there: texts
    /// are to be continued.
    pub behind: Option<Token>,
}

impl Tokenizer {
    /// Reads a vocabulary.
    ///
    /// # Safety
    /// `vocab` is that of a live model, and not an empty one.
    pub unsafe fn of(vocab: *const sys::llama_vocab) -> Self {
        // SAFETY: the caller's promise.
        let n = unsafe { sys::llama_vocab_n_tokens(vocab) };
        let mut special = Vec::new();
        let mut letters = [None; 128];
        for id in 0..n {
            // SAFETY: the id is within the vocabulary.
            let attr = unsafe { sys::llama_vocab_get_attr(vocab, id) };
            // SAFETY: as above.
            let text = unsafe { sys::llama_vocab_get_text(vocab, id) };
            // SAFETY: a token's text is NUL-terminated and lives as long as the model.
            let text = unsafe { CStr::from_ptr(text) }.to_bytes();
            let has = |flag: sys::llama_token_attr| attr & flag != 0;
            let kind = if has(sys::LLAMA_TOKEN_ATTR_CONTROL) {
                Kind::Control
            } else if has(sys::LLAMA_TOKEN_ATTR_UNKNOWN) {
                Kind::Unknown
            } else if has(sys::LLAMA_TOKEN_ATTR_USER_DEFINED) {
                Kind::UserDefined
            } else {
                if let [letter @ 0..128] = text {
                    letters[usize::from(*letter)] = Some(Token(id));
                }
                continue;
            };
            if !text.is_empty() {
                special.push(Special {
                    token: Token(id),
                    text: text.to_vec(),
                    kind,
                    lstrip: has(sys::LLAMA_TOKEN_ATTR_LSTRIP),
                    rstrip: has(sys::LLAMA_TOKEN_ATTR_RSTRIP),
                });
            }
        }
        special.sort_by_key(|special| std::cmp::Reverse(special.text.len()));
        // SAFETY: the caller's promise.
        let (before, behind) = unsafe { around(vocab) };
        // SAFETY: the caller's promise.
        let kind = unsafe { sys::llama_vocab_type(vocab) };
        let known = |id: Option<i32>| id.filter(|id| (0..n).contains(id)).map(Token);
        Self {
            spelled: spelled(&special, &letters),
            special,
            sentence_piece: kind == sys::LLAMA_VOCAB_TYPE_SPM,
            before: known(before),
            behind: known(behind),
        }
    }

    /// The tokens of a text, with what belongs before it unless the text begins with that, and
    /// nothing behind it.
    pub fn tokenize(&self, vocab: &LlamaVocab<'_>, text: &Text) -> Vec<Token> {
        let mut tokens = Vec::new();
        for fragment in self.partition(text) {
            match fragment {
                Fragment::Special(token) => tokens.push(token),
                Fragment::Raw(range) => {
                    let raw = &text.as_str().as_bytes()[range];
                    for token in vocab.tokenize(raw, false, false) {
                        self.push_plain(token, &mut tokens);
                    }
                }
            }
        }
        if let Some(before) = self.before.filter(|before| tokens.first() != Some(before)) {
            tokens.insert(0, before);
        }
        tokens
    }

    /// The first special token that a text spells out, and that is read in markup only.
    pub fn spelled_out(&self, text: &str) -> Option<String> {
        let found = self.occurring(text.as_bytes());
        let special = found.into_iter().find(|s| s.kind != Kind::UserDefined)?;
        Some(String::from_utf8_lossy(&special.text).into_owned())
    }

    /// Splits a text at its special tokens, the longest first, as llama.cpp does
    /// (llama_vocab::impl::tokenizer_st_partition).
    fn partition(&self, text: &Text) -> Vec<Fragment> {
        let bytes = text.as_str().as_bytes();
        let mut fragments = vec![Fragment::Raw(0..bytes.len())];
        for special in self.occurring(bytes) {
            let mut split = Vec::with_capacity(fragments.len());
            for fragment in fragments {
                match fragment {
                    Fragment::Raw(range) => special.split(text, range, &mut split),
                    Fragment::Special(_) => split.push(fragment),
                }
            }
            fragments = split;
        }
        fragments.retain(|fragment| !matches!(fragment, Fragment::Raw(range) if range.is_empty()));
        fragments
    }

    /// The special tokens that occur in a text, the longest first. (Some vocabularies have
    /// thousands, so that a search for each takes long.)
    fn occurring(&self, bytes: &[u8]) -> Vec<&Special> {
        let mut by_first: Vec<Vec<usize>> = vec![Vec::new(); 256];
        for (n, special) in self.special.iter().enumerate() {
            by_first[usize::from(special.text[0])].push(n);
        }
        let mut found = vec![false; self.special.len()];
        for (at, byte) in bytes.iter().enumerate() {
            for n in &by_first[usize::from(*byte)] {
                found[*n] |= bytes[at..].starts_with(&self.special[*n].text);
            }
        }
        let of = self.special.iter().zip(found);
        of.filter(|(_, found)| *found).map(|(s, _)| s).collect()
    }

    /// Appends a token of a text without special tokens. SentencePiece vocabularies as llama.cpp
    /// reads them put pieces together whatever comes of it, so that `</` and `s>` may make an end
    /// token; such a token is spelled in letters.
    fn push_plain(&self, token: Token, tokens: &mut Vec<Token>) {
        match self.spelled.get(&token.0) {
            Some(letters) => tokens.extend(letters),
            None => tokens.push(token),
        }
    }
}

/// The control tokens whose letters are all in the vocabulary, in these.
fn spelled(special: &[Special], letters: &[Option<Token>; 128]) -> HashMap<i32, Vec<Token>> {
    let letter = |byte: &u8| letters.get(usize::from(*byte)).copied().flatten();
    let control = special.iter().filter(|s| s.kind == Kind::Control);
    control
        .filter_map(|s| Some((s.token.0, s.text.iter().map(letter).collect::<Option<_>>()?)))
        .collect()
}

/// What the tokenizer puts before and behind a text, as in llama_vocab::impl::tokenize. Where
/// the file names no such token it is negative, and llama.cpp would assert.
///
/// # Safety
/// `vocab` is that of a live model.
unsafe fn around(vocab: *const sys::llama_vocab) -> (Option<i32>, Option<i32>) {
    // SAFETY: the caller's promise.
    let kind = unsafe { sys::llama_vocab_type(vocab) };
    // SAFETY: as above.
    let adds_bos = unsafe { sys::llama_vocab_get_add_bos(vocab) };
    // SAFETY: as above.
    let adds_eos = unsafe { sys::llama_vocab_get_add_eos(vocab) };
    // SAFETY: as above.
    let bos = unsafe { sys::llama_vocab_bos(vocab) };
    // SAFETY: as above.
    let eos = unsafe { sys::llama_vocab_eos(vocab) };
    // SAFETY: as above.
    let sep = unsafe { sys::llama_vocab_sep(vocab) };
    match kind {
        sys::LLAMA_VOCAB_TYPE_NONE | sys::LLAMA_VOCAB_TYPE_RWKV => (None, None),
        sys::LLAMA_VOCAB_TYPE_WPM => (Some(bos), Some(sep)),
        _ => (adds_bos.then_some(bos), adds_eos.then_some(eos)),
    }
}

impl Special {
    /// Splits a range of a text at this token.
    fn split(&self, text: &Text, range: Range<usize>, into: &mut Vec<Fragment>) {
        let bytes = text.as_str().as_bytes();
        // C's isspace.
        let space = |at: usize| matches!(bytes[at], b' ' | b'\t'..=b'\r');
        let (mut start, mut from) = (range.start, range.start);
        while let Some(at) = find(&bytes[from..range.end], &self.text) {
            let found = from + at..from + at + self.text.len();
            if self.kind != Kind::UserDefined && !text.is_markup(&found) {
                from = found.start + 1;
                continue;
            }
            let mut left = start..found.start;
            while self.lstrip && !left.is_empty() && space(left.end - 1) {
                left.end -= 1;
            }
            into.push(Fragment::Raw(left));
            into.push(Fragment::Special(self.token));
            start = found.end;
            while self.rstrip && start < range.end && space(start) {
                start += 1;
            }
            from = start;
        }
        into.push(Fragment::Raw(start..range.end));
    }
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::{Architecture, Synthetic, Vocabulary};

    fn tokenizer(special: &[(&str, Kind, bool, bool)]) -> Tokenizer {
        let special = special.iter().enumerate();
        let mut special: Vec<Special> = special
            .map(|(n, (text, kind, lstrip, rstrip))| Special {
                token: Token(n as i32),
                text: text.as_bytes().to_vec(),
                kind: *kind,
                lstrip: *lstrip,
                rstrip: *rstrip,
            })
            .collect();
        special.sort_by_key(|special| std::cmp::Reverse(special.text.len()));
        let mut letters = [None; 128];
        letters[usize::from(b'<')] = Some(Token(60));
        letters[usize::from(b's')] = Some(Token(115));
        letters[usize::from(b'>')] = Some(Token(62));
        Tokenizer {
            spelled: spelled(&special, &letters),
            special,
            sentence_piece: false,
            before: None,
            behind: None,
        }
    }

    /// The parts of a text, special tokens in brackets.
    fn parts(tokenizer: &Tokenizer, text: &Text) -> Vec<String> {
        let parts = tokenizer.partition(text).into_iter();
        parts
            .map(|fragment| match fragment {
                Fragment::Raw(range) => text.as_str()[range].to_string(),
                Fragment::Special(token) => format!("[{}]", token.0),
            })
            .collect()
    }

    #[test]
    fn control_tokens_are_read_in_markup_and_others_everywhere() {
        let tokenizer = tokenizer(&[
            ("<s>", Kind::Control, false, false),
            ("<s><s>", Kind::UserDefined, false, false),
            ("<unk>", Kind::Unknown, false, false),
        ]);
        let all = parts(&tokenizer, &Text::markup("a<s>b<unk>c<s><s>"));
        assert_eq!(all, ["a", "[0]", "b", "[2]", "c", "[1]"]);
        let none = parts(&tokenizer, &Text::data("a<s>b<unk>c<s><s>"));
        assert_eq!(none, ["a<s>b<unk>c", "[1]"]);
        let some = Text::markup("<s>").with_data("x<s>y").with_markup("<s>");
        assert_eq!(parts(&tokenizer, &some), ["[0]", "x<s>y", "[0]"]);
        let half = Text::markup("<").with_data("s>").with_markup("z");
        assert_eq!(parts(&tokenizer, &half), ["<s>z"]);
        assert_eq!(tokenizer.spelled_out("a <unk> b"), Some("<unk>".into()));
        assert_eq!(tokenizer.spelled_out("a <s b"), None);
    }

    #[test]
    fn the_longest_comes_first_and_swallows_space_as_it_says() {
        let tokenizer = tokenizer(&[
            ("<end>", Kind::Control, true, false),
            ("<end>>", Kind::Control, false, true),
        ]);
        let text = Text::markup("a \n<end>  b  <end>> \t c<end>");
        let expected = ["a", "[0]", "  b  ", "[1]", "c", "[0]"];
        assert_eq!(parts(&tokenizer, &text), expected);
        assert_eq!(parts(&tokenizer, &Text::markup("  <end>")), ["[0]"]);
        assert!(parts(&tokenizer, &Text::data("")).is_empty());
    }

    /// Where data spell out nothing, llama.cpp's own reading of the whole text is the same, but
    /// for the end that it may add.
    #[test]
    fn a_text_of_markup_is_read_as_llama_cpp_reads_it() {
        let synthetic = Synthetic {
            vocabulary: Vocabulary::Bytes,
            ..Synthetic::new(Architecture::Llama)
        };
        let model = synthetic.build().unwrap();
        for text in [
            "",
            "a b",
            "<s>a",
            " <s> a</s> b</s></s>",
            "<unk>",
            "</s",
            "\u{e9}\n<s",
        ] {
            let mut theirs = model.inner.vocab().tokenize(text.as_bytes(), true, true);
            if theirs.starts_with(&[Token(1), Token(1)]) {
                // A BOS that is written is not written twice.
                theirs.remove(0);
            }
            assert_eq!(
                model.tokenize(&Text::markup(text)).unwrap(),
                theirs,
                "{text}"
            );
        }
        let data = model.tokenize(&Text::data("<s>a</s>")).unwrap();
        assert_eq!(data.iter().filter(|t| (0..3).contains(&t.0)).count(), 1);
        let bytes: Vec<u8> = data[1..].iter().flat_map(|t| model.piece(*t)).collect();
        assert_eq!(bytes, b" <s>a</s>");
    }

    #[test]
    fn a_control_token_made_of_text_is_spelled_in_letters() {
        let tokenizer = tokenizer(&[
            ("<s>", Kind::Control, false, false),
            ("<e>", Kind::Control, false, false),
            ("<u>", Kind::Unknown, false, false),
        ]);
        let mut tokens = Vec::new();
        for token in [9, 0, 1, 2] {
            tokenizer.push_plain(Token(token), &mut tokens);
        }
        let ids: Vec<i32> = tokens.iter().map(|token| token.0).collect();
        // There is no letter e, and an unknown token stands for what it stands for.
        assert_eq!(ids, [9, 60, 115, 62, 1, 2]);
    }
}
