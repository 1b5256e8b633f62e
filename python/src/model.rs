//! Models.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use midlayer::engine::{Engine, Wording};
use midlayer::hub::{Hub, model_file};
use midlayer::loading::{self, LoadError, Settings};
use midlayer::models::Remember;
use midlayer::plan::{Plan, Shape};
use midlayer::runtime::{ChatDate, ContextOptions, Model as Loaded};
use midlayer::trial::{self, NamedTask, Told};
use numpy::{IntoPyArray, PyArray3, PyArrayMethods};
use pyo3::prelude::*;

use crate::captured::Rows;
use crate::errors::{of_engine, of_loading, of_runtime, of_trial, usage};
use crate::given::target;
use crate::hooks::{self, Raised};
use crate::lens::{self, Lens};
use crate::manipulation::Manipulation;
use crate::map::Map;
use crate::mapping::{Wish, of_item};
use crate::prompt::Prompt;
use crate::results::Results;
use crate::settings::{self, Names};
use crate::told::{tell, tell_progress};
use crate::worker::{Bench, Worker, check_process};

/// A loaded model with its engine. The engine has a thread of its own: calls from several threads
/// come one after the other, and the GIL is free while it computes.
#[pyclass(frozen, subclass, module = "midlayer")]
pub struct Model {
    model: Arc<Loaded>,
    worker: Worker,
    name: String,
    sha256: String,
    settings: Settings,
}

