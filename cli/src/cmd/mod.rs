//! The commands, one file each.

pub(crate) mod apply;
pub(crate) mod canary;
pub(crate) mod checks;
pub(crate) mod codec_server;
pub(crate) mod dev;
pub(crate) mod dev_issuer;
pub(crate) mod doctor;
pub(crate) mod env;
pub(crate) mod file;
mod file_set;
pub(crate) mod gateway;
pub(crate) mod inspect;
mod inspect_set;
pub(crate) mod offboard;
pub(crate) mod onboard_all;
pub(crate) mod org;
pub(crate) mod outcome;
mod plans;
pub(crate) mod processor;
pub(crate) mod promote;
pub(crate) mod queue;
pub(crate) mod replay;
pub(crate) mod rotate;
pub(crate) mod schema;
pub(crate) mod synth;
pub(crate) mod transfer;
pub(crate) mod worker;
