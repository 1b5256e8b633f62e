//! Arithmetic on logits.

use wide::f64x8;

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
    let shift = log_sum(logits);
    logits.iter().map(|x| f64::from(*x) - shift).collect()
}

/// Natural logarithm of a token's probability.
pub fn logprob(logits: &[f32], token: Token) -> f64 {
    f64::from(logits[token.0 as usize]) - log_sum(logits)
}

/// Kullback-Leibler divergence KL(P_a || P_b) of the next-token distributions, in nats:
/// the sum over tokens of P_a ln(P_a / P_b). Infinite where P_b rules out what P_a does not.
pub fn kl(a: &[f32], b: &[f32]) -> f64 {
    let (shift_a, shift_b) = (log_sum(a), log_sum(b));
    let mut sum = f64x8::ZERO;
    for (a, b) in lanes(a).zip(lanes(b)) {
        let (a, b) = (a - shift_a, b - shift_b);
        let share = a.exp();
        // What P_a rules out adds nothing; what is no number stays in the sum.
        sum += share.simd_eq(0.0).select(f64x8::ZERO, share * (a - b));
    }
    let sum = sum.reduce_add();
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
    /// In one pass after that for the largest.
    pub fn of(logits: &[f32]) -> Self {
        let max = f64::from(largest(logits));
        let (mut sum, mut weighted) = (f64x8::ZERO, f64x8::ZERO);
        for logits in lanes(logits) {
            let below = logits - max;
            let share = below.exp();
            sum += share;
            // What is ruled out is infinitely far below, and adds nothing.
            weighted += share.simd_eq(0.0).select(f64x8::ZERO, share * below);
        }
        let (sum, weighted) = (sum.reduce_add(), weighted.reduce_add());
        let entropy = sum.ln() - weighted / sum;
        Self {
            log_sum: max + sum.ln(),
            // Rounding can make it a tiny negative number; what is no number stays none.
            entropy: if entropy < 0.0 { 0.0 } else { entropy },
        }
    }
}

/// The logarithm of the sum of the exponentials: a logit less this is the logarithm of its
/// probability.
pub fn log_sum(logits: &[f32]) -> f64 {
    let max = f64::from(largest(logits));
    let mut sum = f64x8::ZERO;
    lanes(logits).for_each(|logits| sum += (logits - max).exp());
    max + sum.reduce_add().ln()
}

/// So many logits are looked at at once.
const LANES: usize = 8;

/// All logits, several at a time; behind the last one what is ruled out.
fn lanes(logits: &[f32]) -> impl Iterator<Item = f64x8> {
    let (chunks, rest) = logits.as_chunks::<LANES>();
    let mut last = [f32::NEG_INFINITY; LANES];
    last[..rest.len()].copy_from_slice(rest);
    let last = (!rest.is_empty()).then_some(last);
    let chunks = chunks.iter().copied().chain(last);
    chunks.map(|chunk| f64x8::new(chunk.map(f64::from)))
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
        assert_eq!(Spread::of(&[0.0, -1000.0]).entropy, 0.0);
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
            let x = -1e-3 * f64::from(n);
            // Near and far ones side by side.
            let all = [
                x,
                0.5 * x,
                0.0,
                f64::NEG_INFINITY,
                -900.0,
                -x / 900.0,
                -1.0,
                x - 1.0,
            ];
            for (x, found) in all.into_iter().zip(f64x8::new(all).exp().to_array()) {
                let expected = x.exp();
                let far = (found - expected).abs();
                assert!(
                    far <= 4.0 * f64::EPSILON * expected + f64::MIN_POSITIVE,
                    "{x}: {found} is not {expected}"
                );
            }
        }
        for (x, exp) in [(0.0, 1.0), (f64::NEG_INFINITY, 0.0)] {
            assert_eq!(f64x8::splat(x).exp().to_array(), [exp; LANES]);
        }
    }

    proptest! {
        #[test]
        fn a_spread_is_that_of_the_definition(a in prop::collection::vec(-30f32..30.0, 1..200)) {
            let logprobs = log_softmax(&a);
            let entropy: f64 = logprobs.iter().map(|x| -x.exp() * x).sum();
            let spread = Spread::of(&a);
            prop_assert!((spread.entropy - entropy).abs() < 1e-12, "{spread:?} {entropy}");
            prop_assert!((f64::from(a[0]) - spread.log_sum - logprobs[0]).abs() < 1e-12);
            prop_assert_eq!(logprob(&a, Token(0)), logprobs[0]);
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
