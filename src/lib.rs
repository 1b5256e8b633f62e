//! midlayer
pub mod engine;
pub mod hook;
pub mod intervention;
pub mod models;
pub mod runtime;
pub mod stats;
pub mod tasks;
