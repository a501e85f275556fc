//! Every side effect of leadline, behind ports.
//!
//! `ports/` holds the roles as traits, `adapters/` the real parts, the rest the activities that work through them.

pub mod adapters;
pub mod alarms;
pub mod canary;
pub mod checks;
pub mod codec;
pub mod content_cache;
pub mod cost;
pub mod deletion;
pub mod deps;
pub mod drift;
pub mod engine;
pub mod evidence;
pub mod exposition;
mod faults;
mod heartbeat;
pub mod ingest;
pub mod inspect;
pub mod metrics;
pub mod offboard;
pub mod outcomes;
pub mod ports;
pub mod provision;
pub mod registry;
pub mod replay;
mod restore;
pub mod rotate;
pub mod schedules;
pub mod secret;
mod spans;
pub mod transfer;
pub mod watch;
pub mod worker;
