//! DICOM: C-ECHO and C-STORE for ECG waveforms, encapsulated PDF and structured reports (PS3.4 annexes A and B, PS3.7,
//! PS3.8), and STOW-RS (PS3.18 10.5).
//!
//! The PDUs are `dicom-ul`'s; the service is ours, because what may be answered when is the point of it: an object is
//! acknowledged with status 0000 only when it is durable and its lifecycle has begun.

mod association;
mod command;
mod config;
mod exchange;
mod head;
mod negotiate;
mod part10;
pub(crate) mod peer;
mod serve;
#[cfg(test)]
mod serve_tests;
mod store;
pub mod stow;
mod uids;
mod wire;

pub use config::{Ae, DicomLimits, Titles};
pub use serve::{TitlesNow, serve};
pub(crate) use store::staged;
