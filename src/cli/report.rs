//! `midlayer report`.

use super::args::ReportArgs;
use super::output::{print, say};
use midlayer::report;
use midlayer::store::StoredRun;

pub fn run(args: ReportArgs) -> anyhow::Result<()> {
    let run = StoredRun::read(&args.run)?;
    print(&report::terminal(&run))?;
    for file in report::write(&run)? {
        say(&format!("wrote {}", file.display()));
    }
    Ok(())
}
