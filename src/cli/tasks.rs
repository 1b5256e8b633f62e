//! `midlayer tasks`.

use std::fmt::Write;
use std::path::Path;

use super::args::TasksArgs;
use super::output::print;
use crate::tasks::own::{Definition, ENDINGS};
use crate::tasks::{TASKS, Task, TaskName};

pub fn run(args: &TasksArgs) -> anyhow::Result<()> {
    match &args.file {
        Some(file) => print(&checked(file)?),
        None => print(&format!("{}\n{}", built_in(), own())),
    }
}

fn built_in() -> String {
    let mut text = String::new();
    for (name, task) in TASKS {
        let (sentence, metric) = (task.sentence(), task.metric().name());
        let example = task.example();
        writeln!(text, "{name}: {sentence}; score: {metric}\n  {example}").expect("a String");
    }
    text
}

fn own() -> String {
    format!(
        r#"A task of your own is a file of records, a line each:

  {{"question": "What is the capital of France?", "answer": ["Paris"], "subject": "France"}}

  midlayer sweep -m MODEL --task mine=mine.jsonl

Files end in {ENDINGS}. A record's keys:
  question   fills {{question}} of the template; other keys fill {{key}}
  prompt     the whole prompt, instead of a question
  answer     the right answer, or a list of answers that count
  id         its name in the results; without it, its line
  subject    what the question is about, as the prompt has it: --tokens subject,
             and what inject replaces
  swap       {{"subject": "Italy", "answer": ["Rome"]}}: inject's donor; without it
             another record's subject that has as many tokens
  group      inject's donors come from records of the same group
  choices    with scoring = "choices": the answer and the wrong ones
  foil       a wrong answer, for the logit difference
  parts      {{"name": "text"}}: parts of the prompt for --tokens part:name

mine.toml beside mine.jsonl says how the records are asked. Every key may be left out:
  template = "Q: {{question}}\nA:"
  shots = 0                  # records shown first, with answers; they are not asked
  separator = "\n"           # between shown records
  scoring = "next-token"     # or whole-answer, choices, generated
  normalise = false          # choices: compare log-probabilities per token
  metric = "f1"              # generated: exact, f1 or rouge
  max_tokens = 24            # generated
  stop = "\n"                # generated: ends an answer
"#
    )
}

/// What a file holds, without a model.
fn checked(file: &Path) -> anyhow::Result<String> {
    let definition = Definition::beside(file)?;
    let n = definition.count(TaskName::UNNAMED, file)?;
    let toml = file.with_extension("toml");
    let how = match toml.exists() {
        true => format!("asked as {} says", toml.display()),
        false => format!("asked as usual, for there is no {}", toml.display()),
    };
    let asked = n.saturating_sub(definition.shots);
    Ok(format!(
        "{}: {n} records, {asked} of them asked and {} shown as examples; {how}; score: {}\n",
        file.display(),
        n - asked,
        Task::metric(&definition).name(),
    ))
}
