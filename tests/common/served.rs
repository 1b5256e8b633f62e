//! `midlayer serve` as a program outside sees it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::place::{Place, json_lines};

pub const EXACT: &str = "-t 1 -fa off -ctk f32 -ctv f32";

/// A running server.
pub struct Served {
    pub place: Place,
    pub child: Child,
    pub port: u16,
    pub url: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came back: status, head and body.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn lines(&self) -> Vec<Value> {
        let lines = self.body.lines();
        lines.map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    pub fn code(&self) -> String {
        self.lines()[0]["code"].as_str().unwrap().to_string()
    }
}

impl Served {
    pub fn new(arguments: &str) -> Self {
        Self::of(Place::new(), &format!("-m tiny.gguf {EXACT} {arguments}"))
    }

    /// A server with these arguments.
    pub fn of(place: Place, arguments: &str) -> Self {
        let line = format!("serve --no-open --port 0 {arguments}");
        let mut command = place.command(&line);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut url = String::new();
        let stdout = child.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut url).unwrap();
        let address = url.trim().split("//").nth(1).unwrap();
        let port = address.split('/').next().unwrap().rsplit(':').next();
        Self {
            port: port.unwrap().parse().unwrap(),
            url: url.trim().to_string(),
            place,
            child,
        }
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        // Nothing here takes as long; a test that hangs would say less.
        let long = Some(Duration::from_secs(60));
        stream.set_read_timeout(long).unwrap();
        stream.set_write_timeout(long).unwrap();
        stream
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Sends bytes as they are and reads to the end.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.connect();
        // Who is turned away early need not have read everything.
        let _ = stream.write_all(bytes);
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        answer(&all)
    }

    pub fn request(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let length = body.len();
        self.raw(
            format!(
                "{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
            )
            .as_bytes(),
        )
    }

    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, &format!("Host: {}\r\n", self.host()), "")
    }

    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.request("POST", path, &self.headers(), body)
    }

    pub fn headers(&self) -> String {
        format!(
            "Host: {}\r\nContent-Type: application/json\r\n",
            self.host()
        )
    }

    /// What `/v1/model` says once no model is loading any more.
    pub fn loaded(&self) -> Value {
        loop {
            let about = self.get("/v1/model").lines().remove(0);
            let models = about["models"].as_array();
            if models.is_some_and(|all| all.iter().all(|one| one["state"] != "loading")) {
                return about;
            }
        }
    }

    /// What the program prints as JSON for a command that an answer names.
    pub fn printed(&self, command: &Value) -> Vec<Value> {
        let words = shlex::split(command.as_str().unwrap()).unwrap();
        assert_eq!(words[0], "midlayer");
        let mut program = self.place.command("");
        program.args(&words[1..]).args(["-o", "json"]);
        json_lines(assert_cmd::Command::from_std(program).assert())
    }

    pub fn tries(&self, ask: &Value) -> Answer {
        self.post("/v1/try", &ask.to_string())
    }

    /// Begins a request and returns its stream once the first line has come.
    pub fn begin(&self, ask: &Value) -> BufReader<TcpStream> {
        let mut stream = self.connect();
        let (headers, body) = (self.headers(), ask.to_string());
        let length = body.len();
        let head = format!("POST /v1/try HTTP/1.1\r\nContent-Length: {length}\r\n{headers}\r\n");
        stream.write_all((head + &body).as_bytes()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while !line.contains("meta") {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0, "no first line");
        }
        reader
    }
}

/// Takes an answer apart; chunks are put together.
fn answer(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok());
    let mut body = body.to_string();
    if head.to_lowercase().contains("transfer-encoding: chunked") {
        let (mut whole, mut rest) = (Vec::new(), body.as_bytes());
        while let Some(end) = rest.windows(2).position(|pair| pair == b"\r\n") {
            let size = std::str::from_utf8(&rest[..end]).unwrap();
            let size = usize::from_str_radix(size, 16).unwrap();
            whole.extend(&rest[end + 2..end + 2 + size]);
            rest = &rest[end + 4 + size..];
        }
        body = String::from_utf8(whole).unwrap();
    }
    Answer {
        status: status.unwrap_or(0),
        head: head.to_lowercase(),
        body,
    }
}

/// The lines of this type without it.
pub fn of_type(lines: &[Value], kind: &str) -> Vec<Value> {
    let lines = lines.iter().filter(|line| line["type"] == kind).cloned();
    lines
        .map(|mut line| {
            line.as_object_mut().unwrap().remove("type");
            line
        })
        .collect()
}
