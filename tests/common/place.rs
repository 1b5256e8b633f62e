//! The program run in a folder of its own, on a tiny random model that reads bytes, which answers
//! nothing but runs in milliseconds.

use std::path::PathBuf;
use std::process::Command;

use assert_cmd::assert::Assert;
use midlayer::runtime::{Architecture, Synthetic, Vocabulary};
use midlayer::store::{ResultRow, StoredRun};
use predicates::prelude::*;
use predicates::str::contains;
use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_midlayer");

pub fn recipe() -> Synthetic {
    Synthetic {
        n_ctx: 1024,
        vocabulary: Vocabulary::Bytes,
        ..Synthetic::new(Architecture::Llama)
    }
}

/// A folder with a tiny model in it.
pub struct Place(pub TempDir);

impl Place {
    pub fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        recipe().build().unwrap().save(&place.model()).unwrap();
        place
    }

    /// With another model beside the tiny one, `six.gguf`: deeper, with other weights.
    pub fn with_six_layers() -> Self {
        let place = Self::new();
        let other = Synthetic {
            seed: 7,
            n_layer: 6,
            ..recipe()
        };
        let six = place.path("six.gguf");
        other.build().unwrap().save(&six).unwrap();
        place
    }

    /// With another model beside the tiny one, `pairs.gguf`, that reads two letters at once.
    pub fn with_pairs() -> Self {
        let place = Self::new();
        let other = Synthetic {
            vocabulary: Vocabulary::Pairs,
            ..recipe()
        };
        let pairs = place.path("pairs.gguf");
        other.build().unwrap().save(&pairs).unwrap();
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn model(&self) -> PathBuf {
        self.path("tiny.gguf")
    }

    pub fn command(&self, line: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .current_dir(self.0.path())
            .env("MIDLAYER_MODELS", self.path("cache"))
            .env("HF_HOME", self.path("hub"))
            .env_remove("HF_HUB_CACHE")
            .args(line.split_whitespace());
        command
    }

    pub fn run(&self, line: &str) -> Assert {
        assert_cmd::Command::from_std(self.command(line)).assert()
    }

    pub fn rows(&self, run: &str) -> Vec<ResultRow> {
        let stored = StoredRun::read(&self.path(run)).unwrap();
        let rows = stored.variants.into_iter().map(|variant| variant.rows);
        let mut rows: Vec<ResultRow> = rows.flatten().collect();
        rows.sort_by_key(|r| {
            let kind = r.cell.treatment.to_string();
            (
                r.task.to_string(),
                r.item.clone(),
                kind,
                r.cell.layer,
                r.cell.seed,
            )
        });
        rows
    }
}

pub fn one_line_error(code: i32, text: &str) -> impl Fn(Assert) {
    move |assert: Assert| {
        let output = assert.code(code).stdout("").get_output().clone();
        let errors = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<&str> = errors
            .lines()
            .filter(|line| line.starts_with("midlayer:"))
            .collect();
        // What comes before the error are notices.
        let (error, notices) = lines.split_last().expect("a line of error");
        assert!(contains(text).eval(error), "{errors} does not say {text}");
        assert!(
            !notices.iter().any(|line| contains(text).eval(line)),
            "one line of error: {errors}"
        );
    }
}

pub fn json_lines(assert: Assert) -> Vec<serde_json::Value> {
    let output = assert.success().get_output().stdout.clone();
    let text = String::from_utf8(output).unwrap();
    text.lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}
