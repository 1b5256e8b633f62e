//! The same thing computed in two ways.

use std::collections::HashMap;
use std::ops::ControlFlow;

use super::examined::{Examined, NOISE_FACTOR, SHARED, apart, distance, failed};
use super::noise::COPIES;
use super::{Check, Finding, Silent, Verdict, worst};
use crate::engine::{Engine, EngineError, Outcome, Planned, Request, Straightforward, Strategy};
use crate::hook::Row;
use crate::intervention::{Editor, Intervention, Kind, SecondWay, Site};
use crate::runtime::{Context, ContextOptions, Token};

/// Texts on which strategies are compared before something is called wrong, with experts.
const TEXTS: usize = 3;
/// Rows in a micro-batch of several.
const PIECE: u32 = 5;

type Cell = (Kind, Site, u32);

impl Examined<'_> {
    /// The callback must not change a clean run.
    pub fn callback(&mut self) -> Result<(), EngineError> {
        let mut bare = Context::without_callback(self.model.clone(), &self.options)?;
        let rows = rows_of(0, &self.prompt.tokens);
        bare.decode(&rows, HashMap::new(), None)?;
        let off = distance(bare.logits(rows.len() - 1)?, &self.clean);
        self.note_all(Check::Callback, None, Verdict::of(off, 0.0));
        Ok(())
    }

    /// Freeze leaves the same keys and values whichever way it is done.
    pub fn freeze_by_cache(&mut self) {
        let by_cache = |(kind, site, _): &Cell| {
            let way = kind.manipulation().second_way();
            way == Some(SecondWay::Cache) && *site == Site::Residual
        };
        let cells: Vec<Cell> = self.scope.cells().filter(by_cache).collect();
        let sites = &self.scope.sites;
        if !sites.contains(&Site::Keys) || !sites.contains(&Site::Values) {
            return;
        }
        // A frozen stream is read by recurrence too, frozen keys and values are not.
        if self.model.has_recurrence() {
            return;
        }
        for cell in cells {
            let (kind, _, k) = cell;
            let by_stream = self.request(vec![self.intervention(kind, Site::Residual, k)]);
            let by_cache = self.request(vec![
                self.intervention(kind, Site::Keys, k),
                self.intervention(kind, Site::Values, k),
            ]);
            let verdict = match (self.slow.logits(&by_stream), self.slow.logits(&by_cache)) {
                (Ok(a), Ok(b)) => self.judge(&by_stream, &a, distance(&a, &b)),
                (Err(error), _) | (_, Err(error)) => failed(&error),
            };
            // A layer without keys and values leaves freeze of the stream as it is.
            let refused = matches!(verdict, Verdict::NotSupported { .. });
            for site in [Site::Residual, Site::Keys, Site::Values] {
                if refused && site == Site::Residual {
                    continue;
                }
                self.note(Check::FreezeByCache, (kind, site, k), verdict.clone());
            }
        }
    }

    /// Skip-attention is what the model does when attention adds nothing.
    pub fn silent_weights(&mut self, silent: &mut Silent<'_>) {
        let silent_weights =
            |(kind, ..): &Cell| kind.manipulation().second_way() == Some(SecondWay::SilentWeights);
        let mut cells: Vec<Cell> = self.scope.cells().filter(silent_weights).collect();
        // Once silent, a layer stays so: from the highest down.
        cells.sort_by_key(|cell| std::cmp::Reverse(cell.2));
        for cell in cells {
            let (kind, site, k) = cell;
            let skipped = self.request(vec![self.intervention(kind, site, k)]);
            let Ok(skipped_logits) = self.slow.logits(&skipped) else {
                continue; // noted with the rows
            };
            let verdict = match self.silent_run(silent, k) {
                Ok(silent) => {
                    let off = distance(&silent, &skipped_logits);
                    self.judge(&skipped, &skipped_logits, off)
                }
                Err(error) => failed(&error),
            };
            let refused = matches!(verdict, Verdict::NotSupported { .. });
            self.note(Check::SilentWeights, cell, verdict);
            if refused {
                return; // at other layers as well
            }
        }
    }

    fn silent_run(&self, silent: &mut Silent<'_>, first: u32) -> Result<Vec<f32>, EngineError> {
        let model = silent.from(first)?;
        Straightforward::new(model, &self.options)?.logits(&self.request(vec![]))
    }

    /// A prompt that goes through the graph in pieces, at one layer of each manipulation.
    pub fn micro_batches(&mut self) -> Result<(), EngineError> {
        let options = ContextOptions {
            n_ubatch: PIECE,
            ..self.options.clone()
        };
        let mut pieces = Straightforward::new(self.model.clone(), &options)?;
        for cell in self.middle_cells() {
            let request = self.request(vec![self.intervention(cell.0, cell.1, cell.2)]);
            let Ok(whole) = self.slow.logits(&request) else {
                continue; // noted with the rows
            };
            let verdict = match pieces.logits(&request) {
                Ok(pieces) => self.judge(&request, &whole, distance(&pieces, &whole)),
                Err(error) => failed(&error),
            };
            self.note(Check::MicroBatches, cell, verdict);
        }
        Ok(())
    }

    /// Each manipulation at the middle one of its layers.
    fn middle_cells(&self) -> Vec<Cell> {
        let mut cells: Vec<Cell> = Vec::new();
        let all: Vec<Cell> = self.scope.cells().collect();
        for group in all.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            cells.push(group[group.len() / 2]);
        }
        cells
    }

    /// Rows of three sequences in turns, clean and manipulated.
    pub fn sequences(&mut self) -> Result<(), EngineError> {
        let options = ContextOptions {
            n_seq_max: 3,
            ..self.options.clone()
        };
        let texts = [
            self.prompt.tokens.clone(),
            self.donor.tokens.clone(),
            self.sibling(),
        ];
        let mut verdict = Verdict::Exact;
        for (n, text) in texts.iter().enumerate() {
            let found = self.together(&options, text);
            verdict = found.unwrap_or_else(|e| failed(&e));
            // See `planned` on experts.
            if !verdict.is_wrong() || !self.model.has_experts() {
                self.found.flipped += u32::from(n > 0 && !verdict.is_wrong());
                break;
            }
        }
        self.note_all(Check::Sequences, None, verdict);
        Ok(())
    }

    fn together(
        &mut self,
        options: &ContextOptions,
        text: &[Token],
    ) -> Result<Verdict, EngineError> {
        let middle = self.n_layer() / 2;
        let plans = [
            vec![],
            vec![Intervention::freeze(middle.max(1))],
            vec![Intervention::random(middle, 5)],
        ];
        let plans = if self.n_layer() > 1 {
            &plans[..]
        } else {
            &plans[..1]
        };
        let texts = self.texts_in_turns(text);
        let texts = &texts[..plans.len()];
        let rows = in_turns(texts, !self.model.has_recurrence());
        let mut context = Context::new(self.model.clone(), options)?;
        let editor = |plan: &Vec<Intervention>| Editor::new(plan.clone().into(), self.n_layer());
        let editors = (0..).zip(plans.iter().map(editor)).collect();
        context.decode(&rows, editors, None)?;
        let mut verdicts = Vec::new();
        let mut most: f64 = 0.0;
        for (n, row) in rows.iter().enumerate().filter(|(_, row)| row.output) {
            let sequence = row.sequence as usize;
            let alone = Request {
                tokens: texts[sequence].clone(),
                plan: plans[sequence].clone(),
                ..Request::default()
            };
            let logits = self.slow.logits(&alone)?;
            let off = distance(context.logits(n)?, &logits);
            verdicts.push(self.judge(&alone, &logits, off));
            most = most.max(off);
        }
        let verdict = worst(verdicts.iter()).cloned().unwrap_or(Verdict::Exact);
        if !verdict.is_wrong() {
            return Ok(verdict);
        }
        let own = self.noise_in_turns(options, texts, &rows)?;
        let tolerance = (NOISE_FACTOR * own).max(self.clean_tolerance());
        let again = Verdict::of(most, tolerance);
        Ok(if again.is_wrong() { verdict } else { again })
    }

    /// Three texts. llama.cpp regroups the rows of a recurrent model unless sequences are as
    /// long as each other, and come one after the other.
    fn texts_in_turns(&self, text: &[Token]) -> [Vec<Token>; 3] {
        if self.model.has_recurrence() {
            let donor = self.donor.tokens.clone();
            return [text.to_vec(), donor, self.sibling()];
        }
        let shorter = |by: usize| text[..text.len() - by].to_vec();
        [text.to_vec(), shorter(2), shorter(1)]
    }

    /// The planned strategy, on two prompts that begin alike, with tokens that follow.
    pub fn planned(&mut self) -> Result<(), EngineError> {
        let follow = self.following();
        let other = self.sibling();
        let mut cells: Vec<(Option<Cell>, Request)> = Vec::new();
        let mut slow: Vec<Outcome> = Vec::new();
        let all: Vec<Cell> = self.scope.cells().collect();
        let middle = self.middle_cells();
        let every = std::iter::once(None).chain(all.into_iter().map(Some));
        for cell in every {
            let plan = cell.map(|(kind, site, k)| self.intervention(kind, site, k));
            let mut request = self.request(plan.into_iter().collect());
            request.continuations.clone_from(&follow);
            // The other prompt at one layer of each is enough to have them share what they can.
            let again = cell.is_none_or(|cell| middle.contains(&cell));
            let mut sibling = request.clone();
            sibling.tokens.clone_from(&other);
            for request in std::iter::once(request).chain(again.then_some(sibling)) {
                match self.slow.run(&request) {
                    Ok(outcome) => {
                        slow.push(outcome);
                        cells.push((cell, request));
                    }
                    Err(error) => self.note_planned(cell, failed(&error)),
                }
            }
        }
        let mut verdicts = self.hold_against(&cells, &slow)?;
        // Where experts are chosen, a hair's breadth decides between two that are nearly alike,
        // and then another output is no fault: what is wrong is so with every text. What is so
        // with some of them only is counted.
        for draw in 1..TEXTS {
            if !self.model.has_experts() || !verdicts.iter().any(Verdict::is_wrong) {
                break;
            }
            for (_, request) in &mut cells {
                request.tokens[2..SHARED].rotate_left(draw);
            }
            let slow: Result<Vec<_>, _> = cells.iter().map(|(_, r)| self.slow.run(r)).collect();
            let others = self.hold_against(&cells, &slow?)?;
            for (verdict, other) in verdicts.iter_mut().zip(others) {
                if verdict.is_wrong() {
                    self.found.flipped += u32::from(!other.is_wrong());
                    *verdict = other;
                }
            }
        }
        for ((cell, _), verdict) in cells.into_iter().zip(verdicts) {
            self.note_planned(cell, verdict);
        }
        Ok(())
    }

    /// What the planned strategy gives, all requests at once, against what the other gave.
    fn hold_against(
        &mut self,
        cells: &[(Option<Cell>, Request)],
        slow: &[Outcome],
    ) -> Result<Vec<Verdict>, EngineError> {
        let requests: Vec<Request> = cells.iter().map(|(_, request)| request.clone()).collect();
        let mut engine = Planned::new(self.model.clone(), &self.options, COPIES)?;
        let mut given: Vec<Option<Outcome>> = vec![None; requests.len()];
        let ran = engine.run_all(&requests, &mut |n, outcome| {
            given[n] = Some(outcome);
            ControlFlow::Continue(())
        });
        self.found.computed_whole = engine.work().reason;
        let mut verdicts = Vec::new();
        for ((given, request), slow) in given.iter().zip(&requests).zip(slow) {
            verdicts.push(match (given, &ran) {
                (Some(planned), _) => self.judge(request, &slow.logits, apart(planned, slow)),
                (None, Err(error)) => failed(error),
                (None, Ok(())) => Verdict::Wrong {
                    reason: "no outcome came".into(),
                },
            });
        }
        Ok(verdicts)
    }

    fn note_planned(&mut self, cell: Option<Cell>, verdict: Verdict) {
        self.found.findings.push(Finding {
            check: Check::Planned,
            manipulation: cell.map(|c| c.0),
            site: cell.map(|c| c.1),
            strategy: Strategy::Planned,
            layer: cell.map(|c| c.2),
            verdict,
        });
    }

    /// Tokens that follow the prompt, where the model's memory can be rewound.
    fn following(&mut self) -> Vec<Vec<Token>> {
        let follow = vec![self.donor.tokens[SHARED..SHARED + 2].to_vec()];
        let mut request = self.request(vec![]);
        request.continuations.clone_from(&follow);
        match self.slow.run(&request) {
            Ok(_) => follow,
            Err(_) => Vec::new(),
        }
    }

    /// A prompt that begins as the first one does.
    fn sibling(&self) -> Vec<Token> {
        let mut tokens = self.prompt.tokens[..SHARED].to_vec();
        tokens.extend(&self.donor.tokens[SHARED..]);
        tokens
    }
}

