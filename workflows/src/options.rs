//! Options of activities, in one place, and the way back from a failed activity to a [`Fault`].

use leadline_domain::{Fault, FaultCode};
use std::time::Duration;
use temporalio_common::protos::temporal::api::failure::v1::failure::FailureInfo;
use temporalio_workflow::common::error::IncomingError;
use temporalio_workflow::{
    ActivityCancellationType, ActivityExecutionError, ActivityOptions, LocalActivityOptions, RetryPolicy,
};

/// A short step as a local activity: one attempt, because `step` decides what a failure means. While it runs the SDK keeps
/// the workflow task alive (10 s by default); a step that takes longer than this fails as transient and comes again.
pub fn short() -> LocalActivityOptions {
    LocalActivityOptions::builder()
        .start_to_close_timeout(Duration::from_secs(60))
        .retry_policy(RetryPolicy::builder().maximum_attempts(1).build())
        .build()
}

/// The last steps of a file: one attempt, as for [`short`], noticed soon when its worker dies.
pub fn last() -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(Duration::from_secs(120))
        .heartbeat_timeout(Duration::from_secs(10))
        .retry_policy(RetryPolicy::builder().maximum_attempts(1).build())
        .build()
}

/// A large upload: it heartbeats, resumes from what the store holds, and is repeated by the server while its fault is
/// transient.
pub fn upload() -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(Duration::from_secs(24 * 3600))
        .heartbeat_timeout(Duration::from_secs(15))
        .retry_policy(patient())
        .build()
}

/// The watch of a share: as long as it lasts. A dead worker is noticed after the heartbeat timeout.
pub fn watch() -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(Duration::from_secs(7 * 24 * 3600))
        .heartbeat_timeout(Duration::from_secs(10))
        .cancellation_type(ActivityCancellationType::TryCancel)
        .retry_policy(patient())
        .build()
}

/// A provisioning step: a request or two to AWS. It heartbeats, so that a dead worker is noticed before its time is up.
pub fn provisioning() -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(Duration::from_secs(120))
        .heartbeat_timeout(Duration::from_secs(20))
        .retry_policy(patient())
        .build()
}

/// Looking at many resources: minutes, with heartbeats.
pub fn check() -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(Duration::from_secs(3600))
        .heartbeat_timeout(Duration::from_secs(30))
        .retry_policy(patient())
        .build()
}

/// Following a stack operation until it ends: minutes, with heartbeats.
pub fn follow() -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(Duration::from_secs(3600))
        .heartbeat_timeout(Duration::from_secs(30))
        .retry_policy(patient())
        .build()
}

/// A canary: written, and followed until it is delivered, on the workers that reach the share.
pub fn canary(task_queue: &str) -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(Duration::from_secs(600))
        .task_queue(task_queue.to_owned())
        .heartbeat_timeout(Duration::from_secs(30))
        .retry_policy(RetryPolicy::builder().maximum_attempts(3).build())
        .build()
}

/// One attempt to log on with new credentials, on the workers that reach the share: the workflow repeats it, and less
/// often than Temporal would.
pub fn proof(task_queue: &str) -> ActivityOptions {
    ActivityOptions::with_start_to_close_timeout(Duration::from_secs(300))
        .task_queue(task_queue.to_owned())
        .retry_policy(RetryPolicy::builder().maximum_attempts(1).build())
        .build()
}

/// Repeats without end: faults that repeating cannot mend are marked non-retryable where they are made.
fn patient() -> RetryPolicy {
    RetryPolicy::builder()
        .initial_interval(Duration::from_millis(500))
        .backoff_coefficient(2.0)
        .maximum_interval(Duration::from_secs(30))
        .build()
}

/// The fault that an activity ended with. A timeout is transient; anything without a code of ours is a bug.
pub fn fault_of(e: &ActivityExecutionError) -> Fault {
    match e.reason() {
        Some(IncomingError::Application(a)) => match a.details::<Fault>() {
            Ok(Some(f)) => f,
            _ => by_type(a.type_name()),
        },
        Some(IncomingError::Timeout(_)) => timeout(),
        Some(_) => Fault::new(FaultCode::BugInvariant, "activity ended without a failure of its own"),
        // The failure of a local activity comes bare, without the wrapper that has a cause.
        None => match e.failure().and_then(|f| f.failure_info.as_ref()) {
            Some(FailureInfo::ApplicationFailureInfo(info)) => info
                .details
                .as_ref()
                .and_then(|d| serde_json::from_slice(&d.payloads.first()?.data).ok())
                .unwrap_or_else(|| by_type(Some(&info.r#type))),
            Some(FailureInfo::TimeoutFailureInfo(_)) => timeout(),
            _ => Fault::new(FaultCode::BugInvariant, "activity ended without a failure of its own"),
        },
    }
}

fn timeout() -> Fault {
    Fault::new(FaultCode::EngineUnreachable, "the step took too long")
}

fn by_type(name: Option<&str>) -> Fault {
    let code = name.and_then(FaultCode::parse).unwrap_or(FaultCode::BugInvariant);
    Fault::new(code, "activity failed without details")
}
