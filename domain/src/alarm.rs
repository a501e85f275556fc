//! What a worker or a gateway tells people of, beyond metrics and logs: the matter, what to do, and where it was found. No PHI, as in
//! every [`Fault`].

use crate::fault::Fault;
use crate::ids::{EnvId, OrgId};
use serde::{Deserialize, Serialize};

/// The schema that an alarm's JSON names.
pub const ALARM_SCHEMA: &str = "urn:leadline:schema:alarm:v1";

/// A matter that a human has to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    /// Environment.
    pub env: EnvId,
    /// Organization; absent where it is about the environment itself.
    pub org: Option<OrgId>,
    /// What was found.
    pub fault: Fault,
    /// Id of the workflow that found it; empty where a gateway did.
    pub workflow: String,
    /// Id of its run; of a gateway's, when it was found.
    pub run: String,
}

/// An alarm as programs read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlarmMessage {
    /// [`ALARM_SCHEMA`].
    pub schema: String,
    /// Environment.
    pub environment: String,
    /// Organization; absent where it is about the environment itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// Code of the fault.
    pub code: String,
    /// What it means, a sentence.
    pub text: String,
    /// What exactly was found.
    pub detail: String,
    /// The page that says what to do, from the root of the repository.
    pub page: String,
    /// Id of the workflow that found it; absent where a gateway did.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub workflow: String,
    /// Id of its run; of a gateway's, when it was found.
    pub run: String,
}

impl Alarm {
    /// One line: ASCII without control characters, begins with a letter, less than 100 characters, which is what SNS
    /// takes as a subject (Amazon SNS API Reference, Publish, Subject).
    #[must_use]
    pub fn subject(&self) -> String {
        let whose = self.org.as_ref().map(|o| format!(" ({o})")).unwrap_or_default();
        format!("leadline {}: {}{whose}", self.env, self.fault.code)
    }

    /// For programs.
    #[must_use]
    pub fn message(&self) -> AlarmMessage {
        AlarmMessage {
            schema: ALARM_SCHEMA.into(),
            environment: self.env.to_string(),
            organization: self.org.as_ref().map(OrgId::to_string),
            code: self.fault.code.to_string(),
            text: self.fault.code.sentence(),
            detail: self.fault.detail.clone(),
            page: format!("docs/faults/{}.md", self.fault.code),
            workflow: self.workflow.clone(),
            run: self.run.clone(),
        }
    }

    /// For people, as a mail.
    #[must_use]
    pub fn text(&self) -> String {
        let m = self.message();
        let organization = m.organization.map(|o| format!("Organization: {o}\n")).unwrap_or_default();
        let finder = match m.workflow.as_str() {
            "" => format!("gateway, {}", m.run),
            workflow => format!("workflow {workflow}, run {}", m.run),
        };
        format!(
            "{}\n\nEnvironment:  {}\n{organization}Code:         {}\nFound:        {}\n\nWhat to do: read {}.\nFound by the \
             {finder}.\n",
            m.text, m.environment, m.code, m.detail, m.page
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultCode;

    fn alarm(code: FaultCode, org: Option<&str>) -> Alarm {
        Alarm {
            env: EnvId::parse("test").unwrap(),
            org: org.map(|o| OrgId::parse(o).unwrap()),
            fault: Fault::new(code, "stack s: Bucket policy"),
            workflow: "drift/test/st-mary".into(),
            run: "0198".into(),
        }
    }

    #[test]
    fn a_subject_is_one_that_sns_takes_whatever_the_names_and_the_code() {
        for code in FaultCode::ALL {
            let env = EnvId::parse(&"e".repeat(12)).unwrap();
            let s = Alarm { env, ..alarm(*code, Some(&"a".repeat(24))) }.subject();
            assert!(s.len() < 100 && s.chars().all(|c| c.is_ascii_graphic() || c == ' '), "{s}");
        }
        assert_eq!(alarm(FaultCode::DriftFound, Some("st-mary")).subject(), "leadline test: drift.found (st-mary)");
        assert_eq!(alarm(FaultCode::DriftFound, None).subject(), "leadline test: drift.found");
    }

    #[test]
    fn an_alarm_says_what_it_is_and_where_to_read_on() {
        let a = alarm(FaultCode::DriftFound, Some("st-mary"));
        assert_eq!(
            serde_json::to_value(a.message()).unwrap(),
            serde_json::json!({
                "schema": "urn:leadline:schema:alarm:v1", "environment": "test", "organization": "st-mary",
                "code": "drift.found", "text": "A stack's resources were changed outside CloudFormation and outside the plan.",
                "detail": "stack s: Bucket policy", "page": "docs/faults/drift.found.md",
                "workflow": "drift/test/st-mary", "run": "0198",
            })
        );
        assert_eq!(
            a.text(),
            "A stack's resources were changed outside CloudFormation and outside the plan.\n\nEnvironment:  test\nOrganization: \
             st-mary\nCode:         drift.found\nFound:        stack s: Bucket policy\n\nWhat to do: read \
             docs/faults/drift.found.md.\nFound by the workflow drift/test/st-mary, run 0198.\n"
        );
        assert!(!alarm(FaultCode::DriftFound, None).text().contains("Organization"));
        let gateway = Alarm { workflow: String::new(), run: "2026-01-02T03:04:05Z".into(), ..a };
        assert!(gateway.text().ends_with("Found by the gateway, 2026-01-02T03:04:05Z.\n"), "{}", gateway.text());
        let told = serde_json::to_value(gateway.message()).unwrap();
        assert_eq!((told.get("workflow"), &told["run"]), (None, &"2026-01-02T03:04:05Z".into()));
    }
}
