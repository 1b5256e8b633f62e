//! Maps of a task's items.

use std::ops::ControlFlow;

use super::mapped::{asked, corruption};
use super::{Donor, Part, TrialError};
use crate::engine::{Engine, EngineError, Prompt, PromptError, TokenSelector};
use crate::experiment::Reasons;
use crate::hook::Anatomy;
use crate::intervention::{Kind, LayerList};
use crate::maps::{Down, Followed, ItemMap, Measure, Question, Role, Unfinished, draw_on};
use crate::tasks::{Item, SUBJECT, TaskName};

/// What is asked of each item of a task.
#[derive(Clone, Debug)]
pub struct OfItems<'a> {
    /// What is done to each state. Where a prompt is corrupted, what is put back is its own.
    pub part: &'a Part,
    /// The layers.
    pub layers: &'a LayerList,
    /// Seeds, whose values are averaged.
    pub seeds: &'a [u64],
    /// Whether the rows are heads, or tokens by their role.
    pub down: Down,
    /// What corrupts each prompt, and which of its tokens.
    pub corrupted: Option<(Kind, &'a TokenSelector)>,
    /// What a cell is about.
    pub about: About<'a>,
}

/// What a cell of an item's map is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum About<'a> {
    /// The log-probability of the item's right answer.
    Answer,
    /// The logit of the right answer less that of the item's own foil, the likeliest of several
    /// ([`Item::foils`]).
    OwnFoil,
    /// The logit of the right answer less that of this text, written with or without a space before
    /// it.
    Foil(&'a str),
    /// The KL divergence of the next token from the clean run.
    Kl,
}

impl About<'_> {
    /// The measure of an item, or why it has none.
    fn measure(
        self,
        engine: &dyn Engine,
        item: &Item,
    ) -> Result<Result<Measure, String>, EngineError> {
        let answer = Followed(item.answer.tokens.clone());
        let (whose, foils) = match self {
            About::Kl => return Ok(Ok(Measure::Kl)),
            About::Answer => return Ok(Ok(Measure::LogProbability(answer))),
            About::OwnFoil if item.foils.is_empty() => return Ok(Err("it has no foil".into())),
            About::OwnFoil => ("its", item.foils.clone()),
            About::Foil(text) => match item.answered(engine.tokenizer(), text)? {
                Ok(foil) => ("the", vec![foil]),
                Err(why) => return Ok(Err(why.replace("its answer", "the foil"))),
            },
        };
        let foils = foils.into_iter().map(|foil| Followed(foil.tokens));
        let foils: Vec<_> = foils.filter(|foil| answer.differs(foil)).collect();
        Ok(match foils.is_empty() {
            true => Err(format!("{whose} foil begins as its answer does")),
            false => Ok(Measure::LogitDifference(answer, foils)),
        })
    }
}

impl OfItems<'_> {
    /// What the average of `n` items' maps shows of a model, in words.
    pub fn title(&self, model: &str, task: TaskName, n: usize) -> String {
        let one = self.down.one();
        let s = if n == 1 { "" } else { "s" };
        let over = format!("{n} item{s} of {task}");
        match self.corrupted {
            Some((by, selector)) => {
                format!("{model}: one clean {one} put back after {by} of {selector}, over {over}")
            }
            None => format!(
                "{model}: {} of one {one} at a time, over {over}",
                self.part.kind
            ),
        }
    }

    /// What its values are, in words.
    pub fn measure(&self) -> &'static str {
        match self.about {
            About::Answer => Measure::of_answer(),
            About::OwnFoil | About::Foil(_) => Measure::of_foil(),
            About::Kl => Measure::Kl.name(),
        }
    }
}

/// The maps of a task's items.
#[derive(Clone, Debug, Default)]
pub struct ItemMaps {
    /// The maps.
    pub maps: Vec<ItemMap>,
    /// The items that have none, with the reasons: those without a subject, where tokens are told
    /// by their role, those without the tokens that are named, and those without a foil that
    /// differs from the answer, where there is to be one.
    pub left_out: Vec<(String, String)>,
}

impl ItemMaps {
    /// Why items are left out, with how many.
    pub fn reasons(&self) -> Reasons {
        Reasons::of(self.left_out.iter().map(|(_, reason)| &**reason))
    }

    /// What is to be said of items left out, if there are any.
    pub fn notice(&self, task: TaskName) -> Option<String> {
        let (n, left, reasons) = (self.maps.len(), self.left_out.len(), self.reasons());
        let items = if n == 1 { "item" } else { "items" };
        let others = match left {
            0 => return None,
            1 => "1 other is".into(),
            left => format!("{left} others are"),
        };
        Some(format!("{task}: {n} {items}; {others} left out: {reasons}"))
    }
}

