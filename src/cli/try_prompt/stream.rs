//! `midlayer try --generate` with a single run: both texts side by side, as they come.

use crate::cli::output::{print, width};
use crate::cli::text::{cut, padded};
use crate::engine::{Engine, Request, Session, argmax};
use crate::runtime::{Model, Token};
use crate::shown::shown;
use crate::trial::Run;

/// A text being continued token by token.
pub struct Stream<'e> {
    session: Box<dyn Session + 'e>,
    tokens: Vec<Token>,
    ended: bool,
}

impl<'e> Stream<'e> {
    /// Runs the request's prompt.
    pub fn start(engine: &'e mut dyn Engine, request: &Request) -> anyhow::Result<Self> {
        Ok(Self {
            session: engine.start(request)?,
            tokens: Vec::new(),
            ended: false,
        })
    }

    /// The next token, or none once the model has ended the text.
    pub fn next(&mut self, last: bool) -> anyhow::Result<Option<Token>> {
        if self.ended {
            return Ok(None);
        }
        let token = argmax(self.session.logits());
        self.tokens.push(token);
        self.ended = self.session.tokenizer().ends_generation(token);
        if !self.ended && !last {
            self.session.advance(token)?;
        }
        Ok(Some(token))
    }
}

/// Columns of a token.
const TOKEN: usize = 24;

/// The clean and the manipulated continuation, a line a token, then both texts. Each has an
/// engine of its own, so that they can take turns.
pub fn stream<E: Engine>(
    model: &Model,
    (engine, other): (&mut E, &mut E),
    clean: &Request,
    run: &Run,
    max: usize,
) -> anyhow::Result<()> {
    let mut left = Stream::start(engine, clean)?;
    let mut right = Stream::start(other, &run.request)?;
    let label = run.label();
    let room = width().map_or(TOKEN, |width| (width.saturating_sub(10) / 2).min(TOKEN));
    let column = |text: &str| padded(&cut(text, room), room);
    let text = |token: Option<Token>| token.map_or(String::new(), |t| shown(&model.piece(t)));
    print(&format!("{:>4}  {}  {label}\n", "", column("clean")))?;
    for n in 1..=max {
        let (a, b) = (text(left.next(n == max)?), text(right.next(n == max)?));
        let same = if a == b { "" } else { "*" };
        let line = format!("{n:>4}  {}  {} {same}", column(&a), column(&b));
        print(&format!("{}\n", line.trim_end()))?;
        if left.ended && right.ended {
            break;
        }
    }
    let (clean, manipulated) = (
        left.session.tokenizer().text(&left.tokens),
        right.session.tokenizer().text(&right.tokens),
    );
    print(&format!(
        "* other than the clean run's\n\nclean:\n{clean}\n\n{label}:\n{manipulated}\n"
    ))
}
