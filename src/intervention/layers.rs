//! Layer spans (where one intervention acts) and layer lists (the `k` of a sweep).

use std::fmt;

/// A contiguous range of layers, both ends included; without an end it reaches the last layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerSpan {
    /// First layer, the `k` of the literature.
    pub first: u32,
    /// Last layer, or `None` for the model's last.
    pub last: Option<u32>,
}

impl LayerSpan {
    /// Layers `k` and above.
    pub fn from(k: u32) -> Self {
        Self {
            first: k,
            last: None,
        }
    }

    /// Layer `k` alone.
    pub fn only(k: u32) -> Self {
        Self {
            first: k,
            last: Some(k),
        }
    }

    /// `width` layers beginning with `k`.
    pub fn window(k: u32, width: u32) -> Self {
        Self {
            first: k,
            last: Some(k + width.max(1) - 1),
        }
    }

    /// Whether the span holds `layer`.
    pub fn contains(&self, layer: u32) -> bool {
        layer >= self.first && self.last.is_none_or(|last| layer <= last)
    }
}

impl fmt::Display for LayerSpan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last {
            None => write!(f, "{}-", self.first),
            Some(last) if last == self.first => write!(f, "{last}"),
            Some(last) => write!(f, "{}-{last}", self.first),
        }
    }
}

/// A list of layers in llama-bench's range syntax, not yet bound to a model:
/// comma lists, `first-last`, `first-last+step`, and `all`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerList(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    All,
    Range { first: u32, last: u32, step: u32 },
}

/// What is wrong with a layer list.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LayerListError {
    /// Not in the syntax.
    #[error(
        "'{0}' is not a layer list; write for example 15, 0,5,10, 0-29, 0-29+3 or all (`layers`)"
    )]
    Syntax(String),
    /// A range that runs backwards.
    #[error("layer range '{0}' runs backwards or has step 0; write first-last+step (`layers`)")]
    Empty(String),
    /// A layer that the model does not have.
    #[error("layer {layer} is out of range: the model has {n_layer} layers, 0 to {} (`layers`)", n_layer.saturating_sub(1))]
    OutOfRange {
        /// The layer asked for.
        layer: u32,
        /// How many layers there are.
        n_layer: u32,
    },
}

impl LayerList {
    /// Whether it is `all`, which names no layer in particular.
    pub fn is_all(&self) -> bool {
        self.0 == [Part::All]
    }

    /// The layers, sorted and without repeats, for a model of `n_layer` layers.
    ///
    /// # Errors
    /// [`LayerListError::OutOfRange`] when a layer does not exist.
    pub fn resolve(&self, n_layer: u32) -> Result<Vec<u32>, LayerListError> {
        let mut layers = Vec::new();
        for part in &self.0 {
            match *part {
                Part::All => layers.extend(0..n_layer),
                Part::Range { first, last, step } => {
                    if last >= n_layer {
                        return Err(LayerListError::OutOfRange {
                            layer: last,
                            n_layer,
                        });
                    }
                    layers.extend((first..=last).step_by(step as usize));
                }
            }
        }
        layers.sort_unstable();
        layers.dedup();
        Ok(layers)
    }
}

impl LayerList {
    /// Whether the list names the layer by itself, not within a range or as one of all.
    pub fn names(&self, layer: u32) -> bool {
        let alone = |part: &Part| matches!(part, Part::Range { first, last, .. } if first == last && *first == layer);
        self.0.iter().any(alone)
    }
}

impl std::str::FromStr for LayerList {
    type Err = LayerListError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || LayerListError::Syntax(text.to_string());
        let number = |s: &str| s.trim().parse::<u32>().map_err(|_| syntax());
        let mut parts = Vec::new();
        for part in text.split(',') {
            if part.trim() == "all" {
                parts.push(Part::All);
                continue;
            }
            let (range, step) = match part.split_once('+') {
                Some((range, step)) => (range, number(step)?),
                None => (part, 1),
            };
            let (first, last) = match range.split_once('-') {
                Some((first, last)) => (number(first)?, number(last)?),
                None => (number(range)?, number(range)?),
            };
            if last < first || step == 0 {
                return Err(LayerListError::Empty(part.to_string()));
            }
            parts.push(Part::Range { first, last, step });
        }
        Ok(Self(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(text: &str) -> Result<Vec<u32>, LayerListError> {
        text.parse::<LayerList>()?.resolve(30)
    }

    #[test]
    fn llama_bench_ranges() {
        assert_eq!(layers("15").unwrap(), [15]);
        assert_eq!(layers("0,5,3,5").unwrap(), [0, 3, 5]);
        assert_eq!(layers("0-9+3").unwrap(), [0, 3, 6, 9]);
        assert_eq!(layers("0-29+3,29").unwrap().last(), Some(&29));
        assert_eq!(layers("all").unwrap().len(), 30);
    }

    #[test]
    fn bad_lists_say_why() {
        assert!(matches!(layers("a"), Err(LayerListError::Syntax(_))));
        assert!(matches!(layers(""), Err(LayerListError::Syntax(_))));
        assert!(matches!(layers("-3"), Err(LayerListError::Syntax(_))));
        assert!(matches!(layers("9-3"), Err(LayerListError::Empty(_))));
        assert!(matches!(layers("0-9+0"), Err(LayerListError::Empty(_))));
        assert_eq!(
            layers("0-30"),
            Err(LayerListError::OutOfRange {
                layer: 30,
                n_layer: 30
            })
        );
    }

    #[test]
    fn a_layer_is_named_by_its_number_alone() {
        let list: LayerList = "0-5,7,all".parse().unwrap();
        assert!(list.names(7));
        assert!(!list.names(3) && !list.names(0) && !list.names(9));
    }

    #[test]
    fn spans() {
        assert!(LayerSpan::from(3).contains(99));
        assert!(!LayerSpan::only(3).contains(4));
        assert!(LayerSpan::window(3, 2).contains(4));
        assert!(!LayerSpan::window(3, 2).contains(5));
    }
}
