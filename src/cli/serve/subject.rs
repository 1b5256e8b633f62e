//! A model behind the page: requests become what `midlayer try` runs.

use std::ops::ControlFlow;
use std::str::FromStr;

use serde::Serialize;
use serde_json::{Value, json};

use super::command::command;
use super::python::python;
use super::{map, runs};
use crate::cli::Usage;
use crate::cli::args::{
    Format, GenerationArgs, PlaceArgs, PromptArgs, ServeArgs, TryArgs, WordingArgs, YesNo,
};
use crate::cli::setup::Loaded;
use crate::cli::text::Source;
use crate::cli::tokens::read;
use crate::cli::{exit_code, try_prompt};
use crate::engine::{Engine, EngineError, NoiseFloor, Outcome, Planned, TextPart, TokenSelector};
use crate::intervention::{Extent, Kind, LayerList, Needs, Sites, Values};
use crate::plan::{Plan, Shape};
use crate::runtime::{ChatDate, Token};
use crate::serve::{Ask, Line, Refusal, TokensAsk, TryAsk};
use crate::shelf::ShelfError;
use crate::shown::plain;
use crate::trial::{Stack, listed};
use try_prompt::{Asked, Stream};

/// Runs of one request at most.
const RUNS: usize = 1024;
/// Tokens generated at most.
const GENERATED: u32 = 256;
/// Tokens that a text is continued by unless said.
const CONTINUED: u32 = 24;

/// A loaded model, its engine and the options it was started with.
pub struct Probe {
    name: String,
    args: ServeArgs,
    loaded: Loaded,
    engine: Planned,
}

pub type HandOver<'h> = &'h mut dyn FnMut(Line) -> ControlFlow<()>;

impl Probe {
    /// A loaded model under these arguments, which name no other.
    pub fn new(name: String, args: ServeArgs, loaded: Loaded) -> anyhow::Result<Self> {
        let engine = try_prompt::engine(&loaded)?;
        Ok(Self {
            name,
            args,
            loaded,
            engine,
        })
    }

    /// What the model is by its contents.
    pub fn sha256(&self) -> &str {
        self.loaded.files.sha256()
    }

    /// What a page must know of it.
    pub fn about(&self) -> Value {
        let facts = self.loaded.model.facts();
        json!({
            "state": "ready",
            "layers": facts.n_layer,
            "vocabulary": facts.n_vocab,
            "quantization": facts.quantization,
            "sha256": self.loaded.files.sha256(),
        })
    }

    /// A selector of another model's tokens of a prompt, as one of this model's.
    pub fn tokens_of(
        &self,
        theirs: &Self,
        chat: bool,
        prompt: &str,
        tokens: &str,
    ) -> anyhow::Result<String> {
        let selector = parsed::<TokenSelector>("tokens", tokens)?;
        let of = |probe: &Self| read(&probe.engine, &prompt_args(chat), prompt);
        Ok(selector.elsewhere(&of(theirs)?, &of(self)?)?.to_string())
    }

    /// Answers a request that is for this model.
    pub fn answer(&mut self, ask: &Ask, hand_over: HandOver) -> Result<(), Refusal> {
        let answered = match ask {
            Ask::Tokens(ask) => self.tokens(ask, hand_over),
            Ask::Try(ask) => self.run(ask, hand_over),
            Ask::Generate(ask) => self.generate(ask, hand_over),
            Ask::Plan(ask) => self.plan(ask, hand_over),
            Ask::Open(ask) => runs::open(&self.name, &self.args, &self.engine, ask, hand_over),
            Ask::Map(ask) => {
                map::answer(&self.args, &self.loaded, &mut self.engine, ask, hand_over)
            }
        };
        answered.map_err(|error| refusal(&error))
    }

    fn tokens(&mut self, ask: &TokensAsk, hand_over: HandOver) -> anyhow::Result<()> {
        let prompt = read(&self.engine, &prompt_args(ask.chat), &ask.prompt)?;
        let selected = match &ask.tokens {
            Some(tokens) => Some(parsed::<TokenSelector>("tokens", tokens)?.positions(&prompt)?),
            None => None,
        };
        for token in listed(&self.loaded.model, &prompt, selected.as_ref()) {
            told(hand_over(Line::new("token", &token)))?;
        }
        Ok(())
    }

