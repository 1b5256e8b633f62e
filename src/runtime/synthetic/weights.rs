//! Random weights, each tensor's from its name and the model's seed alone.

use std::ffi::{CStr, c_void};

use llama_cpp_sys_2 as sys;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::Architecture;

/// How tensors are filled.
pub(super) struct Filling {
    pub(super) seed: u64,
    /// The layer from which the projection after attention is zero.
    pub(super) silent_from: Option<u32>,
    pub(super) architecture: Architecture,
}

impl Filling {
    fn is_silent(&self, name: &str) -> bool {
        let Some((layer, part)) = name
            .strip_prefix("blk.")
            .and_then(|rest| rest.split_once('.'))
        else {
            return false;
        };
        let from = self.silent_from.unwrap_or(u32::MAX);
        let is_output = ["attn_output.weight", "attn_output.bias"].contains(&part);
        let layer = layer.parse::<u32>();
        let attends = |layer: u32| layer >= from && self.architecture.has_attention(layer);
        is_output && layer.is_ok_and(attends)
    }
}

/// Fills one tensor, seeded by its name so that the order of calls does not matter.
pub(super) unsafe extern "C" fn fill(tensor: *mut sys::ggml_tensor, user_data: *mut c_void) {
    // SAFETY: the user data is the filling that `build` passed, which outlives the call.
    let filling = unsafe { &*user_data.cast::<Filling>() };
    // SAFETY: llama.cpp passes a live tensor with allocated memory.
    let t = unsafe { &*tensor };
    // SAFETY: ggml keeps names NUL-terminated.
    let name = unsafe { CStr::from_ptr(t.name.as_ptr()) }.to_string_lossy();
    let n: i64 = t.ne.iter().product();
    let values = if filling.is_silent(&name) {
        vec![0.0; n as usize]
    } else {
        weights(&name, filling.seed, n as usize, t.ne[0] as usize)
    };
    if t.type_ == sys::GGML_TYPE_F32 {
        // SAFETY: the tensor holds n f32, as many as `values`.
        unsafe {
            sys::ggml_backend_tensor_set(
                tensor,
                values.as_ptr().cast(),
                0,
                values.len() * size_of::<f32>(),
            );
        }
    }
}

/// What a tensor's weights are drawn from: its name and the model's seed alone decide it.
pub(super) fn generator(name: &str, seed: u64) -> ChaCha8Rng {
    // FNV-1a.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
    });
    ChaCha8Rng::seed_from_u64(hash ^ seed.rotate_left(32))
}

fn weights(name: &str, seed: u64, n: usize, width: usize) -> Vec<f32> {
    let mut rng = generator(name, seed);
    let shape = |x: f32| -> f32 {
        if name.ends_with("scale") || name.ends_with(".scales") || name.contains("rope") {
            1.0
        } else if (name.contains("norm") || name.contains("_ln.")) && name.ends_with("weight") {
            1.0 + 0.1 * x
        } else if name.ends_with(".bias") {
            0.05 * x
        } else if name.contains("token_embd") || name.contains("position_embd") {
            0.5 * x
        } else if name.contains("ssm_a") {
            -(0.5 + x.abs())
        } else {
            x / (width as f32).sqrt()
        }
    };
    (0..n)
        .map(|_| shape(StandardNormal.sample(&mut rng)))
        .collect()
}
