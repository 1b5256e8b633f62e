//! The proof that the host's tensors are laid out as `ggml.rs` says: a few small tensors are
//! made by the host's own ggml, and every field that is ever read must hold what it should.

use std::ffi::{CStr, c_int, c_void};
use std::mem::{offset_of, size_of};

use crate::abi::ggml_tensor;
use crate::chain::Header;
use crate::functions::{Functions, InitParams, text};

/// The numbers of types in the host.
pub struct Types {
    /// `GGML_TYPE_F32`.
    pub f32: u32,
    /// `GGML_TYPE_I32`.
    pub i32: u32,
}

/// Proves the layout, and looks up the numbers of types.
///
/// # Errors
/// What does not fit.
pub fn prove(host: &Functions) -> Result<Types, String> {
    let name = |number: u32| {
        // SAFETY: callers ask for numbers up to a known one only.
        text(unsafe { (host.type_name)(number) })
    };
    if name(0) != "f32" {
        return Err(format!("type 0 is '{}', not f32", name(0)));
    }
    // 18 before 2024, 26 since; looked for from below, so that none above the last is asked for.
    let number = (1..=26).find(|number| name(*number) == "i32");
    let types = Types {
        f32: 0,
        i32: number.ok_or("there is no type i32 where it has been so far")?,
    };
    // SAFETY: takes no arguments.
    let overhead = unsafe { (host.tensor_overhead)() };
    let expected = size_of::<ggml_tensor>() + size_of::<Header>();
    if overhead != expected {
        return Err(format!("a tensor takes {overhead} bytes, not {expected}"));
    }
    // Memory of our own, so that a context that is laid out otherwise damages nothing else.
    let mut memory = vec![0u128; 1024];
    let parameters = InitParams {
        mem_size: size_of::<u128>() * memory.len(),
        mem_buffer: memory.as_mut_ptr().cast(),
        no_alloc: true,
    };
    // SAFETY: ggml_init takes its parameters by value and uses the memory given, which outlives
    // the context.
    let context = unsafe { (host.init)(parameters) };
    if context.is_null() {
        return Err("ggml_init gave no context".into());
    }
    let verdict = prove_in(host, &types, context, &memory);
    // SAFETY: made above, freed once.
    unsafe { (host.free)(context) };
    verdict.map(|()| types)
}

/// Fails with the name of what did not fit.
fn hold(what: &str, holds: bool) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(format!("{what} is not where it should be"))
    }
}

fn prove_in(
    host: &Functions,
    types: &Types,
    context: *mut c_void,
    memory: &[u128],
) -> Result<(), String> {
    let number = |n: u32| n as c_int;
    // SAFETY: a live context with room for it.
    let a = unsafe { (host.new_tensor_2d)(context, number(types.f32), 6, 5) };
    // SAFETY: as above.
    let b = unsafe { (host.new_tensor_1d)(context, number(types.i32), 3) };
    let within = |tensor: *mut ggml_tensor| {
        let range = memory.as_ptr_range();
        let start = tensor as usize;
        let end = start.saturating_add(size_of::<ggml_tensor>());
        start >= range.start as usize + size_of::<Header>() && end <= range.end as usize
    };
    hold("a tensor's memory", within(a) && within(b))?;
    // SAFETY: a live tensor and a NUL-terminated string.
    unsafe { (host.set_name)(a, c"midlayer-name".as_ptr()) };
    // SAFETY: a live tensor.
    unsafe { (host.set_input)(b) };
    // SAFETY: both were made in this context.
    let r = unsafe { (host.get_rows)(context, a, b) };
    // SAFETY: three floats from byte 8 of a tensor of thirty.
    let v = unsafe { (host.view_1d)(context, a, 3, 8) };
    hold(
        "the memory of a tensor with operands",
        within(r) && within(v),
    )?;
    // From here on structures are read, all within `memory`.
    // SAFETY: within our memory, aligned for it (ggml aligns to 16), and plain data.
    let (at, bt) = (unsafe { &*a }, unsafe { &*b });
    // SAFETY: as above.
    let (rt, vt) = (unsafe { &*r }, unsafe { &*v });
    hold("type", at.type_ == types.f32 && bt.type_ == types.i32)?;
    hold("ne", at.ne == [6, 5, 1, 1] && bt.ne == [3, 1, 1, 1])?;
    hold("nb", at.nb == [4, 24, 120, 120] && bt.nb[0] == 4)?;
    hold("ne of a result", rt.ne == [6, 3, 1, 1])?;
    hold("flags", at.flags == 0 && bt.flags == 1)?;
    let bytes = at.name.map(|c| c as u8);
    let name = CStr::from_bytes_until_nul(&bytes).ok();
    hold("name", name == Some(c"midlayer-name"))?;
    let sources = |t: &ggml_tensor, first: &[*mut ggml_tensor]| {
        let rest = &t.src[first.len()..];
        t.src[..first.len()] == *first && rest.iter().all(|source| source.is_null())
    };
    hold(
        "src",
        sources(rt, &[a, b]) && sources(at, &[]) && sources(vt, &[a]),
    )?;
    hold("view_src", vt.view_src == a && rt.view_src.is_null())?;
    hold("view_offs", vt.view_offs == 8 && rt.view_offs == 0)?;
    // Numbers of operations are small, whatever they are; a name is asked for only then.
    hold("op", at.op == 0 && rt.op < 256 && vt.op < 256)?;
    let names = [at.op, rt.op, vt.op].map(|op| host.operation_name(op));
    hold("op", names == ["NONE", "GET_ROWS", "VIEW"])?;
    hold("buffer and data", at.buffer.is_null() && at.data.is_null())?;
    prove_chain(host, context, &[a, b, r, v])?;
    prove_memory(host, context, a)
}

