//! What metadata each architecture needs, where they are more than a few numbers.

mod groups;
pub(super) mod kin;
pub(super) mod kin_experts;
pub(super) mod own;
pub(super) mod recurrent;
pub(super) mod refused;
pub(super) mod sparse;
