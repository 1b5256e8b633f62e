//! The page of a report: what is on it, that it is one file, and that no text of a run can break
//! out of it.

mod made;
#[path = "../common/specs.rs"]
mod specs;

use std::path::PathBuf;

use made::{HOSTILE, KINDS, items, own_part, page, run, scripts, spec, unpacked, variant};
use midlayer::stats::{Margin, Until};
use midlayer::store::StoredVariant;
use midlayer::tasks::TaskName;

#[test]
fn it_is_one_file_and_loads_nothing() {
    let page = page(&[run("runs/a", vec![variant("m", &[TaskName::Capitals])])]);
    assert!(page.starts_with("<!DOCTYPE html>"));
    let own = own_part(&page);
    for load in [
        " src=", "<link", "<img", "<iframe", "@import", "url(", "http://", "https://",
    ] {
        assert!(!own.contains(load), "{load}");
    }
    assert!(
        own.contains("default-src 'none'"),
        "the browser is told so too"
    );
    assert!(
        !page.contains("MathJax.loader"),
        "what would read formulas into names"
    );
}

#[test]
fn it_says_what_was_run_and_found() {
    let tasks = [TaskName::Capitals, TaskName::Squad];
    let page = page(&[run("runs/a", vec![variant("tiny", &tasks)])]);
    for part in [
        "6 layers (llama), weights at Q8_0",
        "capitals (40 items)",
        "model-written sample",
        "was made from a Q4_1 file",
        "capitals: 40 items, clean accuracy 100%, 6 layers",
        "Freezing stops mattering between layers 2 and 4, between which none was swept \
         (95% interval 2.0 to 4.0).",
        "From layer 4 up it can be ignored: the loss is at most 10 points (95%).",
        "The original answer overtakes the donor\u{2019}s at layer 3.0 (2.0 to 4.0).",
        "first layer at 95% of clean (descriptive)",
        "Answer after injection",
        "2024-01-01T00:00:00Z",
        "data-csv",
    ] {
        assert!(own_part(&page).contains(part), "{part}");
    }
    assert!(
        !own_part(&page).contains("id=\"comparison\""),
        "one variant has none"
    );
    let items = items(&page);
    let item = &items["variants"][0]["items"][0];
    let kinds: Vec<&serde_json::Value> = (0..3).map(|n| &item["runs"][n]["kind"]).collect();
    assert_eq!(kinds, ["freeze", "random", "inject"]);
    let text = |n: &serde_json::Value| &items["texts"][n.as_u64().unwrap() as usize];
    assert_eq!(text(&item["title"]), "France", "as people know it");
    assert_eq!(text(&item["name"]), "FR");
    // Layer, answer, score, right, donor's, log-probability, KL, rank.
    let first = &item["runs"][2]["rows"][0];
    assert_eq!(text(&first[1]), " Rome");
    assert_eq!(first[0], 0);
    assert_eq!((&first[3], &first[4]), (&false.into(), &true.into()));
    assert_eq!(
        (&first[5], &first[6]),
        (&serde_json::Value::Null, &0.25.into())
    );
}

/// A sweep that was to find the half-way layer alone has tested no loss, which is not the same as
/// that none was shown.
#[test]
fn what_was_not_asked_for_is_not_told_as_not_shown() {
    let told = |ignorable| {
        let mut asked = variant("m", &[TaskName::Capitals]);
        asked.spec.until = Some(Until {
            half_way: Some(0.25),
            ignorable,
        });
        own_part(&page(&[run("runs/a", vec![asked])]))
    };
    let alone = told(None);
    assert!(alone.contains("<td>not tested</td>") && !alone.contains("not shown"));
    assert!(!alone.contains("Mean loss against the clean run"));
    let both = told(Some(Margin::DEFAULT));
    assert!(!both.contains("not tested") && both.contains("Mean loss against the clean run"));
}

#[test]
fn several_variants_and_runs_are_compared() {
    let capitals = [TaskName::Capitals];
    let both = run(
        "runs/a",
        vec![variant("q8_0", &capitals), variant("q4_0", &capitals)],
    );
    let one = page(std::slice::from_ref(&both));
    assert!(own_part(&one).contains("id=\"comparison\""));
    for part in [
        "Half-way layers against the first model",
        "Half-way layers against q8_0",
        "q4_0 against q8_0: undecided under freeze",
        "sweep those between",
    ] {
        assert!(own_part(&one).contains(part), "{part}");
    }
    let other = run("elsewhere/a", vec![variant("q8_0", &capitals)]);
    let two = own_part(&page(&[both, other]));
    for name in ["a: q8_0", "a: q4_0", "a: q8_0 (2)"] {
        assert!(two.contains(&format!("\"name\":\"{name}\"")), "{name}");
    }
}

