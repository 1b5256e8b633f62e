//! Files of golden numbers, and how results are compared with them: tests/golden/README.md.

use std::path::{Path, PathBuf};

use midlayer::engine::{Outcome, argmax, kl};
use midlayer::runtime::Token;
use serde::Deserialize;

pub fn golden_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// A file of golden numbers: one prompt under one manipulation.
#[derive(Deserialize)]
pub struct Golden {
    pub prompt: String,
    token_ids: Vec<i32>,
    #[serde(default)]
    pub entries: Vec<GoldenEntry>,
}

#[derive(Deserialize, Clone)]
pub struct GoldenEntry {
    #[serde(default)]
    pub k: u32,
    pub argmax: i32,
    #[serde(default, rename = "kl_clean_manip")]
    pub kl: f64,
    #[serde(rename = "top20")]
    pub top: Vec<(i32, f32)>,
}

impl Golden {
    /// Reads `tests/golden/<name>.json`; a clean run is an entry of its own.
    pub fn read(name: &str) -> Self {
        let text = std::fs::read_to_string(golden_path(&format!("{name}.json"))).unwrap();
        let mut golden: Golden = serde_json::from_str(&text).unwrap();
        if golden.entries.is_empty() {
            golden.entries = vec![serde_json::from_str(&text).unwrap()];
        }
        golden
    }

    pub fn tokens(&self) -> Vec<Token> {
        self.token_ids.iter().map(|id| Token(*id)).collect()
    }
}

#[derive(Deserialize)]
pub struct Generation {
    pub prompt_id: String,
    pub run: String,
    pub k: Option<u32>,
    pub new_ids: Vec<i32>,
}

/// The recorded generations of the prompts whose clean run is recorded too.
pub fn generations() -> Vec<Generation> {
    #[derive(Deserialize)]
    struct File {
        runs: Vec<Generation>,
    }
    let text = std::fs::read_to_string(golden_path("generation_freeze.json")).unwrap();
    let file: File = serde_json::from_str(&text).unwrap();
    file.runs
        .into_iter()
        .filter(|run| golden_path(&format!("{}_clean.json", run.prompt_id)).exists())
        .collect()
}

/// (shape, data) of a NumPy file of version 1.0 in C order.
fn npy(name: &str) -> (Vec<usize>, Vec<u8>) {
    let bytes = std::fs::read(golden_path(&format!("{name}.npy"))).unwrap();
    assert!(bytes.starts_with(b"\x93NUMPY\x01\x00"));
    let header = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let text = std::str::from_utf8(&bytes[10..header]).unwrap();
    let shape = text.split("'shape': (").nth(1).unwrap();
    let shape = shape.split(')').next().unwrap();
    let shape = shape
        .split(',')
        .filter_map(|n| n.trim().parse().ok())
        .collect();
    (shape, bytes[header..].to_vec())
}

pub fn npy_f32(name: &str) -> (Vec<usize>, Vec<f32>) {
    let (shape, data) = npy(name);
    let values = data.as_chunks::<4>().0;
    (
        shape,
        values.iter().map(|b| f32::from_le_bytes(*b)).collect(),
    )
}

pub fn npy_u16(name: &str) -> (Vec<usize>, Vec<u16>) {
    let (shape, data) = npy(name);
    let values = data.as_chunks::<2>().0;
    (
        shape,
        values.iter().map(|b| u16::from_le_bytes(*b)).collect(),
    )
}

/// Writes what [`npy_f32`] reads.
pub fn write_npy(name: &str, shape: &[usize], values: &[f32]) {
    let shape: Vec<String> = shape.iter().map(usize::to_string).collect();
    let shape = shape.join(", ");
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    // Of 128 bytes, the last of them the end of a line.
    bytes.extend(format!("{header:<117}\n").bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    std::fs::write(golden_path(&format!("{name}.npy")), bytes).unwrap();
}

/// Largest difference between our logits and the reference's, over the entry's tokens.
pub fn distance(entry: &GoldenEntry, logits: &[f32]) -> f32 {
    entry
        .top
        .iter()
        .map(|(id, logit)| (logits[*id as usize] - logit).abs())
        .fold(0.0, |most, off| {
            if off > most || off.is_nan() {
                off
            } else {
                most
            }
        })
}

/// Compares logits with an entry's, and says what differs.
pub fn check(entry: &GoldenEntry, logits: &[f32], tolerance: f32) -> Result<(), String> {
    let found = distance(entry, logits);
    if found.is_nan() || found > tolerance {
        return Err(format!("logits differ by {found}"));
    }
    let margin = entry.top[0].1 - entry.top[1].1;
    let likeliest = argmax(logits);
    if margin > 2.0 * tolerance && likeliest != Token(entry.argmax) {
        return Err(format!("{likeliest} is likeliest, not {}", entry.argmax));
    }
    Ok(())
}

/// [`check`], and the KL divergence from the clean run.
pub fn agree(
    entry: &GoldenEntry,
    clean: &[f32],
    logits: &[f32],
    tolerance: f32,
) -> Result<(), String> {
    check(entry, logits, tolerance)?;
    // KL is a steep function of the logits where it is large: compare relatively.
    let divergence = kl(clean, logits);
    let slack = 4.0 * f64::from(tolerance) + 1e-3 * entry.kl;
    if (divergence - entry.kl).abs() > slack {
        return Err(format!("KL {divergence} for {}", entry.kl));
    }
    Ok(())
}

/// The clean run's outcome comes first; those after it must be what is recorded, each under a name
/// of its own.
pub fn all_agree(outcomes: &[Outcome], recorded: &[(String, &GoldenEntry)], tolerance: f32) {
    let (clean, outcomes) = outcomes.split_first().unwrap();
    assert_eq!(outcomes.len(), recorded.len());
    let compared = recorded.iter().zip(outcomes);
    let differ = compared.filter_map(|((what, entry), outcome)| {
        let compared = agree(entry, &clean.logits, &outcome.logits, tolerance);
        compared.err().map(|why| format!("{what}: {why}"))
    });
    let differ: Vec<String> = differ.collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
