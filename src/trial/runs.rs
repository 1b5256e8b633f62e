//! What a trial runs: a stack of manipulations at its layers and seeds.

use std::rc::Rc;

use super::{Donor, Stack, TrialError};
use crate::engine::{DonorStates, donor_states};
use crate::engine::{Engine, Prompt, Request, TokenSelector};
use crate::hook::{Anatomy, HookFault};
use crate::intervention::{Extent, Kind, LayerList, PositionSet, Site};
use crate::sweep::Given;

/// Where a manipulation acts.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Which prior tokens.
    pub tokens: TokenSelector,
    /// Which layers, seen from its layer.
    pub extent: Extent,
    /// Which rows of a layer.
    pub sites: Vec<Site>,
}

impl Default for Place {
    /// All prior tokens' states, at the layers of the paper.
    fn default() -> Self {
        Self {
            tokens: TokenSelector::Prior,
            extent: Extent::Paper,
            sites: vec![Site::Residual],
        }
    }
}

/// A manipulation with all that it needs.
#[derive(Clone, Debug)]
pub struct Part {
    /// The manipulation.
    pub kind: Kind,
    /// Its layer; without one it moves with the trial's.
    pub layer: Option<u32>,
    /// Where it acts.
    pub place: Place,
    /// The donor, for a manipulation that takes one's states.
    pub donor: Option<Donor>,
    /// Directions, texts of means, a scaffold.
    pub given: Rc<Given>,
}

impl Part {
    /// Refuses what does not go together.
    pub(super) fn check(&self) -> Result<(), TrialError> {
        let Self { kind, donor, .. } = self;
        let sites = &self.place.sites;
        if let Some(why) = sites.iter().find_map(|s| kind.check_site(*s).err()) {
            return Err(TrialError::Usage(format!("{why} (`site`)")));
        }
        if let Some(option) = self.given.lacks(*kind) {
            return Err(TrialError::Usage(format!("{kind} needs {option}")));
        }
        let residual = sites.iter().any(|site| !site.is_cached());
        let why = match (kind.has_donor(), donor) {
            (true, None) => "needs a donor prompt (`inject_from`)",
            (true, Some(donor)) if residual && donor.at.is_none() => {
                "needs the part of the prompt that is replaced, but for keys and values (`inject_at`)"
            }
            (false, Some(_)) => "takes no donor prompt (`inject_from`)",
            _ => return Ok(()),
        };
        Err(TrialError::Usage(format!("{kind} {why}")))
    }
}

/// Manipulations that act together, at every layer and seed.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The manipulations.
    pub parts: Vec<Part>,
    /// The layers of those that have none of their own.
    pub layers: LayerList,
    /// Seeds of those that draw at random.
    pub seeds: Vec<u64>,
    /// See [`Request::manipulate_generated`].
    pub manipulate_generated: bool,
    /// See [`Request::from_step`].
    pub from_step: usize,
    /// Whether tokens will follow the prompt, so that there is something to manipulate where the
    /// prompt alone has nothing.
    pub generates: bool,
}

impl Trial {
    /// The manipulations of the prompt at all layers that `layers` names.
    pub fn new(parts: Vec<Part>, layers: LayerList) -> Self {
        Self {
            parts,
            layers,
            seeds: vec![1],
            manipulate_generated: true,
            from_step: 0,
            generates: false,
        }
    }

    fn stack(&self) -> Stack {
        Stack(self.parts.iter().map(|p| (p.kind, p.layer)).collect())
    }
}

/// One run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Which of the trials it belongs to.
    pub stack: usize,
    /// The manipulations, with those layers that are fixed: `inject@8+freeze`.
    pub name: String,
    /// The layer that moves, or the only one; none where a stack fixes several.
    pub layer: Option<u32>,
    /// The seed, where results depend on one.
    pub seed: Option<u64>,
    /// What the engine is asked.
    pub request: Request,
}

impl Run {
    /// As `freeze at 15`, `inject@8+freeze@20`, `random at 3, seed 2`.
    pub fn label(&self) -> String {
        let seed = self
            .seed
            .map_or(String::new(), |seed| format!(", seed {seed}"));
        match self.layer {
            Some(layer) => format!("{} at {layer}{seed}", self.name),
            None => format!("{}{seed}", self.name),
        }
    }
}

