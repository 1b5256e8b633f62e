//! Captures: against the engine's own, against what layers add up to, and as files that others
//! read.

mod common;

use std::fs;

use common::place::{Place, one_line_error};
use common::tiny::{CLOSE, N_LAYER, engine, model, options, prompt};
use midlayer::captures::{Captures, Keep, Source, write};
use midlayer::engine::{Engine, Planned};
use midlayer::hook::Capture;
use midlayer::intervention::{LayerList, Site};
use midlayer::runtime::{Architecture, ContextOptions, Token};
use safetensors::{SafeTensors, tensor::Dtype};

const TOKENS: i32 = 9;

fn captured(
    architecture: Architecture,
    sites: &[Site],
    layers: &str,
    tokens: Option<&str>,
) -> Captures {
    let mut engine = Planned::new(model(architecture), &options(), 8).unwrap();
    let layers: LayerList = layers.parse().unwrap();
    let tokens = tokens.map(|tokens| tokens.parse().unwrap());
    let keep = Keep {
        sites,
        layers: &layers,
        tokens: tokens.as_ref(),
    };
    Captures::of(&mut engine, &prompt(TOKENS), &keep).unwrap()
}

/// Where the last layer's sums are of the last token alone, what is captured is what the engine
/// gives Python, to rounding: the last layer has more rows here.
#[test]
fn captures_are_the_engines_own() {
    for architecture in [
        Architecture::Llama,
        Architecture::Gemma3,
        Architecture::Gpt2,
    ] {
        let all = captured(architecture, &Site::ALL, "all", None);
        let targets = Site::ALL.map(Site::target);
        let own = engine(architecture)
            .captured(&prompt(TOKENS).tokens, 0, &targets)
            .unwrap();
        for array in &all.arrays {
            let states = own.of(array.site.target());
            let mut rows = array.values.chunks_exact(array.width);
            assert_eq!(array.shape()[..2], [N_LAYER as usize, TOKENS as usize]);
            for &layer in &array.layers {
                for at in 0..TOKENS as u32 {
                    let row = rows.next().unwrap();
                    let what = format!("{architecture:?} {} {layer} {at}", array.site);
                    let Some(own) = states.get(layer, at) else {
                        assert_eq!(layer, N_LAYER - 1, "{what}");
                        continue;
                    };
                    assert_eq!(row.len(), own.len(), "{what}");
                    let close = row.iter().zip(own).all(|(a, b)| (a - b).abs() < CLOSE);
                    assert!(close && row.iter().any(|x| *x != 0.0), "{what}");
                }
            }
        }
    }
}

/// The state entering a layer is the one entering the layer below, and what that layer adds.
#[test]
fn layers_add_up() {
    let architectures = [
        Architecture::Llama,
        Architecture::Qwen2,
        Architecture::Gemma3,
        Architecture::Gpt2,
        Architecture::Phi2,
        Architecture::Falcon,
    ];
    for architecture in architectures {
        let sites = [Site::Residual, Site::AttnOut, Site::MlpOut];
        let all = captured(architecture, &sites, "all", None);
        let mut planned = Planned::new(model(architecture), &options(), 8).unwrap();
        let leaves = Capture {
            targets: vec![Site::Residual.target()],
            layers: [N_LAYER].into(),
            ..Capture::default()
        };
        let leaves = planned
            .captured_of_all(&prompt(TOKENS).tokens, &leaves)
            .unwrap();
        let [state, attention, mlp] = &all.arrays[..] else {
            panic!("{:?}", all.arrays.len());
        };
        let width = state.width;
        let row = |values: &[f32], layer: u32, at: u32| {
            let from = (layer as usize * TOKENS as usize + at as usize) * width;
            values[from..from + width].to_vec()
        };
        for layer in 0..N_LAYER {
            for at in 0..TOKENS as u32 {
                let above = match layer + 1 == N_LAYER {
                    true => leaves.inputs.get(N_LAYER, at).unwrap().to_vec(),
                    false => row(&state.values, layer + 1, at),
                };
                let own = row(&state.values, layer, at);
                let (added, more) = (
                    row(&attention.values, layer, at),
                    row(&mlp.values, layer, at),
                );
                let what = format!("{architecture:?}, layer {layer}, token {at}");
                assert!(added.iter().chain(&more).any(|x| x.abs() > CLOSE), "{what}");
                for n in 0..width {
                    let sum = own[n] + added[n] + more[n];
                    assert!((sum - above[n]).abs() < CLOSE, "{what}: {sum} {}", above[n]);
                }
            }
        }
    }
}

