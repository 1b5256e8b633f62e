//! Inputs that users have, a module each: what was refused or misread once.

#[path = "../common/mod.rs"]
mod common;

mod inject_from_newline;
mod inject_long_donor;
mod layers;
