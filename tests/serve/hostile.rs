//! Requests that are hostile, slow, given up or too many at once.

use std::io::{BufRead, Read, Write};
use std::net::{Shutdown, TcpStream};

use serde_json::{Value, json};

use crate::common::served::Served;

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
