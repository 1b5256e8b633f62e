//! Maps of the lens, as picture and text.

use std::ops::ControlFlow;

use midlayer::engine::{Planned, log_softmax, top};
use midlayer::maps::{Form, Lens, LensPicture};
use midlayer::runtime::{Architecture, Token};

use super::{ANSWER, TOKENS, lens};
use crate::common::tiny::{N_LAYER, engine, model, options, prompt, tokens};

fn map(architecture: Architecture, positions: &[u32], layers: &[u32]) -> Lens {
    let mut engine = Planned::new(model(architecture), &options(), 8).unwrap();
    let (mut steps, mut last) = (Vec::new(), 0);
    let lens = Lens::of(
        &mut engine,
        &prompt(TOKENS),
        (layers, positions),
        Some(ANSWER),
        &mut |done, all| {
            steps.push(done);
            last = all;
            ControlFlow::Continue(())
        },
    );
    assert_eq!(steps, (1..=layers.len() + 1).collect::<Vec<_>>());
    assert_eq!(last, layers.len() + 1);
    lens.unwrap()
}

#[test]
fn a_cell_says_what_the_logits_say() {
    let text = tokens(TOKENS);
    let (positions, layers) = ([0, 7, 19], [1, 2]);
    let lens_map = map(Architecture::Llama, &positions, &layers);
    assert_eq!(lens_map.layers, [1, 2, N_LAYER]);
    let told = lens(&mut engine(Architecture::Llama), &text, &[1, 2, N_LAYER]);
    for (row, at) in positions.iter().enumerate() {
        let tops = lens_map.layers.iter().map(|layer| {
            let logits = &told[&(*layer, *at)];
            let logprobs = log_softmax(logits);
            let column = lens_map.layers.iter().position(|l| l == layer).unwrap();
            let said = &lens_map.said[row][column];
            let expected = top(logits, 5);
            assert_eq!(said.top.len(), 5);
            for ((token, logprob), (best, _)) in said.top.iter().zip(expected) {
                assert_eq!(*token, best);
                assert!((logprob - logprobs[best.0 as usize]).abs() < 1e-5);
            }
            let entropy: f64 = logprobs.iter().map(|x| -x.exp() * x).sum();
            assert!((said.entropy - entropy).abs() < 1e-5, "{entropy}");
            let answer = said.answer.unwrap();
            assert!((answer.logprob - logprobs[ANSWER.0 as usize]).abs() < 1e-5);
            let above = logprobs
                .iter()
                .filter(|x| **x > logprobs[ANSWER.0 as usize]);
            assert_eq!(answer.rank, 1 + above.count());
            said.likeliest()
        });
        let tops: Vec<Token> = tops.collect();
        let from = lens_map.commitments()[row];
        assert!(tops[from..].iter().all(|top| *top == tops[2]), "{tops:?}");
        assert!(from == 0 || tops[from - 1] != tops[2], "{tops:?}");
    }
}

#[test]
fn forms_hold_every_state() {
    let positions: Vec<u32> = (0..TOKENS as u32).collect();
    let layers: Vec<u32> = (0..N_LAYER).collect();
    let lens = map(Architecture::Llama, &positions, &layers);
    let rows: Vec<(i32, String)> = (tokens(TOKENS).iter())
        .map(|token| (token.0, format!("\u{1b}<{}\">,", token.0)))
        .collect();
    let picture = LensPicture {
        lens: &lens,
        tokens: &rows,
        title: "<title>".into(),
        answer: Some(" <answer>".into()),
        text_of: &|token| format!(" \u{1b}<{}", token.0),
    };
    let n = TOKENS as usize * (N_LAYER as usize + 1);
    let csv = picture.text(Form::Csv);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(reader.records().map(Result::unwrap).count(), n);
    let lines: Vec<serde_json::Value> = picture
        .text(Form::Jsonl)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), n);
    let from = lens.commitments();
    for line in &lines {
        let number = |field: &str| line[field].as_u64().unwrap() as usize;
        let said = &lens.said[number("position")][number("layer")];
        assert_eq!(line["top_token"], said.likeliest().0);
        assert_eq!(line["top"][0]["logprob"], line["top_logprob"]);
        assert_eq!(line["top"].as_array().unwrap().len(), 5);
        assert_eq!(line["entropy"].as_f64(), Some(said.entropy));
        let answer = said.answer.unwrap();
        assert_eq!(line["answer_logprob"].as_f64(), Some(answer.logprob));
        assert_eq!(number("answer_rank"), answer.rank);
        let stays = number("layer") >= from[number("position")];
        assert_eq!(line["stays"], stays, "{line}");
    }
    let svg = picture.text(Form::Svg);
    assert!(svg.contains("&lt;title&gt;") && svg.contains("␣"), "{svg}");
    assert!(!svg.contains('\u{1b}'), "{svg}");
}
