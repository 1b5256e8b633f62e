//! What manipulations need besides the prompts, read: directions, means over texts.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::SweepError;
use crate::directions::read_directions;
use crate::engine::{
    DonorStates, Engine, EngineError, Means, Prompt, filler_states, read_texts, scaffold_states,
};
use crate::experiment::{Outside, OutsideError};
use crate::files::Held;
use crate::intervention::{Kind, Needs, Site, States, Target};
use crate::runtime::Token;
use crate::tasks::DataSource;

/// What was read of the files.
#[derive(Debug, Default)]
pub struct Given {
    directions: Option<Arc<States>>,
    texts: Vec<Prompt>,
    means: RefCell<HashMap<Target, Means>>,
    scaffold: Option<Prompt>,
}

impl Given {
    /// Of what is in memory: directions by layer, as states at (layer, 0); texts over which means
    /// are taken; a scaffold.
    pub fn of(directions: Option<States>, texts: Vec<Prompt>, scaffold: Option<Prompt>) -> Self {
        Self {
            directions: directions.map(Arc::new),
            texts,
            means: RefCell::default(),
            scaffold,
        }
    }

    /// What a manipulation needs and is not given, as the setting that gives it.
    pub fn lacks(&self, kind: Kind) -> Option<&'static str> {
        let needs = kind.manipulation().needs();
        let lacks = match needs {
            Needs::Direction => self.directions.is_none(),
            Needs::Mean => self.texts.is_empty(),
            Needs::Scaffold => self.scaffold.is_none(),
            Needs::Nothing | Needs::Donor | Needs::Filler => false,
        };
        needs.setting().filter(|_| lacks)
    }

    /// Whether a manipulation has what it needs at a layer.
    pub fn has(&self, kind: Kind, layer: u32) -> bool {
        let directions = self.directions.as_ref();
        kind.manipulation().needs() != Needs::Direction
            || directions.is_some_and(|of| of.get(layer, 0).is_some())
    }

    /// Reads the files of a specification.
    ///
    /// # Errors
    /// [`SweepError`]; a file that is another one than at the beginning of a run is one.
    pub fn read(of: &Outside, engine: &dyn Engine) -> Result<Self, SweepError> {
        let mut given = Self::default();
        if let Some(source) = &of.direction {
            let held = Held::open(&source.path)?;
            held.expect(&source.sha256)?;
            let facts = engine.facts();
            let directions = read_directions(&source.path, facts.n_embd, facts.n_layer);
            given.directions = Some(Arc::new(directions.map_err(OutsideError::from)?));
            held.check_path()?;
        }
        let texts = read(of.mean_of.as_ref(), "`mean_of`", read_texts)?;
        let prompts = texts.iter().flatten().map(|text| engine.prompt(text));
        given.texts = prompts.collect::<Result<_, _>>()?;
        let scaffold = read(of.scaffold.as_ref(), "`scaffold`", |path| {
            std::fs::read_to_string(path)
        })?;
        let scaffold = scaffold.map(|text| engine.prompt(text.trim_end()));
        given.scaffold = scaffold.transpose()?;
        Ok(given)
    }

    /// The states that a manipulation puts in place of a prompt's own at sites that have some of
    /// their own; `None` for those that need no text.
    ///
    /// # Errors
    /// The engine's.
    pub fn spliced(
        &self,
        kind: Kind,
        prompt: &Prompt,
        sites: &[Site],
        engine: &mut dyn Engine,
    ) -> Result<Option<DonorStates>, EngineError> {
        match (kind.manipulation().needs(), &self.scaffold) {
            (Needs::Filler, _) => filler_states(engine, prompt, sites).map(Some),
            (Needs::Scaffold, Some(text)) => scaffold_states(engine, text, prompt, sites).map(Some),
            _ => Ok(None),
        }
    }

    /// The states that a manipulation of a text needs at a site; `None` for those that need none
    /// of these.
    ///
    /// # Errors
    /// The engine's, which computes means once.
    pub fn states(
        &self,
        kind: Kind,
        site: Site,
        tokens: &[Token],
        engine: &mut dyn Engine,
    ) -> Result<Option<Arc<States>>, EngineError> {
        match kind.manipulation().needs() {
            Needs::Direction => Ok(self.directions.clone()),
            Needs::Mean => {
                let mut known = self.means.borrow_mut();
                let means = match known.entry(site.target()) {
                    Entry::Occupied(means) => means.into_mut(),
                    Entry::Vacant(first) => {
                        first.insert(Means::over(engine, &self.texts, site.target())?)
                    }
                };
                means.states(tokens, kind.is_word("by", "token")).map(Some)
            }
            Needs::Nothing | Needs::Donor | Needs::Filler | Needs::Scaffold => Ok(None),
        }
    }
}

/// What is in a file, which must be the one that the run was begun with.
fn read<T>(
    of: Option<&DataSource>,
    option: &'static str,
    read: impl Fn(&Path) -> io::Result<T>,
) -> Result<Option<T>, SweepError> {
    let Some((path, of)) = of.and_then(|of| Some((of.path.as_deref()?, of))) else {
        return Ok(None);
    };
    let held = Held::open(path)?;
    held.expect(of.sha256.as_deref().unwrap_or(held.sha256()))?;
    let found = read(path).map_err(|source| OutsideError::Texts {
        path: path.into(),
        option,
        source,
    })?;
    held.check_path()?;
    Ok(Some(found))
}
