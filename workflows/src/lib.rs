//! Deterministic Temporal workflows and the contracts of their activities.
//!
//! A signal that comes in the same workflow task as the end of a step may be told before or after it, once in the run and
//! once in a replay. So whoever waits for "one more" counts from before the step, never from when the wait begins; the
//! test `signals` puts each signal at the end of each step of the recorded histories.
//!
//! This crate cannot name tokio, a client or an SDK of AWS: it depends on `temporalio-workflow` only. What a workflow
//! decides it decides through `leadline_domain`; what it does it does through the activities in [`contracts`].

mod apply;
pub mod canary;
pub mod checks;
pub mod contracts;
pub mod deletion;
pub mod evidence;
pub mod ids;
pub mod ingest_batch;
mod leaving;
pub mod offboard;
pub mod onboard;
mod options;
pub mod outcomes;
pub mod recording_lifecycle;
pub mod rotate;
mod set_lane;
pub mod set_lifecycle;
pub mod share_watch;
pub mod subscription;
pub mod transfer;

pub use canary::CanaryRun;
pub use checks::{DriftCheck, IsolationProbe};
pub use evidence::CollectEvidence;
pub use ingest_batch::IngestBatch;
pub use offboard::OffboardOrganization;
pub use onboard::{OnboardOrganization, UpdateEnvironment, UpdateOrganization};
pub use outcomes::OutcomeCheck;
pub use recording_lifecycle::RecordingLifecycle;
pub use rotate::RotateCredentials;
pub use set_lifecycle::SetLifecycle;
pub use share_watch::ShareWatch;
pub use subscription::FollowedSubscription;
pub use transfer::TransferRecordings;
