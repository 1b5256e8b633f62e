//! What layers add to the residual stream, rewritten, against PyTorch: see tests/golden/README.md.

mod common;

use common::golden::{GoldenEntry, all_agree, golden_path};
use common::{golden_engine, golden_planned, outcomes};
use midlayer::engine::{Engine, Request};
use midlayer::intervention::{Intervention, Kind, LayerSpan, Site};

#[derive(serde::Deserialize)]
struct Recorded {
    prompt: String,
    token_ids: Vec<i32>,
    runs: Vec<Run>,
}

#[derive(serde::Deserialize)]
struct Run {
    site: Site,
    manipulation: Kind,
    entries: Vec<GoldenEntry>,
}

fn compare(engine: &mut dyn Engine) {
    let text = std::fs::read_to_string(golden_path("maps/parts.json")).unwrap();
    let recorded: Recorded = serde_json::from_str(&text).unwrap();
    let prompt = engine.prompt(&recorded.prompt).unwrap();
    let ids: Vec<i32> = prompt.tokens.iter().map(|token| token.0).collect();
    assert_eq!(ids, recorded.token_ids);
    let mut requests = vec![Request::new(&prompt)];
    let mut expected = Vec::new();
    for run in &recorded.runs {
        for entry in &run.entries {
            let action = run.manipulation.action(1, None);
            let made = Intervention::new(action, LayerSpan::only(entry.k)).on(run.site);
            requests.push(Request {
                plan: vec![made],
                ..Request::new(&prompt)
            });
            let what = format!("{} of {} at {}", run.manipulation, run.site, entry.k);
            expected.push((what, entry));
        }
    }
    assert_eq!(expected.len(), 50);
    all_agree(&outcomes(engine, &requests), &expected, 1e-3);
}

#[test]
fn straightforward() {
    compare(&mut golden_engine());
}

#[test]
fn planned() {
    let mut engine = golden_planned();
    compare(&mut engine);
    assert_eq!(engine.work().fallbacks, 0);
}
