//! The order in which the items of a sweep that stops when it knows are drawn.

use sha2::{Digest, Sha256};

use crate::tasks::{Item, TaskName};

/// Puts a task's items into the order in which they are drawn: at random, the same for all
/// models, and never by time. Items about one passage stay together.
pub(super) fn draw(task: TaskName, items: &mut [Item]) {
    let digest = |text: &str| Sha256::digest(format!("{task}|{text}").as_bytes());
    items.sort_by_cached_key(|item| {
        let id = digest(&item.id);
        (digest(shared_part(task, item).unwrap_or(&item.id)), id)
    });
}

/// What an item shares with others of its task: a passage with several questions.
pub(super) fn shared_part(task: TaskName, item: &Item) -> Option<&str> {
    task.built_in()?.shared_part(&item.prompt.text)
}
