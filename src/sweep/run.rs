//! Runs a grid: item by item, each item under all its cells, each unit committed as a whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Cell, Grid, GridError, Spec};
use crate::engine::{
    Engine, EngineError, Outcome, PromptError, Request, TokenSelector, argmax, donor_states,
    filler_states, kl, log_softmax, rank,
};
use crate::hook::Touched;
use crate::intervention::{Kind, PositionSet, Site, States};
use crate::runtime::Token;
use crate::store::{ItemRow, Row, Store, StoreError, Unit};
use crate::tasks::data::DataError;
use crate::tasks::{Answer, Item, ItemSet, Scores, Scoring, Swap, TaskName, answer_part};

/// What can stop a sweep.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// The engine failed.
    #[error("{task}, item {item}: {source}")]
    Item {
        /// The task.
        task: TaskName,
        /// The item.
        item: String,
        /// Why.
        source: EngineError,
    },
    /// The engine failed before any item.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The results could not be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is nothing to run.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// The user stopped it. Everything committed stays.
    #[error("interrupted; repeat the command to go on where it stopped")]
    Interrupted,
    /// A task's data file cannot be used.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The token selector does not fit sweeps.
    #[error("{0}")]
    Tokens(String),
}

/// Follows a sweep. All methods do nothing by default.
pub trait Progress {
    /// `cells` are to be run in all, `done` of them are there from an earlier session.
    fn begin(&mut self, cells: usize, done: usize) {
        let _ = (cells, done);
    }
    /// A cell has run.
    fn cell(&mut self, task: TaskName, item: &str) {
        let _ = (task, item);
    }
    /// Something the user should know.
    fn note(&mut self, text: &str) {
        let _ = text;
    }
    /// Whether to stop.
    fn stopped(&self) -> bool {
        false
    }
}

impl Progress for () {}

/// What a sweep did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Items run in this session.
    pub items: usize,
    /// Items that were there already.
    pub resumed: usize,
}

/// Prompts on which the noise floor is measured.
const FLOOR_PROMPTS: usize = 5;

/// Runs what is missing of a grid.
///
/// # Errors
/// [`SweepError`]; what was committed before stays and is not run again.
pub fn run(
    spec: &Spec,
    grid: &Grid,
    engine: &mut dyn Engine,
    store: &mut Store,
    progress: &mut dyn Progress,
) -> Result<Summary, SweepError> {
    let selector: TokenSelector = spec.tokens.parse().map_err(SweepError::Tokens)?;
    if matches!(selector, TokenSelector::Text(_)) {
        return Err(SweepError::Tokens(
            "text: selects tokens of one prompt; a sweep has many: use prior, skip:N or positions (--tokens)".into(),
        ));
    }
    let mut work: Vec<(TaskName, ItemSet)> = Vec::new();
    for task in &spec.tasks {
        work.push((task.task, task.items(engine, spec.context.n_ctx)?));
    }
    measure_noise_floor(&work, engine, store)?;
    let mut summary = Summary {
        items: 0,
        resumed: 0,
    };
    let mut pending = Vec::new();
    let (mut cells, mut done_cells) = (0, 0);
    for (task, set) in &work {
        note_left_out(*task, set, grid, store, progress)?;
        let done = store.done(*task)?;
        for item in &set.items {
            let n = cells_for(item, grid, *task).count();
            cells += n;
            if done.contains(&item.id) {
                summary.resumed += 1;
                done_cells += n;
            } else {
                pending.push((*task, item));
            }
        }
    }
    progress.begin(cells, done_cells);
    for (task, item) in pending {
        let unit = run_item(spec, &selector, grid, task, item, engine, progress)?;
        store.commit(&unit)?;
        summary.items += 1;
    }
    Ok(summary)
}

fn measure_noise_floor(
    work: &[(TaskName, ItemSet)],
    engine: &mut dyn Engine,
    store: &mut Store,
) -> Result<(), SweepError> {
    if store.has_noise_floor()? {
        return Ok(());
    }
    let prompts: Vec<_> = work
        .iter()
        .flat_map(|(_, set)| set.items.iter().take(FLOOR_PROMPTS))
        .map(|item| item.prompt.clone())
        .collect();
    let floors = engine.noise_floor(&prompts)?;
    store.put_noise_floor(&floors)?;
    Ok(())
}