/// Every trial at every layer and seed; `say` is told what is left out, and why.
///
/// # Errors
/// [`TrialError`]: what cannot be meant, and the engine's, which computes donors' states.
pub fn runs(
    trials: &[Trial],
    engine: &mut dyn Engine,
    anatomy: &Anatomy,
    prompt: &Prompt,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<Run>, TrialError> {
    let mut runs = Vec::new();
    let mut found = Found::default();
    for (n, trial) in trials.iter().enumerate() {
        let parts = trial.parts.iter();
        parts.clone().try_for_each(Part::check)?;
        let parts = parts.map(|part| found.placed(part, engine, prompt));
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let before = runs.len();
        let (mut left_out, mut reason) = (Vec::new(), None);
        let stack = trial.stack();
        let n_layer = engine.facts().n_layer;
        let layers = layers(trial, &stack, n_layer, say)?;
        let seeds = match stack.has_seed() {
            true => &trial.seeds[..],
            false => &[0],
        };
        for &seed in seeds {
            for &layer in &layers {
                let mut run = Run {
                    stack: n,
                    name: stack.name(),
                    layer: stack.layer(layer),
                    seed: stack.has_seed().then_some(seed),
                    request: Request {
                        manipulate_generated: trial.manipulate_generated,
                        from_step: trial.from_step,
                        ..Request::new(prompt)
                    },
                };
                for part in &parts {
                    part.plan(&mut run.request, layer, seed, engine)?;
                }
                let mut plan = run.request.plan.iter();
                if let Some(why) = plan.find_map(|i| anatomy.admits(i).err()) {
                    if stack.is_fixed() || trial.layers.names(layer) {
                        return Err(no_place(&run.label(), &why, engine));
                    }
                    left_out.push(layer);
                    reason.get_or_insert(why);
                    continue;
                }
                check_idle(trial, &run.request)?;
                runs.push(run);
            }
        }
        if let Some(why) = reason {
            if runs.len() == before {
                return Err(no_place(&stack.name(), &why, engine));
            }
            left_out.sort_unstable();
            left_out.dedup();
            let layers: Vec<String> = left_out.iter().map(ToString::to_string).collect();
            let (name, layers) = (stack.name(), layers.join(", "));
            say(&format!(
                "{name} is left out where it has no place in this model (layers {layers}): {why}"
            ));
        }
    }
    Ok(runs)
}

/// Other texts' states that were computed, by what they are of.
#[derive(Default)]
struct Found<'t> {
    of_donors: Vec<(&'t Donor, &'t [Site], DonorStates)>,
}

/// A part, and what it puts where.
struct Placed<'t> {
    part: &'t Part,
    positions: PositionSet,
    states: Option<DonorStates>,
}

impl<'t> Found<'t> {
    fn placed(
        &mut self,
        part: &'t Part,
        engine: &mut dyn Engine,
        prompt: &Prompt,
    ) -> Result<Placed<'t>, TrialError> {
        let sites = &part.place.sites[..];
        let Some(donor) = &part.donor else {
            return Ok(Placed {
                part,
                positions: part.place.tokens.positions(prompt)?,
                states: part.given.spliced(part.kind, prompt, sites, engine)?,
            });
        };
        let moves = donor.moves(prompt)?;
        let known = |(of, at, _): &&(&Donor, &[Site], _)| *of == donor && *at == sites;
        let states = match self.of_donors.iter().find(known) {
            Some((_, _, states)) => states.clone(),
            None => donor_states(engine, &donor.prompt, &moves, sites)?,
        };
        self.of_donors.push((donor, sites, states.clone()));
        let places = moves.iter().map(|(_, to)| *to..to + 1);
        Ok(Placed {
            part,
            positions: PositionSet::ranges(places),
            states: Some(states),
        })
    }
}

impl Placed<'_> {
    /// Adds the part to a request, its layer `layer` unless it has one.
    fn plan(
        &self,
        request: &mut Request,
        layer: u32,
        seed: u64,
        engine: &mut dyn Engine,
    ) -> Result<(), TrialError> {
        let Part { kind, place, .. } = self.part;
        let prior = request.tokens.len() as u32 - 1;
        let tokens = kind.places(seed, &self.positions, prior);
        let k = self.part.layer.unwrap_or(layer);
        for site in &place.sites {
            let own = self
                .part
                .given
                .states(*kind, *site, &request.tokens, engine)?;
            let states = self.states.as_ref().map(|states| states.at(*site));
            let states = states.or(own);
            let intervention = kind
                .intervention(k, seed, place.extent, tokens.clone(), states)
                .on(*site);
            intervention.check(engine.facts().n_layer)?;
            request.plan.push(intervention);
        }
        Ok(())
    }
}

fn no_place(name: &str, why: &HookFault, engine: &dyn Engine) -> TrialError {
    let architecture = &engine.facts().architecture;
    TrialError::Usage(format!(
        "{name} has no place in this model ({architecture}): {why}; choose other layers (`layers`)"
    ))
}

/// The layers at which a stack runs. One whose manipulations all have theirs runs once.
fn layers(
    trial: &Trial,
    stack: &Stack,
    n_layer: u32,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<u32>, TrialError> {
    let asked = trial.layers.resolve(n_layer)?;
    if stack.is_fixed() {
        return Ok(vec![0]);
    }
    let is_defined = |layer: &u32| {
        let mut moving = trial.parts.iter().filter(|part| part.layer.is_none());
        moving.all(|p| p.kind.is_defined(*layer, n_layer) && p.given.has(p.kind, *layer))
    };
    let defined: Vec<u32> = asked.iter().copied().filter(is_defined).collect();
    if defined.is_empty() {
        // Running them says why.
        return Ok(asked);
    }
    // Who asks for all has not asked for one in particular.
    if !trial.layers.is_all() && defined.len() < asked.len() {
        let name = stack.name();
        let left = asked.iter().filter(|layer| !defined.contains(layer));
        let left: Vec<String> = left.map(ToString::to_string).collect();
        let left = left.join(", ");
        say(&format!(
            "{name} is left out where it is not defined (layers {left})"
        ));
    }
    Ok(defined)
}

fn check_idle(trial: &Trial, request: &Request) -> Result<(), TrialError> {
    // Generated tokens become prior, and there is something to manipulate after all.
    let grows = trial.generates && request.manipulate_generated;
    match request.idle().filter(|_| !grows) {
        None => Ok(()),
        Some(idle) => Err(TrialError::Usage(format!(
            "{:?} would change nothing: all tokens but the last are prior, and the prompt has {} (`prompt`)",
            idle.action,
            request.tokens.len()
        ))),
    }
}
