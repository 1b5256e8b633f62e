//! The short form of the self-test that a sweep begins with.

use std::time::Duration;

use super::super::output::say;
use super::super::setup::Loaded;
use super::follow::Follow;
use super::kept::Kept;
use super::{Wrong, examine};
use crate::engine::{Engine, Strategy};
use crate::experiment::Spec;
use crate::selftest::{Scope, SelfTest};
use crate::store::Part;
use crate::sweep::{Measured, Prepared, Prices, Speed, estimate};

/// Layers at which it is made at most: the first, the middle and the last one of the sweep.
const LAYERS: usize = 3;
/// The share of the sweep's own time that it may take.
const SHARE: f64 = 0.1;
/// Tokens of a prompt by which speed is measured here, and how long each of three measures may
/// take.
const TEXT: usize = 64;
const MEASURING: Duration = Duration::from_millis(150);

/// What the user asks of the self-test.
#[derive(Clone, Copy)]
pub struct Wishes {
    /// Run what it finds wrong.
    pub force: bool,
    /// Leave it out.
    pub leave_out: bool,
}

/// Examines what the sweep of a variant is about to do, unless this program has examined it
/// before, and stores the verdicts with the run.
///
/// # Errors
/// [`Wrong`] where a manipulation of the sweep is, unless it is to run all the same.
pub fn before_sweep(
    loaded: &Loaded,
    prepared: &Prepared,
    engine: &mut dyn Engine,
    part: &mut Part<'_>,
    wishes: Wishes,
) -> anyhow::Result<()> {
    let spec = &prepared.variant().spec;
    let known = part.selftest(crate::REVISION)?;
    if let Some(found) = known.filter(|found| !found.left_out) {
        return judge(&found, spec, wishes.force);
    }
    if wishes.leave_out {
        let left_out = SelfTest {
            left_out: true,
            ..SelfTest::default()
        };
        part.put_selftest(crate::REVISION, &left_out)?;
        say("the self-test is left out (--no-selftest); reports say so");
        return Ok(());
    }
    let scopes = scopes(spec);
    let mut kept = Kept::of(spec);
    // What covers the most is not asked how long it would take.
    let found = match kept.get(&scopes[0]).cloned() {
        Some(found) => found,
        None => {
            let speed = Speed::measure(engine, TEXT, loaded.threads()?, MEASURING)?;
            let mut prices = Measured::new(engine, speed);
            let sweep = estimate(prepared, &mut prices)?.likely.seconds;
            let (scope, seconds) = extent(scopes, sweep, &mut prices);
            match kept.get(&scope).cloned() {
                Some(found) => found,
                None => {
                    let found = announced(loaded, &scope, seconds * speed.load())?;
                    kept.put(scope, &found);
                    found
                }
            }
        }
    };
    part.put_selftest(crate::REVISION, &found)?;
    judge(&found, spec, wishes.force)
}

/// How long the self-test of a sweep takes that takes so many seconds itself; nothing where it
/// was made before.
pub fn seconds_before(spec: &Spec, sweep: f64, prices: &mut dyn Prices) -> f64 {
    let scopes = scopes(spec);
    let kept = Kept::of(spec);
    if kept.get(&scopes[0]).is_some() {
        return 0.0;
    }
    let (scope, seconds) = extent(scopes, sweep, prices);
    match kept.get(&scope) {
        Some(_) => 0.0,
        None => seconds,
    }
}

/// The largest scope that takes no more than its share of the sweep's time, or else the least,
/// with its time in seconds.
fn extent(scopes: Vec<Scope>, sweep: f64, prices: &mut dyn Prices) -> (Scope, f64) {
    let mut least = None;
    for scope in scopes {
        let decodes = scope.cost(false).decodes;
        let seconds = decodes.iter().map(|decode| prices.seconds(decode)).sum();
        let fits = seconds <= SHARE * sweep;
        least = Some((scope, seconds));
        if fits {
            break;
        }
    }
    least.expect("there is a least scope")
}