fn note_left_out(
    task: TaskName,
    set: &ItemSet,
    grid: &Grid,
    store: &mut Store,
    progress: &mut dyn Progress,
) -> Result<(), SweepError> {
    let injects = grid
        .cells_of(task)
        .any(|(_, cell)| cell.manipulation == Some(Kind::Inject));
    let mut left_out: Vec<(String, &str, String)> = set
        .left_out
        .iter()
        .map(|(id, reason)| (id.clone(), "item", reason.clone()))
        .collect();
    if injects {
        let swaps = set.without_swap.iter();
        left_out.extend(swaps.map(|(id, reason)| (id.clone(), "inject", reason.clone())));
        if !set.without_swap.is_empty() {
            progress.note(&format!(
                "{task}: inject leaves out {} of {} items (no donor name with as many tokens)",
                set.without_swap.len(),
                set.items.len()
            ));
        }
    }
    store.put_left_out(task, &left_out)?;
    Ok(())
}

/// The cells an item runs under: all of the task's, without `inject` where it has no swap.
fn cells_for<'g>(
    item: &'g Item,
    grid: &'g Grid,
    task: TaskName,
) -> impl Iterator<Item = (usize, &'g Cell)> {
    grid.cells_of(task)
        .filter(|(_, cell)| cell.manipulation != Some(Kind::Inject) || item.swap.is_some())
}

fn run_item(
    spec: &Spec,
    selector: &TokenSelector,
    grid: &Grid,
    task: TaskName,
    item: &Item,
    engine: &mut dyn Engine,
    progress: &mut dyn Progress,
) -> Result<Unit, SweepError> {
    let in_item = |source: EngineError| SweepError::Item {
        task,
        item: item.id.clone(),
        source,
    };
    let tokens = selector
        .positions(&item.prompt)
        .map_err(|e: PromptError| in_item(e.into()))?;
    let mut donors = Donors::default();
    let mut clean: Option<Told> = None;
    let mut rows = Vec::new();
    for (number, cell) in cells_for(item, grid, task) {
        if progress.stopped() {
            return Err(SweepError::Interrupted);
        }
        let mut request = Request {
            manipulate_generated: spec.manipulate_generated,
            from_step: spec.from_step,
            ..Request::new(&item.prompt)
        };
        let mut swap = None;
        if let Some(kind) = cell.manipulation {
            let mut at = tokens.clone();
            if kind == Kind::Inject {
                let of = item.swap.as_ref().expect("cells_for saw to it");
                at = PositionSet::ranges(of.moves.iter().map(|(_, to)| *to..to + 1));
                swap = Some(of);
            }
            for &site in &spec.sites {
                let states = donors.states(kind, site, item, engine).map_err(in_item)?;
                let intervention =
                    kind.intervention(cell.layer, cell.seed, spec.extent, at.clone(), states);
                request.plan.push(intervention.on(site));
            }
        }
        let told = tell(engine, task, item, &request, swap).map_err(in_item)?;
        let clean = clean.get_or_insert_with(|| told.clone());
        let likeliest = argmax(&told.logits);
        rows.push(Row {
            cell: number,
            scores: told.scores,
            agrees: told.answer == clean.answer,
            answer: told.answer,
            logprob: told.logprob,
            rank: rank(&told.logits, item.answer.tokens[0]),
            kl: kl(&clean.logits, &told.logits),
            argmax: likeliest.0,
            argmax_text: engine.piece(likeliest),
            modified: told.modified,
            touched: told.touched,
        });
        progress.cell(task, &item.id);
    }
    Ok(Unit {
        item: ItemRow {
            task,
            name: item.id.clone(),
            prompt: item.prompt.text.clone(),
            answer: item.answer.text.clone(),
            cut: item.cut,
            swap: item
                .swap
                .as_ref()
                .map(|of| (of.donor.text.clone(), of.answer.text.clone())),
        },
        rows,
    })
}

/// What the model said under one cell.
#[derive(Clone)]
struct Told {
    logits: Vec<f32>,
    scores: Scores,
    /// The generated answer; for tasks that do not generate, the likeliest first token.
    answer: String,
    logprob: f64,
    modified: Option<(bool, f64)>,
    touched: Vec<Touched>,
}

