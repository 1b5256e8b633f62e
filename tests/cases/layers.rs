//! Models whose layers are not all alike: without attention, without anything, with heads of
//! their own number.

use std::collections::BTreeSet;

use midlayer::runtime::{Architecture, Synthetic, Vocabulary};
use midlayer::store::StoredRun;
use predicates::prelude::*;
use predicates::str::contains;

use crate::common::place::{Place, json_lines, one_line_error};

/// A folder with a tiny model of an architecture in it.
fn place(architecture: Architecture) -> Place {
    let place = Place::new();
    let recipe = Synthetic {
        n_ctx: 1024,
        vocabulary: Vocabulary::Bytes,
        ..Synthetic::new(architecture)
    };
    let model = recipe.build().unwrap();
    model.save(&place.path("model.gguf")).unwrap();
    place
}

/// The layers at which a run has results of a manipulation.
fn layers_of(place: &Place, run: &str, manipulation: &str) -> Vec<u32> {
    let stored = StoredRun::read(&place.path(run)).unwrap();
    let rows = stored.variants[0].rows.iter();
    let named = rows.filter(|row| row.cell.treatment.to_string() == manipulation);
    let layers: BTreeSet<u32> = named.filter_map(|row| row.cell.layer).collect();
    layers.into_iter().collect()
}

/// DeciLM: layer 1 has an MLP alone, layer 2 nothing at all.
#[test]
fn a_sweep_over_all_leaves_out_the_layers_that_have_nothing() {
    let place = place(Architecture::Deci);
    let sweep = "sweep -m model.gguf -t 1 -c 512 --task math --limit 2 --layers all";
    place
        .run(&format!(
            "{sweep} --manipulate freeze,random,skip-attention --out runs/a"
        ))
        .success()
        .stderr(contains("skip-attention is left out at layers 1, 2: "));
    assert_eq!(layers_of(&place, "runs/a", "freeze"), [1, 2, 3]);
    assert_eq!(layers_of(&place, "runs/a", "random"), [0, 1, 2, 3]);
    assert_eq!(layers_of(&place, "runs/a", "skip-attention"), [0, 3]);
    place
        .run(&format!(
            "{sweep} --manipulate freeze,random --site kv --out runs/b"
        ))
        .success()
        .stderr(
            contains("random is left out at layers 1, 2: ")
                .and(contains("keeps no keys and values")),
        );
    assert_eq!(layers_of(&place, "runs/b", "freeze"), [3]);
    assert_eq!(layers_of(&place, "runs/b", "random"), [0, 3]);
}

/// A layer that is asked for by its number is not passed over in silence.
#[test]
fn a_layer_named_that_has_nothing_is_an_error() {
    let place = place(Architecture::Deci);
    let sweep = "sweep -m model.gguf -t 1 -c 512 --task math --limit 2 --out runs/a";
    let refused = |what: &str, why: &str| {
        one_line_error(2, why)(place.run(&format!("{sweep} {what}")));
        assert!(!place.path("runs/a").exists(), "{what}");
    };
    refused(
        "--manipulate skip-attention,freeze --layers 1,3",
        "layer 1 has no attention",
    );
    refused(
        "--manipulate skip-attention --layers 1-2",
        "layer 1 has no attention",
    );
    refused(
        "--manipulate random --site kv --layers 2",
        "layer 2 keeps no keys",
    );
}

/// One prompt, at all layers and at one.
#[test]
fn a_try_leaves_out_the_layers_that_have_nothing() {
    let place = place(Architecture::Deci);
    let all = "try -m model.gguf -t 1 -p hello -o json --manipulate";
    for (what, layers) in [
        ("skip-attention --layers all", vec![0, 3]),
        ("random --site kv --layers 0-3", vec![0, 3]),
        ("random --layers all", vec![0, 1, 2, 3]),
    ] {
        let lines = json_lines(place.run(&format!("{all} {what}")));
        let found = lines.iter().filter_map(|line| line["layer"].as_u64());
        assert_eq!(found.collect::<Vec<_>>(), layers, "{what}");
    }
    let run = place.run(&format!("{all} skip-attention --layers all"));
    run.success()
        .stderr(contains("left out").and(contains("layers 1, 2")));
    for what in ["skip-attention --layers 2", "skip-attention@1"] {
        let why = "has no attention";
        one_line_error(2, why)(place.run(&format!("{all} {what}")));
    }
}

/// Recurrent layers of hybrids have no attention either.
#[test]
fn a_hybrid_model_is_swept_where_it_has_attention() {
    let place = place(Architecture::Jamba);
    place
        .run("sweep -m model.gguf -t 1 -c 512 --task math --limit 2 --layers all --manipulate skip-attention,random --manipulate-generated no --out runs/a")
        .success()
        .stderr(contains("skip-attention is left out at layers 0, 2: "));
    assert_eq!(layers_of(&place, "runs/a", "skip-attention"), [1, 3]);
    assert_eq!(layers_of(&place, "runs/a", "random"), [0, 1, 2, 3]);
}

/// OpenELM: heads differ by layer, and llama.cpp fills rows of values up.
#[test]
fn heads_that_differ_by_layer_are_no_fault() {
    let place = place(Architecture::Openelm);
    for settings in ["", "-fa off"] {
        place
            .run(&format!("selftest -m model.gguf -t 1 {settings}"))
            .success()
            .stdout(contains("nothing is wrong"));
    }
    place
        .run("sweep -m model.gguf -t 1 -c 512 --task math --limit 2 --layers 2 --site kv --manipulate random --out runs/a")
        .success();
}
