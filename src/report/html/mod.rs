//! The report as one page of HTML that needs nothing else: figures that answer to the pointer,
//! tables, a browser of single items.
//!
//! Names, prompts and answers are text that anybody may have written. They reach the page escaped
//! by the template, or as JSON in which no `<` is left, plain or packed, and that the script puts
//! in as text only;
//! scripts other than the page's two do not run, and nothing is loaded (its content security
//! policy says so).

mod figures;
mod items;
mod marks;
mod overlays;
mod packed;
mod plotly_js;
mod strips;
mod tables;
mod words;

use std::sync::OnceLock;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest, Sha256};

use super::figure::hex;
use super::findings::{Finding, Report};
use super::series::TaskSeries;
use super::table::{no_result, sample_mark};
use super::verdicts::{self, comparisons, told};
use crate::store::{StoredRun, StoredVariant};
use crate::tasks::TaskName;
use figures::Figure;
use packed::{Effort, Packed};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// A variant with the name that tells it apart from all others on the page.
struct View<'r> {
    name: String,
    variant: &'r StoredVariant,
    series: &'r [TaskSeries],
    /// The report it is of, and its number there.
    report: &'r Report<'r>,
    number: usize,
}

impl View<'_> {
    /// The tasks that have results.
    fn tasks(&self) -> impl Iterator<Item = &TaskSeries> {
        self.series.iter().filter(|task| task.clean.n > 0)
    }

    fn findings(&self, task: TaskName) -> Vec<&Finding> {
        self.report.of(self.number, task).collect()
    }

    fn task(&self, task: TaskName) -> Option<&TaskSeries> {
        self.tasks().find(|series| series.task == task)
    }
}

/// The page of one or several runs.
pub fn page(reports: &[Report<'_>]) -> String {
    let views = views(reports);
    let title = words::title(&views);
    let body = body(reports, &views, &title).into_string();
    let style = PreEscaped(STYLE.to_string());
    let plotly = packed_plotly().element("plotly");
    framed(&title, &style, &body, &plotly, SCRIPT)
}

/// The style of pages, for other pages than a report's.
pub(crate) fn style() -> &'static str {
    STYLE
}

/// A page that needs nothing else and runs no other script: its body, what follows it as data, and
/// its script.
pub(crate) fn framed(
    title: &str,
    style: &PreEscaped<String>,
    body: &str,
    data: &Markup,
    script: &str,
) -> String {
    let nonce = nonce(body);
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'unsafe-inline'; \
         img-src data: blob:; base-uri 'none'; form-action 'none'"
    );
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "midlayer: " (title) }
                style { (style) }
            }
            body {
                (PreEscaped(body))
                (data)
                script nonce=(nonce) { (PreEscaped(script)) }
            }
        }
    };
    page.into_string()
}

/// A word that only this page's own scripts carry: no text within the page can hold a hash of
/// the page.
fn nonce(body: &str) -> String {
    let hash = Sha256::digest(body.as_bytes());
    hash.iter().take(16).map(|b| format!("{b:02x}")).collect()
}

/// plotly.js, packed.
fn packed_plotly() -> &'static Packed {
    static PACKED: OnceLock<Packed> = OnceLock::new();
    PACKED.get_or_init(|| Packed::new(&plotly_js::code(), Effort::Most))
}

/// JSON as it may stand within a `script` element.
pub(crate) fn in_script(json: &str) -> PreEscaped<String> {
    PreEscaped(json.replace('<', "\\u003c").replace('>', "\\u003e"))
}

