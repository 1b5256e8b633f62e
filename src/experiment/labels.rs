//! Names that tell the variants of a run apart.

use std::collections::HashSet;

use super::Spec;

/// For each of a run's specifications the shortest name that tells them apart: the model's for
/// one alone, else the quantization, the model's name, or either with the cache types. (The last
/// resort is a number.)
pub fn labels(specs: &[&Spec]) -> Vec<String> {
    let name = |spec: &Spec| spec.model.facts.name.clone();
    if let [only] = specs {
        return vec![name(only)];
    }
    let level = |spec: &Spec| spec.model.facts.level();
    let cache = |spec: &Spec| match (spec.context.cache_k, spec.context.cache_v) {
        (k, v) if k == v => format!("K/V {k}"),
        (k, v) => format!("K {k}, V {v}"),
    };
    let candidates: [&dyn Fn(&Spec) -> String; 5] = [
        &level,
        &name,
        &cache,
        &|spec| format!("{}, {}", level(spec), cache(spec)),
        &|spec| format!("{}, {}", name(spec), cache(spec)),
    ];
    let same_model = |a: &Spec, b: &Spec| {
        let of = |s: &Spec| {
            let facts = &s.model.facts;
            (facts.architecture.clone(), facts.n_layer, facts.n_embd)
        };
        of(a) == of(b)
    };
    let alike = specs.iter().all(|spec| same_model(spec, specs[0]));
    for (n, candidate) in candidates.iter().enumerate() {
        // A quantization or a cache type says nothing of which model it is.
        if !alike && matches!(n, 0 | 2 | 3) {
            continue;
        }
        let labels: Vec<String> = specs.iter().map(|spec| candidate(spec)).collect();
        if labels.iter().collect::<HashSet<_>>().len() == labels.len() {
            return labels;
        }
    }
    let numbered = specs.iter().enumerate();
    numbered
        .map(|(n, spec)| format!("{} ({})", name(spec), n + 1))
        .collect()
}
