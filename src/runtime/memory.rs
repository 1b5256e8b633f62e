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
        // Attention reads cells that hold no sequence as well, and leaves them out by a weight of
        // zero, which is enough unless they hold what is no number.
        let wipe = self.spoilt.take();
        // SAFETY: the memory belongs to the live context.
        unsafe { sys::llama_memory_clear(self.memory(), wipe) };
    }

    /// Makes the cells of `from` below position `end` belong to `to`, which has no cells there yet,
    /// as well. Nothing is copied; a cell is free again once no sequence holds it.
    ///
    /// # Errors
    /// [`RuntimeError::Sequence`], [`RuntimeError::Position`] and [`RuntimeError::Occupied`] for
    /// what cannot be shared; [`RuntimeError::SeparateStreams`] in a context of these;
    /// [`RuntimeError::CellsLost`] when the first of these positions is not there then, or none up
    /// to the last.
    pub fn share(&mut self, from: u32, to: u32, end: u32) -> Result<(), RuntimeError> {
        if !self.unified {
            return Err(RuntimeError::SeparateStreams);
        }
        self.check_sequence(from)?;
        self.check_sequence(to)?;
        self.check_position(end)?;
        if end == 0 {
            return Ok(());
        }
        for (from, to) in self.with_twin(from).zip(self.with_twin(to)) {
            if self.span(to).is_some_and(|(first, _)| first < end as i32) {
                return Err(RuntimeError::Occupied(to as u32));
            }
            // SAFETY: the memory belongs to the live context, and both sequences are the
            // context's (checked above). In a unified cache they are of one stream, where any
            // part may be copied; with separate streams llama.cpp asserts.
            unsafe { sys::llama_memory_seq_cp(self.memory(), from, to, 0, end as i32) };
            match self.span(to) {
                Some((0, last)) if last + 1 >= end as i32 => {}
                _ => return Err(RuntimeError::CellsLost { end }),
            }
        }
        Ok(())
    }

    /// The first and the last position of a sequence, as llama.cpp numbers it, that has cells.
    fn span(&self, sequence: i32) -> Option<(i32, i32)> {
        // SAFETY: the memory belongs to the live context, callers have checked the sequence.
        let first = unsafe { sys::llama_memory_seq_pos_min(self.memory(), sequence) };
        // SAFETY: as above.
        let last = unsafe { sys::llama_memory_seq_pos_max(self.memory(), sequence) };
        (first >= 0).then_some((first, last))
    }

    /// llama.cpp asserts on sequences beyond its own limit, and takes negative ones for all.
    pub(super) fn check_sequence(&self, sequence: u32) -> Result<(), RuntimeError> {
        let n_seq_max = self.options().n_seq_max;
        if sequence >= n_seq_max {
            return Err(RuntimeError::Sequence {
                sequence,
                n_seq_max,
            });
        }
        Ok(())
    }

    /// llama.cpp takes negative positions for the first or the last of all.
    fn check_position(&self, position: u32) -> Result<(), RuntimeError> {
        let n_ctx = self.options().n_ctx;
        if position > n_ctx {
            return Err(RuntimeError::Position { position, n_ctx });
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
    /// [`RuntimeError::Sequence`] and [`RuntimeError::Position`] for what the context does not
    /// have, [`RuntimeError::CannotRewind`] for recurrent memory.
    pub fn rewind(&mut self, sequence: u32, first: u32) -> Result<(), RuntimeError> {
        self.check_sequence(sequence)?;
        self.check_position(first)?;
        for sequence in self.with_twin(sequence) {
            // SAFETY: the memory belongs to the live context, and the sequence is the context's
            // (checked above).
            let dropped =
                unsafe { sys::llama_memory_seq_rm(self.memory(), sequence, first as i32, -1) };
            if !dropped {
                return Err(RuntimeError::CannotRewind);
            }
        }
        Ok(())
    }
}
