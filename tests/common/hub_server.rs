//! A server in this process that speaks as much of the hub's protocol as is needed to download:
//! a repository's listing, a file's metadata and content, the redirection to where large files
//! are, tokens; and that misbehaves on request.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

/// The commit that the main branch of all repositories is at.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub range: Option<(usize, Option<usize>)>,
    pub bearer: Option<String>,
}

impl Asked {
    /// Whether it asked for a file, not only for its metadata.
    pub fn content(&self) -> bool {
        self.range.is_some_and(|range| range != (0, Some(0)))
    }
}

/// One repository and how it misbehaves.
#[derive(Default)]
pub struct Repository {
    /// `user/repo`, with `datasets/` before it where it is one.
    pub at: &'static str,
    pub files: Vec<(String, Vec<u8>)>,
    /// Large files are elsewhere, and named by their SHA-256.
    pub redirects: bool,
    pub bearer: Option<&'static str>,
    /// The files of other commits, with the branches and tags that are at them.
    pub others: Vec<Version>,
    /// Whether a new commit is made after each file.
    pub moves: bool,
    /// What to do with the next requests for content.
    faults: Mutex<Vec<Fault>>,
    /// Where each answer that sent content began.
    sent: Arc<Mutex<Vec<usize>>>,
}

/// A commit, what it is called, and its files.
pub struct Version {
    pub commit: &'static str,
    pub names: Vec<&'static str>,
    pub files: Vec<(String, Vec<u8>)>,
}

#[derive(Clone, Copy)]
pub enum Fault {
    /// The connection ends after so many bytes.
    Cut(usize),
    /// One byte is wrong.
    Flip,
    /// The whole file, whatever was asked for.
    NoRange,
}

impl Repository {
    pub fn new(at: &'static str, files: &[(&str, &[u8])]) -> Self {
        let files = files.iter().map(|(n, b)| (n.to_string(), b.to_vec()));
        Self {
            at,
            files: files.collect(),
            redirects: true,
            ..Self::default()
        }
    }

    pub fn faults(self, mut faults: Vec<Fault>) -> Self {
        faults.reverse();
        *self.faults.lock().unwrap() = faults;
        self
    }

    fn etag(&self, bytes: &[u8]) -> String {
        let mut hash = sha256(bytes);
        if !self.redirects {
            hash.truncate(40);
        }
        hash
    }

