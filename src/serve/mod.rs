//! A page and an API over HTTP that manipulate one prompt while somebody watches.
//!
//! [`Server`] speaks HTTP and knows no model: what it is asked goes to a [`Subject`], which a
//! thread of its own makes and keeps, and comes back as lines of JSON. One request is computed
//! at a time; a page's newer request ends its older one, and so does a client that goes away.
//! [`Stored`] runs are read by a thread of their own, whether there is a model or not.

mod api;
mod ask;
mod files;
mod guard;
mod lines;
mod openapi;
mod queue;
mod server;
mod stored;

pub use ask::{Ask, MapAsk, OpenAsk, TokensAsk, TryAsk, Which};
pub use files::FILES;
pub use queue::Bell;
pub use server::{Address, Server};
pub use stored::{RunsAsk, Stored};

use std::ops::ControlFlow;

use serde::Serialize;
use serde_json::Value;

/// The version of the API, the 1 of `/v1/`.
pub const VERSION: u32 = 1;

/// What is served: models with their engines.
pub trait Subject {
    /// What a page must know of it before anything is asked.
    fn about(&self) -> Value;

    /// Takes in what has come since, after its [`Bell`] was rung.
    fn take_in(&mut self) {}

    /// Answers a request with lines, each handed over as soon as it is there.
    ///
    /// # Errors
    /// Why there is no answer, in words for whoever asked.
    fn answer(
        &mut self,
        ask: &Ask,
        hand_over: &mut dyn FnMut(Line) -> ControlFlow<()>,
    ) -> Result<(), Refusal>;
}

/// Why a request has no answer.
#[derive(Debug)]
pub enum Refusal {
    /// What is asked for is wrong or impossible.
    Usage(String),
    /// There is nothing by this name.
    Unknown(String),
    /// It could not be computed.
    Failed(String),
    /// The model that is asked is still loading.
    Loading(String),
    /// Nobody wants it any more.
    Stopped,
}

/// A line of an answer: an object whose `type` says what it is.
#[derive(Debug)]
pub struct Line(String);

impl Line {
    /// A line of this type.
    ///
    /// # Panics
    /// When `fields` is not an object.
    pub fn new(kind: &str, fields: &impl Serialize) -> Self {
        #[derive(Serialize)]
        struct Typed<'f, T> {
            r#type: &'f str,
            #[serde(flatten)]
            fields: &'f T,
        }
        let typed = Typed {
            r#type: kind,
            fields,
        };
        let text = serde_json::to_string(&typed).expect("fields are an object");
        Self(crate::shown::json(&text).into_owned())
    }

    /// The text, without a line end.
    pub fn text(&self) -> &str {
        &self.0
    }
}
