//! The native half of the Python package `midlayer`: objects of the library for Python. What
//! Python can do, the library can; nothing is computed here.

mod captured;
mod errors;
mod given;
mod hooks;
mod lens;
mod manipulation;
mod map;
mod mapping;
mod model;
mod prompt;
mod results;
mod settings;
mod stored;
mod told;
mod worker;

use std::ffi::OsString;
use std::path::PathBuf;

use pyo3::prelude::*;

#[pymodule]
mod _native {
    use super::*;

    #[pymodule_export]
    use super::errors::{
        EngineError, HookError, LoadError, MidlayerError, PromptError, StoreError, UsageError,
    };
    #[pymodule_export]
    use super::lens::Lens;
    #[pymodule_export]
    use super::manipulation::Manipulation;
    #[pymodule_export]
    use super::manipulation::table;
    #[pymodule_export]
    use super::map::Map;
    #[pymodule_export]
    use super::model::Model;
    #[pymodule_export]
    use super::prompt::Prompt;
    #[pymodule_export]
    use super::results::Results;
    #[pymodule_export]
    use super::stored::Stored;

    #[pymodule_export]
    const REVISION: &str = midlayer::REVISION;

    /// The version of the package.
    #[pyfunction]
    fn version() -> &'static str {
        env!("CARGO_PKG_VERSION")
    }

    /// Runs the program `midlayer` with these arguments, whose first is its name. Returns the exit
    /// code; `--help` and wrong usage end the process.
    #[pyfunction]
    fn program(py: Python<'_>, arguments: Vec<OsString>) -> u8 {
        py.detach(|| midlayer::program(arguments.into_iter()))
    }

    /// Says how the program is started again, and in which file it is.
    #[pyfunction]
    fn is_part(command: Vec<OsString>, file: PathBuf) {
        midlayer::own::is_part(midlayer::own::Own { command, file });
    }

    /// Writes a tiny model with random weights and one token for each byte, for tests.
    #[pyfunction]
    fn write_tiny_model(path: PathBuf, seed: u64, n_layer: u32) -> PyResult<()> {
        use midlayer::runtime::{Architecture, Synthetic, Vocabulary};
        let recipe = Synthetic {
            seed,
            n_layer,
            vocabulary: Vocabulary::Bytes,
            n_ctx: 2048,
            ..Synthetic::new(Architecture::Llama)
        };
        let written = recipe.build().and_then(|model| model.save(&path));
        written.map_err(|error| errors::LoadError::new_err(errors::said(&error)))
    }
}
