//! The model on the table: its engines, its prompts, its clean runs, and how findings are noted.

use std::collections::HashMap;
use std::sync::Arc;

use super::asked::{Asked, Beside};
use super::noise::Crowd;
use super::texts::{LENGTH, rows_of, texts};
use super::verdict::distance;
use super::watch::{CLEAN, CONTEXT};
use super::{Check, Finding, Scope, SelfTest, Verdict, Watch};
use crate::engine::{Engine, EngineError, Prompt, Request, Straightforward, Strategy};
use crate::hook::{Captured, Row, Witness};
use crate::intervention::{Extent, Intervention, Kind, PositionSet, Site, States};
use crate::runtime::{CacheType, Context, ContextOptions, FlashAttention, Model, Token};

/// Tolerances are so many times the noise, and never less than what F32 leaves.
pub(super) const NOISE_FACTOR: f64 = 6.0;
const LEAST_TOLERANCE: f64 = 1e-3;
/// What one value of sixteen bits can make that rounds to its neighbour, in a cache or where the
/// processor looks GELU up in ggml's table: a thousandth of a logit was seen, where all else left
/// five millionths. Which of them do is no matter of shapes alone, so that measuring noise may meet
/// none.
const SIXTEEN_BITS: f64 = 4e-3;
/// More measures than the usual one are made of so many cells: a model with which all is wrong
/// should not take forever.
const PATIENCE: u32 = 24;
pub(super) const SEED: u64 = 7;

/// A text whose clean run is known twice over.
pub(super) struct Clean {
    pub tokens: Vec<Token>,
    /// By llama.cpp's own names.
    pub witness: Witness,
    /// Through the analysed graph.
    pub captured: Captured,
    /// By llama.cpp's own names, in the run that was captured (see [`super::asked`]).
    pub beside: Witness,
    /// After the last token, with caches of F32.
    pub logits: Vec<f32>,
}

/// A model under examination.
pub(super) struct Examined<'s> {
    pub scope: &'s Scope,
    watch: &'s mut dyn Watch,
    pub model: Arc<Model>,
    pub options: ContextOptions,
    /// The straightforward strategy under the user's settings.
    pub slow: Straightforward,
    /// The same with caches of F32, whose rows can be compared.
    pub exact: Straightforward,
    /// The prompt, and another of the same length whose states are injected.
    pub prompt: Clean,
    pub donor: Clean,
    /// Logits after the prompt's clean run, under the user's settings.
    pub clean: Vec<f32>,
    /// States of that run, by llama.cpp's own names.
    pub clean_rows: Witness,
    pub found: SelfTest,
    /// The noise floor by cuts of the batch alone, before any other measure of noise.
    floor_of_cuts: f64,
    /// See [`Self::beside`].
    pub beside: HashMap<Asked, Arc<Beside>>,
    /// Logits that the straightforward strategy gave after the prompt alone.
    pub known: HashMap<(Kind, Site, u32), Vec<f32>>,
    /// For more measures of noise, once they are needed.
    crowd: Option<Crowd>,
    /// Cells whose own noise may still be measured in more shapes.
    patience: u32,
}

impl<'s> Examined<'s> {
    pub fn new(
        model: &Arc<Model>,
        options: &ContextOptions,
        scope: &'s Scope,
        watch: &'s mut dyn Watch,
    ) -> Result<Self, EngineError> {
        watch.check("clean runs", CLEAN + 2 * CONTEXT);
        let options = ContextOptions {
            n_ctx: 64,
            n_batch: 64,
            n_ubatch: 64,
            n_seq_max: 1,
            ..options.clone()
        };
        let plain = ContextOptions {
            flash_attention: FlashAttention::Off,
            cache_k: CacheType::F32,
            cache_v: CacheType::F32,
            ..options.clone()
        };
        let mut slow = Straightforward::new(model.clone(), &options)?;
        let mut exact = Straightforward::new(model.clone(), &plain)?;
        slow.context().call_witness();
        exact.context().call_witness();
        let (tokens, others) = texts(model)?;
        let prompt = Clean::new(&mut exact, tokens.clone())?;
        let donor = Clean::new(&mut exact, others)?;
        let text = Prompt::new("", tokens, |_| Vec::new());
        let floors = slow.noise_floor(std::slice::from_ref(&text))?;
        let noise_floor = floors.iter().map(|f| f.max_logit).fold(0.0, f64::max);
        let clean = slow.logits(&Request::new(&text))?;
        let clean_rows = slow.context().testimony();
        Ok(Self {
            scope,
            watch,
            model: model.clone(),
            options,
            slow,
            exact,
            prompt,
            donor,
            clean,
            clean_rows,
            found: SelfTest {
                noise_floor,
                drowned: 0,
                flipped: 0,
                layers: scope.layers.clone(),
                left_out: false,
                computed_whole: None,
                findings: Vec::new(),
            },
            floor_of_cuts: noise_floor,
            beside: HashMap::new(),
            known: HashMap::new(),
            crowd: None,
            patience: PATIENCE,
        })
    }

