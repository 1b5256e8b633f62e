//! A model file that this program has not seen load is loaded by a process of its own first:
//! llama.cpp ends the process on some damaged files, where an error would do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::process::{LOADS, loads};
use crate::engine::{Engine, EngineError, Request, Straightforward};
use crate::intervention::Intervention;
use crate::models::{ModelFiles, Remember, cache_folder};
use crate::runtime::{
    ChatDate, ContextOptions, Model, ModelOptions, Text, Token, llama_cpp_version,
};

/// Why a file is not loaded. Refusals of the loader are among them, in its own words.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// llama.cpp ended the process.
    #[error(
        "{path} crashes llama.cpp ({how}): it is damaged, or this version does not support it with these settings; fetch it again, or give another (`model`)"
    )]
    Crash {
        /// The file.
        path: PathBuf,
        /// By what.
        how: String,
    },
    /// The system ended the process.
    #[error(
        "{path} needs more memory to load than there is, or is damaged: its loading was killed; give a smaller model or context (`model`, `n_ctx`)"
    )]
    Killed {
        /// The file.
        path: PathBuf,
    },
    /// An instruction that the processor does not run.
    #[error(
        "llama.cpp met an instruction that this processor does not run when it loaded {path}: the program was built for another processor; build it on this machine (make build)"
    )]
    Processor {
        /// The file.
        path: PathBuf,
    },
    /// It did not end.
    #[error(
        "{path} was not loaded within {seconds} seconds: it is damaged, or its disk is very slow, or the processor very busy; fetch it again, or repeat the command (`model`)"
    )]
    Hang {
        /// The file.
        path: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The loader refuses it.
    #[error("{0}")]
    Refused(String),
}

/// How a file is to be loaded and run.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Settings {
    /// Layers put on a GPU; without a number llama.cpp's default.
    pub gpu_layers: Option<u32>,
    /// The devices that they are put on; all without a name ([`ModelOptions`]).
    pub devices: Option<Vec<String>>,
    /// Servers on other machines.
    pub rpc: Vec<String>,
    /// The context.
    pub context: ContextOptions,
}

impl Settings {
    /// How the model is loaded.
    pub fn model(&self) -> ModelOptions {
        ModelOptions {
            gpu_layers: self.gpu_layers,
            devices: self.devices.clone(),
            rpc: self.rpc.clone(),
            unmapped: false,
        }
    }
}

/// Loads a file in a process of its own, unless a model of the same contents went well before, or
/// servers on other machines are to compute.
/// That it loads is noted where hashes are remembered.
///
/// # Errors
/// [`CheckError`].
pub fn check(
    path: &Path,
    files: &ModelFiles,
    settings: &Settings,
    keep: Remember,
    say: &mut dyn FnMut(&str),
) -> Result<(), CheckError> {
    // A server has one client at a time.
    if !settings.rpc.is_empty() {
        return Ok(());
    }
    let stamp = Stamp::of(files, settings);
    if stamp.is_there() {
        return Ok(());
    }
    let Ok(mut command) = crate::own::command() else {
        return Ok(());
    };
    command
        .arg("check-model")
        .arg(path)
        .args(["--settings", &json(settings)])
        // No debugger is to be started on a crash, which is expected here.
        .env("GGML_NO_BACKTRACE", "1");
    // A slow disk gives 20 MB a second.
    let limit = Duration::from_secs(60 + files.bytes() / 20_000_000);
    let loads = loads(path, &mut command, limit, say)?;
    if keep == Remember::Hash && loads && files.check_paths().is_ok() {
        stamp.leave();
    }
    Ok(())
}

/// A note that a model of these contents loads under these settings.
struct Stamp {
    file: PathBuf,
    text: String,
}

impl Stamp {
    fn of(files: &ModelFiles, settings: &Settings) -> Self {
        let text = [
            files.sha256(),
            &json(settings),
            &llama_cpp_version(),
            crate::REVISION,
        ]
        .join("\n");
        let name: String = Sha256::digest(&text)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        Self {
            file: cache_folder().join("checked").join(name),
            text,
        }
    }

    fn is_there(&self) -> bool {
        std::fs::read_to_string(&self.file).is_ok_and(|text| text == self.text)
    }

    /// Without a stamp the next time takes longer, which is all.
    fn leave(&self) {
        let folder = self.file.parent().unwrap_or(Path::new("."));
        let made = std::fs::create_dir_all(folder);
        let _ = made.and_then(|()| std::fs::write(&self.file, &self.text));
    }
}

fn json(settings: &Settings) -> String {
    serde_json::to_string(settings).expect("plain data")
}

/// What the process itself does: loads the file and does, in small, what other commands do with
/// it. Returns what it is to print. The process ends when its stdin does.
///
/// # Errors
/// Settings that are none.
pub fn tried(file: &Path, settings: &str) -> Result<String, serde_json::Error> {
    std::thread::spawn(|| {
        // Comes to its end when the program that waits for the answer does.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
    let settings: Settings = serde_json::from_str(settings)?;
    let model = match Model::load(file, &settings.model()) {
        Ok(model) => model,
        Err(error) => return Ok(error.to_string()),
    };
    // Errors from here on are left to the command, which gives its own.
    let _ = exercise(model, &settings.context);
    Ok(LOADS.into())
}

/// Every token to text, text of every kind to tokens, and a short prompt clean and frozen.
fn exercise(model: Model, options: &ContextOptions) -> Result<(), EngineError> {
    let n_vocab = model.facts().n_vocab;
    for id in 0..n_vocab {
        let token = Token(id as i32);
        let _ = (
            model.piece(token),
            model.is_control(token),
            model.ends_generation(token),
        );
    }
    let text = every_byte();
    let mut tokens = model.tokenize(&Text::markup(&text)).unwrap_or_default();
    let _ = model.chat(&text, ChatDate::default(), false);
    let top = model.n_layer().saturating_sub(1);
    tokens.resize(8, Token(0));
    let mut engine = Straightforward::new(Arc::new(model), options)?;
    let clean = Request {
        tokens,
        ..Request::default()
    };
    engine.run(&clean)?;
    engine.run(&clean.with(Intervention::freeze(top.max(1))))?;
    Ok(())
}

/// A text with every byte that a text can have: a tokenizer may lack the token of one, and then
/// llama.cpp throws what nothing here can catch.
fn every_byte() -> String {
    // Ends of blocks and their beginnings, of one to four bytes.
    let blocks = (0x800..=0x10_ffff).step_by(0x400);
    (0..0x800)
        .chain(blocks)
        .filter_map(char::from_u32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_there() {
        let text = every_byte();
        let valid = |byte: &u8| !matches!(byte, 0xc0 | 0xc1 | 0xf5..);
        for byte in (0..=255u8).filter(valid) {
            assert!(text.as_bytes().contains(&byte), "{byte:#x}");
        }
    }
}
