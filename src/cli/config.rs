//! `--config FILE`: a command's options in a TOML file, which those of the command line override.
//!
//! The file is turned into arguments, so that it knows what the command line knows and is checked
//! as it is.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{ArgAction, Command, CommandFactory};
use toml::{Table, Value};

use super::Usage;
use super::args::Arguments;

const OPTION: &str = "--config";

/// The arguments with those of the file that `--config` names, if it is there, after the
/// command's name. What the command line gives itself is left out, with what contradicts it.
pub fn with_file(arguments: Vec<OsString>) -> anyhow::Result<Vec<OsString>> {
    let Some(path) = named(&arguments) else {
        return Ok(arguments);
    };
    let program = Arguments::command();
    let found = arguments.iter().enumerate().find_map(|(n, argument)| {
        let command = program.find_subcommand(argument.to_str()?)?;
        Some((n, command.clone()))
    });
    let Some((at, mut command)) = found.filter(|(_, command)| takes_a_file(command)) else {
        // Clap knows better what is wrong.
        return Ok(arguments);
    };
    command.build();
    let fail = |what: String| Usage(format!("{}: {what} (--config)", path.display()));
    let text = std::fs::read_to_string(&path).map_err(|e| fail(format!("cannot be read: {e}")))?;
    let table: Table = text.parse().map_err(|e: toml::de::Error| {
        // The message without the excerpt, which takes several lines.
        let line = e
            .span()
            .map_or(0, |span| text[..span.start].lines().count());
        fail(format!("line {}: {}", line.max(1), e.message()))
    })?;
    let given: Vec<&clap::Arg> = command
        .get_arguments()
        .filter(|option| arguments[at + 1..].iter().any(|a| is_for(option, a)))
        .collect();
    let mut merged = arguments[..=at].to_vec();
    for (key, value) in &table {
        let option = command
            .get_arguments()
            .find(|option| option.get_long() == Some(key) && !is_apart(key));
        let Some(option) = option else {
            let known = command
                .get_arguments()
                .filter_map(|option| option.get_long());
            let known: Vec<&str> = known.filter(|name| !is_apart(name)).collect();
            let known = known.join(", ");
            return Err(fail(format!("'{key}' is no option; there are {known}")).into());
        };
        let overridden = given.iter().any(|other| {
            let conflicts = command.get_arg_conflicts_with(option);
            other.get_id() == option.get_id()
                || conflicts.iter().any(|c| c.get_id() == other.get_id())
                || command
                    .get_arg_conflicts_with(other)
                    .iter()
                    .any(|c| c.get_id() == option.get_id())
        });
        if !overridden {
            push(&mut merged, option, key, value).map_err(fail)?;
        }
    }
    merged.extend_from_slice(&arguments[at + 1..]);
    Ok(merged)
}

fn takes_a_file(command: &Command) -> bool {
    let mut options = command.get_arguments();
    options.any(|option| option.get_long() == Some(&OPTION[2..]))
}

/// Options that belong on the command line alone.
fn is_apart(name: &str) -> bool {
    matches!(name, "config" | "dry-run" | "help" | "verbose")
}

/// The file that `--config` names.
fn named(arguments: &[OsString]) -> Option<PathBuf> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        if text == OPTION {
            return arguments.next().map(PathBuf::from);
        }
        if let Some(path) = text.strip_prefix("--config=") {
            return Some(path.into());
        }
    }
    None
}

/// Whether an argument gives a value to an option, as `--out`, `--out=x`, `-o` or `-ox`.
fn is_for(option: &clap::Arg, argument: &OsString) -> bool {
    let text = argument.to_string_lossy();
    match text.strip_prefix("--") {
        Some(long) => {
            let name = long.split('=').next().unwrap_or(long);
            option.get_long() == Some(name)
        }
        None => {
            let short = text.strip_prefix('-').and_then(|rest| rest.chars().next());
            short.is_some() && option.get_short() == short
        }
    }
}

/// The arguments that a key stands for: a table is KEY=VALUE several times, a list is joined
/// where the option takes commas.
fn push(
    arguments: &mut Vec<OsString>,
    option: &clap::Arg,
    key: &str,
    value: &Value,
) -> Result<(), String> {
    let flag = matches!(option.get_action(), ArgAction::SetTrue);
    let mut put = |value: String| arguments.push(format!("--{key}={value}").into());
    match value {
        Value::Boolean(on) if flag => {
            if *on {
                arguments.push(format!("--{key}").into());
            }
        }
        _ if flag => return Err(format!("'{key}' is true or false")),
        Value::Table(table) => {
            for (name, value) in table {
                put(format!("{name}={}", plain(key, value)?));
            }
        }
        Value::Array(values) => {
            let values: Vec<String> = values
                .iter()
                .map(|v| plain(key, v))
                .collect::<Result<_, _>>()?;
            match option.get_value_delimiter() {
                None if matches!(option.get_action(), ArgAction::Append) => {
                    values.into_iter().for_each(put);
                }
                delimiter => put(values.join(&delimiter.unwrap_or(',').to_string())),
            }
        }
        value => put(plain(key, value)?),
    }
    Ok(())
}

fn plain(key: &str, value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => Ok(value.to_string()),
        other => Err(format!(
            "'{key}' holds a {}, which no option takes",
            other.type_str()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::Command as Parsed;
    use clap::Parser;

    fn merged(file: &str, line: &str) -> anyhow::Result<Vec<String>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.toml");
        std::fs::write(&path, file).unwrap();
        let config = format!("--config={}", path.display());
        let words = ["midlayer", "sweep", &config]
            .map(OsString::from)
            .into_iter();
        let words = words.chain(line.split_whitespace().map(OsString::from));
        let merged = with_file(words.collect())?.into_iter();
        Ok(merged
            .map(|a| a.into_string().unwrap())
            .filter(|a| *a != config)
            .collect())
    }

    const FILE: &str = r#"
        model = ["a.gguf", "b.gguf"]
        task = ["capitals", "squad"]
        layers = "0-29+3"
        shots = 2
        limit = { capitals = 30, squad = 8 }
        data = { squad = "dev.json" }
    "#;

    #[test]
    fn a_file_says_what_a_command_line_says() {
        let merged = merged(FILE, "").unwrap();
        let arguments = Arguments::try_parse_from(&merged).ok().unwrap();
        let Parsed::Sweep(args) = arguments.command else {
            panic!("not sweep")
        };
        assert_eq!(args.model.model.as_deref(), Some("a.gguf,b.gguf"));
        assert_eq!(
            (args.task.len(), args.shots, args.limit.len()),
            (2, Some(2), 2)
        );
        assert_eq!(args.data[0].path, PathBuf::from("dev.json"));
    }

    #[test]
    fn the_command_line_overrides_with_what_contradicts() {
        let all = merged(FILE, "-m c.gguf --layers 3 --limit 5").unwrap();
        let text = all.join(" ");
        assert!(!text.contains("a.gguf") && !text.contains("0-29") && !text.contains("squad=8"));
        assert!(text.contains("--shots=2"));
        let hub = merged(FILE, "--hf-repo x/y").unwrap().join(" ");
        assert!(!hub.contains("--model"), "{hub}");
    }

    #[test]
    fn mistakes_are_named() {
        let error = |file: &str| merged(file, "").unwrap_err().to_string();
        assert!(error("tsk = 1").contains("'tsk' is no option"));
        assert!(error("task = [[1]]").contains("no option takes"));
        assert!(error("a = 1\nb = ").contains("line 2"));
        assert!(error("config = 'x'").contains("'config' is no option"));
    }
}
