//! Architectures that llama.cpp knows and that are refused by name, each with its reason, and those
//! that are left unexamined. With the ones that synthetic models have, they are all that there are.

use std::path::Path;

use super::RuntimeError;
use super::header::Header;

/// Why a model of an architecture cannot be manipulated, whatever its file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Its tokens see later ones.
    Encoder,
    /// It fills in tokens anywhere, so its tokens see later ones.
    Diffusion,
    /// It goes on from the states of another model.
    Draft,
    /// What it gives stands for sounds.
    Speech,
    /// It gives a score in place of a next token.
    Judge,
    /// It turns pictures or sounds into states of another model.
    Projector,
    /// llama.cpp knows the name and cannot load it.
    NameOnly,
    /// llama.cpp of this version ends the process with it.
    Fatal,
}

impl Unfit {
    /// All reasons.
    pub const ALL: [Unfit; 8] = [
        Unfit::Encoder,
        Unfit::Diffusion,
        Unfit::Draft,
        Unfit::Speech,
        Unfit::Judge,
        Unfit::Projector,
        Unfit::NameOnly,
        Unfit::Fatal,
    ];

    /// Architectures, by llama.cpp's names, that are refused for this reason.
    pub fn architectures(self) -> &'static [&'static str] {
        match self {
            Unfit::Encoder => &[
                "bert",
                "modern-bert",
                "nomic-bert",
                "nomic-bert-moe",
                "neo-bert",
                "jina-bert-v2",
                "jina-bert-v3",
                "eurobert",
                "gemma-embedding",
                "llama-embed",
                "t5",
                "t5encoder",
            ],
            Unfit::Diffusion => &["dream", "llada", "llada-moe", "rnd1"],
            Unfit::Draft => &["eagle3", "dflash", "gemma4-assistant"],
            Unfit::Speech => &["wavtokenizer-dec", "qwen3tts", "pockettts"],
            Unfit::Judge => &["clef"],
            Unfit::Projector => &["clip"],
            Unfit::NameOnly => &["gptj"],
            Unfit::Fatal => &["plm", "chameleon"],
        }
    }

    /// Why an architecture is refused by its name; `None` where it is not.
    pub fn of(architecture: &str) -> Option<Self> {
        let refuses = |why: &Unfit| why.architectures().contains(&architecture);
        Self::ALL.into_iter().find(refuses)
    }

    /// The same of a file, as an error; nothing but its header is read. `None` also where that
    /// cannot be read.
    pub(super) fn of_file(path: &Path) -> Option<RuntimeError> {
        let header = Header::read(path).ok()?;
        let architecture = header.text("general.architecture")?;
        let why = Self::of(architecture)?;
        Some(why.error(path.display().to_string(), architecture))
    }

    pub(super) fn error(self, model: String, architecture: &str) -> RuntimeError {
        RuntimeError::Unfit {
            model,
            architecture: architecture.to_string(),
            why: self,
        }
    }

    /// What such a model is, as a part of a sentence.
    pub fn what(self) -> &'static str {
        match self {
            Unfit::Encoder => "an encoder",
            Unfit::Diffusion => "a diffusion model",
            Unfit::Draft => "a draft model",
            Unfit::Speech => "a model of speech",
            Unfit::Judge => "a judge",
            Unfit::Projector => "a projector",
            Unfit::NameOnly => "known by name only",
            Unfit::Fatal => "fatal to llama.cpp",
        }
    }

    /// Why that rules manipulation out, and what to give in its place.
    pub fn why(self) -> &'static str {
        match self {
            Unfit::Encoder => {
                "its tokens see later ones, so there are no prior tokens to manipulate; give a decoder"
            }
            Unfit::Diffusion => {
                "its tokens see later ones, so there are no prior tokens to manipulate; give one that predicts the next token"
            }
            Unfit::Draft => {
                "it goes on from the states of another model, which it drafts for; give that one"
            }
            Unfit::Speech => "what it gives are sounds, not words; give a model that writes text",
            Unfit::Judge => "it gives a score, not the next token; give one that predicts it",
            Unfit::Projector => {
                "it turns pictures or sounds into states of a language model; give that one"
            }
            Unfit::NameOnly => "llama.cpp has no code that loads it; give another model",
            Unfit::Fatal => {
                "llama.cpp of this version ends the process when it computes one; give another model"
            }
        }
    }

    /// Architectures of decoders of which no synthetic model is examined, each with its reason.
    /// They are not refused: `midlayer selftest -m FILE` examines a file of one.
    pub const UNEXAMINED: [(&'static str, &'static str); 2] = [
        (
            "qwen2vl",
            "as qwen2, with positions of several axes. llama.cpp of this version reads no epsilon of its norms, so that a state of zeros gives no numbers: zero, and ablate of all that a state holds, are errors",
        ),
        (
            "rwkv6qwen2",
            "as rwkv6. A synthetic model has all tensors that an architecture may do without, and with one of these (time_mix_first) llama.cpp takes another architecture's way and ends the process",
        ),
    ];
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::*;
    use crate::runtime::Architecture;

    /// A file of the pinned llama.cpp, as the registry delivered it.
    fn source(name: &str) -> String {
        let output = Command::new(std::env::var_os("CARGO").expect("cargo sets it"))
            .args(["metadata", "--format-version", "1", "--locked"])
            .output()
            .unwrap();
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let packages = metadata["packages"].as_array().unwrap();
        let package = packages.iter().find(|p| p["name"] == "llama-cpp-sys-2");
        let manifest = package.unwrap()["manifest_path"].as_str().unwrap();
        let folder: PathBuf = Path::new(manifest).parent().unwrap().join("llama.cpp/src");
        std::fs::read_to_string(folder.join(name)).unwrap()
    }

    /// What stands between two marks of a text.
    fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
        let rest = text.split_once(from).expect(from).1;
        rest.split_once(to).expect(to).0
    }

    /// By llama.cpp's own number, the name of each architecture that it knows.
    fn known(source: &str) -> Vec<(&str, &str)> {
        let table = between(source, "LLM_ARCH_NAMES = {", "\n};");
        let line = |line| {
            let (number, rest) = between(line, "{ ", "}").split_once(',')?;
            Some((number, between(rest, "\"", "\"")))
        };
        let lines = table.lines().filter(|line| line.contains("LLM_ARCH_"));
        let lines = lines.filter_map(line);
        lines.filter(|(_, name)| *name != "(unknown)").collect()
    }

    /// A newer llama.cpp knows more of them: each is given a synthetic model, or a reason.
    #[test]
    fn every_architecture_that_llama_cpp_knows_is_made_refused_or_told_of() {
        let source = source("llama-arch.cpp");
        let known: BTreeSet<&str> = known(&source).into_iter().map(|(_, name)| name).collect();
        assert!(known.len() > 150, "{}", known.len());
        let made = Architecture::every().map(Architecture::llama_cpp_name);
        let made: BTreeSet<&str> = made.collect();
        let refused = Unfit::ALL.into_iter().flat_map(Unfit::architectures);
        let unexamined = Unfit::UNEXAMINED.iter().map(|(name, _)| name);
        let told: Vec<&str> = refused.chain(unexamined).copied().collect();
        let missing = known.iter().filter(|name| !made.contains(*name));
        let missing: Vec<_> = missing.filter(|name| !told.contains(name)).collect();
        assert!(missing.is_empty(), "neither made nor told of: {missing:?}");
        let gone: Vec<_> = made
            .iter()
            .chain(&told)
            .filter(|n| !known.contains(*n))
            .collect();
        assert!(gone.is_empty(), "not known to llama.cpp: {gone:?}");
        // One place for each: llada alone is made as an example of what is refused.
        let twice: Vec<_> = told.iter().filter(|name| made.contains(*name)).collect();
        assert_eq!(twice, [&"llada"]);
        assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), told.len());
    }

    /// All of them, from a header alone.
    #[test]
    fn files_are_refused_by_the_name_in_their_header() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        let load = |architecture: &str| {
            let text = |bytes: &mut Vec<u8>, text: &str| {
                bytes.extend((text.len() as u64).to_le_bytes());
                bytes.extend(text.as_bytes());
            };
            // Version 3, no tensors, one key, whose value is a text (type 8).
            let mut bytes = b"GGUF\x03\0\0\0".to_vec();
            bytes.extend([0u64, 1].into_iter().flat_map(u64::to_le_bytes));
            text(&mut bytes, "general.architecture");
            bytes.extend(8u32.to_le_bytes());
            text(&mut bytes, architecture);
            std::fs::write(&path, bytes).unwrap();
            let model = crate::runtime::Model::load(&path, &Default::default());
            model.expect_err("no tensors").to_string()
        };
        for why in Unfit::ALL {
            for name in why.architectures() {
                let error = load(name);
                let expected = format!("model.gguf is {} ({name}): {}", why.what(), why.why());
                assert!(error.contains(&expected), "{error}");
                assert!(error.ends_with("(`model`)"), "{error}");
            }
        }
        assert!(load("llama").contains("vocabulary only"));
    }

    /// What llama.cpp itself takes for diffusion models and for encoders is in the table.
    #[test]
    fn llama_cpp_says_the_same_of_diffusion_models_and_encoders() {
        let (names, model) = (source("llama-arch.cpp"), source("llama-model.cpp"));
        let names_of = known(&names);
        let named = |body: &str| -> Vec<&str> {
            let cases = body.split("case ").skip(1);
            let numbers = cases.map(|case| case.split(':').next().unwrap());
            let name = |number| names_of.iter().find(|(n, _)| *n == number).unwrap().1;
            numbers.map(name).collect()
        };
        let diffusion = named(between(&names, "bool llm_arch_is_diffusion", "return true"));
        assert_eq!(diffusion, Unfit::Diffusion.architectures());
        let encoders = named(between(
            &model,
            "bool llama_model_has_encoder",
            "return true",
        ));
        assert!(encoders.len() > 2, "{encoders:?}");
        for name in encoders {
            let why = Unfit::of(name);
            assert!(
                matches!(why, Some(Unfit::Encoder | Unfit::Draft)),
                "{name}: {why:?}"
            );
        }
        assert_eq!(Unfit::of("llama"), None);
    }
}
