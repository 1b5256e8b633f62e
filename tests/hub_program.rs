//! The program against a server that speaks the hub's protocol: `pull` of a dataset, `-hf`, and
//! both again without the network.

#[allow(dead_code)] // the library's own tests use the rest
#[path = "common/hub_server.rs"]
mod server;

use assert_cmd::Command;
use midlayer::hub::DATASETS;
use midlayer::runtime::{Architecture, Synthetic, Vocabulary};
use predicates::str::contains;
use server::{Repository, Server};
use tempfile::TempDir;

fn program(server: &Server, folder: &TempDir, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_midlayer"));
    command
        .current_dir(folder.path())
        .env("HF_ENDPOINT", format!("http://{}", server.at))
        .env("HF_HOME", folder.path())
        .env_remove("HF_HUB_CACHE")
        .env_remove("HF_TOKEN")
        .env_remove("HF_HUB_OFFLINE")
        .args(line.split_whitespace());
    command
}

#[test]
fn a_dataset_is_pulled_once_and_then_used() {
    let dataset = DATASETS[0];
    let server = Server::start(Repository::new(
        "datasets/rajpurkar/squad",
        &[(dataset.file, b"not really Parquet")],
    ));
    let folder = tempfile::tempdir().unwrap();
    program(&server, &folder, "pull squad")
        .assert()
        .success()
        .stdout(contains("validation-00000-of-00001.parquet"));
    let asked = server.log().len();
    program(&server, &folder, "pull squad")
        .env("HF_HUB_OFFLINE", "1")
        .assert()
        .success();
    assert_eq!(server.log().len(), asked, "offline asks nothing");
    // A sweep now takes this set, and says what is wrong with it.
    let recipe = Synthetic {
        vocabulary: Vocabulary::Bytes,
        n_ctx: 1024,
        ..Synthetic::new(Architecture::Llama)
    };
    recipe
        .build()
        .unwrap()
        .save(&folder.path().join("tiny.gguf"))
        .unwrap();
    program(
        &server,
        &folder,
        "sweep -m tiny.gguf --task squad --layers 1 --out x",
    )
    .assert()
    .code(1)
    .stderr(contains("validation-00000-of-00001.parquet"));
    program(&server, &folder, "pull cnn_dailymail")
        .env("HF_HUB_OFFLINE", "1")
        .assert()
        .code(1)
        .stderr(contains("HF_HUB_OFFLINE"));
}

#[test]
fn a_model_of_the_hub_runs() {
    let recipe = Synthetic {
        vocabulary: Vocabulary::Bytes,
        n_ctx: 256,
        ..Synthetic::new(Architecture::Llama)
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tiny.gguf");
    recipe.build().unwrap().save(&file).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    let server = Server::start(Repository::new(
        "someone/tiny-GGUF",
        &[("tiny-F32.gguf", &bytes), ("README.md", b"tiny")],
    ));
    let run = "try -hf someone/tiny-GGUF:F32 -p abcdefgh --layers 2";
    program(&server, &folder, run)
        .assert()
        .success()
        .stdout(contains("KL"));
    program(&server, &folder, run)
        .env("HF_HUB_OFFLINE", "1")
        .assert()
        .success();
    program(
        &server,
        &folder,
        "try -hf someone/tiny-GGUF:Q2_K -p ab --layers 2",
    )
    .assert()
    .code(1)
    .stderr(contains("F32"));
    program(&server, &folder, "try -p abc --layers 2")
        .assert()
        .code(2)
        .stderr(contains("--model"));
}
