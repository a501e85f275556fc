//! Queues of an environment, and who may do what with them.

use super::Builder;
use super::iam::{Policy, Principal, Statement, tls_only};
use super::resources::{Fifo, Queue, QueuePolicy};
use super::value::{Text, tag_list};
use crate::config::Environment;
use leadline_domain::EnvScope;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// SQS: the longest a receive call waits, seconds. Long polls find messages on all servers and cost fewer requests.
const LONG_POLL_S: u32 = 20;
const DAY_S: u32 = 86_400;
/// SQS: the longest a message is kept.
const LONGEST_S: u32 = 14 * DAY_S;
/// How long one of our own workers has for an outcome or an upload event. It writes one ledger entry or starts one
/// workflow.
const OWN_VISIBILITY_S: u32 = 120;
/// How often it tries.
const OWN_ATTEMPTS: u32 = 5;
/// How long they wait for it. Shorter than what failed is kept: on a standard queue that time is counted from when a message
/// was first sent, so that a dead letter would be gone as soon as it is one.
const OWN_RETENTION_S: u32 = 7 * DAY_S;

pub(crate) fn add(t: &mut Builder, env: &Environment, scope: &EnvScope, tags: &BTreeMap<String, String>) {
    ingest(t, env, scope, tags);
    inner(t, env, scope, tags);
    for id in ["IngestQueue", "IngestDeadLetters", "AuditQueue", "OutcomeQueue", "UploadQueue", "DeadLetters"] {
        let arn = Text::att(id, "Arn");
        let allowed = match id {
            "IngestQueue" => consumers(env),
            "OutcomeQueue" => processors(env),
            "UploadQueue" => Some(buckets(env)),
            _ => None,
        };
        let statements: Vec<Statement> =
            [tls_only(env, "sqs:*", [arn.clone()]), allowed.map(|s| s.on([arn]))].into_iter().flatten().collect();
        if statements.is_empty() {
            continue;
        }
        t.add(
            &format!("{id}Policy"),
            &QueuePolicy { queues: vec![Text::reference(id)], policy_document: Policy::new(statements) },
            // A consumer may be the worker role itself; a policy that names a missing role is refused.
            &["WorkerRole"],
        );
    }
    t.output("IngestQueueUrl", "Queue of recordings for the processor", Text::reference("IngestQueue"));
    t.output("IngestQueueArn", "ARN of it", Text::att("IngestQueue", "Arn"));
    t.output("IngestDeadLettersUrl", "What the processor failed on", Text::reference("IngestDeadLetters"));
    t.output("AuditQueueUrl", "Queue of audit entries", Text::reference("AuditQueue"));
    t.output("OutcomeQueueUrl", "Queue of what became of recordings", Text::reference("OutcomeQueue"));
    t.output("UploadQueueUrl", "Queue of S3's events of uploads", Text::reference("UploadQueue"));
}

/// A queue with what all of them have; standard, kept as long as the ingest queue's messages.
fn queue(env: &Environment, name: String, tags: &BTreeMap<String, String>) -> Queue {
    Queue {
        queue_name: name,
        fifo: None,
        visibility_timeout: env.queue.visibility_timeout_s,
        message_retention_period: env.queue.retention_days * DAY_S,
        receive_message_wait_time_seconds: LONG_POLL_S,
        sqs_managed_sse_enabled: true,
        redrive_policy: None,
        redrive_allow_policy: None,
        tags: tag_list(tags),
    }
}

fn fifo() -> Fifo {
    Fifo {
        fifo_queue: true,
        // The recording's id deduplicates: two recordings of equal message text are two recordings.
        content_based_deduplication: false,
        // Both together make a FIFO queue one of high throughput.
        deduplication_scope: "messageGroup",
        fifo_throughput_limit: "perMessageGroupId",
    }
}

fn redrive(to: &str, after: u32) -> Option<Value> {
    Some(json!({ "deadLetterTargetArn": Text::att(to, "Arn"), "maxReceiveCount": after }))
}

