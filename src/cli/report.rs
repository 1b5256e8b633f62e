//! `midlayer report`.

use super::args::ReportArgs;
use super::output::{print, say};
use midlayer::report;
use midlayer::store::StoredRun;

pub fn run(args: ReportArgs) -> anyhow::Result<()> {
    let threshold = args.threshold.threshold;
    for folder in &args.runs {
        let run = StoredRun::read(folder)?;
        print(&report::terminal(&run, threshold))?;
        for file in report::write(&run, threshold)? {
            say(&format!("wrote {}", file.display()));
        }
    }
    Ok(())
}
