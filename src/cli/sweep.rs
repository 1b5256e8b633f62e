//! `midlayer sweep`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::args::SweepArgs;
use super::follow::Follow;
use super::notices::{notes, tell_controls, tell_once, tell_samples};
use super::output::{print, say, width};
use super::selftest::{Wishes, before_sweep};
use super::setup::{Loaded, load_file, model_files};
use super::sharded;
use super::specification::{cache_types, specification};
use crate::engine::{Engine, EngineError};
use crate::experiment::{Comparison, Spec, Variant, alike, labels};
use crate::models::Remember;
use crate::report::{self, Report};
use crate::store::{Machines, OfShard, Opening, Part, Store, StoreError, StoredRun};
use crate::sweep;
use crate::sweep::{Base, Prepared, Progress, Summary, SweepError};

/// Sweeps. `command` is what the user typed, for the record, and `whole` the same without the part
/// that it asks for.
pub fn run(args: SweepArgs, command: &str, whole: &str) -> anyhow::Result<()> {
    args.outside.check(args.manipulate.iter().copied())?;
    let shard = sharded::asked(&args)?;
    let mut follow = Follow::new(args.budget)?;
    let files = model_files(&args.model)?;
    let (sources, mut prepared, last) = prepare(&args, &files, &follow)?;
    let variants: Vec<Variant> = prepared.iter().map(|p| p.variant().clone()).collect();
    let out = args.out.clone().unwrap_or_else(|| {
        let stem = files[0].file_stem().unwrap_or_default();
        PathBuf::from("runs").join(stem)
    });
    sharded::place(&mut prepared);
    let part = match shard {
        Some(shard) => Some(sharded::take(shard, &mut prepared, &out)?),
        None => None,
    };
    // Opened before anything is computed, so that a bad folder fails early.
    let folder = shard.map_or_else(|| out.clone(), |shard| shard.folder(&out));
    let opening = Opening {
        machines: match shard {
            Some(_) => Machines::Any,
            None => Machines::Same,
        },
        scratch: args.scratch.as_deref(),
    };
    let mut store = Store::open_by(&folder, &variants, opening)?;
    if args.scratch.is_some() {
        follow.elsewhere();
    }
    let commands = (command, whole);
    let swept = begin(&args, &prepared, part.as_ref(), commands, &mut store).and_then(|()| {
        let ready = Ready {
            args: &args,
            sources,
            prepared: &prepared,
            part: part.as_ref(),
        };
        ready.sweep(last, &mut store, &mut follow)
    });
    let swept = match swept {
        Ok(swept) => {
            store.close()?;
            follow.published();
            swept
        }
        Err(error) => {
            let interrupted = matches!(error.downcast_ref(), Some(SweepError::Interrupted));
            let closed = match interrupted {
                true => store.close(),
                false => store.close_failed(),
            };
            match closed {
                Ok(()) => follow.published(),
                Err(error) => say(&error.to_string()),
            }
            return Err(match interrupted {
                true => follow.stopped_error().into(),
                false => error,
            });
        }
    };
    if let (Some(shard), Some(part)) = (shard, part) {
        say(&format!(
            "part {shard} is complete: its {} results are in {}; midlayer merge {} makes one run of all parts, midlayer report reads them as they are",
            part.results,
            folder.display(),
            out.display()
        ));
        return Ok(());
    }
    follow.reports();
    if swept.spent {
        say(
            "the time that --budget allows is over: what follows is about what is stored so far; repeat the command to go on",
        );
    }
    if swept.resumed > 0 {
        say(&format!("{} results were there already", swept.resumed));
    }
    report(&out, &args)
}

/// Notes what is about to be done. `commands` are what the user typed, and the same without the
/// part that it asks for.
fn begin(
    args: &SweepArgs,
    prepared: &[Prepared],
    part: Option<&OfShard>,
    (command, whole): (&str, &str),
    store: &mut Store,
) -> anyhow::Result<()> {
    if let Some(notice) = store.notice() {
        say(&notice);
    }
    let threads = prepared[0].variant().spec.context.threads;
    store.begin_session(crate::REVISION, &sharded::machine(args, threads)?)?;
    store.note_command(command)?;
    if let Some(part) = part {
        store.note_shard(part, whole)?;
    }
    for (n, prepared) in prepared.iter().enumerate() {
        prepared.note(&mut store.part(n))?;
    }
    // What follows the run sees it begun.
    store.publish()?;
    Ok(())
}

