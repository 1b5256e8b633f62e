//! Runs that are divided among machines: which part is whose, where the parts lie, and what is
//! missing of them.
//!
//! No part knows of another. Which groups of items are whose follows from the specification
//! alone, and each part is a run in a folder of its own within the run's folder. Whatever hands
//! out numbers can hand out the parts: a scheduler's array, a loop.

mod array;
mod layout;
mod read;
mod shard;
pub mod slurm;
mod split;

pub use array::from_environment;
pub use layout::{Shards, list};
pub use read::{ReadError, glance, not_merged, read, runs_in};
pub use shard::{Asked, Shard};
pub use split::pieces;

use std::path::PathBuf;

/// What is wrong with a part of a run.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[allow(missing_docs)] // the messages say it
pub enum ShardError {
    #[error(
        "`shard` auto: no scheduler has said which task of an array this is ({known}); write `shard` K/N, as `shard` 3/16"
    )]
    NoTask { known: String },
    #[error(
        "`shard` auto: {variable} is '{value}', which is no number; write `shard` K/N, as `shard` 3/16"
    )]
    NoNumber { variable: String, value: String },
    #[error(
        "`shard` auto: {first} and {second} say different things; write `shard` K/N, as `shard` 3/16"
    )]
    TwoTasks { first: String, second: String },
    #[error(
        "`shard` auto: {said} does not say how many parts there are; write `shard` auto/N, as `shard` auto/16"
    )]
    NoCount { said: String },
    #[error(
        "`shard` auto: {said}, so the array is not the whole one, or is not numbered one by one from 0 or 1; write `shard` auto/N with the number of all parts, as `shard` auto/16"
    )]
    Gaps { said: String },
    #[error(
        "`shard` auto/{count}: {said}, and parts are numbered from 1 to {count}; number the array so (1-{count})"
    )]
    Outside { said: String, count: u32 },
    #[error(
        "the run in {folder} is divided into {found} parts, and this is one of {asked}; write `shard` K/{found} or `shard` auto/{found}, or choose another folder (`out`)"
    )]
    OtherCount {
        folder: PathBuf,
        found: u32,
        asked: u32,
    },
    #[error(
        "{folder} holds parts of {one} and parts of {other}; take away those that do not belong to the run"
    )]
    Mixed {
        folder: PathBuf,
        one: u32,
        other: u32,
    },
    #[error("{folder} cannot be read: {reason}")]
    Folder { folder: PathBuf, reason: String },
}
