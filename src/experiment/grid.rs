//! The cells of a run.

use std::fmt;
use std::str::FromStr;

use super::{LeftOut, Spec};
use crate::intervention::{Action, Kind, Site};
use crate::tasks::{Task, TaskName};

/// What is done to a prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Treatment {
    /// Nothing.
    Clean,
    /// Nothing, in another batch shape: what rounding alone does to scores.
    CleanAgain,
    /// A manipulation.
    Manipulated(Kind),
}

impl Treatment {
    /// The manipulation, if it is one.
    pub fn kind(self) -> Option<Kind> {
        match self {
            Treatment::Manipulated(kind) => Some(kind),
            _ => None,
        }
    }

    /// Whether it takes the states of a donor prompt.
    pub fn has_donor(self) -> bool {
        self.kind().is_some_and(Kind::has_donor)
    }
}

impl fmt::Display for Treatment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Treatment::Clean => f.write_str("clean"),
            Treatment::CleanAgain => f.write_str("clean-again"),
            Treatment::Manipulated(kind) => kind.fmt(f),
        }
    }
}

impl FromStr for Treatment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "clean" => Treatment::Clean,
            "clean-again" => Treatment::CleanAgain,
            kind => Treatment::Manipulated(kind.parse()?),
        })
    }
}

/// One cell of the grid. An item's result under it is one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// What is done.
    pub treatment: Treatment,
    /// The manipulation's layer `k`; 0 where there is none.
    pub layer: u32,
    /// Its seed; 0 where it has none.
    pub seed: u64,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.treatment.fmt(f)?;
        if self.treatment.kind().is_some() {
            write!(f, " at layer {}", self.layer)?;
        }
        if self.seed > 0 {
            write!(f, ", seed {}", self.seed)?;
        }
        Ok(())
    }
}

/// All cells of a run, in the order in which they run for each item.
#[derive(Clone, Debug, PartialEq)]
pub struct Grid {
    /// For each task, its cells; the clean runs first.
    pub tasks: Vec<(TaskName, Vec<Cell>)>,
    /// What was left out of the grid, and why.
    pub notes: Vec<String>,
}

/// A grid without a cell.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GridError {
    /// A manipulation that no layer of the list admits.
    #[error(
        "{kind} is not defined at any of the layers asked for; it is {where_defined} (`layers`)"
    )]
    NoLayer {
        /// The manipulation.
        kind: Kind,
        /// Where it is, in words.
        where_defined: String,
    },
    /// A manipulation that the model has no place for, at a layer named or at all layers.
    #[error(
        "{kind} has no place in this model ({architecture}): {why}; choose other layers (`layers`)"
    )]
    NoPlace {
        /// The manipulation.
        kind: Kind,
        /// The model's architecture.
        architecture: String,
        /// What a layer lacks.
        why: String,
    },
    /// A manipulation without what it needs.
    #[error("{kind} needs {option}")]
    Lacks {
        /// The manipulation.
        kind: Kind,
        /// What is missing.
        option: &'static str,
    },
    /// A manipulation of rows that it does not know.
    #[error("{0} (`site`)")]
    NoSite(String),
    /// A task without a manipulation.
    #[error(
        "task {0} knows no donors, so no manipulation is left to run; add another one (`manipulate`)"
    )]
    NothingForTask(TaskName),
}

