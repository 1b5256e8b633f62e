//! Tables: Markdown for the file, plain for the terminal.

use std::fmt::Write;

use comfy_table::{CellAlignment, ContentArrangement, LineStyle, Table, TableStyle};

use super::series::{Curve, Share, TaskSeries, series};
use crate::intervention::{Extent, Kind};
use crate::store::StoredRun;
use crate::sweep::DataSource;

/// Lines above and below the head and at the end.
pub const STYLE: TableStyle = TableStyle::new()
    .top_border(LineStyle::none().fill('─').junction('─'))
    .header_separator(LineStyle::none().fill('─').junction('─'))
    .bottom_border(LineStyle::none().fill('─').junction('─'));

/// A share in percent with its interval; a dash where there is nothing.
fn percent(share: &Share) -> String {
    if share.n == 0 {
        return "-".into();
    }
    let p = |x: f64| (100.0 * x).round();
    format!("{} ({}-{})", p(share.value), p(share.low), p(share.high))
}

struct Grid {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// One row a layer, one column a manipulation.
fn by_layer(task: &TaskSeries, curves: &[&Curve], show: impl Fn(&super::Point) -> String) -> Grid {
    let mut layers: Vec<u32> = task
        .curves
        .iter()
        .flat_map(|c| c.points.iter().map(|p| p.layer))
        .collect();
    layers.sort_unstable();
    layers.dedup();
    let mut head = vec!["layer".to_string()];
    head.extend(curves.iter().map(|c| c.kind.to_string()));
    let rows = layers
        .into_iter()
        .map(|layer| {
            let mut row = vec![layer.to_string()];
            row.extend(curves.iter().map(|curve| {
                let point = curve.points.iter().find(|p| p.layer == layer);
                point.map_or("-".into(), &show)
            }));
            row
        })
        .collect();
    Grid { head, rows }
}

/// `inject` shows what was answered, original and modified; the others accuracy.
fn accuracy_grid(task: &TaskSeries) -> Grid {
    let plain: Vec<&Curve> = task.curves.iter().collect();
    let mut grid = by_layer(task, &plain, |p| percent(&p.accuracy));
    if let Some(inject) = task.curves.iter().find(|c| c.kind == Kind::Inject) {
        let modified = by_layer(task, &[inject], |p| {
            p.modified.as_ref().map_or("-".into(), percent)
        });
        for (row, mut extra) in grid.rows.iter_mut().zip(modified.rows) {
            row.push(extra.remove(1));
        }
        for name in &mut grid.head {
            if name == "inject" {
                *name = "inject: original".into();
            }
        }
        grid.head.push("inject: modified".into());
    }
    grid
}

/// Marks numbers of the sets that the program carries.
pub(super) fn sample_mark(run: &StoredRun, task: &TaskSeries) -> &'static str {
    let mut specs = run.spec.tasks.iter();
    if specs.any(|spec| spec.task == task.task && spec.is_sample()) {
        " (model-written sample)"
    } else {
        ""
    }
}

fn clean_line(run: &StoredRun, task: &TaskSeries) -> String {
    format!(
        "{}{}: clean {} {} % of {} items, mean log-probability of the answer {:.2}",
        task.task,
        sample_mark(run, task),
        task.task.metric(),
        percent(&task.clean),
        task.clean.n,
        task.clean_logprob
    )
}

/// The tables of a run for a terminal: accuracy in percent, 95% Wilson intervals.
pub fn terminal(run: &StoredRun) -> String {
    let mut text = String::new();
    for task in series(run) {
        let grid = accuracy_grid(&task);
        let mut table = Table::new();
        table
            .load_style(STYLE)
            .set_content_arrangement(ContentArrangement::Disabled)
            .set_header(grid.head);
        table.add_rows(grid.rows);
        for column in table.column_iter_mut() {
            column.set_cell_alignment(CellAlignment::Right);
        }
        writeln!(text, "{}\n{table}", clean_line(run, &task)).expect("writing to a String");
    }
    text.push_str(&floor_line(run));
    text
}

fn floor_line(run: &StoredRun) -> String {
    let worst = run
        .noise_floor
        .iter()
        .map(|f| f.mean_kl)
        .fold(f64::NAN, f64::max);
    if worst.is_nan() {
        return String::new();
    }
    format!(
        "noise floor: the clean run differs from itself by a mean KL of {} when its batch is cut; a smaller effect is none\n",
        if worst == 0.0 {
            "0".to_string()
        } else {
            format!("{worst:.1e}")
        }
    )
}

