//! The isolation probe: with the credentials of one organization, what of another can be reached? The only place that
//! brings the credentials of one together with the names of another.
//!
//! What it can touch is fixed here: two objects below `staging/` that the probe itself placed, upload ids it began, data
//! keys that protect nothing, an upload id that no bucket knows, a staging label that no secret has, messages that no queue
//! and no topic takes. No key, label or body
//! comes from outside, and no answer's body is read, so that even where isolation is broken nobody's data is seen or
//! changed. What a try leaves behind that must not have succeeded is removed with its owner's credentials, or told.

mod elsewhere;
mod intruder;
mod queues;
mod victim;

use super::errors::{Service, UNKNOWN_CALLER, fault, status};
use super::sts::Aws;
use crate::ports::checks::{EnvBucket, Isolation, Owned};
use async_trait::async_trait;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::http::Response;
use intruder::Intruder;
use leadline_domain::isolation::{Evidence, NotEnforced, Outcome, Target};
use leadline_domain::{EnvScope, Fault, FaultClass, OrgScope};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use victim::Victim;

/// What another organization's bucket is tried with, placed there by its own role. `staging/` is emptied by the bucket's
/// lifecycle rule. Without it nothing could be shown: to those who may read but not list, S3 calls a missing object
/// forbidden.
const BAIT: &str = "staging/isolation-probe";
/// What copies go to, and what is deleted.
const COPY: &str = "staging/isolation-probe-copy";
/// A multipart upload is begun here, and given up: no object comes of it.
const RECORDING: &str = "recordings/isolation-probe";
/// A staging label that no version of a secret has: who may read learns that there is no such version, and no value.
const LABEL: &str = "leadline-isolation-probe";
/// An upload that no bucket knows: who may go on with uploads learns that, and changes none.
const NO_UPLOAD: &str = "leadline-isolation-probe";
/// What the probe writes.
const BODY: &[u8] = b"leadline isolation probe";

/// How long what was placed at an organization is used without looking again.
const PLACED: Duration = Duration::from_secs(600);

/// What a local endpoint does not hold anybody to (docs/PROVISIONING.md).
const LOCAL: &[(&str, &str)] = &[
    ("the bucket policy for the account's root keys", "requests of root are not checked by the endpoint; AWS does"),
    ("conditions s3:if-none-match and s3:ObjectCreationOperation", "the endpoint does not know these condition keys"),
    ("a disabled key closing the bucket it encrypts", "the endpoint's KMS is not tied to its S3"),
    ("kms:ViaService in key policies", "the endpoint does not call its KMS on behalf of its other services"),
    ("TLS only", "statements that refuse plain text are left out where the endpoint has no TLS"),
    ("permissions of CloudFormation's service role", "the endpoint makes resources without asking IAM"),
];

/// See [`Isolation`].
pub struct AwsIsolation {
    aws: Aws,
    local: bool,
    placed: Mutex<HashMap<String, (Instant, Arc<Victim>)>>,
}

impl AwsIsolation {
    /// With these identities.
    #[must_use]
    pub fn new(aws: Aws) -> Self {
        let local = aws.worker().endpoint_url().is_some();
        Self { aws, local, placed: Mutex::default() }
    }

    /// Places what an organization is tried with.
    async fn victim(&self, scope: &OrgScope, leaving: bool) -> Result<Arc<Victim>, Fault> {
        let known = self.placed.lock().unwrap_or_else(PoisonError::into_inner).get(&scope.role_arn()).cloned();
        if let Some((_, v)) = known.filter(|(at, _)| at.elapsed() < PLACED) {
            return Ok(v);
        }
        self.placed_anew(scope, leaving).await
    }

