//! A run in a list: what it is, and how far.

use std::path::Path;
use std::time::SystemTime;

use serde::Serialize;

use super::Id;
use crate::shards::glance;
use crate::store::Glance;

/// How far a run is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Progress {
    /// Results that are stored.
    pub stored: usize,
    /// Results in all, where that is known.
    pub all: Option<usize>,
    /// Whether it has all of them.
    pub complete: bool,
    /// Who works on it, as its folder says.
    pub worked_on_by: Option<String>,
    /// Seconds since that one was seen at work.
    pub seen_seconds_ago: Option<u64>,
}

impl Progress {
    pub(super) fn of(glance: &Glance) -> Self {
        let (who, seen) = match &glance.holder {
            Some((who, seen)) => (Some(who.clone()), *seen),
            None => (None, None),
        };
        let ago = seen.and_then(|seen| SystemTime::now().duration_since(seen).ok());
        Self {
            stored: glance.stored(),
            all: glance.all(),
            complete: glance.is_complete(),
            worked_on_by: who,
            seen_seconds_ago: ago.map(|ago| ago.as_secs()),
        }
    }
}

/// A run of the list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Listed {
    /// What it is asked for by.
    pub id: Id,
    /// Its folder's name.
    pub name: String,
    /// Why it cannot be read, where it cannot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When it was begun, UTC.
    pub begun: Option<String>,
    /// Its models, as the run tells them apart.
    pub models: Vec<String>,
    /// Its tasks.
    pub tasks: Vec<String>,
    /// Its manipulations.
    pub manipulations: Vec<String>,
    /// How far it is.
    #[serde(flatten)]
    pub progress: Option<Progress>,
}

/// A folder's name, without what it lies in.
pub(super) fn name(folder: &Path) -> String {
    let name = folder.file_name().unwrap_or(folder.as_os_str());
    name.to_string_lossy().into_owned()
}

impl Listed {
    pub(super) fn of(folder: &Path) -> Self {
        let mut listed = Self {
            id: Id::of(folder),
            name: name(folder),
            error: None,
            begun: None,
            models: Vec::new(),
            tasks: Vec::new(),
            manipulations: Vec::new(),
            progress: None,
        };
        let glance = match glance(folder) {
            Ok(glance) => glance,
            Err(error) => {
                listed.error = Some(error.to_string());
                return listed;
            }
        };
        for variant in &glance.variants {
            let (label, spec) = (&variant.label, &variant.spec);
            // Of one model the label says its settings only, if anything.
            let facts = &spec.model.facts;
            listed.models.push(match label.contains(&facts.name) {
                true => label.clone(),
                false => format!("{} ({label})", facts.name),
            });
        }
        if let Some(variant) = glance.variants.first() {
            let spec = &variant.spec;
            listed.tasks = spec.tasks.iter().map(|t| t.task.to_string()).collect();
            listed.manipulations = spec.manipulations.iter().map(ToString::to_string).collect();
        }
        listed.begun = glance.begun.clone();
        listed.progress = Some(Progress::of(&glance));
        listed
    }
}
