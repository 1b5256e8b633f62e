//! The browser of single items: its data as JSON, which the script shows as text.

use std::borrow::Cow;
use std::collections::HashMap;

use maud::{Markup, html};
use serde::Serialize;

use super::View;
use super::packed::{Effort, Packed};
use crate::experiment::Treatment;
use crate::intervention::Kind;
use crate::store::ResultRow;
use crate::tasks::{Metric, TaskName, TaskSpec};

/// Results that the browser shows at most: a page of more is too large to open. A million take
/// 14 MB.
const MOST: usize = 1_000_000;

/// Everything the browser shows. Texts are stored once and meant by their number.
#[derive(Serialize)]
struct Browser<'r> {
    texts: Vec<Cow<'r, str>>,
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
    /// What tells it apart, and the name that people know.
    name: usize,
    title: usize,
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
    #[serde(skip)]
    of: (Kind, Option<u64>),
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
struct Texts<'r>(HashMap<Cow<'r, str>, usize>);

impl<'r> Texts<'r> {
    fn number(&mut self, text: impl Into<Cow<'r, str>>) -> usize {
        let next = self.0.len();
        *self.0.entry(text.into()).or_insert(next)
    }

    fn in_order(self) -> Vec<Cow<'r, str>> {
        let mut all: Vec<(Cow<'r, str>, usize)> = self.0.into_iter().collect();
        all.sort_by_key(|(_, n)| *n);
        all.into_iter().map(|(text, _)| text).collect()
    }

    fn row(&mut self, row: &'r ResultRow) -> Row {
        // JSON has no infinities; no more digits than are shown.
        let to = |by: f64, x: f64| x.is_finite().then(|| (x * by).round() / by);
        Row(
            row.cell.layer.unwrap_or(0),
            self.number(&*row.answer),
            to(1e4, row.score).unwrap_or(0.0),
            row.correct,
            row.modified_correct,
            to(1e2, row.logprob),
            to(1e3, row.kl),
            row.rank,
        )
    }
}

/// How many of a variant's items there is room for by task, where `most` of a page's `results`
/// can be shown: evenly, and one at least.
fn room(
    items: impl Iterator<Item = TaskName>,
    results: usize,
    most: usize,
) -> HashMap<TaskName, usize> {
    let mut room: HashMap<TaskName, usize> = HashMap::new();
    for task in items {
        *room.entry(task).or_default() += 1;
    }
    if results > most {
        for items in room.values_mut() {
            *items = (*items * most / results).max(1);
        }
    }
    room
}

/// Of at most about `most` results.
fn browser<'r>(views: &'r [View<'r>], most: usize) -> Browser<'r> {
    let results: usize = views.iter().map(|view| view.variant.rows.len()).sum();
    let mut texts = Texts::default();
    let mut tasks: Vec<Task> = Vec::new();
    let mut variants = Vec::new();
    for view in views {
        let mut items = Vec::new();
        let mut places: HashMap<(TaskName, &str), usize> = HashMap::new();
        let tasks_of_items = view.variant.items.iter().map(|item| item.task);
        let mut room = room(tasks_of_items, results, most);
        for item in &view.variant.items {
            match room.get_mut(&item.task) {
                Some(room) if *room > 0 => *room -= 1,
                _ => continue,
            }
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
            places.insert((item.task, &item.name), items.len());
            items.push(Item {
                task,
                name: texts.number(&*item.name),
                title: texts.number(item.title()),
                prompt: texts.number(&*item.prompt),
                answer: texts.number(&*item.answer),
                donor: item.modified_answer.as_deref().map(|a| texts.number(a)),
                clean: None,
                again: None,
                runs: Vec::new(),
            });
        }
        for row in &view.variant.rows {
            let Some(&place) = places.get(&(row.task, &*row.item)) else {
                continue;
            };
            let told = texts.row(row);
            let item = &mut items[place];
            match row.cell.treatment {
                Treatment::Clean => item.clean = Some(told),
                Treatment::CleanAgain => item.again = Some(told),
                Treatment::Manipulated(kind) => {
                    let of = (kind, row.cell.seed);
                    match item.runs.iter_mut().find(|run| run.of == of) {
                        Some(run) => run.rows.push(told),
                        None => item.runs.push(Run {
                            of,
                            kind: kind.to_string(),
                            seed: row.cell.seed.map(|seed| seed.to_string()),
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
        texts: texts.in_order(),
        tasks,
        variants,
    }
}

/// The section with its controls, empty until the script fills it.
pub(super) fn section(views: &[View<'_>]) -> Markup {
    let browser = browser(views, MOST);
    let shown: usize = browser.variants.iter().map(|v| v.items.len()).sum();
    let all: usize = views.iter().map(|view| view.variant.items.len()).sum();
    let data = serde_json::to_string(&browser).expect("texts and finite numbers");
    html! {
        section #items {
            h2 { "Single items" }
            p.muted { "What the model answers to one question as the manipulated layer moves up." }
            @if shown < all {
                p.muted { "The first " (shown) " of " (all) " items are here, evenly of all tasks. " code { "midlayer export" } " writes them all." }
            }
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
            (Packed::new(&data, Effort::Quick).element("item-data"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_run_shows_its_first_items_evenly() {
        let items = || {
            [TaskName::Capitals; 600]
                .into_iter()
                .chain([TaskName::Math; 3])
        };
        let all = room(items(), 1_000, 1_000);
        assert_eq!((all[&TaskName::Capitals], all[&TaskName::Math]), (600, 3));
        let some = room(items(), 10_000, 1_000);
        assert_eq!((some[&TaskName::Capitals], some[&TaskName::Math]), (60, 1));
    }
}
