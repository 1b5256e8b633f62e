//! Tensors without memory, to try out what only looks at a graph.

use crate::ggml as sys;

use super::Node;

/// Tensors, of shape [1, 1, 1, 1] at first, known by number.
#[derive(Default)]
pub(super) struct Graph(Vec<*mut sys::ggml_tensor>);

impl Graph {
    fn add(&mut self, op: sys::ggml_op, sources: &[usize]) -> usize {
        // SAFETY: pointers of null and numbers of zero are a tensor.
        let mut tensor: sys::ggml_tensor = unsafe { std::mem::zeroed() };
        tensor.op = op;
        tensor.type_ = sys::GGML_TYPE_F32;
        tensor.ne = [1; 4];
        tensor.nb = [4; 4];
        for (to, from) in tensor.src.iter_mut().zip(sources) {
            *to = self.0[*from];
        }
        self.0.push(Box::into_raw(Box::new(tensor)));
        self.0.len() - 1
    }

    pub fn leaf(&mut self) -> usize {
        self.add(sys::GGML_OP_NONE, &[])
    }

    pub fn node(&mut self, op: sys::ggml_op, sources: &[usize]) -> usize {
        self.add(op, sources)
    }

    /// Makes a tensor a view of another.
    pub fn view(&mut self, of: usize, viewed: usize) {
        let viewed = self.0[viewed];
        // SAFETY: made by `add`; no reference to it is held.
        let field = unsafe { &raw mut (*self.0[of]).view_src };
        // SAFETY: as above.
        unsafe { field.write(viewed) };
    }

    pub fn shape(&mut self, n: usize, shape: [i64; 4]) {
        // SAFETY: made by `add`; no reference to it is held.
        let field = unsafe { &raw mut (*self.0[n]).ne };
        // SAFETY: as above.
        unsafe { field.write(shape) };
    }

    /// Says where a tensor lies: in a buffer of this number, at this address. There is no memory.
    pub fn lay(&mut self, n: usize, buffer: usize, address: usize) {
        // SAFETY: made by `add`; no reference to it is held.
        let field = unsafe { &raw mut (*self.0[n]).buffer };
        // SAFETY: as above.
        unsafe { field.write(std::ptr::without_provenance_mut(buffer)) };
        // SAFETY: as above.
        let field = unsafe { &raw mut (*self.0[n]).data };
        // SAFETY: as above.
        unsafe { field.write(std::ptr::without_provenance_mut(address)) };
    }

    pub fn name(&mut self, n: usize, name: &str) {
        for (at, byte) in name.bytes().chain([0]).enumerate() {
            // SAFETY: made by `add`; no reference to it is held.
            let field = unsafe { &raw mut (*self.0[n]).name };
            let place = field.cast::<u8>().wrapping_add(at);
            // SAFETY: names of tests are shorter than 64 bytes.
            unsafe { place.write(byte) };
        }
    }

    pub fn get(&self, n: usize) -> Node<'_> {
        // SAFETY: made by `add`, as all that it points to; lives as long as the graph, in which
        // nothing else is done meanwhile.
        let node = unsafe { Node::from_raw(self.0[n]) };
        node.expect("not null")
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        for tensor in self.0.drain(..) {
            // SAFETY: made by `Box::into_raw`, dropped once.
            drop(unsafe { Box::from_raw(tensor) });
        }
    }
}
