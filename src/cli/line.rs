//! The lines of `try -o json`.

use serde::Serialize;

use super::try_prompt::Run;
use midlayer::engine::{Engine, Generation, argmax, kl, log_softmax, rank, top};
use midlayer::shown;

/// One line. The first is the clean run.
#[derive(Serialize)]
pub struct Line {
    manipulation: String,
    layer: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
    argmax: Argmax,
    /// From the clean next-token distribution, nats.
    kl: f64,
    clean_answer: CleanAnswer,
    /// Token ids and logits, likeliest first.
    top: Vec<(i32, f32)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    generated: Option<Vec<i32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// By how much the likeliest logit exceeded the second at each step.
    #[serde(skip_serializing_if = "Option::is_none")]
    margins: Option<Vec<f32>>,
}

#[derive(Serialize)]
struct Argmax {
    id: i32,
    text: String,
}

/// What became of the token that the clean run gives.
#[derive(Serialize)]
struct CleanAnswer {
    rank: usize,
    logprob: f64,
}

impl Line {
    /// The line of a run, or of the clean run.
    pub fn new(engine: &impl Engine, run: Option<&Run>, clean: &[f32], logits: &[f32]) -> Self {
        let likeliest = argmax(logits);
        let answer = argmax(clean);
        Self {
            manipulation: run.map_or("clean".into(), |run| run.name.clone()),
            layer: run.map(|run| run.layer),
            seed: run.and_then(|run| run.seed),
            argmax: Argmax {
                id: likeliest.0,
                text: engine.piece(likeliest),
            },
            kl: kl(clean, logits),
            clean_answer: CleanAnswer {
                rank: rank(logits, answer),
                logprob: log_softmax(logits)[answer.0 as usize],
            },
            top: top(logits, 20)
                .into_iter()
                .map(|(token, logit)| (token.0, logit))
                .collect(),
            generated: None,
            text: None,
            margins: None,
        }
    }

    /// The same with what was generated.
    pub fn with(mut self, generation: &Generation, text: String) -> Self {
        self.generated = Some(generation.tokens.iter().map(|t| t.0).collect());
        self.margins = Some(generation.margins.clone());
        self.text = Some(text);
        self
    }

    /// The line as JSON.
    pub fn text(&self) -> anyhow::Result<String> {
        Ok(format!("{}\n", shown::json(&serde_json::to_string(self)?)))
    }
}
