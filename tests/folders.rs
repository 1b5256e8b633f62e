//! That arrows between the folders of `src` point one way (ARCHITECTURE.md).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

type Arrows = BTreeMap<String, BTreeSet<String>>;

/// The folders that a source file names as `crate::FOLDER`, comments and unit tests left out.
fn named(source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    let mut folders = BTreeSet::new();
    for line in lines {
        for after in line.split("crate::").skip(1) {
            let name = after.split(|c: char| !c.is_alphanumeric() && c != '_');
            folders.extend(name.take(1).map(str::to_string));
        }
    }
    folders
}

fn walk(path: &Path, from: &str, arrows: &mut Arrows) {
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            walk(&entry.unwrap().path(), from, arrows);
        }
    } else if path.extension().is_some_and(|e| e == "rs") {
        let to = named(&fs::read_to_string(path).unwrap());
        let to = to.into_iter().filter(|to| to != from);
        arrows.entry(from.to_string()).or_default().extend(to);
    }
}

/// Folders that lie on a way back to themselves.
fn in_circles(arrows: &Arrows) -> Vec<String> {
    let reached = |from: &String| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from.clone()]);
        while let Some(at) = next.pop() {
            for to in arrows.get(&at).into_iter().flatten() {
                if seen.insert(to.clone()) {
                    next.push(to.clone());
                }
            }
        }
        seen
    };
    let circle = arrows
        .keys()
        .filter(|folder| reached(folder).contains(*folder));
    circle.cloned().collect()
}

#[test]
fn no_two_folders_need_each_other() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut arrows = Arrows::new();
    for entry in fs::read_dir(source).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        if name != "lib" && name != "main" {
            walk(&path, &name, &mut arrows);
        }
    }
    assert!(
        arrows["sweep"].contains("engine"),
        "no arrows were found: {arrows:?}"
    );
    let circle = in_circles(&arrows);
    assert!(circle.is_empty(), "these need each other: {circle:?}");
}

#[test]
fn a_circle_would_be_found() {
    let arrow = |from: &str, to: &str| (from.to_string(), BTreeSet::from([to.to_string()]));
    let circle = Arrows::from([arrow("a", "b"), arrow("b", "c"), arrow("c", "b")]);
    assert_eq!(in_circles(&circle), ["b", "c"]);
    assert_eq!(
        named("//! crate::no\nuse crate::yes::{A, B};\n#[cfg(test)]\nuse crate::tests_only;"),
        BTreeSet::from(["yes".to_string()])
    );
}
