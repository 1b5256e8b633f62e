//! The direction that leads from one set of states to another.

use std::fmt;
use std::str::FromStr;

/// How a direction is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The difference of the two means.
    MeanDifference,
    /// The first principal component of the differences of pairs, not centred, as long as the
    /// pairs differ along it on average (after Zou et al. 2023).
    Pca,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Method::MeanDifference => "mean-difference",
            Method::Pca => "pca",
        })
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Method::MeanDifference, Method::Pca]
            .into_iter()
            .find(|method| method.to_string() == text)
            .ok_or_else(|| format!("'{text}' is not a method; choose mean-difference or pca"))
    }
}

/// A direction, and the share of the states' variance that lies along it.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The direction, from negative to positive.
    pub direction: Vec<f32>,
    /// The share of the variance of all states, 0 to 1; 0 where the states do not vary.
    pub explained: f64,
}

/// Rounds of the power iteration at most, and when it has arrived.
const ROUNDS: usize = 500;
const ARRIVED: f64 = 1e-12;

/// The direction from `negative` to `positive` states, all equally wide and at least one of each.
/// For [`Method::Pca`] the sets are pairs, in order.
///
/// # Panics
/// When a set is empty, or widths differ.
pub fn between(positive: &[&[f32]], negative: &[&[f32]], method: Method) -> Found {
    let difference: Vec<f64> = mean(positive)
        .iter()
        .zip(mean(negative))
        .map(|(a, b)| a - b)
        .collect();
    let direction = match method {
        Method::MeanDifference => difference,
        Method::Pca => {
            let pairs = positive.iter().zip(negative);
            let pairs: Vec<Vec<f64>> = pairs
                .map(|(a, b)| {
                    let values = a.iter().zip(*b);
                    values.map(|(a, b)| f64::from(*a) - f64::from(*b)).collect()
                })
                .collect();
            let unit = first_component(&pairs);
            let along = dot(&unit, &difference);
            unit.into_iter().map(|value| value * along).collect()
        }
    };
    let all: Vec<&[f32]> = positive.iter().chain(negative).copied().collect();
    Found {
        explained: explained(&all, &direction),
        direction: direction.into_iter().map(|value| value as f32).collect(),
    }
}

fn mean(rows: &[&[f32]]) -> Vec<f64> {
    let mut sum = vec![0.0; rows[0].len()];
    for row in rows {
        assert_eq!(row.len(), sum.len(), "states are equally wide");
        sum.iter_mut()
            .zip(*row)
            .for_each(|(sum, value)| *sum += f64::from(*value));
    }
    let n = rows.len() as f64;
    sum.into_iter().map(|sum| sum / n).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn unit(mut row: Vec<f64>) -> Vec<f64> {
    let length = dot(&row, &row).sqrt();
    if length > 0.0 {
        row.iter_mut().for_each(|value| *value /= length);
    }
    row
}

/// The unit vector along which the rows have most of their squares, by power iteration from the
/// longest row.
fn first_component(rows: &[Vec<f64>]) -> Vec<f64> {
    let longest = rows.iter().max_by(|a, b| dot(a, a).total_cmp(&dot(b, b)));
    let mut component = unit(longest.expect("a set has a text").clone());
    for _ in 0..ROUNDS {
        let mut next = vec![0.0; component.len()];
        for row in rows {
            let along = dot(row, &component);
            next.iter_mut()
                .zip(row)
                .for_each(|(next, value)| *next += along * value);
        }
        let next = unit(next);
        let turned = 1.0 - dot(&next, &component).abs();
        component = next;
        if turned < ARRIVED {
            break;
        }
    }
    component
}

fn explained(rows: &[&[f32]], direction: &[f64]) -> f64 {
    let centre = mean(rows);
    let direction = unit(direction.to_vec());
    let (mut along, mut all) = (0.0, 0.0);
    for row in rows {
        let off = row
            .iter()
            .zip(&centre)
            .map(|(value, mean)| f64::from(*value) - mean);
        let off: Vec<f64> = off.collect();
        along += dot(&off, &direction).powi(2);
        all += dot(&off, &off);
    }
    if all > 0.0 { along / all } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_apart_in_one_dimension_give_that_dimension() {
        let positive: [&[f32]; 2] = [&[3.0, 1.0, 0.0], &[3.0, -1.0, 0.0]];
        let negative: [&[f32]; 2] = [&[-1.0, 1.0, 0.0], &[-1.0, -1.0, 0.0]];
        for method in [Method::MeanDifference, Method::Pca] {
            let found = between(&positive, &negative, method);
            let near = found.direction.iter().zip([4.0, 0.0, 0.0]);
            assert!(near.clone().all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}");
            assert!((found.explained - 0.8).abs() < 1e-6, "{found:?}");
            // The other way round it leads back.
            let back = between(&negative, &positive, method);
            assert!((back.direction[0] + 4.0).abs() < 1e-5);
        }
    }

    #[test]
    fn the_component_is_that_of_the_larger_differences() {
        let positive: [&[f32]; 3] = [&[10.0, 0.0], &[8.0, 1.0], &[0.0, 2.0]];
        let negative: [&[f32]; 3] = [&[0.0, 0.0]; 3];
        let found = between(&positive, &negative, Method::Pca);
        // The eigenvector of [[164, 8], [8, 5]].
        let slope = f64::from(found.direction[1] / found.direction[0]);
        let expected = (5.0 - 164.0 + (159.0f64.powi(2) + 256.0).sqrt()) / 16.0;
        assert!((slope - expected).abs() < 1e-6, "{slope} {expected}");
    }

    #[test]
    fn states_that_do_not_differ_give_no_direction() {
        let same: [&[f32]; 2] = [&[1.0, 2.0]; 2];
        for method in [Method::MeanDifference, Method::Pca] {
            let found = between(&same, &same, method);
            assert_eq!((found.direction, found.explained), (vec![0.0; 2], 0.0));
        }
    }
}