#[test]
fn tokens_and_layers_are_chosen() {
    let all = captured(Architecture::Llama, &[Site::Keys], "all", None);
    let some = captured(Architecture::Llama, &[Site::Keys], "1,3", Some("last:2"));
    assert_eq!(some.positions, [7, 8], "the last token too");
    let (all, some) = (&all.arrays[0], &some.arrays[0]);
    assert_eq!(
        (some.shape(), &some.layers[..]),
        ([2, 2, all.width], &[1, 3][..])
    );
    let row = |layer: usize, at: usize| {
        let from = (layer * TOKENS as usize + at) * all.width;
        all.values[from..from + all.width].to_vec()
    };
    let expected = [row(1, 7), row(1, 8), row(3, 7), row(3, 8)].concat();
    assert_eq!(some.values, expected);
}

/// Layers without attention are left out of `attn_out`, unless they are named.
#[test]
fn layers_without_a_place_are_left_out() {
    let hybrid = Architecture::ALL
        .iter()
        .copied()
        .find(|a| {
            (0..N_LAYER).any(|l| a.has_attention(l)) && (0..N_LAYER).any(|l| !a.has_attention(l))
        })
        .unwrap();
    let all = captured(hybrid, &[Site::AttnOut], "all", None);
    let has: Vec<u32> = (0..N_LAYER).filter(|l| hybrid.has_attention(*l)).collect();
    assert_eq!(all.arrays[0].layers, has);
    let named: u32 = all.arrays[0].left_out[0];
    let mut engine = Planned::new(model(hybrid), &options(), 8).unwrap();
    let layers: LayerList = named.to_string().parse().unwrap();
    let keep = Keep {
        sites: &[Site::AttnOut],
        layers: &layers,
        tokens: None,
    };
    let error = Captures::of(&mut engine, &prompt(TOKENS), &keep).unwrap_err();
    assert!(error.to_string().contains("attn_out"), "{error}");
}

fn source() -> Source {
    Source {
        model: "tiny".into(),
        sha256: "ab".into(),
    }
}

#[test]
fn others_read_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let sites = [Site::Residual, Site::Values];
    let all = captured(Architecture::Llama, &sites, "0-2", None);
    let file = folder.path().join("a.safetensors");
    write(&file, &[all.clone(), all.clone()], &source()).unwrap();
    let bytes = fs::read(&file).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    for array in &all.arrays {
        let name = ["0.resid_pre", "0.v"][usize::from(array.site == Site::Values)];
        let tensor = read.tensor(name).unwrap();
        assert_eq!(
            (tensor.dtype(), tensor.shape()),
            (Dtype::F32, &array.shape()[..])
        );
        let values: Vec<f32> = tensor
            .data()
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| f32::from_le_bytes(*bytes))
            .collect();
        assert_eq!(values, array.values, "{name}, to the bit");
    }
    let tokens = read.tensor("1.tokens").unwrap();
    assert_eq!(
        (tokens.dtype(), tokens.shape()),
        (Dtype::I32, &[TOKENS as usize][..])
    );
    assert_eq!(read.tensor("1.layers.v").unwrap().shape(), [3]);
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let said = header.metadata().as_ref().unwrap();
    assert_eq!(
        (said["model_sha256"].as_str(), said["sites"].as_str()),
        ("ab", "resid_pre,v")
    );
    // One array for NumPy.
    let one = captured(Architecture::Llama, &[Site::Residual], "all", None);
    let file = folder.path().join("a.npy");
    write(&file, std::slice::from_ref(&one), &source()).unwrap();
    let bytes = fs::read(&file).unwrap();
    let length = u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    assert_eq!(
        (&bytes[..8], (10 + length) % 64),
        (&b"\x93NUMPY\x01\x00"[..], 0)
    );
    let said = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    assert!(
        said.contains("'shape': (4, 9, 64)") && said.ends_with('\n'),
        "{said}"
    );
    assert_eq!(bytes.len(), 10 + length + 4 * one.arrays[0].values.len());
    // Whole or not at all.
    assert!(write(&file, &[all], &source()).is_err(), "two sites");
    assert_eq!(fs::read(&file).unwrap(), bytes);
}

