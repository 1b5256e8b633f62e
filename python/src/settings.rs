//! How a model is loaded, as Python says it and as the program's options.

use midlayer::loading::Settings;
use midlayer::runtime::FlashAttention;
use pyo3::prelude::*;

use crate::errors::usage;

/// Names: a list, or a text that separates them by commas, as the program takes them.
#[derive(FromPyObject)]
pub enum Names {
    Text(String),
    List(Vec<String>),
}

impl Names {
    pub fn all(self) -> Vec<String> {
        match self {
            Self::Text(text) => text.split(',').map(String::from).collect(),
            Self::List(names) => names,
        }
    }
}

/// Flash attention by its name.
pub fn flash_attention(name: &str) -> PyResult<FlashAttention> {
    match name {
        "on" => Ok(FlashAttention::On),
        "off" => Ok(FlashAttention::Off),
        "auto" => Ok(FlashAttention::Auto),
        other => Err(usage(format!(
            "flash_attn is on, off or auto, not '{other}'"
        ))),
    }
}

/// The program's options for the same.
pub fn options(settings: &Settings) -> Vec<String> {
    let of = &settings.context;
    let flash = match of.flash_attention {
        FlashAttention::On => "on",
        FlashAttention::Off => "off",
        FlashAttention::Auto => "auto",
    };
    let mut options = vec![
        ("--threads", of.threads.to_string()),
        ("--ctx-size", of.n_ctx.to_string()),
        ("--batch-size", of.n_batch.to_string()),
        ("--ubatch-size", of.n_ubatch.to_string()),
        ("--cache-type-k", of.cache_k.to_string()),
        ("--cache-type-v", of.cache_v.to_string()),
        ("--flash-attn", flash.into()),
    ];
    let layers = settings.gpu_layers;
    options.extend(layers.map(|n| ("--n-gpu-layers", n.to_string())));
    let devices = settings.devices.as_ref();
    options.extend(devices.map(|names| ("--device", names.join(","))));
    let rpc = &settings.rpc;
    options.extend((!rpc.is_empty()).then(|| ("--rpc", rpc.join(","))));
    let options = options.into_iter();
    options
        .flat_map(|(name, value)| [name.to_string(), value])
        .collect()
}
