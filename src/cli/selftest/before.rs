//! The short form of the self-test that a sweep begins with.

use super::super::output::{say, spinner};
use super::super::setup::Loaded;
use super::{Wrong, examine};
use midlayer::engine::Strategy;
use midlayer::selftest::{Scope, SelfTest};
use midlayer::store::Part;
use midlayer::sweep::Spec;

/// Layers at which it is made: the first, the middle and the last one of the sweep.
const LAYERS: usize = 3;

/// Examines what the sweep is about to do, unless this revision has examined it, and stores the
/// verdicts with the run.
///
/// # Errors
/// [`Wrong`] where a manipulation of the sweep is, unless `force` has it run all the same.
pub fn before_sweep(
    loaded: &Loaded,
    spec: &Spec,
    part: &mut Part<'_>,
    force: bool,
) -> anyhow::Result<()> {
    let scope = scope(spec);
    if scope.kinds.is_empty() || scope.layers.is_empty() {
        return Ok(());
    }
    let known = part.selftest(midlayer::REVISION)?;
    let found = match known {
        Some(found) => found,
        None => {
            let waiting = spinner("self-test".into());
            let found = examine(loaded, &scope, false, &mut |what| {
                waiting.set_message(format!("self-test: {what}"));
            });
            waiting.finish_and_clear();
            let found = found?;
            loaded.files.check_contents()?;
            part.put_selftest(midlayer::REVISION, &found)?;
            found
        }
    };
    let doubts = doubts(&found, spec);
    if doubts.is_empty() {
        return Ok(());
    }
    let name = &spec.model.facts.name;
    let text = format!(
        "the self-test finds wrong with {name}: {} (midlayer selftest tells what)",
        doubts.join(", ")
    );
    if force {
        say(&format!("{text}; --force runs them all the same"));
        return Ok(());
    }
    Err(Wrong(format!("{text}; to run them all the same: --force")).into())
}

fn scope(spec: &Spec) -> Scope {
    let mut scope = Scope::spread(spec.model.facts.n_layer, 1);
    scope.kinds.clear();
    for kind in spec.manipulations.iter().map(|kind| kind.carried_out_as()) {
        if !scope.kinds.contains(&kind) {
            scope.kinds.push(kind);
        }
    }
    scope.sites.clone_from(&spec.sites);
    // Where every manipulation has its place, if there is such a layer.
    let everywhere = |layer: &&u32| {
        let kinds = &mut spec.manipulations.iter();
        kinds.all(|kind| {
            !spec.is_defined(*kind, **layer) || spec.layers_of(*kind).any(|l| l == **layer)
        })
    };
    let mut layers: Vec<u32> = spec.layers.iter().filter(everywhere).copied().collect();
    if layers.is_empty() {
        layers.clone_from(&spec.layers);
    }
    let last = layers.len().saturating_sub(1);
    scope.layers = (0..LAYERS)
        .filter_map(|n| layers.get(n * last / (LAYERS - 1)).copied())
        .collect();
    scope.layers.dedup();
    scope.planned = spec.strategy == Strategy::Planned;
    scope
}

/// The manipulations of a sweep with which something is wrong.
fn doubts(found: &SelfTest, spec: &Spec) -> Vec<String> {
    let mut doubts = Vec::new();
    for &kind in &spec.manipulations {
        for &site in &spec.sites {
            if kind.has_site(site) && found.doubts(kind, site, spec.strategy).is_some() {
                doubts.push(format!("{kind} of {site}"));
            }
        }
    }
    doubts
}
