//! Whether the levels of quantization that a run compares differ as their names say.

use super::Spec;
use crate::runtime::Facts;

/// Levels whose bits are less than so many times each other's hardly differ, where their names
/// promise more.
const HARDLY: f64 = 1.25;
/// The same for all levels of a run, whatever their names are.
const HARDLY_AT_ALL: f64 = 1.1;

/// What someone who compares these models should know of their levels before the run.
pub fn alike(specs: &[&Spec]) -> Vec<String> {
    let mut models: Vec<&Spec> = Vec::new();
    for spec in specs {
        if !models
            .iter()
            .any(|other| other.model.facts.name == spec.model.facts.name)
        {
            models.push(spec);
        }
    }
    let mut notices = Vec::new();
    for (n, one) in models.iter().enumerate() {
        for other in &models[n + 1..] {
            let (a, b) = (&one.model.facts, &other.model.facts);
            if one.model.sha256 == other.model.sha256 {
                notices.push(format!("{} and {} are the same model", a.name, b.name));
            } else if hardly_differ(a, b) {
                notices.push(format!(
                    "the levels of {} and {} hardly differ: {:.2} and {:.2} bits a weight, so a comparison of them says little about quantization",
                    a.name,
                    b.name,
                    a.bits_per_weight(),
                    b.bits_per_weight()
                ));
            }
        }
    }
    notices
}

fn hardly_differ(a: &Facts, b: &Facts) -> bool {
    let same = (&a.architecture, a.n_layer, a.n_params) == (&b.architecture, b.n_layer, b.n_params);
    let apart = |a: f64, b: f64| a.max(b) / a.min(b);
    let real = apart(a.bits_per_weight(), b.bits_per_weight());
    let promised = match (a.promised(), b.promised()) {
        (Some(a), Some(b)) => apart(a.bits(), b.bits()),
        _ => 1.0,
    };
    let levels = a.promised() != b.promised() || a.level() != b.level();
    same && levels && (real < HARDLY_AT_ALL || (real < HARDLY && promised >= HARDLY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{Engine, Mock};

    #[test]
    fn bits_count_and_not_names() {
        let of = |name: &str, stated: &str, bits: f64| Facts {
            name: name.into(),
            quantization: stated.into(),
            n_params: 1_000_000,
            bytes: (bits * 125_000.0) as u64,
            ..Mock::new(4).facts().clone()
        };
        let q8 = of("m-q8_0", "Q8_0", 8.5);
        let hardly = |other: &Facts| hardly_differ(&q8, other);
        assert!(
            hardly(&of("m-q4_0", "Q4_0", 7.01)),
            "named 4.5 bits, and has 7"
        );
        assert!(hardly(&of("m-q2_k", "Q2_K", 8.0)));
        assert!(!hardly(&of("m-q4_0", "Q4_0", 4.6)));
        assert!(!hardly(&of("m-q6_k", "Q6_K", 6.6)));
        assert!(
            !hardly(&of("n-q8_0", "Q8_0", 8.5)),
            "the same level of two models"
        );
        let (q4_1, q4_0) = (of("m-q4_1", "Q4_1", 5.0), of("m-q4_0", "Q4_0", 4.5));
        assert!(!hardly_differ(&q4_1, &q4_0), "as close as their names say");
    }
}