    fn answer(&self, asked: &Asked, host: SocketAddr, to: &mut TcpStream) -> std::io::Result<()> {
        let plain = |status| format!("HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: ");
        let kind = if self.at.starts_with("datasets/") {
            ""
        } else {
            "models/"
        };
        if self.bearer.is_some() && asked.bearer.as_deref() != self.bearer {
            return write!(to, "{}0\r\n\r\n", plain("401 Unauthorized"));
        }
        let api = format!("/api/{kind}{}/revision/", self.at);
        let resolve = format!("/{}/resolve/", self.at);
        let others = self.others.iter().map(|v| (v.commit, &v.names, &v.files));
        let main = (COMMIT, &vec!["main"], &self.files);
        let mut revisions = std::iter::once(main).chain(others).flat_map(|version| {
            let names = version.1.iter().copied().chain([version.0]);
            names.map(move |name| (name, version.0, version.2))
        });
        if let Some(revision) = asked.path.strip_prefix(&api) {
            let Some((_, commit, files)) = revisions.find(|(name, ..)| *name == revision) else {
                return write!(to, "{}0\r\n\r\n", plain("404 Not Found"));
            };
            let names = files
                .iter()
                .map(|(n, _)| format!(r#"{{"rfilename":"{n}"}}"#));
            let names = names.collect::<Vec<_>>().join(",");
            let body = format!(r#"{{"sha":"{commit}","siblings":[{names}],"tags":[]}}"#);
            return write!(to, "{}{}\r\n\r\n{body}", plain("200 OK"), body.len());
        }
        let found = revisions.find_map(|(revision, commit, files)| {
            let name = [
                format!("{resolve}{revision}/"),
                format!("/elsewhere/{commit}/"),
            ]
            .iter()
            .find_map(|at| asked.path.strip_prefix(at))?;
            let at = files.iter().position(|(n, _)| n == name)?;
            Some((commit, at, &files[at]))
        });
        let Some((commit, at, (name, bytes))) = found else {
            return write!(to, "{}0\r\n\r\n", plain("404 Not Found"));
        };
        let etag = self.etag(bytes);
        let said = match self.moves {
            true => format!("{at}{}", &commit[1..]),
            false => commit.to_string(),
        };
        let head = format!("x-repo-commit: {said}\r\n");
        if self.redirects && asked.path.starts_with(&resolve) {
            let head = format!("{head}x-linked-etag: \"{etag}\"\r\netag: \"other\"\r\n");
            let name = utf8_percent_encode(name, NON_ALPHANUMERIC);
            let location = format!("location: http://{host}/elsewhere/{commit}/{name}\r\n");
            return write!(to, "{}0\r\n{head}{location}\r\n", plain("302 Found"));
        }
        self.send(bytes, &format!("{head}etag: \"{etag}\"\r\n"), asked, to)
    }

    fn send(
        &self,
        bytes: &[u8],
        head: &str,
        asked: &Asked,
        to: &mut TcpStream,
    ) -> std::io::Result<()> {
        let fault = if asked.content() {
            self.faults.lock().unwrap().pop()
        } else {
            None
        };
        let (first, last) = match (asked.range, fault) {
            (Some(_), Some(Fault::NoRange)) | (None, _) => (0, None),
            (Some(range), _) => range,
        };
        if first >= bytes.len() {
            return write!(
                to,
                "HTTP/1.1 416 Range Not Satisfiable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
            );
        }
        if asked.content() {
            self.sent.lock().unwrap().push(first);
        }
        let last = last.unwrap_or(bytes.len() - 1).min(bytes.len() - 1);
        let mut body = bytes[first..=last].to_vec();
        write!(
            to,
            "HTTP/1.1 206 Partial Content\r\nConnection: close\r\nAccept-Ranges: bytes\r\n\
             Content-Length: {}\r\nContent-Range: bytes {first}-{last}/{}\r\n{head}\r\n",
            body.len(),
            bytes.len(),
        )?;
        match fault {
            Some(Fault::Cut(n)) => body.truncate(n),
            Some(Fault::Flip) => body[0] ^= 1,
            _ => {}
        }
        to.write_all(&body)
    }
}

/// A thread that answers at most 100 requests.
pub struct Server {
    pub at: SocketAddr,
    stop: Arc<AtomicBool>,
    log: Arc<Mutex<Vec<Asked>>>,
    sent: Arc<Mutex<Vec<usize>>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(repository: Repository) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let log = Arc::new(Mutex::new(Vec::new()));
        let sent = repository.sent.clone();
        let (stopped, written) = (stop.clone(), log.clone());
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming().take(100) {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let mut stream = stream.unwrap();
                let asked = read(&stream);
                written.lock().unwrap().push(asked.clone());
                // A client that has gone away is not the server's trouble.
                let _ = repository.answer(&asked, at, &mut stream);
            }
        });
        Self {
            at,
            stop,
            log,
            sent,
            thread: Some(thread),
        }
    }

    pub fn log(&self) -> Vec<Asked> {
        self.log.lock().unwrap().clone()
    }

    /// Where each answer that sent content began.
    pub fn sent(&self) -> Vec<usize> {
        self.sent.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.at);
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || std::thread::panicking());
    }
}

fn read(stream: &TcpStream) -> Asked {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let first = lines.next().unwrap_or_default();
    let mut asked = Asked {
        // What is after the next space is the protocol, so a path with spaces is not understood.
        path: percent_decode_str(first.split(' ').nth(1).unwrap_or_default())
            .decode_utf8_lossy()
            .into_owned(),
        range: None,
        bearer: None,
    };
    for line in lines.take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ").unwrap();
        match &*name.to_lowercase() {
            "range" => {
                let (first, last) = value
                    .strip_prefix("bytes=")
                    .unwrap()
                    .split_once('-')
                    .unwrap();
                asked.range = Some((first.parse().unwrap(), last.parse().ok()));
            }
            "authorization" => asked.bearer = value.strip_prefix("Bearer ").map(String::from),
            _ => {}
        }
    }
    asked
}

/// In hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|b| format!("{b:02x}")).collect()
}
