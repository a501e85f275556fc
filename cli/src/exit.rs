//! Exit codes, and how a failed command speaks.

use leadline_domain::Fault;
use std::process::ExitCode;

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

/// Why a command failed, in a sentence or more.
#[derive(Debug)]
pub(crate) struct Failure {
    text: String,
    fault: Option<Fault>,
}

impl Failure {
    pub(crate) fn new(s: impl Into<String>) -> Self {
        Self { text: s.into(), fault: None }
    }

    /// The fault that it is, where it is one.
    pub(crate) fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// Whether it goes away by itself: the same may succeed later with nothing mended here.
    pub(crate) fn passes(&self) -> bool {
        self.fault.as_ref().is_some_and(|f| f.class().passes())
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<Fault> for Failure {
    fn from(f: Fault) -> Self {
        Self { text: format!("{f}\n  see docs/faults/{}.md", f.code), fault: Some(f) }
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
