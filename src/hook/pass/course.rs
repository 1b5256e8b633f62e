//! What is done at which node of one graph that is known.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::follow::Follower;
use super::hide::Hiding;
use super::place::{Place, TARGETS, recognise};
use super::weigh::weighing;
use crate::hook::graph::Role;
use crate::hook::node::Node;
use crate::hook::site::Site;
use crate::hook::{Anatomy, Capture, HookFault, Resume};
use crate::intervention::{Editor, Target};

/// A graph that the evaluation at hand may be, and what is done in it.
pub(super) struct Course {
    pub anatomy: Arc<Anatomy>,
    roles: Option<Arc<[Role]>>,
    /// Ask index to the parts of layers that the node holds.
    pub wanted: BTreeMap<usize, Vec<Place>>,
    /// Ask index to the layer whose weights of attention the node gives.
    pub weighing: BTreeMap<usize, u32>,
    pub hiding: Hiding,
}

impl Course {
    /// What is asked for, in this graph. `roles` is what the cut of `resume` means for it.
    ///
    /// # Errors
    /// [`HookFault`] for what the graph has no place for.
    pub fn new(
        anatomy: Arc<Anatomy>,
        roles: Option<Arc<[Role]>>,
        editors: &HashMap<u32, Editor>,
        capture: Option<&Capture>,
        resume: Option<&Resume>,
    ) -> Result<Self, HookFault> {
        let mut wanted: BTreeMap<usize, Vec<Place>> = BTreeMap::new();
        for layer in 0..anatomy.inputs.len() as u32 {
            for target in TARGETS {
                let captured = capture.is_some_and(|c| c.wants(target, layer));
                let held = resume.is_some_and(|resume| match target {
                    Target::Input => resume.holds(layer),
                    Target::Attention => {
                        let silent = resume.cut.silent && layer >= resume.cut.first;
                        silent && !anatomy.is_without(target, layer)
                    }
                    _ => false,
                });
                let edited = held || editors.values().any(|e| e.needs(target, layer));
                if captured || edited {
                    let site = match anatomy.site(target, layer) {
                        Ok(site) => site,
                        // What a layer does not have cannot be kept of it.
                        Err(_) if !edited => continue,
                        Err(fault) => return Err(fault),
                    };
                    if roles.as_ref().is_some_and(|r| r[site.index] == Role::Dead) {
                        continue;
                    }
                    // A state that a layer below the cut shares with the first one above it.
                    let below = |r: &Resume| layer < r.cut.first && !r.cut.gives(layer);
                    if target == Target::Input && resume.is_some_and(below) {
                        continue;
                    }
                    wanted.entry(site.index).or_default().push((target, layer));
                }
            }
        }
        let head = anatomy.inputs.len() as u32;
        let captured = capture.is_some_and(|c| c.wants(Target::Input, head));
        if captured || resume.is_some_and(|r| r.cut.first == head) {
            let leaving = (Target::Input, head);
            let site = anatomy.site(leaving.0, leaving.1)?;
            wanted.entry(site.index).or_default().push(leaving);
        }
        Ok(Self {
            hiding: Hiding::new(&anatomy, editors),
            weighing: weighing(&anatomy, capture)?,
            anatomy,
            roles,
            wanted,
        })
    }

    pub fn site(&self, (target, layer): Place) -> Result<&Site, HookFault> {
        self.anatomy.site(target, layer)
    }

    /// What happens to the node with ask index `index`.
    pub fn role(&self, index: usize) -> Role {
        let role = self.roles.as_ref().and_then(|r| r.get(index).copied());
        role.unwrap_or(Role::Live)
    }

    /// Checks that the next node is what was recorded there, and that those at which anything is
    /// done have their names as well.
    ///
    /// # Errors
    /// [`HookFault::GraphChanged`].
    pub fn fits(&self, node: Node<'_>, follower: &Follower) -> Result<(), HookFault> {
        let index = follower.next();
        for site in [Some(&self.anatomy.tokens), self.anatomy.positions.as_ref()] {
            if let Some(site) = site.filter(|site| site.index == index) {
                recognise(site, *node)?;
            }
        }
        if let Some(places) = self.wanted.get(&index) {
            recognise(self.site(places[0])?, *node)?;
        }
        let attends = self.hiding.attends.get(&index);
        let attends = attends.filter(|_| self.role(index) == Role::Live);
        if let Some(&layer) = attends.or(self.weighing.get(&index)) {
            recognise(self.site((Target::Mask, layer))?, *node)?;
        }
        follower.expects(&self.anatomy.edges, node)
    }

    /// Whether another graph has the same nodes up to `end`, and the same is done there, so that
    /// an evaluation that followed this one until there may as well be the other.
    pub fn is_like(&self, other: &Self, end: usize) -> bool {
        fn same<V: PartialEq>(a: &BTreeMap<usize, V>, b: &BTreeMap<usize, V>, end: usize) -> bool {
            a.range(..end).eq(b.range(..end))
        }
        let (a, b) = (&self.anatomy, &other.anatomy);
        let before = |site: Option<&Site>| site.map(|s| s.index).filter(|index| *index < end);
        let nodes = a.edges.nodes.get(..end).zip(b.edges.nodes.get(..end));
        let roles = |course: &Self| (0..end).map(|n| course.role(n)).collect::<Vec<_>>();
        nodes.is_some_and(|(a, b)| a == b)
            && roles(self) == roles(other)
            && before(Some(&a.tokens)) == before(Some(&b.tokens))
            && before(a.positions.as_ref()) == before(b.positions.as_ref())
            && same(&self.wanted, &other.wanted, end)
            && same(&self.weighing, &other.weighing, end)
            && same(&self.hiding.writes, &other.hiding.writes, end)
            && same(&self.hiding.attends, &other.hiding.attends, end)
            && self
                .hiding
                .barriers
                .range(..end)
                .eq(other.hiding.barriers.range(..end))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::hook::known::tests::{graphs, look_first, recorded, rows};

    /// What is kept of a layer, in the first order of its nodes and in another, in which the second
    /// node is the fourth.
    fn courses(kept: [&[Target]; 2]) -> [Course; 2] {
        let mut graphs = graphs();
        assert!(graphs.learn(vec![recorded(7, look_first)], &rows(7)));
        let other = graphs.all().next().unwrap();
        let mut kept = kept.iter().map(|targets| Capture {
            targets: targets.to_vec(),
            layers: HashSet::from([0]),
            ..Capture::default()
        });
        [graphs.first().clone(), other].map(|anatomy| {
            let capture = kept.next();
            Course::new(anatomy, None, &HashMap::new(), capture.as_ref(), None).unwrap()
        })
    }

    #[test]
    fn one_graph_may_be_another_only_where_all_was_the_same_so_far() {
        let [first, other] = courses([&[Target::Input]; 2]);
        let like: Vec<bool> = (0..4).map(|end| first.is_like(&other, end)).collect();
        assert_eq!(like, [true, true, false, false]);
        // What enters the layer is its first node.
        let [first, other] = courses([&[Target::Input], &[]]);
        let like: Vec<bool> = (0..2).map(|end| first.is_like(&other, end)).collect();
        assert_eq!(like, [true, false]);
        let [_, mut other] = courses([&[]; 2]);
        let n = other.anatomy.n_nodes;
        other.roles = Some(vec![Role::Dead; n].into());
        assert!(first.is_like(&courses([&[Target::Input]; 2])[0], n));
        assert!(!courses([&[]; 2])[1].is_like(&other, 1));
    }
}
