//! The library's messages name settings, as `n_ctx`; the program's name its options, as -c.

use crate::shown::renamed;

/// Settings by the names that messages of the library write between backticks, and their options.
const OPTIONS: [(&str, &str); 41] = [
    ("answer", "--answer"),
    ("cache_k", "-ctk"),
    ("cache_v", "-ctv"),
    ("chat", "--chat"),
    ("context", "--context"),
    ("corrupt", "--corrupt"),
    ("data", "--data"),
    ("device", "--device"),
    ("direction", "--direction FILE"),
    ("ffn", "--ffn"),
    ("flash_attention", "-fa"),
    ("foil", "--foil"),
    ("from", "--from"),
    ("heads", "--heads"),
    ("hub", "-hf"),
    ("inject_at", "--inject-at"),
    ("inject_from", "--inject-from"),
    ("inject_from_at", "--inject-from-at"),
    ("kv_heads", "--kv-heads"),
    ("layers", "--layers"),
    ("lens", "--lens"),
    ("manipulate", "--manipulate"),
    ("mean_of", "--mean-of FILE"),
    ("model", "-m"),
    ("n_batch", "-b"),
    ("n_ctx", "-c"),
    ("out", "--out"),
    ("parse_special", "--parse-special"),
    ("prompt", "-p"),
    ("rope_base", "--rope-base"),
    ("rpc", "--rpc"),
    ("scaffold", "--scaffold FILE"),
    ("scratch", "--scratch"),
    ("shard", "--shard"),
    ("site", "--site"),
    ("sites", "--sites"),
    ("steps", "--steps"),
    ("task", "--task"),
    ("tokens", "--tokens"),
    ("vocabulary", "--vocabulary"),
    ("width", "--width"),
];

/// A text of the library with options in place of settings.
pub fn spelled(text: &str) -> String {
    renamed(text, &OPTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Arguments, long_names};
    use clap::CommandFactory;
    use std::collections::BTreeSet;
    use std::path::{Path, PathBuf};

    #[test]
    fn settings_become_options() {
        assert_eq!(spelled("too long: raise `n_ctx`"), "too long: raise -c");
        assert_eq!(
            spelled("not there (`inject_at`, `tokens` text:)"),
            "not there (--inject-at, --tokens text:)"
        );
    }

    #[test]
    fn every_option_exists() {
        let command = Arguments::command();
        let bench = command.find_subcommand("bench").unwrap();
        let all: BTreeSet<String> = command
            .get_subcommands()
            .chain(bench.get_subcommands())
            .flat_map(|command| command.get_arguments())
            .flat_map(|argument| {
                let short = argument.get_short().map(|letter| format!("-{letter}"));
                let long = argument.get_long().map(|name| format!("--{name}"));
                [short, long].into_iter().flatten()
            })
            .collect();
        for (setting, option) in OPTIONS {
            let option = option.split(' ').next().unwrap();
            let long = long_names([option.into()].into_iter());
            let long = long[0].to_str().unwrap();
            assert!(all.contains(long), "{setting}: {option}");
        }
    }

    /// The sources of the library but the program's own, and but what renames settings.
    fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().unwrap() != "cli" {
                sources(&path, into);
            } else if path.extension().is_some_and(|ending| ending == "rs")
                && !path.ends_with("shown.rs")
            {
                into.push(path);
            }
        }
    }

    /// What is written between quotes in a line of code.
    fn quoted(line: &str) -> impl Iterator<Item = &str> {
        let code = !line.trim_start().starts_with("//");
        line.split('"').skip(1).step_by(2).filter(move |_| code)
    }

    /// Texts that are about the program: the API's own command, arguments given to others, and
    /// scripts.
    const ABOUT_COMMANDS: [&str; 4] = ["openapi.rs", "pull.rs", "check.rs", "slurm.rs"];

    #[test]
    fn messages_of_the_library_name_settings_that_are_known() {
        let mut files = Vec::new();
        sources(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut files,
        );
        assert!(files.len() > 200);
        let mut used = BTreeSet::new();
        for file in files {
            let text = std::fs::read_to_string(&file).unwrap();
            for line in text.lines() {
                for text in quoted(line) {
                    let own = ABOUT_COMMANDS.iter().any(|name| file.ends_with(name));
                    let option = [" --", "(--", "(-", " -c ", " -m "];
                    let named = option.iter().find(|start| {
                        text.split_once(**start).is_some_and(|(_, rest)| {
                            rest.starts_with(|c: char| c.is_ascii_lowercase())
                                || start.ends_with(' ')
                        })
                    });
                    assert!(own || named.is_none(), "{}: {line}", file.display());
                    let settings = text.split('`').skip(1).step_by(2);
                    used.extend(settings.map(str::to_string));
                }
            }
        }
        let unused: Vec<_> = OPTIONS
            .iter()
            .filter(|(setting, _)| !used.contains(*setting))
            .collect();
        assert!(unused.is_empty(), "{unused:?}");
        // Keys of records and of the page's requests keep their names.
        for key in ["question", "highlights", "tokens_of"] {
            used.remove(key);
        }
        let names = used.iter().filter(|name| {
            !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        });
        for name in names {
            assert!(
                OPTIONS.iter().any(|(setting, _)| setting == name),
                "`{name}`"
            );
        }
    }
}
