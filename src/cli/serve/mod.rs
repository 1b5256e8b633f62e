//! `midlayer serve`: the arguments, the address, and the models behind it.

mod command;
mod map;
mod models;
mod python;
mod runs;
mod subject;

use std::fmt::Write;
use std::io::{ErrorKind, IsTerminal};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use rand::TryRng;
use rand::rngs::SysRng;

use super::Usage;
use super::args::ServeArgs;
use super::output::{print, say};
use crate::serve::Server;
use models::Models;

/// The port unless another is named.
const PORT: u16 = 7630;

pub fn run(args: ServeArgs) -> anyhow::Result<()> {
    if let Some(folder) = args.runs.as_ref().filter(|folder| !folder.is_dir()) {
        return Err(Usage(format!("{}: there is no such folder", folder.display())).into());
    }
    let server = bind(&args)?;
    let address = server.address().clone();
    print(&format!("{}\n", address.url()))?;
    if let Some(token) = &address.token {
        say(&format!(
            "others can connect, and need the token {token} (--host)"
        ));
    }
    if !args.no_open {
        open(&address.url());
    }
    let server = match &args.runs {
        Some(folder) => server.with_runs(runs::Runs::of(folder))?,
        None => server,
    };
    if args.model.model.is_none() && args.model.hf_repo.is_none() {
        say("no model is served, only runs (-m); Ctrl-C ends");
        return server.run_without();
    }
    server.run(move |stop, bell| Models::load(args, stop, bell))
}

/// Serves in a thread of its own until the process ends. Returns the address.
pub fn start(args: ServeArgs) -> anyhow::Result<SocketAddr> {
    let server = bind(&args)?;
    let socket = server.address().socket;
    let serve = move || server.run(move |stop, bell| Models::load(args, stop, bell));
    std::thread::Builder::new()
        .name("serve".into())
        .spawn(serve)?;
    Ok(socket)
}

fn bind(args: &ServeArgs) -> anyhow::Result<Server> {
    let socket = SocketAddr::new(args.host, args.port.unwrap_or(PORT));
    let bound = match Server::bind(socket, token) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && args.port.is_none() => {
            Server::bind(SocketAddr::new(args.host, 0), token)
        }
        bound => bound,
    };
    bound.map_err(|error| {
        anyhow::anyhow!("{socket} cannot be listened on: {error} (--host, --port)")
    })
}

/// 128 bits that nobody guesses.
fn token() -> String {
    let mut bytes = [0; 16];
    let drawn = SysRng.try_fill_bytes(&mut bytes);
    drawn.expect("the system has random numbers");
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes any text");
        text
    })
}

/// Opens the browser, on a desktop. Where there is none, the printed address has to do.
fn open(url: &str) {
    let desktop = cfg!(target_os = "macos")
        || ["DISPLAY", "WAYLAND_DISPLAY"]
            .iter()
            .any(|name| std::env::var_os(name).is_some());
    if !desktop || !std::io::stderr().is_terminal() {
        return;
    }
    let program = match cfg!(target_os = "macos") {
        true => "open",
        false => "xdg-open",
    };
    let quiet = Command::new(program)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Ok(mut child) = quiet {
        std::thread::spawn(move || child.wait());
    }
}
