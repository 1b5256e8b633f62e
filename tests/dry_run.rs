//! What a sweep says beforehand: `--dry-run`, its estimate, and the self-test that it begins with.

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use common::exact_options;
use common::place::{Place, one_line_error};
use common::specs;
use midlayer::engine::{Cost, Decode, Engine, Planned, Request, Straightforward, Strategy};
use midlayer::experiment::{Comparison, Spec, Variant};
use midlayer::intervention::{Extent, Kind, Site};
use midlayer::runtime::{Architecture, ContextOptions, Synthetic, Vocabulary};
use midlayer::store::{Store, StoredRun};
use midlayer::sweep::{Measured, Prepared, Prices, Speed, estimate, run};
use midlayer::tasks::TaskName;
use predicates::prelude::*;
use predicates::str::contains;

const SWEEP: &str = "sweep -m tiny.gguf -t 1 --task capitals,math --shots 1 --limit 4 \
                     --manipulate freeze,random,inject --layers 0-3 --seed 1,2";

/// All files under a folder, with what is in them.
fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => {
                found.insert(path.clone(), Vec::new());
                found.extend(files(&path));
            }
            false => {
                let bytes = std::fs::read(&path).unwrap();
                found.insert(path, bytes);
            }
        }
    }
    found
}

/// SQuAD with one question that a tiny context has room for.
const SQUAD: &str = r#"{"data":[{"title":"t","paragraphs":[{"context":"Anna lives in Rome.",
    "qas":[{"id":"q1","question":"Where does Anna live?",
    "answers":[{"text":"Rome","answer_start":14}]}]}]}]}"#;

#[test]
fn the_grid_names_every_kind_of_cell() {
    let place = Place::new();
    let run = place.run(&format!("{SWEEP} --dry-run --out a")).success();
    let text = String::from_utf8(run.get_output().stdout.clone()).unwrap();
    let words = |task: &str, what: &str| -> Vec<String> {
        let line = text
            .lines()
            .find(|line| line.split_whitespace().take(2).eq([task, what]))
            .unwrap_or_else(|| panic!("{task} {what}: {text}"));
        line.split_whitespace().map(String::from).collect()
    };
    for task in ["capitals", "math"] {
        assert_eq!(words(task, "clean")[2..], ["1", "4", "4"]);
        assert_eq!(words(task, "clean-again").last().unwrap(), "4");
        assert_eq!(words(task, "freeze")[2..], ["1-3", "3", "4", "12"]);
        assert_eq!(words(task, "random")[2..], ["0-3", "1,2", "8", "4", "32"]);
    }
    assert_eq!(words("capitals", "inject")[2..4], ["0-3", "4"]);
    assert!(!text.contains("math      inject"));
    assert!(!place.path("a").exists());
}

/// No hash, no note that a model loads, no copy, no verdicts, no results; with models as they are
/// and to be requantized, and with data.
#[test]
fn nothing_is_written() {
    let place = Place::new();
    std::fs::write(place.path("squad.json"), SQUAD).unwrap();
    // Older than what is too fresh to be remembered.
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(60);
    for name in ["tiny.gguf", "squad.json"] {
        let file = std::fs::File::options().write(true).open(place.path(name));
        file.unwrap().set_modified(old).unwrap();
    }
    let before = files(place.0.path());
    let sweep = SWEEP.replace("capitals,math", "capitals,squad --data squad=squad.json");
    for model in ["tiny.gguf", "tiny.gguf:q8_0", "tiny.gguf,tiny.gguf:q8_0"] {
        let sweep = sweep.replace("tiny.gguf", model);
        place.run(&format!("{sweep} --dry-run")).success();
        place.run(&format!("{sweep} --dry-run --out a")).success();
        let after = files(place.0.path());
        let new: Vec<_> = after.keys().filter(|f| !before.contains_key(*f)).collect();
        assert!(after == before, "{model}: {new:?}");
    }
    // What a sweep has made is used, and nothing is added to it.
    let copied = sweep.replace("tiny.gguf", "tiny.gguf:q8_0");
    place.run(&format!("{copied} --out a")).success();
    let before = files(place.0.path());
    place
        .run(&format!("{copied} --out b --dry-run"))
        .success()
        .stderr(contains("requantized").not());
    assert!(files(place.0.path()) == before);
}

