//! Drift: where what is planned, what was last applied, and what is there are not one.

use crate::fault::{Fault, FaultCode};
use crate::ids::{EnvId, OrgId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt;

/// Who moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DriftKind {
    /// The plan changed and is not applied yet; what is there is what was applied.
    Pending,
    /// What is there was changed outside leadline.
    Drifted,
    /// What is there was changed outside leadline, to what is planned now.
    AlreadyAsPlanned,
    /// Both moved, to different values.
    Conflict,
}

/// One place at which the three are not equal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Logical id in the template; empty for the stack itself.
    pub resource: String,
    /// E.g. `AWS::S3::Bucket`.
    pub resource_type: String,
    /// Name or id of the resource in AWS.
    pub name: String,
    /// Dotted path of the setting; empty for the resource as a whole.
    pub setting: String,
    /// Who moved.
    pub kind: DriftKind,
    /// As planned; absent where there is nothing.
    pub planned: Option<Value>,
    /// As last applied.
    pub applied: Option<Value>,
    /// As it is.
    pub live: Option<Value>,
}

/// A resource that was not compared, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotCompared {
    /// Logical id.
    pub resource: String,
    /// E.g. `AWS::SNS::Topic`.
    pub resource_type: String,
    /// Why.
    pub why: String,
}

/// What one look found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriftReport {
    /// Environment.
    pub env: EnvId,
    /// Organization; absent for the environment's own stack.
    pub org: Option<OrgId>,
    /// Stack.
    pub stack: String,
    /// Settings that were compared.
    pub compared: u64,
    /// Where they differ.
    pub differences: Vec<Difference>,
    /// What was not compared.
    pub not_compared: Vec<NotCompared>,
}

/// Differences that a fault names.
const NAMED: usize = 5;

impl DriftReport {
    /// Differences that came about outside leadline.
    pub fn drifted(&self) -> impl Iterator<Item = &Difference> {
        self.differences.iter().filter(|d| d.kind != DriftKind::Pending)
    }

    /// Logical ids of the resources whose settings were changed outside leadline and can be put back, each once.
    #[must_use]
    pub fn repairable(&self) -> BTreeSet<String> {
        self.drifted().filter(|d| !d.setting.is_empty()).map(|d| d.resource.clone()).collect()
    }

    /// Resources that are planned, were made, and are gone: there is no setting to put back.
    pub fn gone(&self) -> impl Iterator<Item = &Difference> {
        self.drifted().filter(|d| !d.resource.is_empty() && d.is_gone())
    }

    /// What a human has to hear of at once: `drift.data_lost` if something is gone that held data, else
    /// [`DriftReport::fault`]. Both name everything that was changed outside leadline.
    #[must_use]
    pub fn alarm(&self, holds_data: impl Fn(&Difference) -> bool) -> Option<Fault> {
        let found = self.fault()?;
        let lost: Vec<String> = self.gone().filter(|d| holds_data(d)).map(Difference::place).collect();
        if lost.is_empty() {
            return Some(found);
        }
        Some(Fault::new(
            FaultCode::DriftDataLost,
            format!("with what it held: {}. All: {}", listed(lost), found.detail),
        ))
    }

    /// Whether the plan is ahead of what was applied.
    #[must_use]
    pub fn pending(&self) -> bool {
        self.differences.iter().any(|d| d.kind == DriftKind::Pending)
    }

    /// `drift.found`, if something was changed outside leadline.
    #[must_use]
    pub fn fault(&self) -> Option<Fault> {
        let found: Vec<String> = self.drifted().map(Difference::place).collect();
        if found.is_empty() {
            return None;
        }
        Some(Fault::new(FaultCode::DriftFound, format!("stack {}: {}", self.stack, listed(found))))
    }
}

/// The first of them, and how many more there are.
fn listed(all: Vec<String>) -> String {
    let more = all.len().saturating_sub(NAMED);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    all.into_iter().take(NAMED).collect::<Vec<_>>().join("; ") + &more
}

impl Difference {
    /// Whether the resource itself is gone, though it is planned.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.setting.is_empty() && self.planned.is_some() && self.applied.is_some() && self.live.is_none()
    }

    /// Where it is, in words.
    #[must_use]
    pub fn place(&self) -> String {
        let resource = if self.resource.is_empty() { "the stack" } else { &self.resource };
        let setting = if self.is_gone() {
            " (gone)".to_owned()
        } else if self.setting.is_empty() {
            String::new()
        } else {
            format!(" {}", self.setting)
        };
        if self.name.is_empty() {
            format!("{resource}{setting}")
        } else {
            format!("{resource} ({}){setting}", self.name)
        }
    }
}

impl fmt::Display for DriftKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pending => "planned, not applied",
            Self::Drifted => "changed outside leadline",
            Self::AlreadyAsPlanned => "changed outside leadline, to what is planned",
            Self::Conflict => "changed outside leadline, and planned otherwise",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(resource: &str, setting: &str, kind: DriftKind) -> Difference {
        Difference {
            resource: resource.into(),
            resource_type: "AWS::S3::Bucket".into(),
            name: String::new(),
            setting: setting.into(),
            kind,
            planned: None,
            applied: None,
            live: None,
        }
    }

    #[test]
    fn what_is_there_can_be_put_back_and_what_is_gone_cannot() {
        let report = DriftReport {
            env: EnvId::parse("test").unwrap(),
            org: None,
            stack: "s".into(),
            compared: 0,
            differences: vec![
                difference("B", "policy.Statement.A", DriftKind::Drifted),
                difference("B", "versioning", DriftKind::Conflict),
                difference("A", "policy", DriftKind::AlreadyAsPlanned),
                Difference {
                    planned: Some(Value::Null),
                    applied: Some(Value::Null),
                    ..difference("Gone", "", DriftKind::Drifted)
                },
                difference("Removed", "", DriftKind::AlreadyAsPlanned),
                difference("Ahead", "policy", DriftKind::Pending),
                difference("", "tags", DriftKind::Pending),
            ],
            not_compared: vec![],
        };
        assert_eq!(report.repairable(), BTreeSet::from(["A".to_owned(), "B".to_owned()]));
        assert_eq!(report.gone().map(|d| d.resource.as_str()).collect::<Vec<_>>(), ["Gone"]);
        let alarm = report.alarm(|_| true).unwrap();
        assert_eq!(alarm.code, FaultCode::DriftDataLost);
        assert!(alarm.detail.starts_with("with what it held: Gone (gone). All: stack s: "), "{alarm}");
        assert_eq!(report.alarm(|_| false), report.fault(), "what holds nothing is made again and nothing is lost");
        let ahead = DriftReport { differences: vec![difference("", "tags", DriftKind::Pending)], ..report };
        assert_eq!(ahead.alarm(|_| true), None);
    }
}
