//! The plugin against the library: the C host of `plugin/examples`, on a llama.cpp that knows
//! nothing of midlayer, gives the library's logits.

mod common;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use common::exact_options;
use midlayer::engine::{Engine, Prompt, Request, Straightforward};
use midlayer::intervention::{Extent, Intervention, Kind, PositionSet, Target};
use midlayer::plan::{Keep, Plan, Requests, Shape, read_states};
use midlayer::runtime::{Architecture, Synthetic, Vocabulary};
use predicates::prelude::*;
use predicates::str::contains;
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

#[test]
fn every_manipulation_gives_the_library_s_logits() {
    let folder = tempfile::tempdir().unwrap();
    let host = build(folder.path());
    for architecture in [
        Architecture::Llama,
        Architecture::Qwen2,
        Architecture::Gemma3,
        Architecture::Gpt2,
        Architecture::Phi2,
        Architecture::Olmo2,
    ] {
        let mut place = Place::new(architecture);
        let clean = place.library(&[]);
        for kind in [
            Kind::Freeze,
            Kind::Random,
            Kind::Shuffle,
            Kind::SkipAttention,
            Kind::Zero,
        ] {
            for layer in kind.first_layer()..place.shape().layers {
                let tokens = PositionSet::all_but_first(2);
                let steps = [kind.intervention(layer, 7, Extent::Paper, tokens, None)];
                let plan = Plan::of(&steps, place.shape()).unwrap();
                let expected = place.library(&steps);
                assert!(distance(&expected, &clean) > 10.0 * CLOSE, "a control");
                for piece in [512, 7] {
                    let (logits, said) = place.host(&host, &plan, piece);
                    let far = distance(&logits, &expected);
                    assert!(
                        far < CLOSE,
                        "{architecture:?} {kind} at {layer}, {piece} at a time: {far}; {said}"
                    );
                }
            }
        }
    }
}

#[test]
fn texts_in_one_batch_are_told_apart_and_a_warm_up_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let host = build_from(folder.path(), "plugin/tests/fake/batch.c");
    let mut place = Place::new(Architecture::Llama);
    let other = "Another text, and a longer one at that, too.";
    let steps = [Intervention::freeze(2)];
    let own = [place.library(&[]), place.library(&steps)];
    place.prompt = place.engine.prompt(other).unwrap();
    let others = [place.library(&[]), place.library(&steps)];
    for (requests, first, second) in [
        (Requests::All, 1, 1),
        (Requests::First, 1, 0),
        (Requests::Every(2), 0, 1),
    ] {
        let mut plan = Plan::of(&steps, place.shape()).unwrap();
        plan.requests = requests;
        plan.write(&place.path("plan.json")).unwrap();
        for unified in ["0", "1"] {
            let mut command = Command::new(&host);
            command
                .arg(place.path("tiny.gguf"))
                .arg(place.path("plan.json"));
            command.args([TEXT, other, unified]);
            command.env("LD_LIBRARY_PATH", release());
            let output = command.output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{said}");
            let lines = String::from_utf8(output.stdout).unwrap();
            let logits: Vec<f32> = lines.lines().map(|line| line.parse().unwrap()).collect();
            let (a, b) = logits.split_at(own[0].len());
            assert!(distance(a, &own[first]) < CLOSE, "{requests:?} {said}");
            assert!(distance(b, &others[second]) < CLOSE, "{requests:?} {said}");
            let counted = format!("2 texts, {} chosen", first + second);
            assert!(said.starts_with(&counted), "{said}");
        }
    }
}

#[test]
fn states_are_captured_and_given() {
    let folder = tempfile::tempdir().unwrap();
    let host = build(folder.path());
    let mut place = Place::new(Architecture::Llama);
    let mut plan = Plan::of(&[], place.shape()).unwrap();
    plan.capture = Some(Keep {
        layers: vec![0, 2],
        file: Some("states.safetensors".into()),
    });
    let clean = place.library(&[]);
    let (logits, said) = place.host(&host, &plan, 7);
    assert!(distance(&logits, &clean) < CLOSE, "{said}");
    let states = read_states(&place.path("states.1.safetensors")).unwrap();
    let tokens = place.prompt.tokens.clone();
    let expected = place.engine.captured(&tokens, 0, &[Target::Input]).unwrap();
    assert_eq!(states.len(), 2 * tokens.len());
    for ((layer, position), row) in states.iter() {
        let own = expected.inputs.get(layer, position).unwrap();
        assert!(distance(row, own) < CLOSE);
    }
    // The same states, put two positions further.
    let moved = states.moved(&[(3, 5), (4, 6)]);
    let tokens = PositionSet::ranges([5..7]);
    let steps = [Intervention::given(2, Arc::new(moved), tokens)];
    let plan = Plan::of(&steps, place.shape()).unwrap();
    let expected = place.library(&steps);
    assert!(distance(&expected, &clean) > 10.0 * CLOSE, "a control");
    let (logits, said) = place.host(&host, &plan, 512);
    assert!(distance(&logits, &expected) < CLOSE, "{said}");
    assert!(said.contains("host: 2 rows written"), "{said}");
}

