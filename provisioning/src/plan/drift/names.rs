//! What a template's references stand for, once the stack is made.

use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Names and ids of a stack's resources.
#[derive(Debug, Clone, Default)]
pub struct Names {
    account: String,
    region: String,
    physical: BTreeMap<String, (String, String)>,
}

impl Names {
    /// `physical`: by logical id the type and what `Ref` gives.
    #[must_use]
    pub fn new(account: &str, region: &str, physical: BTreeMap<String, (String, String)>) -> Self {
        Self { account: account.to_owned(), region: region.to_owned(), physical }
    }

    /// What `Ref` gives.
    #[must_use]
    pub fn id(&self, logical: &str) -> Option<&str> {
        match logical {
            "AWS::AccountId" => Some(&self.account),
            "AWS::Region" => Some(&self.region),
            "AWS::Partition" => Some("aws"),
            _ => self.physical.get(logical).map(|(_, id)| id.as_str()),
        }
    }

    /// ARN of a resource, for the types whose ARN follows from the id.
    fn arn(&self, logical: &str) -> Option<String> {
        let (kind, id) = self.physical.get(logical)?;
        let (account, region) = (&self.account, &self.region);
        if id.starts_with("arn:") {
            return Some(id.clone());
        }
        Some(match kind.as_str() {
            "AWS::S3::Bucket" => format!("arn:aws:s3:::{id}"),
            "AWS::IAM::Role" => format!("arn:aws:iam::{account}:role/{id}"),
            "AWS::KMS::Key" => format!("arn:aws:kms:{region}:{account}:key/{id}"),
            // `Ref` of a queue is its URL.
            "AWS::SQS::Queue" => format!("arn:aws:sqs:{region}:{account}:{}", id.rsplit('/').next()?),
            _ => return None,
        })
    }

    fn attribute(&self, logical: &str, name: &str) -> Option<String> {
        match name {
            "Arn" => self.arn(logical),
            "TopicArn" | "Id" => self.id(logical).map(str::to_owned),
            "QueueName" => self.id(logical)?.rsplit('/').next().map(str::to_owned),
            _ => None,
        }
    }

    /// A value with its references replaced. One that cannot be stays as it is.
    #[must_use]
    pub fn resolve(&self, v: &Value) -> Value {
        match v {
            Value::Array(a) => a.iter().map(|v| self.resolve(v)).collect(),
            Value::Object(o) => {
                let known = single(o).and_then(|(k, arg)| self.intrinsic(k, arg));
                known.map_or_else(
                    || Value::Object(o.iter().map(|(k, v)| (k.clone(), self.resolve(v))).collect()),
                    Value::String,
                )
            }
            _ => v.clone(),
        }
    }

    fn intrinsic(&self, name: &str, arg: &Value) -> Option<String> {
        match (name, arg) {
            ("Ref", Value::String(id)) => self.id(id).map(str::to_owned),
            ("Fn::GetAtt", Value::Array(a)) => self.attribute(a.first()?.as_str()?, a.get(1)?.as_str()?),
            ("Fn::GetAtt", Value::String(s)) => s.split_once('.').and_then(|(id, name)| self.attribute(id, name)),
            ("Fn::Sub", Value::String(text)) => self.substitute(text),
            ("Fn::Join", Value::Array(a)) => {
                let parts = self.resolve(a.get(1)?);
                let parts: Option<Vec<&str>> = parts.as_array()?.iter().map(Value::as_str).collect();
                Some(parts?.join(a.first()?.as_str()?))
            }
            _ => None,
        }
    }

    fn substitute(&self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let (name, after) = after.split_once('}')?;
            if let Some(literal) = name.strip_prefix('!') {
                // `${!x}` stands for `${x}` itself, e.g. a policy variable.
                out.push_str(&format!("${{{literal}}}"));
            } else {
                out.push_str(&match name.split_once('.') {
                    Some((id, attribute)) => self.attribute(id, attribute)?,
                    None => self.id(name)?.to_owned(),
                });
            }
            rest = after;
        }
        out.push_str(rest);
        Some(out)
    }
}

fn single(o: &Map<String, Value>) -> Option<(&String, &Value)> {
    let mut all = o.iter();
    let first = all.next()?;
    (all.next().is_none() && (first.0 == "Ref" || first.0.starts_with("Fn::"))).then_some(first)
}

/// Whether a resolved value holds a reference still.
#[must_use]
pub fn open(v: &Value) -> bool {
    match v {
        Value::Array(a) => a.iter().any(open),
        Value::Object(o) => single(o).is_some() || o.values().any(open),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_become_names() {
        let of = |kind: &str, id: &str| (kind.to_owned(), id.to_owned());
        let names = Names::new(
            "111111111111",
            "us-east-1",
            [
                ("Bucket".to_owned(), of("AWS::S3::Bucket", "b")),
                ("Key".to_owned(), of("AWS::KMS::Key", "k-1")),
                ("Queue".to_owned(), of("AWS::SQS::Queue", "https://sqs/111111111111/q.fifo")),
                ("Cdn".to_owned(), of("AWS::CloudFront::Distribution", "E1")),
            ]
            .into(),
        );
        for (template, expected) in [
            (json!({"Ref": "Bucket"}), json!("b")),
            (json!({"Fn::GetAtt": ["Key", "Arn"]}), json!("arn:aws:kms:us-east-1:111111111111:key/k-1")),
            (json!({"Fn::Sub": "${Bucket.Arn}/staging/*"}), json!("arn:aws:s3:::b/staging/*")),
            (json!({"Fn::Sub": "${!aws:x}-${AWS::Region}"}), json!("${aws:x}-us-east-1")),
            (json!([{"Fn::GetAtt": "Queue.Arn"}]), json!(["arn:aws:sqs:us-east-1:111111111111:q.fifo"])),
            (json!({"Fn::Join": ["/", [{"Ref": "Bucket"}, "x"]]}), json!("b/x")),
        ] {
            let got = names.resolve(&template);
            assert_eq!(got, expected);
            assert!(!open(&got));
        }
        assert!(open(&names.resolve(&json!({"a": [{"Fn::GetAtt": ["Cdn", "DomainName"]}]}))));
        assert!(open(&names.resolve(&json!({"Ref": "NotMade"}))));
    }
}
