//! What Temporal's errors are as faults. Their texts may quote payloads and are left out.

use leadline_domain::{Fault, FaultCode};
use temporalio_client::errors::{
    WorkflowGetResultError, WorkflowInteractionError, WorkflowQueryError, WorkflowStartError, WorkflowUpdateError,
};
use temporalio_client::tonic::{Code, Status};
use temporalio_common::error::IncomingError;

fn refused(detail: &str) -> Fault {
    Fault::new(FaultCode::EngineRefused, detail)
}

/// By the code of a gRPC status.
#[must_use]
pub fn status_fault(s: &Status) -> Fault {
    let code = match s.code() {
        Code::InvalidArgument | Code::PermissionDenied | Code::Unauthenticated | Code::Unimplemented => {
            FaultCode::EngineRefused
        }
        _ => FaultCode::EngineUnreachable,
    };
    Fault::new(code, format!("temporal answered {:?}", s.code()))
}

/// Of a workflow that did not start.
#[must_use]
pub fn start_fault(e: WorkflowStartError) -> Fault {
    match e {
        WorkflowStartError::Rpc(s) => status_fault(&s),
        WorkflowStartError::AlreadyStarted { .. } => refused("workflow id is taken"),
        _ => refused("workflow could not be started"),
    }
}

/// Of a signal or a look at a workflow.
#[must_use]
pub fn interaction_fault(e: &WorkflowInteractionError) -> Fault {
    match e {
        WorkflowInteractionError::Rpc(s) | WorkflowInteractionError::NotFound(s) => status_fault(s),
        _ => refused("workflow could not be reached"),
    }
}

/// Of a query.
#[must_use]
pub fn query_fault(e: &WorkflowQueryError) -> Fault {
    match e {
        WorkflowQueryError::Rpc(s) | WorkflowQueryError::NotFound(s) => status_fault(s),
        _ => refused("the workflow does not tell what it found"),
    }
}

/// Of an update. Whoever sends one knows better what it means that there is no such workflow, or that its validator
/// said no.
#[must_use]
pub fn update_fault(e: &WorkflowUpdateError) -> Fault {
    match e {
        WorkflowUpdateError::Rpc(s) | WorkflowUpdateError::NotFound(s) => status_fault(s),
        _ => refused("the workflow did not take the update"),
    }
}

/// Of a workflow that ended without a result: the fault it failed with, or `engine.run_ended`.
#[must_use]
pub fn end_fault(e: &WorkflowGetResultError) -> Fault {
    match e {
        WorkflowGetResultError::Rpc(s) | WorkflowGetResultError::NotFound(s) => status_fault(s),
        WorkflowGetResultError::Failed(cause) => match &**cause {
            IncomingError::Application(a) => a.details::<Fault>().ok().flatten(),
            _ => None,
        }
        .unwrap_or_else(|| Fault::new(FaultCode::EngineRunEnded, "it failed without a fault")),
        WorkflowGetResultError::Cancelled { .. } => Fault::new(FaultCode::EngineRunEnded, "it was cancelled"),
        WorkflowGetResultError::Terminated { .. } => Fault::new(FaultCode::EngineRunEnded, "it was terminated"),
        WorkflowGetResultError::TimedOut => Fault::new(FaultCode::EngineRunEnded, "its time was up"),
        _ => Fault::new(FaultCode::EngineRunEnded, "its result cannot be read"),
    }
}
