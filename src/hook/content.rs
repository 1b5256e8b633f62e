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

    /// Whether two tensors have one memory. The address is compared and not followed; some devices
    /// count it from the beginning of each buffer (`vk_ptr_base` of ggml-vulkan.cpp).
    fn lies_where(&self, other: Self) -> bool {
        let (here, there) = (self.get(), other.get());
        here.buffer == there.buffer && here.data == there.data
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hook::fake::Graph;

    /// None of these memories is read: the copy has none.
    #[test]
    fn one_address_is_one_memory_in_one_buffer() {
        let mut graph = Graph::default();
        let [copy, latest, earlier] = [(); 3].map(|()| graph.leaf());
        let mut told = |places: [(usize, usize); 2]| {
            for (node, (buffer, address)) in [latest, earlier].into_iter().zip(places) {
                graph.lay(node, buffer, address);
            }
            let alike = [latest, earlier].map(|node| *graph.get(node));
            copied_from(*graph.get(copy), &alike)
        };
        assert_eq!(told([(1, 64), (1, 64)]), Some(0));
        assert_eq!(told([(1, 64), (1, 128)]), None);
        assert_eq!(told([(1, 64), (2, 64)]), None);
        // What lies nowhere was not copied.
        assert_eq!(told([(0, 64), (2, 64)]), Some(1));
    }
}
