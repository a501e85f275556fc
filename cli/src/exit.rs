//! Exit codes, and how a failed command speaks.

use leadline_activities::engine::faults;
use leadline_domain::{Fault, FaultCode};
use std::process::ExitCode;
use temporalio_client::errors::{
    WorkflowGetResultError, WorkflowInteractionError, WorkflowStartError, WorkflowUpdateError,
};

/// Shown by `leadline help`.
pub(crate) const HELP: &str = "Exit codes:
  0   done; a plan has no changes; everything inspected is complete; everything checked is well
  1   failed; `leadline fault CODE` says what to do about the fault code in the message
  2   a plan has changes
  3   something that was inspected or checked is not well
  64  wrong usage

Logs go to standard error; LEADLINE_LOG sets their level (error, warn, info, debug, trace).";

/// How a command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// All well.
    Ok = 0,
    /// It failed.
    Failed = 1,
    /// There is something to apply.
    Changes = 2,
    /// There is something to look at.
    NotWell = 3,
    /// It was not understood.
    Usage = 64,
}

impl From<Code> for ExitCode {
    fn from(c: Code) -> Self {
        Self::from(c as u8)
    }
}

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure(Fault);

impl Failure {
    /// What was asked for does not fit: a name that is none, a file that has not the form.
    pub(crate) fn command(why: impl Into<String>) -> Self {
        Self(Fault::new(FaultCode::CommandRefused, why))
    }

    /// This machine does not give what is needed: a file, a folder, an address, a program.
    pub(crate) fn machine(why: impl Into<String>) -> Self {
        Self(Fault::new(FaultCode::MachineRefused, why))
    }

    pub(crate) fn fault(&self) -> &Fault {
        &self.0
    }

    /// Whether it goes away by itself: the same may succeed later with nothing mended here.
    pub(crate) fn passes(&self) -> bool {
        self.0.class().passes()
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}\n  see docs/faults/{}.md", self.0, self.0.code)
    }
}

impl From<Fault> for Failure {
    fn from(f: Fault) -> Self {
        Self(f)
    }
}

impl From<WorkflowStartError> for Failure {
    fn from(e: WorkflowStartError) -> Self {
        Self(faults::start_fault(e))
    }
}

impl From<WorkflowInteractionError> for Failure {
    fn from(e: WorkflowInteractionError) -> Self {
        Self(faults::interaction_fault(&e))
    }
}

impl From<WorkflowUpdateError> for Failure {
    fn from(e: WorkflowUpdateError) -> Self {
        Self(faults::update_fault(&e))
    }
}

impl From<WorkflowGetResultError> for Failure {
    fn from(e: WorkflowGetResultError) -> Self {
        Self(faults::end_fault(&e))
    }
}

/// Result of a command.
pub(crate) type Done = Result<Code, Failure>;

/// Prints a failure to standard error.
#[expect(clippy::print_stderr, reason = "this is where failures are told")]
pub(crate) fn report(message: &str) -> ExitCode {
    eprintln!("leadline: {message}");
    Code::Failed.into()
}
