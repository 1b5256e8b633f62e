//! `midlayer serve` from outside: what it answers, whom, and for how long.

#[path = "../common/mod.rs"]
mod common;

mod hostile;

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
