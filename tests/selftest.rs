//! The self-test: nothing is wrong where nothing is, and every fault is found.

mod common;

use std::sync::Arc;

use midlayer::engine::Strategy;
use midlayer::hook::Sabotage;
use midlayer::intervention::{Kind, Site};
use midlayer::runtime::{Architecture, CacheType, ContextOptions, FlashAttention, Synthetic};
use midlayer::selftest::{Check, Finding, Scope, SelfTest, Silent, Subject, Verdict, run};

fn options() -> ContextOptions {
    ContextOptions {
        threads: 1,
        ..ContextOptions::default()
    }
}

fn examine(architecture: Architecture, options: &ContextOptions) -> SelfTest {
    let recipe = Synthetic::new(architecture);
    let subject = Subject {
        model: Arc::new(recipe.build().unwrap()),
        options: options.clone(),
        silent: Some(Silent::new(move || recipe.build())),
    };
    run(subject, &Scope::spread(4, 4), &mut ()).unwrap()
}

fn passed(verdict: Option<&Verdict>) -> bool {
    matches!(verdict, Some(Verdict::Exact | Verdict::Within { .. }))
}

/// Under the program's own settings and under the exact ones; every check was made, and none of
/// what it should find is missing.
#[test]
fn a_sound_model_is_found_sound() {
    let exact = ContextOptions {
        flash_attention: FlashAttention::Off,
        cache_k: CacheType::F32,
        cache_v: CacheType::F32,
        ..options()
    };
    for options in [options(), exact] {
        for architecture in [
            Architecture::Llama,
            Architecture::Gemma3,
            Architecture::Gpt2,
            Architecture::Phi2,
        ] {
            let found = examine(architecture, &options);
            let wrong: Vec<_> = found.wrong().collect();
            assert!(wrong.is_empty(), "{architecture:?}: {wrong:#?}");
            assert_eq!(found.computed_whole, None);
            for kind in Scope::spread(4, 4).kinds {
                for site in Site::ALL {
                    if !kind.has_site(site) {
                        continue;
                    }
                    for strategy in [Strategy::Straightforward, Strategy::Planned] {
                        let verdict = found.verdict(kind, site, strategy);
                        let what =
                            format!("{architecture:?} {kind} {site} {strategy}: {verdict:?}");
                        assert!(passed(verdict), "{what}");
                    }
                }
            }
            for check in [
                Check::Callback,
                Check::Capture,
                Check::FirstLayer,
                Check::Identity,
                Check::Rows,
                Check::FreezeByCache,
                Check::SilentWeights,
                Check::ZeroWeights,
                Check::MicroBatches,
                Check::Sequences,
                Check::Planned,
            ] {
                let verdict = found.of_check(check);
                assert!(passed(verdict), "{architecture:?} {check:?}: {verdict:?}");
            }
            // Rows of a sound model agree to the last bit.
            assert_eq!(found.of_check(Check::Rows), Some(&Verdict::Exact));
        }
    }
}

#[test]
fn every_fault_is_found() {
    for architecture in [
        Architecture::Llama,
        Architecture::Gemma3,
        Architecture::Olmo2,
    ] {
        for sabotage in Sabotage::ALL {
            let options = ContextOptions {
                sabotage: Some(sabotage),
                ..options()
            };
            let found = examine(architecture, &options);
            let what = format!("{architecture:?} {sabotage}");
            assert!(found.wrong().count() > 0, "{what}: nothing found");
            // It is found by the check that is made for it.
            let by = match sabotage {
                Sabotage::LayerOffByOne | Sabotage::RowsShifted | Sabotage::SiteSkipped => {
                    Check::Rows
                }
                Sabotage::StaleCell => Check::Planned,
            };
            let verdict = found.of_check(by).unwrap();
            assert!(verdict.is_wrong(), "{what}: {by:?} says {verdict:?}");
            // What layers add is held against weights of zero.
            if [Sabotage::LayerOffByOne, Sabotage::RowsShifted].contains(&sabotage) {
                for site in [Site::AttnOut, Site::MlpOut, Site::HEADS] {
                    let of = |f: &&Finding| f.check == Check::ZeroWeights && f.site == Some(site);
                    let zeroed = found.findings.iter().find(of).unwrap();
                    assert!(zeroed.verdict.is_wrong(), "{what}: {site} {zeroed:?}");
                }
            }
            // And laid at the door of what it spoils.
            let spoilt = match sabotage {
                Sabotage::StaleCell => Strategy::Planned,
                _ => Strategy::Straightforward,
            };
            let verdict = found.verdict(Kind::Random, Site::Residual, spoilt);
            assert!(verdict.unwrap().is_wrong(), "{what}: random is {verdict:?}");
        }
    }
}

/// Layers with fewer heads than others, with nothing at all, and recurrent ones: no false alarm,
/// and rows of keys and values checked where there are any.
#[test]
fn uneven_models_are_found_sound() {
    for architecture in [
        Architecture::Openelm,
        Architecture::Deci,
        Architecture::DeciLinear,
        Architecture::Jamba,
        Architecture::Lfm2,
        Architecture::FalconH1,
    ] {
        for flash_attention in [FlashAttention::Auto, FlashAttention::Off] {
            let options = ContextOptions {
                flash_attention,
                ..options()
            };
            let found = examine(architecture, &options);
            let wrong: Vec<_> = found.wrong().collect();
            assert!(wrong.is_empty(), "{architecture:?}: {wrong:#?}");
            assert_eq!(found.computed_whole, None, "{architecture:?}");
            for site in [Site::Residual, Site::Keys, Site::Values] {
                let mut seen = found.findings.iter();
                let rows = seen.find(|f| f.check == Check::Rows && f.site == Some(site));
                let what = format!("{architecture:?} {site}: {rows:?}");
                assert_eq!(rows.unwrap().verdict, Verdict::Exact, "{what}");
            }
            for check in [Check::Capture, Check::Identity, Check::Sequences] {
                let verdict = found.of_check(check);
                assert!(passed(verdict), "{architecture:?} {check:?}: {verdict:?}");
            }
        }
    }
}

/// A recurrent model keeps no keys and values: refused, with the reason.
#[test]
fn what_a_model_does_not_have_is_refused() {
    let found = examine(Architecture::Mamba, &options());
    assert_eq!(found.wrong().count(), 0);
    let of = |kind, site| {
        found
            .verdict(kind, site, Strategy::Straightforward)
            .unwrap()
    };
    for (kind, site) in [
        (Kind::SkipAttention, Site::Residual),
        (Kind::Random, Site::Keys),
        (Kind::Freeze, Site::Values),
    ] {
        let verdict = of(kind, site);
        assert_eq!(verdict.name(), "not supported", "{kind} {site}");
        assert!(verdict.to_string().contains("layer"), "{verdict}");
    }
    assert!(passed(Some(of(Kind::Random, Site::Residual))));
}
