//! `midlayer report`.

use super::args::ReportArgs;
use super::output::{print, say, width};
use super::sharded::read_run;
use crate::report::{self, Report};

pub fn run(args: ReportArgs) -> anyhow::Result<()> {
    let options = args.verdicts.options();
    let runs = args.runs.iter().map(|folder| read_run(folder));
    let runs = runs.collect::<Result<Vec<_>, _>>()?;
    let reports: Vec<Report<'_>> = runs.iter().map(|run| Report::new(run, options)).collect();
    let mut printed = Ok(());
    for of in &reports {
        // The report is written whether anybody reads the tables or not.
        printed = printed.and_then(|()| print(&report::terminal(of, width())));
        for file in report::write(of)? {
            say(&format!("wrote {}", file.display()));
        }
    }
    let page = args.out.unwrap_or_else(|| args.runs[0].join(report::PAGE));
    report::write_page(&reports, &page)?;
    say(&format!("wrote {}", page.display()));
    printed
}
