//! `midlayer selftest --architectures`: what works where, as a page of the docs.

use std::fmt::Write;
use std::sync::Arc;

use super::super::args::ModelArgs;
use super::super::setup::context_options;
use crate::engine::Strategy;
use crate::hook::Sabotage;
use crate::intervention::{Kind, Site};
use crate::runtime::{Architecture, Context, ContextOptions, Facts, Synthetic, Unfit};
use crate::selftest::{self, Scope, SelfTest, Silent, Subject, Verdict, Watch};

const HEAD: &str = "# Architectures

What works on which of llama.cpp's architectures. Each is examined as `midlayer selftest` examines
a file, on a tiny random model of it made in memory, at all of its four layers. Written by:

```console
midlayer selftest --architectures > docs/architectures.md
```

`works`: every check was passed, exactly or within rounding, by both strategies. `works at`: only
there does a layer have what is rewritten; elsewhere it is refused with an error. `refused`: an
error says why. Manipulations are of the residual stream; the other sites' columns are all that
rewrite those. What the last layer adds (`attn_out`, `mlp_out`, `heads`) is not rewritten, for no
later token reads it of a prior one. `planned` tells how the planned strategy computes: in part, or
whole, as the straightforward one does. Of a model with recurrent layers a part is all rows from the
manipulated layer up; texts that tokens follow are computed whole there.

";

const FURTHER: &str = "
## Further architectures

These differ from the ones above in the parts of their layers. They are examined in the same way.
The project's tests run fewer checks on them: that a layer knows nothing but the states that enter
it, and that what is said of the layers is found in the graph.

";

const BY_NAME: &str = "
## Refused by name

llama.cpp knows these, and they are refused before anything of a file is loaded.

";

const UNEXAMINED: &str = "
## Not examined

Of these decoders no tiny random model is examined. They are not refused; `midlayer selftest -m FILE`
examines a file. With the ones above they are all that llama.cpp of this version knows, which a test
demands.

";

/// The page of what was examined.
///
/// # Errors
/// An architecture that cannot be made.
pub fn page(examined: &[(Architecture, SelfTest)]) -> anyhow::Result<String> {
    let mut page = HEAD.to_string();
    let kinds = Scope::spread(1, 1).kinds;
    let names: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    let mut head = vec!["architecture".to_string(), "what it stands for".into()];
    head.extend(names);
    head.extend(Site::ALL[1..].iter().map(Site::to_string));
    head.push("planned".into());
    let line = |page: &mut String, cells: &[String]| {
        writeln!(page, "| {} |", cells.join(" | ")).expect("a String takes any text");
    };
    let mut reasons: Vec<String> = Vec::new();
    let is_kin = |architecture: &Architecture| Architecture::KIN.contains(architecture);
    for (n, (architecture, found)) in examined.iter().enumerate() {
        let begins = n == 0 || is_kin(architecture) != is_kin(&examined[n - 1].0);
        if begins {
            if n > 0 {
                page.push_str(FURTHER);
            }
            line(&mut page, &head);
            line(&mut page, &vec!["---".to_string(); head.len()]);
        }
        let mut cells = vec![
            architecture.to_string(),
            architecture.describe().to_string(),
        ];
        cells.extend(
            kinds
                .iter()
                .map(|kind| cell(found, &[*kind], Site::Residual)),
        );
        cells.extend(Site::ALL[1..].iter().map(|site| cell(found, &kinds, *site)));
        cells.push(match &found.computed_whole {
            None => "in part".into(),
            Some(reason) => {
                reasons.push(format!("{architecture}, planned: {reason}"));
                "whole".into()
            }
        });
        line(&mut page, &cells);
        reasons.extend(refusals(*architecture, found));
    }
    writeln!(page, "\n## Why not\n").expect("as above");
    for reason in reasons {
        writeln!(page, "- {reason}").expect("as above");
    }
    writeln!(page, "\n## Refused as a whole\n").expect("as above");
    for reason in refused()? {
        writeln!(page, "- {reason}").expect("as above");
    }
    page.push_str(BY_NAME);
    for why in Unfit::ALL {
        let names = why.architectures().join(", ");
        writeln!(page, "- {} ({names}): {}", why.what(), why.why()).expect("as above");
    }
    page.push_str(UNEXAMINED);
    for (name, reason) in Unfit::UNEXAMINED {
        writeln!(page, "- {name}: {reason}").expect("as above");
    }
    Ok(page)
}

/// Examines a tiny model of an architecture at all its layers; `watch` follows.
pub fn examine(
    architecture: Architecture,
    args: &ModelArgs,
    sabotage: Option<Sabotage>,
    watch: &mut dyn Watch,
) -> anyhow::Result<(Facts, SelfTest)> {
    let recipe = Synthetic {
        gpu_layers: args.n_gpu_layers,
        ..Synthetic::new(architecture)
    };
    let model = Arc::new(recipe.build()?);
    let facts = model.facts().clone();
    let scope = Scope::spread(facts.n_layer, facts.n_layer);
    let subject = Subject {
        model,
        options: ContextOptions {
            threads: 1,
            sabotage,
            ..context_options(args)
        },
        silent: Some(Silent::new(move || recipe.build())),
    };
    Ok((facts, selftest::run(subject, &scope, watch)?))
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

/// Why things are refused: each reason once, with what it refuses.
fn refusals(architecture: Architecture, found: &SelfTest) -> Vec<String> {
    let mut reasons: Vec<(String, &str, Vec<String>)> = Vec::new();
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
        // The same is said of several layers.
        let same = reason.replace(|c: char| c.is_ascii_digit(), "");
        let at = reasons.iter().position(|(other, ..)| *other == same);
        let at = at.unwrap_or_else(|| {
            reasons.push((same, reason, Vec::new()));
            reasons.len() - 1
        });
        if !reasons[at].2.contains(&what) {
            reasons[at].2.push(what);
        }
    }
    let line = |(_, reason, what): (String, &str, Vec<String>)| {
        let reason = reason.trim_start_matches("manipulation failed: ");
        format!("{architecture}, {}: {reason}", what.join(", "))
    };
    reasons.into_iter().map(line).collect()
}

/// Architectures with which nothing can be done, and why.
fn refused() -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for &architecture in Architecture::REFUSED {
        let model = Arc::new(Synthetic::new(architecture).build()?);
        let options = ContextOptions {
            n_ctx: 64,
            threads: 1,
            ..ContextOptions::default()
        };
        let Err(error) = Context::new(model, &options) else {
            anyhow::bail!("{architecture} is not refused any more");
        };
        lines.push(format!(
            "{architecture} ({}): {error}",
            architecture.describe()
        ));
    }
    Ok(lines)
}
