//! Exceptions: a kind for each kind of error of the library, with its text.

use midlayer::engine;
use midlayer::loading;
use midlayer::runtime::RuntimeError;
use midlayer::shown::renamed;
use midlayer::trial::TrialError;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(
    midlayer,
    MidlayerError,
    PyException,
    "What all errors of midlayer are."
);
create_exception!(
    midlayer,
    UsageError,
    MidlayerError,
    "What was asked for cannot be meant: a manipulation, a layer, a token."
);
create_exception!(
    midlayer,
    PromptError,
    UsageError,
    "A prompt, or a part of it, cannot be used."
);
create_exception!(
    midlayer,
    LoadError,
    MidlayerError,
    "A model cannot be found or loaded."
);
create_exception!(
    midlayer,
    EngineError,
    MidlayerError,
    "llama.cpp or the hook failed, or the engine belongs to another process or thread."
);
create_exception!(
    midlayer,
    HookError,
    MidlayerError,
    "What a hook gave cannot be put into the model: a wrong shape, NaN."
);
create_exception!(
    midlayer,
    StoreError,
    MidlayerError,
    "A stored run cannot be read or written."
);

/// Settings that have another name in Python.
const NAMES: [(&str, &str); 12] = [
    ("answer", "`answers`"),
    ("cache_k", "`cache_type_k`"),
    ("cache_v", "`cache_type_v`"),
    ("flash_attention", "`flash_attn`"),
    ("from", "`donor`"),
    ("inject_at", "`at`"),
    ("inject_from", "`donor`"),
    ("inject_from_at", "`from_at`"),
    ("manipulate", "`manipulations`"),
    ("n_batch", "`batch_size`"),
    ("n_ctx", "`ctx_size`"),
    ("task", "`tasks`"),
];

/// What the library says, by Python's names.
pub fn said(error: &impl ToString) -> String {
    renamed(&error.to_string(), &NAMES)
}

pub fn of_engine(error: engine::EngineError) -> PyErr {
    let text = said(&error);
    match error.request().1 {
        engine::EngineError::Prompt(_) => PromptError::new_err(text),
        engine::EngineError::Plan(_) => UsageError::new_err(text),
        _ => EngineError::new_err(text),
    }
}

pub fn of_trial(error: TrialError) -> PyErr {
    let text = said(&error);
    match error {
        TrialError::Engine(error) => of_engine(error),
        TrialError::Prompt(_) => PromptError::new_err(text),
        error if error.is_usage() => UsageError::new_err(text),
        _ => EngineError::new_err(text),
    }
}

pub fn of_loading(error: loading::LoadError) -> PyErr {
    LoadError::new_err(said(&error))
}

pub fn of_runtime(error: RuntimeError) -> PyErr {
    EngineError::new_err(said(&error))
}

/// A text that says what cannot be meant.
pub fn usage(text: impl ToString) -> PyErr {
    UsageError::new_err(said(&text))
}
