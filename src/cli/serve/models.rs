//! The models behind the page, which load one after the other while the first is used already.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, Sender, channel};

use serde_json::{Value, json};

use super::runs;
use super::subject::{HandOver, Probe, kinds, refusal};
use crate::cli::Usage;
use crate::cli::args::{ModelArgs, ServeArgs};
use crate::cli::output::say;
use crate::cli::setup::{Loaded, each_model, load, named_models};
use crate::runtime::{CacheType, Stop};
use crate::serve::{Ask, Bell, OpenAsk, Refusal, Subject, TryAsk, Which};

/// A model under one set of settings.
struct Column {
    name: String,
    args: ServeArgs,
    state: State,
}

enum State {
    Loading,
    Ready(Box<Probe>),
    /// Why it could not be loaded.
    Failed(String),
}

/// A column's number, and its model or why there is none.
type Arrival = (usize, Result<Loaded, String>);

/// All models that are served. The first is there.
pub struct Models {
    args: ServeArgs,
    columns: Vec<Column>,
    arrivals: Receiver<Arrival>,
    /// What ends a computation.
    stop: Stop,
}

impl Models {
    /// Loads the first model, and the others behind it. `stop` ends their computations, and
    /// `bell` is rung when one has come.
    pub fn load(args: ServeArgs, stop: Stop, bell: Bell) -> anyhow::Result<Self> {
        if args.model.hf_repo.is_none() {
            // A name that is none is known before anything is loaded.
            named_models(&args.model)?;
        }
        let models = each_model(&args.model);
        let columns = columns(&args, &models)?;
        let (sender, arrivals) = channel();
        let caches = caches(&args);
        std::thread::Builder::new()
            .name("loading".into())
            .spawn(move || load_all(&models, &caches, &sender, &bell))?;
        let mut all = Self {
            args,
            columns,
            arrivals,
            stop,
        };
        // The first decides whether there is anything to serve.
        let (n, first) = all.arrivals.recv()?;
        all.place(n, first.map_err(|why| anyhow::anyhow!(why))?)?;
        Ok(all)
    }

    /// Gives a column its model.
    fn place(&mut self, n: usize, mut loaded: Loaded) -> anyhow::Result<()> {
        loaded.options.stop = self.stop.clone();
        let column = &mut self.columns[n];
        let probe = Probe::new(column.name.clone(), column.args.clone(), loaded)?;
        column.state = State::Ready(Box::new(probe));
        say(&format!("{} is loaded; Ctrl-C ends", column.name));
        Ok(())
    }

    /// The model that a result is of: the same by its contents, and if there is one by its caches.
    fn fitting(&self, ask: &OpenAsk) -> Result<usize, Refusal> {
        let of = runs::model_of(&self.args, ask).map_err(|error| refusal(&error))?;
        let fits = |column: &Column| match &column.state {
            State::Ready(probe) if probe.sha256() == of.sha256 => {
                let model = &column.args.model;
                Some(of.caches == (model.cache_type_k, model.cache_type_v))
            }
            _ => None,
        };
        let fitting = self.columns.iter().enumerate();
        let fitting = fitting.filter_map(|(n, column)| Some((n, fits(column)?)));
        // The first of those that fit best.
        let best = fitting.min_by_key(|(n, same_caches)| (!same_caches, *n));
        best.map(|(n, _)| n).ok_or_else(|| {
            Refusal::Usage(format!(
                "the run's model is not served here: {} (start with it: -m)",
                of.name
            ))
        })
    }

    /// The question with positions of the model that it is for, where `tokens_of` names another.
    fn translated(&self, n: usize, ask: &TryAsk) -> Result<Box<TryAsk>, Refusal> {
        let mut own = Box::new(ask.clone());
        let whose = self.which(own.tokens_of.take().as_ref())?;
        let (Some(tokens), false) = (&ask.tokens, whose == n) else {
            return Ok(own);
        };
        let (of, to) = (self.ready(whose)?, self.ready(n)?);
        let translated = to.tokens_of(of, ask.chat, &ask.prompt, tokens);
        own.tokens = Some(translated.map_err(|error| refusal(&error))?);
        Ok(own)
    }

    fn ready(&self, n: usize) -> Result<&Probe, Refusal> {
        let column = &self.columns[n];
        match &column.state {
            State::Ready(probe) => Ok(probe),
            State::Loading => Err(Refusal::Loading(format!("{} is loading", column.name))),
            State::Failed(why) => Err(Refusal::Failed(format!(
                "{} is not served: {why}",
                column.name
            ))),
        }
    }

