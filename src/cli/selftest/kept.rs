//! Examinations that are kept, so that a model is not examined again under the same settings.

use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::experiment::Spec;
use crate::models::cache_folder;
use crate::selftest::{Scope, SelfTest};

/// The examinations of one model under one set of settings by this very program.
pub struct Kept {
    file: PathBuf,
    found: Vec<(Scope, SelfTest)>,
}

impl Kept {
    /// Those of the model and settings of a specification.
    pub fn of(spec: &Spec) -> Self {
        let mut context = spec.context.clone();
        // An examination has a context of its own length.
        (context.n_ctx, context.n_batch, context.n_ubatch) = (0, 0, 0);
        let key = json!([
            spec.model.sha256,
            context,
            spec.gpu_layers,
            spec.devices,
            spec.llama_cpp,
            crate::REVISION,
            program(),
        ]);
        let key = Sha256::digest(key.to_string());
        let key: String = key.iter().map(|b| format!("{b:02x}")).collect();
        let file = cache_folder().join("selftests").join(format!("{key}.json"));
        // What cannot be read is examined again.
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let found = serde_json::from_str(&text).unwrap_or_default();
        Self { file, found }
    }

    /// What was found in an examination that covers a scope.
    pub fn get(&self, scope: &Scope) -> Option<&SelfTest> {
        let covers = |(kept, _): &&(Scope, SelfTest)| kept.covers(scope);
        self.found.iter().find(covers).map(|(_, found)| found)
    }

    /// Keeps what was found, unless something was wrong: that is looked at again. Where it cannot
    /// be kept the next sweep takes longer, which is all.
    pub fn put(&mut self, scope: Scope, found: &SelfTest) {
        if found.wrong().next().is_some() {
            return;
        }
        self.found.retain(|(kept, _)| !scope.covers(kept));
        self.found.push((scope, found.clone()));
        let Some(folder) = self.file.parent() else {
            return;
        };
        let text = serde_json::to_string(&self.found).expect("plain data");
        // Whole or not at all, whoever else writes.
        let _ = std::fs::create_dir_all(folder).and_then(|()| {
            let new = tempfile::NamedTempFile::new_in(folder)?;
            std::fs::write(new.path(), text)?;
            new.persist(&self.file)?;
            Ok(())
        });
    }
}

/// The program's file by size and time: a revision is the same for all builds of changed
/// sources.
fn program() -> Option<(u64, u128)> {
    let about = crate::own::file().ok()?.metadata().ok()?;
    let changed = about.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some((about.len(), changed.as_nanos()))
}