#[test]
fn a_copy_that_is_not_there_is_priced_from_its_source() {
    let place = Place::new();
    let sweep = SWEEP.replace("tiny.gguf", "tiny.gguf:q8_0");
    place
        .run(&format!("{sweep} --dry-run"))
        .success()
        .stderr(contains(
            "tiny.gguf is not requantized to q8_0 yet, which a sweep does first",
        ))
        .stdout(contains("in all about"));
}

#[test]
fn what_a_run_refuses_is_refused_before() {
    let place = Place::new();
    for (changed, code, text) in [
        ("--tokens text:x", 1, "--tokens"),
        ("--layers 9", 2, "--layers"),
        ("-c 20", 1, "-c"),
    ] {
        let line = format!("{} {changed} --dry-run", SWEEP.replace("--layers 0-3 ", ""));
        one_line_error(code, text)(place.run(&line));
    }
}

/// The prices of an engine, a second for each decode, and so many times as much.
struct Decodes<'e>(&'e mut dyn Engine, f64);

impl Prices for Decodes<'_> {
    fn cost(&mut self, requests: &[Request]) -> Cost {
        self.0.cost(requests)
    }
    fn seconds(&mut self, _: &Decode) -> f64 {
        1.0
    }
    fn slower(&self, _: TaskName) -> f64 {
        self.1
    }
}

/// What is estimated is what a sweep computes, its noise floor and donors included.
#[test]
fn the_estimate_is_what_a_sweep_computes() {
    let recipe = Synthetic {
        vocabulary: Vocabulary::Bytes,
        n_ctx: 1024,
        ..Synthetic::new(Architecture::Llama)
    };
    let model = Arc::new(recipe.build().unwrap());
    let options = ContextOptions {
        n_ctx: 1024,
        n_batch: 1024,
        ..exact_options()
    };
    let folder = tempfile::tempdir().unwrap();
    let (paper, stream) = (Extent::Paper, vec![Site::Residual]);
    let cache = vec![Site::Keys, Site::Values];
    let (fast, slow) = (Strategy::Planned, Strategy::Straightforward);
    let (usual, filler) = (
        vec![Kind::Freeze, Kind::Random, Kind::Inject],
        vec![Kind::Filler],
    );
    let cases = [
        (fast, paper, "prior", stream.clone(), usual.clone()),
        (fast, Extent::Only, "skip:4", stream.clone(), usual.clone()),
        (fast, paper, "prior", cache, usual.clone()),
        (slow, paper, "prior", stream.clone(), usual),
        (fast, paper, "prior", stream, filler),
    ];
    for (n, (strategy, extent, tokens, sites, manipulations)) in cases.into_iter().enumerate() {
        let mut engine: Box<dyn Engine> = match strategy {
            Strategy::Straightforward => {
                Box::new(Straightforward::new(model.clone(), &options).unwrap())
            }
            Strategy::Planned => Box::new(Planned::new(model.clone(), &options, 16).unwrap()),
        };
        let spec = Spec {
            context: options.clone(),
            strategy,
            tasks: vec![specs::task(TaskName::Capitals, 6, 1)],
            manipulations,
            layers: vec![1, 3],
            extent,
            tokens: tokens.into(),
            sites,
            ..specs::of(engine.facts().clone())
        };
        let variant = Variant::new(spec).unwrap();
        let prepared = Prepared::new(variant.clone(), engine.as_ref()).unwrap();
        let said = estimate(&prepared, &mut Decodes(engine.as_mut(), 1.0)).unwrap();
        let slower = estimate(&prepared, &mut Decodes(engine.as_mut(), 3.0)).unwrap();
        assert!((slower.likely.seconds / said.likely.seconds - 3.0).abs() < 1e-9);
        assert_eq!(slower.likely.layer_rows, said.likely.layer_rows);
        // What needs a donor's states is left out of what is tried.
        let moment = Duration::from_millis(5);
        let speed = Speed::measure(engine.as_mut(), 16, Some(1), moment).unwrap();
        let mut prices = Measured::new(engine.as_mut(), speed);
        prices.try_unit(&prepared, &prepared.tasks()[0]).unwrap();
        assert!(prices.load() >= 1.0);
        let slower = prices.slower(TaskName::Capitals);
        assert!(slower > 0.0 && slower.is_finite(), "{slower}");
        let out = folder.path().join(n.to_string());
        let mut store = Store::open(&out, std::slice::from_ref(&variant)).unwrap();
        let before = engine.work();
        run(
            &prepared,
            engine.as_mut(),
            &mut store.part(0),
            &mut (),
            &Comparison::Alone,
        )
        .unwrap();
        let after = engine.work();
        drop(store);
        let what = format!("{strategy} {extent} {tokens}");
        let rows = StoredRun::read(&out).unwrap().variants.remove(0).rows.len();
        assert_eq!(said.results, rows, "{what}");
        let near = |said: u64, done: u64| said >= done && said as f64 <= 1.1 * done as f64;
        let done = after.layer_rows - before.layer_rows;
        assert!(
            near(said.likely.layer_rows, done),
            "{what}: {said:?}, {done}"
        );
        let done = after.cache_rows - before.cache_rows;
        assert!(
            near(said.likely.cache_rows, done),
            "{what}: {said:?}, {done}"
        );
    }
}