/// What is to be run.
struct Ready<'a> {
    args: &'a SweepArgs,
    sources: Vec<&'a PathBuf>,
    prepared: &'a [Prepared],
    part: Option<&'a OfShard>,
}

/// What came of it.
struct Swept {
    resumed: usize,
    /// The budget is spent.
    spent: bool,
}

impl Ready<'_> {
    /// Runs each variant. `last` is the model loaded last.
    fn sweep(
        self,
        mut last: Option<Loaded>,
        store: &mut Store,
        follow: &mut Follow,
    ) -> anyhow::Result<Swept> {
        let Self {
            args,
            prepared,
            part,
            ..
        } = self;
        let strategy = args.strategy.into();
        let results = prepared.iter().map(|p| p.amount().results).sum();
        let first = &prepared[0].variant().spec;
        let adaptive = first.until.is_some();
        follow.opened((!adaptive).then_some(results), store.results()?);
        tell_samples(first);
        tell_controls(&args.manipulate, first);
        tell_once(prepared.iter().flat_map(notes));
        let specs: Vec<&Spec> = prepared.iter().map(|p| &p.variant().spec).collect();
        alike(&specs).iter().for_each(|notice| say(notice));
        let labels = labels(&specs);
        let left = work_left(prepared, store)?;
        let several = prepared.len() > 1;
        // The first model's states are kept while the others run, where one is still to be compared.
        // Of parts, the first one compares them.
        let mut compares = false;
        if several && part.is_none_or(|part| part.number == 1) {
            for n in 0..prepared.len() {
                compares |= !store.part(n).has_drift()?;
            }
        }
        let mut base = None;
        let mut done = 0.0;
        let mut swept = Swept {
            resumed: 0,
            spent: false,
        };
        let mut comparison = match several {
            false => Comparison::Alone,
            true => Comparison::First,
        };
        for (n, (prepared, file)) in self.prepared.iter().zip(self.sources).enumerate() {
            if follow.stopped() {
                return Err(SweepError::Interrupted.into());
            }
            let elsewhere = part.is_some() && prepared.amount().results == 0;
            if elsewhere && !compares {
                continue;
            }
            if several {
                say(&format!("{} ({} of {})", labels[n], n + 1, labels.len()));
            }
            // How much a sweep takes that stops when it knows is known of the models before alone.
            let after = labels.len() - n - 1;
            let later = match adaptive {
                false => Some(left[n + 1..].iter().sum()),
                true => (n > 0).then(|| done / n as f64 * after as f64),
            };
            follow.of_models(n + 1, labels.len(), later);
            // One model at a time is in memory, and none is loaded twice in a row.
            let mut loaded = match last.take() {
                Some(loaded) if loaded.path == *file => loaded,
                _ => load_file(file.clone(), &args.model)?,
            };
            let spec = &prepared.variant().spec;
            loaded.files.expect(&spec.model.sha256)?;
            follow.model = Some(loaded.files.clone());
            loaded.options = spec.context.clone();
            let part = &mut store.part(n);
            let base = compares.then_some((&mut base, n == 0));
            let result = match elsewhere {
                true => loaded
                    .engine_by(strategy, args.parallel)
                    .and_then(|mut engine| {
                        compare_states(prepared, engine.as_mut(), part, follow, base)?;
                        Ok(Summary::default())
                    }),
                false => run_variant(args, &loaded, prepared, part, follow, &comparison, base),
            };
            follow.rest();
            let summary = result?;
            swept.resumed += summary.resumed;
            done += follow.work();
            swept.spent |= summary.spent;
            if n == 0 && several {
                comparison = Comparison::With(summary.windows);
            }
            last = Some(loaded);
            if swept.spent {
                break;
            }
        }
        Ok(swept)
    }
}

