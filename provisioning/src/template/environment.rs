//! The stack of an environment: queues, the worker role, alarms.

use super::iam::{Policy, Principal, Statement, tls_only};
use super::resources::{Fifo, Queue, QueuePolicy, Role, RolePolicy};
use super::value::{Text, tag_list};
use super::{Builder, env_alarms};
use crate::config::Environment;
use leadline_domain::EnvScope;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// SQS: the longest a receive call waits, seconds. Long polls find messages on all servers and cost fewer requests.
const LONG_POLL_S: u32 = 20;
const DAY_S: u32 = 86_400;

/// The template of an environment.
#[must_use]
pub fn environment(env: &Environment) -> Value {
    let scope = env.scope();
    let tags = super::tags(env.id.as_str(), None);
    let mut t = Builder::new(format!("leadline environment {}: queues, worker role, alarms", env.id));
    queues(&mut t, env, &scope, &tags);
    worker_role(&mut t, env, &scope, &tags);
    env_alarms::add(&mut t, env, &tags);
    t.finish()
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

fn queues(t: &mut Builder, env: &Environment, scope: &EnvScope, tags: &BTreeMap<String, String>) {
    let base = |name: String, fifo: Option<Fifo>| Queue {
        queue_name: name,
        fifo,
        visibility_timeout: env.queue.visibility_timeout_s,
        message_retention_period: env.queue.retention_days * DAY_S,
        receive_message_wait_time_seconds: LONG_POLL_S,
        sqs_managed_sse_enabled: true,
        redrive_policy: None,
        redrive_allow_policy: None,
        tags: tag_list(tags),
    };
    t.add(
        "IngestQueue",
        &Queue {
            redrive_policy: Some(json!({
                "deadLetterTargetArn": Text::att("IngestDeadLetters", "Arn"),
                "maxReceiveCount": env.queue.max_receive_count,
            })),
            ..base(scope.ingest_queue(), Some(fifo()))
        },
        &[],
    );
    t.add(
        "IngestDeadLetters",
        &Queue {
            // As long as SQS can: a human has to look.
            message_retention_period: 14 * DAY_S,
            // A literal name: the queue above refers to this one already.
            redrive_allow_policy: Some(json!({
                "redrivePermission": "byQueue",
                "sourceQueueArns": [queue_arn(scope, &scope.ingest_queue())],
            })),
            ..base(scope.ingest_dlq(), Some(fifo()))
        },
        &[],
    );
    t.add(
        "AuditQueue",
        &Queue {
            visibility_timeout: env.audit_queue.visibility_timeout_s,
            message_retention_period: env.audit_queue.retention_days * DAY_S,
            ..base(scope.audit_queue(), None)
        },
        &[],
    );
    for (id, readers) in [("IngestQueue", consumers(env)), ("IngestDeadLetters", None), ("AuditQueue", None)] {
        let arn = || [Text::att(id, "Arn")];
        let statements: Vec<Statement> =
            [tls_only(env, "sqs:*", arn()), readers.map(|s| s.on(arn()))].into_iter().flatten().collect();
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
}

fn queue_arn(scope: &EnvScope, name: &str) -> String {
    format!("arn:aws:sqs:{}:{}:{name}", scope.region(), scope.account())
}

/// The processor, which may be of another account.
fn consumers(env: &Environment) -> Option<Statement> {
    if env.queue.consumers.is_empty() {
        return None;
    }
    let actions = [
        "sqs:ReceiveMessage",
        "sqs:DeleteMessage",
        "sqs:ChangeMessageVisibility",
        "sqs:GetQueueUrl",
        "sqs:GetQueueAttributes",
    ];
    let who = env.queue.consumers.iter().map(Text::from).collect();
    Some(Statement::allow("Consumers", &actions).to(Principal::Aws(who)))
}

fn worker_role(t: &mut Builder, env: &Environment, scope: &EnvScope, tags: &BTreeMap<String, String>) {
    let mut trust = Vec::new();
    if !env.aws.worker_services.is_empty() {
        let who = env.aws.worker_services.iter().cloned().collect();
        trust.push(Statement::allow("Services", &["sts:AssumeRole"]).to(Principal::Service(who)));
    }
    if !env.aws.worker_principals.is_empty() {
        let arn = |p: &String| if p == "root" { format!("arn:aws:iam::{}:root", env.account) } else { p.clone() };
        let who = env.aws.worker_principals.iter().map(|p| arn(p).into()).collect();
        trust.push(Statement::allow("Principals", &["sts:AssumeRole"]).to(Principal::Aws(who)));
    }
    t.add(
        "WorkerRole",
        &Role {
            role_name: scope.worker_role_name(),
            description: format!("Workers of leadline environment {}: queues, and roles of organizations", env.id),
            assume_role_policy_document: Policy::new(trust),
            // From here to an organization's role is role chaining, which is limited to an hour anyway.
            max_session_duration: 3600,
            tags: tag_list(tags),
        },
        &[],
    );
    let org_roles = format!("arn:aws:iam::{}:role/leadline-{}-org-*", env.account, env.id);
    let (ingest, audit) = (Text::att("IngestQueue", "Arn"), Text::att("AuditQueue", "Arn"));
    t.add(
        "WorkerPolicy",
        &RolePolicy {
            policy_name: "worker".into(),
            roles: vec![Text::reference("WorkerRole")],
            policy_document: Policy::new(vec![
                Statement::allow("Send", &["sqs:SendMessage", "sqs:GetQueueUrl", "sqs:GetQueueAttributes"])
                    .on([ingest, audit.clone()]),
                // The ledger's writer drains the audit queue; the ingest queue is the processor's to read.
                Statement::allow("DrainAudit", &["sqs:ReceiveMessage", "sqs:DeleteMessage"]).on([audit]),
                Statement::allow("Organizations", &["sts:AssumeRole"]).on([org_roles.into()]),
            ]),
        },
        &[],
    );
    t.output("WorkerRoleArn", "Role of worker processes", Text::att("WorkerRole", "Arn"));
}
