//! The plugin against the library: the C host of `plugin/examples`, on a llama.cpp that knows
//! nothing of midlayer, gives the library's logits.

#[path = "../common/mod.rs"]
mod common;

mod attach;
mod hosted;
mod preloaded;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use common::exact_options;
use midlayer::engine::{Engine, Prompt, Request, Straightforward};
use midlayer::intervention::Intervention;
use midlayer::plan::{Plan, Shape};
use midlayer::runtime::{Architecture, Synthetic, Vocabulary};
use tempfile::TempDir;

const TEXT: &str = "Once upon a time there was a midlayer.";

/// What F32 models may differ by where batches are cut in other ways.
const CLOSE: f32 = 1e-3;

/// `target/release`, where the plugin and llama.cpp's libraries are.
fn release() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_midlayer"));
    program.parent().unwrap().to_path_buf()
}

/// The folder that llama.cpp was installed to when midlayer was built.
fn llama() -> PathBuf {
    let folders = std::fs::read_dir(release().join("build")).unwrap();
    let mut found: Vec<PathBuf> = folders
        .map(|folder| folder.unwrap().path().join("out"))
        .filter(|out| out.join("include/llama.h").is_file())
        .collect();
    found.sort_by_key(|out| {
        std::fs::metadata(out.join("lib"))
            .unwrap()
            .modified()
            .unwrap()
    });
    found.pop().expect("midlayer builds llama.cpp")
}

/// A tiny model, the library's engine for it, and the C host.
struct Place {
    folder: TempDir,
    engine: Straightforward,
    prompt: Prompt,
}

impl Place {
    fn new(architecture: Architecture) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let recipe = Synthetic {
            n_ctx: 512,
            vocabulary: Vocabulary::Bytes,
            ..Synthetic::new(architecture)
        };
        let model = recipe.build().unwrap();
        model.save(&folder.path().join("tiny.gguf")).unwrap();
        let engine = Straightforward::new(Arc::new(model), &exact_options()).unwrap();
        let prompt = engine.prompt(TEXT).unwrap();
        Self {
            folder,
            engine,
            prompt,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn shape(&self) -> Shape {
        let facts = self.engine.facts();
        Shape {
            layers: facts.n_layer,
            width: facts.n_embd,
        }
    }

    fn library(&mut self, plan: &[Intervention]) -> Vec<f32> {
        let request = Request {
            plan: plan.to_vec(),
            ..Request::new(&self.prompt)
        };
        self.engine.run(&request).unwrap().logits
    }

    /// The host's logits and what it said, decoding so many tokens at a time.
    fn host(&self, host: &Path, plan: &Plan, piece: usize) -> (Vec<f32>, String) {
        self.host_under(host, plan, piece, &[])
    }

    /// The same with variables of the environment.
    fn host_under(
        &self,
        host: &Path,
        plan: &Plan,
        piece: usize,
        variables: &[(&str, &str)],
    ) -> (Vec<f32>, String) {
        plan.write(&self.path("plan.json")).unwrap();
        let mut command = Command::new(host);
        command
            .arg(self.path("tiny.gguf"))
            .arg(self.path("plan.json"));
        command.arg(TEXT).arg(piece.to_string());
        command.env("LD_LIBRARY_PATH", release());
        command.envs(variables.iter().copied());
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().unwrap();
        let said = String::from_utf8(stderr).unwrap();
        assert!(status.success(), "{said}");
        let lines = String::from_utf8(stdout).unwrap();
        let logits = lines.lines().skip(1).map(|line| line.parse().unwrap());
        (logits.collect(), said)
    }
}

/// Builds the C host of the examples.
fn build(folder: &Path) -> PathBuf {
    build_from(folder, "plugin/examples/host.c")
}

/// Builds a C host: its source, llama.cpp's archives, and the plugin.
fn build_from(folder: &Path, source: &str) -> PathBuf {
    let plugin = plugin();
    let host = folder.join("host");
    cc(&host, source, |command| {
        command.arg("-rdynamic").arg(&plugin);
        link_llama(command);
    });
    host
}

/// Builds a host that loads its llama.cpp privately, and that llama.cpp; neither knows of midlayer.
fn build_private(folder: &Path) -> (PathBuf, PathBuf) {
    let (host, library) = (folder.join("private"), folder.join("libtext.so"));
    cc(&host, "plugin/tests/fake/private.c", |_| {});
    cc(&library, "plugin/tests/fake/text.c", |command| {
        command.args(["-shared", "-fPIC"]);
        link_llama(command);
    });
    (host, library)
}

fn plugin() -> PathBuf {
    let plugin = release().join("libmidlayer_plugin.so");
    assert!(
        plugin.is_file(),
        "cargo build --release -p midlayer-plugin comes first (make test does it)"
    );
    plugin
}

fn cc(built: &Path, source: &str, more: impl FnOnce(&mut Command)) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("cc");
    command.args(["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror"]);
    command.arg("-o").arg(built).arg(root.join(source));
    command.arg("-I").arg(root.join("plugin/include"));
    command.arg("-I").arg(llama().join("include"));
    more(&mut command);
    let output = command.output().expect("cc is installed");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn link_llama(command: &mut Command) {
    for name in ["llama", "ggml", "ggml-cpu", "ggml-base"] {
        command.arg(llama().join(format!("lib/lib{name}.a")));
    }
    command.args(["-lstdc++", "-lgomp", "-lm", "-lpthread"]);
}

fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let differences = a.iter().zip(b).map(|(a, b)| (a - b).abs());
    differences.fold(0.0, f32::max)
}
