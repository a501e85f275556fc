//! Alarms of an environment: something waits that should not. Workers publish to the same topic what their checks find.

use super::Builder;
use super::iam::{Policy, Principal, Statement, tls_only};
use super::resources::{Alarm, Dimension, Subscription, Topic, TopicPolicy};
use super::value::{Text, short_digest, tag_list};
use crate::config::{Environment, Receiver};
use leadline_domain::EnvScope;
use std::collections::BTreeMap;

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
        t.add(
            id,
            &Alarm {
                alarm_name: format!("leadline-{}-{name}", env.id),
                alarm_description: text.into(),
                namespace: "AWS/SQS",
                metric_name: metric,
                dimensions: vec![Dimension { name: "QueueName", value: Text::att(queue, "QueueName") }],
                statistic: "Maximum",
                period: 60,
                evaluation_periods: 1,
                threshold,
                comparison_operator: "GreaterThanThreshold",
                // SQS sends no metrics for a queue that was idle for six hours: nothing waits there.
                treat_missing_data: "notBreaching",
                alarm_actions: vec![topic.clone()],
                ok_actions: vec![topic.clone()],
                tags: tag_list(tags),
            },
            &[],
        );
    }
    t.output("AlarmTopicArn", "Where alarms go", topic);
}
