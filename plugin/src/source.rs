//! Where a session's plan comes from: given once, or a file that may change.

use std::fs::metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use crate::intervention::{Intervention, PlanError, Site, Target};
use crate::plan::{Plan, PlanFileError};

/// A plan that cannot be carried out in a host.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Not a plan.
    #[error(transparent)]
    Plan(#[from] PlanFileError),
    /// Keys and values.
    #[error(
        "the plan rewrites other rows than states entering layers (site): that is for `midlayer try` only"
    )]
    NotResidual,
    /// A mask of attention.
    #[error(
        "the plan hides tokens (hide), which needs to know what every cell of the cache holds: that is for `midlayer try` only"
    )]
    Hides,
    /// Made for another model.
    #[error(
        "the plan is for a model of {layers} layers, {width} wide, this one has {found_layers}, {found_width} wide"
    )]
    OtherModel {
        /// Of the plan.
        layers: u32,
        /// Of the plan.
        width: u32,
        /// Of the model.
        found_layers: u32,
        /// Of the model.
        found_width: u32,
    },
    /// A layer that does not exist, or freeze at 0.
    #[error(transparent)]
    Layer(#[from] PlanError),
}

/// A plan, ready to be carried out.
pub struct Ready {
    /// As it was written.
    pub plan: Plan,
    /// What is done.
    pub interventions: Arc<[Intervention]>,
    /// The folder that relative paths are seen from.
    pub folder: PathBuf,
}

impl Ready {
    /// A plan from its text.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn of(plan: Plan, folder: &Path) -> Result<Arc<Self>, SourceError> {
        let interventions = plan.interventions(folder)?;
        if interventions.iter().any(|i| i.site != Site::Residual) {
            return Err(SourceError::NotResidual);
        }
        if interventions.iter().any(|i| i.target() == Target::Mask) {
            return Err(SourceError::Hides);
        }
        Ok(Arc::new(Self {
            plan,
            interventions: interventions.into(),
            folder: folder.into(),
        }))
    }

    /// Checks the plan against the model that is being run.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn check(&self, layers: u32, width: u32) -> Result<(), SourceError> {
        if let Some(model) = &self.plan.model
            && (model.layers, model.width) != (layers, width)
        {
            return Err(SourceError::OtherModel {
                layers: model.layers,
                width: model.width,
                found_layers: layers,
                found_width: width,
            });
        }
        for intervention in self.interventions.iter() {
            intervention.check(layers)?;
        }
        let captured = self.plan.capture.iter().flat_map(|keep| &keep.layers);
        match captured.max() {
            Some(&layer) if layer >= layers => Err(PlanError::LayerOutOfRange {
                layer,
                last: layers.saturating_sub(1),
            }
            .into()),
            _ => Ok(()),
        }
    }
}

/// Time of change, size and number: files that are made within the clock's grain have one time.
type Stamp = (SystemTime, u64, u64);

/// A plan that may be replaced between texts.
pub struct Source {
    file: Option<(PathBuf, Option<Stamp>)>,
    /// The plans so far, each with the number of the first text that it is for.
    plans: Vec<(u64, Arc<Ready>)>,
}

fn stamp(path: &Path) -> Option<Stamp> {
    let found = metadata(path).ok()?;
    Some((found.modified().ok()?, found.len(), found.ino()))
}

fn read(path: &Path) -> Result<Arc<Ready>, SourceError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    Ready::of(Plan::read(path)?, folder)
}

impl Source {
    /// A plan for good.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn fixed(json: &str) -> Result<Self, SourceError> {
        let ready = Ready::of(Plan::parse(json)?, Path::new("."))?;
        Ok(Self {
            file: None,
            plans: vec![(1, ready)],
        })
    }

    /// The plan in a file, read again when the file changes.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn watched(path: &Path) -> Result<Self, SourceError> {
        // The stamp first: a change in between is then seen later.
        let stamp = stamp(path);
        Ok(Self {
            plans: vec![(1, read(path)?)],
            file: Some((path.into(), stamp)),
        })
    }

    /// Reads the file again if it has changed. The new plan is for the texts from `next` on.
    ///
    /// # Errors
    /// [`SourceError`]; the old plan stays.
    pub fn refresh(&mut self, next: u64) -> Result<(), SourceError> {
        let Some((path, known)) = &mut self.file else {
            return Ok(());
        };
        let found = stamp(path);
        if found == *known || found.is_none() {
            return Ok(());
        }
        *known = found;
        let ready = read(path)?;
        self.plans.push((next, ready));
        // Texts in pieces keep their plan; none is in pieces for so long.
        if self.plans.len() > 64 {
            self.plans.remove(0);
        }
        Ok(())
    }

    /// The plan for a text, and the text's number under that plan, from 1.
    pub fn plan(&self, number: u64) -> (&Arc<Ready>, u64) {
        let plans = self.plans.iter().rev();
        let (first, ready) = plans
            .into_iter()
            .find(|(first, _)| *first <= number)
            .unwrap_or(&self.plans[0]);
        (ready, number.saturating_sub(*first) + 1)
    }
}
