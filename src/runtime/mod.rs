//! llama.cpp behind safe Rust: backend, models, contexts, quantizer.
//!
//! Everything here checks first, in Rust, what llama.cpp would assert on (and abort the process).

mod backend;
mod chat;
mod context;
mod control_vector;
mod error;
mod facts;
mod header;
mod heads;
mod level;
mod log;
mod memory;
mod model;
mod options;
mod parts;
mod processor;
mod processors;
mod quantize;
mod rpc;
mod signals;
mod silence;
mod stop;
mod synthetic;
mod text;
mod tokenizer;
mod unfit;
mod weights;

pub use backend::{Device, chosen, cpu_features, devices, llama_cpp_version};
pub use chat::{ChatDate, ChatError, ChatMessage, ChatTemplate, ChatTokens};
pub use context::Context;
pub use control_vector::{ControlVector, control_vector_bytes, read_control_vector};
pub use error::RuntimeError;
pub use facts::Facts;
pub use heads::Heads;
pub use level::Level;
pub use llama_cpp_2::token::LlamaToken as Token;
pub use log::{quantize_progress, set_verbose};
pub use model::{Model, ModelOptions};
pub use options::{CacheType, ContextOptions, FlashAttention};
pub use parts::{model_name, model_parts};
pub(crate) use processor::ILLEGAL;
pub use processor::explain_illegal_instructions;
pub use processors::{Limit, Processors, processors};
pub use quantize::{Recipe, quantize};
pub use rpc::{RpcError, serve as serve_rpc};
pub use signals::is_ignored;
pub use stop::Stop;
pub use synthetic::{Architecture, Shape, ShapeError, Synthetic, Told, Vocabulary, Written};
pub use text::Text;
pub use unfit::Unfit;
pub use weights::Weights;
