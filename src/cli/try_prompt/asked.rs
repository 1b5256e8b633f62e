//! From the arguments of `midlayer try` to trials.

use std::rc::Rc;

use crate::cli::Usage;
use crate::cli::args::{TryArgs, YesNo};
use crate::engine::Engine;
use crate::experiment::Outside;
use crate::intervention::{Needs, Site};
use crate::sweep::Given;
use crate::trial::{Donor, Part, Place, Trial};

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

/// A trial for each stack.
pub fn trials(
    args: &TryArgs,
    engine: &dyn Engine,
    donor: Option<&str>,
) -> anyhow::Result<Vec<Trial>> {
    let outside = Outside::of(args.outside.files(), engine.facts())?;
    let given = Rc::new(Given::read(&outside, engine)?);
    let donor = donor.map(|from| {
        let wording = args.prompt.wording.of_argument(false);
        wording.prompt(engine.tokenizer(), from)
    });
    let donor = donor.transpose()?.map(|prompt| Donor {
        prompt,
        at: args.inject_at.clone(),
        from_at: args.inject_from_at.clone(),
    });
    let place = Place {
        tokens: args.place.tokens.clone(),
        extent: args.place.extent,
        sites: args.place.sites(),
    };
    let trials = args.manipulate.iter().map(|stack| {
        let parts = stack.0.iter().map(|&(kind, layer)| Part {
            kind,
            layer,
            place: place.clone(),
            donor: donor.clone().filter(|_| kind.has_donor()),
            given: given.clone(),
        });
        Trial {
            seeds: args.seed.clone(),
            manipulate_generated: args.generation.manipulate_generated == YesNo::Yes,
            from_step: args.generation.from_step as usize,
            generates: args.generate.is_some(),
            ..Trial::new(parts.collect(), args.layers.clone())
        }
    });
    Ok(trials.collect())
}
