//! Products of weights and rows, which are most of what a model computes: how fast ggml multiplies
//! them on the processor, and libraries of linear algebra, how far a row's result depends on the
//! rows beside it, and how far it is from the exact product of the same weights.
//! `cargo bench --bench products` (docs/performance.md).
//!
//! `MIDLAYER_BLAS` names libraries (`libopenblas.so.0`, `libmkl_rt.so.2`, `libdnnl.so.3`), divided by
//! commas, which are loaded for F32. `MIDLAYER_SHAPE=576x1536` is the products' width and how many
//! values a row gives.
#![allow(
    clippy::undocumented_unsafe_blocks,
    clippy::multiple_unsafe_ops_per_block,
    reason = "calls of ggml and BLAS on what is made a few lines above them"
)]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::time::Instant;

use llama_cpp_sys_2 as sys;

/// Rows of a batch.
const ROWS: [usize; 5] = [1, 2, 8, 32, 250];
/// Weights that take turns, so that they come from memory as a model's do.
const WEIGHTS: usize = 14;
const THREADS: c_int = 2;
/// Medians of so many measurements, each at least so long.
const ROUNDS: usize = 5;
const SECONDS: f64 = 0.05;

type Levels = [(sys::ggml_type, &'static str); 7];
const LEVELS: Levels = [
    (sys::GGML_TYPE_F32, "F32"),
    (sys::GGML_TYPE_F16, "F16"),
    (sys::GGML_TYPE_Q8_0, "Q8_0"),
    (sys::GGML_TYPE_Q4_0, "Q4_0"),
    (sys::GGML_TYPE_Q5_0, "Q5_0"),
    (sys::GGML_TYPE_Q4_K, "Q4_K"),
    (sys::GGML_TYPE_Q6_K, "Q6_K"),
];

fn main() {
    let shape = std::env::var("MIDLAYER_SHAPE").unwrap_or_else(|_| "576x1536".into());
    let (k, n) = shape.split_once('x').expect("MIDLAYER_SHAPE=576x1536");
    let (k, n): (usize, usize) = (k.parse().expect("a number"), n.parse().expect("a number"));
    println!("{k} to {n} values, {WEIGHTS} weights in turn, {THREADS} threads\n");
    println!(
        "| weights | GFLOP/s at 1 row | 2 | 8 | 32 | 250 | a row among 250, to itself alone | to the exact product |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    let weights: Vec<Vec<f32>> = (0..WEIGHTS).map(|w| noise(k * n, w as u32)).collect();
    let rows = noise(k * ROWS[4], 99);
    let device = unsafe {
        sys::ggml_backend_load_all();
        sys::ggml_backend_dev_by_type(sys::GGML_BACKEND_DEVICE_TYPE_CPU)
    };
    for (level, name) in LEVELS {
        let block = unsafe { sys::ggml_blck_size(level) } as usize;
        if k % block != 0 {
            println!("| {name} | its blocks of {block} do not fit into {k} | | | | | | |");
            continue;
        }
        for place in places(device) {
            if let Some(mut product) = Ggml::new(device, place, level, (k, n), &weights) {
                let place = unsafe { CStr::from_ptr(sys::ggml_backend_buft_name(place)) };
                let place = place.to_string_lossy().replace("CPU_", "").to_lowercase();
                let what = match &place[..] {
                    "cpu" => name.to_string(),
                    _ => format!("{name}, {place}"),
                };
                let exact = exact(&rows[..k], &product.last);
                line(&what, (k, n), &rows, &exact, &mut |rows, out| {
                    product.compute(rows, out)
                });
            }
        }
    }
    let named = std::env::var("MIDLAYER_BLAS").unwrap_or_default();
    for library in named.split(',').filter(|name| !name.is_empty()) {
        let blas = Blas::load(library);
        let mut compute = |rows: &[f32], out: &mut [f32]| {
            for weights in &weights {
                blas.multiply(rows, weights, (k, n), out);
            }
        };
        let exact = exact(&rows[..k], &weights[WEIGHTS - 1]);
        line(
            &format!("F32, {library}"),
            (k, n),
            &rows,
            &exact,
            &mut compute,
        );
    }
}

/// The products of a row and weights, summed in 64 bits.
fn exact(row: &[f32], weights: &[f32]) -> Vec<f64> {
    let product = |weights: &[f32]| {
        let pairs = row.iter().zip(weights);
        pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    weights.chunks_exact(row.len()).map(product).collect()
}

/// Measures one way of multiplying `rows` with all weights; of the last weights' products the results
/// are left in what is given.
fn line(
    what: &str,
    (k, n): (usize, usize),
    rows: &[f32],
    exact: &[f64],
    multiply: &mut dyn FnMut(&[f32], &mut [f32]),
) {
    let mut rates = Vec::new();
    let mut found = Vec::new();
    for m in ROWS {
        let (rows, mut out) = (&rows[..m * k], vec![0.0; m * n]);
        multiply(rows, &mut out);
        let mut speeds: Vec<f64> = (0..ROUNDS)
            .map(|_| {
                let (begin, mut times) = (Instant::now(), 0);
                while begin.elapsed().as_secs_f64() < SECONDS {
                    multiply(rows, &mut out);
                    times += 1;
                }
                let operations = 2.0 * (times * WEIGHTS * m * k * n) as f64;
                operations / begin.elapsed().as_secs_f64() / 1e9
            })
            .collect();
        speeds.sort_by(f64::total_cmp);
        rates.push(format!("{:.0}", speeds[ROUNDS / 2]));
        found.push(out);
    }
    let (alone, among) = (&found[0], &found[4][..n]);
    let size = (exact.iter().map(|x| x * x).sum::<f64>() / n as f64).sqrt();
    let apart = alone.iter().zip(among).map(|(a, b)| (a - b).abs());
    let apart = f64::from(apart.fold(0.0, f32::max)) / size;
    let off = alone.iter().zip(exact).map(|(a, b)| f64::from(*a) - b);
    let off = (off.map(|x| x * x).sum::<f64>() / n as f64).sqrt() / size;
    println!(
        "| {what} | {} | {apart:.1e} | {off:.1e} |",
        rates.join(" | ")
    );
}

/// Values between -1 and 1 that follow from a number.
fn noise(n: usize, seed: u32) -> Vec<f32> {
    let mut state = 0x9e37_79b9u32.wrapping_mul(seed + 1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// Where the processor's backend may keep weights: as they are in the file, and arranged anew for
/// its kernels.
fn places(device: sys::ggml_backend_dev_t) -> Vec<sys::ggml_backend_buffer_type_t> {
    type Extra =
        unsafe extern "C" fn(sys::ggml_backend_dev_t) -> *mut sys::ggml_backend_buffer_type_t;
    let mut places = Vec::new();
    unsafe {
        places.push(sys::ggml_backend_dev_buffer_type(device));
        let name = c"ggml_backend_dev_get_extra_bufts";
        let registry = sys::ggml_backend_dev_backend_reg(device);
        let found = sys::ggml_backend_reg_get_proc_address(registry, name.as_ptr());
        if !found.is_null() {
            let extra: Extra = std::mem::transmute::<*mut c_void, Extra>(found);
            let mut at = extra(device);
            while !at.is_null() && !(*at).is_null() {
                places.push(*at);
                at = at.add(1);
            }
        }
    }
    places
}

/// Products by ggml.
struct Ggml {
    backend: sys::ggml_backend_t,
    /// The values that the last weight stands for.
    last: Vec<f32>,
    weights: Vec<*mut sys::ggml_tensor>,
    context: *mut sys::ggml_context,
    buffer: *mut sys::ggml_backend_buffer,
    /// For a number of rows: the graph, what it reads and what it gives.
    graph: Option<(usize, Graph)>,
    k: usize,
}

struct Graph {
    context: *mut sys::ggml_context,
    buffer: *mut sys::ggml_backend_buffer,
    rows: *mut sys::ggml_tensor,
    last: *mut sys::ggml_tensor,
    graph: *mut sys::ggml_cgraph,
}

fn empty(tensors: usize) -> *mut sys::ggml_context {
    unsafe {
        sys::ggml_init(sys::ggml_init_params {
            mem_size: tensors * sys::ggml_tensor_overhead() + sys::ggml_graph_overhead(),
            mem_buffer: std::ptr::null_mut(),
            no_alloc: true,
        })
    }
}

impl Ggml {
    /// Nothing where this place has no kernel for the product.
    fn new(
        device: sys::ggml_backend_dev_t,
        place: sys::ggml_backend_buffer_type_t,
        level: sys::ggml_type,
        (k, n): (usize, usize),
        values: &[Vec<f32>],
    ) -> Option<Self> {
        unsafe {
            let context = empty(WEIGHTS + 2);
            let make = || sys::ggml_new_tensor_2d(context, level, k as i64, n as i64);
            let weights: Vec<_> = values.iter().map(|_| make()).collect();
            let first: *mut sys::ggml_tensor = weights[0];
            // As llama.cpp asks: of a product with a weight that lies there.
            let rows = sys::ggml_new_tensor_2d(context, sys::GGML_TYPE_F32, k as i64, 8);
            let product = sys::ggml_mul_mat(context, first, rows);
            let trial = sys::ggml_backend_buft_alloc_buffer(place, 0);
            (*first).buffer = trial;
            let is_there = sys::ggml_backend_dev_supports_op(device, product);
            (*first).buffer = std::ptr::null_mut();
            sys::ggml_backend_buffer_free(trial);
            if !is_there {
                sys::ggml_free(context);
                return None;
            }
            let buffer = sys::ggml_backend_alloc_ctx_tensors_from_buft(context, place);
            let mut last = Vec::new();
            for (weight, values) in weights.iter().zip(values) {
                let bytes = sys::ggml_row_size(level, k as i64) * n;
                let mut packed = vec![0u8; bytes];
                let to = packed.as_mut_ptr().cast();
                let none = std::ptr::null();
                sys::ggml_quantize_chunk(level, values.as_ptr(), to, 0, n as i64, k as i64, none);
                sys::ggml_backend_tensor_set(*weight, packed.as_ptr().cast(), 0, bytes);
                last.clone_from(values);
                if let Some(unpack) = (*sys::ggml_get_type_traits(level)).to_float {
                    unpack(packed.as_ptr().cast(), last.as_mut_ptr(), (k * n) as i64);
                }
            }
            let backend = sys::ggml_backend_dev_init(device, std::ptr::null());
            sys::ggml_backend_cpu_set_n_threads(backend, THREADS);
            Some(Self {
                backend,
                last,
                weights,
                context,
                buffer,
                graph: None,
                k,
            })
        }
    }

    fn graph(&self, m: usize) -> Graph {
        unsafe {
            let context = empty(WEIGHTS + 1);
            let rows =
                sys::ggml_new_tensor_2d(context, sys::GGML_TYPE_F32, self.k as i64, m as i64);
            let graph = sys::ggml_new_graph(context);
            let mut last = std::ptr::null_mut();
            for weight in &self.weights {
                last = sys::ggml_mul_mat(context, *weight, rows);
                sys::ggml_build_forward_expand(graph, last);
            }
            let buffer = sys::ggml_backend_alloc_ctx_tensors(context, self.backend);
            Graph {
                context,
                buffer,
                rows,
                last,
                graph,
            }
        }
    }

    fn compute(&mut self, rows: &[f32], out: &mut [f32]) {
        let m = rows.len() / self.k;
        if self.graph.as_ref().is_none_or(|(of, _)| *of != m) {
            self.graph = Some((m, self.graph(m)));
        }
        let (_, graph) = self.graph.as_ref().expect("just made");
        unsafe {
            let size = size_of_val(rows);
            sys::ggml_backend_tensor_set(graph.rows, rows.as_ptr().cast(), 0, size);
            let code = sys::ggml_backend_graph_compute(self.backend, graph.graph);
            assert_eq!(code, sys::GGML_STATUS_SUCCESS);
            let size = size_of_val(out);
            sys::ggml_backend_tensor_get(graph.last, out.as_mut_ptr().cast(), 0, size);
        }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        unsafe {
            sys::ggml_backend_buffer_free(self.buffer);
            sys::ggml_free(self.context);
        }
    }
}

impl Drop for Ggml {
    fn drop(&mut self) {
        self.graph = None;
        unsafe {
            sys::ggml_backend_free(self.backend);
            sys::ggml_backend_buffer_free(self.buffer);
            sys::ggml_free(self.context);
        }
    }
}

type Cblas = unsafe extern "C" fn(
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    f32,
    *const f32,
    c_int,
    *const f32,
    c_int,
    f32,
    *mut f32,
    c_int,
);
type Dnnl = unsafe extern "C" fn(
    c_char,
    c_char,
    i64,
    i64,
    i64,
    f32,
    *const f32,
    i64,
    *const f32,
    i64,
    f32,
    *mut f32,
    i64,
) -> c_int;

/// Products by a library of linear algebra.
enum Blas {
    Cblas(Cblas),
    /// oneDNN's function, by rows as well.
    Dnnl(Dnnl),
}

impl Blas {
    fn load(library: &str) -> Self {
        let threads = THREADS.to_string();
        for name in ["OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"] {
            // Before any thread of theirs.
            unsafe { std::env::set_var(name, &threads) };
        }
        let name = CString::new(library).expect("a name");
        unsafe {
            let loaded = libc::dlopen(name.as_ptr(), libc::RTLD_NOW);
            assert!(!loaded.is_null(), "MIDLAYER_BLAS: {library} does not load");
            let cblas = libc::dlsym(loaded, c"cblas_sgemm".as_ptr());
            if !cblas.is_null() {
                return Self::Cblas(std::mem::transmute::<*mut c_void, Cblas>(cblas));
            }
            let dnnl = libc::dlsym(loaded, c"dnnl_sgemm".as_ptr());
            assert!(!dnnl.is_null(), "MIDLAYER_BLAS: {library} has no sgemm");
            Self::Dnnl(std::mem::transmute::<*mut c_void, Dnnl>(dnnl))
        }
    }

    fn multiply(&self, rows: &[f32], weights: &[f32], (k, n): (usize, usize), out: &mut [f32]) {
        let m = rows.len() / k;
        let (a, b, c) = (rows.as_ptr(), weights.as_ptr(), out.as_mut_ptr());
        // By rows, the second one transposed.
        const BY_ROWS: c_int = 101;
        const AS_IT_IS: c_int = 111;
        const TRANSPOSED: c_int = 112;
        match self {
            Self::Cblas(sgemm) => {
                let (m, n, k) = (m as c_int, n as c_int, k as c_int);
                unsafe {
                    sgemm(
                        BY_ROWS, AS_IT_IS, TRANSPOSED, m, n, k, 1.0, a, k, b, k, 0.0, c, n,
                    )
                };
            }
            Self::Dnnl(sgemm) => {
                let (m, n, k) = (m as i64, n as i64, k as i64);
                let (plain, transposed) = (b'N' as c_char, b'T' as c_char);
                let code = unsafe { sgemm(plain, transposed, m, n, k, 1.0, a, k, b, k, 0.0, c, n) };
                assert_eq!(code, 0);
            }
        }
    }
}
