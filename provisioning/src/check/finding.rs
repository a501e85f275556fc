//! What was found, where, and what to do.

use super::source::within;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing is planned or started until it is mended.
    Error,
    /// Works, but is likely not what is wanted.
    Warning,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// File, relative to the environments folder.
    pub file: String,
    /// Line, from 1, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Dotted path of the key, e.g. `share.ward-1.host`; empty for the file as a whole.
    pub key: String,
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, ": {severity}: ")?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}. {}", self.message, self.help)
    }
}

/// Collects findings.
#[derive(Default)]
pub(crate) struct Findings {
    found: Vec<Finding>,
    /// File and key: there is no telling what somebody meant there.
    unclear: Vec<(String, String)>,
}

impl Findings {
    /// From now on nothing is said of this key of a file, nor of what is beneath it: what was said is all that is known.
    pub(crate) fn leave_out(&mut self, file: &str, key: &str) {
        self.unclear.push((file.to_owned(), key.to_owned()));
    }
    fn is_unclear(&self, file: &str, key: &str) -> bool {
        self.unclear.iter().any(|(f, k)| f == file && within(key, k))
    }
    /// Whether something of a table, or all of it, was left out.
    pub(crate) fn left_out_of(&self, file: &str, table: &str) -> bool {
        self.unclear.iter().any(|(f, k)| f == file && within(k, table))
    }
    pub(crate) fn add(
        &mut self,
        severity: Severity,
        file: &str,
        line: Option<usize>,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        if self.is_unclear(file, key) {
            return;
        }
        self.found.push(Finding {
            file: file.to_owned(),
            line,
            key: key.to_owned(),
            severity,
            message: message.into(),
            help: help.into(),
        });
    }
    pub(crate) fn error(
        &mut self,
        file: &str,
        line: Option<usize>,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Error, file, line, key, message, help);
    }
    pub(crate) fn warn(
        &mut self,
        file: &str,
        line: Option<usize>,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(Severity::Warning, file, line, key, message, help);
    }
    /// At a key of a parsed file.
    pub(crate) fn at(
        &mut self,
        severity: Severity,
        parsed: &super::source::Parsed,
        key: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(severity, &parsed.path, parsed.line(key), key, message, help);
    }
    pub(crate) fn errors(&self) -> usize {
        self.found.iter().filter(|f| f.severity == Severity::Error).count()
    }
    pub(crate) fn any_error(&self) -> bool {
        self.errors() > 0
    }
    pub(crate) fn sorted(mut self) -> Vec<Finding> {
        self.found.sort();
        self.found.dedup();
        self.found
    }
}