fn tell(
    engine: &mut dyn Engine,
    task: TaskName,
    item: &Item,
    request: &Request,
    swap: Option<&Swap>,
) -> Result<Told, EngineError> {
    let Scoring::Generated {
        max_tokens,
        stop,
        references,
    } = &item.scoring
    else {
        return tell_forced(engine, item, request, swap);
    };
    let mut go_on = |text: &str| !text.trim_start().contains(stop);
    let generation = engine.generate(request, *max_tokens, &mut go_on)?;
    let text = engine.text(&generation.tokens);
    let answer = answer_part(&text, stop).to_string();
    // The gold answer, forced, on the same prompt.
    engine.back()?;
    let (last, forced) = item
        .answer
        .tokens
        .split_last()
        .expect("answers have tokens");
    let mut logits = generation.logits.clone();
    let mut logprob = 0.0;
    for token in forced {
        logprob += log_softmax(&logits)[token.0 as usize];
        logits = engine.advance(*token)?;
    }
    logprob += log_softmax(&logits)[last.0 as usize];
    Ok(Told {
        scores: task.score(&answer, references),
        logits: generation.logits,
        answer,
        logprob,
        modified: None,
        touched: generation.touched,
    })
}

fn tell_forced(
    engine: &mut dyn Engine,
    item: &Item,
    request: &Request,
    swap: Option<&Swap>,
) -> Result<Told, EngineError> {
    let mut request = request.clone();
    request.continuations = vec![steps(item, &item.answer)];
    request
        .continuations
        .extend(swap.map(|of| steps(item, &of.answer)));
    let outcome = engine.run(&request)?;
    let correct = is_correct(engine, &item.scoring, &item.answer, &outcome, 0);
    Ok(Told {
        scores: Scores {
            score: f64::from(u8::from(correct)),
            correct,
            metrics: BTreeMap::new(),
        },
        answer: engine.piece(outcome.argmax()),
        logprob: log_probability(&item.answer, &outcome, 0),
        modified: swap.map(|of| {
            (
                is_correct(engine, &item.scoring, &of.answer, &outcome, 1),
                log_probability(&of.answer, &outcome, 1),
            )
        }),
        logits: outcome.logits,
        touched: outcome.touched,
    })
}

/// States that replace an item's own, captured once an item.
#[derive(Default)]
struct Donors {
    inject: Option<[Arc<States>; 3]>,
    filler: Option<[Arc<States>; 3]>,
}

impl Donors {
    /// The states that `kind` puts at `site`; `None` for kinds that need none.
    fn states(
        &mut self,
        kind: Kind,
        site: Site,
        item: &Item,
        engine: &mut dyn Engine,
    ) -> Result<Option<Arc<States>>, EngineError> {
        let known = match kind {
            Kind::Inject => &mut self.inject,
            Kind::Filler => &mut self.filler,
            _ => return Ok(None),
        };
        if known.is_none() {
            *known = Some(match kind {
                Kind::Inject => {
                    let of = item.swap.as_ref().expect("cells_for saw to it");
                    donor_states(engine, &of.donor, &of.moves)?
                }
                _ => filler_states(engine, &item.prompt)?,
            });
        }
        let by_site = known.as_ref().expect("made above");
        let n = match site {
            Site::Residual => 0,
            Site::Keys => 1,
            Site::Values => 2,
        };
        Ok(Some(by_site[n].clone()))
    }
}

/// The tokens to force so that the answer can be scored: all but its last give its
/// log-probability; the last too where what follows the answer matters.
fn steps(item: &Item, answer: &Answer) -> Vec<Token> {
    let n = match item.scoring {
        Scoring::WholeAnswer => answer.tokens.len(),
        _ => answer.tokens.len() - 1,
    };
    answer.tokens[..n].to_vec()
}

fn is_correct(
    engine: &dyn Engine,
    scoring: &Scoring,
    answer: &Answer,
    outcome: &Outcome,
    branch: usize,
) -> bool {
    match scoring {
        Scoring::FirstToken => {
            let lead = answer.lead();
            let first = argmax(outcome.after(branch, lead.len()));
            tells(outcome, branch, lead) && answer.begins_with(&engine.piece(first))
        }
        Scoring::WholeAnswer => {
            let told = tells(outcome, branch, &answer.tokens);
            let next = argmax(outcome.after(branch, answer.tokens.len()));
            told && !engine.piece(next).starts_with(char::is_alphanumeric)
        }
        Scoring::Generated { .. } => false,
    }
}

/// Whether each token is the likeliest in turn.
fn tells(outcome: &Outcome, branch: usize, tokens: &[Token]) -> bool {
    let mut steps = tokens.iter().enumerate();
    steps.all(|(n, token)| argmax(outcome.after(branch, n)) == *token)
}

/// The sum of the answer's tokens' log-probabilities, each after those before it, nats.
fn log_probability(answer: &Answer, outcome: &Outcome, branch: usize) -> f64 {
    answer
        .tokens
        .iter()
        .enumerate()
        .map(|(n, token)| log_softmax(outcome.after(branch, n))[token.0 as usize])
        .sum()
}
