//! Which of a repository's files a quant means.

use std::collections::BTreeSet;

use super::HubError;

/// Taken in this order when no quant is given.
const DEFAULTS: [&str; 2] = ["Q4_K_M", "Q8_0"];

/// A model in the listing, of one file or several.
#[derive(Debug)]
struct Candidate<'a> {
    /// The only file, or the first part.
    file: &'a str,
    /// The path without what all candidates end in, in lower case.
    stem: String,
    parts: u32,
}

/// How a name holds a quant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hold {
    /// As a tag.
    Exact,
    /// As a tag after the `UD-` of another way to quantize to the same type.
    Variant,
    /// As the beginning of a tag, cut at an underscore.
    Beginning,
}

/// The file that `quant` means, or that is meant without one.
pub(super) fn choose(
    repo: &str,
    files: &[String],
    quant: Option<&str>,
) -> Result<String, HubError> {
    let candidates = candidates(files);
    if candidates.is_empty() {
        return Err(HubError::NoGguf { repo: repo.into() });
    }
    let chosen = match quant {
        Some(quant) => pick(repo, &candidates, quant, true)?,
        None => {
            let mut chosen = None;
            for default in DEFAULTS {
                if chosen.is_none() {
                    chosen = pick(repo, &candidates, default, false)?;
                }
            }
            match &candidates[..] {
                [only] if chosen.is_none() => Some(only),
                _ => chosen,
            }
        }
    };
    let chosen = chosen.ok_or_else(|| HubError::NoQuant {
        repo: repo.into(),
        wanted: quant.map_or_else(|| DEFAULTS.join(" and no "), String::from),
        known: known(&candidates, |_| true),
    })?;
    if chosen.parts > 1 {
        return Err(HubError::Split {
            file: chosen.file.into(),
            parts: chosen.parts,
            known: known(&candidates, |c| c.parts == 1),
        });
    }
    Ok(chosen.file.into())
}

/// The candidate that `quant` means, tags before beginnings of tags.
fn pick<'c, 'a>(
    repo: &str,
    candidates: &'c [Candidate<'a>],
    quant: &str,
    beginnings: bool,
) -> Result<Option<&'c Candidate<'a>>, HubError> {
    let lower = quant.trim().to_lowercase();
    let tag = lower.strip_suffix(".gguf").unwrap_or(&lower);
    let levels: &[Hold] = if beginnings {
        &[Hold::Exact, Hold::Variant, Hold::Beginning]
    } else {
        &[Hold::Exact, Hold::Variant]
    };
    for level in levels {
        let mut found: Vec<_> = candidates
            .iter()
            .filter(|c| hold(&c.stem, tag) == Some(*level))
            .collect();
        if found.iter().any(|c| c.parts == 1) {
            found.retain(|c| c.parts == 1);
        }
        match found[..] {
            [] => {}
            [one] => return Ok(Some(one)),
            _ => {
                let files: Vec<_> = found.iter().map(|c| c.file).collect();
                return Err(HubError::Ambiguous {
                    repo: repo.into(),
                    wanted: quant.into(),
                    files: files.join(", "),
                });
            }
        }
    }
    Ok(None)
}

fn candidates(files: &[String]) -> Vec<Candidate<'_>> {
    let mut candidates: Vec<Candidate<'_>> = Vec::new();
    let mut files: Vec<&str> = files.iter().map(String::as_str).collect();
    files.sort_unstable();
    for file in files {
        let lower = file.to_lowercase();
        let base = lower.rsplit('/').next().unwrap_or(&lower);
        let Some(stem) = lower.strip_suffix(".gguf") else {
            continue;
        };
        // Projectors of images and matrices of importance come in GGUF files, too.
        if base.contains("mmproj") || base.starts_with("imatrix") {
            continue;
        }
        let (stem, parts) = part(stem).unwrap_or((stem, 1));
        // Of a model in parts, the first stands for all.
        if parts == 1
            || !candidates
                .iter()
                .any(|c| c.stem == stem && c.parts == parts)
        {
            candidates.push(Candidate {
                file,
                stem: stem.into(),
                parts,
            });
        }
    }
    candidates
}

/// Takes `-00001-of-00003` off: the rest, and how many parts there are.
fn part(stem: &str) -> Option<(&str, u32)> {
    let number = |digits: &str| {
        let fits = digits.len() == 5 && digits.bytes().all(|b| b.is_ascii_digit());
        fits.then(|| digits.parse().ok())?
    };
    let (rest, parts) = stem.rsplit_once("-of-")?;
    let (rest, this) = rest.rsplit_once('-')?;
    let _: u32 = number(this)?;
    Some((rest, number(parts)?))
}

/// How a lower case `stem` holds a lower case `quant`, at best.
fn hold(stem: &str, quant: &str) -> Option<Hold> {
    let found = stem.match_indices(quant).filter_map(|(at, _)| {
        let (before, after) = (&stem[..at], &stem[at + quant.len()..]);
        // An underscore before it ends a name only where a tag starts: Q4_K_M has no tag K_M.
        let starts = before.is_empty()
            || before.ends_with(['-', '.', '/'])
            || (before.ends_with('_') && begins_tag(quant));
        match after.chars().next() {
            _ if !starts => None,
            None | Some('-' | '.' | '/') if before.ends_with("ud-") => Some(Hold::Variant),
            None | Some('-' | '.' | '/') => Some(Hold::Exact),
            Some('_') => Some(Hold::Beginning),
            Some(_) => None,
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
fn label(stem: &str) -> String {
    let mut starts = stem.char_indices().filter(|&(at, _)| {
        (at == 0 || stem[..at].ends_with(['-', '.', '/', '_'])) && begins_tag(&stem[at..])
    });
    let Some((at, _)) = starts.next_back() else {
        return stem.into();
    };
    let end = stem[at..]
        .find(['-', '.', '/'])
        .map_or(stem.len(), |n| at + n);
    let start = if stem[..at].ends_with("ud-") {
        at - 3
    } else {
        at
    };
    stem[start..end].to_uppercase()
}

fn known(candidates: &[Candidate<'_>], which: impl Fn(&Candidate<'_>) -> bool) -> String {
    let labels: BTreeSet<_> = candidates
        .iter()
        .filter(|c| which(c))
        .map(|c| label(&c.stem))
        .collect();
    if labels.is_empty() {
        return "none".into();
    }
    labels.into_iter().collect::<Vec<_>>().join(", ")
}
