//! A model's layers on other machines, through llama.cpp's RPC backend: two servers on this one.
//!
//! Only in builds with the feature `rpc`: `make test-rpc`.
#![cfg(feature = "rpc")]

mod common;

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::place::{Place, one_line_error};
use midlayer::store::{ResultRow, StoredRun};
use predicates::str::contains;

/// A server, until it is dropped.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(place: &Place) -> Self {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let mut command = place.command(&format!("rpc-server -t 1 --port {}", address.port()));
        let quiet = command.stdout(Stdio::null()).stderr(Stdio::null());
        let process = quiet.spawn().unwrap();
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < Duration::from_secs(60), "no server");
            std::thread::yield_now();
        }
        let address = address.to_string();
        Self { process, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn rows(place: &Place, run: &str) -> Vec<ResultRow> {
    let run = StoredRun::read(&place.path(run)).unwrap();
    run.variants.into_iter().flat_map(|v| v.rows).collect()
}

#[test]
fn layers_on_two_servers_give_the_numbers_of_one_machine() {
    let place = Place::new();
    let servers = [Server::start(&place), Server::start(&place)];
    let addresses = servers.each_ref().map(|server| &*server.address).join(",");
    let output = place
        .run(&format!("-v selftest -m tiny.gguf --rpc {addresses}"))
        .success()
        .stdout(contains("nothing is wrong"));
    let log = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    for n in [0, 1] {
        let layers = format!("assigned to device RPC{n}");
        assert!(log.contains(&layers), "no layer on server {n}");
    }
    let sweep = "sweep -m tiny.gguf -t 1 --task math --shots 0 --limit 20 \
                 --manipulate random,freeze --layers 0-3 --no-selftest";
    place.run(&format!("{sweep} --out here")).success();
    place
        .run(&format!("{sweep} --out there --rpc {addresses}"))
        .success();
    assert_eq!(rows(&place, "there"), rows(&place, "here"));
    let machine = |run: &str| {
        let run = StoredRun::read(&place.path(run)).unwrap();
        run.machines[0].0.backend.clone()
    };
    assert_eq!(machine("here"), "CPU");
    for server in &servers {
        assert!(machine("there").contains(&server.address));
    }
    // Nothing of the model is put on a server whose device is not among those named.
    place
        .run(&format!(
            "-v try -m tiny.gguf -p a --device RPC1 --rpc {addresses}"
        ))
        .success()
        .stderr(contains("assigned to device RPC1"))
        .stderr(predicates::prelude::PredicateBooleanExt::not(contains(
            "assigned to device RPC0",
        )));
}

#[test]
fn a_server_that_does_not_answer_is_an_error() {
    let place = Place::new();
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    one_line_error(1, &format!("{address}: Connection refused"))(
        place.run(&format!("try -m tiny.gguf -p a --rpc {address}")),
    );
}
