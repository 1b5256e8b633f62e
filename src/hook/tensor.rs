//! A ggml tensor as the callback sees it: shape, edges, and rows read through the backend, never
//! through a raw data pointer (the memory may not be the host's). What can be written to is a
//! [`Node`](super::Node).

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;

use crate::ggml as sys;

use super::HookFault;

/// A tensor, valid for the duration of one callback. It can be read.
#[derive(Clone, Copy)]
pub struct Tensor<'a> {
    pub(super) raw: NonNull<sys::ggml_tensor>,
    life: PhantomData<&'a sys::ggml_tensor>,
}

/// `GGML_TENSOR_FLAG_INPUT` of ggml.h.
const FLAG_INPUT: i32 = 1;

impl<'a> Tensor<'a> {
    /// Wraps a pointer to a tensor.
    ///
    /// # Safety
    /// `raw` is null or a live `ggml_tensor` for `'a`, and so is every tensor that is reached from
    /// it through `src` and `view_src`, in any number of steps. Nothing writes to their headers in
    /// `'a` but [`Node::skip`](super::Node::skip) and what undoes it.
    pub unsafe fn from_raw(raw: *mut sys::ggml_tensor) -> Option<Self> {
        NonNull::new(raw).map(|raw| Self {
            raw,
            life: PhantomData,
        })
    }

