//! Manipulations with parameters, and with files of their own, from outside.

mod common;

use common::place::{Place, json_lines, one_line_error};
use midlayer::directions::write_directions;
use midlayer::intervention::{Kind, States};
use predicates::str::contains;

const TRY: &str = "try -m tiny.gguf -p abcdefgh -t 1 -fa off -ctk f32 -ctv f32";

/// A file of directions for the layers from 2 up.
fn with_directions(name: &str) -> Place {
    let place = Place::new();
    let mut directions = States::new();
    for layer in 2..4 {
        let row: Vec<f32> = (0..64).map(|i| ((i + layer) as f32).sin()).collect();
        directions.insert(layer, 0, row);
    }
    write_directions(&place.path(name), &directions, "llama").unwrap();
    place
}

/// KL of each run, by its name.
fn divergences(place: &Place, arguments: &str) -> Vec<(String, f64)> {
    let lines = json_lines(place.run(&format!("{TRY} -o json {arguments}")));
    let of = |line: &serde_json::Value| {
        let name = line["manipulation"].as_str().unwrap().to_string();
        (name, line["kl"].as_f64().unwrap_or(0.0))
    };
    lines.iter().map(of).collect()
}

#[test]
fn parameters_are_set_and_shown() {
    let place = with_directions("d.gguf");
    let found = divergences(
        &place,
        "--layers 2 --manipulate scale:factor=1,scale:factor=3,self,skip-layer --direction d.gguf",
    );
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        "clean",
        "scale:factor=1",
        "scale:factor=3",
        "self",
        "skip-layer",
    ];
    assert_eq!(names, expected);
    // In part, which rounds otherwise.
    assert!(found[1].1 < 1e-9 && found[3].1 < 1e-9, "{found:?}");
    assert!(found[2].1 > 0.0 && found[4].1 > 0.0, "{found:?}");
    let table = place.run(&format!("{TRY} --manipulate scale:factor=0.25@1+freeze@3"));
    table
        .success()
        .stdout(contains("scale:factor=0.25@1+freeze@3"));
}

#[test]
fn directions_are_read_from_either_file() {
    let added = ["d.gguf", "d.safetensors"].map(|file| {
        let place = with_directions(file);
        let arguments = format!(
            "--manipulate add:scale=0,add,add:scale=0.8:unit=absolute,add-random,ablate --direction {file}"
        );
        divergences(&place, &arguments)
    });
    assert_eq!(added[0], added[1]);
    // Clean, and two layers of each: there is no direction for the states entering 0 and 1.
    assert_eq!(added[0].len(), 1 + 5 * 2, "{added:?}");
    for (name, kl) in &added[0][1..] {
        assert_eq!(*kl > 0.0, name != "add:scale=0", "{name} {kl}");
    }
}

#[test]
fn a_plan_carries_directions_and_parameters() {
    let place = with_directions("d.gguf");
    let line = format!(
        "{TRY} --layers 2 --manipulate add:scale=0.8 --direction d.gguf --save-plan plan.json"
    );
    place.run(&line).success();
    let plan = midlayer::plan::Plan::read(&place.path("plan.json")).unwrap();
    let made = plan.interventions(place.0.path()).unwrap();
    assert_eq!(made.len(), 1);
    assert_eq!(format!("{:?}", made[0].action), "add:scale=0.8");
    assert_eq!(made[0].action.kind(), Kind::Add.with("scale", "0.8").ok());
    let text = std::fs::read_to_string(place.path("plan.json")).unwrap();
    assert!(
        text.contains("\"manipulation\": \"add:scale=0.8\""),
        "{text}"
    );
}

#[test]
fn a_mean_over_the_prompt_itself_is_clean() {
    let place = Place::new();
    std::fs::write(place.path("own.txt"), "abcdefgh\n\n").unwrap();
    std::fs::write(place.path("other.txt"), "abcdefgh\nhgfedcba\n").unwrap();
    let line = "--layers 1 --manipulate mean,mean:by=token --mean-of";
    for (name, kl) in divergences(&place, &format!("{line} own.txt")) {
        assert_eq!(kl, 0.0, "{name}");
    }
    let other = divergences(&place, &format!("{line} other.txt"));
    assert!(
        other[1].1 > 0.0 && other[2].1 > 0.0 && other[1].1 != other[2].1,
        "{other:?}"
    );
    std::fs::write(place.path("short.txt"), "abc\n").unwrap();
    let short = place.run(&format!("{TRY} {line} short.txt"));
    one_line_error(2, "all texts are shorter")(short);
}