impl Grid {
    /// The grid of a specification.
    ///
    /// # Errors
    /// [`GridError`].
    pub fn of(spec: &Spec) -> Result<Self, GridError> {
        let mut notes = Vec::new();
        for &kind in &spec.manipulations {
            let mut sites = spec.sites.iter();
            sites
                .try_for_each(|site| kind.check_site(*site))
                .map_err(GridError::NoSite)?;
            if let Some(option) = spec.outside.lacks(kind) {
                return Err(GridError::Lacks { kind, option });
            }
            let defined = |layer: &u32| spec.is_defined(kind, *layer);
            if !spec.layers.iter().any(defined) {
                return Err(GridError::NoLayer {
                    kind,
                    where_defined: where_defined(kind, spec),
                });
            }
            if !spec.layers.iter().all(defined) {
                notes.push(format!(
                    "{kind} is defined {} and is left out elsewhere",
                    where_defined(kind, spec)
                ));
            }
        }
        notes.extend(spec.left_out.iter().map(|out| left_out(out, &spec.sites)));
        let mut tasks = Vec::new();
        for task in &spec.tasks {
            let clean = [Treatment::Clean, Treatment::CleanAgain];
            let mut cells = clean
                .map(|treatment| Cell {
                    treatment,
                    layer: 0,
                    seed: 0,
                })
                .to_vec();
            let unmanipulated = cells.len();
            for &kind in &spec.manipulations {
                let has_swaps = task.about().is_some_and(Task::has_swaps);
                if kind.has_donor() && !has_swaps {
                    notes.push(format!("{} knows no donors: {kind} is left out", task.task));
                    continue;
                }
                let seeds: &[u64] = if kind.has_seed() { &spec.seeds } else { &[0] };
                for layer in spec.layers_of(kind) {
                    cells.extend(seeds.iter().map(|&seed| Cell {
                        treatment: Treatment::Manipulated(kind),
                        layer,
                        seed,
                    }));
                }
            }
            if cells.len() == unmanipulated {
                return Err(GridError::NothingForTask(task.task));
            }
            tasks.push((task.task, cells));
        }
        Ok(Self { tasks, notes })
    }
}

/// At which layers a manipulation is defined, in words.
fn where_defined(kind: Kind, spec: &Spec) -> String {
    let n_layer = spec.model.facts.n_layer;
    let mut defined = (0..n_layer).filter(|layer| spec.is_defined(kind, *layer));
    match (defined.next(), defined.next_back()) {
        (Some(first), Some(last)) if last + 1 < n_layer => format!("at layers {first} to {last}"),
        (Some(first), Some(_)) => format!("from layer {first} up"),
        (Some(only), None) => format!("at layer {only} alone"),
        (None, _) => "at none".into(),
    }
}

/// Says at which layers a manipulation is left out for the model's sake, and why.
fn left_out(out: &LeftOut, sites: &[Site]) -> String {
    let layers: Vec<String> = out.layers.iter().map(ToString::to_string).collect();
    let (layers, kind) = (layers.join(", "), out.manipulation);
    let why = match kind {
        _ if matches!(kind.action(0, None), Action::SkipAttention | Action::Hide) => {
            "this model has no attention there, or none that could be told apart"
        }
        _ if sites.iter().any(|site| site.target().is_added()) => {
            "this model has nothing of the kind there, or it is the last layer, whose part in prior tokens no later token reads"
        }
        _ if sites.contains(&Site::Residual) => {
            "layers from there up read keys and values of layers below, which stay as they are"
        }
        _ => "this model keeps no keys and values of their own there",
    };
    let plural = if out.layers.len() == 1 { "" } else { "s" };
    format!("{kind} is left out at layer{plural} {layers}: {why}")
}

impl Grid {
    /// All cells with their task, in the order of their numbers.
    pub fn cells(&self) -> impl Iterator<Item = (TaskName, &Cell)> {
        self.tasks
            .iter()
            .flat_map(|(task, cells)| cells.iter().map(|cell| (*task, cell)))
    }

    /// A task's cells with their numbers.
    pub fn cells_of(&self, task: TaskName) -> impl Iterator<Item = (usize, &Cell)> {
        let (first, cells) = self.of_task(task);
        (first..).zip(cells)
    }

    /// The number of a task's first cell, and its cells; none of a task that does not run.
    pub(crate) fn of_task(&self, task: TaskName) -> (usize, &[Cell]) {
        let mut first = 0;
        for (of, cells) in &self.tasks {
            if *of == task {
                return (first, cells);
            }
            first += cells.len();
        }
        (first, &[])
    }
}