#[test]
fn a_run_without_results_has_a_page() {
    let mut empty = variant("m", &[TaskName::Capitals]);
    empty.items.clear();
    empty.rows.clear();
    let text = own_part(&page(&[run("runs/a", vec![empty.clone()])]));
    assert!(text.contains("No result is stored yet"));
    assert!(!text.contains("NaN") && !text.contains("class=\"plot"));
    // One task of two was begun.
    let mut half = variant("m", &[TaskName::Capitals]);
    half.spec = spec("m", &[TaskName::Capitals, TaskName::Math]);
    let text = own_part(&page(&[run("runs/a", vec![half, empty])]));
    assert!(text.contains("math: no result is stored yet"));
    assert!(text.contains("class=\"plot score\""));
}

/// Every text that a run holds, as hostile as it can be. The page is kept for
/// `scripts/check-report --hostile`, which opens it in a browser.
#[test]
fn no_text_breaks_out() {
    let harmless = variant("m", &[TaskName::Capitals, TaskName::Squad]);
    let mut hostile = harmless.clone();
    hostile.label = HOSTILE.into();
    hostile.spec = spec(HOSTILE, &[TaskName::Capitals, TaskName::Squad]);
    hostile.spec.devices = vec![HOSTILE.into()];
    hostile.spec.model.facts.quantization = HOSTILE.into();
    hostile.spec.tokens = format!("text:{HOSTILE}");
    for item in &mut hostile.items {
        item.name = format!("{} {HOSTILE}", item.name);
        item.prompt = HOSTILE.into();
        item.answer = HOSTILE.into();
        item.modified_answer = Some(HOSTILE.into());
    }
    for row in &mut hostile.rows {
        row.item = format!("{} {HOSTILE}", row.item).into();
        row.answer = HOSTILE.into();
    }
    let of = |variant: StoredVariant, folder: &str| {
        let mut run = run(folder, vec![variant.clone(), variant]);
        run.variants[1].label.push('2');
        run.revisions = vec![folder.into()];
        run
    };
    let harmless = page(&[of(harmless, "runs/a")]);
    let page = page(&[of(hostile, &format!("runs/{}", HOSTILE.replace('/', "")))]);
    assert_eq!(scripts(&own_part(&page)), scripts(&own_part(&harmless)));
    for tag in ["<img", "<b>", "<!--", "<script>"] {
        assert!(!own_part(&page).contains(tag), "{tag}");
    }
    let items = items(&page);
    assert!(items["texts"].as_array().unwrap().contains(&HOSTILE.into()));
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("hostile");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("report.html"), page).unwrap();
}

/// plotly.js comes packed, and only what draws these figures.
#[test]
fn the_page_is_small() {
    let page = page(&[run("runs/a", vec![variant("m", &[TaskName::Capitals])])]);
    assert!(page.len() < 600_000, "{} bytes", page.len());
    let (code, _) = unpacked(&page, "plotly");
    assert!(code.contains("* plotly.js v") && code.len() > 500_000);
    assert!(
        !code.contains("MathJax.loader"),
        "what would read formulas into names"
    );
}

/// A panel's colour is the manipulation's; models in it have lines and marks of their own.
#[test]
fn models_are_told_apart_by_lines_and_manipulations_by_colour() {
    let capitals = [TaskName::Capitals];
    let labels = ["q8_0", "q4_0", "q2_k"];
    let variants = labels.map(|label| variant(label, &capitals));
    let page = own_part(&page(&[run("runs/a", variants.to_vec())]));
    let comparison = page.split_once("id=\"comparison\"").unwrap().1;
    assert!(comparison.contains("Models are told apart by line style and mark"));
    let figures = comparison
        .split("<script type=\"application/json\">")
        .skip(1);
    let mut colours = Vec::new();
    for figure in figures.take(KINDS.len()) {
        let json = figure.split_once("</script>").unwrap().0;
        let plot: serde_json::Value = serde_json::from_str(json).unwrap();
        let traces = plot["data"].as_array().unwrap();
        let of = |label: &str| {
            let named = |trace: &&serde_json::Value| trace["name"] == label;
            traces
                .iter()
                .find(named)
                .unwrap_or_else(|| panic!("{label}"))
        };
        let lines = labels.map(of);
        let looks = lines.map(|t| (&t["line"]["dash"], &t["marker"]["symbol"]));
        for (n, look) in looks.iter().enumerate() {
            let mut others = looks[..n].iter();
            assert!(others.all(|o| o.0 != look.0 && o.1 != look.1), "{looks:?}");
        }
        let colour = &lines[0]["line"]["color"];
        for line in lines {
            assert_eq!(
                (&line["line"]["color"], &line["marker"]["color"]),
                (colour, colour)
            );
        }
        colours.push(colour.clone());
    }
    colours.dedup();
    assert_eq!(colours.len(), KINDS.len(), "a colour a manipulation");
}
