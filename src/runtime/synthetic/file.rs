//! A random model of any size as a file, written tensor by tensor.

use std::ffi::CString;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use llama_cpp_sys_2 as sys;
use rand::Rng;
use tempfile::TempPath;

use super::metadata::Metadata;
use super::shape::{Shape, Tensor};
use super::weights::generator;
use crate::files::{beside, free_space, is_full};
use crate::runtime::RuntimeError;
use crate::runtime::backend::backend;
use crate::runtime::header::Header;

/// Why a model of a shape could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ShapeError {
    /// There is no such model. Names the number to change.
    #[error("{0}")]
    Impossible(String),
    /// The tokenizer's model has none.
    #[error("{0} has no vocabulary that could be copied; give a model that reads text (`model`)")]
    NoVocabulary(PathBuf),
    /// The tokenizer's model would be overwritten.
    #[error("{0} is the model whose tokenizer is copied; write to another file (`out`)")]
    Same(PathBuf),
    /// No room.
    #[error("{path} takes {} MB, {room}: free some, or write elsewhere (`out`)", .bytes / 1_000_000)]
    NoSpace {
        /// The file.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// What there is, in words.
        room: String,
    },
    /// The file could not be written.
    #[error("{path} could not be written: {source} (`out`)")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// llama.cpp did not start.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// Whoever was told of its progress wanted no more.
    #[error("stopped")]
    Stopped,
}

/// A file that has been written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its size.
    pub bytes: u64,
    /// Weights of all tensors.
    pub weights: u64,
    /// Tokens of the vocabulary, unused ones too.
    pub tokens: u32,
}

/// Who is told of progress: bytes written, and bytes in all.
pub type Told<'a> = dyn FnMut(u64, u64) -> ControlFlow<()> + 'a;

/// Bytes between two tensors' beginnings are a multiple of it (`GGUF_DEFAULT_ALIGNMENT`).
const ALIGN: u64 = 32;
/// A `Q8_0` block: a scale of two bytes and so many whole numbers of one.
const NUMBERS: usize = 32;
const BYTES: usize = 2 + NUMBERS;
/// Blocks that are made at once.
const TOGETHER: u64 = 8192;

impl Shape {
    /// Writes a model of this shape to `target`, in `Q8_0`, norms in `F32`: random weights, uniform
    /// between two bounds, of a standard deviation of one over the root of a row's width
    /// (embeddings 0.5), which the seed alone decides; norms are one. The tokenizer is that of the
    /// model `tokenizer`. At most some megabytes are in memory at once. `told` is told of bytes,
    /// and may stop it.
    ///
    /// # Errors
    /// [`ShapeError`]; then nothing is left, and an older file stays as it was.
    pub fn write(
        &self,
        tokenizer: &Path,
        seed: u64,
        target: &Path,
        told: &mut Told<'_>,
    ) -> Result<Written, ShapeError> {
        self.check()?;
        if let (Ok(from), Ok(to)) = (tokenizer.canonicalize(), target.canonicalize())
            && from == to
        {
            return Err(ShapeError::Same(target.to_path_buf()));
        }
        backend()?;
        let metadata = Metadata::new("llama");
        let tokens = copy_tokenizer(&metadata, tokenizer, self.n_vocab)?;
        self.describe(&metadata, tokens, seed);
        let tensors = self.tensors(tokens);
        let head = header(&metadata, &tensors);
        let data: u64 = tensors.iter().map(|t| padded(t.bytes())).sum();
        let written = Written {
            bytes: head.len() as u64 + data,
            weights: tensors.iter().map(Tensor::numbers).sum(),
            tokens,
        };
        let full = |room: String| ShapeError::NoSpace {
            path: target.to_path_buf(),
            bytes: written.bytes,
            room,
        };
        let io = |source: io::Error| ShapeError::Io {
            path: target.to_path_buf(),
            source,
        };
        let failed = |error: io::Error| match is_full(&error) {
            true => full(format!("and the disk is full ({error})")),
            false => io(error),
        };
        if target.exists() && !target.is_file() {
            return Err(io(io::Error::other("it is no regular file")));
        }
        let folder = target.parent().filter(|f| !f.as_os_str().is_empty());
        let free = free_space(folder.unwrap_or(Path::new(".")));
        if let Some(free) = free.filter(|free| *free < written.bytes) {
            return Err(full(format!("and {} MB are free", free / 1_000_000)));
        }
        let mut part = beside(target).map_err(failed)?;
        let mut out = Counted {
            out: BufWriter::with_capacity(1 << 20, part.as_file_mut()),
            done: 0,
            all: written.bytes,
            told,
            stopped: false,
        };
        let result = out.write(&head).and_then(|()| {
            tensors
                .iter()
                .try_for_each(|tensor| tensor.write(seed, &mut out))
        });
        let stopped = out.stopped;
        let result = result.and_then(|()| out.out.flush());
        drop(out);
        match result {
            Err(_) if stopped => return Err(ShapeError::Stopped),
            result => result.map_err(failed)?,
        }
        // On the disk before it has its name: also a power cut leaves no half of it.
        part.as_file().sync_all().map_err(failed)?;
        finish(part.into_temp_path(), target).map_err(failed)?;
        Ok(written)
    }

