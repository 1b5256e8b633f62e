//! `midlayer try --generate`.

use super::line::Line;
use super::output::print;
use super::try_prompt::Run;
use midlayer::engine::{Engine, Generation, Request, argmax};
use midlayer::runtime::Token;

fn generate(
    engine: &mut impl Engine,
    request: &Request,
    max: usize,
) -> anyhow::Result<(Generation, String)> {
    let generation = engine.generate(request, max, &mut |_| true)?;
    let text = engine.text(&generation.tokens);
    Ok((generation, text))
}

/// One object a line, the clean run first.
pub fn json_generations(
    engine: &mut impl Engine,
    clean: &Request,
    runs: &[Run],
    max: usize,
) -> anyhow::Result<()> {
    let (generation, text) = generate(engine, clean, max)?;
    let clean = generation.logits.clone();
    let line = Line::new(engine, None, &clean, &clean).with(&generation, text);
    print(&line.text()?)?;
    for run in runs {
        let (generation, text) = generate(engine, &run.request, max)?;
        let line = Line::new(engine, Some(run), &clean, &generation.logits);
        print(&line.with(&generation, text).text()?)?;
    }
    Ok(())
}

/// One text a line, the clean run first.
pub fn list_generations(
    engine: &mut impl Engine,
    clean: &Request,
    runs: &[Run],
    max: usize,
) -> anyhow::Result<()> {
    let width = runs.iter().map(|r| r.label().len()).max().unwrap_or(0);
    let (_, text) = generate(engine, clean, max)?;
    print(&format!("{:width$}  {text:?}\n", "clean"))?;
    for run in runs {
        let (_, text) = generate(engine, &run.request, max)?;
        print(&format!("{:width$}  {text:?}\n", run.label()))?;
    }
    Ok(())
}

/// A text being continued token by token.
struct Stream<'e, E: Engine> {
    engine: &'e mut E,
    logits: Vec<f32>,
    tokens: Vec<Token>,
    ended: bool,
}

impl<'e, E: Engine> Stream<'e, E> {
    fn start(engine: &'e mut E, request: &Request) -> anyhow::Result<Self> {
        let logits = engine.start(request)?;
        Ok(Self {
            engine,
            logits,
            tokens: Vec::new(),
            ended: false,
        })
    }

    /// The next token's text, or nothing once the model has ended the text.
    fn next(&mut self, last: bool) -> anyhow::Result<String> {
        if self.ended {
            return Ok(String::new());
        }
        let token = argmax(&self.logits);
        self.tokens.push(token);
        self.ended = self.engine.ends_generation(token);
        if !self.ended && !last {
            self.logits = self.engine.advance(token)?;
        }
        Ok(format!("{:?}", self.engine.piece(token)))
    }
}

/// The clean and the manipulated continuation side by side, a line a token as it comes, then
/// both texts. Each has an engine of its own, so that they can take turns.
pub fn stream<E: Engine>(
    engine: &mut E,
    other: &mut E,
    clean: &Request,
    run: &Run,
    max: usize,
) -> anyhow::Result<()> {
    let mut left = Stream::start(engine, clean)?;
    let mut right = Stream::start(other, &run.request)?;
    let label = run.label();
    print(&format!("{:>4}  {:24}  {label}\n", "", "clean"))?;
    for n in 1..=max {
        let (a, b) = (left.next(n == max)?, right.next(n == max)?);
        let same = if a == b { "" } else { "*" };
        print(&format!("{n:>4}  {a:24}  {b:24} {same}\n"))?;
        if left.ended && right.ended {
            break;
        }
    }
    let (clean, manipulated) = (
        left.engine.text(&left.tokens),
        right.engine.text(&right.tokens),
    );
    print(&format!("\nclean:\n{clean}\n\n{label}:\n{manipulated}\n"))
}
