//! Tables: Markdown for the file, plain for the terminal.

use std::fmt::Write;

use super::fit::{Column, fit, wrap};
use super::grid::{
    DIFFERENCE_TITLE, Grid, LayerGrid, accuracy_grid, difference_grid, layer_grids, noise_grid,
    percent, transition_grid, transition_title,
};
use super::prefix;
use super::series::{NONE_MARK, TaskSeries, series};
use super::transition::{sentences, transitions};
use crate::engine::Strategy;
use crate::intervention::Extent;
use crate::selftest::{SelfTest, Verdict, worst};
use crate::shown;
use crate::store::{Missing, StoredRun, StoredVariant};
use crate::tasks::{DataSource, Task};

/// Marks numbers of the sets that the program carries.
pub(super) fn sample_mark(run: &StoredVariant, task: &TaskSeries) -> &'static str {
    let mut specs = run.spec.tasks.iter();
    if specs.any(|spec| spec.task == task.task && spec.is_sample()) {
        " (model-written sample)"
    } else {
        ""
    }
}

/// What every report of a run that is not complete begins with.
pub fn incomplete(missing: &Missing) -> String {
    let mut text = format!("INCOMPLETE: {missing}");
    if let Some(command) = &missing.command {
        write!(text, "; to go on: {command}").expect("a String");
    }
    text
}

/// What is said of a task in place of numbers.
pub(super) fn no_result(task: &TaskSeries) -> String {
    format!("{}: no result is stored yet", task.task)
}

fn clean_line(run: &StoredVariant, task: &TaskSeries) -> String {
    format!(
        "{}{}: clean {} {} % of {} items, mean log-probability of the answer {:.2}{}",
        task.task,
        sample_mark(run, task),
        task.metric.name(),
        percent(&task.clean),
        task.clean.n,
        task.clean_logprob,
        task.floor.map_or(String::new(), |floor| format!(
            ", noise floor {:.1} points ({NONE_MARK} marks what does not clear it)",
            100.0 * floor.score
        ))
    )
}

/// Columns of models, tasks and findings, then of numbers.
const FINDINGS: [Column; 1] = [Column::Words];

/// The tables of a run for a terminal of `width` columns (any width without): accuracy in
/// percent, 95% Wilson intervals; a chart; the transition layers.
pub fn terminal(run: &StoredRun, threshold: f64, width: Option<usize>) -> String {
    let mut text = String::new();
    let mut line = |s: &str| {
        text.push_str(s);
        text.push('\n');
    };
    let prose = |text: &str| wrap(text, width);
    let several = run.variants.len() > 1;
    if let Some(missing) = run.missing() {
        line(&incomplete(&missing));
    }
    for variant in &run.variants {
        if several {
            line(&format!("== {} ==", variant.label));
        }
        for task in series(variant) {
            if task.clean.n == 0 {
                line(&no_result(&task));
                continue;
            }
            let Grid { head, rows } = accuracy_grid(&task);
            line(&prose(&clean_line(variant, &task)));
            line(&fit(&head, &rows, &[Column::Numbers], width));
            line(&chart(&task, width));
        }
    }
    let grid = transition_grid(run, threshold);
    if !grid.rows.is_empty() {
        line(&prose(&transition_title(threshold)));
        line(&fit(&grid.head, &grid.rows, &FINDINGS, width));
        for sentence in sentences(&transitions(run, threshold), threshold) {
            line(&prose(&sentence.lines()));
        }
    }
    let grid = difference_grid(run, threshold);
    if !grid.rows.is_empty() {
        line(&prose(DIFFERENCE_TITLE));
        line(&fit(&grid.head, &grid.rows, &FINDINGS, width));
    }
    for variant in &run.variants {
        let of = if several {
            format!("{}: ", variant.label)
        } else {
            String::new()
        };
        text.push_str(&prose(&format!("{of}{}", floor_line(variant))));
    }
    text
}

