//! What a manipulation says of itself. The table of all of them is in
//! [`manipulations`](super::manipulations).

use std::sync::Arc;

use super::{Action, Extent, Kind, LayerSpan, Missed, PositionSet, Site, States, Target};

/// A manipulation: one file in `manipulations/`. Everything else reads it from the table.
pub trait Manipulation: Sync {
    /// The name, as users write it and as results are stored under.
    fn name(&self) -> &'static str;

    /// Other names that users may write.
    fn synonyms(&self) -> &'static [&'static str] {
        &[]
    }

    /// Its function's name in the Python package.
    fn function(&self) -> String {
        self.name().replace('-', "_")
    }

    /// What is done, as the beginning of a sentence: `Freezing`.
    fn doing(&self) -> &'static str;

    /// What it does, as a clause that begins with a small letter.
    fn sentence(&self) -> &'static str;

    /// Its parameters.
    fn parameters(&self) -> &'static [Parameter] {
        &[]
    }

    /// Whether results depend on a seed.
    fn has_seed(&self) -> bool {
        false
    }

    /// What it needs besides the text.
    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    /// The lowest layer at which it is defined.
    fn first_layer(&self) -> u32 {
        0
    }

    /// How many layers there must be above its layer.
    fn layers_above(&self) -> u32 {
        0
    }

    /// Whether it acts from its layer up unless something else is asked for; otherwise at its
    /// layer alone.
    fn is_upward(&self) -> bool {
        false
    }

    /// The rows that it can rewrite.
    fn sites(&self) -> &'static [Site] {
        Site::ANY
    }

    /// The layers that it rewrites when its layer is `k`.
    fn layers(&self, k: u32, extent: Extent) -> LayerSpan {
        match extent {
            Extent::Paper if self.is_upward() => LayerSpan::from(k),
            Extent::Paper | Extent::Only => LayerSpan::only(k),
            Extent::From => LayerSpan::from(k),
            Extent::Window(width) => LayerSpan::window(k, width),
        }
    }

    /// The positions that it rewrites when `chosen` are asked for, among `prior` prior tokens.
    fn places(&self, _edit: &RowEdit, chosen: &PositionSet, _prior: u32) -> PositionSet {
        chosen.clone()
    }

    /// What happens to rows. Most manipulations [`rewrite`](Self::rewrite) each row by itself.
    fn action(&self, edit: RowEdit) -> Action {
        Action::Row(edit)
    }

    /// Rewrites a row, where the action is [`Action::Row`].
    ///
    /// # Errors
    /// [`Missed`] where a state that it needs is missing.
    fn rewrite(&self, _edit: &RowEdit, _place: &Place, _row: &mut [f32]) -> Result<(), Missed> {
        Ok(())
    }

    /// Whether the self-test knows what rows of a site should become.
    fn is_expected(&self, site: Site) -> bool {
        self.sites().contains(&site)
    }

    /// What a clean row should become: the definition, apart from the code that carries it out.
    /// `None` where something that it rests on is not known.
    fn expected(&self, known: &Known<'_>, row: &mut [f32]) -> Option<()>;

    /// Whether it is a control that must leave everything as it is.
    fn changes_nothing(&self) -> bool {
        false
    }

    /// Whether it is the control of a manipulation, which has the same parameters: sweeps run it
    /// beside that.
    fn is_control_of(&self, _other: &dyn Manipulation) -> bool {
        false
    }

    /// Whether it is what corrupts a prompt whose states are restored one by one.
    fn corrupts(&self) -> bool {
        false
    }

    /// Another way to the same result, which the self-test compares.
    fn second_way(&self) -> Option<SecondWay> {
        None
    }

    /// What the paper found can be ignored; `None` where it did not try the manipulation.
    fn paper(&self) -> Option<&'static str> {
        None
    }

    /// The colour in figures. The first ones are the palette of Okabe and Ito, which colour-blind
    /// readers can tell apart.
    fn colour(&self) -> (u8, u8, u8);
}

/// What a manipulation needs besides the text that it manipulates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Needs {
    /// Nothing.
    Nothing,
    /// The states of a donor prompt.
    Donor,
    /// The states of a neutral text.
    Filler,
    /// The states of a text that is given.
    Scaffold,
    /// A direction in the residual stream for each layer, as states at (layer, 0).
    Direction,
    /// Mean states over a set of texts.
    Mean,
}

impl Needs {
    /// Whether states must be given.
    pub fn states(self) -> bool {
        self != Needs::Nothing
    }

