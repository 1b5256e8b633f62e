//! The cells of a context: emptied, shared, dropped.

use llama_cpp_sys_2 as sys;

use super::{Context, RuntimeError};

impl Context {
    pub(super) fn memory(&self) -> sys::llama_memory_t {
        // SAFETY: the context is live.
        unsafe { sys::llama_get_memory(self.raw.as_ptr()) }
    }

    /// Empties the cache.
    pub fn clear(&mut self) {
        // SAFETY: the memory belongs to the live context; `false` keeps the buffers, which are
        // never read for cells that hold no sequence.
        unsafe { sys::llama_memory_clear(self.memory(), false) };
    }

    /// Makes the cells of `from` below position `end` belong to `to`, which has none of these
    /// positions yet, as well. Nothing is copied; a cell is free again once no sequence holds it.
    ///
    /// # Errors
    /// [`RuntimeError::CellsLost`] when the first of these positions is not there then, or none up
    /// to the last.
    ///
    /// # Panics
    /// In a context with separate streams.
    pub fn share(&mut self, from: u32, to: u32, end: u32) -> Result<(), RuntimeError> {
        assert!(self.unified, "cells are shared within one stream only");
        if end == 0 {
            return Ok(());
        }
        for (from, to) in self.with_twin(from).zip(self.with_twin(to)) {
            // SAFETY: the memory belongs to the live context. In a unified cache both sequences
            // are of one stream, where any part may be copied; with separate streams llama.cpp
            // asserts, which is why this is refused there.
            unsafe { sys::llama_memory_seq_cp(self.memory(), from, to, 0, end as i32) };
            // SAFETY: as above.
            let first = unsafe { sys::llama_memory_seq_pos_min(self.memory(), to) };
            // SAFETY: as above.
            let last = unsafe { sys::llama_memory_seq_pos_max(self.memory(), to) };
            if first != 0 || last + 1 < end as i32 {
                return Err(RuntimeError::CellsLost { end });
            }
        }
        Ok(())
    }

    /// A sequence and its twin, if it has one, as llama.cpp numbers them.
    pub(super) fn with_twin(&self, sequence: u32) -> impl Iterator<Item = i32> + use<> {
        let twin = self.twins.map(|offset| sequence + offset);
        std::iter::once(sequence).chain(twin).map(|s| s as i32)
    }

    /// Drops the positions of `sequence` from `first` on.
    ///
    /// # Errors
    /// [`RuntimeError::CannotRewind`] for recurrent memory.
    pub fn rewind(&mut self, sequence: u32, first: u32) -> Result<(), RuntimeError> {
        for sequence in self.with_twin(sequence) {
            // SAFETY: the memory belongs to the live context.
            let dropped =
                unsafe { sys::llama_memory_seq_rm(self.memory(), sequence, first as i32, -1) };
            if !dropped {
                return Err(RuntimeError::CannotRewind);
            }
        }
        Ok(())
    }
}
