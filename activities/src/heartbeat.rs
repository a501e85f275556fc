//! Heartbeats of activities that follow something for long.

use leadline_domain::{Fault, FaultCode};
use std::time::Duration;
use temporalio_sdk::activities::{ActivityContext, ActivityError};

const HEARTBEAT: Duration = Duration::from_secs(5);

/// Works with heartbeats, cancelled or not.
pub(crate) async fn beating<T>(
    ctx: &ActivityContext,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    let beat = async {
        loop {
            // One that cannot be sent is no reason to stop: the server's timeout decides.
            let _ = ctx.record_heartbeat(()).await;
            tokio::time::sleep(HEARTBEAT).await;
        }
    };
    tokio::select! {
        r = work => r,
        () = beat => Err(Fault::new(FaultCode::BugInvariant, "heartbeats ended")),
    }
}

/// The same, and gives up when it is cancelled.
pub(crate) async fn until_cancelled<T>(
    ctx: &ActivityContext,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<Result<T, Fault>, ActivityError> {
    tokio::select! {
        r = beating(ctx, work) => Ok(r),
        () = ctx.cancelled() => Err(ActivityError::cancelled()),
    }
}
