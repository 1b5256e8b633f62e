//! Rows kept in the memory of the device that computes a graph.

use std::ptr::NonNull;

use llama_cpp_sys_2 as sys;

use crate::hook::{Held, HookFault, Node};

/// Rows that were sent to a device, of which a node's are copied there.
#[derive(Default)]
pub(super) struct DeviceRows {
    // Freed before the memory that it points to.
    tensor: Option<Kept>,
    memory: Option<Memory>,
    /// For each row kept, at which address the state lies that it is a copy of.
    sources: Vec<Option<usize>>,
}

/// Memory of a device.
struct Memory {
    buffer: NonNull<sys::ggml_backend_buffer>,
    /// Where it lies.
    kind: sys::ggml_backend_buffer_type_t,
    bytes: usize,
}

/// A tensor of a node's shape.
struct Kept {
    tensor: NonNull<sys::ggml_tensor>,
    /// Has the tensor's header, and nothing else.
    context: NonNull<sys::ggml_context>,
    width: usize,
    rows: usize,
}

// SAFETY: whoever has the struct is alone in using the pointer, and ggml's buffers may be used and
// freed from any thread.
unsafe impl Send for Memory {}
// SAFETY: as above, of a context.
unsafe impl Send for Kept {}

impl Memory {
    /// Nothing where the device has no memory left.
    fn new(kind: sys::ggml_backend_buffer_type_t, bytes: usize) -> Option<Self> {
        // SAFETY: the type of a live buffer; types live as long as the process.
        let buffer = NonNull::new(unsafe { sys::ggml_backend_buft_alloc_buffer(kind, bytes) })?;
        Some(Self {
            buffer,
            kind,
            bytes,
        })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: made by ggml, freed once.
        unsafe { sys::ggml_backend_buffer_free(self.buffer.as_ptr()) };
    }
}

impl Kept {
    /// A tensor without memory, at least one row of at least one value.
    fn new(width: usize, rows: usize) -> Option<Self> {
        let params = sys::ggml_init_params {
            // SAFETY: no arguments, returns a size.
            mem_size: unsafe { sys::ggml_tensor_overhead() },
            mem_buffer: std::ptr::null_mut(),
            no_alloc: true,
        };
        // SAFETY: room for one header, which ggml allocates.
        let context = NonNull::new(unsafe { sys::ggml_init(params) })?;
        let (w, n) = (width as i64, rows as i64);
        let f32 = sys::GGML_TYPE_F32;
        // SAFETY: the context has room for this header.
        let tensor = NonNull::new(unsafe { sys::ggml_new_tensor_2d(context.as_ptr(), f32, w, n) });
        Some(Self {
            tensor: tensor?,
            context,
            width,
            rows,
        })
    }

    fn set(&self, first: usize, values: &[f32]) {
        // SAFETY: the tensor has memory and `rows` rows of `width`; callers give whole rows of it.
        unsafe {
            sys::ggml_backend_tensor_set(
                self.tensor.as_ptr(),
                values.as_ptr().cast(),
                first * self.width * size_of::<f32>(),
                size_of_val(values),
            );
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // SAFETY: made by ggml, freed once.
        unsafe { sys::ggml_free(self.context.as_ptr()) };
    }
}

impl DeviceRows {
    /// Sees that there is a tensor of this shape in memory of this kind, and forgets what was kept
    /// in another one. Returns whether there is.
    fn make(&mut self, kind: sys::ggml_backend_buffer_type_t, width: usize, rows: usize) -> bool {
        let there = self.memory.as_ref().filter(|memory| memory.kind == kind);
        let shape = |kept: &Kept| (kept.width, kept.rows);
        if there.is_some() && self.tensor.as_ref().map(shape) == Some((width, rows)) {
            return true;
        }
        self.sources.clear();
        self.tensor = None;
        let Some(kept) = Kept::new(width, rows) else {
            return false;
        };
        // SAFETY: a live type, and a tensor with its shape set.
        let bytes = unsafe { sys::ggml_backend_buft_get_alloc_size(kind, kept.tensor.as_ptr()) };
        if there.is_none_or(|memory| memory.bytes < bytes) {
            // Freed before other memory is asked for.
            self.memory = None;
            self.memory = Memory::new(kind, bytes);
        }
        let Some(memory) = &self.memory else {
            return false;
        };
        let buffer = memory.buffer.as_ptr();
        // SAFETY: a live buffer.
        let base = unsafe { sys::ggml_backend_buffer_get_base(buffer) };
        // SAFETY: the tensor has no memory yet, and the buffer has, from its base on, what its type
        // says that the tensor needs.
        let code = unsafe { sys::ggml_backend_tensor_alloc(buffer, kept.tensor.as_ptr(), base) };
        self.tensor = (code == sys::GGML_STATUS_SUCCESS).then_some(kept);
        self.tensor.is_some()
    }
}

impl Held for DeviceRows {
    fn forget(&mut self) {
        self.sources.clear();
    }

    fn put(
        &mut self,
        node: Node<'_>,
        values: &[f32],
        sources: &[Option<usize>],
    ) -> Result<Option<usize>, HookFault> {
        let (width, rows) = node.rows_to_write(0, values)?;
        let whole = values.len() == width * rows && sources.len() == rows && rows > 0;
        let Some(buffer) = node.buffer().filter(|_| whole) else {
            return Ok(None);
        };
        // SAFETY: the buffer of a live node.
        if unsafe { sys::ggml_backend_buffer_is_host(buffer.as_ptr()) } {
            return Ok(None);
        }
        // SAFETY: as above.
        let kind = unsafe { sys::ggml_backend_buffer_get_type(buffer.as_ptr()) };
        let made = self.make(kind, width, rows);
        let Some(kept) = self.tensor.as_ref().filter(|_| made) else {
            return Ok(None);
        };
        self.sources.resize(rows, None);
        let stale = |n: usize| sources[n].is_none() || sources[n] != self.sources[n];
        let (mut first, mut sent) = (0, 0);
        while first < rows {
            let run = (first..rows).take_while(|n| stale(*n)).count();
            if run > 0 {
                kept.set(first, &values[first * width..(first + run) * width]);
            }
            sent += run;
            first += run.max(1);
        }
        self.sources.copy_from_slice(sources);
        // SAFETY: both are contiguous rows of f32, as many and as wide (`rows_to_write`, `make`), and
        // have memory; the node's may be written to.
        unsafe { sys::ggml_backend_tensor_copy(kept.tensor.as_ptr(), node.raw().as_ptr()) };
        Ok(Some(sent))
    }
}