    /// The setting that gives it, for messages, where there is one.
    pub fn setting(self) -> Option<&'static str> {
        match self {
            Needs::Direction => Some("`direction`"),
            Needs::Mean => Some("`mean_of`"),
            Needs::Scaffold => Some("`scaffold`"),
            Needs::Nothing | Needs::Donor | Needs::Filler => None,
        }
    }
}

/// Another way to the result of a manipulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondWay {
    /// The same manipulation of keys and values.
    Cache,
    /// A model whose attention output weights are zero.
    SilentWeights,
    /// The last token without the others in the cache.
    Alone,
    /// A model in which the weights are zero that project what a layer adds, where that is
    /// rewritten.
    ZeroWeights,
}

/// A parameter of a manipulation.
#[derive(Debug)]
pub struct Parameter {
    /// The name, as users write it.
    pub name: &'static str,
    /// What it is, as a clause.
    pub sentence: &'static str,
    /// Its type.
    pub values: Values,
}

/// The values that a parameter may have.
#[derive(Debug)]
pub enum Values {
    /// A finite number.
    Number {
        /// The default.
        default: f64,
    },
    /// One of several words; the first is the default.
    Words(&'static [&'static str]),
}

/// What is done to single rows: a manipulation, and what it was given.
#[derive(Clone, Debug)]
pub struct RowEdit {
    /// The manipulation with its parameters.
    pub kind: Kind,
    /// The seed; 0 where it has none.
    pub seed: u64,
    /// The states that it needs.
    pub states: Option<Arc<States>>,
}

impl RowEdit {
    /// Whether both do the same to a row.
    pub fn is_same(&self, other: &Self) -> bool {
        let same_states = match (&self.states, &other.states) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        };
        same_states && self.kind == other.kind && self.seed == other.seed
    }
}

impl RowEdit {
    /// The direction of a row's layer, of `width` values; `None` where the layer has none.
    ///
    /// # Errors
    /// [`Missed`] where no directions are given, or narrower ones.
    pub fn direction(&self, place: &Place, width: usize) -> Result<Option<&[f32]>, Missed> {
        let layer = place.layer;
        let Some(states) = &self.states else {
            return Err(Missed::NotGiven { layer, position: 0 });
        };
        let known = states.get(layer, 0).is_some();
        known.then(|| states.fitting(layer, 0, width)).transpose()
    }
}

/// The place of a row.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// What of the layer it is.
    pub target: Target,
    /// The layer.
    pub layer: u32,
    /// The token's position.
    pub position: u32,
    /// How many values belong together: a head's, or all.
    pub part: usize,
}

impl Place {
    /// The row's parts, each with the number of its random draw. The residual stream is one
    /// part, number 0; heads, keys and values have a part for each head, and all draws of their
    /// own.
    pub fn parts<'r>(&self, row: &'r mut [f32]) -> impl Iterator<Item = (u32, &'r mut [f32])> {
        let first: u32 = match self.target {
            Target::Input | Target::Mask => 0,
            Target::Keys => 1 << 16,
            Target::Values => 2 << 16,
            Target::Attention => 3 << 16,
            Target::Mlp => 4 << 16,
            Target::Heads => 5 << 16,
        };
        (first..).zip(row.chunks_mut(self.part.max(1)))
    }
}

/// What the self-test knows of a row, read by llama.cpp's own names.
pub struct Known<'a> {
    /// The manipulation.
    pub edit: &'a RowEdit,
    /// Its layer `k`.
    pub k: u32,
    /// The place of the row, heads by the model's metadata. `None` where these do not tell.
    pub place: Option<Place>,
    /// The state that enters a layer at the row's position in the clean run.
    pub entered: &'a dyn Fn(u32) -> Option<Vec<f32>>,
    /// The donor's row.
    pub donor: &'a dyn Fn() -> Option<Vec<f32>>,
}

/// Declares the modules of the manipulations, their table, and a constant of [`Kind`] for each.
macro_rules! table {
    ($($file:ident::$name:ident),* $(,)?) => {
        $(mod $file;)*

        /// All manipulations.
        pub(super) static TABLE: &[&dyn super::Manipulation] = &[$(&$file::$name),*];

        #[derive(Clone, Copy)]
        enum Number { $($name),* }

        // Constants that are used as the variants of an enum are.
        #[allow(non_upper_case_globals)]
        impl super::Kind {
            $(
                #[doc = concat!("`manipulations/", stringify!($file), ".rs`.")]
                pub const $name: Self = Self::numbered(Number::$name as u8);
            )*

            /// All of them, with the defaults of their parameters.
            pub const ALL: [Self; TABLE_LENGTH] = [$(Self::$name),*];
        }

        const TABLE_LENGTH: usize = [$(Number::$name),*].len();
    };
}
pub(super) use table;