    fn describe(&self, m: &Metadata, tokens: u32, seed: u64) {
        m.string("general.architecture", "llama");
        m.string(
            "general.description",
            &format!("random weights, seed {seed}, made by midlayer"),
        );
        m.u32("general.file_type", sys::LLAMA_FTYPE_MOSTLY_Q8_0);
        m.u32("general.quantization_version", 2);
        m.u32("vocab_size", tokens);
        m.u32("context_length", self.n_ctx);
        m.u32("embedding_length", self.n_embd);
        m.u32("block_count", self.n_layer);
        m.u32("feed_forward_length", self.n_ff);
        m.u32("attention.head_count", self.n_head);
        m.u32("attention.head_count_kv", self.n_head_kv);
        m.u32("rope.dimension_count", self.n_embd / self.n_head);
        m.f32("rope.freq_base", self.rope_base);
        m.f32("attention.layer_norm_rms_epsilon", 1e-5);
    }
}

/// Gives a file that should be whole its name.
fn finish(part: TempPath, target: &Path) -> io::Result<()> {
    if !Header::read(&part)?.is_whole() {
        return Err(io::Error::other("what was written is not whole"));
    }
    part.persist(target).map_err(|error| error.error)
}

/// Copies the keys of a model's tokenizer, and adds unused tokens up to `least`; how many tokens
/// there are then.
fn copy_tokenizer(to: &Metadata, path: &Path, least: u32) -> Result<u32, ShapeError> {
    let none = || ShapeError::NoVocabulary(path.to_path_buf());
    let header = Header::read(path).map_err(|_| none())?;
    // Files without a tokenizer may have a list of texts that stand for nothing.
    if matches!(header.text("tokenizer.ggml.model"), None | Some("none")) {
        return Err(none());
    }
    let from = Metadata::of_file(path, "llama").ok_or_else(none)?;
    to.copy(&from, "tokenizer.");
    let tokens = to.texts("tokenizer.ggml.tokens").filter(|t| !t.is_empty());
    let mut tokens = tokens.ok_or_else(none)?;
    let own = tokens.len();
    let unused = |n| CString::new(format!("[UNUSED{n}]")).expect("no NUL");
    tokens.extend((own..least as usize).map(unused));
    let added = tokens.len() - own;
    if added > 0 {
        to.set_texts("tokenizer.ggml.tokens", &tokens);
        to.lengthen(
            "tokenizer.ggml.token_type",
            added,
            sys::LLAMA_TOKEN_TYPE_UNUSED as i32,
        );
        to.lengthen("tokenizer.ggml.scores", added, 0f32);
    }
    u32::try_from(tokens.len()).map_err(|_| none())
}

/// Everything before the tensors' data.
fn header(metadata: &Metadata, tensors: &[Tensor]) -> Vec<u8> {
    let params = sys::ggml_init_params {
        // SAFETY: no arguments, returns a number.
        mem_size: (tensors.len() + 1) * unsafe { sys::ggml_tensor_overhead() },
        mem_buffer: std::ptr::null_mut(),
        no_alloc: true,
    };
    // SAFETY: the parameters are plain; freed below.
    let context = unsafe { sys::ggml_init(params) };
    for tensor in tensors {
        let name = CString::new(tensor.name.as_str()).expect("no NUL");
        let (kind, rows) = match tensor.rows {
            Some(rows) => (sys::GGML_TYPE_Q8_0, rows),
            None => (sys::GGML_TYPE_F32, 1),
        };
        let (width, rows) = (i64::from(tensor.width), i64::from(rows));
        // SAFETY: the context is live and has room for as many tensors; no data is allocated.
        let raw = unsafe { sys::ggml_new_tensor_2d(context, kind, width, rows) };
        // SAFETY: the tensor is live, the name NUL-terminated and shorter than ggml's limit of 64.
        unsafe { sys::ggml_set_name(raw, name.as_ptr()) };
        // SAFETY: both are live; gguf copies the tensor, whose name is no other's.
        unsafe { sys::gguf_add_tensor(metadata.raw, raw) };
    }
    // SAFETY: made above, freed once.
    unsafe { sys::ggml_free(context) };
    // SAFETY: the metadata are live.
    let mut bytes = vec![0; unsafe { sys::gguf_get_meta_size(metadata.raw) }];
    // SAFETY: the metadata are live and unchanged since their size was asked.
    unsafe { sys::gguf_get_meta_data(metadata.raw, bytes.as_mut_ptr().cast()) };
    bytes
}

