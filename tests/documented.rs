//! The commands of the documentation do what they say, on a tiny model in place of theirs.

mod common;

use std::fs;
use std::path::Path;

use common::place::Place;

/// The commands in a page's blocks of code, as words. What a shell does with them ends a command.
fn commands(page: &str) -> Vec<Vec<String>> {
    let blocks = page.split("```").skip(1).step_by(2);
    let blocks: Vec<String> = blocks.map(|block| block.replace("\\\n", " ")).collect();
    let lines = blocks.iter().flat_map(|block| block.lines());
    let commands = lines.filter_map(|line| {
        let line = line.trim();
        let line = line
            .strip_prefix("$ ")
            .unwrap_or(line)
            .strip_prefix("midlayer ")?;
        let words = shlex::split(line).expect("a shell reads it");
        let ends = |word: &String| [">", "|", "&&", "2>", ";", "&"].contains(&word.as_str());
        Some(words.into_iter().take_while(|word| !ends(word)).collect())
    });
    commands.collect()
}

/// What is not run here: it is about other programs, other devices or all architectures, or does
/// not end by itself. Each of these has a test of its own.
fn is_elsewhere(words: &[String]) -> bool {
    let has = |word: &str| words.iter().any(|own| own == word);
    let parts = ["submit", "watch", "merge"].contains(&&*words[0]) || has("--shard");
    parts
        || has("--missing")
        || has("attach")
        || ["serve", "rpc-server"].contains(&&*words[0])
        || has("--rpc")
        || has("--backends")
        || has("--architectures")
}

/// The same command for a tiny model and a few items of the samples.
fn smaller(words: &[String]) -> Vec<String> {
    let mut smaller = vec![words[0].clone()];
    // Articles are long where a token is a byte.
    let mut short = vec!["--task", "capitals,math"];
    let mut rest = words[1..].iter();
    while let Some(word) = rest.next() {
        let mut put = |value: &str| smaller.extend([word.clone(), value.to_string()]);
        match word.as_str() {
            "-m" => {
                let models = rest.next().expect("a model");
                put(if models.contains(',') {
                    "tiny.gguf,other.gguf"
                } else {
                    "tiny.gguf"
                });
            }
            "--layers" => {
                let one = rest.next().expect("layers").parse::<u32>().is_ok();
                put(if one { "2" } else { "1-3" });
            }
            "--against" => {
                rest.next();
                put("other.gguf");
            }
            // There are four layers of four heads.
            "--attention" => {
                rest.next();
                put("1:2");
            }
            "--site" => {
                let site = rest.next().expect("a site");
                put(if site.starts_with("heads:") {
                    "heads:1,3"
                } else {
                    site
                });
            }
            "--shape" => {
                rest.next();
                put("tiny");
            }
            "--limit" | "-c" | "--data" | "--shots" => {
                rest.next();
            }
            "--task" => {
                let tasks = rest.next().expect("tasks");
                if words[0] == "map" {
                    put("capitals");
                    smaller.extend(["--limit", "2", "--shots", "1"].map(str::to_string));
                } else if tasks.contains('=') {
                    short.clear();
                    put(tasks);
                }
            }
            // A token is a byte, and a lens speaks of one.
            "--answer" if words[0] == "map" => {
                rest.next();
                put("P");
            }
            chat if chat.starts_with("--chat") => {}
            _ => smaller.push(word.clone()),
        }
    }
    if words[0] == "sweep" {
        short.extend(["--limit", "3", "--shots", "1", "-c", "1024"]);
        smaller.extend(short.into_iter().map(str::to_string));
    }
    smaller
}

fn pages() -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap();
    let mut pages: Vec<_> = docs.map(|entry| entry.unwrap().path()).collect();
    pages.retain(|path| path.extension().is_some_and(|e| e == "md"));
    pages.extend(["README.md", "examples/README.md"].map(|page| root.join(page)));
    pages.sort();
    pages
        .iter()
        .map(|page| fs::read_to_string(page).unwrap())
        .collect()
}

#[test]
fn commands_of_the_documentation_run() {
    let place = Place::new();
    fs::copy(place.model(), place.path("other.gguf")).unwrap();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    fs::create_dir(place.path("examples")).unwrap();
    for file in fs::read_dir(&examples).unwrap() {
        let file = file.unwrap();
        if file.path().is_file() {
            fs::copy(file.path(), place.path("examples").join(file.file_name())).unwrap();
        }
    }
    fs::copy(examples.join("antonyms.jsonl"), place.path("mine.jsonl")).unwrap();
    let mut all: Vec<Vec<String>> = pages().iter().flat_map(|page| commands(page)).collect();
    all.sort();
    all.dedup();
    for (name, texts) in [
        ("happy.txt", "I am glad\nWhat a day\n"),
        ("sad.txt", "I am sad\nOh no\n"),
    ] {
        fs::write(place.path(name), texts).unwrap();
    }
    // What is added has been made, and what is exported has been swept.
    let order = ["direction", "sweep"];
    all.sort_by_key(|words| {
        order
            .iter()
            .position(|first| words[0] == *first)
            .unwrap_or(order.len())
    });
    let mut run = 0;
    for words in all.iter().filter(|words| !is_elsewhere(words)) {
        let arguments = smaller(words);
        let out = arguments.iter().skip_while(|word| *word != "--out").nth(1);
        let out = out.map(|out| place.path(out));
        if let Some(out) = out.as_ref().filter(|_| words[0] == "sweep") {
            fs::remove_dir_all(out).ok(); // another page's
        }
        let assert = assert_cmd::Command::from_std(place.command(""))
            .args(&arguments)
            .assert();
        let output = assert.get_output();
        assert!(
            output.status.success(),
            "midlayer {}\n{}",
            shlex::try_join(arguments.iter().map(String::as_str)).unwrap(),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(
            !output.stdout.is_empty() || out.is_some_and(|out| out.exists()),
            "{words:?}"
        );
        run += 1;
    }
    assert!(run >= 12, "{run} commands were run");
}

#[test]
fn commands_are_made_smaller_and_nothing_else() {
    let page = "a\n```sh\n$ midlayer sweep -m a:q8_0,b --limit 5 \\\n  --seed 2 --out x > y\n```\n";
    let found = commands(page);
    assert_eq!(found[0].last().unwrap(), "x");
    let small = smaller(&found[0]).join(" ");
    assert_eq!(
        small,
        "sweep -m tiny.gguf,other.gguf --seed 2 --out x --task capitals,math --limit 3 --shots 1 -c 1024"
    );
}
