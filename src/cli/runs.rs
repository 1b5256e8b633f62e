//! `midlayer runs`: what is stored in a folder of runs.

use std::fs;
use std::path::{Path, PathBuf};

use comfy_table::{CellAlignment, Table};

use super::args::RunsArgs;
use super::output::print;
use midlayer::report::STYLE;
use midlayer::store::{DATABASE, StoredRun};

pub fn run(args: RunsArgs) -> anyhow::Result<()> {
    let folders = found(&args.folder)
        .map_err(|e| anyhow::anyhow!("{} cannot be read: {e}", args.folder.display()))?;
    if folders.is_empty() {
        let folder = args.folder.display();
        return print(&format!(
            "no run in {folder}; midlayer sweep makes one, midlayer runs FOLDER looks elsewhere\n"
        ));
    }
    let mut table = Table::new();
    table.load_style(STYLE);
    table.set_header([
        "run",
        "model",
        "tasks",
        "manipulations",
        "layers",
        "items",
        "results",
    ]);
    let mut unreadable = String::new();
    for folder in folders {
        let run = match StoredRun::read(&folder) {
            Ok(run) => run,
            Err(error) => {
                unreadable.push_str(&format!("{error}\n"));
                continue;
            }
        };
        for variant in &run.variants {
            let spec = &variant.spec;
            let tasks: Vec<String> = spec.tasks.iter().map(|t| t.task.to_string()).collect();
            let kinds: Vec<String> = spec.manipulations.iter().map(ToString::to_string).collect();
            table.add_row([
                folder.display().to_string(),
                variant.label.clone(),
                tasks.join(" "),
                kinds.join(" "),
                spec.layers.len().to_string(),
                variant.items.len().to_string(),
                variant.rows.len().to_string(),
            ]);
        }
    }
    for column in table.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    print(&format!("{table}\n{unreadable}"))
}

/// The folder itself, if it holds a run, and those of its subfolders that do, by name.
fn found(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut folders = vec![folder.to_path_buf()];
    match fs::read_dir(folder) {
        Ok(entries) => {
            for entry in entries {
                folders.push(entry?.path());
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    folders.retain(|folder| folder.join(DATABASE).is_file());
    folders.sort();
    Ok(folders)
}
