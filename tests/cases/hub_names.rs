//! File names of the hub: whole names, what goes with a model, names that addresses cannot hold
//! as they are, models in parts.

use std::fs;

use midlayer::hub::{Hub, HubError, HubOptions, model_file};
use midlayer::runtime::Synthetic;
use midlayer::store::StoredRun;
use predicates::str::contains;
use tempfile::TempDir;

use crate::common::place::{Place, json_lines, recipe};
use crate::common::rewrite::Pieces;
use crate::hub_server::{COMMIT, Repository, Server, Version};

/// A repository whose files hold their own names, and an empty cache.
fn hub(names: &[&str]) -> (Server, TempDir, Hub) {
    let files: Vec<_> = names.iter().map(|name| (*name, name.as_bytes())).collect();
    serve(Repository::new("u/r", &files))
}

fn serve(repository: Repository) -> (Server, TempDir, Hub) {
    let server = Server::start(repository);
    let folder = tempfile::tempdir().unwrap();
    let hub = Hub::new(HubOptions {
        endpoint: Some(format!("http://{}", server.at)),
        token: None,
        cache: folder.path().join("hub"),
        offline: None,
    });
    (server, folder, hub.unwrap())
}

fn chosen(hub: &Hub, wanted: &str) -> Result<String, String> {
    match model_file(hub, &format!("u/r{wanted}")) {
        Ok(path) => Ok(fs::read_to_string(path).unwrap()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn a_whole_name_wins_and_what_goes_with_a_model_is_passed_over() {
    let names = [
        "model-Q8_0.gguf",
        "mtp-model-Q8_0.gguf",
        "eagle3-model-Q8_0.gguf",
        "model-lora-Q8_0.gguf",
        "mmproj-model-Q8_0.gguf",
        "model.imatrix.gguf",
        "sub/model-Q6_K.gguf",
        "other/model-Q6_K.gguf",
    ];
    let (_server, _folder, hub) = hub(&names);
    for (wanted, file) in [
        ("", "model-Q8_0.gguf"),
        (":Q8_0", "model-Q8_0.gguf"),
        (":model-Q8_0.gguf", "model-Q8_0.gguf"),
        (":model-Q8_0", "model-Q8_0.gguf"),
        (":MODEL-q8_0.GGUF", "model-Q8_0.gguf"),
        (":mtp-model-Q8_0.gguf", "mtp-model-Q8_0.gguf"),
        (":model-lora-Q8_0", "model-lora-Q8_0.gguf"),
        (":sub/model-Q6_K.gguf", "sub/model-Q6_K.gguf"),
        (":other/model-Q6_K", "other/model-Q6_K.gguf"),
    ] {
        assert_eq!(chosen(&hub, wanted).as_deref(), Ok(file), "{wanted}");
    }
    for twice in [":Q6_K", ":model-Q6_K.gguf"] {
        let error = chosen(&hub, twice).unwrap_err();
        let both = "other/model-Q6_K.gguf, sub/model-Q6_K.gguf";
        assert!(error.contains(both), "{error}");
    }
}

#[test]
fn a_name_decides_over_a_tag_that_it_begins() {
    let (_server, _folder, hub) = hub(&["Q4_K.gguf", "a-Q4_K.gguf", "a-Q4_K_M.gguf"]);
    assert_eq!(chosen(&hub, ":Q4_K").as_deref(), Ok("Q4_K.gguf"));
    assert_eq!(chosen(&hub, ":a-Q4_K").as_deref(), Ok("a-Q4_K.gguf"));
}

#[test]
fn a_matrix_of_importance_is_no_model() {
    let (_server, _folder, hub) = hub(&["Model.imatrix.gguf", "Model.i1-Q5_K_S.gguf"]);
    assert_eq!(chosen(&hub, "").as_deref(), Ok("Model.i1-Q5_K_S.gguf"));
    let error = chosen(&hub, ":Q2_K").unwrap_err();
    assert!(error.contains("there is: Q5_K_S ("), "{error}");
}

#[test]
fn names_that_addresses_cannot_hold_as_they_are() {
    for name in [
        "my model-Q8_0.gguf",
        "my model Q8_0.gguf",
        "a folder/100% m#1?-Q8_0.gguf",
        "m+m&m=m;[Q8_0].gguf",
        "m\u{e4}rchen-\u{6a21}\u{578b}-Q8_0.gguf",
        "m%20m-Q8_0.gguf",
    ] {
        let (_server, _folder, hub) = hub(&[name]);
        for wanted in ["", ":Q8_0", &format!(":{name}")] {
            assert_eq!(chosen(&hub, wanted).as_deref(), Ok(name), "{wanted}");
        }
    }
}

#[test]
fn a_model_in_parts_comes_whole_and_from_one_commit() {
    let parts = ["m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"];
    let files = parts.map(|name| (name, name.as_bytes()));
    let mut moving = Repository::new("u/r", &files);
    moving.moves = true;
    let (_server, _folder, hub_that_moves) = serve(moving);
    let error = model_file(&hub_that_moves, "u/r").unwrap_err();
    assert!(
        matches!(error, HubError::ChangedMeanwhile { .. }),
        "{error}"
    );

    let (_server, _folder, lacking) = hub(&parts[1..]);
    let error = model_file(&lacking, "u/r").unwrap_err();
    assert!(matches!(error, HubError::PartsMissing { .. }), "{error}");

    // Any part's name means the whole.
    let (_server, _folder, whole) = hub(&parts);
    for wanted in ["", ":Q8_0", ":m-Q8_0-00002-of-00002.gguf"] {
        assert_eq!(chosen(&whole, wanted).as_deref(), Ok(parts[0]), "{wanted}");
    }
    let path = model_file(&whole, "u/r").unwrap();
    let second = fs::read_to_string(path.with_file_name(parts[1])).unwrap();
    assert_eq!(second, parts[1]);
}

/// The program on a split model whose names hold spaces: it runs, and the run knows its revision.
#[test]
fn a_split_model_of_the_hub_runs_and_its_revision_is_kept() {
    let place = Place::new();
    let whole = Pieces::of(&fs::read(place.model()).unwrap());
    let parts = whole.split(&[0, 9]);
    let files: Vec<(String, Vec<u8>)> = (1..)
        .zip(&parts)
        .map(|(n, part)| (format!("my tiny-F32-{n:05}-of-00003.gguf"), part.write()))
        .collect();
    let names: Vec<_> = files
        .iter()
        .map(|(n, b)| (n.as_str(), b.as_slice()))
        .collect();
    let server = Server::start(Repository::new("u/tiny", &names));
    let run = |line: &str| {
        let mut command = place.command(line);
        command.env("HF_ENDPOINT", format!("http://{}", server.at));
        command.env_remove("HF_TOKEN").env_remove("HF_HUB_OFFLINE");
        assert_cmd::Command::from_std(command).assert()
    };
    let line = "-p abcdefgh --layers 2 -t 1 -o json";
    let of = |assert| {
        let lines = json_lines(assert);
        lines
            .iter()
            .map(|line| line["top"].clone())
            .collect::<Vec<_>>()
    };
    let split = of(run(&format!("try -hf u/tiny:F32 {line}")));
    assert_eq!(split, of(run(&format!("try -m tiny.gguf {line}"))));
    run("sweep -hf u/tiny -t 1 --shots 0 --limit 2 --layers 2 --out r").success();
    let stored = midlayer::store::StoredRun::read(&place.path("r")).unwrap();
    let model = &stored.variants[0].spec.model;
    let hub = model.hub.as_ref().unwrap();
    assert_eq!(
        (hub.repo.as_str(), hub.revision.as_str()),
        ("u/tiny", COMMIT)
    );
    assert_eq!(
        (model.parts.len(), model.facts.name.as_str()),
        (3, "my tiny-F32")
    );
    let report = fs::read_to_string(place.path("r/report.md")).unwrap();
    assert!(report.contains(COMMIT), "{report}");
}

/// A run is told apart by the commit, however the revision was written.
#[test]
fn a_run_is_of_the_commit_that_its_revision_means() {
    let place = Place::new();
    let main = fs::read(place.model()).unwrap();
    let other = "fedcba9876543210fedcba9876543210fedcba98";
    let another = Synthetic {
        seed: 9,
        ..recipe()
    };
    another
        .build()
        .unwrap()
        .save(&place.path("v1.gguf"))
        .unwrap();
    let mut repository = Repository::new("u/tiny", &[("tiny-F32.gguf", &main)]);
    repository.others.push(Version {
        commit: other,
        names: vec!["v1"],
        files: vec![(
            "tiny-F32.gguf".into(),
            fs::read(place.path("v1.gguf")).unwrap(),
        )],
    });
    let server = Server::start(repository);
    let sweep = |model: &str, out: &str| {
        let line = format!("sweep {model} -t 1 --shots 0 --limit 2 --layers 2 --out {out}");
        let mut command = place.command(&line);
        command.env("HF_ENDPOINT", format!("http://{}", server.at));
        command.env_remove("HF_TOKEN").env_remove("HF_HUB_OFFLINE");
        assert_cmd::Command::from_std(command).assert()
    };
    sweep("-hf u/tiny@v1:F32", "r").success();
    let stored = StoredRun::read(&place.path("r")).unwrap();
    let origin = stored.variants[0].spec.model.hub.as_ref().unwrap();
    assert_eq!((&*origin.repo, &*origin.revision), ("u/tiny", other));
    sweep("-m v1.gguf", "same").success();
    assert_eq!(place.rows("r"), place.rows("same"));

    let again = sweep(&format!("-hf u/tiny@{other}"), "r").success();
    again.stderr(contains("results were there already"));
    sweep("-hf u/tiny", "r")
        .code(1)
        .stderr(contains("another run"));
    // Two revisions in one run are two models.
    sweep("-hf u/tiny@main,u/tiny@v1", "both").success();
    let both = StoredRun::read(&place.path("both")).unwrap();
    let revisions: Vec<_> = both
        .variants
        .iter()
        .map(|variant| variant.spec.model.hub.as_ref().unwrap().revision.clone())
        .collect();
    assert_eq!(revisions, [COMMIT, other]);
}
