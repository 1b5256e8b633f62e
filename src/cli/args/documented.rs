//! That the commands of the documentation are commands of this program.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;

use super::{Arguments, long_names};

/// The commands of a page's blocks of code, each on one line.
fn commands(page: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    for (n, part) in page.split("```").enumerate() {
        if n % 2 == 1 {
            blocks.push(part.replace("\\\n", " "));
        }
    }
    let lines = blocks.iter().flat_map(|block| block.lines());
    let commands = lines.filter_map(|line| {
        let line = line.trim();
        let line = line.strip_prefix("$ ").unwrap_or(line);
        line.starts_with("midlayer ").then(|| line.to_string())
    });
    commands.collect()
}

/// A command's words, without what the shell keeps.
fn words(command: &str) -> Vec<OsString> {
    let words = shlex::split(command).unwrap_or_else(|| panic!("no shell reads {command}"));
    let ends = |word: &String| [">", "|", "&&", "2>", ";", "&"].contains(&word.as_str());
    let own = words.into_iter().take_while(|word| !ends(word));
    own.map(OsString::from).collect()
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).unwrap();
    let docs = docs.map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> = docs
        .filter(|path| path.extension().is_some_and(|e| e == "md"))
        .chain(["README.md", "examples/README.md"].map(|page| root.join(page)))
        .filter(|path| path.is_file())
        .collect();
    pages.sort();
    pages
}

#[test]
fn every_command_of_the_docs_is_understood() {
    let mut found = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for command in commands(&text) {
            let parsed = Arguments::try_parse_from(long_names(words(&command).into_iter()));
            if let Err(error) = parsed {
                panic!("{}: {command}\n{error}", page.display());
            }
            found += 1;
        }
    }
    assert!(found >= 20, "{found} commands in the docs");
}

#[test]
fn a_wrong_command_would_be_noticed() {
    let page = "text\n```sh\n$ midlayer try -m x -p 'a b' \\\n    --layer 3 > out\nls\n```\n";
    let found = commands(page);
    assert_eq!(found, ["midlayer try -m x -p 'a b'      --layer 3 > out"]);
    assert_eq!(words(&found[0]).len(), 8);
    let parsed = Arguments::try_parse_from(long_names(words(&found[0]).into_iter()));
    assert!(parsed.is_err(), "the option is --layers");
}