    fn which(&self, which: Option<&Which>) -> Result<usize, Refusal> {
        let found = match which {
            None => Some(0),
            Some(Which::Number(n)) => Some(*n).filter(|n| *n < self.columns.len()),
            Some(Which::Name(name)) => self.columns.iter().position(|c| c.name == *name),
        };
        found.ok_or_else(|| {
            let names: Vec<&str> = self.columns.iter().map(|c| &*c.name).collect();
            let names = names.join("; ");
            Refusal::Usage(format!(
                "there is no such model here, only: {names} (model)"
            ))
        })
    }
}

/// The cache types of each model.
fn caches(args: &ServeArgs) -> Vec<(CacheType, CacheType)> {
    match &args.cache_type[..] {
        [] => vec![(args.model.cache_type_k, args.model.cache_type_v)],
        both => both.iter().map(|both| (*both, *both)).collect(),
    }
}

/// A column for each model and cache type, in the order in which they load.
fn columns(args: &ServeArgs, models: &[ModelArgs]) -> Result<Vec<Column>, Usage> {
    let caches = caches(args);
    let mut columns = Vec::new();
    for model in models {
        let name = model.model.as_ref().or(model.hf_repo.as_ref());
        for &(cache_type_k, cache_type_v) in &caches {
            let mut name = name.cloned().unwrap_or_default();
            if caches.len() > 1 {
                name.push_str(&format!(" -ctk {cache_type_k} -ctv {cache_type_v}"));
            }
            let model = ModelArgs {
                cache_type_k,
                cache_type_v,
                ..model.clone()
            };
            columns.push(Column {
                name,
                args: ServeArgs {
                    model,
                    ..args.clone()
                },
                state: State::Loading,
            });
        }
    }
    let names: BTreeSet<&str> = columns.iter().map(|column| &*column.name).collect();
    match names.len() == columns.len() {
        true => Ok(columns),
        false => Err(Usage(
            "a model is named twice (-m, -hf, --cache-type)".into(),
        )),
    }
}

/// Loads one model after the other. Those of several cache types share their weights.
fn load_all(
    models: &[ModelArgs],
    caches: &[(CacheType, CacheType)],
    sender: &Sender<Arrival>,
    bell: &Bell,
) {
    for (n, model) in models.iter().enumerate() {
        let loaded = load(model);
        for (m, &(cache_k, cache_v)) in caches.iter().enumerate() {
            let own = match &loaded {
                Ok(loaded) => Ok(loaded.with_cache(cache_k, cache_v)),
                Err(error) => Err(error.to_string()),
            };
            if sender.send((n * caches.len() + m, own)).is_err() {
                return;
            }
            bell.ring();
        }
    }
}

impl Subject for Models {
    fn about(&self) -> Value {
        let columns = self.columns.iter().enumerate().map(|(number, column)| {
            let mut about = match &column.state {
                State::Loading => json!({"state": "loading"}),
                State::Failed(error) => json!({"state": "failed", "error": error}),
                State::Ready(probe) => probe.about(),
            };
            about["number"] = json!(number);
            about["name"] = json!(column.name);
            about["cache_type_k"] = json!(column.args.model.cache_type_k.to_string());
            about["cache_type_v"] = json!(column.args.model.cache_type_v.to_string());
            about
        });
        let columns: Vec<Value> = columns.collect();
        json!({
            "state": "ready",
            "version": crate::serve::VERSION,
            "model": columns[0]["name"],
            "layers": columns[0]["layers"],
            "vocabulary": columns[0]["vocabulary"],
            "manipulations": kinds(&self.args),
            "models": columns,
        })
    }

    fn take_in(&mut self) {
        while let Ok((n, loaded)) = self.arrivals.try_recv() {
            let placed = match loaded {
                Ok(loaded) => self.place(n, loaded).map_err(|error| error.to_string()),
                Err(why) => Err(why),
            };
            if let Err(why) = placed {
                let column = &mut self.columns[n];
                say(&format!("{} is not served: {why}", column.name));
                column.state = State::Failed(why);
            }
        }
    }

    fn answer(&mut self, ask: &Ask, hand_over: HandOver) -> Result<(), Refusal> {
        let n = match ask {
            Ask::Open(open) if open.model.is_none() => self.fitting(open)?,
            _ => self.which(ask.model())?,
        };
        self.ready(n)?;
        let own = match ask {
            Ask::Try(of) if of.tokens_of.is_some() => Some(Ask::Try(self.translated(n, of)?)),
            Ask::Generate(of) if of.tokens_of.is_some() => {
                Some(Ask::Generate(self.translated(n, of)?))
            }
            Ask::Plan(of) if of.tokens_of.is_some() => Some(Ask::Plan(self.translated(n, of)?)),
            _ => None,
        };
        match &mut self.columns[n].state {
            State::Ready(probe) => probe.answer(own.as_ref().unwrap_or(ask), hand_over),
            _ => unreachable!("it was ready above"),
        }
    }
}
