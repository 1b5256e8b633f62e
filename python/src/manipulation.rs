//! Manipulations as Python asks for them, and the library's table of them.

use std::path::PathBuf;
use std::rc::Rc;

use midlayer::directions::read_directions;
use midlayer::engine::{self, TextPart, Wording, read_texts};
use midlayer::intervention::{Extent, Kind, LayerList, Needs, Site, Values};
use midlayer::sweep::Given;
use midlayer::trial::{Donor, Part, Place, Trial, TrialError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors::usage;
use crate::given::{
    Directions, Layers, Texts, directions, layer_list, list_of, part, selector, sites, texts,
};

/// A donor prompt as it is written.
#[derive(Clone, Debug)]
struct DonorText {
    text: String,
    at: Option<TextPart>,
    from_at: Option<TextPart>,
}

/// One manipulation with all that it was given.
#[derive(Clone, Debug)]
struct Step {
    kind: Kind,
    layer: Option<u32>,
    place: Place,
    donor: Option<DonorText>,
    direction: Option<Directions>,
    mean_of: Option<Texts>,
    scaffold: Option<String>,
}

/// Manipulations of one run, made by the functions of the package (`freeze`, `inject`, ...); `+`
/// stacks them. The layer of one that was given a single layer is fixed; others move through the
/// layers that they were given, or through all at which they are defined.
#[pyclass(frozen, from_py_object, module = "midlayer")]
#[derive(Clone, Debug)]
pub struct Manipulation {
    steps: Vec<Step>,
    layers: Option<String>,
    seeds: Option<Vec<u64>>,
}

impl Manipulation {
    /// What a map takes: one manipulation, its layers and seeds. A map that restores puts the
    /// prompt's own states back.
    pub fn mapped(
        &self,
        engine: &dyn engine::Engine,
        restores: bool,
    ) -> Result<(Part, LayerList, Vec<u64>), TrialError> {
        let [step] = &self.steps[..] else {
            return Err(TrialError::Usage(
                "a map takes one manipulation, not several stacked".into(),
            ));
        };
        let layers = match (step.layer, &self.layers) {
            (Some(layer), _) => layer.to_string().parse()?,
            (None, Some(layers)) => layers.parse()?,
            (None, None) => "all".parse()?,
        };
        let part = step.part(engine)?;
        if let Some(option) = part.given.lacks(part.kind) {
            return Err(TrialError::Usage(format!("{} needs {option}", part.kind)));
        }
        if restores && (!part.kind.has_donor() || part.donor.is_some()) {
            return Err(TrialError::Usage(format!(
                "{}: the prompt's own states are put back after `corrupt`; give inject() without a donor, for its layers, tokens and site",
                part.kind
            )));
        }
        if part.kind.has_donor() != (part.donor.is_some() || restores) {
            return Err(TrialError::Usage(format!(
                "{}: a donor prompt is for manipulations that take one's states (--from)",
                part.kind
            )));
        }
        Ok((part, layers, self.seeds.clone().unwrap_or_else(|| vec![1])))
    }

    /// What the library runs.
    pub fn trial(
        &self,
        engine: &dyn engine::Engine,
        generates: bool,
        manipulate_generated: bool,
        from_step: usize,
    ) -> Result<Trial, TrialError> {
        let layers: LayerList = self.layers.as_deref().unwrap_or("all").parse()?;
        let parts = self.steps.iter().map(|step| step.part(engine));
        let seeds = self.seeds.clone().unwrap_or_else(|| vec![1]);
        Ok(Trial {
            seeds,
            generates,
            manipulate_generated,
            from_step,
            ..Trial::new(parts.collect::<Result<_, _>>()?, layers)
        })
    }
}

impl Step {
    fn part(&self, engine: &dyn engine::Engine) -> Result<Part, TrialError> {
        let file = |path: &PathBuf, error: &dyn std::fmt::Display| {
            TrialError::Usage(format!("{}: {error}", path.display()))
        };
        let facts = engine.facts();
        let directions = match &self.direction {
            None => None,
            Some(Directions::Here(states)) => Some(states.clone()),
            Some(Directions::File(path)) => {
                let read = read_directions(path, facts.n_embd, facts.n_layer);
                Some(read.map_err(|error| file(path, &error))?)
            }
        };
        let texts = match &self.mean_of {
            None => Vec::new(),
            Some(Texts::Here(texts)) => texts.clone(),
            Some(Texts::File(path)) => read_texts(path).map_err(|error| file(path, &error))?,
        };
        let texts = texts.iter().map(|text| engine.prompt(text));
        let texts = texts.collect::<Result<_, _>>()?;
        let scaffold = self.scaffold.as_ref().map(|text| engine.prompt(text));
        let donor = self.donor.as_ref().map(|donor| {
            let wording = Wording {
                parse_special: true,
                ..Wording::default()
            };
            let prompt = wording.prompt(engine.tokenizer(), &donor.text)?;
            Ok::<_, TrialError>(Donor {
                prompt,
                at: donor.at.clone(),
                from_at: donor.from_at.clone(),
            })
        });
        Ok(Part {
            kind: self.kind,
            layer: self.layer,
            place: self.place.clone(),
            donor: donor.transpose()?,
            given: Rc::new(Given::of(directions, texts, scaffold.transpose()?)),
        })
    }
}

#[pymethods]
impl Manipulation {
    /// The manipulation `name` of the table; `given` holds its parameters and what else it takes.
    #[new]
    #[pyo3(signature = (name, layers, given))]
    fn new(
        name: &str,
        layers: Option<&Bound<'_, PyAny>>,
        given: &Bound<'_, PyDict>,
    ) -> PyResult<Self> {
        let mut kind: Kind = name.parse().map_err(usage)?;
        let mut step = Step {
            kind,
            layer: None,
            place: Place::default(),
            donor: None,
            direction: None,
            mean_of: None,
            scaffold: None,
        };
        let (mut donor, mut at, mut from_at, mut seeds) = (None, None, None, None);
        for (key, value) in given {
            let key: String = key.extract()?;
            if value.is_none() {
                continue;
            }
            match key.as_str() {
                "seed" => seeds = Some(list_of(&value)?),
                "tokens" => step.place.tokens = selector(&value)?,
                "extent" => {
                    step.place.extent = value
                        .extract::<String>()?
                        .parse::<Extent>()
                        .map_err(usage)?
                }
                "site" => step.place.sites = sites(&value.extract::<String>()?)?,
                "donor" => donor = Some(value.extract::<String>()?),
                "at" => at = Some(part(&value)?),
                "from_at" => from_at = Some(part(&value)?),
                "direction" => step.direction = Some(directions(&value)?),
                "mean_of" => step.mean_of = Some(texts(&value)?),
                "scaffold" => step.scaffold = Some(value.extract()?),
                parameter => {
                    let text = value.str()?.to_string();
                    kind = kind.with(parameter, &text).map_err(usage)?;
                }
            }
        }
        step.kind = kind;
        step.donor = match (donor, at, from_at) {
            (Some(text), at, from_at) => Some(DonorText { text, at, from_at }),
            (None, None, None) => None,
            _ => return Err(usage(format!("{kind}: at and from_at need a donor"))),
        };
        let layers = layers.filter(|layers| !layers.is_none());
        let layers = layers.map(layer_list).transpose()?;
        if let Some(Layers::One(layer)) = layers {
            step.layer = Some(layer);
        }
        Ok(Self {
            steps: vec![step],
            layers: match layers {
                Some(Layers::Several(text)) => Some(text),
                _ => None,
            },
            seeds,
        })
    }

    fn __add__(&self, other: &Self) -> PyResult<Self> {
        let steps = self.steps.iter().chain(&other.steps).cloned().collect();
        let layers = one_of(&self.layers, &other.layers).map_err(|(a, b)| {
            usage(format!(
                "manipulations that act together move through the same layers, and these have {a} and {b}; give one of them a single layer"
            ))
        })?;
        let seeds = one_of(&self.seeds, &other.seeds).map_err(|(a, b)| {
            usage(format!("manipulations that act together have the same seeds, and these have {a:?} and {b:?}"))
        })?;
        Ok(Self {
            steps,
            layers,
            seeds,
        })
    }

    /// The name as the program writes it, as `inject@8+freeze`.
    #[getter]
    fn name(&self) -> String {
        let steps = self.steps.iter().map(|step| (step.kind, step.layer));
        midlayer::trial::Stack(steps.collect()).name()
    }

    /// What `midlayer sweep` is asked: the manipulation with its parameters, and the layers.
    fn sweep(&self) -> PyResult<(String, Option<String>)> {
        let [step] = &self.steps[..] else {
            return Err(usage("a sweep takes manipulations one by one, not stacked"));
        };
        let plain = step.place == Place::default()
            && step.donor.is_none()
            && step.direction.is_none()
            && step.mean_of.is_none()
            && step.scaffold.is_none();
        if !plain {
            return Err(usage(format!(
                "{}: a sweep is told where and with what for all manipulations together, as sweep(..., tokens=\"skip:1\", direction=\"file.gguf\")",
                step.kind
            )));
        }
        let layer = step.layer.map(|layer| layer.to_string());
        Ok((step.kind.to_string(), layer.or_else(|| self.layers.clone())))
    }

    fn __repr__(&self) -> String {
        let steps = self.steps.iter().map(|step| {
            let layers = match (step.layer, &self.layers) {
                (Some(layer), _) => layer.to_string(),
                (None, Some(layers)) => format!("\"{layers}\""),
                (None, None) => String::new(),
            };
            let name = step.kind.manipulation().function();
            let mut given: Vec<String> =
                Some(layers).into_iter().filter(|l| !l.is_empty()).collect();
            given.extend(step.kind.given().map(|(name, value)| match value {
                midlayer::intervention::Value::Word(word) => format!("{name}=\"{word}\""),
                number => format!("{name}={number}"),
            }));
            if let Some(donor) = &step.donor {
                given.push(format!("donor={:?}", donor.text));
                given.extend(donor.at.as_ref().map(|at| format!("at={:?}", at.text)));
            }
            format!("midlayer.{name}({})", given.join(", "))
        });
        steps.collect::<Vec<_>>().join(" + ")
    }
}

/// What both may say once.
fn one_of<T: Clone + PartialEq>(a: &Option<T>, b: &Option<T>) -> Result<Option<T>, (T, T)> {
    match (a, b) {
        (Some(a), Some(b)) if a != b => Err((a.clone(), b.clone())),
        (Some(one), _) | (None, Some(one)) => Ok(Some(one.clone())),
        (None, None) => Ok(None),
    }
}

/// The library's table of manipulations: for each a dict with name, sentence, needs, has_seed,
/// upward, first_layer and parameters (name, sentence, default, words).
#[pyfunction]
pub fn table(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyDict>>> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        let of = kind.manipulation();
        let entry = PyDict::new(py);
        entry.set_item("name", of.name())?;
        entry.set_item("synonyms", of.synonyms().to_vec())?;
        entry.set_item("sentence", of.sentence())?;
        entry.set_item("has_seed", of.has_seed())?;
        entry.set_item("upward", of.is_upward())?;
        entry.set_item("first_layer", of.first_layer())?;
        let sites: Vec<String> = of.sites().iter().map(Site::to_string).collect();
        entry.set_item("sites", sites)?;
        let needs = match of.needs() {
            Needs::Nothing | Needs::Filler => "nothing",
            Needs::Donor => "donor",
            Needs::Scaffold => "scaffold",
            Needs::Direction => "direction",
            Needs::Mean => "mean_of",
        };
        entry.set_item("needs", needs)?;
        let mut parameters = Vec::new();
        for parameter in of.parameters() {
            let item = PyDict::new(py);
            item.set_item("name", parameter.name)?;
            item.set_item("sentence", parameter.sentence)?;
            match parameter.values {
                Values::Number { default } => item.set_item("default", default)?,
                Values::Words(words) => {
                    item.set_item("default", words[0])?;
                    item.set_item("words", words.to_vec())?;
                }
            }
            parameters.push(item);
        }
        entry.set_item("parameters", parameters)?;
        all.push(entry);
    }
    Ok(all)
}
