//! The browser of single items: its data as JSON, which the script shows as text.

use std::collections::HashMap;

use maud::{Markup, html};
use serde::Serialize;

use super::{View, in_script};
use crate::experiment::Treatment;
use crate::store::ResultRow;
use crate::tasks::{Metric, TaskSpec};

/// Everything the browser shows. Texts are stored once and meant by their number.
#[derive(Serialize)]
struct Browser<'r> {
    texts: Vec<&'r str>,
    tasks: Vec<Task>,
    variants: Vec<Variant<'r>>,
}

#[derive(Serialize)]
struct Task {
    name: String,
    metric: &'static str,
    /// Whether an answer is right or wrong and nothing in between.
    binary: bool,
}

#[derive(Serialize)]
struct Variant<'r> {
    name: &'r str,
    items: Vec<Item>,
}

#[derive(Serialize)]
struct Item {
    /// The task's number.
    task: usize,
    name: usize,
    prompt: usize,
    answer: usize,
    /// The donor's answer.
    donor: Option<usize>,
    clean: Option<Row>,
    /// Clean in another batch shape.
    again: Option<Row>,
    runs: Vec<Run>,
}

/// A manipulation over the layers.
#[derive(Serialize)]
struct Run {
    kind: String,
    /// As text: the script's numbers are too short for it.
    seed: Option<String>,
    rows: Vec<Row>,
}

/// (layer, answer, score, right to the letter, the donor's answer, log-probability, KL, rank).
#[derive(Serialize)]
struct Row(
    u32,
    usize,
    f64,
    bool,
    Option<bool>,
    Option<f64>,
    Option<f64>,
    u64,
);

/// Texts by number.
#[derive(Default)]
struct Texts<'r> {
    all: Vec<&'r str>,
    numbers: HashMap<&'r str, usize>,
}

impl<'r> Texts<'r> {
    fn number(&mut self, text: &'r str) -> usize {
        *self.numbers.entry(text).or_insert_with(|| {
            self.all.push(text);
            self.all.len() - 1
        })
    }

    fn row(&mut self, row: &'r ResultRow) -> Row {
        // JSON has no infinities.
        let rounded = |x: f64| x.is_finite().then(|| (x * 1e4).round() / 1e4);
        Row(
            row.layer.unwrap_or(0),
            self.number(&row.answer),
            rounded(row.score).unwrap_or(0.0),
            row.correct,
            row.modified_correct,
            rounded(row.logprob),
            rounded(row.kl),
            row.rank,
        )
    }
}

fn browser<'r>(views: &'r [View<'r>]) -> Browser<'r> {
    let mut texts = Texts::default();
    let mut tasks: Vec<Task> = Vec::new();
    let mut variants = Vec::new();
    for view in views {
        let mut items = Vec::new();
        let mut places: HashMap<(String, &str), usize> = HashMap::new();
        for item in &view.variant.items {
            let name = item.task.to_string();
            let task = tasks.iter().position(|t| t.name == name);
            let mut specs = view.variant.spec.tasks.iter();
            let spec = specs.find(|spec| spec.task == item.task);
            let metric = spec.map_or(Metric::Accuracy, TaskSpec::metric);
            let task = task.unwrap_or_else(|| {
                tasks.push(Task {
                    name: name.clone(),
                    metric: metric.name(),
                    binary: metric.is_binary(),
                });
                tasks.len() - 1
            });
            places.insert((name, &item.name), items.len());
            items.push(Item {
                task,
                name: texts.number(&item.name),
                prompt: texts.number(&item.prompt),
                answer: texts.number(&item.answer),
                donor: item.modified_answer.as_deref().map(|a| texts.number(a)),
                clean: None,
                again: None,
                runs: Vec::new(),
            });
        }
        for row in &view.variant.rows {
            let Some(&place) = places.get(&(row.task.to_string(), row.item.as_str())) else {
                continue;
            };
            let told = texts.row(row);
            let item = &mut items[place];
            match row.treatment {
                Treatment::Clean => item.clean = Some(told),
                Treatment::CleanAgain => item.again = Some(told),
                Treatment::Manipulated(kind) => {
                    let (kind, seed) = (kind.to_string(), row.seed.map(|s| s.to_string()));
                    let known = |run: &&mut Run| run.kind == kind && run.seed == seed;
                    match item.runs.iter_mut().find(known) {
                        Some(run) => run.rows.push(told),
                        None => item.runs.push(Run {
                            kind,
                            seed,
                            rows: vec![told],
                        }),
                    }
                }
            }
        }
        for run in items.iter_mut().flat_map(|item| &mut item.runs) {
            run.rows.sort_by_key(|row| row.0);
        }
        variants.push(Variant {
            name: &view.name,
            items,
        });
    }
    Browser {
        texts: texts.all,
        tasks,
        variants,
    }
}

/// The section with its controls, empty until the script fills it.
pub(super) fn section(views: &[View<'_>]) -> Markup {
    let data = serde_json::to_string(&browser(views)).expect("texts and finite numbers");
    html! {
        section #items {
            h2 { "Single items" }
            p.muted { "What the model answers to one question as the manipulated layer moves up." }
            div.browser hidden {
                div.controls {
                    label data-for="variant" { "Variant" select name="variant" {} }
                    label { "Task" select name="task" {} }
                    label { "Manipulation" select name="run" {} }
                    label { "Show"
                        select name="show" {
                            option value="all" { "all items" }
                            option value="right" { "clean answer right" }
                            option value="wrong" { "clean answer not right" }
                        }
                    }
                    label.search { "Search"
                        input type="search" name="search" autocomplete="off" placeholder="name, prompt or answer";
                    }
                }
                div.two {
                    div {
                        p.count aria-live="polite" {}
                        ol.list {}
                    }
                    div.item {
                        h3 {}
                        dl.facts {}
                        details.prompt open { summary { "Prompt" } pre {} }
                        figure.table data-file="item" {
                            div.bar {
                                h4 {}
                                div.downloads { button type="button" data-csv="" { "CSV" } }
                            }
                            div.scroll tabindex="0" role="region" aria-label="Answers by layer" {
                                table { thead { tr {} } tbody {} }
                            }
                        }
                    }
                }
            }
            script #item-data type="application/json" { (in_script(&data)) }
        }
    }
}
