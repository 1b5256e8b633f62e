//! Whether manipulations do what they say, on the very model, settings and backend at hand.
//!
//! Every manipulation is carried out on a short prompt and compared with something that was come
//! by in another way: rows are read back by llama.cpp's own names, attention is silenced in the
//! weights, the planned strategy is held against the straightforward one. Numbers that rounding
//! may touch are judged by the model's own noise: six times what the same cell differs from
//! itself when its batch is cut, and, before anything is called wrong, when it is cut elsewhere
//! or runs among copies of itself.

mod added;
mod agreement;
mod asked;
mod examined;
mod noise;
mod planned;
mod rows;
mod silent;
mod texts;
mod verdict;
mod watch;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::{EngineError, Strategy};
use crate::intervention::{Kind, Site};
use crate::runtime::{ContextOptions, Model};

use examined::Examined;
pub use silent::Silent;
pub use verdict::{Check, Finding, Verdict, worst};
pub use watch::Watch;

/// What is examined.
pub struct Subject<'a> {
    /// The model.
    pub model: Arc<Model>,
    /// The settings: threads, flash attention, cache types.
    pub options: ContextOptions,
    /// Its silent twin, against which skip-attention is held. `None` leaves that check out.
    pub silent: Option<Silent<'a>>,
}

/// How much is examined.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Manipulations, one of those that differ in the states that they are given.
    pub kinds: Vec<Kind>,
    /// Sites, as far as a manipulation has them.
    pub sites: Vec<Site>,
    /// At these layers.
    pub layers: Vec<u32>,
    /// By these strategies; straightforward always is.
    pub planned: bool,
    /// Whether in several micro-batches and sequences too.
    pub shapes: bool,
    /// Layers of the model.
    pub n_layer: u32,
}

impl Scope {
    /// All manipulations and sites, at no more than `most` layers of `n_layer`, spread evenly
    /// from the first to the last.
    pub fn spread(n_layer: u32, most: u32) -> Self {
        let n = most.clamp(1, n_layer.max(1));
        let at = |i: u32| i * n_layer.saturating_sub(1) / (n - 1).max(1);
        Self {
            kinds: (Kind::ALL.into_iter())
                .filter(|kind| kind.carried_out_as() == *kind)
                .collect(),
            sites: Site::ALL.to_vec(),
            layers: (0..n).map(at).collect(),
            planned: true,
            shapes: true,
            n_layer,
        }
    }

    /// Whether an examination of this extent tells what one of another would.
    pub fn covers(&self, other: &Self) -> bool {
        fn all<T: PartialEq>(these: &[T], among: &[T]) -> bool {
            these.iter().all(|one| among.contains(one))
        }
        all(&other.kinds, &self.kinds)
            && all(&other.sites, &self.sites)
            && all(&other.layers, &self.layers)
            && self.planned >= other.planned
            && self.shapes >= other.shapes
    }

    /// What is examined of a manipulation: its sites, and its layers.
    fn cells(&self) -> impl Iterator<Item = (Kind, Site, u32)> {
        let layers = move |kind: Kind| {
            let layers = self.layers.iter().copied();
            layers.filter(move |k| kind.is_defined(*k, self.n_layer))
        };
        let pairs = self.kinds.iter().flat_map(|kind| {
            let sites = self.sites.iter().copied();
            let sites = sites.filter(|site| kind.has_site(*site));
            sites.map(|site| (*kind, site))
        });
        pairs.flat_map(move |(kind, site)| {
            // What the last layer adds to prior tokens leads nowhere.
            let read = move |k: &u32| !site.target().is_added() || k + 1 < self.n_layer;
            layers(kind).filter(read).map(move |k| (kind, site, k))
        })
    }

    /// Each manipulation of a site at the middle one of its layers.
    fn middle_cells(&self) -> Vec<(Kind, Site, u32)> {
        let all: Vec<_> = self.cells().collect();
        let groups = all.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1));
        groups.map(|group| group[group.len() / 2]).collect()
    }
}