/// The rows of several texts in a batch: by position, or one text after the other.
fn in_turns(texts: &[Vec<Token>], by_position: bool) -> Vec<Row> {
    let texts = (0..).zip(texts);
    let mut rows: Vec<Row> = texts.flat_map(|(n, text)| rows_of(n, text)).collect();
    if by_position {
        rows.sort_by_key(|row| row.position);
    }
    rows
}

/// The rows of a text in a batch, logits wanted of the last.
pub(super) fn rows_of(sequence: u32, tokens: &[Token]) -> Vec<Row> {
    let last = tokens.len() - 1;
    let row = |(i, token): (usize, &Token)| Row {
        sequence,
        position: i as u32,
        token: token.0,
        prior: i < last,
        output: i == last,
    };
    tokens.iter().enumerate().map(row).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Scope;
    use super::*;
    use crate::runtime::{Architecture, Synthetic};

    #[test]
    fn strategies_that_disagree_on_tokens_that_follow_are_wrong() {
        let model = Arc::new(Synthetic::new(Architecture::Llama).build().unwrap());
        let options = ContextOptions {
            threads: 1,
            ..ContextOptions::default()
        };
        let scope = Scope::spread(4, 1);
        let mut examined = Examined::new(&model, &options, &scope).unwrap();
        let cell = (Kind::Random, Site::Residual, 2);
        let plan = vec![examined.intervention(cell.0, cell.1, cell.2)];
        let mut request = examined.request(plan);
        request.continuations = examined.following();
        let mut sibling = request.clone();
        sibling.tokens = examined.sibling();
        for request in [request, sibling] {
            let own = examined.slow.run(&request).unwrap();
            let cells = [(Some(cell), request)];
            let mut verdict = |slow: Outcome| examined.hold_against(&cells, &[slow]).unwrap();
            assert!(!verdict(own.clone())[0].is_wrong());
            let mut other = own;
            other.branches[0][1][3] += 0.1;
            assert!(verdict(other)[0].is_wrong());
        }
    }
}
