//! Arithmetic on logits.

use crate::runtime::Token;

/// The token with the largest logit; the smaller id on a tie.
pub fn argmax(logits: &[f32]) -> Token {
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = id;
        }
    }
    Token(best as i32)
}

/// The token with the largest logit, and by how much it exceeds the second largest: infinitely
/// where there is no second.
pub fn likeliest(logits: &[f32]) -> (Token, f32) {
    let token = argmax(logits);
    let best = token.0 as usize;
    let others = logits.iter().enumerate().filter(|(id, _)| *id != best);
    let second = others.fold(f32::NEG_INFINITY, |most, (_, logit)| most.max(*logit));
    (token, logits[best] - second)
}

/// Natural logarithms of the probabilities.
pub fn log_softmax(logits: &[f32]) -> Vec<f64> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let max = f64::from(max);
    let sum: f64 = logits.iter().map(|x| (f64::from(*x) - max).exp()).sum();
    let shift = max + sum.ln();
    logits.iter().map(|x| f64::from(*x) - shift).collect()
}

/// Kullback-Leibler divergence KL(P_a || P_b) of the next-token distributions, in nats:
/// the sum over tokens of P_a ln(P_a / P_b). Infinite where P_b rules out what P_a does not.
pub fn kl(a: &[f32], b: &[f32]) -> f64 {
    let (a, b) = (log_softmax(a), log_softmax(b));
    // Not `> 0.0`: what is no number stays in the sum.
    let possible = a.iter().zip(&b).filter(|(a, _)| a.exp() != 0.0);
    let sum: f64 = possible.map(|(a, b)| a.exp() * (a - b)).sum();
    // Rounding can make the divergence of near-equal distributions a tiny negative number; what
    // is no number stays none (`f64::max` would make it 0).
    if sum < 0.0 { 0.0 } else { sum }
}

/// What lies between logits and the distribution that they stand for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The logarithm of the sum of their exponentials: a logit less this is the logarithm of its
    /// probability.
    pub log_sum: f64,
    /// The distribution's entropy in nats: 0 where one token is certain, the logarithm of the
    /// vocabulary's size where all are alike.
    pub entropy: f64,
}

impl Spread {
    /// In one pass, with exponentials of single precision: right to about 1e-6. Lane by lane, as
    /// `largest`.
    pub fn of(logits: &[f32]) -> Self {
        let max = largest(logits);
        let (mut sums, mut weighted) = ([0.0f64; LANES], [0.0f64; LANES]);
        let mut add = |lane: usize, logit: f32| {
            let below = logit - max;
            // What is ruled out is infinitely far below, and adds nothing.
            let far = below < FAR_BELOW;
            let share = if far { 0.0 } else { exp(below) };
            sums[lane] += f64::from(share);
            weighted[lane] += f64::from(if far { 0.0 } else { share * below });
        };
        let (chunks, rest) = logits.as_chunks::<LANES>();
        for chunk in chunks {
            (0..LANES).for_each(|lane| add(lane, chunk[lane]));
        }
        rest.iter().for_each(|logit| add(0, *logit));
        let (sum, weighted): (f64, f64) = (sums.iter().sum(), weighted.iter().sum());
        let entropy = sum.ln() - weighted / sum;
        Self {
            log_sum: f64::from(max) + sum.ln(),
            // Rounding can make it a tiny negative number; what is no number stays none.
            entropy: if entropy < 0.0 { 0.0 } else { entropy },
        }
    }
}

/// So many logits are looked at at once.
const LANES: usize = 16;
/// Below this an exponential is 0 beside 1, in either precision.
const FAR_BELOW: f32 = -87.0;

/// The exponential of a number from [`FAR_BELOW`] to 0, within three units of the last place. It
/// has no branches and calls nothing, so that the compiler can compute several at once, as it
/// cannot with the system's: e^x is 2^n e^r with a whole n and |r| at most ln 2 / 2, and e^r a
/// polynomial (Moshier's Cephes).
fn exp(x: f32) -> f32 {
    // Added to a number, it leaves the nearest whole one in the low bits.
    const WHOLE: f32 = 12_582_912.0;
    // ln 2 in two parts, of which the first is exact in few bits.
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    const TERMS: [f32; 6] = [
        1.987_569_1e-4,
        1.398_199_9e-3,
        8.333_452e-3,
        4.166_579_6e-2,
        1.666_666_6e-1,
        0.5,
    ];
    let shifted = x * std::f32::consts::LOG2_E + WHOLE;
    let n = shifted - WHOLE;
    let r = x - n * LN_2.0 - n * LN_2.1;
    let series = TERMS.iter().fold(0.0, |sum, term| sum * r + term);
    let power = (shifted.to_bits() << 23).wrapping_add(1f32.to_bits());
    (series * r * r + r + 1.0) * f32::from_bits(power)
}

/// The largest logit. Lane by lane, so that the compiler can compare several at once.
fn largest(logits: &[f32]) -> f32 {
    let (chunks, rest) = logits.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, logit) in lanes.iter_mut().zip(chunk) {
            *lane = lane.max(*logit);
        }
    }
    lanes
        .iter()
        .chain(rest)
        .copied()
        .fold(f32::NEG_INFINITY, f32::max)
}

