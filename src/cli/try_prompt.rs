//! `midlayer try`.

use std::collections::HashMap;
use std::fmt::Write;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use comfy_table::{CellAlignment, Table};

use super::Usage;
use super::args::{Format, TryArgs, YesNo};
use super::continuation::{json_generations, list_generations, stream};
use super::line::Line;
use super::output::{print, say};
use super::setup::{Stack, load};
use midlayer::engine::{
    Engine, Outcome, Prompt, Request, Straightforward, donor_states, filler_states, kl,
    log_softmax, rank, top,
};
use midlayer::intervention::{Kind, PositionSet, Site, States};
use midlayer::plan::{Plan, Shape};
use midlayer::report::STYLE;

/// One run to show.
pub struct Run {
    pub name: String,
    pub layer: u32,
    pub seed: Option<u64>,
    pub request: Request,
}

impl Run {
    pub fn label(&self) -> String {
        match self.seed {
            Some(seed) => format!("{} at {} (seed {seed})", self.name, self.layer),
            None => format!("{} at {}", self.name, self.layer),
        }
    }
}

/// Donor states by site (residual, keys, values), already moved to the prompt's positions, and
/// those positions.
struct Donor {
    states: [Arc<States>; 3],
    positions: PositionSet,
}

pub fn run(args: TryArgs) -> anyhow::Result<()> {
    // Before the model is loaded: what can be known to be wrong without it.
    let text = args.prompt.replace("\\n", "\n").replace("\\t", "\t");
    let moving = args.manipulate.iter().any(|stack| !stack.is_fixed());
    if moving && args.layers.is_none() {
        return Err(
            Usage("say at which layers: --layers 15, --layers all, or freeze@15".into()).into(),
        );
    }
    let injects = args.manipulate.iter().any(Stack::injects);
    let residual = args.place.sites() == [Site::Residual];
    let named = (args.inject_from.is_some(), args.inject_at.is_some());
    let fits = match named {
        (true, true) => injects,
        // Keys and values may come from the same positions of the donor.
        (true, false) => injects && !residual,
        (false, true) => false,
        (false, false) => !injects,
    };
    if !fits {
        return Err(Usage(
            "inject needs --inject-from (the donor prompt) and, on the residual stream, --inject-at (the part replaced); both need --manipulate inject".into(),
        )
        .into());
    }
    let loaded = load(&args.model)?;
    let mut engine = loaded.engine()?;
    let text = if args.chat { engine.chat(&text)? } else { text };
    let prompt = engine.prompt(&text)?;
    let mut donors = HashMap::new();
    if let Some(from) = &args.inject_from {
        let donor = donor(&mut engine, &prompt, from, args.inject_at.as_deref())?;
        donors.insert("inject", donor);
    }
    let fills = args.manipulate.iter().flat_map(|stack| &stack.0);
    if fills.clone().any(|(kind, _)| *kind == Kind::Filler) {
        let states = filler_states(&mut engine, &prompt)?;
        let positions = args.place.tokens.positions(&prompt)?;
        donors.insert("filler", Donor { states, positions });
    }
    let runs = runs(&args, &engine, &prompt, &donors)?;
    if let Some(path) = &args.save_plan {
        save_plan(path, &engine, &runs)?;
    }
    let clean = Request {
        manipulate_generated: args.generation.manipulate_generated == YesNo::Yes,
        ..Request::new(&prompt)
    };
    if let Some(max) = args.generate {
        let max = max as usize;
        return match (args.output, &runs[..]) {
            (Format::Json, _) => json_generations(&mut engine, &clean, &runs, max),
            (Format::Text, [run]) => stream(&mut engine, &mut loaded.engine()?, &clean, run, max),
            (Format::Text, _) => list_generations(&mut engine, &clean, &runs, max),
        };
    }
    let clean = engine.run(&clean)?;
    if args.output == Format::Json {
        let line = Line::new(&engine, None, &clean.logits, &clean.logits);
        print(&line.text()?)?;
        for run in &runs {
            let outcome = engine.run(&run.request)?;
            let line = Line::new(&engine, Some(run), &clean.logits, &outcome.logits);
            print(&line.text()?)?;
        }
        return Ok(());
    }
    if let [run] = &runs[..] {
        let outcome = engine.run(&run.request)?;
        return print(&side_by_side(&engine, run, &clean, &outcome));
    }
    let answer = engine.piece(clean.argmax());
    print(&format!("clean answer {answer:?}\n"))?;
    let width = runs.iter().map(|r| r.label().len()).max().unwrap_or(0);
    for run in &runs {
        let outcome = engine.run(&run.request)?;
        print(&one_line(&engine, run, width, &clean, &outcome))?;
    }
    Ok(())
}

