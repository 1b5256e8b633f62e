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

/// The `n` tokens with the largest logits, largest first.
pub fn top(logits: &[f32], n: usize) -> Vec<(Token, f32)> {
    let mut ids: Vec<usize> = (0..logits.len()).collect();
    ids.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    ids.truncate(n);
    ids.into_iter()
        .map(|id| (Token(id as i32), logits[id]))
        .collect()
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

    proptest! {
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
