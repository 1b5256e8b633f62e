//! `midlayer report`.

use super::args::ReportArgs;
use super::output::{print, say, width};
use midlayer::report;
use midlayer::store::StoredRun;

pub fn run(args: ReportArgs) -> anyhow::Result<()> {
    let threshold = args.threshold.threshold;
    let runs = args.runs.iter().map(|folder| StoredRun::read(folder));
    let runs = runs.collect::<Result<Vec<_>, _>>()?;
    let mut printed = Ok(());
    for run in &runs {
        // The report is written whether anybody reads the tables or not.
        printed = printed.and_then(|()| print(&report::terminal(run, threshold, width())));
        for file in report::write(run, threshold)? {
            say(&format!("wrote {}", file.display()));
        }
    }
    let page = args.out.unwrap_or_else(|| args.runs[0].join(report::PAGE));
    report::write_page(&runs, threshold, &page)?;
    say(&format!("wrote {}", page.display()));
    printed
}
