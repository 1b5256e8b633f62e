//! From arguments to a loaded model.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Usage;
use super::args::ModelArgs;
use super::output::{say, spinner};
use crate::engine::{Engine, Planned, Straightforward, Strategy};
use crate::hook::Anatomy;
use crate::hub::{Hub, HubOptions, model_file};
use crate::loading::{self, Settings};
use crate::models::{
    CACHE_VARIABLE, HubModel, Manifest, ModelFiles, Remember, cache_folder, requantized_copy,
    source,
};
use crate::runtime::{
    CacheType, Context, ContextOptions, Device, Level, Model, ModelOptions, chosen, devices,
};

/// A loaded model and where it came from.
pub struct Loaded {
    pub path: PathBuf,
    /// What the model is by its contents.
    pub files: Arc<ModelFiles>,
    pub model: Arc<Model>,
    pub options: ContextOptions,
    /// How it was loaded.
    pub load: ModelOptions,
}

impl Loaded {
    /// The same weights under other cache types.
    pub fn with_cache(&self, cache_k: CacheType, cache_v: CacheType) -> Self {
        Self {
            path: self.path.clone(),
            files: self.files.clone(),
            model: self.model.clone(),
            options: ContextOptions {
                cache_k,
                cache_v,
                ..self.options.clone()
            },
            load: self.load.clone(),
        }
    }

    pub fn engine(&self) -> anyhow::Result<Straightforward> {
        Ok(Straightforward::new(self.model.clone(), &self.options)?)
    }

    /// What the model's layers have, in a small context under these settings.
    pub fn anatomy(&self, options: &ContextOptions) -> anyhow::Result<Anatomy> {
        let options = ContextOptions {
            n_ctx: 64,
            n_batch: 64,
            n_ubatch: 64,
            n_seq_max: 1,
            ..options.clone()
        };
        let context = Context::new(self.model.clone(), &options)?;
        let anatomy = context.anatomy();
        Ok(anatomy.expect("this context has a callback").clone())
    }

    /// The devices besides the processor that have layers.
    ///
    /// # Errors
    /// llama.cpp's.
    pub fn devices(&self) -> anyhow::Result<Vec<Device>> {
        computing(self.load.gpu_layers, self.load.devices.as_deref())
    }

    /// The threads that compute, where no device does.
    pub fn threads(&self) -> anyhow::Result<Option<u32>> {
        let alone = self.devices()?.is_empty();
        Ok(alone.then_some(self.options.threads))
    }

    /// An engine by its strategy; `parallel` sequences at once for the planned one.
    pub fn engine_by(&self, strategy: Strategy, parallel: u32) -> anyhow::Result<Box<dyn Engine>> {
        Ok(match strategy {
            Strategy::Straightforward => Box::new(self.engine()?),
            Strategy::Planned => {
                Box::new(Planned::new(self.model.clone(), &self.options, parallel)?)
            }
        })
    }
}

/// The devices besides the processor that have layers under these settings.
pub fn computing(layers: Option<u32>, names: Option<&[String]>) -> anyhow::Result<Vec<Device>> {
    if layers == Some(0) {
        return Ok(Vec::new());
    }
    let all = devices()?;
    let numbers = chosen(names)?;
    Ok(numbers.into_iter().map(|n| all[n].clone()).collect())
}

/// The model files that are asked for: several where commas separate them.
pub fn model_files(args: &ModelArgs) -> anyhow::Result<Vec<PathBuf>> {
    check_caches()?;
    let of = |names: &str, find: fn(&str) -> anyhow::Result<PathBuf>| {
        if Path::new(names).is_file() {
            return Ok(vec![names.into()]);
        }
        names.split(',').map(|name| find(name.trim())).collect()
    };
    match (&args.hf_repo, &args.model) {
        (Some(repos), _) => of(repos, from_hub),
        (None, Some(models)) => of(models, find),
        (None, None) => Err(no_model().into()),
    }
}

fn no_model() -> Usage {
    Usage("give a model: -m or -hf".into())
}

/// Refuses folders of models whose paths llama.cpp's crate cannot be given, before anything is
/// put there.
pub fn check_caches() -> Result<(), Usage> {
    let folders = [
        (cache_folder(), CACHE_VARIABLE),
        (HubOptions::from_env().cache, "HF_HOME"),
    ];
    match folders.iter().find(|(folder, _)| folder.to_str().is_none()) {
        None => Ok(()),
        Some((folder, variable)) => Err(Usage(format!(
            "{} is not UTF-8, and models in a folder with such a name cannot be loaded; choose another folder ({variable})",
            folder.display()
        ))),
    }
}

/// A model that is asked for.
pub enum Named {
    /// Its file is here.
    File(PathBuf),
    /// It is to be requantized from a file that is here.
    Unmade {
        /// The file.
        source: PathBuf,
        /// To this level.
        level: Level,
    },
    /// It is on the hub, not here, and its size is known.
    Hub(HubModel),
}

