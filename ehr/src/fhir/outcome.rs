//! What is told when something is not taken: OperationOutcome (FHIR R4 section 2.28.2).

use leadline_domain::{Fault, FaultClass, FaultCode};
use serde_json::{Value, json};

/// The kind of an issue (value set `issue-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // The names are the standard's.
pub enum Issue {
    Structure,
    Required,
    Value,
    Invariant,
    NotSupported,
    NotFound,
    MultipleMatches,
    TooLong,
    BusinessRule,
    Transient,
    Throttled,
    Exception,
    Forbidden,
    Login,
}

impl Issue {
    /// Its code.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Structure => "structure",
            Self::Required => "required",
            Self::Value => "value",
            Self::Invariant => "invariant",
            Self::NotSupported => "not-supported",
            Self::NotFound => "not-found",
            Self::MultipleMatches => "multiple-matches",
            Self::TooLong => "too-long",
            Self::BusinessRule => "business-rule",
            Self::Transient => "transient",
            Self::Throttled => "throttled",
            Self::Exception => "exception",
            Self::Forbidden => "forbidden",
            Self::Login => "login",
        }
    }
}

/// A request that is not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// Kind.
    pub issue: Issue,
    /// Why. Its detail is told unless something else than the request is at fault.
    pub fault: Fault,
    /// FHIRPath to the place, made of names of the standard only.
    pub expression: Option<String>,
}

impl Problem {
    /// A problem of the request.
    #[must_use]
    pub fn new(status: u16, issue: Issue, code: FaultCode, why: impl Into<String>) -> Self {
        Self { status, issue, fault: Fault::new(code, why), expression: None }
    }

    /// The body is not the resource that it should be: 422.
    #[must_use]
    pub fn invalid(issue: Issue, why: impl Into<String>) -> Self {
        Self::new(422, issue, FaultCode::FhirInvalid, why)
    }

    /// With the place.
    #[must_use]
    pub fn at(mut self, expression: impl Into<String>) -> Self {
        let (place, below) = (expression.into(), self.expression.take());
        self.expression = Some(match below {
            // From the resource to the bundle that it is in: `DocumentReference.status` is `resource.status` there.
            Some(below) => match below.split_once('.') {
                Some((_, path)) => format!("{place}.{path}"),
                None => place,
            },
            None => place,
        });
        self
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let (status, issue) = match fault.class() {
            FaultClass::Transient | FaultClass::Blocked => (503, Issue::Transient),
            FaultClass::Throttled => (429, Issue::Throttled),
            FaultClass::Bug => (500, Issue::Exception),
            FaultClass::Rejected => match fault.code {
                FaultCode::OrgOffboarding => (403, Issue::Forbidden),
                FaultCode::FileTooLarge => (413, Issue::TooLong),
                FaultCode::FhirUnresolved => (422, Issue::NotFound),
                _ => (422, Issue::BusinessRule),
            },
        };
        Self { status, issue, fault, expression: None }
    }
}

/// The body of an answer that says why not. Tells of faults of others than the sender by their code only.
#[must_use]
pub fn operation_outcome(problem: &Problem) -> Value {
    let fault = &problem.fault;
    let told = if fault.class() == FaultClass::Rejected { fault.to_string() } else { fault.code.to_string() };
    let mut issue = json!({
        "severity": "error",
        "code": problem.issue.as_str(),
        "details": { "coding": [{ "system": "urn:leadline:fault", "code": fault.code.as_str() }] },
        "diagnostics": told,
    });
    if let Some(expression) = &problem.expression {
        issue["expression"] = json!([expression]);
    }
    json!({ "resourceType": "OperationOutcome", "issue": [issue] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_of_others_are_told_by_code_only() {
        let body = operation_outcome(&Fault::new(FaultCode::StoreUnreachable, "10.0.0.1").into());
        assert_eq!(body["issue"][0]["diagnostics"], "store.unreachable");
        assert_eq!(body["issue"][0]["code"], "transient");
        let body = operation_outcome(&Problem::invalid(Issue::Required, "no status").at("Binary.contentType"));
        assert_eq!(body["issue"][0]["diagnostics"], "fhir.invalid: no status");
        assert_eq!(body["issue"][0]["expression"][0], "Binary.contentType");
    }

    #[test]
    fn places_move_into_the_bundle() {
        let inner = Problem::invalid(Issue::Required, "x").at("DocumentReference.content[0].attachment");
        let outer = inner.at("Bundle.entry[1].resource");
        assert_eq!(outer.expression.unwrap(), "Bundle.entry[1].resource.content[0].attachment");
    }
}
