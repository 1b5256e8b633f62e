//! Inputs that users have, a module each: what was refused, misread or taken for another once.

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)] // other tests use the rest
#[path = "../common/hub_server.rs"]
mod hub_server;

mod hub_names;
mod inject_from_newline;
mod inject_long_donor;
mod layers;
mod nan_weights;
mod no_pre_tokenizer;
mod replaced_files;
mod requantized_same_name;
mod split_identity;
mod wrong_file_type;
