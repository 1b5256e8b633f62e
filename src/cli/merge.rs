//! `midlayer merge`: one run of the parts that were computed apart.

use std::collections::BTreeSet;
use std::path::Path;

use super::Usage;
use super::args::MergeArgs;
use super::output::{print, say};
use crate::shards::{Shards, list};
use crate::store::{Merged, merge};

pub fn run(args: MergeArgs) -> anyhow::Result<()> {
    let mut parts = args.parts;
    if parts.is_empty() {
        let shards = Shards::of(&args.out)?;
        let shards = shards.ok_or_else(|| {
            Usage(format!(
                "{0} holds no parts of a run: midlayer sweep --out {0} --shard 1/4 makes one of four; parts elsewhere are named after it",
                args.out.display()
            ))
        })?;
        parts = shards.folders();
    }
    // A folder of parts stands for them.
    let mut folders = Vec::new();
    for part in parts {
        match Shards::of(&part)? {
            Some(shards) if part != args.out => folders.extend(shards.folders()),
            _ => folders.push(part),
        }
    }
    let merged = merge(&args.out, &folders)?;
    print(&said(&args.out, &merged))?;
    for gap in gaps(&merged) {
        say(&gap);
    }
    Ok(())
}

fn said(out: &Path, merged: &Merged) -> String {
    let new: usize = merged.parts.iter().map(|part| part.new).sum();
    let of = merged.planned.map_or(String::new(), |n| format!(" of {n}"));
    format!(
        "{}: {}{of} results, {new} of them new, from {} part{}\n",
        out.display(),
        merged.stored,
        merged.parts.len(),
        if merged.parts.len() == 1 { "" } else { "s" },
    )
}

/// What is missing, by its parts.
fn gaps(merged: &Merged) -> Vec<String> {
    let mut gaps = Vec::new();
    if merged
        .planned
        .is_none_or(|planned| merged.stored >= planned)
    {
        return gaps;
    }
    let shards: Vec<_> = merged
        .parts
        .iter()
        .filter_map(|part| Some((part, part.shard?)))
        .collect();
    for (part, shard) in &shards {
        if part.results < shard.results {
            gaps.push(format!(
                "part {} of {} has {} of its {} results ({})",
                shard.number,
                shard.count,
                part.results,
                shard.results,
                part.folder.display()
            ));
        }
    }
    let counts: BTreeSet<u32> = shards.iter().map(|(_, shard)| shard.count).collect();
    if let Some(count) = counts.first().filter(|_| counts.len() == 1) {
        let there: BTreeSet<u32> = shards.iter().map(|(_, shard)| shard.number).collect();
        let missing: Vec<u32> = (1..=*count).filter(|n| !there.contains(n)).collect();
        if !missing.is_empty() {
            gaps.push(format!("not there of {count} parts: {}", list(&missing)));
        }
    }
    gaps
}
