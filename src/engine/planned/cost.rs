//! What the planned strategy computes for requests: the batches that the other modules of this
//! folder make, without making them. A test holds both against each other.

use super::Pace;
use super::classes::{Class, bundles, frozen_batches, waves};
use super::route::{Route, route};
use super::sorted::{Asked, Job, Sorted, jobs, needed};
use super::tails::{Again, is_touched};
use super::texts::common_prefix;
use crate::engine::cost::{Cost, Decode};
use crate::engine::{Request, Shape};
use crate::hook::{CacheFill, Cut};
use crate::runtime::Token;

/// What requests cost by this strategy where every graph can be cut.
pub(in crate::engine) fn cost(requests: &[Request], shape: &Shape) -> Cost {
    let mut sorted = Sorted::default();
    for (n, request) in requests.iter().enumerate() {
        sorted.add(n, request, route(request, shape.n_layer));
    }
    sorted.cost(requests, shape)
}

impl Sorted {
    /// What they cost.
    pub fn cost(&self, requests: &[Request], shape: &Shape) -> Cost {
        let mut cost = Cost::default();
        for group in self.groups(shape.sequences) {
            cost.add_texts(requests, &self.texts[group], shape);
        }
        for &n in &self.whole {
            cost.add_straightforward(&requests[n], shape.n_batch);
        }
        cost
    }
}

impl Cost {
    /// Texts that stand in the cache side by side, and all requests on them.
    pub(super) fn add_texts(&mut self, requests: &[Request], group: &[Asked], shape: &Shape) {
        let n_batch = shape.n_batch;
        let texts: Vec<&[Token]> = group.iter().map(|(tokens, _)| &tokens[..]).collect();
        let common = common_prefix(&texts);
        self.push_in_batches(Decode::whole(common, 0), n_batch);
        let own = texts.iter().map(|text| text.len() - common).sum();
        self.push_in_batches(Decode::whole(own, texts.len()), n_batch);
        let jobs = jobs(requests, group);
        let held: Vec<usize> = (0..texts.len())
            .filter(|n| needed(*n, &jobs))
            .map(|n| texts[n].len())
            .collect();
        for wave in waves(&jobs, common, &held, shape.sequences, Pace::Steady) {
            self.add_wave(&wave, common, shape);
        }
    }

    fn add_wave(&mut self, wave: &[Class<'_>], common: usize, shape: &Shape) {
        let of = |is: fn(Route) -> bool| -> Vec<&Class<'_>> {
            wave.iter().filter(|class| is(class.route())).collect()
        };
        let silent = of(|route| matches!(route, Route::Silent { .. }));
        let n: usize = silent.iter().map(|class| class.jobs.len()).sum();
        self.add_batch(&silent, n, n, true, true, shape);
        let frozen = of(|route| matches!(route, Route::Frozen { .. }));
        for batch in frozen_batches(&frozen, common, shape.n_ubatch) {
            let rows = batch.iter().map(|class| class.prior_rows(common)).sum();
            self.add_batch(batch, rows, 0, false, false, shape);
        }
        let n: usize = frozen.iter().map(|class| class.jobs.len()).sum();
        self.add_batch(&frozen, n, n, false, true, shape);
        let rows = of(|route| matches!(route, Route::Rows { .. }));
        for bundle in bundles(&rows, common) {
            let base = bundle.iter().map(|class| class.base_rows(common)).sum();
            self.add_batch(bundle, base, 0, false, true, shape);
            let own = bundle.iter().map(|class| class.own_rows(common)).sum();
            let outputs = bundle.iter().map(|class| class.jobs.len()).sum();
            self.add_batch(bundle, own, outputs, false, true, shape);
        }
        for class in of(|route| matches!(route, Route::Alone { .. })) {
            for &job in &class.jobs {
                let class = class.part(vec![job]);
                let rows = class.own_rows(common);
                self.add_batch(&[&class], rows, 1, false, true, shape);
            }
        }
        let jobs = wave.iter().flat_map(|class| &class.jobs);
        self.add_tails(jobs.copied(), shape);
    }

    fn add_batch(
        &mut self,
        classes: &[&Class<'_>],
        rows: usize,
        outputs: usize,
        silent: bool,
        onward: bool,
        shape: &Shape,
    ) {
        if rows > 0 {
            let cut = Class::cut(classes, silent, onward);
            let decode = Decode { cut, rows, outputs };
            self.push_in_batches(decode, shape.n_batch);
        }
    }

    /// The tokens that follow the prompts of a wave, all texts in one batch a step.
    fn add_tails<'j>(&mut self, jobs: impl Iterator<Item = &'j Job<'j>>, shape: &Shape) {
        let mut tails = Vec::new();
        for job in jobs {
            let lengths = job.request.steps();
            tails.extend(
                lengths.map(|length| (length, job, Again::of(job), job.request.plan_at(0))),
            );
        }
        let longest = tails.iter().map(|tail| tail.0).max().unwrap_or(0);
        for step in 0..longest {
            let going: Vec<_> = tails.iter().filter(|tail| tail.0 > step).collect();
            for now in going.chunks(shape.tails_at_once()) {
                let (mut rows, mut cached, mut first) = (0, 0, u32::MAX);
                for (_, job, again, plan) in now {
                    let touched = is_touched(plan, job.request.tokens.len() - 1 + step);
                    rows += 1;
                    match again {
                        Again::Whole if touched => rows += 1,
                        Again::Cache { k } if touched => {
                            cached += 1;
                            first = first.min(*k);
                        }
                        _ => {}
                    }
                }
                if cached > 0 {
                    self.decodes.push(Decode {
                        cut: Cut {
                            first,
                            cache: CacheFill::All,
                            silent: false,
                            onward: false,
                        },
                        rows: cached,
                        outputs: 0,
                    });
                }
                self.decodes.push(Decode::whole(rows, now.len()));
            }
        }
    }
}
