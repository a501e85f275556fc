//! Types and pure decisions of leadline: no async, no clock, no environment variable, no AWS, no Temporal.

pub mod alarm;
pub mod archive;
pub mod audit;
pub mod drift;
pub mod fault;
pub mod gates;
#[cfg(test)]
mod golden;
pub mod ids;
pub mod ingress_endpoint;
pub mod intake;
pub mod isolation;
pub mod lifecycle;
pub mod message;
pub mod observe;
pub mod outcome;
pub mod place;
pub mod placement;
pub mod related;
pub mod set;
pub mod settle;
pub mod staged;
pub mod transfer;

pub use alarm::Alarm;
pub use archive::ArchiveRule;
pub use audit::LedgerEntry;
pub use drift::DriftReport;
pub use fault::{Fault, FaultClass, FaultCode};
pub use ids::{Digest, EnvId, InvalidId, OrgId, RecordingId, ShareId, WorkerGroup};
pub use ingress_endpoint::{IngressEndpoint, IngressEndpoints};
pub use isolation::ProbeReport;
pub use message::IngestMessage;
pub use observe::{FileKey, FileStat, Fingerprint, Observation, SharePath, VersionKey, Writer};
pub use placement::{EnvFacts, EnvScope, Jurisdiction, OrgScope, Placement};
pub use related::{Marks, Related, Relation};
pub use settle::{SettleRule, Structure, StructureVerdict};
pub use staged::{Ingress, StagedAt, StagedName};