    /// What is asked, with its first line told. `alone`: it must be a single run.
    fn begin(&mut self, ask: &TryAsk, alone: bool, hand_over: HandOver) -> anyhow::Result<Asked> {
        let args = self.try_args(ask)?;
        try_prompt::check(&args)?;
        let donor = ask.inject_from.as_deref();
        let asked = Asked::of(&args, &self.loaded, &mut self.engine, &ask.prompt, donor)?;
        if asked.runs.len() > RUNS {
            let runs = asked.runs.len();
            let text = format!("these are {runs} runs, and a request has at most {RUNS} (layers)");
            return Err(Usage(text).into());
        }
        if alone && asked.runs.len() != 1 {
            let runs = asked.runs.len();
            let text = format!("one run is asked for, and these are {runs}: name a layer (layers)");
            return Err(Usage(text).into());
        }
        let layers: Vec<Option<u32>> = asked.runs.iter().map(|run| run.layer).collect();
        let meta = json!({
            "version": crate::serve::VERSION,
            "tokens": listed(&self.loaded.model, &asked.prompt, Some(asked.selected())),
            "runs": asked.runs.len(),
            "layers": layers,
            "command": command(&self.args, ask),
            "python": python(&self.args, ask)?,
        });
        told(hand_over(Line::new("meta", &meta)))?;
        Ok(asked)
    }

    fn run(&mut self, ask: &TryAsk, hand_over: HandOver) -> anyhow::Result<()> {
        let mut asked = self.begin(ask, false, hand_over)?;
        let model = self.loaded.model.clone();
        let requests = asked.requests(ask.generate);
        let mut clean: Option<Outcome> = None;
        self.engine.run_all(&requests, &mut |n, outcome| {
            let Some(run) = n.checked_sub(1) else {
                asked.begin(&model, &outcome);
                let line = Line::new("cell", &asked.first_line(&model, &outcome));
                clean = Some(outcome);
                return hand_over(line);
            };
            let clean = clean.as_ref().expect("the clean run comes first");
            hand_over(Line::new("cell", &asked.line(&model, run, clean, &outcome)))
        })?;
        let floors = self
            .engine
            .noise_floor(std::slice::from_ref(&asked.prompt))?;
        let most = |of: fn(&NoiseFloor) -> f64| floors.iter().map(of).fold(0.0, f64::max);
        let noise = json!({"kl": most(|f| f.max_kl), "logit": most(|f| f.max_logit)});
        told(hand_over(Line::new("noise", &noise)))?;
        Ok(())
    }

    /// Both continuations, token by token.
    fn generate(&mut self, ask: &TryAsk, hand_over: HandOver) -> anyhow::Result<()> {
        let max = ask.generate.unwrap_or(CONTINUED);
        let ask = TryAsk {
            generate: Some(max),
            ..ask.clone()
        };
        let asked = self.begin(&ask, true, hand_over)?;
        let run = &asked.runs[0];
        let model = &self.loaded.model;
        let mut clean: Vec<Token> = Vec::new();
        let mut same = true;
        for (name, request) in [("clean", &asked.clean), (&run.label(), &run.request)] {
            let is_clean = name == "clean";
            let mut stream = Stream::start(&mut self.engine, request)?;
            for step in 0..max as usize {
                let Some(token) = stream.next(step + 1 == max as usize)? else {
                    break;
                };
                let parts = !is_clean && same && clean.get(step) != Some(&token);
                same &= !parts;
                if is_clean {
                    clean.push(token);
                }
                let text = json!({
                    "run": name,
                    "step": step,
                    "id": token.0,
                    "text": plain(&model.piece(token)),
                    "differs": parts,
                });
                told(hand_over(Line::new("text", &text)))?;
            }
        }
        Ok(())
    }

    /// What `--save-plan` writes.
    fn plan(&mut self, ask: &TryAsk, hand_over: HandOver) -> anyhow::Result<()> {
        let asked = self.begin(ask, true, hand_over)?;
        let facts = self.engine.facts();
        let shape = Shape {
            layers: facts.n_layer,
            width: facts.n_embd,
        };
        let text = Plan::of(&asked.runs[0].request.plan, shape)?.to_json()?;
        told(hand_over(Line::new("plan", &json!({"text": text}))))?;
        Ok(())
    }

