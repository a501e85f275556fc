//! Every side effect of leadline, behind ports.

pub mod adapters;
pub mod ports;