#[test]
fn what_does_not_fit_the_model_is_refused_and_the_host_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let host = build(folder.path());
    let mut place = Place::new(Architecture::Llama);
    let clean = place.library(&[]);
    let shape = place.shape();
    let refused = |plan: &Plan, why: &str| {
        let (logits, said) = place.host(&host, plan, 512);
        assert!(said.contains(why), "{said}");
        assert!(said.contains("0 rows written"), "{said}");
        assert!(distance(&logits, &clean) < CLOSE, "the host goes on");
    };
    let freeze = |layer| [Intervention::freeze(layer)];
    let larger = Shape {
        layers: shape.layers + 1,
        ..shape
    };
    let mut plan = Plan::of(&freeze(2), larger).unwrap();
    refused(&plan, "the plan is for a model of 5 layers");
    // With the model's shape that is told from the plan alone.
    plan = Plan::of(&freeze(4), shape).unwrap();
    let told = Plan::parse(&plan.to_json().unwrap()).unwrap_err();
    assert!(told.to_string().contains("layer 4 is out of range"));
    plan.model = None;
    refused(&plan, "layer 4 is out of range");
    plan = Plan::of(&freeze(2), shape).unwrap();
    plan.requests = Requests::Every(2);
    refused(&plan, "");
    // A text shorter than a warm-up may be is left alone too.
    plan = Plan::of(&freeze(2), shape).unwrap();
    plan.shortest = 1000;
    refused(&plan, "");
}

#[test]
fn error_texts_live_as_long_as_their_session() {
    let folder = tempfile::tempdir().unwrap();
    let host = build_from(folder.path(), "plugin/tests/fake/errors.c");
    let place = Place::new(Architecture::Llama);
    for (name, more) in [("plan.json", 1), ("other.json", 2)] {
        let shape = Shape {
            layers: place.shape().layers + more,
            ..place.shape()
        };
        let plan = Plan::of(&[Intervention::freeze(2)], shape).unwrap();
        plan.write(&place.path(name)).unwrap();
    }
    let mut command = Command::new(&host);
    for name in ["tiny.gguf", "plan.json", "other.json"] {
        command.arg(place.path(name));
    }
    command.arg(TEXT).env("LD_LIBRARY_PATH", release());
    let output = command.output().unwrap();
    let found = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && found == "kept\n", "{found}");
}

/// A panic inside ends the plan, not the host.
#[test]
fn a_panic_never_crosses_into_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let host = build(folder.path());
    let mut place = Place::new(Architecture::Llama);
    let clean = place.library(&[]);
    let steps = [Intervention::random(1, 7)];
    let plan = Plan::of(&steps, place.shape()).unwrap();
    let (changed, said) = place.host(&host, &plan, 512);
    assert!(distance(&changed, &clean) > CLOSE, "{said}");
    let panics = [("MIDLAYER_SABOTAGE", "panic")];
    for piece in [512, 7] {
        let (logits, said) = place.host_under(&host, &plan, piece, &panics);
        assert!(distance(&logits, &clean) < CLOSE, "{said}");
        let told = "leaves the model alone from here on: on purpose";
        assert!(said.contains(told), "{said}");
    }
}

/// A host that knows nothing of midlayer, under a plan: its logits and what was said.
fn preloaded(
    (host, library): &(PathBuf, PathBuf),
    place: &Place,
    variables: &[(&str, &str)],
) -> (Vec<f32>, String) {
    let mut command = Command::new(host);
    command.arg(library);
    command.env("TEXT_MODEL", place.path("tiny.gguf"));
    command.env("TEXT", TEXT);
    command.env("MIDLAYER_PLAN", place.path("plan.json"));
    command.envs(variables.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && lines.ends_with("unharmed\n"),
        "{said}"
    );
    let logits = lines.lines().filter_map(|line| line.parse().ok());
    (logits.collect(), said)
}

