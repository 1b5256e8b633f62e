//! Tables: Markdown for the file, plain for the terminal.

use std::fmt::Write;

use super::findings::{Finding, Report};
use super::fit::{Column, fit, wrap};
use super::grid::{
    DIFFERENCE_TITLE, DRIFT_TITLE, Grid, LAYERS_TITLE, LOSS_TITLE, LayerGrid, MODELS_TITLE,
    accuracy_grid, difference_grid, drift_grid, layer_grids, layers_grid, loss_grid, models_grid,
    noise_grid, percent,
};
use super::prefix;
use super::provenance::provenance;
use super::series::{NONE_MARK, TaskSeries};
use super::verdicts::{self, Told, comparisons, told};
use crate::shown;
use crate::store::{Missing, StoredVariant};

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

/// A run for a terminal of `width` columns (any width without): scores by layer in percent with
/// 95% intervals, then what was found, in sentences, and a chart.
pub fn terminal(report: &Report<'_>, width: Option<usize>) -> String {
    let run = report.run;
    let mut text = String::new();
    let mut line = |s: &str| {
        text.push_str(s);
        text.push('\n');
    };
    let prose = |text: &str| wrap(text, width);
    let several = run.variants.len() > 1;
    if let Some(missing) = run.missing() {
        line(&prose(&incomplete(&missing)));
    }
    for (variant, tasks) in run.variants.iter().zip(&report.series) {
        if several {
            line(&format!("== {} ==", variant.label));
        }
        for task in tasks {
            if task.clean.n == 0 {
                line(&no_result(task));
                continue;
            }
            let Grid { head, rows } = accuracy_grid(task);
            line(&prose(&clean_line(variant, task)));
            line(&fit(&head, &rows, &[Column::Numbers], width));
        }
        let of = if several {
            format!("{}: ", variant.label)
        } else {
            String::new()
        };
        let floor = floor_line(variant, tasks);
        if !floor.is_empty() {
            line(&prose(&format!("{of}{floor}")));
        }
    }
    if report.findings.is_empty() {
        return text;
    }
    if run.missing().is_some() {
        line("Of the results stored so far:");
    }
    for Told { about, of } in told(report) {
        line(&prose(&about));
        for (_, sentences) in of {
            line(&prose(&format!("  {}", sentences.join(" "))));
        }
    }
    for (_, _, sentence) in comparisons(report) {
        line(&prose(&sentence));
    }
    line("");
    for (n, tasks) in report.series.iter().enumerate() {
        for task in tasks {
            let label = several.then(|| run.variants[n].label.as_str());
            text.push_str(&chart(task, label, width));
        }
    }
    text.push_str(&prose(verdicts::NOTE));
    text.push('\n');
    text
}

/// A line a manipulation, a block a layer (or several layers, where the terminal has no room
/// for all): as high as the score is against the clean one.
fn chart(task: &TaskSeries, label: Option<&str>, width: Option<usize>) -> String {
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
    let of = label.map_or(String::new(), |label| format!("{label}, "));
    let task = task.task;
    let head = format!("{of}{task}: score against layer, full height is the clean score{each}:");
    format!("{}\n{}\n", wrap(&head, width), lines.join("\n"))
}

pub(super) fn floor_line(run: &StoredVariant, tasks: &[TaskSeries]) -> String {
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
    for task in tasks {
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
    text.push_str("; treat a smaller effect as zero");
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

/// The whole report in Markdown: what was found, then all numbers.
pub fn markdown(report: &Report<'_>) -> String {
    let run = report.run;
    let mut text = String::new();
    if let Some(missing) = run.missing() {
        writeln!(text, "> **{}**\n", incomplete(&missing)).expect("a String");
    }
    if !report.findings.is_empty() {
        markdown_findings(&mut text, report);
    }
    for n in 0..run.variants.len() {
        markdown_variant(&mut text, report, n);
    }
    text.push_str(&provenance(run));
    text
}

fn markdown_findings(text: &mut String, report: &Report<'_>) {
    let mut line = |s: String| {
        text.push_str(&s);
        text.push_str("\n\n");
    };
    line("# Findings".into());
    for (_, _, sentence) in comparisons(report) {
        line(format!("**{}**", shown::markdown(&sentence)));
    }
    for Told { about, of } in told(report) {
        line(format!("{}:", shown::markdown(&about)));
        let items: Vec<String> = of
            .iter()
            .map(|(_, sentences)| match sentences.split_first() {
                Some((first, rest)) => format!("- **{first}** {}", rest.join(" ")).trim().into(),
                None => String::new(),
            })
            .collect();
        line(items.join("\n"));
    }
    line(format!("{} The {LAYERS_TITLE}:", verdicts::NOTE));
    let mut tables = String::new();
    markdown_grid(&mut tables, &layers_grid(report));
    let grid = difference_grid(report);
    if !grid.rows.is_empty() {
        writeln!(tables, "The {DIFFERENCE_TITLE}:\n").expect("a String");
        markdown_grid(&mut tables, &grid);
    }
    if report.run.variants.len() > 1 {
        writeln!(tables, "The {MODELS_TITLE}:\n").expect("a String");
        markdown_grid(&mut tables, &models_grid(report));
    }
    let drift = drift_grid(report.run);
    if !drift.rows.is_empty() {
        writeln!(tables, "The {DRIFT_TITLE}:\n").expect("a String");
        markdown_grid(&mut tables, &drift);
        tables.push_str("![drift of states](drift.svg)\n\n");
    }
    if report.run.variants.len() > 1 {
        tables.push_str("![score against layer, by model](variants.svg)\n");
    }
    line(tables.trim_end().to_string());
}

fn markdown_variant(text: &mut String, report: &Report<'_>, n: usize) {
    let run = &report.run.variants[n];
    let prefix = prefix(report.run, run);
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
    for task in &report.series[n] {
        if task.clean.n == 0 {
            line(format!("## {}\n\n{}.\n", task.task, no_result(task)));
            continue;
        }
        line(format!("## {}\n\n{}.\n", task.task, clean_line(run, task)));
        line(format!(
            "![score against layer]({prefix}score-{}.svg)\n",
            task.task
        ));
        let mut tables = String::new();
        for LayerGrid { name, title, grid } in layer_grids(task) {
            if name != "score" {
                writeln!(tables, "{title}:\n").expect("a String");
            }
            markdown_grid(&mut tables, &grid);
        }
        let findings: Vec<&Finding> = report.of(n, task.task).collect();
        if findings.iter().any(|f| f.tells_losses()) {
            writeln!(tables, "The {LOSS_TITLE}:\n").expect("a String");
            markdown_grid(&mut tables, &loss_grid(&findings));
        }
        line(tables);
        if task.curves.iter().any(|c| c.kind.has_donor()) {
            line(format!(
                "![what is answered after injection]({prefix}inject-{}.svg)\n",
                task.task
            ));
        }
    }
    line("## Noise floor\n\nThe same clean prompts decoded in other batch shapes. Treat an effect smaller than this as zero.\n".into());
    markdown_grid(text, &noise_grid(run));
}
