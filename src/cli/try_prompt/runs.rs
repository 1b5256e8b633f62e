//! What `midlayer try` runs: every stack of manipulations at its layers and seeds.

use std::collections::HashMap;

use crate::cli::Usage;
use crate::cli::args::{TryArgs, YesNo};
use crate::cli::output::say;
use crate::cli::setup::Stack;
use crate::engine::{DonorStates, Engine, Prompt, PromptError, Request, TextPart, donor_states};
use crate::experiment::Outside;
use crate::hook::{Anatomy, HookFault};
use crate::intervention::{Kind, Needs, PositionSet, Site};
use crate::sweep::Given;

/// One run to show.
pub struct Run {
    /// Which of the stacks it belongs to.
    pub stack: usize,
    /// The manipulations, with those layers that are fixed: `inject@8+freeze`.
    pub name: String,
    /// The layer that moves, or the only one; none where a stack fixes several.
    pub layer: Option<u32>,
    pub seed: Option<u64>,
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

/// Donor states and the positions of the prompt that they go to.
struct Donor {
    states: DonorStates,
    positions: PositionSet,
}

/// What can be known to be wrong without a model.
pub fn check(args: &TryArgs) -> Result<(), Usage> {
    for (kind, _) in args.manipulate.iter().flat_map(|stack| &stack.0) {
        let mut sites = args.place.sites().into_iter();
        sites
            .try_for_each(|site| kind.check_site(site))
            .map_err(|why| Usage(format!("{why} (--site)")))?;
    }
    let stacks = args.manipulate.iter().flat_map(|stack| &stack.0);
    args.outside.check(stacks.map(|(kind, _)| *kind))?;
    let injects = args
        .manipulate
        .iter()
        .any(|stack| stack.needs(Needs::Donor));
    let residual = args.place.sites() == [Site::Residual];
    let named = (args.inject_from.is_some(), args.inject_at.is_some());
    let fits = match named {
        (true, true) => injects,
        // Keys and values may come from the same positions of the donor.
        (true, false) => injects && !residual,
        (false, true) => false,
        (false, false) => !injects,
    };
    if fits {
        return Ok(());
    }
    Err(Usage(
        "inject needs --inject-from (the donor prompt) and, on the residual stream, --inject-at (the part replaced); both need --manipulate inject".into(),
    ))
}

/// Every stack at every layer and seed.
pub fn runs(
    args: &TryArgs,
    engine: &mut dyn Engine,
    anatomy: &Anatomy,
    prompt: &Prompt,
    donor: Option<&str>,
) -> anyhow::Result<Vec<Run>> {
    let n_layer = engine.facts().n_layer;
    let asked = args.layers.resolve(n_layer)?;
    let selected = args.place.tokens.positions(prompt)?;
    let outside = Outside::of(args.outside.files(), engine.facts())?;
    let given = Given::read(&outside, engine)?;
    let donors = donors(args, engine, prompt, donor, &selected, &given)?;
    let mut runs = Vec::new();
    for (n, stack) in args.manipulate.iter().enumerate() {
        let seeds = match stack.has_seed() {
            true => &args.seed[..],
            false => &[0],
        };
        let layers = layers(stack, &asked, args.layers.is_all(), &|kind, layer| {
            kind.is_defined(layer, n_layer) && outside.has(kind, layer)
        });
        let before = runs.len();
        let mut left_out: Vec<u32> = Vec::new();
        let mut reason = None;
        for &seed in seeds {
            for &layer in &layers {
                let request = Request {
                    manipulate_generated: args.generation.manipulate_generated == YesNo::Yes,
                    from_step: args.generation.from_step as usize,
                    ..Request::new(prompt)
                };
                let mut run = Run {
                    stack: n,
                    name: stack.name(),
                    layer: stack.layer(layer),
                    seed: stack.has_seed().then_some(seed),
                    request,
                };
                for &(kind, fixed) in &stack.0 {
                    let donor = donors.get(&kind.manipulation().needs());
                    let prior = prompt.tokens.len() as u32 - 1;
                    let tokens = donor.map_or(&selected, |donor| &donor.positions);
                    let tokens = kind.places(seed, tokens, prior);
                    let k = fixed.unwrap_or(layer);
                    let own = given.states(kind, &prompt.tokens, engine)?;
                    for site in args.place.sites() {
                        let states = donor.map(|donor| donor.states.at(site));
                        let states = states.or_else(|| own.clone());
                        let extent = args.place.extent;
                        let intervention = kind
                            .intervention(k, seed, extent, tokens.clone(), states)
                            .on(site);
                        intervention.check(n_layer)?;
                        run.request.plan.push(intervention);
                    }
                }
                let mut plan = run.request.plan.iter();
                if let Some(why) = plan.find_map(|i| anatomy.admits(i).err()) {
                    if stack.is_fixed() || args.layers.names(layer) {
                        return Err(no_place(&run.label(), &why).into());
                    }
                    left_out.push(layer);
                    reason.get_or_insert(why);
                    continue;
                }
                check_idle(args, &run.request)?;
                runs.push(run);
            }
        }
        if let Some(why) = reason {
            if runs.len() == before {
                return Err(no_place(&stack.name(), &why).into());
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

fn no_place(name: &str, why: &HookFault) -> Usage {
    Usage(format!(
        "{name} has no place in this model: {why}; choose other layers (--layers)"
    ))
}

/// The layers at which a stack runs. One whose manipulations all have theirs runs once.
fn layers(
    stack: &Stack,
    asked: &[u32],
    all: bool,
    is_defined: &dyn Fn(Kind, u32) -> bool,
) -> Vec<u32> {
    if stack.is_fixed() {
        return vec![0];
    }
    let layers = asked.iter().copied();
    let defined: Vec<u32> = layers
        .filter(|l| stack.is_defined(*l, is_defined))
        .collect();
    if defined.is_empty() {
        // Running them says why.
        return asked.to_vec();
    }
    // Who asks for all has not asked for one in particular.
    if !all && defined.len() < asked.len() {
        let name = stack.name();
        let left = asked.iter().filter(|layer| !defined.contains(layer));
        let left: Vec<String> = left.map(ToString::to_string).collect();
        let left = left.join(", ");
        say(&format!(
            "{name} is left out where it is not defined (layers {left})"
        ));
    }
    defined
}

fn check_idle(args: &TryArgs, request: &Request) -> Result<(), Usage> {
    // Generated tokens become prior, and there is something to manipulate after all.
    let grows = args.generate.is_some() && request.manipulate_generated;
    match request.idle().filter(|_| !grows) {
        None => Ok(()),
        Some(idle) => Err(Usage(format!(
            "{:?} would change nothing: all tokens but the last are prior, and the prompt has {} (-p)",
            idle.action,
            request.tokens.len()
        ))),
    }
}

fn donors(
    args: &TryArgs,
    engine: &mut dyn Engine,
    prompt: &Prompt,
    from: Option<&str>,
    selected: &PositionSet,
    given: &Given,
) -> anyhow::Result<HashMap<Needs, Donor>> {
    let sites = args.place.sites();
    let mut donors = HashMap::new();
    if let Some(from) = from {
        let wording = args.prompt.wording.of_argument(false);
        let donor = wording.prompt(engine.tokenizer(), from)?;
        let moves = moves(args, prompt, &donor)?;
        let places = moves.iter().map(|(_, to)| *to..to + 1);
        let positions = PositionSet::ranges(places);
        let states = donor_states(engine, &donor, &moves, &sites)?;
        donors.insert(Needs::Donor, Donor { states, positions });
    }
    let kinds = args.manipulate.iter().flat_map(|stack| &stack.0);
    for (kind, _) in kinds {
        if let Some(states) = given.spliced(*kind, prompt, &sites, engine)? {
            let positions = selected.clone();
            let donor = Donor { states, positions };
            donors.insert(kind.manipulation().needs(), donor);
        }
    }
    Ok(donors)
}

/// Which of the donor's tokens goes where: its last ones, or those of the part that is named, to
/// the part replaced; without a part, its tokens to the same positions.
fn moves(args: &TryArgs, prompt: &Prompt, donor: &Prompt) -> anyhow::Result<Vec<(u32, u32)>> {
    let Some(at) = &args.inject_at else {
        let both = donor.tokens.len().min(prompt.tokens.len() - 1) as u32;
        return Ok((0..both).map(|position| (position, position)).collect());
    };
    let places = at.find(prompt)?;
    let text = &at.text;
    if places.iter().any(|place| place.end == prompt.tokens.len()) {
        return Err(Usage(format!(
            "{text:?} ends the prompt; its last token is never manipulated (--inject-at)"
        ))
        .into());
    }
    let n = places[0].len();
    let first = match &args.inject_from_at {
        Some(part) => part_of_donor(part, donor, text, n)?,
        None if donor.own_tokens() < n => {
            return Err(Usage(format!(
                "{text:?} has {n} tokens, the donor prompt only {} (--inject-from)",
                donor.own_tokens()
            ))
            .into());
        }
        None => donor.tokens.len() - n,
    };
    let mut moves = Vec::new();
    for place in places {
        // The same text may be other tokens elsewhere.
        if place.len() != n {
            return Err(Usage(format!(
                "{text:?} is {n} tokens in one place and {} in another; replace one at a time (--inject-at)",
                place.len()
            ))
            .into());
        }
        moves.extend((first as u32..).zip(place.map(|p| p as u32)));
    }
    Ok(moves)
}

/// The first token of the donor's part that takes the place of `n` tokens of `text`.
fn part_of_donor(part: &TextPart, donor: &Prompt, text: &str, n: usize) -> anyhow::Result<usize> {
    let found = part.find(donor).map_err(about_donor)?;
    let [range] = &found[..] else {
        return Err(Usage(format!(
            "one part of the donor is taken, and {:?} occurs {} times there; say which, as '#2:{}' (--inject-from-at)",
            part.text,
            found.len(),
            part.text
        ))
        .into());
    };
    if range.len() != n {
        return Err(Usage(format!(
            "{:?} has {} tokens in the donor prompt and {text:?} {n} in the prompt; give parts with as many tokens, midlayer tokens shows them (--inject-from-at, --inject-at)",
            part.text,
            range.len()
        ))
        .into());
    }
    Ok(range.start)
}

/// What is wrong with a part of the donor prompt.
fn about_donor(error: PromptError) -> Usage {
    Usage(match error {
        PromptError::NotFound(text) => {
            format!("{text:?} is not in the donor prompt (--inject-from-at)")
        }
        PromptError::Ambiguous { text, count } => format!(
            "{text:?} occurs {count} times in the donor prompt; say which, the second is '#2:{text}' (--inject-from-at)"
        ),
        PromptError::NoSuchOccurrence { text, asked, count } => format!(
            "{text:?} occurs {count} times in the donor prompt, so there is no #{asked} (--inject-from-at)"
        ),
        PromptError::PartialToken { text, whole } => format!(
            "{text:?} begins or ends inside a token of the donor prompt; the whole tokens there are {whole:?} (--inject-from-at)"
        ),
        error => error.to_string(),
    })
}