/// The same preloaded: what the plan says, and with a panic inside the host's own answer.
#[test]
fn preloaded_a_plan_is_carried_out_and_a_panic_never_crosses_into_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let host = build_private(folder.path());
    let mut place = Place::new(Architecture::Llama);
    let steps = [Intervention::random(1, 7)];
    let (clean, changed) = (place.library(&[]), place.library(&steps));
    assert!(distance(&changed, &clean) > CLOSE, "a control");
    let plan = Plan::of(&steps, place.shape()).unwrap();
    plan.write(&place.path("plan.json")).unwrap();
    let answer = |variables: &[(&str, &str)]| preloaded(&host, &place, variables);
    let (logits, said) = answer(&[]);
    assert!(distance(&logits, &clean) < CLOSE, "not preloaded: {said}");
    let plugin = plugin();
    let preload = ("LD_PRELOAD", plugin.to_str().unwrap());
    let (logits, said) = answer(&[preload]);
    assert!(distance(&logits, &changed) < CLOSE, "preloaded: {said}");
    let (logits, said) = answer(&[preload, ("MIDLAYER_SABOTAGE", "panic")]);
    assert!(distance(&logits, &clean) < CLOSE, "panicked: {said}");
    let told = "leaves the model alone from here on: on purpose";
    assert!(said.contains(told), "{said}");
}

/// Each context counts its own texts: one that is made where another was freed begins anew, and
/// one whose scheduler llama.cpp makes anew does not.
#[test]
fn a_context_has_a_session_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let host = build_private(folder.path());
    let mut place = Place::new(Architecture::Llama);
    let steps = [Intervention::random(1, 7)];
    let (clean, changed) = (place.library(&[]), place.library(&steps));
    let mut plan = Plan::of(&steps, place.shape()).unwrap();
    plan.requests = Requests::First;
    plan.write(&place.path("plan.json")).unwrap();
    let plugin = plugin();
    let variables = [
        ("LD_PRELOAD", plugin.to_str().unwrap()),
        ("TEXT_CONTEXTS", "3"),
        ("TEXT_TIMES", "2"),
    ];
    let (logits, said) = preloaded(&host, &place, &variables);
    let texts: Vec<&[f32]> = logits.chunks_exact(clean.len()).collect();
    assert_eq!(texts.len(), 6);
    for (n, text) in texts.into_iter().enumerate() {
        let expected = if n % 2 == 0 { &changed } else { &clean };
        assert!(distance(text, expected) < CLOSE, "text {n}: {said}");
    }
}

#[test]
fn try_saves_its_plan() {
    let place = common::place::Place::new();
    let line = "try -m tiny.gguf -p abcdefgh --manipulate random@1+freeze@2 --seed 5 --tokens skip:2 --save-plan plan.json";
    place.run(line).success();
    let plan = Plan::read(&place.path("plan.json")).unwrap();
    let expected = [
        Intervention::random(1, 5).at(PositionSet::all_but_first(2)),
        Intervention::freeze(2).at(PositionSet::all_but_first(2)),
    ];
    let steps = plan.interventions(Path::new(".")).unwrap();
    assert_eq!(format!("{steps:?}"), format!("{expected:?}"));
    assert_eq!(plan.model.map(|shape| shape.layers), Some(4));
    let line = "try -m tiny.gguf -p abcdefgh --layers 1-2 --save-plan other.json";
    place.run(line).code(2).stderr(contains("--save-plan"));
    assert!(!place.path("other.json").exists());
}

#[test]
fn attach_says_why_not() {
    let place = common::place::Place::new();
    let own = env!("CARGO_BIN_EXE_midlayer");
    let check = format!("attach --check -- {own} doctor");
    place
        .run(&check)
        .success()
        .stdout(contains("linked into itself"));
    place
        .run("attach --check -- true")
        .success()
        .stdout(contains("ended without"));
    place
        .run("attach --plan none.json -- true")
        .code(1)
        .stderr(contains("none.json"));
    place
        .run("attach --check -- no-such-program")
        .code(2)
        .stderr(contains("not on the path"));
    let plan = r#"{"midlayer_plan": 1, "interventions": [{"manipulation": "freeze", "layer": 1}]}"#;
    std::fs::write(place.path("plan.json"), plan).unwrap();
    let line = format!("attach --plan plan.json -- {own} doctor");
    place
        .run(&line)
        .code(1)
        .stderr(contains("linked into itself"));
    place
        .run("attach --plan plan.json -- printenv MIDLAYER_PLAN")
        .success()
        .stdout(contains("plan.json"));
}