/// Tensors of a context are chained in the order in which they were made.
fn prove_chain(
    host: &Functions,
    context: *mut c_void,
    tensors: &[*mut ggml_tensor],
) -> Result<(), String> {
    for pair in tensors.windows(2) {
        // SAFETY: live tensors of our context, whose memory was checked.
        let next = unsafe { Header::next_tensor(pair[0]) };
        // SAFETY: as above.
        let told = unsafe { (host.next_tensor)(context, pair[0]) };
        hold("the next tensor", next == pair[1] && told == next)?;
    }
    // SAFETY: as above.
    let end = unsafe { Header::next_tensor(tensors[tensors.len() - 1]) };
    hold("the end of a context", end.is_null())
}

/// Data goes in and out through the host's functions, and `buffer` and `data` follow.
fn prove_memory(host: &Functions, context: *mut c_void, a: *mut ggml_tensor) -> Result<(), String> {
    // SAFETY: takes no arguments.
    let cpu = unsafe { (host.cpu_buffer_type)() };
    // SAFETY: a live context whose tensors have no memory yet.
    let buffer = unsafe { (host.allocate)(context, cpu) };
    if buffer.is_null() {
        return Err("ggml gave no memory for a tensor".into());
    }
    let verdict = (|| {
        // SAFETY: live, its fields proved so far.
        let tensor = unsafe { &*a };
        let (found, data) = (tensor.buffer, tensor.data);
        hold("buffer", found == buffer && !data.is_null())?;
        // SAFETY: a live buffer.
        hold("the host's own memory", unsafe {
            (host.buffer_is_host)(buffer)
        })?;
        let put = [1.5f32, -2.0];
        // SAFETY: two floats from byte 8 of a tensor of thirty with memory.
        unsafe { (host.tensor_set)(a, put.as_ptr().cast(), 8, size_of_val(&put)) };
        let mut got = [0f32; 2];
        // SAFETY: as above.
        unsafe { (host.tensor_get)(a, got.as_mut_ptr().cast(), 8, size_of_val(&got)) };
        let raw = data.wrapping_byte_add(8).cast::<f32>();
        // SAFETY: the tensor's memory is the host's own, as it has just said.
        let raw = unsafe { raw.read_unaligned() };
        hold("data", got == put && raw == put[0])
    })();
    // SAFETY: allocated above, freed once.
    unsafe { (host.buffer_free)(buffer) };
    verdict
}

const _: () = {
    // ggml.h as of the versions in docs/plugin.md, on 64-bit machines.
    assert!(size_of::<ggml_tensor>() == 336);
    assert!(offset_of!(ggml_tensor, op) == 80);
    assert!(offset_of!(ggml_tensor, src) == 152);
    assert!(offset_of!(ggml_tensor, name) == 256);
};