/// Literal names: the queues refer to their dead-letter queue already.
fn only_from(scope: &EnvScope, names: &[String]) -> Option<Value> {
    let arns: Vec<String> = names.iter().map(|n| arn(scope, n)).collect();
    Some(json!({ "redrivePermission": "byQueue", "sourceQueueArns": arns }))
}

/// Recordings on their way to the processor.
fn ingest(t: &mut Builder, env: &Environment, scope: &EnvScope, tags: &BTreeMap<String, String>) {
    t.add(
        "IngestQueue",
        &Queue {
            fifo: Some(fifo()),
            redrive_policy: redrive("IngestDeadLetters", env.queue.max_receive_count),
            ..queue(env, scope.ingest_queue(), tags)
        },
        &[],
    );
    t.add(
        "IngestDeadLetters",
        &Queue {
            fifo: Some(fifo()),
            // As long as SQS can: a human has to look.
            message_retention_period: LONGEST_S,
            redrive_allow_policy: only_from(scope, &[scope.ingest_queue()]),
            ..queue(env, scope.ingest_dlq(), tags)
        },
        &[],
    );
}

/// What our own workers drain.
fn inner(t: &mut Builder, env: &Environment, scope: &EnvScope, tags: &BTreeMap<String, String>) {
    t.add(
        "AuditQueue",
        &Queue {
            // No dead letters: an entry stays until the ledger has it.
            visibility_timeout: env.audit_queue.visibility_timeout_s,
            message_retention_period: env.audit_queue.retention_days * DAY_S,
            ..queue(env, scope.audit_queue(), tags)
        },
        &[],
    );
    for (id, name) in [("OutcomeQueue", scope.outcome_queue()), ("UploadQueue", scope.upload_queue())] {
        t.add(
            id,
            &Queue {
                visibility_timeout: OWN_VISIBILITY_S,
                message_retention_period: OWN_RETENTION_S,
                redrive_policy: redrive("DeadLetters", OWN_ATTEMPTS),
                ..queue(env, name, tags)
            },
            &[],
        );
    }
    t.add(
        "DeadLetters",
        &Queue {
            message_retention_period: LONGEST_S,
            redrive_allow_policy: only_from(scope, &[scope.outcome_queue(), scope.upload_queue()]),
            ..queue(env, scope.dead_letters(), tags)
        },
        &[],
    );
}

/// ARN of a queue of the environment.
pub(crate) fn arn(scope: &EnvScope, name: &str) -> String {
    format!("arn:aws:sqs:{}:{}:{name}", scope.region(), scope.account())
}

fn named(env: &Environment) -> Option<Principal> {
    let who: Vec<Text> = env.queue.consumers.iter().map(Text::from).collect();
    (!who.is_empty()).then_some(Principal::Aws(who))
}

/// The processor, which may be of another account, reads recordings.
fn consumers(env: &Environment) -> Option<Statement> {
    let actions = [
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:ChangeMessageVisibility",
        "sqs:GetQueueUrl",
        "sqs:GetQueueAttributes",
    ];
    named(env).map(|who| Statement::allow("Consumers", &actions).to(who))
}

/// It says what became of them.
fn processors(env: &Environment) -> Option<Statement> {
    named(env).map(|who| Statement::allow("Processors", &["sqs:SendMessage", "sqs:GetQueueUrl"]).to(who))
}

/// S3 tells of uploads, for buckets of this environment's organizations.
fn buckets(env: &Environment) -> Statement {
    Statement::allow("Buckets", &["sqs:SendMessage"])
        .to(Principal::Service(vec!["s3.amazonaws.com".into()]))
        .when("StringEquals", "aws:SourceAccount", env.account.clone())
        .when("ArnLike", "aws:SourceArn", format!("arn:aws:s3:::leadline-{}-*-{}", env.id, env.account))
}