fn views<'r>(reports: &'r [Report<'r>]) -> Vec<View<'r>> {
    let mut views: Vec<View<'_>> = Vec::new();
    for report in reports {
        for (number, variant) in report.run.variants.iter().enumerate() {
            let mut name = variant.label.clone();
            if reports.len() > 1 {
                name = format!("{}: {name}", words::folder_name(report.run));
            }
            let plain = name.clone();
            for n in 2.. {
                if views.iter().all(|view| view.name != name) {
                    break;
                }
                name = format!("{plain} ({n})");
            }
            views.push(View {
                name,
                variant,
                series: &report.series[number],
                report,
                number,
            });
        }
    }
    views
}

fn body(reports: &[Report<'_>], views: &[View<'_>], title: &str) -> Markup {
    let runs: Vec<&StoredRun> = reports.iter().map(|report| report.run).collect();
    let runs = runs.as_slice();
    let overlays = overlays::overlays(views);
    let has_results = views.iter().any(|view| view.tasks().next().is_some());
    let sections = [
        ("findings", "Findings", has_results),
        ("comparison", "Comparison", !overlays.is_empty()),
        ("scores", "Scores", has_results),
        ("transitions", "Half-way and ignorable layers", has_results),
        ("items", "Single items", has_results),
        ("numbers", "Numbers by layer", has_results),
        ("provenance", "Provenance", true),
    ];
    html! {
        header {
            p.overline { "midlayer report" }
            h1 { (title) }
            (words::what_was_run(views))
        }
        nav aria-label="Sections" {
            @for (id, name, _) in sections.iter().filter(|(_, _, there)| *there) {
                a href={ "#" (id) } { (name) }
            }
        }
        main {
            @for &run in runs {
                @if let Some(missing) = run.missing() { (words::incomplete(runs, run, &missing)) }
            }
            noscript {
                p.notice { "Figures and single items need JavaScript; tables do not." }
            }
            @if has_results {
                (findings(reports, views))
                (words::notes(runs, views))
                @if !overlays.is_empty() { (comparison(&overlays, reports)) }
                (scores(views))
                (tables::layers_section(reports))
                (items::section(views))
                (tables::numbers_section(views))
            } @else {
                p.notice { "No result is stored yet: the run was stopped before its first." }
                (words::notes(runs, views))
            }
            (words::provenance(runs, views))
        }
    }
}

/// The verdicts, and the figure in which they are seen.
fn findings(reports: &[Report<'_>], views: &[View<'_>]) -> Markup {
    let several = reports.len() > 1;
    let name = |report: &Report<'_>| match several {
        true => format!("{}: ", words::folder_name(report.run)),
        false => String::new(),
    };
    html! {
        section #findings {
            h2 { "Findings" }
            @if reports.iter().all(|report| report.findings.is_empty()) {
                p.muted { "No manipulation has run." }
            }
            @for report in reports {
                @for (_, _, sentence) in comparisons(report) {
                    p.verdict { (name(report)) (sentence) }
                }
            }
            @for report in reports {
                @for told in told(report) {
                    div.told {
                        p.about { (name(report)) (told.about) }
                        @for (kind, sentences) in &told.of {
                            @if let Some((first, rest)) = sentences.split_first() {
                                p.verdict {
                                    span.swatch style={ "background:" (hex(*kind)) } {}
                                    (first)
                                    span.more { " " (rest.join(" ")) }
                                }
                            }
                        }
                    }
                }
            }
            @for figure in strips::strips(views, reports) { (figure) }
            p.muted { (verdicts::NOTE) }
        }
    }
}

fn comparison(overlays: &[(TaskName, Vec<Figure>)], reports: &[Report<'_>]) -> Markup {
    html! {
        section #comparison {
            h2 { "Comparison" }
            p.muted { "A panel for each manipulation, in its colour. Models are told apart by line style and mark; the thin grey line of a model's style is its clean score." }
            @for (task, figures) in overlays {
                h3 { (task) }
                div.panels { @for figure in figures { (figure) } }
            }
            @for figure in reports.iter().enumerate().filter_map(overlays::drift) { (figure) }
        }
    }
}

fn scores(views: &[View<'_>]) -> Markup {
    html! {
        section #scores {
            h2 { "Score against layer" }
            p.muted {
                "Shaded are 95% intervals over items (Wilson's for accuracy, a bootstrap for F1 and ROUGE). Below zero each manipulation has a strip: a tick at its half-way layer on the line of its interval, and the range that can be ignored, shaded. Dashed is the clean score, within the band by which rounding alone moves it. Click a name to switch a line off, drag to zoom, double-click to go back."
            }
            @for (n, view) in views.iter().enumerate() {
                @if views.len() > 1 { h3 { (view.name) } }
                div.panels.wide {
                    @for task in view.tasks() {
                        div.stack {
                            (figures::scores(n, view, task))
                            @if let Some(figure) = figures::injection(n, view, task) { (figure) }
                        }
                    }
                }
                @for task in view.series.iter().filter(|task| task.clean.n == 0) {
                    p.muted { (no_result(task)) "." }
                }
            }
        }
    }
}

/// The task's name with the mark of sets that the program carries.
fn task_heading(view: &View<'_>, task: &TaskSeries) -> Markup {
    let mark = sample_mark(view.variant, task).trim();
    html! {
        (task.task)
        @if !mark.is_empty() { " " span.mark { (mark.trim_matches(['(', ')'])) } }
    }
}