#[test]
fn a_model_is_examined_once_or_not_at_all() {
    let place = Place::new();
    let sweep = "sweep -m tiny.gguf -t 1 --task math --limit 2 --manipulate freeze --layers 1-3";
    let announced = || contains("self-test, about").and(contains("--no-selftest"));
    let verdicts = |run: &str| {
        let stored = StoredRun::read(&place.path(run)).unwrap();
        stored.variants[0].selftest.clone().unwrap()
    };
    place
        .run(&format!("{sweep} --no-selftest --out left"))
        .success()
        .stderr(announced().not().and(contains("is left out")));
    assert!(verdicts("left").left_out);
    let report = std::fs::read_to_string(place.path("left/report.md")).unwrap();
    assert!(
        report.contains("left out, so that nothing tells"),
        "{report}"
    );
    place
        .run(&format!("{sweep} --out first"))
        .success()
        .stderr(announced());
    place
        .run(&format!("{sweep} --out second"))
        .success()
        .stderr(announced().not());
    assert_eq!(verdicts("first"), verdicts("second"));
    assert!(!verdicts("first").left_out);
    // Other settings are examined for themselves.
    place
        .run(&format!("{sweep} -ctk f32 --out third"))
        .success()
        .stderr(announced());
    // What was left out is made up for when the run goes on without the option.
    place.run(&format!("{sweep} --out left")).success();
    assert!(!verdicts("left").left_out);
}

/// Ctrl-C during the self-test stops at once, and leaves a run that can be gone on with.
#[test]
fn an_examination_can_be_stopped() {
    let place = Place::new();
    let sweep = "sweep -m tiny.gguf -t 1 --task math --limit 2 --manipulate freeze --layers 1-3";
    let mut command = place.command(&format!("{sweep} --out a"));
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut said = Vec::new();
    for line in lines.map_while(Result::ok) {
        if line.contains("self-test, about") {
            let pid = child.id().to_string();
            Command::new("kill")
                .args(["-s", "INT", &pid])
                .status()
                .unwrap();
        }
        said.push(line);
    }
    assert_eq!(child.wait().unwrap().code(), Some(130), "{said:?}");
    let last = said.last().unwrap();
    assert!(last.contains("interrupted: 0 of"), "{last}");
    place.run(&format!("{sweep} --out a")).success();
}
