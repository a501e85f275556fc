//! The environment's queues, which an organization's role has no business with.

use crate::adapters::aws::errors::{Service, fault};
use crate::adapters::aws::sts::Aws;
use leadline_domain::{EnvScope, Fault};

/// Name and URL of each.
pub(super) async fn urls(aws: &Aws, env: &EnvScope) -> Result<Vec<(String, String)>, Fault> {
    let client = aws_sdk_sqs::Client::from_conf(
        aws_sdk_sqs::config::Builder::from(aws.worker()).interceptor(aws.counting()).build(),
    );
    // As the worker, which may ask for this one; the others differ in the name only.
    let known = client.get_queue_url().queue_name(env.ingest_queue()).send().await;
    let known = known.map_err(|e| fault(Service::Sqs, "GetQueueUrl", &e))?;
    let base = known.queue_url().unwrap_or_default().trim_end_matches(&env.ingest_queue()).to_owned();
    let names = [
        env.ingest_queue(),
        env.ingest_dlq(),
        env.audit_queue(),
        env.outcome_queue(),
        env.upload_queue(),
        env.dead_letters(),
    ];
    Ok(names.into_iter().map(|n| (n.clone(), format!("{base}{n}"))).collect())
}
