//! A template with what it refers to put in its place: rules look at names and ARNs as they will be, not at how the
//! template spells them.

use serde_json::{Map, Value};

/// What a template's resources are called where it is going to be.
pub(super) struct Resolver<'a> {
    resources: &'a Map<String, Value>,
    account: &'a str,
    region: &'a str,
    missing: Vec<String>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(resources: &'a Map<String, Value>, account: &'a str, region: &'a str) -> Self {
        Self { resources, account, region, missing: Vec::new() }
    }

    /// The value with every reference resolved, and what it refers to that is not there.
    pub(super) fn resolve(&mut self, v: &Value) -> (Value, Vec<String>) {
        let resolved = self.value(v);
        (resolved, std::mem::take(&mut self.missing))
    }

    /// What `Ref` gives for a resource.
    pub(super) fn physical(&self, id: &str) -> String {
        self.named(id, None).unwrap_or_default()
    }

    fn value(&mut self, v: &Value) -> Value {
        match v {
            Value::Array(a) => Value::Array(a.iter().map(|v| self.value(v)).collect()),
            Value::Object(o) => match o.iter().next() {
                Some((f, Value::String(id))) if o.len() == 1 && f == "Ref" => self.reference(id, None).into(),
                Some((f, Value::Array(at))) if o.len() == 1 && f == "Fn::GetAtt" => {
                    let part = |n: usize| at.get(n).and_then(Value::as_str).unwrap_or_default();
                    self.reference(part(0), Some(part(1))).into()
                }
                Some((f, Value::String(text))) if o.len() == 1 && f == "Fn::Sub" => self.substituted(text).into(),
                _ => Value::Object(o.iter().map(|(k, v)| (k.clone(), self.value(v))).collect()),
            },
            other => other.clone(),
        }
    }

    fn reference(&mut self, id: &str, attribute: Option<&str>) -> String {
        self.named(id, attribute).unwrap_or_else(|| {
            self.missing.push(id.to_owned());
            id.to_owned()
        })
    }

    fn named(&self, id: &str, attribute: Option<&str>) -> Option<String> {
        let (account, region) = (self.account, self.region);
        match id {
            "AWS::AccountId" => return Some(account.to_owned()),
            "AWS::Region" => return Some(region.to_owned()),
            "AWS::Partition" => return Some("aws".into()),
            _ => {}
        }
        let r = self.resources.get(id)?;
        let p = |key: &str| r["Properties"][key].as_str().unwrap_or(id);
        Some(match (r["Type"].as_str().unwrap_or_default(), attribute) {
            ("AWS::S3::Bucket", None) => p("BucketName").into(),
            ("AWS::S3::Bucket", Some("Arn")) => format!("arn:aws:s3:::{}", p("BucketName")),
            ("AWS::SQS::Queue", None) => format!("https://sqs.{region}.amazonaws.com/{account}/{}", p("QueueName")),
            ("AWS::SQS::Queue", Some("Arn")) => format!("arn:aws:sqs:{region}:{account}:{}", p("QueueName")),
            ("AWS::IAM::Role", None) => p("RoleName").into(),
            ("AWS::IAM::Role", Some("Arn")) => format!("arn:aws:iam::{account}:role/{}", p("RoleName")),
            ("AWS::SNS::Topic", None) => format!("arn:aws:sns:{region}:{account}:{}", p("TopicName")),
            // Keys and secrets get a part of their name from AWS.
            ("AWS::KMS::Key", Some("Arn")) => format!("arn:aws:kms:{region}:{account}:key/{id}"),
            ("AWS::SecretsManager::Secret", None) => {
                format!("arn:aws:secretsmanager:{region}:{account}:secret:{}-000000", p("Name"))
            }
            (_, None) => id.to_owned(),
            (_, Some(attribute)) => format!("{id}.{attribute}"),
        })
    }

    /// `${Bucket.Arn}/*`; `${!x}` stands for `${x}` itself.
    fn substituted(&mut self, text: &str) -> String {
        let (mut out, mut rest) = (String::new(), text);
        while let Some((before, after)) = rest.split_once("${") {
            out.push_str(before);
            let Some((name, behind)) = after.split_once('}') else {
                rest = after;
                continue;
            };
            match name.strip_prefix('!') {
                Some(literal) => out.push_str(&format!("${{{literal}}}")),
                None => {
                    let (id, attribute) = name.split_once('.').map_or((name, None), |(i, a)| (i, Some(a)));
                    out.push_str(&self.reference(id, attribute));
                }
            }
            rest = behind;
        }
        out.push_str(rest);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn references_become_what_they_stand_for() {
        let resources = json!({
            "B": { "Type": "AWS::S3::Bucket", "Properties": { "BucketName": "b" } },
            "Q": { "Type": "AWS::SQS::Queue", "Properties": { "QueueName": "q" } },
        });
        let mut r = Resolver::new(resources.as_object().unwrap(), "111111111111", "eu-west-2");
        let (v, missing) = r.resolve(&json!({
            "a": [{ "Ref": "B" }, { "Fn::GetAtt": ["Q", "Arn"] }],
            "b": { "Fn::Sub": "${B.Arn}/x/${AWS::Region}/${!aws:username}/*" },
            "c": { "Ref": "Gone" },
        }));
        assert_eq!(
            v,
            json!({
                "a": ["b", "arn:aws:sqs:eu-west-2:111111111111:q"],
                "b": "arn:aws:s3:::b/x/eu-west-2/${aws:username}/*",
                "c": "Gone",
            })
        );
        assert_eq!(missing, ["Gone"]);
    }
}
