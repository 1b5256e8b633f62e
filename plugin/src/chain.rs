//! The tensors of a graph, before any of them is computed.
//!
//! The callback is asked about one node after the other, and a node names its operands only, so
//! where positions are and whose logits are wanted would be known too late. But all tensors of a
//! graph are made in one ggml context, which chains them; `layout.rs` proves how.

use std::ptr::null_mut;

use crate::abi::ggml_tensor;

/// `struct ggml_object`, which precedes every tensor of a context.
#[repr(C)]
pub struct Header {
    offset: usize,
    size: usize,
    next: *mut Header,
    kind: u32,
    padding: [u8; 4],
}

/// `GGML_OBJECT_TYPE_TENSOR`.
const TENSOR: u32 = 0;

/// More objects than any graph has.
const LIMIT: usize = 1 << 20;

impl Header {
    /// # Safety
    /// `tensor` is a live tensor made in a context (weights and graph nodes are).
    unsafe fn of(tensor: *mut ggml_tensor) -> *mut Header {
        // SAFETY: a context's tensor has its header right before it.
        unsafe { tensor.cast::<Header>().sub(1) }
    }

    /// The next tensor made in the same context, or null.
    ///
    /// # Safety
    /// `tensor` is a live tensor made in a context.
    pub unsafe fn next_tensor(tensor: *mut ggml_tensor) -> *mut ggml_tensor {
        // SAFETY: the caller's promise.
        let mut header = unsafe { Header::of(tensor) };
        for _ in 0..LIMIT {
            // SAFETY: headers of a live context are live, as `layout.rs` proved.
            header = unsafe { (*header).next };
            if header.is_null() {
                return null_mut();
            }
            // SAFETY: as above.
            let kind = unsafe { (*header).kind };
            if kind == TENSOR {
                // SAFETY: what it heads lies right behind it.
                return unsafe { header.add(1) }.cast();
            }
        }
        null_mut()
    }
}

/// `first` and the tensors made after it in its context, at most `limit`.
///
/// # Safety
/// `first` is a live tensor made in a context.
pub unsafe fn from(first: *mut ggml_tensor, limit: usize) -> Vec<*mut ggml_tensor> {
    let mut tensors = vec![first];
    while tensors.len() < limit.min(LIMIT) {
        // SAFETY: the chain of a live context's tensors, which begins with the caller's.
        let next = unsafe { Header::next_tensor(tensors[tensors.len() - 1]) };
        if next.is_null() {
            break;
        }
        tensors.push(next);
    }
    tensors
}
