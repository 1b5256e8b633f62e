//! `midlayer export`.

use std::collections::HashSet;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use super::Usage;
use super::args::{ExportArgs, ExportFormat};
use super::output::{print, print_by, say};
use super::sharded::read_run;
use crate::export::{
    Csv, Exporter, JsonLines, Markdown, Parquet, Prompts, Sql, records, schema_text, write_file,
};
use crate::store::DATABASE;

pub fn run(args: ExportArgs) -> anyhow::Result<()> {
    if args.schema {
        return print(&schema_text());
    }
    let out = args.out.as_deref();
    let format = format(args.output, out)?;
    check(format, out, io::stdout().is_terminal())?;
    let names = names(&args.runs)?;
    let runs = args.runs.iter().map(|folder| read_run(folder));
    let runs = runs.collect::<Result<Vec<_>, _>>()?;
    let prompts = match args.prompts {
        true => Prompts::Included,
        false => Prompts::LeftOut,
    };
    for (name, run) in names.iter().zip(&runs) {
        if let Some(missing) = run.missing() {
            say(&format!("{name} is incomplete: {missing}"));
        }
    }
    let mut count = 0;
    let mut records = names
        .iter()
        .zip(&runs)
        .flat_map(|(name, run)| records(name, run, prompts))
        .inspect(|_| count += 1);
    let exporter = exporter(format);
    match out {
        None => {
            print_by(|stdout| exporter.export(&mut records, stdout))?;
        }
        Some(path) => {
            write_file(path, exporter, &mut records)?;
            drop(records);
            say(&format!("wrote {count} rows to {}", path.display()));
        }
    }
    Ok(())
}

fn exporter(format: ExportFormat) -> &'static dyn Exporter {
    match format {
        ExportFormat::Csv => &Csv,
        ExportFormat::Jsonl => &JsonLines,
        ExportFormat::Md => &Markdown,
        ExportFormat::Sql => &Sql,
        ExportFormat::Parquet => &Parquet,
    }
}

/// The format asked for, or else the file's.
fn format(asked: Option<ExportFormat>, out: Option<&Path>) -> Result<ExportFormat, Usage> {
    let (None, Some(path)) = (asked, out) else {
        return Ok(asked.unwrap_or(ExportFormat::Csv));
    };
    let ending = path.extension().and_then(|ending| ending.to_str());
    let format = ending.and_then(|ending| ExportFormat::from_str(ending, true).ok());
    format.ok_or_else(|| {
        Usage(format!(
            "the ending of {} names no format; say which: -o csv, jsonl, md, sql or parquet",
            path.display()
        ))
    })
}

fn check(format: ExportFormat, out: Option<&Path>, terminal: bool) -> Result<(), Usage> {
    if format == ExportFormat::Parquet && out.is_none() && terminal {
        let text = "Parquet is no text for a terminal; name a file (--out rows.parquet)";
        return Err(Usage(text.into()));
    }
    if out.and_then(Path::file_name) == Some(DATABASE.as_ref()) {
        let text = format!("{DATABASE} is what runs are stored in; name another file (--out)");
        return Err(Usage(text));
    }
    Ok(())
}

/// What each run is called: its folder's name, or the folder as it was written where several
/// have the same one.
fn names(folders: &[PathBuf]) -> Result<Vec<String>, Usage> {
    let mut seen = HashSet::new();
    let mut names = Vec::new();
    for folder in folders {
        // A folder that is not there is reported when it is read.
        let whole = fs::canonicalize(folder).unwrap_or_else(|_| folder.clone());
        let name = whole.file_name().unwrap_or(whole.as_os_str());
        names.push(name.to_string_lossy().into_owned());
        if !seen.insert(whole) {
            let text = format!("{} is named twice", folder.display());
            return Err(Usage(text));
        }
    }
    let alone = |name: &String| names.iter().filter(|other| *other == name).count() == 1;
    let each = names.iter().zip(folders);
    Ok(each
        .map(|(name, folder)| {
            if alone(name) {
                name.clone()
            } else {
                folder.display().to_string()
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_the_one_asked_for_or_the_files() {
        let found = |asked, out: Option<&str>| format(asked, out.map(Path::new)).ok();
        assert_eq!(found(None, None), Some(ExportFormat::Csv));
        assert_eq!(
            found(None, Some("a/b.parquet")),
            Some(ExportFormat::Parquet)
        );
        assert_eq!(found(None, Some("a/b.CSV")), Some(ExportFormat::Csv));
        let asked = Some(ExportFormat::Sql);
        assert_eq!(found(asked, Some("b.csv")), asked);
        assert_eq!(found(asked, Some("b.txt")), asked);
        for unknown in ["b.txt", "b"] {
            assert_eq!(found(None, Some(unknown)), None, "{unknown}");
        }
    }

    #[test]
    fn terminals_and_databases_are_spared() {
        let file = Some(Path::new("a.parquet"));
        let database = Some(Path::new("runs/a/results.sqlite"));
        for (format, out, terminal, fine) in [
            (ExportFormat::Parquet, None, true, false),
            (ExportFormat::Parquet, None, false, true),
            (ExportFormat::Parquet, file, true, true),
            (ExportFormat::Csv, None, true, true),
            (ExportFormat::Sql, database, false, false),
        ] {
            let error = check(format, out, terminal).err();
            assert_eq!(error.is_none(), fine, "{format:?} {out:?} {terminal}");
            assert!(error.is_none_or(|e| e.0.contains("--out")));
        }
    }

    #[test]
    fn runs_of_the_same_name_go_by_their_folders() {
        let folders = ["a/x", "b/x", "y"].map(PathBuf::from);
        assert_eq!(names(&folders).ok().unwrap(), ["a/x", "b/x", "y"]);
        assert!(names(&["a/x", "a/x"].map(PathBuf::from)).is_err());
    }
}