fn announced(loaded: &Loaded, scope: &Scope, seconds: f64) -> anyhow::Result<SelfTest> {
    say(&format!(
        "self-test, about {} s; --no-selftest leaves it out",
        seconds.ceil().max(1.0)
    ));
    let mut follow = Follow::new("self-test");
    let found = examine(loaded, scope, false, &mut follow)?;
    loaded.files.check_contents()?;
    Ok(found)
}

fn judge(found: &SelfTest, spec: &Spec, force: bool) -> anyhow::Result<()> {
    let doubts = doubts(found, spec);
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

/// What may be examined before a sweep, from the most down to the least: one layer of each
/// manipulation.
fn scopes(spec: &Spec) -> Vec<Scope> {
    let of = |layers: &[u32], shapes| {
        let mut scope = Scope::spread(spec.model.facts.n_layer, 1);
        scope.kinds.clear();
        for kind in spec.manipulations.iter().map(|kind| kind.carried_out_as()) {
            if !scope.kinds.contains(&kind) {
                scope.kinds.push(kind);
            }
        }
        Scope {
            sites: spec.sites.clone(),
            planned: spec.strategy == Strategy::Planned,
            layers: layers.to_vec(),
            shapes,
            ..scope
        }
    };
    let (most, fewest) = (most_layers(spec), fewest(places(spec)));
    vec![of(&most, true), of(&fewest, true), of(&fewest, false)]
}

/// The first, the middle and the last one of the layers at which every manipulation has its
/// place, if there is such a layer.
fn most_layers(spec: &Spec) -> Vec<u32> {
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
    let mut most: Vec<u32> = (0..LAYERS)
        .filter_map(|n| layers.get(n * last / (LAYERS - 1)).copied())
        .collect();
    most.extend(fewest(places(spec)));
    most.sort_unstable();
    most.dedup();
    most
}

/// The layers at which each manipulation has its place.
fn places(spec: &Spec) -> Vec<Vec<u32>> {
    let kinds = spec.manipulations.iter();
    kinds.map(|kind| spec.layers_of(*kind).collect()).collect()
}

/// As few layers as have each manipulation at one of them: the middle one of those at which the
/// most particular manipulation has its place, and others only for what has none there.
fn fewest(mut places: Vec<Vec<u32>>) -> Vec<u32> {
    places.sort_by_key(Vec::len);
    let mut fewest: Vec<u32> = Vec::new();
    for layers in places {
        if !layers.iter().any(|layer| fewest.contains(layer)) {
            fewest.extend(layers.get(layers.len() / 2));
        }
    }
    fewest.sort_unstable();
    fewest
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Cost, Decode, Request};

    #[test]
    fn every_manipulation_has_a_layer() {
        assert_eq!(fewest(vec![(0..30).collect(), vec![3, 5]]), [5]);
        assert_eq!(fewest(vec![vec![7], vec![2]]), [2, 7]);
        assert_eq!(fewest(vec![(1..30).collect(), (0..30).collect()]), [15]);
    }

    struct OneEach;

    impl Prices for OneEach {
        fn cost(&mut self, _: &[Request]) -> Cost {
            Cost::default()
        }
        fn seconds(&mut self, _: &Decode) -> f64 {
            1.0
        }
    }

    #[test]
    fn the_extent_is_a_tenth_of_the_sweep_or_the_least() {
        let scopes = || {
            vec![
                Scope::spread(30, 3),
                Scope::spread(30, 2),
                Scope::spread(30, 1),
            ]
        };
        let seconds = scopes()
            .iter()
            .map(|s| s.runs(false) as f64)
            .collect::<Vec<_>>();
        for (sweep, n) in [
            (10.0 * seconds[0], 0),
            (10.0 * seconds[0] - 1.0, 1),
            (10.0 * seconds[1] - 1.0, 2),
            (1.0, 2),
        ] {
            let (scope, takes) = extent(scopes(), sweep, &mut OneEach);
            assert_eq!((scope, takes), (scopes()[n].clone(), seconds[n]), "{sweep}");
        }
    }
}
