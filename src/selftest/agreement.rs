//! The same thing computed in two ways.

use std::collections::HashMap;
use std::sync::Arc;

use super::examined::{Examined, NOISE_FACTOR};
use super::texts::{SHARED, rows_of};
use super::verdict::{distance, failed};
use super::watch::{CONTEXT, passes};
use super::{Check, Silent, Verdict, worst};
use crate::engine::{Engine, EngineError, Request, Straightforward};
use crate::hook::{CacheFill, Cut, Row, Start};
use crate::intervention::{Editor, Intervention, Kind, SecondWay, Site, States, Target};
use crate::runtime::{Context, ContextOptions, Token};

/// Rows in a micro-batch of several.
const PIECE: u32 = 5;

type Cell = (Kind, Site, u32);

impl Examined<'_> {
    /// Freeze leaves the same keys and values whichever way it is done.
    pub fn freeze_by_cache(&mut self) -> Result<(), EngineError> {
        let by_cache = |(kind, site, _): &Cell| {
            let way = kind.manipulation().second_way();
            way == Some(SecondWay::Cache) && *site == Site::Residual
        };
        let cells: Vec<Cell> = self.scope.cells().filter(by_cache).collect();
        let sites = &self.scope.sites;
        if !sites.contains(&Site::Keys) || !sites.contains(&Site::Values) {
            return Ok(());
        }
        // A frozen stream is read by recurrence too, frozen keys and values are not.
        if self.model.has_recurrence() {
            return Ok(());
        }
        for cell in cells {
            let (kind, _, k) = cell;
            self.check("freeze of the residual stream, of keys and values", 5)?;
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
        Ok(())
    }

    /// Skip-attention is what the model does when attention adds nothing.
    pub fn silent_weights(&mut self, silent: &mut Silent<'_>) -> Result<(), EngineError> {
        let silent_weights =
            |(kind, ..): &Cell| kind.manipulation().second_way() == Some(SecondWay::SilentWeights);
        let mut cells: Vec<Cell> = self.scope.cells().filter(silent_weights).collect();
        // Once silent, a layer stays so: from the highest down.
        cells.sort_by_key(|cell| std::cmp::Reverse(cell.2));
        for cell in cells {
            let (kind, site, k) = cell;
            self.check("attention without output weights", 2 + CONTEXT)?;
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
                break; // at other layers as well
            }
        }
        Ok(())
    }

    fn silent_run(&self, silent: &mut Silent<'_>, first: u32) -> Result<Vec<f32>, EngineError> {
        let model = silent.from(first)?;
        Straightforward::new(model, &self.options)?.logits(&self.request(vec![]))
    }

    /// A token that sees none of those before it from some layer up is, from there, as it would be
    /// with nothing else in the cache.
    pub fn alone(&mut self) -> Result<(), EngineError> {
        let alone = |(kind, ..): &Cell| kind.manipulation().second_way() == Some(SecondWay::Alone);
        let cells: Vec<Cell> = self.scope.cells().filter(alone).collect();
        // The last token's state of a recurrent model comes from all tokens before it.
        if cells.is_empty() || self.model.has_recurrence() {
            return Ok(());
        }
        self.check("states of a clean run", 1 + CONTEXT)?;
        let tokens = self.prompt.tokens.clone();
        let states = self.slow.captured(&tokens, 0, &[Target::Input])?;
        let states = Arc::new(states.inputs);
        let mut apart = Context::new(self.model.clone(), &self.options)?;
        for cell in cells {
            let (kind, site, k) = cell;
            self.check("prior tokens hidden, none of them in the cache", 2)?;
            let hidden = self.request(vec![self.intervention(kind, site, k)]);
            let Ok(hidden_logits) = self.slow.logits(&hidden) else {
                continue; // noted with the rows
            };
            let verdict = match last_from(&mut apart, &tokens, k, &states) {
                Ok(logits) => {
                    let off = distance(&logits, &hidden_logits);
                    self.judge(&hidden, &hidden_logits, off)
                }
                Err(error) => failed(&error),
            };
            self.note(Check::Alone, cell, verdict);
        }
        Ok(())
    }

    /// A prompt that goes through the graph in pieces, at one layer of each manipulation.
    pub fn micro_batches(&mut self) -> Result<(), EngineError> {
        let options = ContextOptions {
            n_ubatch: PIECE,
            ..self.options.clone()
        };
        let mut pieces = Straightforward::new(self.model.clone(), &options)?;
        for cell in self.scope.middle_cells() {
            self.check("several micro-batches, one", 2 * passes(cell.0, cell.1))?;
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
        self.check("several sequences in a batch, each alone", 4 + 2 * CONTEXT)?;
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
        if !verdict.is_wrong() && most <= self.most_noise() {
            return Ok(verdict);
        }
        let own = self.noise_in_turns(options, texts, &rows)?;
        if let Some(verdict) = several_texts(own, self.most_noise(), self.runs_alone()) {
            return Ok(verdict);
        }
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

    /// A prompt that begins as the first one does.
    pub fn sibling(&self) -> Vec<Token> {
        let mut tokens = self.prompt.tokens[..SHARED].to_vec();
        tokens.extend(&self.donor.tokens[SHARED..]);
        tokens
    }
}

/// What it means that llama.cpp's own logits of texts in one batch are `own` off those of each
/// alone, where rounding cannot make more than `most`; `None` where it can. `alone`: texts of this
/// model never share a batch.
fn several_texts(own: f64, most: f64, alone: bool) -> Option<Verdict> {
    let reason = format!(
        "llama.cpp itself, without a callback, gives logits for several texts in one batch that are {own:.1e} off those of each text alone, and rounding cannot make so much"
    );
    match (own > most, alone) {
        (false, _) => None,
        (true, true) => Some(Verdict::NotSupported {
            reason: format!("{reason}; so each text of this model is computed alone"),
        }),
        (true, false) => Some(Verdict::Wrong { reason }),
    }
}

/// Logits of a text's last token, from the state that enters layer `k`, in an empty cache.
fn last_from(
    context: &mut Context,
    tokens: &[Token],
    k: u32,
    states: &Arc<States>,
) -> Result<Vec<f32>, EngineError> {
    context.clear();
    let cut = Cut {
        first: k,
        cache: CacheFill::FromFirst,
        silent: false,
        onward: true,
    };
    let start = Start {
        states: states.clone(),
        from: k,
        frozen: None,
    };
    let last = rows_of(0, tokens).split_off(tokens.len() - 1);
    context.decode_part(&last, HashMap::new(), &cut, vec![start])?;
    Ok(context.logits(0)?.to_vec())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Architecture;
    use crate::selftest::Scope;
    use crate::selftest::made::{of, tiny};

    #[test]
    fn other_logits_beside_other_texts_are_no_rounding() {
        assert_eq!(several_texts(0.1, 0.2, false), None);
        assert!(several_texts(0.3, 0.2, false).is_some_and(|v| v.is_wrong()));
        for (architecture, apart) in [
            (Architecture::Deepseek2, false),
            (Architecture::Deepseek32, true),
            (Architecture::Jamba, false),
            (Architecture::Plamo2, true),
        ] {
            let model = tiny(architecture);
            let (scope, watch) = (Scope::spread(4, 1), &mut ());
            let mut examined = of(&model, &scope, watch);
            examined.sequences().unwrap();
            let verdict = &examined.found.findings[0].verdict;
            let refused = matches!(verdict, Verdict::NotSupported { .. });
            assert_eq!(refused, apart, "{architecture}: {verdict}");
            assert!(!verdict.is_wrong(), "{architecture}: {verdict}");
        }
    }
}
