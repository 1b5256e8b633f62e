//! plotly.js, which the crate carries, cut to the kinds of figure that the page draws.
//!
//! The file is a bundle: a row of modules, each a function that runs when another asks for it by
//! its name, and a last one that registers the kinds of figure. The kinds that the page does not
//! draw are taken out of that list, and then each module that no module left asks for. Nothing
//! within a module is changed.

use std::collections::{HashMap, HashSet};

use plotly::Plot;

/// The kinds of figure that the page draws, besides the one that is always there (`scatter`).
const KINDS: [&str; 1] = ["heatmap"];

/// How a module begins and how the one before it ends.
const BETWEEN: &str = "});var ";
/// What is between a module's name and its function.
const BEGINS: &str = "=ye(";

/// The code for the page: the whole bundle where it is not made as this file knows it.
pub(super) fn code() -> String {
    let whole = whole();
    cut(&whole).unwrap_or(whole)
}

/// All of plotly.js. What follows it in the crate, MathJax, is not wanted: it would read formulas
/// into names.
fn whole() -> String {
    let sources = Plot::offline_js_sources();
    let script = sources.split("</script>").next().unwrap_or_default();
    let code = script.split_once('>').map_or("", |(_, code)| code);
    code.to_string()
}

/// A module, or the text before the first one, which has no name.
struct Module<'t> {
    name: &'t str,
    text: &'t str,
}

fn cut(bundle: &str) -> Option<String> {
    let modules = modules(bundle);
    let by_name: HashMap<&str, usize> = modules.iter().map(|m| m.name).zip(0..).collect();
    let last = modules.last()?;
    let (before, list) = last.text.split_once(".register([")?;
    let (list, after) = list.split_once("])")?;
    let registered = list.split(',').filter(|call| {
        let at = by_name.get(call.trim_end_matches("()"));
        at.is_some_and(|&at| KINDS.iter().any(|kind| draws(&modules, &by_name, at, kind)))
    });
    let registered: Vec<&str> = registered.collect();
    if registered.len() != KINDS.len() {
        return None;
    }
    let last = format!("{before}.register([{}]){after}", registered.join(","));
    let first = modules.first()?.text;
    let mut asked: Vec<usize> = names(first)
        .chain(names(&last))
        .filter_map(|name| by_name.get(name).copied())
        .collect();
    let mut kept = HashSet::from([0]);
    while let Some(module) = asked.pop() {
        if module + 1 < modules.len() && kept.insert(module) {
            let of = names(modules[module].text);
            asked.extend(of.filter_map(|name| by_name.get(name)));
        }
    }
    let kept = (0..modules.len()).filter(|module| kept.contains(module));
    let mut code: String = kept.map(|module| modules[module].text).collect();
    code.push_str(&last);
    Some(code)
}

/// The modules in their order.
fn modules(bundle: &str) -> Vec<Module<'_>> {
    let begins = bundle.match_indices(BETWEEN).filter_map(|(at, between)| {
        let text = &bundle[at + between.len()..];
        let name = names(text).next()?;
        (text.starts_with(name) && text[name.len()..].starts_with(BEGINS))
            .then_some((at + "});".len(), name))
    });
    let begins: Vec<(usize, &str)> = std::iter::once((0, "")).chain(begins).collect();
    let ends = begins.iter().skip(1).map(|(at, _)| *at);
    let ends = ends.chain([bundle.len()]);
    let modules = begins.iter().zip(ends);
    modules
        .map(|(&(at, name), end)| Module {
            name,
            text: &bundle[at..end],
        })
        .collect()
}

/// Whether a module is a kind of figure, or hands on the one that it is.
fn draws(modules: &[Module<'_>], by_name: &HashMap<&str, usize>, at: usize, kind: &str) -> bool {
    let text = modules[at].text;
    let of = text.split_once("exports=").and_then(|(_, rest)| {
        let name = rest.split_once("()})")?.0;
        by_name.get(name)
    });
    match of {
        Some(&of) if of != at => draws(modules, by_name, of, kind),
        _ => text.contains(&format!("moduleType:\"trace\",name:\"{kind}\"")),
    }
}

/// What may be a name in a text.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$');
    text.split(move |c| !part(c))
        .filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(code: &str, kind: &str) -> bool {
        code.contains(&format!("moduleType:\"trace\",name:\"{kind}\""))
    }

    #[test]
    fn what_the_page_does_not_draw_is_left_out() {
        let whole = whole();
        let code = cut(&whole).expect("a bundle made as the one that this file knows");
        assert!(code.len() < whole.len() / 3, "{} bytes", code.len());
        for kind in ["scatter", "heatmap"] {
            assert!(holds(&code, kind), "{kind}");
        }
        for kind in ["scatter3d", "scattermap", "sankey", "pie"] {
            assert!(holds(&whole, kind) && !holds(&code, kind), "{kind}");
        }
        assert!(code.starts_with("/**\n* plotly.js v"), "its licence");
        assert!(code.ends_with("}));"));
    }

    #[test]
    fn a_bundle_of_another_make_is_left_whole() {
        assert_eq!(cut("var Plotly = {};"), None);
        let whole = "a({});var b=ye((c)=>{});var d=ye((e)=>{b.register([f()])});";
        assert_eq!(cut(whole), None, "no heat map");
    }
}
