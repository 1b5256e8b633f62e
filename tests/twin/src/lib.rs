//! Backends for tests: one that schedules as Metal does and computes on the CPU, and [`blas`].
//!
//! No Mac is needed for what differs there in the order and the grouping of nodes: llama.cpp's
//! graph optimizer and fusions for Metal are portable C++ and run here as they are. The device
//! refuses the operations that Metal refuses, hides its memory from the host, and fills what
//! Metal's fused kernels never write with NaN. What it cannot show are Metal's own kernels: the
//! numbers are the CPU's.

#![cfg(target_os = "linux")]

pub mod blas;

use std::sync::Once;

// llama.cpp is linked by it.
use llama_cpp_2 as _;

/// What the device did so far in this process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Graphs that were put in order.
    pub graphs: u64,
    /// Nodes whose place changed by that.
    pub moved: u64,
    /// Parts of graphs that were computed.
    pub evaluated: u64,
    /// Groups of nodes that Metal computes by one kernel.
    pub fused: u64,
    /// Nodes of such groups that were filled with NaN, since Metal never writes them.
    pub poisoned: u64,
    /// Questions for an operation that were answered with no.
    pub refused: u64,
}

unsafe extern "C" {
    fn midlayer_twin_register();
    fn midlayer_twin_counts(to: *mut Counts);
}

/// Makes the device one of this process, as the GPU that models are loaded onto. Must happen
/// before the first model is loaded.
pub fn register() {
    static ONCE: Once = Once::new();
    // SAFETY: takes nothing; the device it registers is a static.
    ONCE.call_once(|| unsafe { midlayer_twin_register() });
}

/// What the device did so far.
pub fn counts() -> Counts {
    let mut counts = Counts::default();
    // SAFETY: the layout is the C++ structure's, which is written whole.
    unsafe { midlayer_twin_counts(&mut counts) };
    counts
}