#[pymethods]
impl Model {
    #[new]
    #[pyo3(signature = (name, *, hub=false, threads=None, gpu_layers=None, device=None, rpc=None,
        ctx_size=2048, batch_size=2048, ubatch_size=512, flash_attn="auto", cache_type_k="f16",
        cache_type_v="f16", engine="planned"))]
    #[allow(clippy::too_many_arguments)] // keywords of Python
    fn new(
        py: Python<'_>,
        name: &str,
        hub: bool,
        threads: Option<u32>,
        gpu_layers: Option<u32>,
        device: Option<Names>,
        rpc: Option<Names>,
        ctx_size: u32,
        batch_size: u32,
        ubatch_size: u32,
        flash_attn: &str,
        cache_type_k: &str,
        cache_type_v: &str,
        engine: &str,
    ) -> PyResult<Self> {
        check_process()?;
        let defaults = ContextOptions::default();
        let context = ContextOptions {
            n_ctx: ctx_size,
            n_batch: batch_size.min(ctx_size),
            n_ubatch: ubatch_size.min(batch_size),
            threads: threads.unwrap_or(defaults.threads),
            flash_attention: settings::flash_attention(flash_attn)?,
            cache_k: cache_type_k.parse().map_err(usage)?,
            cache_v: cache_type_v.parse().map_err(usage)?,
            ..defaults
        };
        let planned = match engine {
            "planned" => true,
            "straightforward" => false,
            other => {
                return Err(usage(format!(
                    "engine is planned or straightforward, not '{other}'"
                )));
            }
        };
        let settings = Settings {
            gpu_layers,
            devices: device.map(Names::all),
            rpc: rpc.map(Names::all).unwrap_or_default(),
            context,
        };
        let mut said = Vec::new();
        let tried = py.detach(|| {
            let mut say = |text: &str| said.push(text.to_string());
            let path = match hub {
                true => model_file(&Hub::from_env()?, name)?,
                false => loading::find(name, &mut say)?,
            };
            loading::load(Path::new(&path), &settings, Remember::Hash, &mut say)
        });
        let tried = tried.map_err(|error: LoadError| of_loading(error))?;
        let facts = tried.model.facts();
        let notices = [
            facts.splitting_notice(),
            facts.end_notice(),
            facts.context_notice(ctx_size),
        ];
        said.extend(notices.into_iter().flatten());
        tell(py, &said)?;
        let model = tried.model;
        let options = settings.context.clone();
        let worker = py.detach(|| Worker::start(model.clone(), options, planned));
        Ok(Self {
            model,
            worker: worker.map_err(of_runtime)?,
            name: name.into(),
            sha256: tried.files.sha256().into(),
            settings,
        })
    }

    /// The name that it was asked for by.
    #[getter]
    fn name(&self) -> &str {
        &self.name
    }

    /// The SHA-256 of its file.
    #[getter]
    fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Its options, as the program takes them.
    #[getter]
    fn options(&self) -> Vec<String> {
        settings::options(&self.settings)
    }

    /// The number of layers.
    #[getter]
    fn n_layer(&self) -> u32 {
        self.model.facts().n_layer
    }

    /// Values of a hidden state.
    #[getter]
    fn width(&self) -> u32 {
        self.model.facts().n_embd
    }

    /// Tokens of the vocabulary.
    #[getter]
    fn n_vocab(&self) -> u32 {
        self.model.facts().n_vocab
    }

    /// Threads that compute.
    #[getter]
    fn threads(&self) -> u32 {
        self.settings.context.threads
    }

    /// Tokenizes a text. `chat` puts it into the model's own chat template; `parse_special` says
    /// whether special tokens that it spells out are these tokens (default: not in a chat).
    ///
    /// Raises PromptError for an empty text, or a model without a chat template.
    #[pyo3(signature = (text, *, chat=false, parse_special=None, chat_date=None))]
    fn prompt(
        &self,
        py: Python<'_>,
        text: String,
        chat: bool,
        parse_special: Option<bool>,
        chat_date: Option<&str>,
    ) -> PyResult<Prompt> {
        let date = chat_date.map(str::parse::<ChatDate>).transpose();
        let date = date.map_err(usage)?.unwrap_or_default();
        let wording = Wording {
            chat: chat.then_some(date),
            parse_special: parse_special.unwrap_or(!chat),
        };
        self.worker.ask(py, move |bench| {
            let prompt = wording.prompt(bench.engine.get().tokenizer(), &text);
            Ok(Prompt::new(prompt.map_err(of_engine)?, &bench.model))
        })
    }

    #[pyo3(signature = (prompt, manipulations, hooks, answers, generate, manipulate_generated, from_step, progress))]
    #[allow(clippy::too_many_arguments)] // as the program's options
    fn _run(
        &self,
        py: Python<'_>,
        prompt: &Prompt,
        manipulations: Vec<Manipulation>,
        hooks: Vec<(u32, Py<PyAny>)>,
        answers: Vec<String>,
        generate: Option<usize>,
        manipulate_generated: bool,
        from_step: usize,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Results> {
        let prompt = prompt.prompt.clone();
        let (results, said) = self.worker.ask(py, move |bench| {
            let Bench {
                engine,
                model,
                anatomy,
            } = bench;
            let engine = engine.get();
            let trials = manipulations.iter().map(|manipulation| {
                let generates = generate.is_some();
                manipulation.trial(engine, generates, manipulate_generated, from_step)
            });
            let trials = trials.collect::<Result<Vec<_>, _>>().map_err(of_trial)?;
            let mut said = Vec::new();
            let mut say = |text: &str| said.push(text.to_string());
            let runs = trial::runs(&trials, engine, anatomy, &prompt, &mut say);
            let mut runs = runs.map_err(of_trial)?;
            let raised = Raised::default();
            hooks::add(&mut runs, hooks, &raised, engine, &prompt)?;
            let all = runs.len() + 1;
            let mut failed = None;
            let mut done = |n: usize| tell_progress(progress.as_ref(), (n, all), &mut failed);
            let results =
                trial::results(engine, model, &prompt, runs, &answers, generate, &mut done);
            match failed.or_else(|| raised.take()) {
                Some(error) => Err(error),
                None => Ok((
                    Results::new(results.map_err(of_trial)?, model.clone(), prompt),
                    said,
                )),
            }
        })?;
        tell(py, &said)?;
        Ok(results)
    }

    /// What clean runs leave at `layers`: of each prompt an array [layers, tokens, width] of each of
    /// `sites`.
    fn _capture<'py>(
        &self,
        py: Python<'py>,
        prompts: Vec<PyRef<'py, Prompt>>,
        layers: Vec<u32>,
        sites: Vec<String>,
    ) -> PyResult<Vec<Vec<Bound<'py, PyArray3<f32>>>>> {
        let prompts: Vec<_> = prompts.iter().map(|prompt| prompt.prompt.clone()).collect();
        let n = layers.len();
        let tokens: Vec<usize> = prompts.iter().map(|prompt| prompt.tokens.len()).collect();
        let targets = sites.iter().map(|site| target(site));
        let targets = targets.collect::<PyResult<Vec<_>>>()?;
        let arrays = self.worker.ask(py, move |bench| {
            bench.captured(&prompts, &layers, (&sites, &targets))
        })?;
        let of_prompt = |(of_sites, tokens): (Vec<Rows>, usize)| {
            let arrays = of_sites
                .into_iter()
                .map(|(values, width)| values.into_pyarray(py).reshape([n, tokens, width]));
            arrays.collect()
        };
        arrays.into_iter().zip(tokens).map(of_prompt).collect()
    }

    #[pyo3(signature = (prompt, layers, answer))]
    fn _lens(
        &self,
        py: Python<'_>,
        prompt: &Prompt,
        layers: Option<Vec<u32>>,
        answer: Option<String>,
    ) -> PyResult<Lens> {
        let prompt = prompt.prompt.clone();
        self.worker.ask(py, move |bench| {
            let engine = bench.engine.planned()?;
            let n_layer = engine.facts().n_layer;
            let layers = layers.unwrap_or_else(|| (0..n_layer).collect());
            let positions: Vec<u32> = (0..prompt.tokens.len() as u32).collect();
            let answer = answer.map(|text| lens::one_token(engine, &prompt, &text));
            let answer = answer.transpose()?;
            let mut told = |_, _| ControlFlow::Continue(());
            let at = (&layers[..], &positions[..]);
            let lens = midlayer::maps::Lens::of(engine, &prompt, at, answer, &mut told);
            let lens = lens.map_err(of_engine)?;
            Ok(Lens::new(lens, bench.model.clone(), prompt, answer))
        })
    }

    #[pyo3(signature = (prompt, manipulation, answer, foil, kl, heads, corrupt, corrupt_by, seed, progress))]
    #[allow(clippy::too_many_arguments)] // as the program's options
    fn _map(
        &self,
        py: Python<'_>,
        prompt: &Prompt,
        manipulation: Manipulation,
        answer: Option<String>,
        foil: Option<String>,
        kl: bool,
        heads: bool,
        corrupt: Option<&Bound<'_, PyAny>>,
        corrupt_by: &str,
        seed: Option<&Bound<'_, PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Map> {
        let by = (corrupt_by, seed);
        let wish = Wish::new(manipulation, heads, corrupt, by, kl, progress)?;
        let prompt = prompt.prompt.clone();
        self.worker.ask(py, move |bench| {
            wish.of_prompt(bench, &prompt, answer.as_deref(), foil.as_deref())
        })
    }

    #[pyo3(signature = (task, manipulation, limit, shots, chat, data, foil, kl, heads, corrupt, corrupt_by, seed, progress))]
    #[allow(clippy::too_many_arguments)] // as the program's options
    fn _map_task(
        &self,
        py: Python<'_>,
        task: &str,
        manipulation: Manipulation,
        limit: usize,
        shots: Option<usize>,
        chat: bool,
        data: Option<PathBuf>,
        foil: Option<&Bound<'_, PyAny>>,
        kl: bool,
        heads: bool,
        corrupt: Option<&Bound<'_, PyAny>>,
        corrupt_by: &str,
        seed: Option<&Bound<'_, PyAny>>,
        progress: Option<Py<PyAny>>,
    ) -> PyResult<Map> {
        let by = (corrupt_by, seed);
        let wish = Wish::new(manipulation, heads, corrupt, by, kl, progress)?;
        let foil = of_item(foil)?;
        let task: NamedTask = task.parse().map_err(usage)?;
        let n_ctx = self.settings.context.n_ctx;
        let (map, said) = self.worker.ask(py, move |bench| {
            let told = Told {
                limit: Some(limit),
                shots,
                chat: chat.then(ChatDate::default),
                data: data.as_deref(),
                ..Told::default()
            };
            wish.of_task(bench, (&task, &told), &foil, n_ctx)
        })?;
        tell(py, said.as_slice())?;
        Ok(map)
    }

    fn _plan(
        &self,
        py: Python<'_>,
        prompt: &Prompt,
        manipulation: Manipulation,
    ) -> PyResult<String> {
        let prompt = prompt.prompt.clone();
        self.worker.ask(py, move |bench| {
            let engine = bench.engine.get();
            let trial = manipulation
                .trial(engine, false, true, 0)
                .map_err(of_trial)?;
            let runs = trial::runs(&[trial], engine, &bench.anatomy, &prompt, &mut |_| {});
            let [run] = &runs.map_err(of_trial)?[..] else {
                return Err(usage(
                    "a plan is one run: give the manipulation a single layer, and one seed",
                ));
            };
            let facts = bench.engine.get().facts();
            let shape = Shape {
                layers: facts.n_layer,
                width: facts.n_embd,
            };
            let plan = Plan::of(&run.request.plan, shape).and_then(|plan| plan.to_json());
            plan.map_err(usage)
        })
    }

    fn __repr__(&self) -> String {
        let facts = self.model.facts();
        format!(
            "Model({:?}, {} layers of width {}, {} tokens, {} threads)",
            self.name, facts.n_layer, facts.n_embd, facts.n_vocab, self.settings.context.threads
        )
    }
}
