//! Sizes of a llama-shaped random model: which there can be, and which tensors they have.

use super::ShapeError;

/// Numbers of a `Q8_0` block: those of a row are a multiple of it.
const BLOCK: u32 = 32;
/// llama.cpp's own limit.
const MOST_LAYERS: u32 = 512;
/// Larger numbers are taken for mistakes.
const MOST: u32 = 1 << 20;

/// The size of a random model of llama's architecture. Its numbers are those of the metadata.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Layers.
    pub n_layer: u32,
    /// Width of the residual stream.
    pub n_embd: u32,
    /// Width of the MLP.
    pub n_ff: u32,
    /// Heads of queries.
    pub n_head: u32,
    /// Heads of keys and values.
    pub n_head_kv: u32,
    /// Tokens at least: where the vocabulary has fewer, unused ones follow them.
    pub n_vocab: u32,
    /// Base of the rotation by position.
    pub rope_base: f32,
    /// Positions that the model says it was trained on.
    pub n_ctx: u32,
}

impl Shape {
    /// Mistral 7B v0.1's.
    pub const MISTRAL_7B: Self = Self {
        n_layer: 32,
        n_embd: 4096,
        n_ff: 14336,
        n_head: 32,
        n_head_kv: 8,
        n_vocab: 32000,
        rope_base: 10_000.0,
        n_ctx: 32768,
    };

    /// Llama 3 8B's: the same layers under four times the vocabulary.
    pub const LLAMA_3_8B: Self = Self {
        n_vocab: 128_256,
        rope_base: 500_000.0,
        n_ctx: 8192,
        ..Self::MISTRAL_7B
    };

    /// Four layers, as wide as k-quants need it; written in a second.
    pub const TINY: Self = Self {
        n_layer: 4,
        n_embd: 256,
        n_ff: 512,
        n_head: 4,
        n_head_kv: 2,
        n_vocab: 1,
        rope_base: 10_000.0,
        n_ctx: 4096,
    };

    /// That there can be such a model.
    ///
    /// # Errors
    /// [`ShapeError::Impossible`], which names the number to change.
    pub fn check(&self) -> Result<(), ShapeError> {
        let fail = |why: String| Err(ShapeError::Impossible(why));
        for (name, n, most) in [
            ("`layers`", self.n_layer, MOST_LAYERS),
            ("`width`", self.n_embd, MOST),
            ("`ffn`", self.n_ff, MOST),
            ("`heads`", self.n_head, MOST),
            ("`kv_heads`", self.n_head_kv, MOST),
            ("`vocabulary`", self.n_vocab, MOST),
            ("`context`", self.n_ctx, MOST),
        ] {
            if !(1..=most).contains(&n) {
                return fail(format!("{n} is not between 1 and {most} ({name})"));
            }
        }
        for (what, name, n) in [
            ("a width", "`width`", self.n_embd),
            ("an MLP", "`ffn`", self.n_ff),
        ] {
            if !n.is_multiple_of(BLOCK) {
                return fail(format!(
                    "{what} of {n} is no multiple of {BLOCK}, as Q8_0 needs it ({name})"
                ));
            }
        }
        let (width, heads, shared) = (self.n_embd, self.n_head, self.n_head_kv);
        if !width.is_multiple_of(heads) || !(width / heads).is_multiple_of(2) {
            return fail(format!(
                "{heads} heads do not divide a width of {width} into equal, even parts (`heads`, `width`)"
            ));
        }
        if !heads.is_multiple_of(shared) {
            return fail(format!(
                "{heads} heads cannot share {shared} heads of keys and values equally (`kv_heads`, `heads`)"
            ));
        }
        if !(self.rope_base.is_finite() && self.rope_base > 1.0) {
            return fail(format!(
                "{} is no base of a rotation: give one above 1 (`rope_base`)",
                self.rope_base
            ));
        }
        Ok(())
    }