fn markdown_grid(text: &mut String, grid: &Grid) {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    text.push_str(&line(&grid.head));
    text.push_str(&line(&vec!["---:".to_string(); grid.head.len()]));
    for row in &grid.rows {
        text.push_str(&line(row));
    }
    text.push('\n');
}

/// The whole report in Markdown.
pub fn markdown(run: &StoredRun) -> String {
    let spec = &run.spec;
    let facts = &spec.model.facts;
    let mut text = String::new();
    let mut line = |s: String| {
        text.push_str(&s);
        text.push('\n');
    };
    line(format!("# {} ({})\n", facts.name, facts.quantization));
    line(format!(
        "What prior tokens' hidden states are worth from layer k up: {} layers, manipulated one layer at a time. Scores in percent with 95% intervals over items (Wilson's for accuracy, a bootstrap for F1 and ROUGE); retention counts only the items that the clean model gets right to the letter.\n",
        facts.n_layer
    ));
    for task in series(run) {
        line(format!("## {}\n\n{}.\n", task.task, clean_line(run, &task)));
        line(format!("![score against layer](score-{}.svg)\n", task.task));
        let mut tables = String::new();
        markdown_grid(&mut tables, &accuracy_grid(&task));
        let curves: Vec<&Curve> = task.curves.iter().collect();
        tables.push_str("Retention, percent:\n\n");
        markdown_grid(
            &mut tables,
            &by_layer(&task, &curves, |p| percent(&p.retention)),
        );
        tables.push_str("Answers that are the clean run's, percent:\n\n");
        markdown_grid(
            &mut tables,
            &by_layer(&task, &curves, |p| percent(&p.agreement)),
        );
        if curves
            .iter()
            .any(|c| c.points.iter().any(|p| p.between_seeds.is_some()))
        {
            tables.push_str(
                "Standard deviation between seeds of the mean score, percent points (the intervals above speak of items):\n\n",
            );
            markdown_grid(
                &mut tables,
                &by_layer(&task, &curves, |p| {
                    p.between_seeds
                        .map_or("-".into(), |d| format!("{:.1}", 100.0 * d))
                }),
            );
        }
        tables.push_str("Mean KL divergence from the clean next-token distribution, nats:\n\n");
        markdown_grid(
            &mut tables,
            &by_layer(&task, &curves, |p| format!("{:.3}", p.kl)),
        );
        tables.push_str("Mean log-probability of the whole answer, nats:\n\n");
        markdown_grid(
            &mut tables,
            &by_layer(&task, &curves, |p| format!("{:.2}", p.logprob)),
        );
        line(tables);
        if task.curves.iter().any(|c| c.kind == Kind::Inject) {
            line(format!(
                "![what is answered after injection](inject-{}.svg)\n",
                task.task
            ));
        }
    }
    line("## Noise floor\n\nThe same clean prompts decoded in other batch shapes. An effect below this is none.\n".into());
    line("| shape | prompts | largest logit difference | mean KL | largest KL | argmax changed |\n| --- | ---: | ---: | ---: | ---: | ---: |".into());
    for f in &run.noise_floor {
        line(format!(
            "| {} | {} | {:.2e} | {:.2e} | {:.2e} | {} |",
            f.shape, f.prompts, f.max_logit, f.mean_kl, f.max_kl, f.argmax_changes
        ));
    }
    line(provenance(run));
    text
}

fn provenance(run: &StoredRun) -> String {
    let spec = &run.spec;
    let c = &spec.context;
    let mut text = String::from("\n## Provenance\n\n");
    let mut item = |name: &str, value: String| {
        writeln!(text, "- {name}: {value}").expect("writing to a String");
    };
    item("model SHA-256", spec.model.sha256.clone());
    item("llama.cpp", spec.llama_cpp.clone());
    item("devices", spec.devices.join(", "));
    item("program revisions", run.revisions.join(", "));
    let mut strategy = spec.strategy.to_string();
    if let Some(n) = spec.parallel {
        write!(strategy, ", {n} sequences in a batch").expect("a String");
    }
    if run.fallbacks > 0 {
        write!(strategy, "; {} results computed whole", run.fallbacks).expect("a String");
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
        if !task.task.reads_data() {
            write!(value, ", {} shots", task.shots).expect("writing to a String");
        }
        if let (Some(max), Some(seed)) = (task.math_max, task.math_seed) {
            write!(value, ", operands to {max}, seed {seed}").expect("writing to a String");
        }
        if task.chat {
            value.push_str(", chat template");
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
    for ((task, what), n) in &run.left_out {
        let whom = if what == "item" {
            "items left out".to_string()
        } else {
            format!("items left out by {what}")
        };
        item(&format!("{task}, {whom}"), n.to_string());
    }
    text
}
