//! Alarms of an environment: something waits that should not. Workers publish to the same topic what their checks find.

use super::Builder;
use super::iam::{Policy, Principal, Statement, tls_only};
use super::resources::{Alarm, Dimension, Subscription, Topic, TopicPolicy, Watched};
use super::value::{Text, short_digest, tag_list};
use crate::config::{Environment, Receiver};
use leadline_domain::EnvScope;
use serde_json::json;
use std::collections::BTreeMap;

const NAMESPACE: &str = "AWS/SQS";

/// CloudWatch: periods shorter than an hour make up a day at most, others a week.
const DAY_S: u32 = 86_400;
const WEEK_H: u32 = 7 * 24;

pub(crate) fn add(t: &mut Builder, env: &Environment, scope: &EnvScope, tags: &BTreeMap<String, String>) {
    let topic = Text::reference("AlarmTopic");
    // Not encrypted with a key: CloudWatch would need rights on it, and alarms name queues and numbers only.
    t.add("AlarmTopic", &Topic { topic_name: scope.alarm_topic(), tags: tag_list(tags) }, &[]);
    t.add(
        "AlarmTopicPolicy",
        &TopicPolicy {
            topics: vec![topic.clone()],
            policy_document: Policy::new(
                [
                    Some(
                        Statement::allow("Alarms", &["sns:Publish"])
                            .to(Principal::Service(vec!["cloudwatch.amazonaws.com".into()]))
                            .on([topic.clone()])
                            .when("StringEquals", "aws:SourceAccount", env.account.clone()),
                    ),
                    tls_only(env, "sns:Publish", [topic.clone()]),
                ]
                .into_iter()
                .flatten()
                .collect(),
            ),
        },
        &[],
    );
    for receiver in &env.alarms.receivers {
        let (protocol, endpoint) = match receiver {
            Receiver::Email(a) => ("email", a),
            Receiver::Https(u) => ("https", u),
        };
        let s = Subscription { topic_arn: topic.clone(), protocol, endpoint: endpoint.clone() };
        // Named after what it is. SNS gives the same endpoint the same subscription: one that took over another's name would
        // be made first, and unsubscribed with that other one.
        let digest = short_digest(&format!("{protocol} {endpoint}"));
        t.add(&format!("AlarmReceiver{digest}"), &s, &[]);
    }
    let (depth, age) = ("ApproximateNumberOfMessagesVisible", "ApproximateAgeOfOldestMessage");
    for (id, name, queue, metric, threshold, text) in [
        ("DeadLettersAlarm", "dead-letters", "IngestDeadLetters", depth, 0, "The processor failed on a recording"),
        (
            "IngestAgeAlarm",
            "ingest-age",
            "IngestQueue",
            age,
            env.alarms.ingest_age_s,
            "Recordings wait for the processor",
        ),
        (
            "OwnDeadLettersAlarm",
            "own-dead-letters",
            "DeadLetters",
            depth,
            0,
            "An outcome or an upload was not worked off",
        ),
        ("AuditAgeAlarm", "audit-age", "AuditQueue", age, env.alarms.audit_age_s, "Audit entries are not written down"),
    ] {
        let watched = Watched::One {
            namespace: NAMESPACE,
            metric_name: metric,
            dimensions: vec![Dimension { name: "QueueName", value: Text::att(queue, "QueueName") }],
            statistic: "Maximum",
            period: 60,
        };
        t.add(id, &alarm(env, name, text, watched, (1, threshold), tags), &[]);
    }
    // SQS leaves a message out of the age once it was received three times, and a queue without dead letters keeps it:
    // entries that are taken again and again, and never written down, show in their number only.
    let (period, periods) = periods(env.alarms.audit_age_s);
    let metrics = json!([
        counted("visible", depth, "AuditQueue", period),
        counted("taken", "ApproximateNumberOfMessagesNotVisible", "AuditQueue", period),
        { "Id": "waiting", "Expression": "visible + taken", "Label": "entries on the audit queue", "ReturnData": true },
    ]);
    let text = "The audit queue was not empty for a long time";
    let backlog = alarm(env, "audit-backlog", text, Watched::Computed { metrics }, (periods, 0), tags);
    t.add("AuditBacklogAlarm", &backlog, &[]);
    t.output("AlarmTopicArn", "Where alarms go", topic);
}

/// One that is raised when what is watched was above a threshold for a number of periods.
fn alarm(
    env: &Environment,
    name: &str,
    text: &str,
    watched: Watched,
    (evaluation_periods, threshold): (u32, u32),
    tags: &BTreeMap<String, String>,
) -> Alarm {
    let topic = vec![Text::reference("AlarmTopic")];
    Alarm {
        alarm_name: format!("leadline-{}-{name}", env.id),
        alarm_description: text.into(),
        watched,
        evaluation_periods,
        threshold,
        comparison_operator: "GreaterThanThreshold",
        // SQS sends no metrics for a queue that was idle for six hours: nothing waits there.
        treat_missing_data: "notBreaching",
        alarm_actions: topic.clone(),
        ok_actions: topic,
        tags: tag_list(tags),
    }
}

/// The least that a metric of a queue was in each period, for an expression.
fn counted(id: &str, metric: &str, queue: &str, period: u32) -> serde_json::Value {
    let dimensions = [Dimension { name: "QueueName", value: Text::att(queue, "QueueName") }];
    json!({
        "Id": id,
        "MetricStat": {
            "Metric": { "Namespace": NAMESPACE, "MetricName": metric, "Dimensions": dimensions },
            "Period": period,
            "Stat": "Minimum",
        },
        "ReturnData": false,
    })
}

/// A time as CloudWatch takes it: the length of a period in seconds, and how many of them.
fn periods(seconds: u32) -> (u32, u32) {
    if seconds <= DAY_S { (60, seconds.div_ceil(60)) } else { (3_600, seconds.div_ceil(3_600).min(WEEK_H)) }
}

#[cfg(test)]
mod tests {
    use super::periods;

    #[test]
    fn a_time_is_one_that_cloudwatch_takes() {
        let cases = [(60, (60, 1)), (900, (60, 15)), (901, (60, 16)), (86_400, (60, 1_440)), (86_401, (3_600, 25))];
        for (seconds, expected) in cases {
            assert_eq!(periods(seconds), expected, "{seconds}");
        }
        assert_eq!(periods(u32::MAX), (3_600, 168));
    }
}