/// The `n` tokens with the largest logits, largest first; the smaller id on a tie.
pub fn top(logits: &[f32], n: usize) -> Vec<(Token, f32)> {
    let mut best: Vec<(Token, f32)> = Vec::with_capacity(n + 1);
    let mut least = f32::NEG_INFINITY;
    for (id, &logit) in logits.iter().enumerate() {
        // Most are told by this alone.
        if logit < least {
            continue;
        }
        let at = best.partition_point(|(_, other)| other.total_cmp(&logit).is_ge());
        best.insert(at, (Token(id as i32), logit));
        best.truncate(n);
        if best.len() == n {
            least = best.last().map_or(f32::INFINITY, |(_, logit)| *logit);
        }
    }
    best
}

/// The rank of a token: 1 is the likeliest.
pub fn rank(logits: &[f32], token: Token) -> usize {
    let own = logits[token.0 as usize];
    1 + logits.iter().filter(|x| **x > own).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_values() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), Token(1));
        assert_eq!(rank(&[1.0, 3.0, 2.0], Token(2)), 2);
        assert_eq!(likeliest(&[1.0, 3.0, 2.5]), (Token(1), 0.5));
        assert_eq!(likeliest(&[3.0, 3.0]), (Token(0), 0.0));
        assert_eq!(likeliest(&[3.0]), (Token(0), f32::INFINITY));
        assert_eq!(top(&[1.0, 3.0, 2.0], 2), [(Token(1), 3.0), (Token(2), 2.0)]);
        assert_eq!(
            top(&[3.0, 1.0, 3.0, 3.0], 2),
            [(Token(0), 3.0), (Token(2), 3.0)]
        );
        assert_eq!(top(&[3.0], 2), [(Token(0), 3.0)]);
        assert_eq!(top(&[3.0], 0), []);
        let even = Spread::of(&[2.0, 2.0, f32::NEG_INFINITY]);
        assert!((even.log_sum - 2.0 - 2f64.ln()).abs() < 1e-6);
        assert!((even.entropy - 2f64.ln()).abs() < 1e-6);
        assert_eq!(Spread::of(&[0.0, -200.0]).entropy, 0.0);
        assert!(Spread::of(&[0.0, f32::NAN]).entropy.is_nan());
        let p = log_softmax(&[0.0, 0.0]);
        assert!((p[0] - 0.5f64.ln()).abs() < 1e-12);
        // P = (3/4, 1/4), Q = (1/2, 1/2): 3/4 ln(3/2) + 1/4 ln(1/2).
        let expected = 0.75 * 1.5f64.ln() + 0.25 * 0.5f64.ln();
        assert!((kl(&[3f32.ln(), 0.0], &[0.0, 0.0]) - expected).abs() < 1e-7);
        // A token that is ruled out by both, by the second alone, by the first alone.
        let out = f32::NEG_INFINITY;
        assert!((kl(&[3f32.ln(), 0.0, out], &[0.0, 0.0, out]) - expected).abs() < 1e-7);
        assert_eq!(kl(&[0.0, 0.0], &[0.0, out]), f64::INFINITY);
        assert!((kl(&[0.0, out], &[0.0, 0.0]) - 2f64.ln()).abs() < 1e-7);
        assert!(kl(&[0.0, f32::NAN], &[0.0, 0.0]).is_nan());
    }

    #[test]
    fn exponentials_are_the_system_s() {
        for n in 0..=870_000 {
            let x = -1e-4 * n as f32;
            let (found, expected) = (exp(x), f64::from(x).exp());
            let off = (f64::from(found) - expected).abs() / expected;
            assert!(
                off < 3.0 * f64::from(f32::EPSILON),
                "{x}: {found} is not {expected}"
            );
        }
        assert_eq!(exp(0.0), 1.0);
    }

    proptest! {
        #[test]
        fn a_spread_is_that_of_the_definition(a in prop::collection::vec(-30f32..30.0, 1..200)) {
            let logprobs = log_softmax(&a);
            let entropy: f64 = logprobs.iter().map(|x| -x.exp() * x).sum();
            let spread = Spread::of(&a);
            prop_assert!((spread.entropy - entropy).abs() < 1e-5, "{spread:?} {entropy}");
            prop_assert!((f64::from(a[0]) - spread.log_sum - logprobs[0]).abs() < 1e-5);
        }

        #[test]
        fn the_best_are_those_of_a_sort(a in prop::collection::vec(-3i8..3, 1..50), n in 0usize..9) {
            let logits: Vec<f32> = a.iter().map(|x| f32::from(*x)).collect();
            let mut ids: Vec<usize> = (0..logits.len()).collect();
            ids.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
            let best: Vec<Token> = ids.into_iter().take(n).map(|id| Token(id as i32)).collect();
            let found: Vec<Token> = top(&logits, n).into_iter().map(|(token, _)| token).collect();
            prop_assert_eq!(found, best);
        }

        #[test]
        fn divergence_is_not_negative_and_ignores_shifts(
            a in prop::collection::vec(-20f32..20.0, 2..50), shift in -5f32..5.0, seed: u64) {
            let b: Vec<f32> = a.iter().enumerate()
                .map(|(i, x)| x + ((seed >> (i % 60)) & 1) as f32).collect();
            prop_assert!(kl(&a, &b) >= 0.0);
            let shifted: Vec<f32> = a.iter().map(|x| x + shift).collect();
            prop_assert!(kl(&a, &shifted) < 1e-5);
            let total: f64 = log_softmax(&a).iter().map(|x| x.exp()).sum();
            prop_assert!((total - 1.0).abs() < 1e-9);
        }
    }
}