/// Writes the plan of the only run.
fn save_plan(path: &Path, engine: &impl Engine, runs: &[Run]) -> anyhow::Result<()> {
    let [run] = runs else {
        let text = format!(
            "a plan is one run, and these are {} (--save-plan, --layers, --manipulate, --seed)",
            runs.len()
        );
        return Err(Usage(text).into());
    };
    let facts = engine.facts();
    let shape = Shape {
        layers: facts.n_layer,
        width: facts.n_embd,
    };
    Plan::of(&run.request.plan, shape)?.write(path)?;
    say(&format!("wrote {}", path.display()));
    Ok(())
}

/// The states of the donor's last tokens, as many as the replaced part has; without a part, of
/// its tokens at the prompt's own prior positions.
fn donor(
    engine: &mut Straightforward,
    prompt: &Prompt,
    from: &str,
    at: Option<&str>,
) -> anyhow::Result<Donor> {
    let donor = engine.prompt(from)?;
    let place = match at {
        None => 0..donor.tokens.len().min(prompt.tokens.len() - 1),
        Some(at) => replaced_part(prompt, &donor, at)?,
    };
    let first = match at {
        None => 0,
        Some(_) => donor.tokens.len() - place.len(),
    };
    let moves: Vec<(u32, u32)> = (first as u32..)
        .zip(place.clone().map(|p| p as u32))
        .collect();
    Ok(Donor {
        states: donor_states(engine, &donor, &moves)?,
        positions: PositionSet::ranges([place.start as u32..place.end as u32]),
    })
}

fn replaced_part(prompt: &Prompt, donor: &Prompt, at: &str) -> anyhow::Result<Range<usize>> {
    let place = prompt.find(at)?;
    if place.end == prompt.tokens.len() {
        return Err(Usage(format!(
            "{at:?} ends the prompt; its last token is never manipulated (--inject-at)"
        ))
        .into());
    }
    if donor.own_tokens() < place.len() {
        return Err(Usage(format!(
            "{at:?} has {} tokens, the donor prompt only {} (--inject-from)",
            place.len(),
            donor.own_tokens()
        ))
        .into());
    }
    Ok(place)
}