#[test]
fn the_program_writes_what_the_library_keeps() {
    let place = Place::new();
    let line = "capture -m tiny.gguf -p abcdefgh --sites resid_pre,kv,attn_out --layers 1-3 --tokens last:2 --out s.safetensors";
    let run = place.run(line).success();
    let text = String::from_utf8(run.get_output().stdout.clone()).unwrap();
    assert!(
        text.contains("resid_pre") && text.contains("attn_out"),
        "{text}"
    );
    let bytes = fs::read(place.path("s.safetensors")).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(read.tensor("resid_pre").unwrap().shape(), [3, 2, 64]);
    assert_eq!(read.tensor("k").unwrap().shape()[..2], [3, 2]);
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let said = header.metadata().as_ref().unwrap();
    assert_eq!(said["model_sha256"].len(), 64);
    assert_eq!(said["text.0"], "abcdefgh");
    fs::write(place.path("p.txt"), "abc\ndefgh\n").unwrap();
    let line = "capture -m tiny.gguf --prompts p.txt --out s.safetensors";
    place.run(line).success();
    let bytes = fs::read(place.path("s.safetensors")).unwrap();
    let read = SafeTensors::deserialize(&bytes).unwrap();
    assert!(read.tensor("0.resid_pre").is_ok() && read.tensor("1.resid_pre").is_ok());
    let wrong = |arguments: &str, says: &str| {
        let line = format!("capture -m tiny.gguf -p abcdefgh {arguments}");
        one_line_error(2, says)(place.run(&line));
    };
    wrong(
        "--out s.bin",
        "states are written as .safetensors or .npy (--out)",
    );
    wrong("--out s.npy --sites k,v", "a .npy file holds one array");
    wrong(
        "--out s.npy --sites heads:1",
        "all heads of a layer are kept",
    );
    wrong("--out s.npy --layers 9", "out of range");
    wrong("--out s.npy --tokens 40-41", "is outside the prompt");
}

/// Texts in one batch leave what each leaves alone, to rounding; one too long for a batch is cut.
#[test]
fn texts_that_share_a_batch_leave_what_each_leaves_alone() {
    for architecture in [
        Architecture::Llama,
        Architecture::Gemma3,
        Architecture::Gpt2,
        Architecture::Mamba,
    ] {
        let options = ContextOptions {
            n_batch: 32,
            ..options()
        };
        let mut engine = Planned::new(model(architecture), &options, 8).unwrap();
        // Three in a batch; one that is cut in two; eight in a batch, as sequences allow; one.
        let lengths = [3, 9, 1, 40, 9, 2, 2, 2, 2, 2, 2, 2, 2];
        let texts: Vec<_> = lengths.map(|n| prompt(n).tokens).into();
        let texts: Vec<&[Token]> = texts.iter().map(Vec::as_slice).collect();
        // Mamba has no attention.
        let every = match architecture {
            Architecture::Mamba => &Site::ALL[..1],
            _ => &Site::ALL,
        };
        for sites in [&Site::ALL[..1], every] {
            let capture = Capture {
                targets: sites.iter().map(|site| site.target()).collect(),
                layers: (0..N_LAYER).collect(),
                ..Capture::default()
            };
            let decodes = engine.work().decodes;
            let mut together = Vec::new();
            let told = &mut |n, captured| {
                assert_eq!(n, together.len());
                together.push(captured);
            };
            engine.captured_of_texts(&texts, &capture, told).unwrap();
            let batches = engine.work().decodes - decodes;
            match architecture {
                Architecture::Mamba => assert_eq!(batches, texts.len() as u64 + 1),
                _ => assert_eq!(batches, 1 + 2 + 2),
            }
            for (tokens, together) in texts.iter().zip(&together) {
                let alone = engine.captured_of_all(tokens, &capture).unwrap();
                for site in sites {
                    let [a, b] = [&alone, together].map(|found| found.of(site.target()));
                    assert_eq!(a.iter().count(), b.iter().count());
                    assert!(a.iter().next().is_some());
                    for ((layer, at), row) in a.iter() {
                        let other = b.get(layer, at).unwrap();
                        let far = row.iter().zip(other).map(|(a, b)| (a - b).abs());
                        let far = far.fold(0.0, f32::max);
                        assert!(far < CLOSE, "{architecture:?} {site} {layer} {at}: {far}");
                    }
                }
            }
        }
    }
}
