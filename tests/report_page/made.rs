//! Stored runs made up for a page, and what is read of the page.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use midlayer::engine::Strategy;
use midlayer::experiment::{Spec, Treatment};
use midlayer::intervention::Kind;
use midlayer::report::{Options, Report, html};
use midlayer::runtime::{Facts, Weights};
use midlayer::store::{Planned, ResultRow, StoredCell, StoredItem, StoredRun, StoredVariant};
use midlayer::tasks::TaskName;

use crate::specs;

/// What would show itself if it ran.
pub const HOSTILE: &str = "</script><script>window.injected = 1</script>\
                       <img src=x onerror=\"window.injected = 2\">'\"&<!--<b>%{x}{y} & more";

pub const ITEMS: usize = 40;

pub const LAYERS: [u32; 4] = [0, 2, 4, 5];

pub const KINDS: [Kind; 3] = [Kind::Freeze, Kind::Random, Kind::Inject];

pub fn spec(name: &str, tasks: &[TaskName]) -> Spec {
    let facts = Facts {
        architecture: "llama".into(),
        name: name.into(),
        n_layer: 6,
        n_embd: 8,
        n_vocab: 16,
        n_ctx_train: 64,
        quantization: "Q8_0".into(),
        bytes: 1000,
        n_params: 1000,
        weights: Weights {
            requantized_from: Some("Q4_1".into()),
            ..Weights::default()
        },
        guesses_splitting: false,
        left_out_end: None,
        unrotated: false,
    };
    let task = |task: &TaskName| specs::task(*task, ITEMS, 1);
    Spec {
        llama_cpp: "b1".into(),
        devices: vec!["CPU".into()],
        strategy: Strategy::Planned,
        parallel: Some(8),
        tasks: tasks.iter().map(task).collect(),
        manipulations: KINDS.to_vec(),
        layers: LAYERS.to_vec(),
        ..specs::of(facts)
    }
}

pub fn row(item: &str, task: TaskName, treatment: Treatment, layer: Option<u32>) -> ResultRow {
    let right = layer.is_none_or(|layer| layer > 3);
    let injected = treatment == Treatment::Manipulated(Kind::Inject);
    ResultRow {
        task,
        item: item.into(),
        cell: Arc::new(StoredCell {
            treatment,
            layer,
            seed: (treatment == Treatment::Manipulated(Kind::Random)).then_some(1),
        }),
        score: f64::from(u8::from(right)),
        correct: right,
        metrics: BTreeMap::new().into(),
        agrees: right,
        answer: if right { " Paris" } else { " Rome" }.into(),
        logprob: if right { -0.5 } else { f64::NEG_INFINITY },
        rank: 1,
        kl: 0.25,
        argmax_text: " Paris".into(),
        modified_correct: injected.then_some(!right),
        modified_logprob: injected.then_some(-2.0),
    }
}

pub fn variant(label: &str, tasks: &[TaskName]) -> StoredVariant {
    let mut items = Vec::new();
    let mut rows = Vec::new();
    for &task in tasks {
        for n in 0..ITEMS {
            let name = match n {
                0 => "FR".to_string(),
                _ => format!("item {n}"),
            };
            items.push(StoredItem {
                task,
                name: name.clone(),
                prompt: format!("Q: What is the capital of country {n}?\nA:"),
                answer: "Paris".into(),
                donor: Some("Q: What is the capital of Italy?\nA:".into()),
                modified_answer: Some("Rome".into()),
            });
            rows.push(row(&name, task, Treatment::Clean, None));
            rows.push(row(&name, task, Treatment::CleanAgain, None));
            for kind in KINDS {
                let at = LAYERS.into_iter();
                rows.extend(at.map(|k| row(&name, task, Treatment::Manipulated(kind), Some(k))));
            }
        }
    }
    StoredVariant {
        label: label.into(),
        spec: spec(label, tasks),
        noise_floor: Vec::new(),
        drift: None,
        selftest: None,
        planned: Planned::default(),
        cells: BTreeMap::new(),
        left_out: BTreeMap::new(),
        cut: BTreeMap::new(),
        items,
        rows,
    }
}

pub fn run(folder: &str, variants: Vec<StoredVariant>) -> StoredRun {
    StoredRun {
        folder: PathBuf::from(folder),
        variants,
        revisions: vec!["abc".into()],
        started: Some("2024-01-01T00:00:00Z".into()),
        fallbacks: 0,
        command: None,
        machines: Vec::new(),
    }
}

pub fn page(runs: &[StoredRun]) -> String {
    let options = Options {
        threshold: Some(0.95),
        ..Options::default()
    };
    let reports: Vec<Report<'_>> = runs.iter().map(|run| Report::new(run, options)).collect();
    html::page(&reports)
}

/// What the page carries packed under a name, as its script unpacks it, and the page without it.
pub fn unpacked(page: &str, name: &str) -> (String, String) {
    let start = format!("<script id=\"{name}\" type=\"text/plain\">");
    let Some((before, rest)) = page.split_once(&start) else {
        return (String::new(), page.into());
    };
    let (packed, after) = rest.split_once("</script>").unwrap();
    let bytes = STANDARD.decode(packed).unwrap();
    let mut text = vec![0; 8_000_000];
    let mut inflater = libdeflater::Decompressor::new();
    let n = inflater.zlib_decompress(&bytes, &mut text).unwrap();
    text.truncate(n);
    let text = String::from_utf8(text).unwrap();
    (
        text,
        format!("{before}<script data-packed></script>{after}"),
    )
}

/// The page without plotly.js, which is no text of ours.
pub fn own_part(page: &str) -> String {
    let (plotly, rest) = unpacked(page, "plotly");
    assert!(!plotly.is_empty());
    rest
}

/// What the browser of items is made of.
pub fn items(page: &str) -> serde_json::Value {
    serde_json::from_str(&unpacked(page, "item-data").0).unwrap()
}

pub fn scripts(page: &str) -> usize {
    page.matches("<script").count()
}
