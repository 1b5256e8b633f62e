//! How fast an engine computes, measured beside whatever else the machine does.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::asked::Requests;
use super::seen::tails;
use super::{Prepared, PreparedTask, Prices};
use crate::engine::{Cost, Decode, Engine, EngineError, Request};
use crate::hook::Cut;
use crate::intervention::Action;
use crate::runtime::{Token, processors};
use crate::tasks::{Item, TaskName};

/// What decodes take. A decode reads its weights once and computes with them for each row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Speed {
    /// Seconds to read a weight.
    read: f64,
    /// Seconds of a product of a weight and a value.
    product: f64,
    clock: Clock,
}

/// The prices of an engine on this machine, when that does nothing else.
pub struct Measured<'e> {
    engine: &'e mut dyn Engine,
    speed: Speed,
    /// Products of a row by cut.
    known: HashMap<Cut, f64>,
    /// How many tokens generated answers had that were tried.
    usual: HashMap<TaskName, usize>,
    /// How many times as long a part of a unit took as its decodes' weights alone say: attention
    /// looks at all cells in use, and threads wait for each other.
    slower: HashMap<TaskName, f64>,
}

/// Tokens run one by one, after how many.
const STEPS: usize = 12;
const SHORT: usize = 8;
/// Runs of each shape at most.
const RUNS: usize = 7;
/// Answers that are tried, and how long these may take, and part of a unit.
const ANSWERS: usize = 3;
const TRIED: Duration = Duration::from_secs(6);
/// Tokens that are generated in that part.
const FEW: usize = 4;

impl Speed {
    /// Measures an engine on prompts of about `length` tokens. `threads` of the processor
    /// compute, or a device does (`None`).
    ///
    /// No run is begun once those of its shape have taken `patience`. Time is taken by the
    /// processor's own clock, which stands still while others compute; the least of several runs
    /// counts.
    ///
    /// # Errors
    /// The engine's.
    pub fn measure(
        engine: &mut dyn Engine,
        length: usize,
        threads: Option<u32>,
        patience: Duration,
    ) -> Result<Self, EngineError> {
        let n_vocab = engine.facts().n_vocab.max(1);
        let token = |n: usize| Token((n as u32 * 37 % n_vocab) as i32);
        let text = |n: usize| (0..n).map(token).collect::<Vec<_>>();
        let request = |n: usize, steps: usize| Request {
            tokens: text(n),
            continuations: vec![text(steps)],
            manipulate_generated: false,
            ..Request::default()
        };
        let mut clock = Clock {
            threads: threads.map(cores),
            wall: 0.0,
            alone: 0.0,
        };
        // The first run, which warms memory up, tells how long a prompt may be.
        let begun = Instant::now();
        run(engine, &request(SHORT, 0))?;
        let first = begun.elapsed().as_secs_f64() / SHORT as f64;
        let length = length
            .min((patience.as_secs_f64() / first) as usize)
            .max(2 * SHORT);
        let short = clock.least(engine, &request(SHORT, 0), patience)?;
        let steps = clock.least(engine, &request(SHORT, STEPS), patience)?;
        let long = clock.least(engine, &request(length, 0), patience)?;
        let whole = |rows, outputs| engine.products(&Decode::whole(rows, outputs));
        let (body, head) = (whole(1, 0), whole(0, 1));
        let step = ((steps - short) / STEPS as f64).max(0.0);
        let product = ((long - short) / ((length - SHORT) as f64 * body)).max(f64::MIN_POSITIVE);
        Ok(Self {
            read: (step / (body + head) - product).max(0.0),
            product,
            clock,
        })
    }

    /// How many times as long everything takes at the moment, because other processes compute
    /// too: 1 on a machine that does nothing else.
    pub fn load(&self) -> f64 {
        self.clock.load()
    }

    /// Seconds of so many rows of which each takes so many products, and of so many logits, on
    /// a machine that does nothing else.
    pub fn seconds(&self, (rows, row): (usize, f64), (outputs, head): (usize, f64)) -> f64 {
        let weights = row + if outputs > 0 { head } else { 0.0 };
        let products = row * rows as f64 + head * outputs as f64;
        self.read * weights + self.product * products
    }
}

impl<'e> Measured<'e> {
    /// The prices of an engine whose speed was measured.
    pub fn new(engine: &'e mut dyn Engine, speed: Speed) -> Self {
        Self {
            engine,
            speed,
            known: HashMap::new(),
            usual: HashMap::new(),
            slower: HashMap::new(),
        }
    }

    /// [`Speed::load`], after all that was tried.
    pub fn load(&self) -> f64 {
        self.speed.load()
    }

    /// Answers the first items of a task, to see how long its generated answers are, if that
    /// takes no more than a moment.
    ///
    /// # Errors
    /// The engine's.
    pub fn try_answers(&mut self, task: TaskName, items: &[Item]) -> Result<(), EngineError> {
        let (mut tokens, mut answers) = (0, 0);
        let begun = Instant::now();
        for item in items.iter().take(ANSWERS) {
            let (_, Some(ending)) = tails(item, None) else {
                return Ok(());
            };
            let request = Request {
                generate: Some(ending),
                manipulate_generated: false,
                ..Request::new(&item.prompt)
            };
            let seconds = self.seconds_of(std::slice::from_ref(&request)) * self.load();
            if begun.elapsed().as_secs_f64() + seconds > TRIED.as_secs_f64() {
                break;
            }
            self.engine.run_all(&[request], &mut |_, outcome| {
                tokens += outcome.generated.len();
                ControlFlow::Continue(())
            })?;
            answers += 1;
        }
        if answers > 0 {
            self.usual.insert(task, tokens.div_ceil(answers).max(1));
        }
        Ok(())
    }
}