    /// A comparison of about so many runs begins, unless no more are wanted.
    pub fn check(&mut self, what: &str, runs: usize) -> Result<(), EngineError> {
        if self.options.stop.is_asked() {
            return Err(EngineError::Stopped);
        }
        self.watch.check(what, runs);
        Ok(())
    }

    pub fn n_layer(&self) -> u32 {
        self.model.n_layer()
    }

    pub fn request(&self, plan: Vec<Intervention>) -> Request {
        Request {
            tokens: self.prompt.tokens.clone(),
            plan,
            ..Request::default()
        }
    }

    /// The manipulation at a layer, on all prior tokens.
    pub fn intervention(&self, kind: Kind, site: Site, k: u32) -> Intervention {
        let states = self.given(kind, site);
        // The donor is as long as the prompt: nothing is given for tokens that follow.
        let tokens = match states {
            Some(_) => PositionSet::below(LENGTH as u32 - 1),
            None => PositionSet::all(),
        };
        kind.intervention(k, SEED, Extent::Paper, tokens, states)
            .on(site)
    }

    /// The states that a manipulation needs.
    pub fn given(&self, kind: Kind, site: Site) -> Option<Arc<States>> {
        if !kind.manipulation().needs().states() {
            return None;
        }
        let states = self.donor.captured.of(site.target());
        Some(Arc::new(states.clone()))
    }

    /// What a cell may differ by where batch shapes are not the same: see the module's words.
    pub fn tolerance(&mut self, request: &Request, logits: &[f32]) -> f64 {
        let own = self.noise_of_cut(request, logits, request.tokens.len() / 2);
        (NOISE_FACTOR * own).max(self.clean_tolerance())
    }

    fn noise_of_cut(&mut self, request: &Request, logits: &[f32], cut: usize) -> f64 {
        let cut = Request {
            cuts: vec![cut],
            continuations: Vec::new(),
            ..request.clone()
        };
        let cut = self.slow.logits(&cut);
        cut.map_or(0.0, |l| distance(&l, logits))
    }

    /// What clean texts differ by between a batch of them all in turns and each alone, where
    /// there is no callback at all: the model's own noise in that very shape.
    pub fn noise_in_turns(
        &self,
        options: &ContextOptions,
        texts: &[Vec<Token>],
        rows: &[Row],
    ) -> Result<f64, EngineError> {
        let mut together = Context::without_callback(self.model.clone(), options)?;
        together.decode(rows, HashMap::new(), None)?;
        let mut alone = Context::without_callback(self.model.clone(), options)?;
        let mut most: f64 = 0.0;
        for (n, row) in rows.iter().enumerate().filter(|(_, row)| row.output) {
            let text = rows_of(0, &texts[row.sequence as usize]);
            alone.clear();
            alone.decode(&text, HashMap::new(), None)?;
            let off = distance(together.logits(n)?, alone.logits(text.len() - 1)?);
            most = most.max(off);
        }
        Ok(most)
    }

    /// Judges what two computations of a cell differ by, one of which gave these logits. Where
    /// it is more than the usual measure of noise allows, noise is measured in more batch
    /// shapes before anything is called wrong.
    pub fn judge(&mut self, request: &Request, logits: &[f32], difference: f64) -> Verdict {
        let tolerance = self.allowed(request, logits, difference);
        let verdict = Verdict::of(difference, tolerance);
        if matches!(verdict, Verdict::Within { .. }) && request.tokens == self.prompt.tokens {
            let effect = self.effect(request, logits);
            self.found.drowned += u32::from(effect > 0.0 && effect <= tolerance);
        }
        verdict
    }

    fn allowed(&mut self, request: &Request, logits: &[f32], difference: f64) -> f64 {
        // The cell's own noise is measured where the clean run's does not explain a difference.
        let tolerance = self.clean_tolerance();
        if difference <= tolerance {
            return tolerance;
        }
        let tolerance = self.tolerance(request, logits);
        if difference <= tolerance {
            return tolerance;
        }
        self.measure_clean_noise();
        let tolerance = tolerance.max(self.clean_tolerance()).max(SIXTEEN_BITS);
        if difference <= tolerance || self.patience == 0 {
            return tolerance;
        }
        self.patience -= 1;
        let noise = self.noise_in_more_shapes(request, logits);
        tolerance.max(NOISE_FACTOR * noise)
    }

    /// Takes into the floor, once, what clean texts among copies of themselves differ by.
    fn measure_clean_noise(&mut self) {
        // What never shares a batch is not judged by what it would do there.
        if self.crowd.is_some() || self.runs_alone() {
            return;
        }
        self.crowd = Some(Crowd::new(&self.model, &self.options));
        for tokens in [self.prompt.tokens.clone(), self.donor.tokens.clone()] {
            let noise = self.noise_of_crowd(&tokens, &[]);
            self.found.noise_floor = self.found.noise_floor.max(noise);
        }
    }

