//! `midlayer serve` from outside: what it answers, whom, and for how long.

mod common;

use std::io::{BufRead, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Command;

use common::place::{PROGRAM, Place, json_lines};
use common::served::{EXACT, Served, of_type};
use serde_json::{Value, json};

#[test]
fn numbers_are_those_of_try() {
    let served = Served::new("");
    let asks = [
        json!({"prompt": "it's abcdefgh"}),
        json!({"prompt": "-a\\b\nc", "manipulate": ["random", "scale:factor=0.5+freeze@2"],
               "seed": [3, 4], "answer": [" x", "-y"], "tokens": "skip:1"}),
        json!({"prompt": "@abcdefgh", "manipulate": ["inject"], "inject_from": "-", "inject_at": "c",
               "layers": "1-2", "generate": 3}),
        json!({"prompt": "abcdefgh", "manipulate": ["zero"], "site": "v", "extent": "from"}),
    ];
    for ask in asks {
        let answer = served.tries(&ask);
        assert_eq!(answer.status, 200, "{}", answer.body);
        let lines = answer.lines();
        let command = lines[0]["command"].as_str().unwrap();
        let words = shlex::split(command).unwrap();
        assert_eq!(words[0], "midlayer");
        let mut program = served.place.command("");
        program.args(&words[1..]).args(["-o", "json"]);
        let printed = json_lines(assert_cmd::Command::from_std(program).assert());
        // They come as they are there; try prints them in the order of its runs.
        let sorted = |mut cells: Vec<Value>| {
            let of = |c: &Value| format!("{} {} {}", c["manipulation"], c["layer"], c["seed"]);
            cells.sort_by_key(of);
            cells
        };
        let cells = of_type(&lines, "cell");
        assert_eq!(cells[0], printed[0]);
        assert_eq!(sorted(cells), sorted(printed.clone()), "{command}");
        assert_eq!(lines[0]["runs"], printed.len() - 1);
        assert_eq!(lines.last().unwrap()["type"], "done");
        assert!(of_type(&lines, "noise")[0]["kl"].as_f64().unwrap() >= 0.0);
    }
    let answer = served.post("/v1/tokens", r#"{"prompt": "abc", "tokens": "skip:1"}"#);
    let printed = json_lines(served.place.run(&format!(
        "tokens -m tiny.gguf {EXACT} -p abc --tokens skip:1 -o json"
    )));
    assert_eq!(of_type(&answer.lines(), "token"), printed);
}

#[test]
fn texts_are_continued_and_maps_drawn() {
    let served = Served::new("");
    let ask = json!({"prompt": "abcdefgh", "manipulate": ["zero"], "layers": "2", "generate": 6});
    let lines = served.post("/v1/generate", &ask.to_string()).lines();
    let printed = served.tries(&ask).lines();
    let texts = of_type(&lines, "text");
    for (run, cell) in [("clean", 0), ("zero at 2", 1)] {
        let own: Vec<&Value> = texts.iter().filter(|t| t["run"] == run).collect();
        let ids: Vec<&Value> = own.iter().map(|t| &t["id"]).collect();
        let generated = &of_type(&printed, "cell")[cell]["generated"]["tokens"];
        let expected = generated.as_array().unwrap().iter().map(|t| &t["id"]);
        assert_eq!(ids, expected.collect::<Vec<_>>(), "{run}");
    }
    // The first that differs, and no other.
    let of = |run: &str| -> Vec<Value> {
        let own = texts.iter().filter(|t| t["run"] == run);
        own.map(|t| t["id"].clone()).collect()
    };
    let (clean, other) = (of("clean"), of("zero at 2"));
    let apart = clean.iter().zip(&other).position(|(a, b)| a != b);
    let marked = texts.iter().filter(|t| t["differs"] == true);
    let marked: Vec<u64> = marked.map(|t| t["step"].as_u64().unwrap()).collect();
    let expected: Vec<u64> = apart.iter().map(|n| *n as u64).collect();
    assert_eq!(marked, expected);
    let all = json!({"prompt": "abcdefgh", "manipulate": ["zero"]}).to_string();
    assert_eq!(served.post("/v1/generate", &all).status, 400);
    for ask in [
        json!({"prompt": "abcd", "lens": true}),
        json!({"prompt": "abcd", "manipulate": "zero", "answer": "x"}),
    ] {
        let lines = served.post("/v1/map", &ask.to_string()).lines();
        let words = shlex::split(lines[0]["command"].as_str().unwrap()).unwrap();
        let mut program = served.place.command("");
        program.args(&words[1..]).args(["-o", "json"]);
        let printed = json_lines(assert_cmd::Command::from_std(program).assert());
        assert_eq!(of_type(&lines, "state"), printed);
        assert!(!printed.is_empty());
    }
    let described = served.get("/v1/openapi.json").lines().remove(0);
    for (path, _) in described["paths"].as_object().unwrap() {
        let (get, post) = (served.get(path).status, served.post(path, "{}").status);
        // Runs are served elsewhere.
        let of_runs = path.starts_with("/v1/runs") && (get, post) == (404, 405);
        assert!(
            get == 200 || post == 400 || of_runs,
            "{path}: {get}, {post}"
        );
    }
}

#[test]
fn what_is_wrong_is_said() {
    let served = Served::new("");
    let about = loop {
        let about = served.get("/v1/model").lines().remove(0);
        if about["state"] == "ready" {
            break about;
        }
        // Loading is answered, not waited for: a request is.
        assert_eq!(served.post("/v1/tokens", r#"{"prompt": "a"}"#).status, 200);
    };
    assert_eq!(about["layers"], 4);
    assert_eq!(about["manipulations"][0]["name"], "freeze");
    let wrong = [
        (json!({"prompt": "abc", "manipulate": ["melt"]}), "usage"),
        (json!({"prompt": "abc", "layers": "9"}), "usage"),
        (json!({"prompt": "abc", "manipulate": ["inject"]}), "usage"),
        (json!({"prompt": "abc", "manipulate": ["add"]}), "usage"),
        (json!({"prompt": "", "manipulate": ["freeze"]}), "usage"),
        (json!({"prompt": "abc", "generate": 100_000}), "usage"),
        (json!({"prompt": "a".repeat(3000)}), "failed"),
        (json!({"prompt": "a".repeat(20_000)}), "too-much"),
        (json!({"prompt": "a\0"}), "too-much"),
        (
            json!({"prompt": "abc", "seed": (0..99).collect::<Vec<_>>()}),
            "too-much",
        ),
        (json!({"prompt": "abc", "direction": "/etc/passwd"}), "json"),
        (json!({"prompt": 3}), "json"),
        (json!([]), "json"),
    ];
    for (ask, code) in wrong {
        let answer = served.tries(&ask);
        assert!(
            answer.status >= 400 || code == "failed",
            "{ask}: {}",
            answer.body
        );
        let last = answer.lines().pop().unwrap();
        assert_eq!(last["code"], code, "{ask}: {}", answer.body);
    }
    let large = "x".repeat(70_000);
    assert_eq!(served.post("/v1/try", &large).status, 413);
    for (method, path, status) in [
        ("GET", "/v1/try", 405),
        ("DELETE", "/", 405),
        ("GET", "/v1/nothing", 404),
        ("GET", "/../Cargo.toml", 404),
        ("GET", "/tiny.gguf", 404),
        ("GET", "/%2e%2e/tiny.gguf", 404),
    ] {
        let headers = served.headers();
        let answer = served.request(method, path, &headers, "");
        assert_eq!(answer.status, status, "{method} {path}");
    }
    // A prompt is never a file's name.
    let answer = served.post("/v1/tokens", r#"{"prompt": "@tiny.gguf"}"#);
    let texts: Vec<Value> = of_type(&answer.lines(), "token");
    let text: String = texts.iter().map(|t| t["text"].as_str().unwrap()).collect();
    assert!(text.ends_with("@tiny.gguf"), "{text}");
}

#[test]
fn other_sites_are_turned_away() {
    let served = Served::new("");
    let host = served.host();
    let ask = r#"{"prompt": "abc"}"#;
    let json = "Content-Type: application/json\r\n";
    let cases = [
        (format!("Host: {host}\r\n{json}"), 200),
        (format!("Host: localhost:{}\r\n{json}", served.port), 200),
        (
            format!("Host: {host}\r\n{json}Origin: http://{host}\r\n"),
            200,
        ),
        (format!("Host: evil.example\r\n{json}"), 403),
        (json.to_string(), 403),
        (
            format!("Host: {host}\r\n{json}Origin: http://evil.example\r\n"),
            403,
        ),
        (format!("Host: {host}\r\n{json}Origin: null\r\n"), 403),
        (
            format!("Host: {host}\r\n{json}Sec-Fetch-Site: cross-site\r\n"),
            403,
        ),
        (format!("Host: {host}\r\nContent-Type: text/plain\r\n"), 415),
    ];
    for (headers, status) in cases {
        let answer = served.request("POST", "/v1/tokens", &headers, ask);
        assert_eq!(answer.status, status, "{headers}");
    }
    let page = served.get("/");
    assert_eq!(page.status, 200);
    let policy = page
        .head
        .lines()
        .find(|l| l.starts_with("content-security"));
    let policy = policy.unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"));
    assert!(!policy.contains("http"), "{policy}");
}

#[test]
fn others_need_the_token() {
    let served = Served::new("--host 0.0.0.0");
    let (_, token) = served.url.split_once("#token=").unwrap();
    assert_eq!(token.len(), 32);
    let ask = r#"{"prompt": "abc"}"#;
    let with = |token: &str| {
        let headers = format!("{}Authorization: Bearer {token}\r\n", served.headers());
        served.request("POST", "/v1/tokens", &headers, ask).status
    };
    assert_eq!(served.post("/v1/tokens", ask).status, 401);
    assert_eq!(served.get("/v1/model").status, 401);
    assert_eq!(with("wrong"), 401);
    assert_eq!(with(token), 200);
    assert_eq!(served.get("/").status, 200, "the page itself is no secret");
}

/// A request that takes far longer than a test.
fn long(page: &str) -> Value {
    let stacks: Vec<String> = (0..16).map(|_| "random".into()).collect::<Vec<String>>();
    json!({"prompt": "ab".repeat(380), "manipulate": stacks, "generate": 200, "page": page})
}

#[test]
fn newer_requests_and_absent_clients_free_the_engine() {
    let served = Served::new("");
    let short = json!({"prompt": "abc", "page": "one"});
    // The same page asks for something else.
    let mut old = served.begin(&long("one"));
    assert_eq!(served.tries(&short).status, 200);
    let mut rest = String::new();
    while !rest.contains("error") {
        rest.clear();
        assert!(old.read_line(&mut rest).unwrap() > 0, "no end was told");
    }
    assert!(rest.contains("superseded"), "{rest}");
    // A client goes away.
    let gone = served.begin(&long("two"));
    gone.get_ref().shutdown(Shutdown::Both).unwrap();
    drop(gone);
    assert_eq!(served.tries(&short).status, 200);
    // One that waits is ended, too, before it began.
    let busy = served.begin(&long("three"));
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| served.tries(&json!({"prompt": "abc", "page": "four"})));
        // Asked until it has taken the first one's place.
        let mut statuses = Vec::new();
        while !waits.is_finished() {
            let headers = served.headers();
            let mut stream = served.connect();
            let body = r#"{"prompt": "abc", "page": "four"}"#;
            let length = body.len();
            let head =
                format!("POST /v1/try HTTP/1.1\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
            stream.write_all(head.as_bytes()).unwrap();
            statuses.push(());
        }
        let ended = waits.join().unwrap();
        assert_eq!((ended.status, ended.code().as_str()), (409, "superseded"));
    });
    drop(busy);
    assert_eq!(served.tries(&short).status, 200);
}

#[test]
fn too_many_are_told_to_come_again() {
    let served = Served::new("");
    let busy = served.begin(&long("busy"));
    // Eight wait; they are not answered while the first is.
    let waiting: Vec<TcpStream> = (0..20)
        .map(|n| {
            let mut stream = served.connect();
            let body = json!({"prompt": "abc", "page": format!("{n}")}).to_string();
            let (headers, length) = (served.headers(), body.len());
            let head =
                format!("POST /v1/try HTTP/1.1\r\nContent-Length: {length}\r\n{headers}\r\n{body}");
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let answer = loop {
        // Those above may not have arrived.
        let answer = served.tries(&json!({"prompt": "abc", "page": "last"}));
        if answer.status == 429 {
            break answer;
        }
        assert_eq!(answer.status, 200);
    };
    assert!(answer.head.contains("retry-after: 1"), "{}", answer.head);
    drop((busy, waiting));
    while served.tries(&json!({"prompt": "abc"})).status == 429 {}
}

/// Numbers from a seed, the same on every machine.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1);
        (self.0 >> 33) as usize % n
    }
}

#[test]
fn hostile_requests_are_survived() {
    let served = Served::new("");
    let mut numbers = Numbers(1);
    let pieces: [&[u8]; 24] = [
        b"GET ",
        b"POST ",
        b"/v1/try",
        b"/v1/tokens",
        b"/",
        b" HTTP/1.1\r\n",
        b" HTTP/9\r\n",
        b"Host: 127.0.0.1\r\n",
        b"Content-Length: 10\r\n",
        b"Content-Length: 99999999999999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Type: application/json\r\n",
        b"\r\n",
        b"{\"prompt\":",
        b"\"\\ud800\"",
        b"\"abc\"",
        b"}",
        b"[[[[[[[[",
        b"ffffffff\r\n",
        b"\0",
        b"\xff\xfe",
        b"-1\r\n",
        b",\"layers\":\"0-4294967295+1\"",
        b"Expect: 100-continue\r\n",
    ];
    for _ in 0..400 {
        let mut bytes = Vec::new();
        if numbers.below(2) == 0 {
            bytes.extend(b"POST /v1/try HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n");
        }
        for _ in 0..numbers.below(14) {
            bytes.extend(pieces[numbers.below(pieces.len())]);
        }
        let mut stream = served.connect();
        let _ = stream.write_all(&bytes);
        // Half of them hold the line for a while, the others end what they say.
        if numbers.below(2) == 0 {
            let _ = stream.shutdown(Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    // Bodies that are JSON, and ask for what there is not.
    let words = [
        "abc",
        "freeze",
        "inject@9",
        "0-3",
        "text:",
        "#2:b",
        "skip:99999999999",
        "\u{202e}",
        "a+b",
        "random:",
        "all",
        "-",
    ];
    let keys = [
        "manipulate",
        "layers",
        "tokens",
        "extent",
        "site",
        "inject_from",
        "inject_at",
        "answer",
        "seed",
        "chat",
    ];
    for _ in 0..300 {
        let mut ask = json!({"prompt": words[numbers.below(words.len())]});
        for _ in 0..numbers.below(5) {
            let word = words[numbers.below(words.len())];
            let value = match numbers.below(5) {
                0 => json!([word]),
                1 => json!(numbers.below(9)),
                2 => json!([numbers.below(9)]),
                _ => json!(word),
            };
            ask[keys[numbers.below(keys.len())]] = value;
        }
        let answer = served.tries(&ask);
        assert!(
            [200, 400].contains(&answer.status),
            "{ask}: {} {}",
            answer.status,
            answer.body
        );
        let last = answer.lines().pop().unwrap();
        assert!(
            ["done", "error"].contains(&last["type"].as_str().unwrap()),
            "{ask}"
        );
    }
    assert_eq!(served.tries(&json!({"prompt": "abc"})).status, 200);
}

#[test]
fn many_at_once_and_slow_ones() {
    let served = Served::new("");
    // Heads that never end, and bodies that do not come.
    let half: Vec<TcpStream> = (0..20)
        .map(|n| {
            let mut stream = served.connect();
            let head = match n % 2 {
                0 => "POST /v1/try HT".to_string(),
                _ => format!(
                    "POST /v1/try HTTP/1.1\r\n{}Content-Length: 9\r\n\r\n{{",
                    served.headers()
                ),
            };
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let ask = |n: usize| json!({"prompt": "abcd", "page": n.to_string()});
        let served = &served;
        let clients: Vec<_> = (0..20)
            .map(|n| scope.spawn(move || served.tries(&ask(n)).status))
            .collect();
        clients.into_iter().map(|c| c.join().unwrap()).collect()
    });
    assert!(
        statuses.iter().all(|s| [200, 429].contains(s)),
        "{statuses:?}"
    );
    assert!(
        statuses.iter().filter(|s| **s == 200).count() >= 8,
        "{statuses:?}"
    );
    drop(half);
}

#[test]
fn what_cannot_be_served_is_said() {
    let place = Place::new();
    let output = place
        .command("serve -m nothing.gguf --no-open --port 0")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing.gguf"));
    let served = Served::new("");
    let line = format!("serve -m tiny.gguf --no-open --port {}", served.port);
    let output = Command::new(PROGRAM)
        .args(line.split(' '))
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("--port"),
        "{output:?}"
    );
}