/// A line a manipulation, a block a layer (or several layers, where the terminal has no room
/// for all): as high as the score is against the clean one.
fn chart(task: &TaskSeries, width: Option<usize>) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let block = |value: f64| {
        let share = (value / task.clean.value).clamp(0.0, 1.0);
        BLOCKS[(share * 7.0).round() as usize]
    };
    let names = task.curves.iter().map(|c| c.kind.to_string().len());
    let names = names.max().unwrap_or(0);
    // Beside the name, the first and the last layer.
    let room = width.map_or(usize::MAX, |width| width.saturating_sub(names + 10).max(1));
    let most = task
        .curves
        .iter()
        .map(|c| c.points.len())
        .max()
        .unwrap_or(0);
    let together = most.div_ceil(room).max(1);
    let mut lines = Vec::new();
    // Without a clean score there is nothing to measure others by.
    let curves = task.curves.iter().filter(|_| task.clean.value > 0.0);
    for curve in curves {
        let (Some(first), Some(last)) = (curve.points.first(), curve.points.last()) else {
            continue;
        };
        let blocks: String = curve
            .points
            .chunks(together)
            .map(|points| {
                let sum: f64 = points.iter().map(|p| p.accuracy.value).sum();
                block(sum / points.len() as f64)
            })
            .collect();
        lines.push(format!(
            " {:>names$}  {:>2} {blocks} {}",
            curve.kind.to_string(),
            first.layer,
            last.layer
        ));
    }
    if lines.is_empty() {
        return String::new();
    }
    let each = match together {
        1 => String::new(),
        n => format!(", a block is {n} layers"),
    };
    let head = format!("score against layer, full height is the clean score{each}:");
    format!("{}\n{}\n", wrap(&head, width), lines.join("\n"))
}

pub(super) fn floor_line(run: &StoredVariant) -> String {
    let worst = run
        .noise_floor
        .iter()
        .map(|f| f.mean_kl)
        .fold(f64::NAN, f64::max);
    if worst.is_nan() {
        return String::new();
    }
    let kl = if worst == 0.0 {
        "0".to_string()
    } else {
        format!("{worst:.1e}")
    };
    let mut text = format!(
        "noise floor: the clean run differs from itself by a mean KL of {kl} when its batch is cut"
    );
    for task in series(run) {
        if let Some(floor) = task.floor {
            write!(
                text,
                "; on {} by {:.1} points of {} and in {:.0} % of answers",
                task.task,
                100.0 * floor.score,
                task.metric.name(),
                100.0 * floor.changed
            )
            .expect("writing to a String");
        }
    }
    text.push_str("; a smaller effect is none\n");
    text
}

