//! Which of several tensors another one is a copy of, by what they hold.

use crate::ggml as sys;

use super::tensor::Tensor;

impl Tensor<'_> {
    /// What a tensor of `f32`, `f16` or `i32` holds, from its first element to its last; `None` for
    /// other types, and where it has no memory.
    fn content(&self) -> Option<Vec<u8>> {
        let element = match self.element_type() {
            sys::GGML_TYPE_F32 | sys::GGML_TYPE_I32 => 4,
            sys::GGML_TYPE_F16 => 2,
            _ => return None,
        };
        if !self.has_memory() || self.shape().contains(&0) {
            return None;
        }
        let steps = self.shape().into_iter().zip(self.strides());
        let last: usize = steps.map(|(n, step)| (n as usize - 1) * step).sum();
        let mut bytes = vec![0u8; last + element];
        // SAFETY: the tensor's last element lies `last` bytes behind its first and has so many
        // bytes (its type was checked); it has a buffer.
        unsafe { self.fill(0, &mut bytes) }
        Some(bytes)
    }

    /// Whether two tensors have one memory. The address is compared and not followed.
    fn lies_where(&self, other: Self) -> bool {
        self.has_memory() && self.get().data == other.get().data
    }
}

/// The one of several tensors that a copy was made of, by its place among them: the latest of them
/// stands first. Nothing where that cannot be told.
///
/// What lies in the copy's own buffer is not copied. Where several lie at one address, which is one
/// memory used again, only the latest of them was there when the copy was made.
pub(super) fn copied_from<'a>(copy: Tensor<'a>, alike: &[Tensor<'a>]) -> Option<usize> {
    let elsewhere = |t: &&Tensor<'a>| t.has_memory() && t.get().buffer != copy.get().buffer;
    let others: Vec<_> = alike.iter().filter(elsewhere).collect();
    let latest = match latest_of_one_memory(&others) {
        Some(latest) => latest,
        None => {
            let held = copy.content()?;
            let holds = |t: &&Tensor<'a>| t.content().as_ref() == Some(&held);
            let holders: Vec<_> = others.into_iter().filter(holds).collect();
            latest_of_one_memory(&holders)?
        }
    };
    alike.iter().position(|t| t.id() == latest.id())
}

fn latest_of_one_memory<'a>(tensors: &[&Tensor<'a>]) -> Option<Tensor<'a>> {
    let (latest, earlier) = tensors.split_first()?;
    let one = earlier.iter().all(|t| t.lies_where(**latest));
    one.then_some(**latest)
}