/// Every stack at every layer and seed.
fn runs(
    args: &TryArgs,
    engine: &impl Engine,
    prompt: &Prompt,
    donors: &HashMap<&str, Donor>,
) -> anyhow::Result<Vec<Run>> {
    let n_layer = engine.facts().n_layer;
    let asked = match &args.layers {
        Some(layers) => layers.resolve(n_layer)?,
        None => Vec::new(),
    };
    let selected = args.place.tokens.positions(prompt)?;
    let mut runs = Vec::new();
    for stack in &args.manipulate {
        let mut layers = asked.clone();
        if stack.is_fixed() {
            layers = stack
                .0
                .iter()
                .filter_map(|(_, layer)| *layer)
                .max()
                .into_iter()
                .collect();
        }
        let first = stack.first_layer();
        if layers.len() > 1 && layers[0] < first {
            say(&format!(
                "{} is not defined below layer {first} and is left out there",
                stack.name()
            ));
            layers.retain(|layer| *layer >= first);
        }
        let seeds = if stack.has_seed() {
            &args.seed[..]
        } else {
            &[0]
        };
        for &layer in &layers {
            for &seed in seeds {
                let mut request = Request {
                    manipulate_generated: args.generation.manipulate_generated == YesNo::Yes,
                    from_step: args.generation.from_step as usize,
                    ..Request::new(prompt)
                };
                for &(kind, fixed) in &stack.0 {
                    let donor = donors.get(kind.to_string().as_str());
                    let tokens = donor.map_or(&selected, |donor| &donor.positions);
                    let k = fixed.unwrap_or(layer);
                    for site in args.place.sites() {
                        let states = donor.map(|donor| donor.states[site as usize].clone());
                        let extent = args.place.extent;
                        let intervention = kind
                            .intervention(k, seed, extent, tokens.clone(), states)
                            .on(site);
                        intervention.check(n_layer)?;
                        request.plan.push(intervention);
                    }
                }
                // Generated tokens become prior, and there is something to manipulate after all.
                let grows = args.generate.is_some() && request.manipulate_generated;
                if let Some(idle) = request.idle().filter(|_| !grows) {
                    let text = format!(
                        "{:?} would change nothing: all tokens but the last are prior, and the prompt has {} (-p)",
                        idle.action,
                        request.tokens.len()
                    );
                    return Err(Usage(text).into());
                }
                runs.push(Run {
                    name: stack.name(),
                    layer,
                    seed: stack.has_seed().then_some(seed),
                    request,
                });
            }
        }
    }
    Ok(runs)
}

fn side_by_side(engine: &impl Engine, run: &Run, clean: &Outcome, outcome: &Outcome) -> String {
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_header(["clean", "%", &run.label(), "%"]);
    let column = |outcome: &Outcome| -> Vec<(String, String)> {
        let probabilities = log_softmax(&outcome.logits);
        top(&outcome.logits, 10)
            .into_iter()
            .map(|(token, _)| {
                let p = 100.0 * probabilities[token.0 as usize].exp();
                (format!("{:?}", engine.piece(token)), format!("{p:.2}"))
            })
            .collect()
    };
    for ((a, p), (b, q)) in column(clean).into_iter().zip(column(outcome)) {
        table.add_row([a, p, b, q]);
    }
    for n in [1, 3] {
        if let Some(column) = table.column_mut(n) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = format!("{table}\n");
    writeln!(text, "{}", measures(engine, clean, outcome)).expect("writing to a String");
    let rows: usize = outcome.touched.iter().map(|t| t.rows).sum();
    let names: Vec<&str> = outcome.touched.iter().map(|t| t.tensor.as_str()).collect();
    let shown = match names[..] {
        [] => "no tensor".to_string(),
        [first] => first.to_string(),
        [first, .., last] => format!("{} tensors, {first} to {last}", names.len()),
    };
    writeln!(text, "wrote {rows} rows of {shown}").expect("writing to a String");
    text
}

fn measures(engine: &impl Engine, clean: &Outcome, outcome: &Outcome) -> String {
    let answer = clean.argmax();
    format!(
        "KL {:.4} nats; the clean answer {:?} now has rank {} and log-probability {:.3}",
        kl(&clean.logits, &outcome.logits),
        engine.piece(answer),
        rank(&outcome.logits, answer),
        log_softmax(&outcome.logits)[answer.0 as usize],
    )
}

fn one_line(
    engine: &impl Engine,
    run: &Run,
    width: usize,
    clean: &Outcome,
    outcome: &Outcome,
) -> String {
    let answer = clean.argmax();
    format!(
        "{:width$}  {:<16} KL {:>9.4}  clean answer: rank {:>5}, log-probability {:>8.3}\n",
        run.label(),
        format!("{:?}", engine.piece(outcome.argmax())),
        kl(&clean.logits, &outcome.logits),
        rank(&outcome.logits, answer),
        log_softmax(&outcome.logits)[answer.0 as usize],
    )
}