fn markdown_grid(text: &mut String, grid: &Grid) {
    let line = |cells: &[String]| {
        let cells: Vec<String> = cells.iter().map(|cell| shown::markdown(cell)).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    text.push_str(&line(&grid.head));
    text.push_str(&format!("|{}\n", " ---: |".repeat(grid.head.len())));
    for row in &grid.rows {
        text.push_str(&line(row));
    }
    text.push('\n');
}

/// The whole report in Markdown.
pub fn markdown(run: &StoredRun, threshold: f64) -> String {
    let mut text = String::new();
    if let Some(missing) = run.missing() {
        writeln!(text, "> **{}**\n", incomplete(&missing)).expect("a String");
    }
    for variant in &run.variants {
        markdown_variant(&mut text, variant, &prefix(run, variant));
    }
    let grid = transition_grid(run, threshold);
    if !grid.rows.is_empty() {
        writeln!(
            text,
            "## Transition layers\n\n{}The {}\n",
            if run.variants.len() > 1 {
                "![score against layer, by model](variants.svg)\n\n"
            } else {
                ""
            },
            transition_title(threshold)
        )
        .expect("a String");
        markdown_grid(&mut text, &grid);
        for sentence in sentences(&transitions(run, threshold), threshold) {
            writeln!(text, "{}\n", shown::markdown(&sentence.to_string())).expect("a String");
        }
    }
    let grid = difference_grid(run, threshold);
    if !grid.rows.is_empty() {
        writeln!(text, "The {DIFFERENCE_TITLE}\n").expect("a String");
        markdown_grid(&mut text, &grid);
    }
    text.push_str(&provenance(run));
    text
}

fn markdown_variant(text: &mut String, run: &StoredVariant, prefix: &str) {
    let facts = &run.spec.model.facts;
    let mut line = |s: String| {
        text.push_str(&s);
        text.push('\n');
    };
    line(format!(
        "# {} ({})\n",
        shown::markdown(&facts.name),
        shown::markdown(&facts.quantization)
    ));
    for notice in run.spec.notices() {
        line(format!("> {}\n", shown::markdown(&notice)));
    }
    line(format!(
        "What prior tokens' hidden states are worth from layer k up: {} layers, manipulated one layer at a time. Scores in percent with 95% intervals over items (Wilson's for accuracy, a bootstrap for F1 and ROUGE); retention counts only the items that the clean model gets right to the letter.\n",
        facts.n_layer
    ));
    for task in series(run) {
        if task.clean.n == 0 {
            line(format!("## {}\n\n{}.\n", task.task, no_result(&task)));
            continue;
        }
        line(format!("## {}\n\n{}.\n", task.task, clean_line(run, &task)));
        line(format!(
            "![score against layer]({prefix}score-{}.svg)\n",
            task.task
        ));
        let mut tables = String::new();
        for LayerGrid { name, title, grid } in layer_grids(&task) {
            if name != "score" {
                writeln!(tables, "{title}:\n").expect("a String");
            }
            markdown_grid(&mut tables, &grid);
        }
        line(tables);
        if task.curves.iter().any(|c| c.kind.has_donor()) {
            line(format!(
                "![what is answered after injection]({prefix}inject-{}.svg)\n",
                task.task
            ));
        }
    }
    line("## Noise floor\n\nThe same clean prompts decoded in other batch shapes. An effect below this is none.\n".into());
    markdown_grid(text, &noise_grid(run));
}

fn provenance(run: &StoredRun) -> String {
    let mut text = String::from("## Provenance\n\n");
    writeln!(text, "- program revisions: {}", run.revisions.join(", ")).expect("a String");
    if let Some(started) = &run.started {
        writeln!(text, "- begun: {started}").expect("a String");
    }
    if run.fallbacks > 0 {
        writeln!(
            text,
            "- results computed whole although a part should have done: {}",
            run.fallbacks
        )
        .expect("a String");
    }
    for variant in &run.variants {
        if run.variants.len() > 1 {
            writeln!(text, "\n### {}\n", shown::markdown(&variant.label)).expect("a String");
        }
        for (name, value) in settings(variant) {
            writeln!(text, "- {name}: {}", shown::markdown(&value)).expect("a String");
        }
    }
    text
}

/// The self-test's verdict on each manipulation, in a line.
fn verdicts(found: &SelfTest, strategy: Strategy) -> String {
    if found.left_out {
        return "left out (--no-selftest), so that nothing tells whether manipulations do what they say here".into();
    }
    let layers: Vec<String> = found.layers.iter().map(ToString::to_string).collect();
    let verdicts: Vec<String> = found
        .manipulations()
        .map(|(kind, site)| {
            let both = [Strategy::Straightforward, strategy];
            let verdicts = both.map(|strategy| found.verdict(kind, site, strategy));
            let verdict = worst(verdicts.into_iter().flatten()).map_or("", Verdict::name);
            format!("{kind} of {site} {verdict}")
        })
        .collect();
    format!("{}; at layers {}", verdicts.join(", "), layers.join(", "))
}

/// Everything a variant's results depend on, for people: (name, value).
pub fn settings(run: &StoredVariant) -> Vec<(String, String)> {
    let spec = &run.spec;
    let c = &spec.context;
    let mut items = Vec::new();
    let mut item = |name: &str, value: String| items.push((name.to_string(), value));
    let facts = &spec.model.facts;
    item(
        "model",
        format!(
            "{} ({}), {}, {} layers, {:.2} bits a weight",
            facts.name,
            facts.quantization,
            facts.architecture,
            facts.n_layer,
            facts.bits_per_weight()
        ),
    );
    item("model SHA-256", spec.model.sha256.clone());
    if let Some(hub) = &spec.model.hub {
        item(
            "from the hub",
            format!("{}, revision {}", hub.repo, hub.revision),
        );
    }
    item("llama.cpp", spec.llama_cpp.clone());
    item("devices", spec.devices.join(", "));
    let mut strategy = spec.strategy.to_string();
    if let Some(n) = spec.parallel {
        write!(strategy, ", {n} sequences in a batch").expect("a String");
    }
    item("strategy", strategy);
    item(
        "settings",
        format!(
            "{} threads, context {}, batch {}, micro-batch {}, flash attention {:?}, cache K {} V {}",
            c.threads, c.n_ctx, c.n_batch, c.n_ubatch, c.flash_attention, c.cache_k, c.cache_v
        ),
    );
    for task in &spec.tasks {
        let mut value = format!("version {}, limit {}", task.version, task.limit);
        if task.shots > 0 && !task.about().is_some_and(Task::reads_data) || task.own.is_some() {
            write!(value, ", {} shots", task.shots).expect("writing to a String");
        }
        if let (Some(max), Some(seed)) = (task.math_max, task.math_seed) {
            write!(value, ", operands to {max}, seed {seed}").expect("writing to a String");
        }
        if task.chat {
            value.push_str(", chat template");
            if let Some(date) = task.chat_date {
                value.push_str(&format!(" on {date}"));
            }
        }
        if task.parse_special {
            value.push_str(", special tokens in texts read as such");
        }
        match &task.data {
            Some(DataSource {
                path: Some(path),
                sha256,
            }) => {
                let hash = sha256.as_deref().unwrap_or("unknown");
                write!(value, ", {} (SHA-256 {hash})", path.display()).expect("a String");
            }
            Some(_) => value.push_str(", the program's own sample, written by a language model"),
            None => {}
        }
        item(&task.task.to_string(), value);
    }
    for (task, n) in run.cut.iter().filter(|(_, n)| **n > 0) {
        item(
            &format!("{task}, texts cut to fit the context"),
            n.to_string(),
        );
    }
    let sites: Vec<String> = spec
        .sites
        .iter()
        .map(|s| format!("{s:?}").to_lowercase())
        .collect();
    item("rewritten", sites.join(" and "));
    let after = match (spec.manipulate_generated, spec.from_step) {
        (true, 0) => "manipulated too, once it is not the last".to_string(),
        (false, 0) => "left clean".to_string(),
        (true, t) => format!("manipulation begins when {t} tokens follow the prompt"),
        (false, t) => format!("manipulation of what is there when {t} tokens follow the prompt"),
    };
    item("text after the prompt", after);
    item("seeds of random and shuffle", format!("{:?}", spec.seeds));
    item("tokens", spec.tokens.clone());
    if spec.extent != Extent::Paper {
        item("layers acted on", format!("{:?}", spec.extent));
    }
    if let Some(found) = &run.selftest {
        item("self-test before the run", verdicts(found, spec.strategy));
    }
    for ((task, what), reasons) in &run.left_out {
        let whom = if what == "item" {
            "items left out".to_string()
        } else {
            format!("items left out by {what}")
        };
        let value = format!("{}: {reasons}", reasons.count());
        item(&format!("{task}, {whom}"), value);
    }
    items
}
