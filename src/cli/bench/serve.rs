//! `midlayer bench serve`: what the page adds to the engine, and how long somebody waits.

use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::time::Instant;

use serde_json::json;

use super::super::args::{BenchServeArgs, Format, OutsideArgs, ServeArgs};
use super::super::output::{print, spinner};
use super::super::serve::start;
use super::super::setup::load;
use super::super::try_prompt::engine;
use super::{Line, Sense, cells, median, timed};
use crate::engine::{Engine, Request};
use crate::intervention::Kind;

const PAGE: &str = "the page's files, to 0.2 s";
const CLEAN: &str = "clean answer, to 0.3 s";
const ALL: &str = "freeze at all layers, to 0.6 s";
const ALONE: &str = "freeze at all layers, to the engine alone";
const NAMES: [&str; 4] = [PAGE, CLEAN, ALL, ALONE];

/// What a text is made of until it has so many tokens.
const WORDS: &str = "The capital of France is Paris and the capital of Spain is Madrid , while";

pub fn run(args: &BenchServeArgs) -> anyhow::Result<()> {
    args.only.check(&NAMES)?;
    let loaded = load(&args.model)?;
    let mut alone = engine(&loaded)?;
    let text = text(&alone, args.tokens as usize)?;
    let prompt = alone.prompt(&text)?;
    let freeze = Kind::ALL[0];
    let layers = freeze.first_layer()..loaded.model.n_layer();
    let requests: Vec<Request> = cells(&prompt.tokens, freeze, layers);
    let address = start(ServeArgs {
        runs: None,
        model: args.model.clone(),
        cache_type: Vec::new(),
        outside: OutsideArgs::default(),
        host: IpAddr::V4(Ipv4Addr::LOCALHOST),
        port: Some(0),
        no_open: true,
    })?;
    let client = Client(address);
    let ask = json!({"prompt": text, "manipulate": [freeze.name()]}).to_string();
    if args.output == Format::Text {
        let tokens = prompt.tokens.len();
        print(&format!(
            "{tokens} tokens, {} runs, seconds, median of {} rounds in turns\n{}",
            requests.len(),
            args.rounds,
            Line::HEAD
        ))?;
    }
    let waiting = spinner(ALONE.into());
    let (mut page, mut clean, mut all, mut engines) = (vec![], vec![], vec![], vec![]);
    for round in 0..=args.rounds {
        let files = client.files()?;
        let answered = client.answered(&ask)?;
        let engine = timed(&mut alone, &requests)?;
        // The first round waits for the model, and warms caches up.
        if round > 0 {
            page.push(files);
            clean.push(answered.0);
            all.push(answered.1);
            engines.push(engine);
        }
    }
    waiting.finish_and_clear();
    let all = median(&mut all);
    let lines = [
        (PAGE, (median(&mut page), 0.2), 1.0),
        (CLEAN, (median(&mut clean), 0.3), 1.0),
        (ALL, (all, 0.6), 1.0),
        (ALONE, (all, median(&mut engines)), 1.1),
    ];
    for (name, seconds, target) in lines {
        if args.only.wants(name) {
            let line = Line {
                name: name.into(),
                seconds,
                sense: Sense::AtMost,
                target: Some(target),
            };
            line.show(args.output)?;
        }
    }
    Ok(())
}

/// A text of so many tokens, or of as few more as words allow.
fn text(engine: &dyn Engine, tokens: usize) -> anyhow::Result<String> {
    let mut text = String::new();
    for word in WORDS.split(' ').cycle() {
        text.push_str(if text.is_empty() { "" } else { " " });
        text.push_str(word);
        if engine.prompt(&text)?.tokens.len() >= tokens {
            break;
        }
    }
    Ok(text)
}

/// Asks as a browser does, each time on a connection of its own.
struct Client(SocketAddr);

impl Client {
    fn request(&self, head: &str, body: &str) -> anyhow::Result<BufReader<TcpStream>> {
        let mut stream = TcpStream::connect(self.0)?;
        let (host, length) = (self.0, body.len());
        let text = format!(
            "{head} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        stream.write_all(text.as_bytes())?;
        Ok(BufReader::new(stream))
    }

    /// Seconds until all files of the page are there.
    fn files(&self) -> anyhow::Result<f64> {
        let start = Instant::now();
        for path in crate::serve::FILES {
            let mut answer = self.request(&format!("GET {path}"), "")?;
            std::io::copy(&mut answer, &mut std::io::sink())?;
        }
        Ok(start.elapsed().as_secs_f64())
    }

    /// Seconds until the clean answer, and until the last layer.
    fn answered(&self, ask: &str) -> anyhow::Result<(f64, f64)> {
        let start = Instant::now();
        let answer = self.request("POST /v1/try", ask)?;
        let mut times = None;
        for line in answer.lines() {
            let line = line?;
            let now = start.elapsed().as_secs_f64();
            if line.contains(r#""type":"cell""#) {
                times = Some((times.map_or(now, |(clean, _)| clean), now));
            }
            if line.contains(r#""type":"error""#) {
                anyhow::bail!("the server answers: {line}");
            }
        }
        times.ok_or_else(|| anyhow::anyhow!("the server answered nothing"))
    }
}
