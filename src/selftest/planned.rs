//! The planned strategy held against the straightforward one.

use std::ops::ControlFlow;

use super::examined::Examined;
use super::noise::COPIES;
use super::texts::SHARED;
use super::verdict::{apart, failed};
use super::watch::{CONTEXT, passes};
use super::{Check, Finding, Verdict};
use crate::engine::{Engine, EngineError, Outcome, Planned, Request, Strategy};
use crate::intervention::{Kind, Site};
use crate::runtime::Token;

type Cell = (Kind, Site, u32);

/// Texts on which strategies are compared before something is called wrong, with experts.
const TEXTS: usize = 3;

impl Examined<'_> {
    /// The planned strategy, on two prompts that begin alike, with tokens that follow.
    pub fn planned(&mut self) -> Result<(), EngineError> {
        let follow = self.following();
        let other = self.sibling();
        let mut cells: Vec<(Option<Cell>, Request)> = Vec::new();
        let mut slow: Vec<Outcome> = Vec::new();
        // Keys and values go the straightforward way by design: at one layer of each that is
        // seen.
        let all = self.scope.cells().filter(|cell| cell.1 == Site::Residual);
        let middle = self.scope.middle_cells();
        let mut every: Vec<Option<Cell>> = std::iter::once(None).chain(all.map(Some)).collect();
        every.extend(
            middle
                .iter()
                .copied()
                .filter(|cell| cell.1 != Site::Residual)
                .map(Some),
        );
        for cell in every {
            let plan = cell.map(|(kind, site, k)| self.intervention(kind, site, k));
            let mut request = self.request(plan.into_iter().collect());
            // The other prompt, and tokens that follow both, at one layer of each is enough to
            // have them share what they can.
            let again = cell.is_none_or(|cell| middle.contains(&cell));
            if !again {
                let known = cell.and_then(|cell| self.known.get(&cell));
                if let Some(logits) = known {
                    slow.push(Outcome {
                        logits: logits.clone(),
                        ..Outcome::default()
                    });
                    cells.push((cell, request));
                }
                continue; // what failed was noted with the rows
            }
            let runs = cell.map_or(1, |cell| passes(cell.0, cell.1));
            self.check("straightforward, planned", 3 * runs)?;
            request.continuations.clone_from(&follow);
            let mut sibling = request.clone();
            sibling.tokens.clone_from(&other);
            for request in [request, sibling] {
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
        self.check("straightforward, planned", cells.len() / 2 + CONTEXT)?;
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
}

#[cfg(test)]
mod tests {
    use super::super::Scope;
    use super::super::made::{of, tiny};
    use super::*;
    use crate::runtime::Architecture;

    #[test]
    fn strategies_that_disagree_on_tokens_that_follow_are_wrong() {
        let model = tiny(Architecture::Llama);
        let (scope, watch) = (Scope::spread(4, 1), &mut ());
        let mut examined = of(&model, &scope, watch);
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
