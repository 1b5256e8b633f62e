//! Captures: what a clean run of a text leaves at sites of layers, as arrays and as files of
//! NumPy and safetensors.

mod files;

pub use files::{Format, Source, write};

use crate::engine::{EngineError, Planned, Prompt, PromptError, TokenSelector};
use crate::hook::Capture;
use crate::intervention::{LayerList, LayerListError, Missed, Site, States};

/// What to keep of a text.
#[derive(Clone, Debug)]
pub struct Keep<'a> {
    /// Of which sites, of heads all.
    pub sites: &'a [Site],
    /// At which layers.
    pub layers: &'a LayerList,
    /// Of which tokens, the last one too; of all without it.
    pub tokens: Option<&'a TokenSelector>,
}

/// What was kept of a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Captures {
    /// The text.
    pub text: String,
    /// The ids of all its tokens.
    pub tokens: Vec<i32>,
    /// Positions of the tokens that were kept.
    pub positions: Vec<u32>,
    /// An array for each site.
    pub arrays: Vec<Array>,
}

/// The rows of a site: by layer, then by token.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// The site.
    pub site: Site,
    /// The layers that have it, of those that were asked for.
    pub layers: Vec<u32>,
    /// Those that have it not.
    pub left_out: Vec<u32>,
    /// Values of a row; of heads, keys and values all heads, one after the other.
    pub width: usize,
    /// The values.
    pub values: Vec<f32>,
}

/// Something that cannot be kept or written.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The tokens.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The layers.
    #[error(transparent)]
    Layers(#[from] LayerListError),
    /// Some heads of several.
    #[error(
        "{0}: all heads of a layer are kept, one after the other; take those that you want (`sites`)"
    )]
    SomeHeads(Site),
    /// A layer that was named and has no such place.
    #[error("layer {layer} has no {}, or none that could be told apart in this architecture's graph (`layers`)", name(*.site))]
    NoPlace {
        /// The layer.
        layer: u32,
        /// The site.
        site: Site,
    },
    /// No layer has such a place.
    #[error("no layer asked for has {} (`layers`)", name(*.0))]
    Nowhere(Site),
    /// Layers whose rows have several widths.
    #[error("{}: {source}; rows of several widths make no array, so name layers that are alike (`layers`)", name(*.site))]
    Widths {
        /// The site.
        site: Site,
        /// Where.
        source: Missed,
    },
    /// What the file's format cannot hold.
    #[error("{0} (`out`)")]
    Format(String),
    /// The file.
    #[error("{}: {source} (`out`)", .path.display())]
    File {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The name of a site's array, as Python and TransformerLens write it.
pub fn name(site: Site) -> &'static str {
    match site {
        Site::Residual => "resid_pre",
        Site::AttnOut => "attn_out",
        Site::MlpOut => "mlp_out",
        Site::Heads(_) => "heads",
        Site::Keys => "k",
        Site::Values => "v",
    }
}

impl Captures {
    /// Runs a prompt clean and keeps what is asked for: float32 arrays [layers, tokens, width], in
    /// the last layer too. Layers that have no such place are left out, unless they are named.
    ///
    /// # Errors
    /// [`CaptureError`].
    pub fn of(
        engine: &mut Planned,
        prompt: &Prompt,
        keep: &Keep<'_>,
    ) -> Result<Self, CaptureError> {
        if let Some(some) = keep.sites.iter().find(|site| site.some_heads().is_some()) {
            return Err(CaptureError::SomeHeads(*some));
        }
        let n_layer = engine.inspect().model().n_layer();
        let layers = keep.layers.resolve(n_layer)?;
        let chosen = keep.tokens.map(|tokens| tokens.among_all(prompt));
        let chosen = chosen.transpose()?;
        let chosen = |at: &u32| chosen.as_ref().is_none_or(|set| set.contains(*at));
        let all = 0..prompt.tokens.len() as u32;
        let positions: Vec<u32> = all.filter(chosen).collect();
        let capture = Capture {
            targets: keep.sites.iter().map(|site| site.target()).collect(),
            layers: layers.iter().copied().collect(),
            from: positions.first().copied().unwrap_or(0),
        };
        let captured = engine.captured_of_all(&prompt.tokens, &capture)?;
        let arrays = keep.sites.iter().map(|&site| {
            let states = captured.of(site.target());
            Array::of(site, states, &layers, &positions, keep.layers)
        });
        Ok(Self {
            text: prompt.text.clone(),
            tokens: prompt.tokens.iter().map(|token| token.0).collect(),
            arrays: arrays.collect::<Result<_, _>>()?,
            positions,
        })
    }
}

impl Array {
    fn of(
        site: Site,
        states: &States,
        layers: &[u32],
        positions: &[u32],
        named: &LayerList,
    ) -> Result<Self, CaptureError> {
        let (first, mut values) = (positions[0], Vec::new());
        let has = |layer: &u32| states.get(*layer, first).is_some();
        let (there, left_out): (Vec<u32>, Vec<u32>) = layers.iter().partition(|layer| has(layer));
        if let Some(&layer) = left_out.iter().find(|layer| named.names(**layer)) {
            return Err(CaptureError::NoPlace { layer, site });
        }
        let row = there.first().and_then(|layer| states.get(*layer, first));
        let width = row.ok_or(CaptureError::Nowhere(site))?.len();
        for &layer in &there {
            for &position in positions {
                let row = states.fitting(layer, position, width);
                let row = row.map_err(|source| CaptureError::Widths { site, source })?;
                values.extend_from_slice(row);
            }
        }
        Ok(Self {
            site,
            layers: there,
            left_out,
            width,
            values,
        })
    }

    /// Layers, tokens, width.
    pub fn shape(&self) -> [usize; 3] {
        let layers = self.layers.len();
        let tokens = self.values.len() / (layers * self.width).max(1);
        [layers, tokens, self.width]
    }
}
