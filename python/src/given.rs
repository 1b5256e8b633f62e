//! What Python gives, as the library takes it: layers, seeds, tokens, directions, texts.

use std::path::PathBuf;

use midlayer::engine::{TextPart, TokenSelector};
use midlayer::intervention::{LayerList, Site, Sites, States, Target};
use numpy::{PyArrayLikeDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyRange, PyRangeMethods, PyString};

use crate::errors::usage;

/// Directions: a file, or vectors by layer.
#[derive(Clone, Debug)]
pub enum Directions {
    File(PathBuf),
    Here(States),
}

/// Texts: a file with one in each line, or themselves.
#[derive(Clone, Debug)]
pub enum Texts {
    File(PathBuf),
    Here(Vec<String>),
}

/// Layers as they are given: one, or several in the program's syntax.
pub enum Layers {
    One(u32),
    Several(String),
}

pub fn layer_list(given: &Bound<'_, PyAny>) -> PyResult<Layers> {
    if let Ok(text) = given.cast::<PyString>() {
        let text = text.to_string();
        text.parse::<LayerList>().map_err(usage)?;
        return Ok(Layers::Several(text));
    }
    let layer = |number: &Bound<'_, PyAny>| match number.extract::<i64>() {
        Ok(number) => u32::try_from(number)
            .map_err(|_| usage(format!("layer {number} is none: layers are counted from 0"))),
        Err(_) => Err(usage(format!(
            "{} is not a layer; give a number, a range, a list of numbers, or a text as \"0-29+3\"",
            number.repr()?
        ))),
    };
    if given.extract::<i64>().is_ok() {
        return Ok(Layers::One(layer(given)?));
    }
    let items = given
        .try_iter()
        .map_err(|_| layer(given).err().unwrap_or_else(|| usage("no layers")))?;
    let items = items
        .map(|item| layer(&item?))
        .collect::<PyResult<Vec<u32>>>()?;
    let text = match (&items[..], given.cast::<PyRange>()) {
        ([], _) => return Err(usage("no layers are given; leave layers out for all")),
        // A range may go beyond where a manipulation is defined, a list may not.
        ([first, .., last], Ok(range)) if range.step()? > 0 => {
            format!("{first}-{last}+{}", range.step()?)
        }
        (items, _) => {
            let items: Vec<String> = items.iter().map(ToString::to_string).collect();
            items.join(",")
        }
    };
    Ok(Layers::Several(text))
}

pub fn list_of(value: &Bound<'_, PyAny>) -> PyResult<Vec<u64>> {
    match value.extract::<u64>() {
        Ok(one) => Ok(vec![one]),
        Err(_) => {
            let seeds = value.try_iter()?.map(|seed| seed?.extract::<u64>());
            let seeds = seeds.collect::<PyResult<Vec<u64>>>()?;
            match seeds.is_empty() {
                true => Err(usage("no seeds are given")),
                false => Ok(seeds),
            }
        }
    }
}

pub fn selector(value: &Bound<'_, PyAny>) -> PyResult<TokenSelector> {
    if let Ok(text) = value.extract::<String>() {
        return text.parse().map_err(usage);
    }
    if let Ok(position) = value.extract::<u32>() {
        return Ok(TokenSelector::Ranges(vec![(position, position)]));
    }
    let positions = value.try_iter()?.map(|item| item?.extract::<u32>());
    let positions = positions.collect::<PyResult<Vec<u32>>>()?;
    match positions.is_empty() {
        true => Err(usage("no tokens are given")),
        false => Ok(TokenSelector::Ranges(
            positions.into_iter().map(|p| (p, p)).collect(),
        )),
    }
}

pub fn sites(text: &str) -> PyResult<Vec<Site>> {
    let sites = text.parse::<Sites>().map_err(usage)?;
    Ok(sites.0)
}

pub fn part(value: &Bound<'_, PyAny>) -> PyResult<TextPart> {
    let Ok(part) = value.extract::<String>()?.parse();
    Ok(part)
}

pub fn directions(value: &Bound<'_, PyAny>) -> PyResult<Directions> {
    let mut states = States::new();
    if let Ok(by_layer) = value.cast::<PyDict>() {
        for (layer, vector) in by_layer {
            states.insert(layer.extract()?, 0, vector_of(&vector)?);
        }
        return Ok(Directions::Here(states));
    }
    if let Ok(path) = value.extract::<PathBuf>() {
        return Ok(Directions::File(path));
    }
    for (layer, vector) in value.try_iter()?.enumerate() {
        states.insert(layer as u32, 0, vector_of(&vector?)?);
    }
    Ok(Directions::Here(states))
}

/// A vector of finite numbers.
fn vector_of(value: &Bound<'_, PyAny>) -> PyResult<Vec<f32>> {
    let array: PyArrayLikeDyn<'_, f32, numpy::AllowTypeChange> = value.extract()?;
    if array.ndim() != 1 {
        return Err(usage(format!(
            "a direction is one vector for each layer, and this has the shape {:?}",
            array.shape()
        )));
    }
    let vector = array.to_vec().map_err(usage)?;
    match vector.iter().all(|x| x.is_finite()) {
        true => Ok(vector),
        false => Err(usage("a direction has values that are not finite")),
    }
}

pub fn texts(value: &Bound<'_, PyAny>) -> PyResult<Texts> {
    if let Ok(path) = value.extract::<PathBuf>() {
        return Ok(Texts::File(path));
    }
    let texts = value.try_iter()?.map(|text| text?.extract::<String>());
    Ok(Texts::Here(texts.collect::<PyResult<_>>()?))
}

/// What is kept of a layer at a site, by the field's name or the program's.
pub fn target(text: &str) -> PyResult<Target> {
    let site = text.parse::<Site>().map_err(usage)?;
    match site.some_heads() {
        None => Ok(site.target()),
        Some(_) => Err(usage(format!(
            "'{text}': all heads of a layer are captured, one after the other; choose heads, and take those that you want"
        ))),
    }
}
