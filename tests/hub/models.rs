//! Which of a repository's files is the model.

use std::fs;

use midlayer::hub::{HubError, dataset_file, model_file};

use super::{Place, models, squad};

fn chosen(place: &Place, quant: &str) -> Result<String, String> {
    match model_file(&place.hub(), &format!("u/r-GGUF{quant}")) {
        Ok(path) => Ok(fs::read_to_string(path).unwrap()),
        Err(error) => Err(error.to_string()),
    }
}

#[test]
fn a_quant_is_a_whole_tag_of_a_name() {
    let place = models(&[
        "README.md",
        "m-1B-Q4_K.gguf",
        "m-1B-Q4_K_M.gguf",
        "m-1B-UD-Q4_K_M.gguf",
        "m-1B-Q5_K_S.gguf",
        "m-1B.q6_k.gguf",
        "m-1B_Q8_0.gguf",
        "m-1B-IQ4_XS.gguf",
        "m-1B-F16-00001-of-00001.gguf",
        "BF16/m-1B-BF16-00001-of-00002.gguf",
        "BF16/m-1B-BF16-00002-of-00002.gguf",
        "mmproj-Q3_K_M.gguf",
        "imatrix.gguf",
    ]);
    for (quant, file) in [
        ("", "m-1B-Q4_K_M.gguf"),
        (":Q4_K_M", "m-1B-Q4_K_M.gguf"),
        (":q4_k_m", "m-1B-Q4_K_M.gguf"),
        (":Q4_K", "m-1B-Q4_K.gguf"),
        (":UD-Q4_K_M", "m-1B-UD-Q4_K_M.gguf"),
        (":Q5_K", "m-1B-Q5_K_S.gguf"),
        (":Q6_K", "m-1B.q6_k.gguf"),
        (":Q8_0", "m-1B_Q8_0.gguf"),
        (":IQ4_XS", "m-1B-IQ4_XS.gguf"),
        (":F16", "m-1B-F16-00001-of-00001.gguf"),
        (":m-1B-Q4_K_M.gguf", "m-1B-Q4_K_M.gguf"),
    ] {
        assert_eq!(chosen(&place, quant).as_deref(), Ok(file), "{quant}");
    }
    let known = "BF16, F16, IQ4_XS, Q4_K, Q4_K_M, Q5_K_S, Q6_K, Q8_0, UD-Q4_K_M";
    for quant in ["Q2_K", "Q3_K_M", "K_M", "Q4", "4_XS"] {
        let error = chosen(&place, &format!(":{quant}")).unwrap_err();
        if quant == "Q4" {
            let files = "m-1B-Q4_K.gguf, m-1B-Q4_K_M.gguf";
            assert!(
                error.contains(files) && error.contains("several"),
                "{error}"
            );
        } else {
            assert!(
                error.contains(&format!("holds no {quant}; there is: {known} ")),
                "{error}"
            );
        }
    }
    // A model in parts: all of them are fetched, the first is what is loaded.
    let first = "BF16/m-1B-BF16-00001-of-00002.gguf";
    let path = model_file(&place.hub(), "u/r-GGUF:BF16").unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), first);
    let second = path.with_file_name("m-1B-BF16-00002-of-00002.gguf");
    let text = fs::read_to_string(second).unwrap();
    assert_eq!(text, "BF16/m-1B-BF16-00002-of-00002.gguf");
}

#[test]
fn without_a_quant_there_is_an_order() {
    let second = models(&["m-Q2_K.gguf", "m-Q8_0.gguf", "mmproj-m-Q4_K_M.gguf"]);
    assert_eq!(chosen(&second, "").as_deref(), Ok("m-Q8_0.gguf"));
    let only = models(&["m.gguf", "mmproj-m.gguf", "README.md"]);
    assert_eq!(chosen(&only, "").as_deref(), Ok("m.gguf"));
    let neither = chosen(&models(&["m-Q2_K.gguf", "m-Q3_K_L.gguf"]), "").unwrap_err();
    assert!(
        neither.contains("no Q4_K_M and no Q8_0; there is: Q2_K, Q3_K_L"),
        "{neither}"
    );
    let none = chosen(&models(&["m.safetensors", "mmproj.gguf"]), "").unwrap_err();
    assert!(none.contains("u/r-GGUF holds no GGUF file"), "{none}");
    let two = chosen(&models(&["a-Q4_K_M.gguf", "b-Q4_K_M.gguf"]), "").unwrap_err();
    assert!(two.contains("a-Q4_K_M.gguf, b-Q4_K_M.gguf"), "{two}");
}

#[test]
fn what_is_missing_is_named() {
    let (place, _) = squad(vec![]);
    let hub = place.hub();
    match dataset_file(&hub, "rajpurkar/squad", "plain_text/none.parquet") {
        Err(HubError::FileNotFound { repo, file }) => {
            assert_eq!(
                (&*repo, &*file),
                ("rajpurkar/squad", "plain_text/none.parquet")
            );
        }
        other => panic!("{other:?}"),
    }
    for missing in [
        dataset_file(&hub, "no/such", "file"),
        model_file(&hub, "no/such:Q8_0"),
    ] {
        match missing {
            Err(HubError::RepoNotFound { repo }) => assert_eq!(repo, "no/such"),
            other => panic!("{other:?}"),
        }
    }
    assert!(place.finished().is_empty());
}

#[test]
fn offline_a_model_is_chosen_among_those_in_the_cache() {
    let place = models(&["m-Q4_K_M.gguf", "sub/m-Q8_0.gguf"]);
    let error = model_file(&place.offline(), "u/r-GGUF").unwrap_err();
    assert!(
        error.to_string().contains("HF_HUB_OFFLINE forbids"),
        "{error}"
    );
    chosen(&place, ":Q8_0").unwrap();
    let requests = place.server.log().len();
    for spec in ["u/r-GGUF", "u/r-GGUF:Q8_0"] {
        let path = model_file(&place.offline(), spec).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), "sub/m-Q8_0.gguf");
    }
    let error = model_file(&place.offline(), "u/r-GGUF:Q4_K_M").unwrap_err();
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    assert_eq!(place.server.log().len(), requests);
}
