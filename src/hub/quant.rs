//! Which of a repository's files a quant, or a file's name, means.

use std::collections::BTreeSet;

use super::HubError;
use super::names::{Candidate, Hold, all, candidates, hold, label};

/// Taken in this order when no quant is given.
const DEFAULTS: [&str; 2] = ["Q4_K_M", "Q8_0"];

/// The files that `quant` means, or that are meant without one: one, or all parts in order.
/// `quant` may be the whole name of a file, which then counts before anything else.
pub(super) fn choose(
    repo: &str,
    files: &[String],
    quant: Option<&str>,
) -> Result<Vec<String>, HubError> {
    if let Some(name) = quant
        && let Some(named) = named(repo, &all(files), name)?
    {
        return whole(repo, &named);
    }
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
            let mut models = candidates.iter().filter(|c| !c.aside);
            match (chosen, models.next(), models.next()) {
                (None, Some(only), None) => Some(only),
                (None, None, _) if candidates.len() == 1 => candidates.first(),
                (chosen, ..) => chosen,
            }
        }
    };
    let chosen = chosen.ok_or_else(|| HubError::NoQuant {
        repo: repo.into(),
        wanted: quant.map_or_else(|| DEFAULTS.join(" and no "), String::from),
        known: known(&candidates),
    })?;
    whole(repo, chosen)
}

/// The files of a candidate, if none of its parts is missing.
fn whole(repo: &str, of: &Candidate<'_>) -> Result<Vec<String>, HubError> {
    if of.files.len() != of.parts {
        return Err(HubError::PartsMissing {
            repo: repo.into(),
            file: of.files[0].into(),
            parts: of.parts,
            found: of.files.len(),
        });
    }
    Ok(of.files.iter().map(ToString::to_string).collect())
}

/// The candidate one of whose files has that name, with or without its folder and its ending: as
/// it is written, or else in other letters.
fn named<'a>(
    repo: &str,
    candidates: &[Candidate<'a>],
    name: &str,
) -> Result<Option<Candidate<'a>>, HubError> {
    let same = |file: &str, folded: bool| {
        let fold = |text: &str| {
            if folded {
                text.to_lowercase()
            } else {
                text.into()
            }
        };
        let (file, name) = (fold(file), fold(name.trim()));
        let ending = |text: &str| {
            text.len()
                - if text.to_lowercase().ends_with(".gguf") {
                    5
                } else {
                    0
                }
        };
        let stem = &file[..ending(&file)];
        let base = |text: &str| text.rsplit('/').next().unwrap_or_default().to_string();
        [file.clone(), stem.into(), base(&file), base(stem)].contains(&name)
    };
    for folded in [false, true] {
        let found: Vec<_> = candidates
            .iter()
            .filter(|c| c.files.iter().any(|file| same(file, folded)))
            .collect();
        match found[..] {
            [] => {}
            [one] => {
                return Ok(Some(Candidate {
                    files: one.files.clone(),
                    stem: one.stem.clone(),
                    ..*one
                }));
            }
            _ => return Err(ambiguous(repo, name, &found)),
        }
    }
    Ok(None)
}

/// The candidate that `quant` means, tags before beginnings of tags, models before what goes
/// with them.
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
        for better in [
            |c: &Candidate<'_>| !c.aside,
            |c: &Candidate<'_>| c.parts == 1,
        ] {
            if found.iter().any(|c| better(c)) {
                found.retain(|c| better(c));
            }
        }
        match found[..] {
            [] => {}
            [one] => return Ok(Some(one)),
            _ => return Err(ambiguous(repo, quant, &found)),
        }
    }
    Ok(None)
}

fn ambiguous(repo: &str, wanted: &str, found: &[&Candidate<'_>]) -> HubError {
    let files: Vec<_> = found.iter().map(|c| c.files[0]).collect();
    HubError::Ambiguous {
        repo: repo.into(),
        wanted: wanted.into(),
        files: files.join(", "),
    }
}

fn known(candidates: &[Candidate<'_>]) -> String {
    let labels: BTreeSet<_> = candidates.iter().map(|c| label(&c.stem)).collect();
    labels.into_iter().collect::<Vec<_>>().join(", ")
}