    fn noise_of_crowd(&mut self, tokens: &[Token], plan: &[Intervention]) -> f64 {
        let crowd = self.crowd.as_mut();
        crowd.map_or(0.0, |crowd| crowd.noise(tokens, plan))
    }

    /// What a cell differs from itself by, cut at several places, and among copies of itself,
    /// with the tokens that follow it and without them.
    fn noise_in_more_shapes(&mut self, request: &Request, logits: &[f32]) -> f64 {
        let mut noise: f64 = 0.0;
        for cut in [1, LENGTH / 4, LENGTH - 3, LENGTH - 1] {
            noise = noise.max(self.noise_of_cut(request, logits, cut));
        }
        noise = noise.max(self.noise_of_crowd(&request.tokens, &request.plan));
        for follow in &request.continuations {
            let text = [&request.tokens[..], follow].concat();
            noise = noise.max(self.noise_of_crowd(&text, &request.plan));
        }
        noise
    }

    /// What the clean run may be off by.
    pub fn clean_tolerance(&self) -> f64 {
        (NOISE_FACTOR * self.found.noise_floor).max(LEAST_TOLERANCE)
    }

    /// Whether texts of this model never share a batch: its attention chooses which tokens it
    /// reads, or layers keep a state. llama.cpp's own logits of several texts in a batch are not
    /// always those of each text alone there.
    pub fn runs_alone(&self) -> bool {
        let anatomy = self.slow.context().anatomy();
        let chooses = anatomy.is_some_and(|anatomy| anatomy.edges.chooser.is_some());
        chooses || self.model.has_recurrence()
    }

    /// The most that rounding makes where texts share a batch: a quarter of what another text
    /// changes is none, nor is it many times what the same text differs by when its batch is cut.
    pub fn most_noise(&self) -> f64 {
        const TIMES: f64 = 50.0;
        let effect = distance(&self.prompt.logits, &self.donor.logits);
        (TIMES * self.floor_of_cuts)
            .max(10.0 * LEAST_TOLERANCE)
            .min(effect / 4.0)
    }

    /// Notes a verdict on the manipulation (kind, site, layer) by the straightforward strategy.
    pub fn note(&mut self, check: Check, (kind, site, k): (Kind, Site, u32), verdict: Verdict) {
        self.found.findings.push(Finding {
            check,
            manipulation: Some(kind),
            site: Some(site),
            strategy: Strategy::Straightforward,
            layer: Some(k),
            verdict,
        });
    }

    /// Notes a verdict that is about no manipulation in particular.
    pub fn note_all(&mut self, check: Check, site: Option<Site>, verdict: Verdict) {
        self.found.findings.push(Finding {
            check,
            manipulation: None,
            site,
            strategy: Strategy::Straightforward,
            layer: None,
            verdict,
        });
    }
}

impl Clean {
    fn new(engine: &mut Straightforward, tokens: Vec<Token>) -> Result<Self, EngineError> {
        let request = Request {
            tokens: tokens.clone(),
            ..Request::default()
        };
        let logits = engine.logits(&request)?;
        let witness = without_padding(engine.context());
        let targets = Site::ALL.map(Site::target);
        let captured = engine.captured(&tokens, 0, &targets)?;
        let beside = without_padding(engine.context());
        Ok(Self {
            tokens,
            witness,
            captured,
            beside,
            logits,
        })
    }
}

/// What the witness saw, without the zeros by which llama.cpp fills rows of values up where the
/// heads of layers differ in number.
pub(super) fn without_padding(context: &Context) -> Witness {
    let mut witness = context.testimony();
    let heads = context.model().heads();
    for (layer, rows) in &mut witness.values {
        let width = rows.len() / LENGTH;
        let Some((_, own)) = heads.of_values(*layer, width) else {
            continue;
        };
        let zeros = |row: &[f32]| row[own..].iter().all(|value| *value == 0.0);
        if own < width && rows.chunks(width).all(zeros) {
            *rows = rows
                .chunks(width)
                .flat_map(|row| row[..own].to_vec())
                .collect();
        }
    }
    witness
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Architecture;
    use crate::selftest::made::{of, tiny};

    #[test]
    fn a_tolerance_as_large_as_the_effect_is_counted() {
        let model = tiny(Architecture::Llama);
        let (scope, watch) = (Scope::spread(4, 1), &mut ());
        let mut examined = of(&model, &scope, watch);
        let request = examined.request(vec![Intervention::random(1, SEED)]);
        let logits = examined.slow.logits(&request).unwrap();
        let near = examined.judge(&request, &logits, 1e-6);
        assert!(matches!(near, Verdict::Within { .. }));
        assert_eq!(examined.found.drowned, 0);
        assert!(examined.judge(&request, &logits, 1.0).is_wrong());
        examined.found.noise_floor = 1e6;
        let far = examined.judge(&request, &logits, 1.0);
        assert!(matches!(far, Verdict::Within { .. }));
        assert_eq!(examined.found.drowned, 1);
    }
}