/// What the examination found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SelfTest {
    /// The largest difference of a logit between clean runs under different batch shapes.
    pub noise_floor: f64,
    /// Comparisons that were passed with a tolerance as large as what the manipulation does:
    /// they could not have told it from none.
    #[serde(default)]
    pub drowned: u32,
    /// Comparisons of a model of experts that went wrong on one text and not on another: an
    /// expert was chosen otherwise, as far as can be told.
    #[serde(default)]
    pub flipped: u32,
    /// The layers at which manipulations were carried out.
    pub layers: Vec<u32>,
    /// Whether the user left it out: then nothing was examined.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left_out: bool,
    /// Why the planned strategy computed some of it whole, if it did.
    pub computed_whole: Option<String>,
    /// All verdicts.
    pub findings: Vec<Finding>,
}

impl SelfTest {
    /// The verdict on a manipulation: the most serious of all that touch it.
    pub fn verdict(&self, kind: Kind, site: Site, strategy: Strategy) -> Option<&Verdict> {
        let of = |finding: &&Finding| {
            finding.manipulation == Some(kind)
                && finding.site == Some(site)
                && finding.strategy == strategy
        };
        worst(self.findings.iter().filter(of).map(|f| &f.verdict))
    }

    /// The manipulations that were carried out, each with the sites it has.
    pub fn manipulations(&self) -> impl Iterator<Item = (Kind, Site)> {
        let mut pairs = Vec::new();
        for finding in &self.findings {
            if let (Some(kind), Some(site)) = (finding.manipulation, finding.site)
                && !pairs.contains(&(kind, site))
            {
                pairs.push((kind, site));
            }
        }
        pairs.into_iter()
    }

    /// The verdict of a check on everything it was run on.
    pub fn of_check(&self, check: Check) -> Option<&Verdict> {
        let of = |finding: &&Finding| finding.check == check;
        worst(self.findings.iter().filter(of).map(|f| &f.verdict))
    }

    /// What is wrong.
    pub fn wrong(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|f| f.verdict.is_wrong())
    }

    /// What makes results of a manipulation doubtful: what is wrong with it, or with what all
    /// manipulations rest on.
    pub fn doubts(&self, kind: Kind, site: Site, strategy: Strategy) -> Option<&Finding> {
        let kind = kind.carried_out_as();
        self.wrong().find(|finding| {
            let about = finding.manipulation.is_none_or(|k| k == kind)
                && finding.site.is_none_or(|s| s == site);
            about && (finding.strategy == strategy || finding.strategy == Strategy::Straightforward)
        })
    }
}

/// Examines a model; `watch` follows.
///
/// # Errors
/// [`EngineError`] where not even a clean run is possible, [`EngineError::Stopped`] when the
/// settings' wish to stop is asked. Whatever a manipulation meets becomes its verdict.
pub fn run(
    subject: Subject<'_>,
    scope: &Scope,
    watch: &mut dyn Watch,
) -> Result<SelfTest, EngineError> {
    watch.begin(scope.runs(subject.silent.is_some()));
    let stop = subject.options.stop.clone();
    let mut examined = Examined::new(&subject.model, &subject.options, scope, watch)?;
    examined.callback()?;
    examined.captures()?;
    examined.first_layer()?;
    examined.identity();
    examined.rows()?;
    examined.freeze_by_cache()?;
    if let Some(mut silent) = subject.silent {
        examined.silent_weights(&mut silent)?;
        examined.zero_weights(&mut silent)?;
    }
    examined.alone()?;
    if scope.shapes {
        examined.micro_batches()?;
        examined.sequences()?;
    }
    if scope.planned {
        examined.planned()?;
    }
    // What was cut short has met with errors that say nothing about the model.
    if stop.is_asked() {
        return Err(EngineError::Stopped);
    }
    Ok(examined.found)
}

/// What tests examine.
#[cfg(test)]
mod made {
    use super::*;
    use crate::runtime::{Architecture, Synthetic};

    pub fn tiny(architecture: Architecture) -> Arc<Model> {
        Arc::new(Synthetic::new(architecture).build().unwrap())
    }

    /// The examination of a model by one thread, before anything was examined.
    pub fn of<'s>(model: &Arc<Model>, scope: &'s Scope, watch: &'s mut dyn Watch) -> Examined<'s> {
        let options = ContextOptions {
            threads: 1,
            ..ContextOptions::default()
        };
        Examined::new(model, &options, scope, watch).unwrap()
    }
}
