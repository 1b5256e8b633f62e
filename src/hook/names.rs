//! llama.cpp's names for the states between layers. Names are hints: what they point to is
//! believed where the graph proves it (`view.rs`).

fn number(name: &str, mark: &str) -> Option<u32> {
    name.strip_prefix(mark)?.strip_prefix('-')?.parse().ok()
}

/// How most architectures call what leaves a layer.
pub(super) const USUAL: &str = "l_out";

/// How others do: Nemotron-H, PLaMo-2.
const OTHERS: [&str; 2] = ["nemotron_h_block_out", "ffn_residual"];

/// How the state that enters a layer is called where that replaces the other name (Step-3.5).
const ENTERING: &str = "attn_norm_in";

/// How the state that leaves the last layer is called there.
pub(super) const LAST: &str = "h_nextn";

/// The layer that a node's name says it leaves.
pub(crate) fn layer_left(name: &str) -> Option<u32> {
    let mut left = [USUAL].iter().chain(&OTHERS);
    let left = left.find_map(|mark| number(name, mark));
    left.or_else(|| number(name, ENTERING)?.checked_sub(1))
}

/// The layer that a node's name says to enter, where such names stand in for the others.
pub(super) fn layer_entered(name: &str) -> Option<u32> {
    number(name, ENTERING)
}

/// A layer that there is if a node has this name.
#[allow(dead_code, reason = "the plugin counts layers by it")]
pub(crate) fn layer_named(name: &str) -> Option<u32> {
    layer_entered(name).or_else(|| layer_left(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_between_layers_go_by_several_names() {
        let left = [
            ("l_out-0", Some(0)),
            ("l_out-12", Some(12)),
            ("nemotron_h_block_out-3", Some(3)),
            ("ffn_residual-3", Some(3)),
            ("attn_norm_in-0", None),
            ("attn_norm_in-4", Some(3)),
            ("h_nextn", None),
            ("l_out", None),
            ("ffn_out-1", None),
        ];
        for (name, layer) in left {
            assert_eq!(layer_left(name), layer, "{name}");
        }
        assert_eq!(layer_named("attn_norm_in-4"), Some(4));
        assert_eq!(layer_named("l_out-4"), Some(4));
    }
}
