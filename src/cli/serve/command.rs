//! The command that prints the numbers of a page.

use crate::cli::args::{ModelArgs, ServeArgs};
use crate::runtime::CacheType;
use crate::serve::{MapAsk, TryAsk};
use clap::ValueEnum;

/// `midlayer map` with the same model, settings and question.
pub fn map_command(args: &ServeArgs, ask: &MapAsk) -> String {
    let mut words = Words::new("map");
    words.model(args);
    if !ask.lens {
        words.files(args);
    }
    words.option("-p", &source(&ask.prompt));
    if ask.lens {
        words.0.push("--lens".into());
    }
    let manipulate = ask.manipulate.as_ref().filter(|_| !ask.lens);
    if let Some(kind) = manipulate {
        words.option("--manipulate", kind);
    }
    if let Some(answer) = &ask.answer {
        words.option("--answer", &escaped(answer));
    }
    if ask.chat {
        words.0.push("--chat".into());
    }
    words.0.join(" ")
}

/// `midlayer try` with the same model, settings and question, for a shell.
pub fn command(args: &ServeArgs, ask: &TryAsk) -> String {
    let mut words = Words::new("try");
    words.model(args);
    words.files(args);
    words.option("-p", &source(&ask.prompt));
    let some = |text: &Option<String>| text.as_ref().map(|text| escaped(text));
    if !ask.manipulate.is_empty() {
        words.option("--manipulate", &ask.manipulate.join(","));
    }
    let optional = [
        ("--layers", ask.layers.clone()),
        ("--tokens", some(&ask.tokens)),
        ("--extent", ask.extent.clone()),
        ("--site", ask.site.clone()),
        ("--inject-from", ask.inject_from.as_deref().map(source)),
        ("--inject-at", some(&ask.inject_at)),
        ("--inject-from-at", some(&ask.inject_from_at)),
        ("--generate", ask.generate.map(|n| n.to_string())),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            words.option(name, &value);
        }
    }
    if !ask.seed.is_empty() {
        let seeds: Vec<String> = ask.seed.iter().map(ToString::to_string).collect();
        words.option("--seed", &seeds.join(","));
    }
    for answer in &ask.answer {
        words.option("--answer", &escaped(answer));
    }
    if ask.chat {
        words.0.push("--chat".into());
    }
    words.0.join(" ")
}

/// The words of a command.
struct Words(Vec<String>);

impl Words {
    fn new(command: &str) -> Self {
        Self(vec!["midlayer".into(), command.into()])
    }

    fn option(&mut self, name: &str, value: &str) {
        let value = (value.starts_with('-'), quoted(value));
        match value {
            // Not an option of its own.
            (true, value) => self.0.push(format!("{name}={value}")),
            (false, value) => self.0.extend([name.to_string(), value]),
        }
    }

    /// The model and its settings.
    fn model(&mut self, args: &ServeArgs) {
        for (name, value) in model(&args.model) {
            self.option(name, &value);
        }
    }

    /// The files of manipulations.
    fn files(&mut self, args: &ServeArgs) {
        let files = [
            ("--direction", &args.outside.direction),
            ("--mean-of", &args.outside.mean_of),
            ("--scaffold", &args.outside.scaffold),
        ];
        for (name, file) in files {
            if let Some(file) = file {
                self.option(name, &file.display().to_string());
            }
        }
    }
}

/// The options of the model that differ from their defaults.
fn model(args: &ModelArgs) -> Vec<(&'static str, String)> {
    let number = |name, n: Option<u32>| n.map(|n| (name, n.to_string()));
    let other = |name, n: u32, default: u32| number(name, (n != default).then_some(n));
    let cache = |name, of: CacheType| (of != CacheType::F16).then(|| (name, of.to_string()));
    let flash = args.flash_attn.to_possible_value();
    let flash = flash.map(|value| value.get_name().to_string());
    let all = [
        args.model.clone().map(|model| ("-m", model)),
        args.hf_repo.clone().map(|repo| ("-hf", repo)),
        number("-ngl", args.n_gpu_layers),
        args.device.as_ref().map(|names| ("-dev", names.join(","))),
        (!args.rpc.is_empty()).then(|| ("--rpc", args.rpc.join(","))),
        number("-t", args.threads),
        other("-c", args.ctx_size, 2048),
        other("-b", args.batch_size, 2048),
        other("-ub", args.ubatch_size, 512),
        flash
            .filter(|name| name != "auto")
            .map(|name| ("-fa", name)),
        cache("-ctk", args.cache_type_k),
        cache("-ctv", args.cache_type_v),
    ];
    all.into_iter().flatten().collect()
}

/// A text as an argument: backslashes are doubled, a line end is `\n`.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\");
    text.replace('\n', "\\n").replace('\t', "\\t")
}

/// A prompt as an argument: neither a file nor stdin is meant.
fn source(text: &str) -> String {
    let escaped = escaped(text);
    match escaped.starts_with('@') || escaped == "-" {
        true => format!("\\{escaped}"),
        false => escaped,
    }
}

/// A word as a shell reads it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,+@=#".contains(c);
    match !word.is_empty() && word.chars().all(plain) && !word.starts_with('#') {
        true => word.to_string(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_gets_what_was_asked() {
        assert_eq!(quoted("freeze,random"), "freeze,random");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(source("@home"), r"\@home");
        assert_eq!(source("a\\nb\n"), r"a\\nb\n");
        assert_eq!(source("-"), r"\-");
    }
}
