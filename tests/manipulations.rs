//! The table of manipulations: that adding one touches one file and one line, and that each of
//! its entries is what it says on tiny models.

use std::fs;
use std::path::{Path, PathBuf};

use midlayer::intervention::Kind;

const FOLDER: &str = "src/intervention/manipulations";

/// Files that use manipulations by name to measure or to show something: a new one does not
/// concern them.
const EXAMPLES: [&str; 1] = ["src/cli/bench"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// A source without its tests and comments.
fn program(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let program = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = program.lines();
    let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// The lines of the table: (file, constant) of each manipulation.
fn table() -> Vec<(String, String)> {
    let list = program(&root().join(FOLDER).join("mod.rs"));
    let lines = list.lines().filter_map(|line| {
        let (file, name) = line.trim().strip_suffix(',')?.split_once("::")?;
        Some((file.to_string(), name.to_string()))
    });
    lines.collect()
}

/// Where `source` speaks of the manipulation: its name as a whole string, or its constant.
fn mentions(source: &str, name: &str, constant: &str) -> bool {
    let literal = source.contains(&format!("\"{name}\""));
    let path = format!("Kind::{constant}");
    literal
        || source.match_indices(&path).any(|(at, _)| {
            let next = source[at + path.len()..].chars().next();
            !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
        })
}

#[test]
fn a_manipulation_is_one_file_and_one_line() {
    let table = table();
    assert_eq!(table.len(), Kind::ALL.len());
    let mut files = Vec::new();
    sources(&root().join("src"), &mut files);
    let relative = |path: &Path| {
        let path = path.strip_prefix(root()).unwrap();
        path.to_string_lossy().replace('\\', "/")
    };
    for (kind, (file, constant)) in Kind::ALL.into_iter().zip(&table) {
        let own = format!("{FOLDER}/{file}.rs");
        let mut found = Vec::new();
        for path in &files {
            let at = relative(path);
            let is_tests = at.ends_with("/tests.rs");
            let example = EXAMPLES.iter().any(|folder| at.starts_with(folder));
            if !is_tests && !example && mentions(&program(path), kind.name(), constant) {
                found.push(at);
            }
        }
        assert_eq!(found, [own], "{kind}: who speaks of it");
    }
    let listed = fs::read_dir(root().join(FOLDER)).unwrap().count();
    assert_eq!(listed, table.len() + 1, "a file for each, and the list");
}

#[test]
fn a_second_place_would_be_noticed() {
    assert!(mentions("let x = Kind::Zero;", "zero", "Zero"));
    assert!(mentions("match name { \"zero\" => 1 }", "zero", "Zero"));
    assert!(!mentions(
        "Kind::ZeroPadding, \"zero rows\"",
        "zero",
        "Zero"
    ));
}
