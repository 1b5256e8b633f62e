//! `midlayer watch`: how far a run is, by its folder alone.

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use super::Usage;
use super::args::WatchArgs;
use super::output::{print, table};
use crate::report::Column::{Numbers, Words};
use crate::shards::{Shards, list};
use crate::store::{DATABASE, Glance};

/// A process that was not seen at work for so long may have ended.
const QUIET: Duration = Duration::from_secs(600);

pub fn run(args: &WatchArgs) -> anyhow::Result<()> {
    let mut last = String::new();
    loop {
        let (text, complete) = look(&args.folder)?;
        // What has not changed is not said again.
        if text != last {
            print(&text)?;
            last = text;
        }
        if complete || args.once {
            return Ok(());
        }
        sleep(Duration::from_secs(args.seconds));
    }
}

/// How far a run is, and whether it is complete.
fn look(folder: &Path) -> anyhow::Result<(String, bool)> {
    let Some(shards) = Shards::of(folder)? else {
        if !folder.join(DATABASE).is_file() {
            return Err(Usage(format!("{} holds no run yet", folder.display())).into());
        }
        let glance = Glance::of(folder)?;
        let text = format!("{}: {}\n", folder.display(), told(&glance));
        return Ok((text, glance.is_complete()));
    };
    let mut rows = Vec::new();
    let (mut stored, mut complete, mut planned) = (0, 0, None);
    for (number, part) in &shards.begun {
        let glance = Glance::of(part)?;
        stored += glance.stored();
        planned = planned.or(glance.planned());
        complete += u32::from(glance.is_complete());
        if !glance.is_complete() {
            let [of, who] = columns(&glance);
            rows.push(vec![number.to_string(), of, who]);
        }
    }
    let absent: Vec<u32> = (1..=shards.count)
        .filter(|number| !shards.begun.contains_key(number))
        .collect();
    let of = planned.map_or(String::new(), |n| format!(" of {n}"));
    let mut text = format!(
        "{}: {stored}{of} results, {complete} of {} parts complete\n",
        folder.display(),
        shards.count
    );
    if !absent.is_empty() {
        text.push_str(&format!("not begun: {}\n", list(&absent)));
    }
    if !rows.is_empty() {
        let head = ["part", "results", "worked on by"];
        text.push_str(&format!(
            "{}\n",
            table(&head, &rows, &[Numbers, Numbers, Words])
        ));
    }
    Ok((text, complete == shards.count))
}

fn told(glance: &Glance) -> String {
    let [of, who] = columns(glance);
    match glance.is_complete() {
        true => format!("{of} results, complete"),
        false => format!("{of} results, worked on by {who}"),
    }
}

/// How many results there are, and who works on them.
fn columns(glance: &Glance) -> [String; 2] {
    let all = glance
        .all()
        .map_or(String::new(), |all| format!(" of {all}"));
    let who = match &glance.holder {
        None => "nobody".to_string(),
        Some((who, seen)) => {
            let ago = seen.and_then(|seen| SystemTime::now().duration_since(seen).ok());
            match ago.filter(|ago| *ago > QUIET) {
                None => who.clone(),
                Some(ago) => format!("{who}, last seen {} minutes ago", ago.as_secs() / 60),
            }
        }
    };
    [format!("{}{all}", glance.stored()), who]
}
