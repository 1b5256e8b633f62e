//! Numbers in sentences.

/// A layer with as many digits as its interval leaves meaningful.
pub(super) fn digits(low: f64, high: f64) -> usize {
    if high - low < 0.25 { 2 } else { 1 }
}

/// A number that is beyond a limit, with as few digits as show that it is.
pub(super) fn beyond(number: f64, limit: f64) -> String {
    let texts = (0..3).map(|by| format!("{number:.by$}"));
    let mut showing = texts.filter(|text| text.parse::<f64>().is_ok_and(|shown| shown > limit));
    showing.next().unwrap_or_else(|| format!("{number:.3}"))
}

/// The interval, with ends beyond the swept layers in words.
pub(super) fn ends(low: f64, high: f64, layers: &[u32]) -> String {
    let (first, last) = (layers.first().unwrap_or(&0), layers.last().unwrap_or(&0));
    let by = digits(low, high);
    let low = match low.is_finite() {
        true => format!("{low:.by$}"),
        false => format!("below {first}"),
    };
    let high = match high.is_finite() {
        true => format!("{high:.by$}"),
        false => format!("above {last}"),
    };
    format!("{low} to {high}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_a_limit_shows_that_it_is() {
        for (number, text) in [
            (12.4, "12"),
            (10.6, "11"),
            (10.4, "10.4"),
            (10.04, "10.04"),
            (10.0, "10.000"),
        ] {
            assert_eq!(beyond(number, 10.0), text);
        }
    }
}