#[test]
fn a_sweep_runs_them_and_stores_their_parameters() {
    let place = with_directions("d.gguf");
    let line = "sweep -m tiny.gguf -t 1 --task capitals --shots 1 --limit 3 --layers all \
                --manipulate self,scale,scale:factor=2,add:scale=0.5,skip-layer,equal-norm \
                --direction d.gguf --tokens 1-5 --out runs/a";
    place
        .run(line)
        .success()
        .stdout(contains("scale:factor=2"))
        .stderr(contains("add:scale=0.5 is defined from layer 2 up"))
        .stderr(contains("add-random:scale=0.5 is run, too"));
    let rows = place.rows("runs/a");
    let of = |text: &str| {
        let kind: Kind = text.parse().unwrap();
        let rows = rows
            .iter()
            .filter(move |r| r.cell.treatment.kind() == Some(kind));
        rows.map(|row| row.kl).collect::<Vec<f64>>()
    };
    assert_eq!(of("self").len(), 12);
    assert!(of("self").iter().all(|kl| *kl < 1e-4), "{:?}", of("self"));
    assert_eq!(of("scale").len(), 12);
    assert_ne!(of("scale"), of("scale:factor=2"));
    assert_eq!(of("add:scale=0.5").len(), 3 * 2);
    // The control that nobody asked for, at the same scale.
    assert_eq!(of("add-random:scale=0.5").len(), 3 * 2);
    assert_ne!(of("add-random:scale=0.5"), of("add:scale=0.5"));
    assert_eq!(of("skip-layer").len(), 3 * 3);
    assert_eq!(of("equal-norm").len(), 12);
    place.run(line).success().stderr(contains("there already"));
    let alone = line.replace("runs/a", "runs/alone") + " --no-controls";
    place.run(&alone).success();
    let kinds: Vec<_> = place
        .rows("runs/alone")
        .iter()
        .map(|row| row.cell.treatment)
        .collect();
    let control: Kind = "add-random:scale=0.5".parse().unwrap();
    assert!(
        kinds
            .iter()
            .all(|treatment| treatment.kind() != Some(control))
    );
    let page = std::fs::read_to_string(place.path("runs/a/report.html")).unwrap();
    assert!(page.contains("scale:factor=2"));
}

#[test]
fn tokens_are_hidden_and_a_scaffold_is_spliced_in() {
    let place = Place::new();
    std::fs::write(place.path("scaffold.txt"), "hgfedcba\n").unwrap();
    let hide = "--manipulate hide --layers 0-3 --tokens";
    // The first token has none before it to see, whatever is hidden.
    let anchored = place.run(&format!("{TRY} {hide} skip:1 -o json")).success();
    let all = place.run(&format!("{TRY} {hide} prior -o json")).success();
    assert_ne!(anchored.get_output().stdout, all.get_output().stdout);
    // Anchors by their own name.
    let kept = place.run(&format!(
        "{TRY} --manipulate hide --layers 0-3 --keep first:1 -o json"
    ));
    assert_eq!(
        anchored.get_output().stdout,
        kept.success().get_output().stdout
    );
    place
        .run(&format!("{TRY} {hide} prior --keep first:1"))
        .code(2)
        .stderr(contains("cannot be used with '--keep <SELECTOR>'"));
    let splice = "--manipulate splice --scaffold scaffold.txt --site kv --layers 0-3";
    place
        .run(&format!("{TRY} {splice}"))
        .success()
        .stdout(contains("splice"));
    let line =
        format!("sweep -m tiny.gguf -t 1 --shots 1 --limit 2 --out runs/b {splice} --from-step 1");
    place.run(&line).success();
    assert!(place.rows("runs/b").iter().any(|row| row.kl > 0.0));
    // Another text is another run.
    std::fs::write(place.path("scaffold.txt"), "abc").unwrap();
    let other = place
        .run(&line)
        .failure()
        .stderr(contains("outside.scaffold"));
    drop(other);
    let hidden = "sweep -m tiny.gguf -t 1 --shots 1 --limit 2 --out runs/c --layers all --manipulate hide,freeze --keep first:1";
    place.run(hidden).success().stdout(contains("hide"));
}

#[test]
fn what_is_missing_or_does_not_fit_is_said() {
    let place = Place::new();
    let refused = |arguments: &str, text: &str| {
        one_line_error(2, text)(place.run(&format!("{TRY} {arguments}")));
    };
    refused("--manipulate add", "add needs --direction FILE");
    refused("--manipulate mean", "mean needs --mean-of FILE");
    refused(
        "--manipulate splice --site kv",
        "splice needs --scaffold FILE",
    );
    refused(
        "--manipulate splice --scaffold x",
        "does not rewrite residual",
    );
    refused("--manipulate skip-layer --site kv", "does not rewrite keys");
    refused("--manipulate equal-norm --layers 1", "would change nothing");
    let sweep = "sweep -m tiny.gguf --shots 1 --limit 2 --out x --manipulate";
    // Before the model is looked at, which is not there.
    let ablate = format!("{} ablate", sweep.replace("tiny.gguf", "none.gguf"));
    for line in [ablate.clone(), format!("{ablate} --dry-run")] {
        one_line_error(2, "ablate needs --direction FILE")(place.run(&line));
    }
    one_line_error(2, "leave some out (--tokens)")(place.run(&format!("{sweep} equal-norm")));
    let help = place.run("try --help").success();
    let help = String::from_utf8(help.get_output().stdout.clone()).unwrap();
    for kind in Kind::ALL {
        assert!(help.contains(&format!("- {kind}")), "{kind}: {help}");
    }
    assert!(help.contains("scale:factor=0.5: the factor"), "{help}");
}
