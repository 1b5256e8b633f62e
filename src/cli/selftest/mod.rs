//! `midlayer selftest`, and the short form of it that a sweep begins with.

mod architectures;
mod backends;
mod before;
mod follow;
mod kept;

use std::fmt::Write;

use serde_json::json;

use super::args::{Format, SelftestArgs};
use super::output::{print, table, width};
use super::setup::{Loaded, load};
use crate::engine::Strategy;
use crate::report::{Column, wrap};
use crate::runtime::{Architecture, ContextOptions, Facts, Model, ModelOptions, RuntimeError};
use crate::selftest::{self, Check, Scope, SelfTest, Silent, Subject, Verdict, Watch};

pub use before::{Wishes, before_sweep, seconds_before};
use follow::Follow;

/// Layers at which a model is examined unless asked for otherwise.
const LAYERS: u32 = 4;

/// Something is wrong.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Wrong(String);

pub fn run(args: &SelftestArgs) -> anyhow::Result<()> {
    if let Some(named) = &args.architectures {
        return of_architectures(args, named);
    }
    if args.backends {
        return backends::run(args);
    }
    let mut loaded = load(&args.model)?;
    loaded.options.sabotage = args.sabotage;
    let facts = loaded.model.facts();
    let mut scope = Scope::spread(facts.n_layer, LAYERS);
    if let Some(layers) = &args.layers {
        scope.layers = layers.resolve(facts.n_layer)?;
    }
    let mut follow = Follow::new("examining");
    let found = examine(&loaded, &scope, true, &mut follow);
    drop(follow);
    let found = found?;
    match args.output {
        Format::Json => print(&lines(facts, &found))?,
        Format::Text => print(&text(facts, &loaded.options, &found))?,
    }
    judge(&facts.name, &found)
}

fn of_architectures(args: &SelftestArgs, named: &[Architecture]) -> anyhow::Result<()> {
    let every = [Architecture::ALL, Architecture::KIN].concat();
    let all = if named.is_empty() { &every } else { named };
    let mut examined = Vec::new();
    for (n, &architecture) in all.iter().enumerate() {
        let name = format!("examining {architecture} ({} of {})", n + 1, all.len());
        let mut follow = Follow::new(&name);
        let (facts, found) =
            architectures::examine(architecture, &args.model, args.sabotage, &mut follow)?;
        drop(follow);
        if args.output == Format::Json {
            print(&lines(&facts, &found))?;
        }
        examined.push((architecture, found));
    }
    if args.output == Format::Text {
        print(&architectures::page(&examined)?)?;
    }
    let wrong = examined
        .iter()
        .filter(|(_, found)| found.wrong().next().is_some());
    let wrong: Vec<String> = wrong
        .map(|(architecture, _)| architecture.to_string())
        .collect();
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Wrong(format!("something is wrong with {}", wrong.join(", "))).into())
}

/// Whether the self-test found anything wrong, as an error.
pub fn judge(name: &str, found: &SelfTest) -> anyhow::Result<()> {
    let wrong = found.wrong().count();
    if wrong == 0 {
        return Ok(());
    }
    Err(Wrong(format!(
        "{wrong} checks of {name} went wrong: do not trust what manipulations give with this model, these settings and this backend"
    )).into())
}

/// Examines a model's file; `twice` allows to load it once more, for its silent twin.
pub fn examine(
    loaded: &Loaded,
    scope: &Scope,
    twice: bool,
    watch: &mut dyn Watch,
) -> anyhow::Result<SelfTest> {
    let again = || {
        if !fits_again(loaded.files.bytes()) {
            return Err(RuntimeError::NoRoom);
        }
        let options = ModelOptions {
            unmapped: true,
            ..loaded.load.clone()
        };
        Model::load(&loaded.path, &options)
    };
    let subject = Subject {
        model: loaded.model.clone(),
        options: loaded.options.clone(),
        silent: twice.then(|| Silent::new(again)),
    };
    let found = selftest::run(subject, scope, watch)?;
    // It was loaded again meanwhile, and must have been the same.
    loaded.files.check_paths()?;
    Ok(found)
}

/// Whether there is memory for so many bytes of weights. Where the system does not tell, there is
/// none.
fn fits_again(needed: u64) -> bool {
    let available = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|info| {
            let line = info.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
            let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some(kilobytes * 1024)
        });
    available.is_some_and(|available| available > needed.saturating_mul(5) / 4)
}

fn text(facts: &Facts, options: &ContextOptions, found: &SelfTest) -> String {
    let layers: Vec<String> = found.layers.iter().map(ToString::to_string).collect();
    let mut text = format!(
        "{} ({}), manipulated at layers {} of 0-{}; K/V cache {}/{}\nnoise floor: logits of clean runs differ by up to {:.1e} when a batch is cut\n\n",
        facts.name,
        facts.quantization,
        layers.join(", "),
        facts.n_layer - 1,
        options.cache_k,
        options.cache_v,
        found.noise_floor,
    );
    if found.drowned > 0 {
        writeln!(
            text,
            "{} comparisons below were passed with a tolerance as large as what the manipulation does to the logits: this model's noise here drowns it, and only rows could be checked (a model of higher precision tells more)\n",
            found.drowned
        )
        .expect("a String takes any text");
    }
    if found.flipped > 0 {
        writeln!(
            text,
            "{} comparisons below went wrong on one text and not on another: this model chooses between experts, and between two that are nearly alike rounding decides\n",
            found.flipped
        )
        .expect("as above");
    }
    let mut text = wrap(&text, width());
    let mut rows = Vec::new();
    for (kind, site) in found.manipulations() {
        let of = |strategy| {
            found
                .verdict(kind, site, strategy)
                .map_or(String::new(), ToString::to_string)
        };
        rows.push(vec![
            kind.to_string(),
            site.to_string(),
            of(Strategy::Straightforward),
            of(Strategy::Planned),
        ]);
    }
    let head = ["manipulation", "of", "straightforward", "planned"];
    let manipulations = table(&head, &rows, &[Column::Words]);
    let mut rows = Vec::new();
    let mut done: Vec<Check> = found.findings.iter().map(|f| f.check).collect();
    done.sort_unstable();
    done.dedup();
    for check in done.into_iter().filter(|check| *check != Check::Effect) {
        let verdict = found
            .of_check(check)
            .map_or(String::new(), Verdict::to_string);
        rows.push(vec![check.describe().to_string(), verdict]);
    }
    let checks = table(&["compared", "verdict"], &rows, &[Column::Words]);
    writeln!(text, "{manipulations}\n\n{checks}").expect("a String takes any text");
    for finding in found.wrong() {
        let of = match (finding.manipulation, finding.site, finding.layer) {
            (Some(kind), Some(site), Some(layer)) => format!("{kind} of {site} at layer {layer}: "),
            (_, Some(site), _) => format!("{site}: "),
            _ => String::new(),
        };
        let check = finding.check.describe();
        writeln!(text, "WRONG: {of}{check}: {}", finding.verdict).expect("as above");
    }
    let end = if found.wrong().next().is_none() {
        "nothing is wrong"
    } else {
        "something is wrong"
    };
    writeln!(text, "{end}").expect("as above");
    text
}

/// One object a finding.
fn lines(facts: &Facts, found: &SelfTest) -> String {
    let mut text = String::new();
    for finding in &found.findings {
        let mut object = json!(finding);
        object["model"] = json!(facts.name);
        object["noise_floor"] = json!(found.noise_floor);
        object["drowned"] = json!(found.drowned);
        object["flipped"] = json!(found.flipped);
        writeln!(text, "{object}").expect("a String takes any text");
    }
    text
}
