//! `midlayer bench statistics`: whether intervals cover and tests keep their size, on simulated
//! data whose truth is known.

use super::super::args::BenchStatisticsArgs;
use super::super::output::{print, say, spinner};
use crate::stats::simulation::study::{Line, Study, exact_size, run as simulate};

pub fn run(args: &BenchStatisticsArgs) -> anyhow::Result<()> {
    let sets = args.sets as usize;
    let mut lines = Vec::new();
    for study in Study::ALL {
        let (name, ..) = study.names();
        if args.only.as_ref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        let waiting = spinner(format!("{name}: simulating"));
        lines.extend(simulate(study, sets, |done, all| {
            waiting.set_message(format!("{name}: {done} of {all} cases"));
        }));
        waiting.finish_and_clear();
        say(&format!("{name}: done"));
    }
    print(&format!("{}{}", tables(&lines, sets), exact()))
}

/// A table a study, in Markdown: a row a case, a column a number of items.
fn tables(lines: &[Line], sets: usize) -> String {
    let mut text = String::new();
    for study in Study::ALL {
        let of: Vec<&Line> = lines.iter().filter(|line| line.study == study).collect();
        if of.is_empty() {
            continue;
        }
        let (name, share, other) = study.names();
        let mut items: Vec<usize> = of.iter().map(|line| line.items).collect();
        items.sort_unstable();
        items.dedup();
        let head: Vec<String> = items.iter().map(|n| format!("{n} items")).collect();
        let (title, rest) = name.split_at(1);
        text.push_str(&format!(
            "### {}{rest}: {share} ({other})\n\n{}\n\n| case | {} |\n|---|{}\n",
            title.to_uppercase(),
            worst(&of, sets),
            head.join(" | "),
            " ---: |".repeat(items.len())
        ));
        for rows in of.chunk_by(|a, b| a.case == b.case) {
            let cells = items.iter().map(|n| {
                let line = rows.iter().find(|line| line.items == *n);
                line.map_or(String::new(), |line| cell(line))
            });
            let cells: Vec<String> = cells.collect();
            text.push_str(&format!("| {} | {} |\n", rows[0].case, cells.join(" | ")));
        }
        text.push('\n');
    }
    text
}

/// Data sets below which a share says nothing.
const FEWEST: usize = 30;

fn cell(line: &Line) -> String {
    if line.sets < FEWEST {
        return "too few".into();
    }
    match line.other {
        x if x.is_nan() => format!("{:.3}", line.share),
        x => format!("{:.3} ({x:.2})", line.share),
    }
}

/// The worst case and the mean, with the standard error of one cell.
fn worst(lines: &[&Line], sets: usize) -> String {
    let said = lines.iter().filter(|line| line.sets >= FEWEST);
    let said: Vec<&&Line> = said.collect();
    let promised = lines[0].study.promised();
    let by = match lines[0].study.is_coverage() {
        true => "Lowest",
        false => "Largest",
    };
    let compare = |a: &&&&Line, b: &&&&Line| a.share.total_cmp(&b.share);
    let worst = match lines[0].study.is_coverage() {
        true => said.iter().min_by(compare),
        false => said.iter().max_by(compare),
    };
    let Some(worst) = worst else {
        return "Nothing was said in any case.".into();
    };
    let mean = said.iter().map(|line| line.share).sum::<f64>() / said.len() as f64;
    let error = (promised * (1.0 - promised) / sets as f64).sqrt();
    // A power may be anything, of which half varies most.
    let most = match lines[0].study {
        Study::Dips => " at most",
        _ => "",
    };
    format!(
        "{by}: {:.3} ({}, {} items); mean of {} cells {mean:.3}; standard error of a cell {error:.3}{most}.",
        worst.share,
        worst.case,
        worst.items,
        said.len()
    )
}

/// The exact size of the score test.
fn exact() -> String {
    let mut text = String::from(
        "### A loss at most the margin: exact size of the score test\n\n| margin | 20 items | 40 items | 60 items | 100 items | 200 items |\n|---| ---: | ---: | ---: | ---: | ---: |\n",
    );
    for margin in [0.05, 0.1] {
        let sizes = [20, 40, 60, 100, 200].map(|n| format!("{:.3}", exact_size(n, margin)));
        let points = 100.0 * margin;
        text.push_str(&format!("| {points:.0} points | {} |\n", sizes.join(" | ")));
    }
    text
}