    pub(super) fn get(&self) -> &'a sys::ggml_tensor {
        // SAFETY: `from_raw` requires a live tensor for 'a; the scheduler does not move or free
        // graph nodes while the callback runs.
        unsafe { self.raw.as_ref() }
    }

    /// Identity of the tensor within one evaluation of a graph.
    pub fn id(&self) -> usize {
        self.raw.as_ptr() as usize
    }

    /// The tensor's name, as llama.cpp's graph builders set it.
    pub fn name(&self) -> String {
        // SAFETY: ggml keeps `name` NUL-terminated (ggml_set_name, ggml_format_name).
        let name = unsafe { CStr::from_ptr(self.get().name.as_ptr()) };
        name.to_string_lossy().into_owned()
    }

    /// Whether the tensor has this name, without allocating.
    pub fn is_named(&self, name: &str) -> bool {
        // SAFETY: as in `name`.
        let own = unsafe { CStr::from_ptr(self.get().name.as_ptr()) };
        own.to_bytes() == name.as_bytes()
    }

    /// The operation that makes the tensor (`GGML_OP_*`).
    pub fn op(&self) -> sys::ggml_op {
        sys::operation(self.get().op)
    }

    /// The element type (`GGML_TYPE_*`).
    pub fn element_type(&self) -> sys::ggml_type {
        sys::element_type(self.get().type_)
    }

    /// Elements in each dimension, innermost first.
    pub fn shape(&self) -> [i64; 4] {
        self.get().ne
    }

    /// Bytes from element to element in each dimension.
    pub fn strides(&self) -> [usize; 4] {
        self.get().nb
    }

    /// Whether llama.cpp marked the tensor as a graph input.
    pub fn is_input(&self) -> bool {
        self.get().flags & FLAG_INPUT != 0
    }

    /// The operands, without gaps. A cast names itself as the place to write to (ggml_cast),
    /// which is no operand.
    pub fn sources(&self) -> impl Iterator<Item = Tensor<'a>> + use<'a> {
        let own = self.raw.as_ptr();
        let sources = self.get().src.into_iter().filter(move |raw| *raw != own);
        sources.filter_map(|raw| {
            // SAFETY: the sources of a live node are live (rule of `from_raw`).
            unsafe { Tensor::from_raw(raw) }
        })
    }

    /// The tensor whose memory this one is a view of.
    pub fn view_source(&self) -> Option<Tensor<'a>> {
        // SAFETY: the viewed tensor of a live view is live (rule of `from_raw`).
        unsafe { Tensor::from_raw(self.get().view_src) }
    }

    /// Whether no node makes the tensor: a weight, an input, a cache, or a copy that the scheduler
    /// made of one. (A node that is skipped has no operation either, but has operands.)
    pub fn is_leaf(&self) -> bool {
        self.op() == sys::GGML_OP_NONE && self.sources().next().is_none()
    }

    /// Whether this is a copy that the scheduler made of another backend's tensor
    /// (`backend#name#n`, ggml_backend_sched_split_graph).
    pub fn is_copy(&self) -> bool {
        self.op() == sys::GGML_OP_NONE && self.name().matches('#').count() >= 2
    }

    pub(super) fn has_memory(&self) -> bool {
        let own = !self.get().buffer.is_null();
        own || self
            .view_source()
            .is_some_and(|viewed| !viewed.get().buffer.is_null())
    }

    /// (row width, rows) of a two-dimensional contiguous tensor of `f32`.
    ///
    /// # Errors
    /// [`HookFault::Layout`] for anything else: it is refused rather than guessed at.
    pub fn rows_f32(&self) -> Result<(usize, usize), HookFault> {
        let t = self.get();
        let contiguous = t.nb[0] == 4 && t.nb[1] == 4 * t.ne[0] as usize;
        let flat = t.ne[2] == 1 && t.ne[3] == 1;
        if self.element_type() != sys::GGML_TYPE_F32 || !contiguous || !flat || !self.has_memory() {
            return Err(HookFault::Layout {
                tensor: self.name(),
                shape: t.ne,
            });
        }
        Ok((t.ne[0] as usize, t.ne[1] as usize))
    }

    /// Fills `out` with what lies from byte `offset` on.
    ///
    /// # Safety
    /// So many bytes lie there within the tensor, which has a buffer, and are values of `T`.
    pub(super) unsafe fn fill<T: Copy>(&self, offset: usize, out: &mut [T]) {
        let (to, bytes) = (out.as_mut_ptr().cast(), size_of_val(out));
        // SAFETY: the caller's promise; `out` is as long as is read.
        unsafe { sys::ggml_backend_tensor_get(self.raw.as_ptr(), to, offset, bytes) };
    }

    /// Reads the whole tensor into `out` (see [`Self::rows_f32`]).
    ///
    /// # Errors
    /// [`HookFault::Layout`].
    pub fn read_f32(&self, out: &mut Vec<f32>) -> Result<(usize, usize), HookFault> {
        let (width, rows) = self.rows_f32()?;
        out.resize(width * rows, 0.0);
        if rows > 0 {
            // SAFETY: `rows_f32` checked type, contiguity and that a buffer is there, so
            // width * rows * 4 bytes from offset 0 lie within the tensor; `out` is that long.
            unsafe { self.fill(0, out) }
        }
        Ok((width, rows))
    }

    /// Reads the marked rows one after the other into `out`, one transfer for each contiguous run
    /// (see [`Self::rows_f32`]).
    ///
    /// # Errors
    /// [`HookFault::Layout`], also when there are not as many rows.
    pub fn read_rows(&self, wanted: &[bool], out: &mut Vec<f32>) -> Result<(), HookFault> {
        let (width, rows) = self.rows_f32()?;
        if wanted.len() != rows {
            return Err(HookFault::Layout {
                tensor: self.name(),
                shape: self.shape(),
            });
        }
        let n = wanted.iter().filter(|wanted| **wanted).count();
        out.resize(width * n, 0.0);
        let (mut first, mut rest) = (0, &mut out[..]);
        while first < rows {
            let run = wanted[first..].iter().take_while(|w| **w).count();
            let (values, after) = rest.split_at_mut(run * width);
            if !values.is_empty() {
                // SAFETY: `rows_f32` checked type, contiguity and that a buffer is there, and so
                // many rows follow the first one; `values` has as many.
                unsafe { self.fill(first * width * size_of::<f32>(), values) }
            }
            rest = after;
            first += run.max(1);
        }
        Ok(())
    }

    /// Reads a contiguous tensor of `f32` of three dimensions into `out`: its width, rows and
    /// blocks of rows.
    ///
    /// # Errors
    /// [`HookFault::Layout`] for anything else.
    pub fn read_f32_blocks(&self, out: &mut Vec<f32>) -> Result<[usize; 3], HookFault> {
        let t = self.get();
        let [width, rows, blocks, one] = t.ne.map(|n| n as usize);
        let strides = [4, 4 * width, 4 * width * rows];
        let contiguous = t.nb[..3] == strides && one == 1;
        if self.element_type() != sys::GGML_TYPE_F32 || !contiguous || !self.has_memory() {
            return Err(HookFault::Layout {
                tensor: self.name(),
                shape: t.ne,
            });
        }
        out.resize(width * rows * blocks, 0.0);
        if !out.is_empty() {
            // SAFETY: type, contiguity and that a buffer is there were checked, so so many bytes
            // from offset 0 lie within the tensor; `out` is that long.
            unsafe { self.fill(0, out) }
        }
        Ok([width, rows, blocks])
    }

    /// (row width, bytes from row to row) of a tensor that holds `rows` rows of `f32`, each
    /// contiguous: two-dimensional, or three-dimensional with heads within a row.
    ///
    /// # Errors
    /// [`HookFault::Layout`] for anything else.
    pub fn strided_rows(&self, rows: usize) -> Result<(usize, usize), HookFault> {
        let t = self.get();
        let n = rows as i64;
        let flat = t.ne[2] == 1 && t.ne[1] == n;
        let width = if flat { t.ne[0] } else { t.ne[0] * t.ne[1] };
        let stride = if flat { t.nb[1] } else { t.nb[2] };
        let inner = t.nb[0] == 4 && (flat || t.nb[1] == 4 * t.ne[0] as usize);
        let fits = t.ne[3] == 1 && t.ne.iter().product::<i64>() == width * n;
        if self.element_type() != sys::GGML_TYPE_F32 || !inner || !fits || !self.has_memory() {
            return Err(HookFault::Layout {
                tensor: self.name(),
                shape: t.ne,
            });
        }
        Ok((width as usize, stride))
    }

    /// Reads `rows` rows one after the other into `out` (see [`Self::strided_rows`]).
    ///
    /// # Errors
    /// [`HookFault::Layout`].
    pub fn read_strided(&self, rows: usize, out: &mut Vec<f32>) -> Result<usize, HookFault> {
        let (width, stride) = self.strided_rows(rows)?;
        out.resize(width * rows, 0.0);
        for (n, row) in out.chunks_exact_mut(width).enumerate() {
            // SAFETY: `strided_rows` checked that row n is `width` contiguous f32 at n * stride
            // within the tensor; `row` is that long.
            unsafe { self.fill(n * stride, row) }
        }
        Ok(width)
    }

    /// The cache that the node writes rows to (`GGML_OP_SET_ROWS`).
    pub fn written_cache(&self) -> Option<Tensor<'a>> {
        let writes = self.op() == sys::GGML_OP_SET_ROWS;
        self.view_source().filter(|_| writes)
    }

    /// Which rows of a cache the node writes to ([`Self::written_cache`]), one for each of its
    /// own; `None` where that cannot be read.
    pub fn written_rows(&self) -> Option<Vec<i64>> {
        let at = self.written_cache().and(self.sources().nth(1))?;
        let places = at.get();
        if places.nb[0] != size_of::<i64>() || !at.has_memory() {
            return None;
        }
        let mut rows = vec![0i64; places.ne[0] as usize];
        // SAFETY: the tensor holds ne[0] contiguous i64 (its element size was checked), and is
        // allocated.
        unsafe { at.fill(0, &mut rows) }
        Some(rows)
    }

    /// Reads back the rows that the node wrote to a cache of `f32` ([`Self::written_cache`]),
    /// one after the other; `None` for caches of another type, and where the host cannot read
    /// which rows they are.
    pub fn read_written(&self) -> Option<Vec<f32>> {
        let t = self.get();
        let rows = self.written_rows()?;
        let contiguous = t.nb[0] == 4 && t.ne[2] == 1 && t.ne[3] == 1;
        if self.element_type() != sys::GGML_TYPE_F32 || !contiguous {
            return None;
        }
        let width = t.ne[0] as usize;
        let mut values = vec![0f32; width * rows.len()];
        for (row, values) in rows.iter().zip(values.chunks_exact_mut(width)) {
            if *row < 0 || *row >= t.ne[1] {
                return None;
            }
            // SAFETY: row `row` exists (checked above) and is `width` contiguous f32.
            unsafe { self.fill(*row as usize * t.nb[1], values) }
        }
        Some(values)
    }

    /// Fills a weight with zero bytes, which are zeros in every type that ggml knows.
    ///
    /// # Safety
    /// The tensor's memory may be written to: its model was not mapped from a file.
    pub unsafe fn clear(&self) {
        let t = self.get();
        // A weight is contiguous, so its outermost stride and extent give its size, whatever its
        // blocks.
        let bytes = t.nb[3] * t.ne[3] as usize;
        let zeros = vec![0u8; bytes];
        // SAFETY: as many bytes as the tensor has; writable by the caller's promise.
        unsafe {
            sys::ggml_backend_tensor_set(self.raw.as_ptr(), zeros.as_ptr().cast(), 0, bytes);
        }
    }

    /// Fills columns of a weight (elements of its innermost dimension) with zero bytes, in every
    /// row. Returns whether that was possible: quantized elements come in blocks, and ggml takes a
    /// weight that it arranges anew (for AMX, or by its "repack") in one piece.
    ///
    /// # Safety
    /// As for [`Self::clear`].
    pub unsafe fn clear_columns(&self, columns: std::ops::Range<usize>) -> bool {
        let t = self.get();
        let (width, rows) = (t.ne[0] as usize, t.ne[1] as usize);
        let block = width * t.nb[0] / t.nb[1].max(1);
        let flat = t.ne[2] == 1 && t.ne[3] == 1;
        let whole = |at: usize| block > 0 && at.is_multiple_of(block);
        let as_stored = t.extra.is_null();
        if !as_stored
            || !flat
            || columns.end > width
            || !whole(columns.start)
            || !whole(columns.end)
        {
            return false;
        }
        let zeros = vec![0u8; columns.len() / block * t.nb[0]];
        for row in 0..rows {
            let offset = row * t.nb[1] + columns.start / block * t.nb[0];
            // SAFETY: within the row, which has as many columns (checked above); writable by the
            // caller's promise.
            unsafe {
                sys::ggml_backend_tensor_set(
                    self.raw.as_ptr(),
                    zeros.as_ptr().cast(),
                    offset,
                    zeros.len(),
                );
            }
        }
        true
    }

    /// Reads the first bytes of a tensor in one piece; `None` where it has fewer, or no memory.
    pub(super) fn read_bytes(&self, n: usize) -> Option<Vec<u8>> {
        if n > self.bytes() || !self.has_memory() {
            return None;
        }
        let mut bytes = vec![0u8; n];
        // SAFETY: as many bytes are there (checked above), in memory of a buffer.
        unsafe {
            sys::ggml_backend_tensor_get(self.raw.as_ptr(), bytes.as_mut_ptr().cast(), 0, n);
        }
        Some(bytes)
    }

    /// Writes the first bytes of an input of the graph, which llama.cpp sets anew for each
    /// evaluation, or of another backend's copy of one.
    ///
    /// # Errors
    /// [`HookFault::Mask`] for a tensor that is neither, or has fewer bytes.
    pub(super) fn write_input(&self, bytes: &[u8]) -> Result<(), HookFault> {
        let own = self.is_leaf() && (self.is_input() || self.is_copy());
        if !own || bytes.len() > self.bytes() || !self.has_memory() {
            return Err(HookFault::Mask(self.name()));
        }
        // SAFETY: within the tensor (checked above). Its memory is the graph's own, and the
        // scheduler computes nothing while the callback runs.
        unsafe {
            let from = bytes.as_ptr().cast();
            sys::ggml_backend_tensor_set(self.raw.as_ptr(), from, 0, bytes.len());
        }
        Ok(())
    }

    /// Bytes from the first element to behind the last, of a tensor in one piece.
    fn bytes(&self) -> usize {
        let t = self.get();
        t.nb[3] * t.ne[3] as usize
    }

    /// Reads the first `n` values of an `i32` input, wherever it lies; `None` for a tensor that
    /// does not hold as many, and for an input that has no memory.
    pub fn read_i32_input(&self, n: usize) -> Option<Vec<i32>> {
        let t = self.get();
        let available = t.ne.iter().product::<i64>() as usize;
        let flat = t.nb[0] == size_of::<i32>() && t.ne[0] as usize >= n;
        if self.element_type() != sys::GGML_TYPE_I32 || !flat || available < n || !self.has_memory()
        {
            return None;
        }
        let mut values = vec![0i32; n];
        // SAFETY: at least n contiguous i32 are there, in memory of a buffer (checked above).
        unsafe { self.fill(0, &mut values) }
        Some(values)
    }
}