/// Draws the maps of a task's items. What `unfinished` holds of them is not run again. `told` is
/// given how many items are done; it may stop the rest.
///
/// # Errors
/// [`TrialError`], which names the item; [`EngineError::Stopped`] where `told` wants no more.
pub fn item_maps(
    engine: &mut dyn Engine,
    anatomy: &Anatomy,
    of: &OfItems<'_>,
    items: &[Item],
    mut unfinished: Option<&mut Unfinished>,
    told: &mut dyn FnMut(usize) -> ControlFlow<()>,
) -> Result<ItemMaps, TrialError> {
    let mut all = ItemMaps::default();
    for (n, item) in items.iter().enumerate() {
        match map(engine, anatomy, of, item, unfinished.as_deref_mut()) {
            Ok(Ok(made)) => all.maps.push(made),
            Ok(Err(reason)) => all.left_out.push((item.id.clone(), reason)),
            Err(TrialError::Prompt(PromptError::NoPart(name))) => {
                let reason = format!("it has no {name}");
                all.left_out.push((item.id.clone(), reason))
            }
            Err(TrialError::Prompt(error)) => {
                all.left_out.push((item.id.clone(), error.to_string()))
            }
            Err(TrialError::Engine(EngineError::Stopped)) => {
                return Err(EngineError::Stopped.into());
            }
            Err(error) if error.is_usage() => {
                return Err(TrialError::Usage(format!("{}: {error}", item.id)));
            }
            Err(error) => return Err(error),
        }
        if told(n + 1).is_break() {
            return Err(EngineError::Stopped.into());
        }
    }
    Ok(all)
}

/// An item's map, or why it has none.
fn map(
    engine: &mut dyn Engine,
    anatomy: &Anatomy,
    of: &OfItems<'_>,
    item: &Item,
    unfinished: Option<&mut Unfinished>,
) -> Result<Result<ItemMap, String>, TrialError> {
    let prompt = &item.prompt;
    let roles = match of.down {
        Down::Heads(_) => None,
        Down::Tokens | Down::Roles | Down::Steps => Some(Roles::of(item)?),
    };
    let chosen = of.part.place.tokens.positions_in(prompt, &item.parts)?;
    let own = own(of, prompt);
    let measure = match of.about.measure(engine, item)? {
        Ok(measure) => measure,
        Err(reason) => return Ok(Err(reason)),
    };
    let seeds = (of.layers, of.seeds);
    let mut question = asked(&own, seeds, measure, engine, prompt, chosen)?;
    if let Down::Heads(_) = of.down {
        question.down = of.down;
    }
    if let Some((kind, selector)) = of.corrupted {
        // An item without these tokens is left out.
        selector.positions_in(prompt, &item.parts)?;
        let by = corruption(kind, selector, question.seeds[0], prompt, &item.parts)?;
        question.corrupted = Some(by);
    }
    let told = &mut |_: &_, _, _| ControlFlow::Continue(());
    let map = draw_on(engine, anatomy, &question, unfinished, told)?;
    Ok(Ok(ItemMap {
        item: item.id.clone(),
        map,
        tokens: tokens(&question, roles.as_ref(), engine),
    }))
}

/// The part with the prompt's own states, where these are put back.
fn own(of: &OfItems<'_>, prompt: &Prompt) -> Part {
    let mut part = of.part.clone();
    if of.corrupted.is_some() {
        part.donor = Some(Donor {
            prompt: prompt.clone(),
            at: None,
            from_at: None,
        });
    }
    part
}

/// Where a prompt's subject is.
struct Roles {
    subject: std::ops::Range<u32>,
    prior: u32,
}

impl Roles {
    /// By the subject's last place, which is the question's where examples come before it.
    fn of(item: &Item) -> Result<Self, PromptError> {
        let places = item.parts.get(SUBJECT).and_then(|places| places.last());
        let place = places.ok_or_else(|| PromptError::NoPart(SUBJECT.into()))?;
        Ok(Self {
            subject: place.start as u32..place.end as u32,
            prior: item.prompt.tokens.len() as u32 - 1,
        })
    }
}

/// The tokens of a map's rows, where these are tokens.
fn tokens(
    question: &Question<'_>,
    roles: Option<&Roles>,
    engine: &dyn Engine,
) -> Vec<(i32, String, Role)> {
    let rows = roles.map(|roles| {
        question.positions.iter().map(|at| {
            let token = question.prompt.tokens[*at as usize];
            let role = Role::of(*at, &roles.subject, roles.prior);
            (token.0, engine.piece(token), role)
        })
    });
    rows.into_iter().flatten().collect()
}
