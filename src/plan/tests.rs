use super::*;

fn parse(json: &str) -> Result<Plan, String> {
    Plan::parse(json).map_err(|error| error.to_string())
}

#[test]
fn interventions_survive_a_file() {
    let mut states = States::new();
    states.insert(8, 3, vec![0.1f32, -2.5e-8]);
    states.insert(9, 3, vec![1.0, 2.0]);
    let given = Intervention::given(8, Arc::new(states), PositionSet::ranges([3..4]));
    let plan = [
        Intervention::freeze(20).at(PositionSet::all_but_first(4)),
        Intervention::random(3, u64::MAX).at(PositionSet::ranges([0..2, 5..6])),
        Intervention::shuffle(2, 7).on(Site::Keys),
        Intervention::skip_attention(11),
        given,
    ];
    let shape = Shape {
        layers: 30,
        width: 2,
    };
    let json = Plan::of(&plan, shape).unwrap().to_json().unwrap();
    let read = Plan::parse(&json).unwrap();
    assert_eq!(read.to_json().unwrap(), json);
    let back = read.interventions(Path::new(".")).unwrap();
    assert_eq!(
        format!("{back:?}").replace("given(1 ", "given(2 "),
        format!("{plan:?}")
    );
    let Action::Given(states) = &back[4].action else {
        panic!("not given");
    };
    assert_eq!(states.get(8, 3), Some(&[0.1f32, -2.5e-8][..]));
    assert_eq!(states.get(9, 3), None, "no layer that is not asked for");
}

#[test]
fn what_is_short_means_the_paper_s_manipulation() {
    let json = r#"{"midlayer_plan": 1, "interventions": [
        {"manipulation": "freeze", "layer": 5},
        {"manipulation": "random", "layer": 5, "seed": 1, "tokens": [[4, null]]}]}"#;
    let plan = Plan::parse(json).unwrap();
    let steps = plan.interventions(Path::new(".")).unwrap();
    let expected = [
        Intervention::freeze(5),
        Intervention::random(5, 1).at(PositionSet::all_but_first(4)),
    ];
    assert_eq!(format!("{steps:?}"), format!("{expected:?}"));
    assert_eq!((plan.requests, plan.shortest), (Requests::All, 3));
}

#[test]
fn bad_plans_say_why() {
    let refused = |json: &str, why: &str| {
        let error = parse(json)
            .and_then(|plan| {
                let steps = plan.interventions(Path::new("/nonexistent"));
                steps.map_err(|error| error.to_string())
            })
            .unwrap_err();
        assert!(error.contains(why), "{error}");
    };
    refused("{", "cannot be read");
    refused(r#"{"midlayer_plan": 2}"#, "version 2");
    refused(r#"{"midlayer_plan": 1}"#, "would do nothing");
    let step = |step: &str| format!(r#"{{"midlayer_plan": 1, "interventions": [{step}]}}"#);
    refused(&step(r#"{"manipulation": "melt", "layer": 1}"#), "melt");
    refused(&step(r#"{"manipulation": "zero", "layr": 1}"#), "layr");
    refused(
        &step(r#"{"manipulation": "random", "layer": 1}"#),
        "needs a seed",
    );
    refused(
        &step(r#"{"manipulation": "inject", "layer": 1}"#),
        "needs states",
    );
    let file = r#"{"manipulation": "inject", "layer": 1, "states": {"file": "x.safetensors"}}"#;
    refused(&step(file), "/nonexistent/x.safetensors");
    let backwards = r#"{"manipulation": "zero", "layer": 1, "tokens": [[3, 2]]}"#;
    refused(&step(backwards), "3-2 runs backwards");
    let every = r#"{"midlayer_plan": 1, "capture": {"layers": [1]}, "requests": {"every": 0}}"#;
    refused(every, "every 0th");
}

#[test]
fn requests_are_counted_from_one() {
    let touched =
        |requests: Requests| -> Vec<u64> { (1..7).filter(|n| requests.selects(*n)).collect() };
    assert_eq!(touched(Requests::First), [1]);
    assert_eq!(touched(Requests::Every(2)), [2, 4, 6]);
    assert_eq!(touched(Requests::All).len(), 6);
}

#[test]
fn states_survive_a_file_and_damage_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("states.safetensors");
    let mut states = States::new();
    states.insert(0, 7, vec![1.0, f32::MIN_POSITIVE]);
    states.insert(0, 2, vec![3.0, 4.0]);
    states.insert(29, 2, vec![5.0, 6.0]);
    write_states(&path, &states).unwrap();
    assert_eq!(read_states(&path).unwrap(), states);
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(
        read_states(&path),
        Err(StatesFileError::Format { .. })
    ));
    states.insert(29, 3, vec![5.0]);
    assert!(write_states(&path, &states).is_err());
}

#[test]
fn layers_that_no_model_has_are_refused() {
    let plan = |rest: &str, step: &str| {
        let step = format!(r#"{{"manipulation": "freeze", {step}}}"#);
        parse(&format!(
            r#"{{"midlayer_plan": 1{rest}, "interventions": [{step}]}}"#
        ))
    };
    let refused = |rest: &str, step: &str| plan(rest, step).unwrap_err();
    assert!(refused("", r#""layer": 4294967295"#).contains("layer 4294967295 is out of range"));
    let model = r#", "model": {"layers": 4, "width": 8}"#;
    assert!(refused(model, r#""layer": 4"#).contains("layer 4 is out of range"));
    plan(model, r#""layer": 3"#).unwrap();
    let capture = r#", "capture": {"layers": [1, 70000]}"#;
    assert!(refused(capture, r#""layer": 1"#).contains("layer 70000"));
    for width in ["0", "4294967295"] {
        let step = format!(r#""layer": 1, "extent": {{"window": {width}}}"#);
        assert!(refused("", &step).contains(&format!("a window of {width} layers")));
    }
    plan("", r#""layer": 1, "extent": {"window": 2}"#).unwrap();
}
