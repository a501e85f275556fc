//! A template that lets go of resources that are gone, so that CloudFormation makes them again when it is given the whole
//! template: it makes nothing that it believes to be there.

use super::drift::Names;
use crate::template::DIGEST;
use serde_json::{Map, Value};

/// The template without these resources (logical ids). Whatever refers to one of them has the name or id instead that it
/// had, so that it keeps its settings meanwhile.
///
/// # Errors
/// Places that refer to one of them in a way whose value is not known.
pub fn without(template: &Value, gone: &[String], names: &Names) -> Result<Value, Vec<String>> {
    let mut out = template.clone();
    let mut open = Vec::new();
    if let Some(resources) = out["Resources"].as_object_mut() {
        for id in gone {
            resources.remove(id);
        }
        for (id, resource) in resources.iter_mut() {
            no_dependency(resource, gone);
            settle(id, resource, gone, names, &mut open);
        }
    }
    if let Some(outputs) = out["Outputs"].as_object_mut() {
        // A stack on the way there is not as planned, and must not say so.
        if !gone.is_empty() {
            outputs.remove(DIGEST);
        }
        for (id, output) in outputs.iter_mut() {
            settle(id, output, gone, names, &mut open);
        }
    }
    if open.is_empty() { Ok(out) } else { Err(open) }
}

/// Subscriptions of the topics that are gone (logical ids): SNS deletes them with their topic, and CloudFormation, which finds
/// the topic's name in them unchanged, would not make them again.
#[must_use]
pub fn gone_with(template: &Value, gone: &[String]) -> Vec<String> {
    let of_gone = |r: &Value| r["Type"] == "AWS::SNS::Subscription" && mentions(&r["Properties"]["TopicArn"], gone);
    let all = template["Resources"].as_object().into_iter().flatten();
    all.filter(|(_, r)| of_gone(r)).map(|(id, _)| id.clone()).collect()
}

/// Resolves all references of a value that has one to something gone.
fn settle(id: &str, v: &mut Value, gone: &[String], names: &Names, open: &mut Vec<String>) {
    if !mentions(v, gone) {
        return;
    }
    *v = names.resolve(v);
    if mentions(v, gone) {
        open.push(id.to_owned());
    }
}

fn no_dependency(resource: &mut Value, gone: &[String]) {
    let is_gone = |v: &Value| v.as_str().is_some_and(|id| gone.iter().any(|g| g == id));
    let Some(o) = resource.as_object_mut() else { return };
    let none = match o.get_mut("DependsOn") {
        Some(Value::Array(all)) => {
            all.retain(|v| !is_gone(v));
            all.is_empty()
        }
        Some(one) => is_gone(one),
        None => false,
    };
    if none {
        o.remove("DependsOn");
    }
}

/// Whether a value refers to one of these.
fn mentions(v: &Value, gone: &[String]) -> bool {
    match v {
        Value::Array(a) => a.iter().any(|v| mentions(v, gone)),
        Value::Object(o) => refers(o, gone) || o.values().any(|v| mentions(v, gone)),
        _ => false,
    }
}

fn refers(o: &Map<String, Value>, gone: &[String]) -> bool {
    let one = |s: &str| gone.iter().any(|g| s == g || s.strip_prefix(g.as_str()).is_some_and(|r| r.starts_with('.')));
    let text = |v: &Value| v.as_str().is_some_and(one);
    o.get("Ref").is_some_and(text)
        || o.get("Fn::GetAtt").is_some_and(|v| text(v) || v.as_array().is_some_and(|a| a.first().is_some_and(text)))
        || o.get("Fn::Sub").is_some_and(|v| {
            let sub = v.as_str().or_else(|| v.get(0)?.as_str()).unwrap_or_default();
            sub.split("${").skip(1).filter_map(|p| p.split('}').next()).any(one)
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names() -> Names {
        let of = |kind: &str, id: &str| (kind.to_owned(), id.to_owned());
        Names::new(
            "1",
            "us-east-1",
            [
                ("Queue".to_owned(), of("AWS::SQS::Queue", "https://sqs/1/q")),
                ("Topic".to_owned(), of("AWS::SNS::Topic", "arn:aws:sns:us-east-1:1:t")),
            ]
            .into(),
        )
    }

    fn template() -> Value {
        json!({"Resources": {
            "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "q"}},
            "QueuePolicy": {"Type": "AWS::SQS::QueuePolicy", "DependsOn": ["Queue", "Topic"], "Properties": {
                "Queues": [{"Ref": "Queue"}],
                "PolicyDocument": {"Resource": {"Fn::GetAtt": ["Queue", "Arn"]}, "Also": {"Fn::Sub": "${Queue.Arn}/*"}}}},
            "Topic": {"Type": "AWS::SNS::Topic", "DependsOn": "Queue", "Properties": {"Name": {"Ref": "Other"}}},
        }, "Outputs": {"QueueUrl": {"Value": {"Ref": "Queue"}}}})
    }

    #[test]
    fn what_referred_to_it_keeps_its_settings() {
        let t = without(&template(), &["Queue".to_owned()], &names()).expect("a template");
        let arn = "arn:aws:sqs:us-east-1:1:q";
        assert!(t["Resources"].get("Queue").is_none());
        assert_eq!(
            t["Resources"]["QueuePolicy"],
            json!({"Type": "AWS::SQS::QueuePolicy", "DependsOn": ["Topic"], "Properties": {
                "Queues": ["https://sqs/1/q"],
                "PolicyDocument": {"Resource": arn, "Also": format!("{arn}/*")}}})
        );
        assert_eq!(t["Resources"]["Topic"].get("DependsOn"), None);
        assert_eq!(t["Resources"]["Topic"]["Properties"]["Name"], json!({"Ref": "Other"}), "what does not refer to it");
        assert_eq!(t["Outputs"]["QueueUrl"]["Value"], "https://sqs/1/q");
    }

    #[test]
    fn receivers_go_with_their_topic() {
        let receiver =
            |topic: &str| json!({"Type": "AWS::SNS::Subscription", "Properties": {"TopicArn": {"Ref": topic}}});
        let mut t = template();
        t["Resources"]["Ours"] = receiver("Topic");
        t["Resources"]["OfAnother"] = receiver("Other");
        assert_eq!(gone_with(&t, &["Topic".to_owned()]), ["Ours"]);
        assert!(gone_with(&t, &["Queue".to_owned()]).is_empty());
    }

    #[test]
    fn a_stack_on_the_way_does_not_say_that_it_is_as_planned() {
        let mut t = template();
        t["Outputs"][DIGEST] = json!({"Value": "d"});
        assert_eq!(without(&t, &[], &names()), Ok(t.clone()));
        let on_the_way = without(&t, &["Queue".to_owned()], &names()).expect("a template");
        assert_eq!(on_the_way["Outputs"].get(DIGEST), None);
    }

    #[test]
    fn a_value_that_is_not_known_is_named() {
        let mut t = template();
        t["Resources"]["QueuePolicy"]["Properties"]["Queues"] = json!([{"Fn::GetAtt": ["Queue", "Strange"]}]);
        assert_eq!(without(&t, &["Queue".to_owned()], &names()), Err(vec!["QueuePolicy".to_owned()]));
        assert_eq!(without(&template(), &["Nothing".to_owned()], &names()), Ok(template()));
    }
}