    /// The arguments of `midlayer try` that ask for the same.
    fn try_args(&self, ask: &TryAsk) -> Result<TryArgs, Usage> {
        let or = |text: &Option<String>, default: &str| text.clone().unwrap_or(default.into());
        let tokens = or(&ask.tokens, "prior");
        let stacks = ask.manipulate.iter();
        let stacks = stacks.map(|text| parsed::<Stack>("manipulate", text));
        let mut manipulate = stacks.collect::<Result<Vec<_>, _>>()?;
        if manipulate.is_empty() {
            manipulate.push(Stack(vec![(Kind::ALL[0], None)]));
        }
        let text = |text: &Option<String>| text.clone().map(Source::Argument);
        let part = |text: &Option<String>| -> Option<TextPart> {
            text.as_ref().map(|text| match text.parse() {
                Ok(part) => part,
                Err(never) => match never {},
            })
        };
        if ask.generate.is_some_and(|n| n == 0 || n > GENERATED) {
            return Err(Usage(format!("generate from 1 to {GENERATED} tokens")));
        }
        Ok(TryArgs {
            model: self.args.model.clone(),
            prompt: PromptArgs {
                prompt: Source::Argument(ask.prompt.clone()),
                ..prompt_args(ask.chat)
            },
            manipulate,
            layers: parsed::<LayerList>("layers", &or(&ask.layers, "all"))?,
            seed: match ask.seed.is_empty() {
                true => vec![1],
                false => ask.seed.clone(),
            },
            answer: ask.answer.clone(),
            place: PlaceArgs::new(
                parsed::<TokenSelector>("tokens", &tokens)?,
                parsed::<Extent>("extent", &or(&ask.extent, "paper"))?,
                parsed::<Sites>("site", &or(&ask.site, "residual"))?,
            ),
            outside: self.args.outside.clone(),
            inject_from: text(&ask.inject_from),
            inject_at: part(&ask.inject_at),
            inject_from_at: part(&ask.inject_from_at),
            generation: GenerationArgs {
                manipulate_generated: YesNo::Yes,
                from_step: 0,
            },
            generate: ask.generate,
            save_plan: None,
            output: Format::Json,
        })
    }
}

/// Why there is no answer, for who asked.
pub fn refusal(error: &anyhow::Error) -> Refusal {
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(EngineError::Stopped), _) => Refusal::Stopped,
        (_, Some(ShelfError::None(_))) => Refusal::Unknown(error.to_string()),
        (_, Some(ShelfError::Cannot(_))) => Refusal::Usage(error.to_string()),
        _ if exit_code(error) == 2 => Refusal::Usage(error.to_string()),
        _ => Refusal::Failed(error.to_string()),
    }
}

/// Nobody listens any more: a reason to stop.
pub fn told(flow: ControlFlow<()>) -> Result<(), EngineError> {
    match flow {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(EngineError::Stopped),
    }
}

/// A prompt's arguments, without its text.
pub fn prompt_args(chat: bool) -> PromptArgs {
    PromptArgs {
        prompt: Source::Argument(String::new()),
        chat,
        wording: WordingArgs {
            parse_special: None,
            chat_date: ChatDate::default(),
        },
    }
}

pub fn parsed<T: FromStr<Err: ToString>>(name: &str, text: &str) -> Result<T, Usage> {
    text.parse()
        .map_err(|why: T::Err| Usage(format!("{} ({name})", why.to_string())))
}

/// A manipulation, for the page's list.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    sentence: &'static str,
    first_layer: u32,
    has_seed: bool,
    needs_donor: bool,
    parameters: Vec<Value>,
}

/// The manipulations that can be done with the files that there are.
pub fn kinds(args: &ServeArgs) -> Value {
    let files = args.outside.files();
    let kinds = Kind::ALL
        .into_iter()
        .filter(|kind| files.lack(*kind).is_none());
    let kinds = kinds.map(|kind| {
        let of = kind.manipulation();
        let parameters = of.parameters().iter().map(|parameter| {
            let words = match parameter.values {
                Values::Number { .. } => None,
                Values::Words(words) => Some(words),
            };
            json!({
                "name": parameter.name,
                "sentence": parameter.sentence,
                "value": kind.parameter(parameter.name),
                "words": words,
            })
        });
        Listed {
            name: kind.name(),
            sentence: of.sentence(),
            first_layer: of.first_layer(),
            has_seed: kind.has_seed(),
            needs_donor: of.needs() == Needs::Donor,
            parameters: parameters.collect(),
        }
    });
    json!(kinds.collect::<Vec<_>>())
}
