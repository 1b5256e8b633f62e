//! What is timed, and the least that each case needs.

use super::super::{bound, least};
use super::{Bench, LONG};
use crate::engine::{Cost, Decode, Engine, Request, Straightforward, Wording, donor_states};
use crate::intervention::{Extent, Intervention, Kind, PositionSet, Site};
use crate::sweep::ITEMS_TOGETHER;
use crate::tasks::{Capitals, Item, Room};

const CAPITALS: usize = 40;
/// One of so many capitals is run the straightforward way.
const SAMPLE: usize = 10;

/// Requests to be run by both strategies: a clean one and one for each layer, as in a sweep.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) target: f64,
    pub(super) requests: Vec<Request>,
    /// Requests that the planned strategy gets at once.
    pub(super) together: usize,
    /// Every so many requests one is run the straightforward way too, and its time scaled.
    pub(super) sample: usize,
    /// The least work that gives the same numbers.
    pub(super) least: Cost,
}

impl Bench<'_> {
    /// How many times faster arithmetic alone allows a case to be.
    pub(super) fn bound(&self, case: &Case) -> f64 {
        let full: Vec<Decode> = case
            .requests
            .iter()
            .flat_map(|r| {
                let follow: usize = r.continuations.iter().map(Vec::len).sum();
                [
                    Decode::from(0, r.tokens.len(), 1),
                    Decode::from(0, 2 * follow, follow),
                ]
            })
            .collect();
        bound(&self.planned, &full, &case.least.decodes)
    }

    pub(super) fn cases(&self, engine: &mut Straightforward) -> anyhow::Result<Vec<Case>> {
        let n_layer = self.n_layer();
        let n = LONG as usize;
        let case = |name, target, kind: Kind| Case {
            name,
            target,
            requests: self.long(kind),
            together: usize::MAX,
            sample: 1,
            least: Cost {
                decodes: least(kind, n, kind.first_layer()..n_layer),
            },
        };
        let mut cases = vec![
            case(
                "skip-attention, long prompt, all layers",
                20.0,
                Kind::SkipAttention,
            ),
            case("freeze, long prompt, all layers", 11.0, Kind::Freeze),
            self.injection(engine)?,
            case("random, long prompt, all layers", 1.8, Kind::Random),
            case("shuffle, long prompt, all layers", 1.8, Kind::Shuffle),
        ];
        for (name, kind) in [
            ("random, 40 five-shot capitals, all layers", Kind::Random),
            ("shuffle, 40 five-shot capitals, all layers", Kind::Shuffle),
        ] {
            cases.push(self.capitals(engine, name, kind)?);
        }
        Ok(cases)
    }

    fn items(&self, engine: &Straightforward, shots: usize, n: usize) -> anyhow::Result<Vec<Item>> {
        let task = Capitals {
            shots,
            wording: Wording::default(),
            room: Room::new(engine.context().options().n_ctx, engine.learned_positions()),
        };
        Ok(task.items(engine.tokenizer(), n)?.items)
    }

    fn injection(&self, engine: &mut Straightforward) -> anyhow::Result<Case> {
        let items = self.items(engine, 1, CAPITALS)?;
        let item = items.iter().find(|item| item.swap.is_some());
        let item = item.ok_or_else(|| anyhow::anyhow!("no capital has a donor"))?;
        let swap = item.swap.as_ref().expect("just found");
        let last = swap.moves.last().expect("names have tokens").1;
        let sites = [Site::Residual];
        let states = donor_states(engine, &swap.donor, &swap.moves, &sites)?.at(Site::Residual);
        let at = PositionSet::ranges([last..last + 1]);
        let n = item.prompt.tokens.len();
        let n_layer = self.n_layer();
        let given = |k| Intervention::given(k, states.clone(), at.clone());
        Ok(Case {
            name: "inject, last country token, one shot, all layers",
            target: 5.0,
            requests: std::iter::once(Request::new(&item.prompt))
                .chain((0..n_layer).map(|k| Request::new(&item.prompt).with(given(k))))
                .collect(),
            together: usize::MAX,
            sample: 1,
            least: Cost {
                decodes: std::iter::once(Decode::from(0, n, 1))
                    .chain((0..n_layer).map(|k| Decode::from(k, n - last as usize, 1)))
                    .collect(),
            },
        })
    }

    fn capitals(
        &self,
        engine: &Straightforward,
        name: &'static str,
        kind: Kind,
    ) -> anyhow::Result<Case> {
        let items = self.items(engine, 5, CAPITALS)?;
        let n_layer = self.n_layer();
        let of = |item: &Item, k: Option<u32>| {
            let (_, answer) = (item.answer.tokens.split_last()).expect("answers have tokens");
            let at = |k| kind.intervention(k, 1, Extent::Paper, PositionSet::all(), None);
            Request {
                continuations: vec![answer.to_vec()],
                plan: k.map(at).into_iter().collect(),
                ..Request::new(&item.prompt)
            }
        };
        let first = &items[0].prompt.tokens;
        let shared = items.iter().map(|item| {
            let pairs = item.prompt.tokens.iter().zip(first);
            pairs.take_while(|(a, b)| a == b).count()
        });
        let shared = shared.min().unwrap_or(0);
        let own: usize = items.iter().map(|i| i.prompt.tokens.len() - shared).sum();
        let follow: usize = items.iter().map(|i| i.answer.tokens.len() - 1).sum();
        let mut least = vec![
            Decode::from(0, shared + own, items.len()),
            Decode::from(0, follow, follow),
        ];
        for k in 0..n_layer {
            least.push(Decode::from(k, shared + own, items.len()));
            least.push(Decode::from(0, 2 * follow, follow));
        }
        // The items of one sample stand together, so that each is met at all layers.
        let requests: Vec<Request> = items
            .chunks(ITEMS_TOGETHER)
            .flat_map(|items| {
                let cells = std::iter::once(None).chain((0..n_layer).map(Some));
                cells.flat_map(move |k| items.iter().map(move |item| (item, k)))
            })
            .map(|(item, k)| of(item, k))
            .collect();
        Ok(Case {
            name,
            target: 8.0,
            requests,
            together: ITEMS_TOGETHER * (n_layer as usize + 1),
            sample: SAMPLE,
            least: Cost { decodes: least },
        })
    }
}
