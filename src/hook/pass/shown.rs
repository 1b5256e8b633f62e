//! A pass that is shown nodes, for a caller that recognises them itself: the plugin, whose host
//! asks for other nodes, too.

use super::Pass;
use super::place::recognise;
use crate::hook::HookFault;
use crate::hook::node::Node;
use crate::hook::observed::Observed;

#[allow(dead_code, reason = "the library's own passes follow a recording")]
impl Pass {
    /// A pass whose rows are one micro-batch, for a caller that recognises nodes itself and shows
    /// them with [`Self::show`].
    pub fn of_one_evaluation(mut self) -> Self {
        self.n_rows = self.rows.len();
        self
    }

    /// The nodes that it must be shown, by their index in the anatomy.
    pub fn sites(&self) -> impl Iterator<Item = usize> {
        self.course.wanted.keys().copied()
    }

    /// Checks that `node`, about to be computed, is the one recorded at `index`.
    ///
    /// # Errors
    /// [`HookFault::GraphChanged`].
    pub fn expect(&self, index: usize, node: Node<'_>) -> Result<(), HookFault> {
        match self.course.wanted.get(&index) {
            Some(places) => recognise(self.course.site(places[0])?, *node),
            None => Ok(()),
        }
    }

    /// After the evaluation: that every row named was touched (see [`Self::of_one_evaluation`]).
    ///
    /// # Errors
    /// What an editor missed.
    pub fn finish_evaluation(mut self) -> Result<Observed, HookFault> {
        self.end_evaluation();
        self.finish()
    }
}