    /// The tensors of a model with so many tokens, in the order of the file.
    pub(super) fn tensors(&self, tokens: u32) -> Vec<Tensor> {
        let width = self.n_embd;
        let keys = width / self.n_head * self.n_head_kv;
        let mut all = vec![
            Tensor::matrix("token_embd", width, tokens),
            Tensor::norm("output_norm", width),
            Tensor::matrix("output", width, tokens),
        ];
        for layer in 0..self.n_layer {
            let named = |part: &str| format!("blk.{layer}.{part}");
            all.extend([
                Tensor::norm(&named("attn_norm"), width),
                Tensor::matrix(&named("attn_q"), width, width),
                Tensor::matrix(&named("attn_k"), width, keys),
                Tensor::matrix(&named("attn_v"), width, keys),
                Tensor::matrix(&named("attn_output"), width, width),
                Tensor::norm(&named("ffn_norm"), width),
                Tensor::matrix(&named("ffn_gate"), width, self.n_ff),
                Tensor::matrix(&named("ffn_up"), width, self.n_ff),
                Tensor::matrix(&named("ffn_down"), self.n_ff, width),
            ]);
        }
        all
    }
}

/// A tensor of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tensor {
    pub(super) name: String,
    /// Numbers in a row.
    pub(super) width: u32,
    /// Rows of a matrix; norms have none.
    pub(super) rows: Option<u32>,
}

impl Tensor {
    fn matrix(name: &str, width: u32, rows: u32) -> Self {
        Self {
            name: format!("{name}.weight"),
            width,
            rows: Some(rows),
        }
    }

    fn norm(name: &str, width: u32) -> Self {
        Self {
            name: format!("{name}.weight"),
            width,
            rows: None,
        }
    }

    /// Its numbers.
    pub(super) fn numbers(&self) -> u64 {
        u64::from(self.width) * u64::from(self.rows.unwrap_or(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_models_they_are_named_after() {
        let weights = |shape: Shape| -> u64 {
            let tensors = shape.tensors(shape.n_vocab);
            tensors.iter().map(Tensor::numbers).sum()
        };
        assert_eq!(weights(Shape::MISTRAL_7B), 7_241_732_096);
        assert_eq!(weights(Shape::LLAMA_3_8B), 8_030_261_248);
        assert_eq!(Shape::MISTRAL_7B.tensors(32000).len(), 291);
        for shape in [Shape::MISTRAL_7B, Shape::LLAMA_3_8B, Shape::TINY] {
            shape.check().unwrap();
        }
    }

    #[test]
    fn an_impossible_shape_is_told_by_the_number_to_change() {
        let tiny = Shape::TINY;
        for (shape, names) in [
            (Shape { n_layer: 0, ..tiny }, "(`layers`)"),
            (
                Shape {
                    n_layer: 513,
                    ..tiny
                },
                "(`layers`)",
            ),
            (
                Shape {
                    n_embd: 100,
                    ..tiny
                },
                "(`width`)",
            ),
            (Shape { n_ff: 48, ..tiny }, "(`ffn`)"),
            (Shape { n_head: 3, ..tiny }, "(`heads`, `width`)"),
            (
                Shape {
                    n_head: 256,
                    ..tiny
                },
                "(`heads`, `width`)",
            ),
            (
                Shape {
                    n_head_kv: 3,
                    ..tiny
                },
                "(`kv_heads`, `heads`)",
            ),
            (
                Shape {
                    n_head_kv: 8,
                    ..tiny
                },
                "(`kv_heads`, `heads`)",
            ),
            (
                Shape {
                    rope_base: f32::NAN,
                    ..tiny
                },
                "(`rope_base`)",
            ),
            (Shape { n_vocab: 0, ..tiny }, "(`vocabulary`)"),
        ] {
            let error = shape.check().unwrap_err().to_string();
            assert!(error.ends_with(names), "{error}: {names}");
        }
    }
}