/// What is written, and who is told.
struct Counted<'w, 't> {
    out: BufWriter<&'w mut std::fs::File>,
    done: u64,
    all: u64,
    told: &'w mut Told<'t>,
    stopped: bool,
}

impl Counted<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.done += bytes.len() as u64;
        match (self.told)(self.done, self.all) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => {
                self.stopped = true;
                Err(io::Error::other("stopped"))
            }
        }
    }
}

impl Tensor {
    /// Bytes of its data, without what follows up to the next one's.
    fn bytes(&self) -> u64 {
        match self.rows {
            Some(_) => self.numbers() / NUMBERS as u64 * BYTES as u64,
            None => self.numbers() * size_of::<f32>() as u64,
        }
    }

    fn write(&self, seed: u64, out: &mut Counted<'_, '_>) -> io::Result<()> {
        match self.rows {
            None => out.write(&1f32.to_le_bytes().repeat(self.width as usize))?,
            Some(_) => self.write_blocks(seed, out)?,
        }
        let rest = padded(self.bytes()) - self.bytes();
        out.write(&vec![0; rest as usize])
    }

    fn write_blocks(&self, seed: u64, out: &mut Counted<'_, '_>) -> io::Result<()> {
        let mut random = generator(&self.name, seed);
        let deviation = match self.name.starts_with("token_embd") {
            true => 0.5,
            false => 1.0 / f64::from(self.width).sqrt(),
        };
        // Of uniform numbers from -127 to 127 the deviation is 127 over the root of three.
        let scale = (deviation * 3f64.sqrt() / 127.0) as f32;
        // SAFETY: arithmetic on a number.
        let scale = unsafe { sys::ggml_fp32_to_fp16(scale) }.to_le_bytes();
        let mut left = self.numbers() / NUMBERS as u64;
        let mut blocks = vec![0; BYTES * left.min(TOGETHER) as usize];
        while left > 0 {
            let n = left.min(TOGETHER);
            let blocks = &mut blocks[..BYTES * n as usize];
            random.fill_bytes(blocks);
            for block in blocks.as_chunks_mut::<BYTES>().0 {
                let (head, numbers) = block.split_at_mut(scale.len());
                head.copy_from_slice(&scale);
                for number in numbers {
                    // ggml's own quantizer makes no -128.
                    *number = (*number as i8).max(-127) as u8;
                }
            }
            out.write(blocks)?;
            left -= n;
        }
        Ok(())
    }
}

fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(ALIGN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_have_the_deviation_of_their_rows_and_norms_are_one() {
        let folder = tempfile::tempdir().unwrap();
        let written = |tensor: &Tensor| {
            let path = folder.path().join("tensor");
            let mut file = std::fs::File::create(&path).unwrap();
            let mut out = Counted {
                out: BufWriter::new(&mut file),
                done: 0,
                all: 0,
                told: &mut |_, _| ControlFlow::Continue(()),
                stopped: false,
            };
            tensor.write(1, &mut out).unwrap();
            drop(out);
            std::fs::read(path).unwrap()
        };
        let tiny = Shape {
            n_ff: 1024,
            ..Shape::TINY
        };
        for tensor in tiny.tensors(96) {
            let bytes = written(&tensor);
            if tensor.rows.is_none() {
                assert_eq!(bytes, 1f32.to_le_bytes().repeat(256), "{}", tensor.name);
                continue;
            }
            let mut squares = 0.0;
            for block in bytes[..tensor.bytes() as usize].as_chunks::<BYTES>().0 {
                // SAFETY: arithmetic on a number.
                let scale =
                    unsafe { sys::ggml_fp16_to_fp32(u16::from_le_bytes([block[0], block[1]])) };
                for number in block[2..].iter().map(|b| *b as i8) {
                    assert!(number >= -127);
                    squares += (f64::from(scale) * f64::from(number)).powi(2);
                }
            }
            let deviation = (squares / tensor.numbers() as f64).sqrt();
            let wanted = match &*tensor.name {
                "token_embd.weight" => 0.5,
                name if name.ends_with("ffn_down.weight") => 1.0 / 32.0,
                _ => 1.0 / 16.0,
            };
            let off = (deviation / wanted - 1.0).abs();
            assert!(off < 0.02, "{}: {deviation}, not {wanted}", tensor.name);
        }
    }
}
