//! Options of what reads stored runs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::VerdictArgs;

#[derive(Args)]
pub struct ReportArgs {
    /// Folders of runs
    #[arg(required = true, value_name = "FOLDER")]
    pub runs: Vec<PathBuf>,
    /// The page [default: report.html in the first folder]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub verdicts: VerdictArgs,
}

#[derive(Args)]
pub struct ExportArgs {
    /// Folders of runs
    #[arg(required_unless_present = "schema", value_name = "FOLDER")]
    pub runs: Vec<PathBuf>,
    /// Format [default: the one that the ending of --out names, else csv]
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub output: Option<ExportFormat>,
    /// File, which replaces an older one when it is complete [default: stdout]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Fill the columns of prompts, which repeat in every row of an item
    #[arg(long)]
    pub prompts: bool,
    /// Print the JSON Schema of the rows
    #[arg(long, conflicts_with_all = ["runs", "output", "out"])]
    pub schema: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    /// Comma-separated values, as they are: text that begins as a formula does (=, +, -, @) too
    Csv,
    /// One JSON object a line
    Jsonl,
    /// A Markdown table
    Md,
    /// A script that makes and fills a table
    Sql,
    /// Apache Parquet, for --out
    Parquet,
}
