//! Names of a repository's model files: which are models, which are parts of one, what tags
//! they hold.

/// A model in the listing, of one file or several.
#[derive(Debug)]
pub(super) struct Candidate<'a> {
    /// Its files: one, or all parts that are listed, in order.
    pub(super) files: Vec<&'a str>,
    /// The path without what all candidates end in, in lower case.
    pub(super) stem: String,
    /// How many files it should have.
    pub(super) parts: usize,
    /// Whether it looks like something that goes with a model rather than like the model.
    pub(super) aside: bool,
}

/// What goes with a model and is none, by how the name of the file begins: heads and small models
/// that guess ahead.
const NO_MODELS: [&str; 4] = ["mtp-", "eagle3-", "dflash-", "dspark-"];
/// The same by what the name contains: projectors of images, matrices of importance.
const NO_MODELS_ANYWHERE: [&str; 2] = ["mmproj", "imatrix"];
/// What hardly is a model when there is another file that could be meant.
const ASIDE: [&str; 8] = [
    "mtp-", "eagle3-", "dflash-", "dspark-", "lora", "adapter", "draft", "vocab",
];

/// The models among the files of a repository.
pub(super) fn candidates(files: &[String]) -> Vec<Candidate<'_>> {
    let models = files.iter().map(String::as_str).filter(|file| {
        let base = base(file);
        !NO_MODELS.iter().any(|begin| base.starts_with(begin))
            && !NO_MODELS_ANYWHERE.iter().any(|word| base.contains(word))
    });
    group(models)
}

/// Everything of a repository that ends like a model, whatever it is.
pub(super) fn all(files: &[String]) -> Vec<Candidate<'_>> {
    group(files.iter().map(String::as_str))
}

fn group<'a>(files: impl Iterator<Item = &'a str>) -> Vec<Candidate<'a>> {
    let mut candidates: Vec<Candidate<'a>> = Vec::new();
    let mut files: Vec<&str> = files.collect();
    files.sort_unstable();
    for file in files {
        let lower = file.to_lowercase();
        let Some(stem) = lower.strip_suffix(".gguf") else {
            continue;
        };
        let (stem, parts) = part(stem).unwrap_or((stem, 1));
        let same = |c: &&mut Candidate<'a>| parts > 1 && c.stem == stem && c.parts == parts;
        if let Some(begun) = candidates.iter_mut().find(same) {
            begun.files.push(file);
            continue;
        }
        candidates.push(Candidate {
            files: vec![file],
            aside: ASIDE.iter().any(|word| base(stem).contains(word)),
            stem: stem.into(),
            parts,
        });
    }
    candidates
}

/// A file's own name, in lower case.
fn base(file: &str) -> String {
    file.rsplit('/').next().unwrap_or(file).to_lowercase()
}

/// Takes `-00001-of-00003` off: the rest, and how many parts there are.
fn part(stem: &str) -> Option<(&str, usize)> {
    let number = |digits: &str| {
        let fits = digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| digits.parse().ok())?
    };
    let (rest, parts) = stem.rsplit_once("-of-")?;
    let (rest, this) = rest.rsplit_once('-')?;
    let _: usize = number(this)?;
    Some((rest, number(parts)?))
}

/// How a name holds a quant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hold {
    /// As a tag.
    Exact,
    /// As a tag after the `UD-` of another way to quantize to the same type.
    Variant,
    /// As the beginning of a tag, cut at an underscore.
    Beginning,
}

/// Whether a character ends a tag and lets the next one begin. Underscores are within tags.
fn separates(c: char) -> bool {
    !c.is_alphanumeric() && c != '_'
}

/// How a lower case `stem` holds a lower case `quant`, at best.
pub(super) fn hold(stem: &str, quant: &str) -> Option<Hold> {
    let found = stem.match_indices(quant).filter_map(|(at, _)| {
        let (before, after) = (&stem[..at], &stem[at + quant.len()..]);
        // An underscore before it ends a name only where a tag starts: Q4_K_M has no tag K_M.
        let starts = before.is_empty()
            || before.ends_with(separates)
            || (before.ends_with('_') && begins_tag(quant));
        match after.chars().next() {
            _ if !starts => None,
            Some('_') => Some(Hold::Beginning),
            Some(c) if !separates(c) => None,
            _ if before.ends_with("ud-") => Some(Hold::Variant),
            _ => Some(Hold::Exact),
        }
    });
    found.min_by_key(|hold| *hold as u8)
}

/// Whether a lower case text begins like the name of a tensor type.
fn begins_tag(text: &str) -> bool {
    ["iq", "tq", "q", "mxfp", "nvfp", "bf", "fp", "f"]
        .iter()
        .filter_map(|prefix| text.strip_prefix(prefix))
        .any(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// What to call a candidate in a list: its last tag, or all of its name.
pub(super) fn label(stem: &str) -> String {
    let mut starts = stem.char_indices().filter(|&(at, _)| {
        let begins = at == 0 || stem[..at].ends_with(|c| separates(c) || c == '_');
        begins && begins_tag(&stem[at..])
    });
    let Some((at, _)) = starts.next_back() else {
        return stem.into();
    };
    let end = stem[at..].find(separates).map_or(stem.len(), |n| at + n);
    let start = if stem[..at].ends_with("ud-") {
        at - 3
    } else {
        at
    };
    stem[start..end].to_uppercase()
}
