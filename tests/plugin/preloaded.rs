//! A program that knows nothing of midlayer, with the plugin preloaded.

use std::path::PathBuf;
use std::process::Command;

use midlayer::intervention::Intervention;
use midlayer::plan::{Plan, Requests};
use midlayer::runtime::Architecture;

use super::{CLOSE, Place, TEXT, build_private, distance, plugin};

/// A host that knows nothing of midlayer, under a plan: its logits and what was said.
fn preloaded(
    (host, library): &(PathBuf, PathBuf),
    place: &Place,
    variables: &[(&str, &str)],
) -> (Vec<f32>, String) {
    let mut command = Command::new(host);
    command.arg(library);
    command.env("TEXT_MODEL", place.path("tiny.gguf"));
    command.env("TEXT", TEXT);
    command.env("MIDLAYER_PLAN", place.path("plan.json"));
    command.envs(variables.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert!(
        output.status.success() && lines.ends_with("unharmed\n"),
        "{said}"
    );
    let logits = lines.lines().filter_map(|line| line.parse().ok());
    (logits.collect(), said)
}

/// The same preloaded: what the plan says, and with a panic inside the host's own answer.
#[test]
fn preloaded_a_plan_is_carried_out_and_a_panic_never_crosses_into_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let host = build_private(folder.path());
    let mut place = Place::new(Architecture::Llama);
    let steps = [Intervention::random(1, 7)];
    let (clean, changed) = (place.library(&[]), place.library(&steps));
    assert!(distance(&changed, &clean) > CLOSE, "a control");
    let plan = Plan::of(&steps, place.shape()).unwrap();
    plan.write(&place.path("plan.json")).unwrap();
    let answer = |variables: &[(&str, &str)]| preloaded(&host, &place, variables);
    let (logits, said) = answer(&[]);
    assert!(distance(&logits, &clean) < CLOSE, "not preloaded: {said}");
    let plugin = plugin();
    let preload = ("LD_PRELOAD", plugin.to_str().unwrap());
    let (logits, said) = answer(&[preload]);
    assert!(distance(&logits, &changed) < CLOSE, "preloaded: {said}");
    let (logits, said) = answer(&[preload, ("MIDLAYER_SABOTAGE", "panic")]);
    assert!(distance(&logits, &clean) < CLOSE, "panicked: {said}");
    let told = "leaves the model alone from here on: on purpose";
    assert!(said.contains(told), "{said}");
}

/// Each context counts its own texts: one that is made where another was freed begins anew, and
/// one whose scheduler llama.cpp makes anew does not.
#[test]
fn a_context_has_a_session_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let host = build_private(folder.path());
    let mut place = Place::new(Architecture::Llama);
    let steps = [Intervention::random(1, 7)];
    let (clean, changed) = (place.library(&[]), place.library(&steps));
    let mut plan = Plan::of(&steps, place.shape()).unwrap();
    plan.requests = Requests::First;
    plan.write(&place.path("plan.json")).unwrap();
    let plugin = plugin();
    let variables = [
        ("LD_PRELOAD", plugin.to_str().unwrap()),
        ("TEXT_CONTEXTS", "3"),
        ("TEXT_TIMES", "2"),
    ];
    let (logits, said) = preloaded(&host, &place, &variables);
    let texts: Vec<&[f32]> = logits.chunks_exact(clean.len()).collect();
    assert_eq!(texts.len(), 6);
    for (n, text) in texts.into_iter().enumerate() {
        let expected = if n % 2 == 0 { &changed } else { &clean };
        assert!(distance(text, expected) < CLOSE, "text {n}: {said}");
    }
}