/// The models that are asked for, without fetching or making any.
pub fn named_models(args: &ModelArgs) -> anyhow::Result<Vec<Named>> {
    check_caches()?;
    let Some(repos) = &args.hf_repo else {
        let Some(models) = &args.model else {
            return Err(no_model().into());
        };
        if Path::new(models).is_file() {
            return Ok(vec![Named::File(models.into())]);
        }
        let named = models.split(',').map(|name| match source(name.trim())? {
            (file, None) => Ok(Named::File(file)),
            (source, Some(level)) => {
                let copy = requantized_copy(&cache_folder(), &source, level)?;
                Ok(copy.map_or(Named::Unmade { source, level }, Named::File))
            }
        });
        return named.collect();
    };
    let cached = Hub::new(HubOptions {
        offline: Some("--dry-run"),
        ..HubOptions::from_env()
    })?;
    let manifest = Manifest::builtin();
    let named = repos.split(',').map(|repo| {
        if let Ok(file) = model_file(&cached, repo) {
            return Ok(Named::File(file));
        }
        let known = manifest.hub_model(repo).cloned();
        let unknown = || {
            Usage(format!(
                "{repo} is not in the hub's cache, and its size is not known without it; run without --dry-run to fetch it (-hf)"
            ))
        };
        Ok(Named::Hub(known.ok_or_else(unknown)?))
    });
    named.collect()
}

/// The arguments of each model that is asked for, as commas separate them.
pub fn each_model(args: &ModelArgs) -> Vec<ModelArgs> {
    let all = |names: &Option<String>| -> Vec<Option<String>> {
        let names = names.as_deref().unwrap_or_default();
        match Path::new(names).is_file() {
            true => vec![Some(names.into())],
            false => names
                .split(',')
                .map(|name| Some(name.trim().into()))
                .collect(),
        }
    };
    let of = |model, hf_repo| ModelArgs {
        model,
        hf_repo,
        ..args.clone()
    };
    match &args.hf_repo {
        Some(_) => (all(&args.hf_repo).into_iter())
            .map(|repo| of(None, repo))
            .collect(),
        None => (all(&args.model).into_iter())
            .map(|model| of(model, None))
            .collect(),
    }
}

/// Finds and loads the model.
pub fn load(args: &ModelArgs) -> anyhow::Result<Loaded> {
    match &model_files(args)?[..] {
        [path] => {
            let loaded = load_file(path.clone(), args)?;
            let facts = loaded.model.facts();
            let notices = [
                facts.splitting_notice(),
                facts.end_notice(),
                facts.context_notice(args.ctx_size),
            ];
            notices.iter().flatten().for_each(|notice| say(notice));
            Ok(loaded)
        }
        _ => {
            Err(Usage("one model at a time here; sweep and serve take several (-m)".into()).into())
        }
    }
}

/// Loads a model's file, after it was tried. What is loaded is what was hashed.
pub fn load_file(path: PathBuf, args: &ModelArgs) -> anyhow::Result<Loaded> {
    load_by(path, args, Remember::Hash)
}

/// The same, where nothing is to be written: neither the file's hash nor that it loads.
pub fn load_unnoted(path: PathBuf, args: &ModelArgs) -> anyhow::Result<Loaded> {
    load_by(path, args, Remember::Nothing)
}

fn load_by(path: PathBuf, args: &ModelArgs, keep: Remember) -> anyhow::Result<Loaded> {
    let waiting = spinner(format!("loading {}", path.display()));
    let loaded = load_checked(path, args, keep);
    waiting.finish_and_clear();
    loaded
}

fn load_checked(path: PathBuf, args: &ModelArgs, keep: Remember) -> anyhow::Result<Loaded> {
    let settings = Settings {
        gpu_layers: args.n_gpu_layers,
        devices: args.device.clone(),
        rpc: args.rpc.clone(),
        context: context_options(args),
    };
    let tried = loading::load(&path, &settings, keep, &mut |text| say(text))?;
    Ok(Loaded {
        model: tried.model,
        files: tried.files,
        path,
        load: settings.model(),
        options: settings.context,
    })
}

/// Finds a model on the Hugging Face hub, or in its cache.
fn from_hub(repo: &str) -> anyhow::Result<PathBuf> {
    let waiting = spinner(format!("looking for {repo}"));
    let shown = waiting.clone();
    let hub = Hub::from_env()?.on_progress(move |done, total| {
        let megabytes = |bytes: u64| bytes / 1_000_000;
        shown.set_message(format!("{} of {} MB", megabytes(done), megabytes(total)));
    });
    let file = model_file(&hub, repo);
    waiting.finish_and_clear();
    Ok(file?)
}

/// A model's file, held as long as the second part lives, that loads without ending the process.
pub fn tried(name: &str) -> anyhow::Result<(PathBuf, ModelFiles)> {
    check_caches()?;
    let path = find(name)?;
    let files = ModelFiles::open(&path)?;
    let settings = Settings::default();
    loading::check(&path, &files, &settings, Remember::Hash, &mut |text| {
        say(text)
    })?;
    Ok((path, files))
}

/// Finds a model's file, requantizing where the name asks for it.
pub fn find(name: &str) -> anyhow::Result<PathBuf> {
    Ok(loading::find(name, &mut |text| say(text))?)
}

pub fn context_options(args: &ModelArgs) -> ContextOptions {
    let defaults = ContextOptions::default();
    ContextOptions {
        n_ctx: args.ctx_size,
        n_batch: args.batch_size.min(args.ctx_size),
        n_ubatch: args.ubatch_size.min(args.batch_size),
        threads: args.threads.unwrap_or(defaults.threads),
        flash_attention: args.flash_attn.into(),
        cache_k: args.cache_type_k,
        cache_v: args.cache_type_v,
        ..defaults
    }
}
