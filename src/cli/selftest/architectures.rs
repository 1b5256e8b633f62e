//! `midlayer selftest --architectures`: what works where, as a page of the docs.

use std::fmt::Write;
use std::sync::Arc;

use midlayer::engine::Strategy;
use midlayer::intervention::{Kind, Site};
use midlayer::runtime::{Architecture, ContextOptions, Synthetic};
use midlayer::selftest::{self, Scope, SelfTest, Silent, Subject, Verdict};

const HEAD: &str = "# Architectures

What works on which of llama.cpp's architectures. Each is examined as `midlayer selftest` examines
a file, on a tiny random model of it made in memory, at all of its four layers. Written by:

```console
midlayer selftest --architectures > docs/architectures.md
```

`works`: every check was passed, exactly or within rounding, by both strategies. `works at`: only
there does a layer have what is rewritten; elsewhere it is refused with an error. `refused`: an
error says why. Manipulations are of the residual stream; `keys` and `values` are random, shuffle,
zero, inject and freeze on those. `planned` tells how the planned strategy computes: in part, or
whole, as the straightforward one does.

";

/// Examines every architecture; the second is whether anything was wrong.
pub fn page(tell: &mut dyn FnMut(&str)) -> anyhow::Result<(String, bool)> {
    let mut page = HEAD.to_string();
    let kinds = Scope::spread(1, 1).kinds;
    let names: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    let columns = names.len() + 5;
    writeln!(
        page,
        "| architecture | what it stands for | {} | keys | values | planned |",
        names.join(" | ")
    )?;
    writeln!(page, "|{}", " --- |".repeat(columns))?;
    let mut wrong = false;
    let mut reasons: Vec<String> = Vec::new();
    for architecture in Architecture::ALL {
        tell(architecture.name());
        let found = examine(architecture)?;
        wrong |= found.wrong().next().is_some();
        let mut cells: Vec<String> = kinds
            .iter()
            .map(|kind| cell(&found, &[*kind], Site::Residual))
            .collect();
        for site in [Site::Keys, Site::Values] {
            cells.push(cell(&found, &kinds, site));
        }
        cells.push(match &found.computed_whole {
            None => "in part".into(),
            Some(reason) => {
                reasons.push(format!("{}: {reason}", architecture.name()));
                "whole".into()
            }
        });
        writeln!(
            page,
            "| {} | {} | {} |",
            architecture.name(),
            architecture.describe(),
            cells.join(" | ")
        )?;
        reasons.extend(refusals(architecture, &found));
    }
    writeln!(page, "\n## Why not\n")?;
    for reason in reasons {
        writeln!(page, "- {reason}")?;
    }
    Ok((page, wrong))
}

fn examine(architecture: Architecture) -> anyhow::Result<SelfTest> {
    let recipe = Synthetic::new(architecture);
    let model = Arc::new(recipe.build()?);
    let scope = Scope::spread(model.n_layer(), model.n_layer());
    let subject = Subject {
        model,
        options: ContextOptions {
            threads: 1,
            ..ContextOptions::default()
        },
        silent: Some(Silent::new(move || recipe.build())),
    };
    Ok(selftest::run(subject, &scope, &mut |_| {})?)
}

/// What works of some manipulations on a site.
fn cell(found: &SelfTest, kinds: &[Kind], site: Site) -> String {
    let about = found.findings.iter().filter(|finding| {
        finding.site == Some(site)
            && finding
                .manipulation
                .is_some_and(|kind| kinds.contains(&kind))
    });
    let (mut works, mut refused) = (Vec::new(), Vec::new());
    for finding in about {
        match finding.verdict {
            Verdict::Wrong { .. } => return "WRONG".into(),
            Verdict::NotSupported { .. } => refused.extend(finding.layer),
            Verdict::Vacuous => {}
            Verdict::Exact | Verdict::Within { .. } => works.extend(finding.layer),
        }
    }
    works.retain(|layer| !refused.contains(layer));
    works.sort_unstable();
    works.dedup();
    match (works.is_empty(), refused.is_empty()) {
        (false, true) => "works".into(),
        (true, true) => "vacuous".into(),
        (true, false) => "refused".into(),
        (false, false) => {
            let layers: Vec<String> = works.iter().map(ToString::to_string).collect();
            format!("works at {}", layers.join(", "))
        }
    }
}

/// Why something is refused, each reason once.
fn refusals(architecture: Architecture, found: &SelfTest) -> Vec<String> {
    let mut reasons: Vec<String> = Vec::new();
    for finding in &found.findings {
        let (Verdict::NotSupported { reason }, Some(kind), Strategy::Straightforward) =
            (&finding.verdict, finding.manipulation, finding.strategy)
        else {
            continue;
        };
        let what = match finding.site {
            Some(Site::Residual) | None => kind.to_string(),
            Some(site) => site.to_string(),
        };
        let line = format!("{}, {what}: {reason}", architecture.name());
        if !reasons.contains(&line) {
            reasons.push(line);
        }
    }
    reasons
}