    /// The same, whatever was placed before: the organization may have been made anew since, with another key.
    async fn placed_anew(&self, scope: &OrgScope, leaving: bool) -> Result<Arc<Victim>, Fault> {
        let v = Arc::new(Victim::prepare(&self.aws, scope, leaving).await?);
        let mut placed = self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        if v.ready() {
            placed.insert(scope.role_arn(), (Instant::now(), Arc::clone(&v)));
        } else {
            placed.remove(&scope.role_arn());
        }
        Ok(v)
    }

    async fn intruder(&self, own: &OrgScope) -> Result<Intruder, Fault> {
        let org = self.aws.organization(own);
        org.role.credentials().await?;
        Ok(Intruder::new(org, &self.aws.counting()))
    }
}

#[async_trait]
impl Isolation for AwsIsolation {
    fn not_enforced(&self) -> Vec<NotEnforced> {
        let known = LOCAL.iter().filter(|_| self.local);
        known.map(|(what, why)| NotEnforced { what: (*what).to_owned(), why: (*why).to_owned() }).collect()
    }

    async fn stacks(&self) -> Result<BTreeMap<String, bool>, Fault> {
        super::cloudformation::made(&self.aws).await
    }

    async fn own(&self, own: &OrgScope, has: &Owned) -> Result<Vec<Evidence>, Fault> {
        let intruder = self.intruder(own).await?;
        let itself = self.placed_anew(own, has.leaving).await?;
        intruder.try_all(&itself, &Target::Own, has).await
    }

    async fn environment(&self, own: &OrgScope, env: &EnvScope, buckets: &[EnvBucket]) -> Result<Vec<Evidence>, Fault> {
        let intruder = self.intruder(own).await?;
        let mut found = intruder.try_queues(&queues::urls(&self.aws, env).await?).await?;
        found.push(intruder.try_topic(&env.alarm_topic_arn()).await?);
        for bucket in buckets {
            found.extend(intruder.try_bucket_of_environment(bucket).await?);
        }
        Ok(found)
    }

    async fn other(&self, own: &OrgScope, other: &OrgScope, has: &Owned) -> Result<Vec<Evidence>, Fault> {
        let intruder = self.intruder(own).await?;
        let victim = self.victim(other, has.leaving).await?;
        intruder.try_all(&victim, &Target::Organization(other.org().clone()), has).await
    }
}

/// Codes of "there is no such resource".
const ABSENT: &[&str] =
    &["NoSuchBucket", "QueueDoesNotExist", "AWS.SimpleQueueService.NonExistentQueue", "NotFoundException"];

/// What an answer shows. `after` are the codes that only those get who may: the service looks at permissions first.
/// HTTP 404 and 412 are of that kind wherever they do not say that the resource is missing.
///
/// # Errors
/// What passes by itself, a session that is not good any more among it.
fn judge<T, E>(
    service: Service,
    operation: &'static str,
    after: &[&str],
    r: &Result<T, SdkError<E, Response>>,
) -> Result<(Outcome, String), Fault>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Err(e) = r else { return Ok((Outcome::Granted, "success".to_owned())) };
    let (code, status) = (e.code().unwrap_or("").to_owned(), status(e));
    let said = if code.is_empty() { format!("HTTP {status}") } else { code.clone() };
    // A HEAD has no body to carry a code.
    if code.starts_with("AccessDenied")
        || code.starts_with("AuthorizationError")
        || (status == 403 && matches!(code.as_str(), "" | "Forbidden"))
    {
        return Ok((Outcome::Denied, said));
    }
    if ABSENT.contains(&code.as_str()) {
        return Ok((Outcome::Absent, said));
    }
    if after.contains(&code.as_str()) || matches!(status, 404 | 412) {
        return Ok((Outcome::Granted, said));
    }
    let f = fault(service, operation, e);
    // Not knowing who asks is no refusal of a permission.
    if matches!(f.class(), FaultClass::Transient | FaultClass::Throttled) || UNKNOWN_CALLER.contains(&code.as_str()) {
        return Err(f);
    }
    Ok((Outcome::Unclear, said))
}
