//! The commands, one file each.

pub(crate) mod apply;
pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod env;
pub(crate) mod file;
pub(crate) mod inspect;
mod inspect_set;
pub(crate) mod org;
mod plans;
pub(crate) mod queue;
pub(crate) mod schema;
pub(crate) mod synth;
pub(crate) mod worker;
