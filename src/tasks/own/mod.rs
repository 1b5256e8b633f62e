//! A user's own task: a file of questions, and a small TOML file beside it that says how they are
//! asked.

mod definition;
mod items;
mod read;
mod record;

pub use definition::{Definition, DefinitionError, How};
pub use read::ENDINGS;