/// Loads each model and prepares what is run on it: all that can be known is known before the first
/// variant is computed. Returns each variant's file, the variants, and the model loaded last.
fn prepare<'f>(
    args: &SweepArgs,
    files: &'f [PathBuf],
    follow: &Follow,
) -> anyhow::Result<(Vec<&'f PathBuf>, Vec<Prepared>, Option<Loaded>)> {
    let (mut sources, mut prepared) = (Vec::new(), Vec::new());
    let mut last = None;
    for file in files {
        follow.step(&format!("loading {}", file.display()));
        let mut loaded = load_file(file.clone(), &args.model)?;
        let facts = loaded.model.facts();
        let of_context = facts.context_notice(loaded.options.n_ctx);
        for notice in facts.notices().into_iter().chain(of_context) {
            say(&notice);
        }
        for cache in cache_types(args) {
            let spec = specification(args, &loaded, cache, Remember::Hash)?;
            loaded.options = spec.context.clone();
            let engine = loaded.engine_by(args.strategy.into(), args.parallel)?;
            prepared.push(Prepared::new(Variant::new(spec)?, engine.as_ref())?);
            sources.push(file);
        }
        last = Some(loaded);
    }
    Ok((sources, prepared, last))
}

/// Writes a run's report and prints its tables.
fn report(out: &Path, args: &SweepArgs) -> anyhow::Result<()> {
    let stored = StoredRun::read(out)?;
    let report = Report::new(&stored, args.verdicts.options());
    // The report is written whether anybody reads the tables or not.
    let printed = print(&report::terminal(&report, width()));
    for file in report::write(&report)? {
        say(&format!("wrote {}", file.display()));
    }
    let page = out.join(report::PAGE);
    report::write_page(std::slice::from_ref(&report), &page)?;
    say(&format!("wrote {}", page.display()));
    say(&format!(
        "results are in {}",
        out.join(crate::store::DATABASE).display()
    ));
    printed
}

/// The work that is left of each variant's whole grid.
fn work_left(prepared: &[Prepared], store: &mut Store) -> Result<Vec<f64>, StoreError> {
    let left = prepared.iter().enumerate().map(|(n, prepared)| {
        let part = store.part(n);
        let tasks = prepared.variant().spec.tasks.iter();
        let stored = tasks.map(|task| {
            Ok(part
                .stored(task.task)?
                .values()
                .map(HashSet::len)
                .sum::<usize>())
        });
        let stored: usize = stored.sum::<Result<usize, StoreError>>()?;
        let all = prepared.amount();
        Ok(all.work * (1.0 - stored as f64 / all.results.max(1) as f64))
    });
    left.collect()
}

/// Examines what a variant is about to do, and runs it.
fn run_variant(
    args: &SweepArgs,
    loaded: &Loaded,
    prepared: &Prepared,
    part: &mut Part<'_>,
    follow: &mut Follow,
    comparison: &Comparison,
    base: Option<(&mut Option<Base>, bool)>,
) -> anyhow::Result<Summary> {
    let mut engine = loaded.engine_by(args.strategy.into(), args.parallel)?;
    let wishes = Wishes {
        force: args.force,
        leave_out: args.no_selftest,
    };
    before_sweep(loaded, prepared, engine.as_mut(), part, wishes)?;
    let summary = sweep::run(prepared, engine.as_mut(), part, follow, comparison)?;
    if part.publish()? {
        follow.published();
    }
    let base = base.filter(|_| !summary.spent);
    compare_states(prepared, engine.as_mut(), part, follow, base)?;
    Ok(summary)
}

/// Compares a model's states with those of the first one, which leaves them in `base`, where that
/// is to be done.
fn compare_states(
    prepared: &Prepared,
    engine: &mut dyn Engine,
    part: &mut Part<'_>,
    follow: &mut Follow,
    base: Option<(&mut Option<Base>, bool)>,
) -> anyhow::Result<()> {
    let Some((base, first)) = base else {
        return Ok(());
    };
    let measured = match base {
        _ if first => Base::new(prepared, engine).map(|(made, drift)| {
            *base = Some(made);
            drift
        }),
        Some(base) => base.drift(prepared, engine),
        // The first one's could not be had, which was said.
        None => return Ok(()),
    };
    match measured {
        Ok(Some(drift)) => {
            follow.check()?;
            part.note_drift(&drift)?;
        }
        Ok(None) => follow.note("its hidden states cannot be compared with the first model's"),
        Err(EngineError::Stopped) => return Err(SweepError::Interrupted.into()),
        // Results are stored without it.
        Err(error) => follow.note(&format!("hidden states were not compared: {error}")),
    }
    Ok(())
}