/// What would keep the plugin from being loaded is said before the program runs.
#[test]
fn attach_refuses_what_the_loader_would_not_find() {
    let place = common::place::Place::new();
    let plan = r#"{"midlayer_plan": 1, "interventions": [{"manipulation": "freeze", "layer": 1}]}"#;
    std::fs::write(place.path("plan.json"), plan).unwrap();
    let attach = |arguments: &[&OsStr]| {
        let mut command = place.command("attach");
        command.args(arguments);
        assert_cmd::Command::from_std(command).assert()
    };
    for folder in ["lib dir", "lib:dir"] {
        std::fs::create_dir(place.path(folder)).unwrap();
        let library = place.path(folder).join("libmidlayer_plugin.so");
        std::fs::copy(plugin(), &library).unwrap();
        let arguments = ["--library".as_ref(), library.as_os_str()];
        let rest = ["--plan", "plan.json", "--", "touch", "ran"].map(OsStr::new);
        attach(&[&arguments[..], &rest].concat())
            .code(2)
            .stderr(contains(folder).and(contains("(--library)")));
        assert!(!place.path("ran").exists());
    }
    // Any other byte is none of the loader's.
    let folder = place.0.path().join(OsStr::from_bytes(b"lib\xff"));
    std::fs::create_dir(&folder).unwrap();
    let library = folder.join("libmidlayer_plugin.so");
    std::fs::copy(plugin(), &library).unwrap();
    let plan = folder.join("a plan: one.json");
    std::fs::copy(place.path("plan.json"), &plan).unwrap();
    let line = ["--library", "--plan", "--", "cat", "/proc/self/maps"].map(OsStr::new);
    let arguments = [
        line[0],
        library.as_os_str(),
        line[1],
        plan.as_os_str(),
        line[2],
        line[3],
        line[4],
    ];
    // The map holds the folder's name as it is.
    let maps = attach(&arguments).success().get_output().stdout.clone();
    assert!(String::from_utf8_lossy(&maps).contains("libmidlayer_plugin.so"));
}

#[test]
fn attach_names_what_it_cannot_run_and_waits_no_longer_than_it_is_told() {
    let place = common::place::Place::new();
    std::fs::write(place.path("script"), "#!/bin/sh\n").unwrap();
    place
        .run("attach --check -- ./script")
        .code(2)
        .stderr(contains("./script may not be executed"));
    place
        .run("attach --check --seconds 1 -- sleep 1000")
        .success()
        .stdout(contains("in 1 s llama.cpp computed nothing in").and(contains("--seconds")));
    for (step, why) in [
        (r#""layer": 4294967295"#, "layer 4294967295 is out of range"),
        (
            r#""layer": 1, "extent": {"window": 0}"#,
            "a window of 0 layers",
        ),
    ] {
        let step = format!(r#"{{"manipulation": "freeze", {step}}}"#);
        let plan = format!(r#"{{"midlayer_plan": 1, "interventions": [{step}]}}"#);
        std::fs::write(place.path("plan.json"), plan).unwrap();
        place
            .run("attach --plan plan.json -- true")
            .code(1)
            .stderr(contains(why));
    }
}

/// What midlayer sets for its own threads is not the program's.
#[test]
fn attach_leaves_the_program_its_environment() {
    let place = common::place::Place::new();
    let plan = r#"{"midlayer_plan": 1, "interventions": [{"manipulation": "freeze", "layer": 1}]}"#;
    std::fs::write(place.path("plan.json"), plan).unwrap();
    let seen = |value: Option<&str>| {
        let mut command = place.command("attach --plan plan.json -- env");
        command.env_remove("GOMP_SPINCOUNT");
        command.env_remove("OMP_WAIT_POLICY");
        command.envs(value.map(|value| ("GOMP_SPINCOUNT", value)));
        let assert = assert_cmd::Command::from_std(command).assert().success();
        String::from_utf8(assert.get_output().stdout.clone()).unwrap()
    };
    let own = seen(None);
    assert!(own.contains("MIDLAYER_PLAN="), "{own}");
    assert!(!own.contains("SPIN"), "{own}");
    assert!(seen(Some("7")).contains("GOMP_SPINCOUNT=7\n"));
}
