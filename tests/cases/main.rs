//! Inputs that users have: each kind of them does what it should, or says what is wrong. A module
//! is a kind; its inputs are made here.

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code)] // other tests use the rest
#[path = "../common/hub_server.rs"]
mod hub_server;

mod add_eos;
mod beyond_trained_positions;
mod chat_templates;
mod data_files;
mod hub_names;
mod inject_from_newline;
mod inject_long_donor;
mod layers;
mod nan_weights;
mod no_pre_tokenizer;
mod replaced_files;
mod requantized_same_name;
mod special_tokens;
mod split_identity;
mod wrong_file_type;
