//! An engine that looks at what another is asked.

use std::ops::ControlFlow;

use midlayer::engine::{
    Engine, EngineError, Outcome, Planned, Request, Session, Straightforward, Tokenizer,
};
use midlayer::hook::{Anatomy, Captured};
use midlayer::intervention::Target;
use midlayer::runtime::{Architecture, Token};

use super::tiny::{engine, model, options};

/// Takes an outcome, and may stop the rest.
pub type Done<'d> = dyn FnMut(usize, Outcome) -> ControlFlow<()> + 'd;

/// What is done about runs.
pub trait Watch {
    fn run_all(
        &mut self,
        engine: &mut Straightforward,
        requests: &[Request],
        done: &mut Done<'_>,
    ) -> Result<(), EngineError>;
}

/// A tiny Llama's straightforward engine, watched.
pub struct Around<W> {
    engine: Straightforward,
    pub watch: W,
}

impl<W> Around<W> {
    pub fn new(watch: W) -> Self {
        Self {
            engine: engine(Architecture::Llama),
            watch,
        }
    }
}

/// Where a tiny Llama's hook points are.
pub fn anatomy() -> Anatomy {
    let planned = Planned::new(model(Architecture::Llama), &options(), 1).unwrap();
    planned.inspect().anatomy().unwrap().clone()
}

impl<W: Watch> Engine for Around<W> {
    fn tokenizer(&self) -> &dyn Tokenizer {
        self.engine.tokenizer()
    }

    fn start<'e>(&'e mut self, request: &Request) -> Result<Box<dyn Session + 'e>, EngineError> {
        self.engine.start(request)
    }

    fn captured(
        &mut self,
        tokens: &[Token],
        first_position: u32,
        targets: &[Target],
    ) -> Result<Captured, EngineError> {
        self.engine.captured(tokens, first_position, targets)
    }

    fn run_all(&mut self, requests: &[Request], done: &mut Done<'_>) -> Result<(), EngineError> {
        self.watch.run_all(&mut self.engine, requests, done)
    }
}
