//! What whoever carries a plan out holds against it: what their own files ask for, and what CloudFormation says that it
//! would do.

use super::diff::paths;
use crate::policy::STATEFUL;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// A stack as somebody wants it.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Template.
    pub template: &'a Value,
    /// Tags of the stack.
    pub tags: &'a BTreeMap<String, String>,
}

/// The places at which a plan that was handed in is not what one's own files ask for.
#[must_use]
pub fn strays(own: Wanted<'_>, given: Wanted<'_>) -> Vec<String> {
    let mut all = paths(own.template, given.template, "");
    let names: BTreeSet<&String> = own.tags.keys().chain(given.tags.keys()).collect();
    all.extend(names.into_iter().filter(|k| own.tags.get(*k) != given.tags.get(*k)).map(|k| format!("tag {k}")));
    all
}

/// What CloudFormation says of one resource in a change set, in its own words.
#[derive(Debug, Clone, Copy)]
pub struct Announced<'a> {
    /// Logical id.
    pub id: &'a str,
    /// E.g. `AWS::S3::Bucket`.
    pub resource_type: &'a str,
    /// `Add`, `Modify`, `Remove`, `Import`, `Dynamic`.
    pub action: &'a str,
    /// Of a `Modify`: `True`, `False`, `Conditional`.
    pub replacement: &'a str,
}

impl Announced<'_> {
    /// Whether it takes away a resource that holds data, or access to data. `Conditional` does not count: CloudFormation
    /// says it of whatever refers to something that changes (a bucket's policy, when the bucket is given another rule), and
    /// the planner has asked for the names of what the properties themselves replace.
    fn loses(&self) -> bool {
        let takes = match self.action {
            "Add" | "Import" => false,
            "Modify" => self.replacement == "True",
            _ => true,
        };
        takes && STATEFUL.contains(&self.resource_type)
    }
}

/// What of a change set takes away data, or access to data, that nobody named. The planner asks for the names too; this is
/// CloudFormation's own account, of the stack as it is now.
#[must_use]
pub fn unnamed_losses<'a>(steps: impl IntoIterator<Item = Announced<'a>>, allows: &[String]) -> Vec<String> {
    let lost = steps.into_iter().filter(|s| s.loses() && !allows.iter().any(|a| a == s.id));
    let how = |s: &Announced<'_>| match (s.action, s.replacement) {
        ("Modify", _) => "is replaced",
        ("Remove", _) => "is removed",
        _ => "may be replaced or removed",
    };
    lost.map(|s| format!("{} ({}) {}", s.id, s.resource_type, how(&s))).collect()
}

/// Of the resources that a plan makes again, those that held data, or access to data, and that nobody named.
#[must_use]
pub fn unnamed_remakes(template: &Value, remakes: &[String], allows: &[String]) -> Vec<String> {
    let kind = |id: &String| template["Resources"][id]["Type"].as_str().unwrap_or_default().to_owned();
    let unnamed = remakes.iter().filter(|id| STATEFUL.contains(&kind(id).as_str()) && !allows.contains(id));
    unnamed.map(|id| format!("{id} ({}) is made again, empty", kind(id))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const BUCKET: &str = "AWS::S3::Bucket";

    fn said<'a>(id: &'a str, resource_type: &'a str, action: &'a str, replacement: &'a str) -> Announced<'a> {
        Announced { id, resource_type, action, replacement }
    }

    #[test]
    fn data_goes_only_by_name() {
        for (action, replacement, found) in [
            ("Add", "", None),
            ("Import", "", None),
            ("Modify", "False", None),
            ("Modify", "True", Some("is replaced")),
            ("Modify", "Conditional", None),
            ("Modify", "", None),
            ("Remove", "", Some("is removed")),
            ("Dynamic", "", Some("may be replaced or removed")),
        ] {
            let step = said("B", BUCKET, action, replacement);
            let expected: Vec<String> = found.map(|how| format!("B ({BUCKET}) {how}")).into_iter().collect();
            assert_eq!(unnamed_losses([step], &[]), expected, "{action} {replacement}");
            assert_eq!(unnamed_losses([step], &["A".to_owned()]), expected, "another name does not count");
            assert_eq!(unnamed_losses([step], &["B".to_owned()]), Vec::<String>::new(), "named");
        }
        for kind in STATEFUL {
            assert_eq!(unnamed_losses([said("X", kind, "Remove", "")], &[]).len(), 1, "{kind}");
        }
        let alarm = said("Alarm", "AWS::CloudWatch::Alarm", "Remove", "");
        assert_eq!(unnamed_losses([alarm], &[]), Vec::<String>::new(), "what holds nothing may go");
    }

    #[test]
    fn each_loss_is_named() {
        let steps = [said("A", BUCKET, "Remove", ""), said("B", BUCKET, "Modify", "True")];
        assert_eq!(unnamed_losses(steps, &["A".to_owned()]), [format!("B ({BUCKET}) is replaced")]);
        assert_eq!(unnamed_losses(steps, &[]).len(), 2);
    }

    #[test]
    fn what_held_data_is_made_again_only_by_name() {
        let template = json!({"Resources": {"B": {"Type": BUCKET}, "R": {"Type": "AWS::IAM::Role"}}});
        let remakes = ["B".to_owned(), "R".to_owned(), "Unknown".to_owned()];
        assert_eq!(unnamed_remakes(&template, &remakes, &[]), [format!("B ({BUCKET}) is made again, empty")]);
        assert_eq!(unnamed_remakes(&template, &remakes, &["B".to_owned()]), Vec::<String>::new());
    }

    #[test]
    fn every_difference_from_the_own_files_is_named() {
        let own = json!({"Resources": {"B": {"Type": BUCKET, "Properties": {"BucketName": "b"}}}});
        let tags = BTreeMap::from([("leadline:env".to_owned(), "us".to_owned())]);
        let mine = Wanted { template: &own, tags: &tags };
        assert_eq!(strays(mine, mine), Vec::<String>::new());
        let mut other = own.clone();
        other["Resources"]["B"]["Properties"]["BucketName"] = "c".into();
        other["Resources"]["Open"] = json!({"Type": "AWS::IAM::Role"});
        let other_tags = BTreeMap::from([("more".to_owned(), "x".to_owned())]);
        let given = Wanted { template: &other, tags: &other_tags };
        let places = ["Resources.B.Properties.BucketName", "Resources.Open", "tag leadline:env", "tag more"];
        assert_eq!(strays(mine, given), places);
    }
}
