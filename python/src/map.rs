//! Effect maps, as arrays.

use std::sync::Arc;

use midlayer::engine::Prompt;
use midlayer::maps::{self, Averaged, Down, Form, ItemMap, Over, Picture, Role};
use midlayer::runtime::Model;
use midlayer::trial::listed;
use numpy::{IntoPyArray, PyArray2, PyArrayMethods};
use pyo3::prelude::*;

type Array<'py> = Bound<'py, PyArray2<f64>>;

/// What each state of a prompt, or each head, is worth: tokens, heads or roles down, layers across.
#[pyclass(frozen, subclass, module = "midlayer._native")]
#[derive(Clone)]
pub struct Map {
    map: maps::Map,
    /// Where rows are tokens, what they are.
    tokens: Vec<(i32, String)>,
    /// And of an item's map by role, their roles.
    roles: Vec<Role>,
    title: String,
    measure: &'static str,
    over: Option<Arc<Items>>,
}

/// What a map is the average of.
struct Items {
    averaged: Averaged,
    maps: Vec<ItemMap>,
}

impl Map {
    /// The map of a prompt.
    pub fn new(
        map: maps::Map,
        model: &Model,
        prompt: &Prompt,
        title: String,
        measure: &'static str,
    ) -> Self {
        let all = listed(model, prompt, None);
        let token = |at: &u32| (all[*at as usize].id, all[*at as usize].text.clone());
        Self {
            tokens: match map.down {
                Down::Tokens => map.rows.iter().map(token).collect(),
                _ => Vec::new(),
            },
            roles: Vec::new(),
            map,
            title,
            measure,
            over: None,
        }
    }

    /// The average of items' maps; `None` of no item.
    pub fn over(maps: Vec<ItemMap>, title: String, measure: &'static str) -> Option<Self> {
        let averaged = Averaged::of(&maps)?;
        Some(Self {
            map: averaged.mean.clone(),
            tokens: Vec::new(),
            roles: Vec::new(),
            title,
            measure,
            over: Some(Arc::new(Items { averaged, maps })),
        })
    }

    fn of_item(&self, item: &ItemMap) -> Self {
        let tokens = item.tokens.iter();
        Self {
            map: item.map.clone(),
            tokens: tokens.map(|(id, text, _)| (*id, text.clone())).collect(),
            roles: item.tokens.iter().map(|(_, _, role)| *role).collect(),
            title: format!("{}, {}", self.title, item.item),
            measure: self.measure,
            over: None,
        }
    }

    fn picture(&self) -> Picture<'_> {
        Picture {
            map: &self.map,
            tokens: &self.tokens,
            title: self.title.clone(),
            measure: self.measure,
            across: "layer",
            change: true,
            over: self.over.as_ref().map(|over| Over {
                averaged: &over.averaged,
                items: &over.maps,
            }),
        }
    }

    /// A number for each cell, by row, then by layer.
    fn array<'py>(
        &self,
        py: Python<'py>,
        of: impl Fn(usize, usize) -> Option<f64>,
    ) -> PyResult<Array<'py>> {
        let shape = [self.map.rows.len(), self.map.layers.len()];
        let row = |row: usize| (0..shape[1]).map(move |layer| (row, layer));
        let cells = (0..shape[0]).flat_map(row);
        let values: Vec<f64> = cells
            .map(|(row, layer)| of(row, layer).unwrap_or(f64::NAN))
            .collect();
        values.into_pyarray(py).reshape(shape)
    }

    fn end<'py>(&self, py: Python<'py>, of: fn((f64, f64)) -> f64) -> PyResult<Option<Array<'py>>> {
        let over = self.over.as_ref();
        let end = |over: &Arc<Items>| {
            let intervals = &over.averaged.intervals;
            self.array(py, |row, layer| intervals[row][layer].map(of))
        };
        over.map(end).transpose()
    }
}

#[pymethods]
impl Map {
    /// The same map, which classes of Python are made from.
    #[new]
    fn again(map: PyRef<'_, Self>) -> Self {
        (*map).clone()
    }

    /// The layers, the columns.
    #[getter]
    fn layers(&self) -> Vec<u32> {
        self.map.layers.clone()
    }

    /// What the rows are called: tokens' texts, `head 3`, roles as `subject last`.
    #[getter]
    fn rows(&self) -> Vec<String> {
        let texts = self.tokens();
        match self.map.down {
            Down::Tokens => texts.into_iter().map(String::from).collect(),
            _ => {
                let picture = self.picture();
                (0..self.map.rows.len())
                    .map(|row| picture.label(row))
                    .collect()
            }
        }
    }

    /// The tokens' positions, where rows are tokens; else none.
    #[getter]
    fn positions(&self) -> Vec<u32> {
        match self.map.down {
            Down::Tokens => self.map.rows.clone(),
            _ => Vec::new(),
        }
    }

    /// The tokens' texts, where rows are tokens; else none.
    #[getter]
    fn tokens(&self) -> Vec<&str> {
        self.tokens.iter().map(|(_, text)| &**text).collect()
    }

    /// The tokens' roles, of an item's map by role; else none.
    #[getter]
    fn roles(&self) -> Vec<&'static str> {
        self.roles.iter().map(|role| role.name()).collect()
    }

    /// The change of the measure, float64 [rows, layers]; NaN where the manipulation has no place.
    #[getter]
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Array<'py>> {
        self.array(py, |row, layer| self.map.values[row][layer])
    }

    /// Over a task, the lower ends of the means' 95% intervals over items, float64 [rows, layers];
    /// NaN of fewer than two items. Else None.
    #[getter]
    fn low<'py>(&self, py: Python<'py>) -> PyResult<Option<Array<'py>>> {
        self.end(py, |(low, _)| low)
    }

    /// The upper ends.
    #[getter]
    fn high<'py>(&self, py: Python<'py>) -> PyResult<Option<Array<'py>>> {
        self.end(py, |(_, high)| high)
    }

    /// Over a task, the items and their maps.
    fn _items(&self) -> Vec<(String, Map)> {
        let maps = self.over.iter().flat_map(|over| &over.maps);
        maps.map(|item| (item.item.clone(), self.of_item(item)))
            .collect()
    }

    /// The measure of the clean run.
    #[getter]
    fn clean(&self) -> f64 {
        self.map.clean
    }

    /// The measure of the corrupted run, where a map restores; else None.
    #[getter]
    fn corrupted(&self) -> Option<f64> {
        self.map.corrupted
    }

    /// The largest change that a control makes: rounding. A value that is no larger is none.
    #[getter]
    fn floor(&self) -> f64 {
        self.map.floor
    }

    /// What the values are, in words.
    #[getter]
    fn measure(&self) -> &'static str {
        self.measure
    }

    /// The lines of `midlayer map -o json`.
    fn json_lines(&self) -> String {
        self.picture().text(Form::Jsonl)
    }

    /// The picture, as an SVG.
    fn svg(&self) -> String {
        self.picture().text(Form::Svg)
    }

    fn _repr_html_(&self) -> String {
        self.svg()
    }

    fn __repr__(&self) -> String {
        let (rows, layers) = (self.map.rows.len(), self.map.layers.len());
        let down = match self.map.down {
            Down::Tokens => "tokens",
            Down::Heads(_) => "heads",
            Down::Roles => "roles",
            Down::Steps => "steps",
        };
        let over = self.over.as_ref().map(|over| over.maps.len());
        let over = over.map_or(String::new(), |items| format!(" over {items} items"));
        format!(
            "Map({rows} {down}, {layers} layers{over}: {})",
            self.measure
        )
    }
}
