//! The stack of an environment: queues, the worker role, alarms, delivery.

use super::iam::{Policy, Principal, Statement};
use super::resources::{Role, RolePolicy};
use super::value::{Text, tag_list};
use super::{Builder, env_alarms, env_delivery, env_queues, registered};
use crate::config::Environment;
use leadline_domain::EnvScope;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Taking messages off a queue.
const DRAIN: &[&str] = &[
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:GetQueueUrl",
    "sqs:ReceiveMessage",
];

/// The template of an environment.
#[must_use]
pub fn environment(env: &Environment) -> Value {
    let scope = env.scope();
    let tags = super::tags(env.id.as_str(), None);
    let mut t = Builder::new(format!("leadline environment {}: queues, worker role, alarms, delivery", env.id));
    env_queues::add(&mut t, env, &scope, &tags);
    worker_role(&mut t, env, &scope, &tags);
    env_alarms::add(&mut t, env, &scope, &tags);
    if let Some(cdn) = &env.cdn {
        env_delivery::add(&mut t, env, cdn, &tags);
    }
    configuration(&mut t, env, &scope, &tags);
    t.finish()
}

/// Registers what no other resource shows: who vouches for those who send, where histories are kept, whose recordings may come,
/// how long they are held. How processes are run is left out: it decides nothing that somebody has to agree to.
fn configuration(t: &mut Builder, env: &Environment, scope: &EnvScope, tags: &BTreeMap<String, String>) {
    let said = json!({
        "production": env.production,
        "synthetic_only": env.synthetic_only,
        "jurisdictions": env.jurisdictions,
        "temporal": env.temporal,
        "gateway": env.gateway,
        "outcomes": env.outcomes,
        "offboarding": env.offboarding,
    });
    let of = format!("leadline environment {}", env.id);
    t.add("Configuration", &registered(scope.configuration(), &of, &said, tags), &[]);
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
    let [ingest, audit, outcomes, uploads] =
        ["IngestQueue", "AuditQueue", "OutcomeQueue", "UploadQueue"].map(|q| Text::att(q, "Arn"));
    t.add(
        "WorkerPolicy",
        &RolePolicy {
            policy_name: "worker".into(),
            roles: vec![Text::reference("WorkerRole")],
            policy_document: Policy::new(vec![
                Statement::allow("Send", &["sqs:SendMessage", "sqs:GetQueueUrl", "sqs:GetQueueAttributes"])
                    .on([ingest, audit.clone()]),
                // The ledger's writer drains the audit queue; the ingest queue is the processor's to read.
                Statement::allow("Drain", DRAIN).on([audit, outcomes, uploads]),
                // What the checks find. The topic's policy need not say so: role and topic are of one account.
                Statement::allow("Alarms", &["sns:Publish"]).on([Text::reference("AlarmTopic")]),
                Statement::allow("Organizations", &["sts:AssumeRole"]).on([org_roles.into()]),
            ]),
        },
        &[],
    );
    t.output("WorkerRoleArn", "Role of worker processes", Text::att("WorkerRole", "Arn"));
}