impl Measured<'_> {
    /// Runs a part of a task's first unit, as much as takes a moment, and compares what it takes
    /// with what is said.
    ///
    /// # Errors
    /// The engine's.
    pub fn try_unit(
        &mut self,
        prepared: &Prepared,
        task: &PreparedTask,
    ) -> Result<(), EngineError> {
        let Some(unit) = task.units.first() else {
            return Ok(());
        };
        let items = &task.set.items[unit.items.clone()];
        let asking = prepared.asking(task.task, &unit.cells);
        let (mut n, mut every) = (items.len(), 1);
        let mut asked = asking.unstated(items)?;
        let requests = loop {
            let requests = part(&asked, n, every);
            let seconds = self.seconds_of(&requests) * self.load();
            if seconds <= TRIED.as_secs_f64() || (n == 1 && every >= unit.cells.len()) {
                break requests;
            }
            // Fewer cells first: items share what they begin with.
            if every < unit.cells.len() {
                every *= 2;
            } else {
                n = n.div_ceil(2);
                asked = asking.unstated(&items[..n])?;
            }
        };
        let said = self.seconds_of(&requests);
        let taken = self.speed.clock.time(self.engine, &requests)?;
        if said > 0.0 {
            self.slower.insert(task.task, taken / said);
        }
        Ok(())
    }

    fn seconds_of(&mut self, requests: &[Request]) -> f64 {
        let cost = self.cost(requests);
        cost.decodes.iter().map(|decode| self.seconds(decode)).sum()
    }
}

/// Clean runs of the first `n` items, and their runs under one manipulated cell of so many. What
/// would need the states of a donor is left out.
fn part(asked: &Requests<'_>, n: usize, every: usize) -> Vec<Request> {
    let given = |request: &Request| {
        let mut plan = request.plan.iter();
        plan.any(|intervention| matches!(intervention.action, Action::Given(_)))
    };
    let pairs = asked.asked.iter().zip(&asked.requests);
    let pairs = pairs.filter(|(asked, request)| {
        let cell = asked.cell.map_or(0, |(cell, _)| cell);
        let taken = request.plan.is_empty() || (cell + 1).is_multiple_of(every);
        asked.of < n && taken && !given(request)
    });
    let requests = pairs.map(|(_, request)| {
        let mut request = request.clone();
        if let Some(ending) = &mut request.generate {
            ending.max_tokens = ending.max_tokens.min(FEW);
        }
        request
    });
    requests.collect()
}

impl Prices for Measured<'_> {
    fn cost(&mut self, requests: &[Request]) -> Cost {
        self.engine.cost(requests)
    }

    fn seconds(&mut self, decode: &Decode) -> f64 {
        let engine = &self.engine;
        let row = self.known.entry(decode.cut.clone()).or_insert_with(|| {
            engine.products(&Decode {
                cut: decode.cut.clone(),
                rows: 1,
                outputs: 0,
            })
        });
        let head = engine.products(&Decode::whole(0, 1));
        self.speed
            .seconds((decode.rows, *row), (decode.outputs, head))
    }

    fn usual(&self, task: TaskName) -> Option<usize> {
        self.usual.get(&task).copied()
    }

    fn slower(&self, task: TaskName) -> f64 {
        self.slower.get(&task).copied().unwrap_or(1.0)
    }
}

fn run(engine: &mut dyn Engine, request: &Request) -> Result<(), EngineError> {
    let requests = std::slice::from_ref(request);
    engine.run_all(requests, &mut |_, _| ControlFlow::Continue(()))
}

/// As many threads compute at once at most.
fn cores(threads: u32) -> f64 {
    f64::from(threads.min(processors().given))
}

/// Adds up what was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Clock {
    /// Threads that compute at once; `None` where the processor is not what computes.
    threads: Option<f64>,
    wall: f64,
    alone: f64,
}

impl Clock {
    /// The least time that a request takes, in seconds, had the machine nothing else to do.
    fn least(
        &mut self,
        engine: &mut dyn Engine,
        request: &Request,
        patience: Duration,
    ) -> Result<f64, EngineError> {
        let mut least = f64::INFINITY;
        let begun = Instant::now();
        for _ in 0..RUNS {
            least = least.min(self.time(engine, std::slice::from_ref(request))?);
            if begun.elapsed() > patience {
                break;
            }
        }
        Ok(least)
    }

    /// The time that requests take together, in seconds, had the machine nothing else to do.
    fn time(&mut self, engine: &mut dyn Engine, requests: &[Request]) -> Result<f64, EngineError> {
        let (start, used) = (Instant::now(), processor_time());
        engine.run_all(requests, &mut |_, _| ControlFlow::Continue(()))?;
        let wall = start.elapsed().as_secs_f64();
        let used = self.threads.zip(processor_time().zip(used));
        let alone = used.map_or(wall, |(threads, (now, then))| (now - then) / threads);
        let alone = alone.min(wall);
        self.wall += wall;
        self.alone += alone;
        Ok(alone)
    }

    fn load(&self) -> f64 {
        (self.wall / self.alone).max(1.0)
    }
}

/// Seconds that this process has computed, on all cores together, where the kernel tells.
fn processor_time() -> Option<f64> {
    let mut nanoseconds = 0;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        // A thread may have ended meanwhile.
        let told = std::fs::read_to_string(task.ok()?.path().join("schedstat"));
        let told = told
            .ok()
            .and_then(|told| told.split(' ').next()?.parse::<u64>().ok());
        nanoseconds += told.unwrap_or(0);
    }
    (nanoseconds > 0).then_some(nanoseconds as f64 * 1e-9)
}
