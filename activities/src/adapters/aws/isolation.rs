//! The isolation probe: with the credentials of one organization, what of another can be reached? The only place that
//! brings the two together, and nothing of what it sees leaves it.

use super::errors::{Service, fault, status};
use super::sts::{Aws, OrgClients};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_runtime_api::http::Response;
use leadline_domain::{Fault, FaultClass, OrgScope, ShareId};

/// Names what the probe tries to write and read. `staging/` is emptied by the bucket's lifecycle rule, should a write
/// succeed that must not.
const KEY: &str = "staging/isolation-probe";

impl Aws {
    /// Tries as `own` to list, read, write and copy in the bucket of `other`, to read the secret of its `share` and to
    /// take its role. Returns what was not refused, in words: empty is good (invariant L6).
    ///
    /// # Errors
    /// `store.*`, `credential.*` when a try ended in neither a success nor a refusal: nothing is proven then.
    pub async fn isolation(&self, own: &OrgScope, other: &OrgScope, share: &ShareId) -> Result<Vec<String>, Fault> {
        let org = self.organization(own);
        let bucket = other.bucket();
        org.role.credentials().await?;
        let s3 = &org.s3;
        let source = format!("{bucket}/{KEY}");
        let copy = s3.copy_object().bucket(&org.bucket).key(KEY).copy_source(source);
        let put = s3.put_object().bucket(&bucket).key(KEY).body(ByteStream::from_static(b"probe"));
        let secret = org.secrets.get_secret_value().secret_id(other.share_secret(share));
        let checks = [
            refused(Service::S3, "ListObjectsV2", &s3.list_objects_v2().bucket(&bucket).max_keys(1).send().await)?,
            refused(Service::S3, "PutObject", &put.send().await)?,
            refused(Service::S3, "GetObject", &s3.get_object().bucket(&bucket).key(KEY).send().await)?,
            refused(Service::S3, "DeleteObject", &s3.delete_object().bucket(&bucket).key(KEY).send().await)?,
            refused(Service::S3, "CopyObject", &copy.send().await)?,
            refused(Service::Secrets, "GetSecretValue", &secret.send().await)?,
            take_role(&org, other).await?,
        ];
        Ok(checks.into_iter().flatten().map(|what| format!("{what} of {} as {}", other.org(), own.org())).collect())
    }
}

async fn take_role(org: &OrgClients, other: &OrgScope) -> Result<Option<&'static str>, Fault> {
    let r = aws_sdk_sts::Client::new(&org.config)
        .assume_role()
        .role_arn(other.role_arn())
        .role_session_name("leadline-probe")
        .external_id(other.external_id())
        .send()
        .await;
    refused(Service::Credentials, "AssumeRole", &r)
}

/// `Some(operation)` when it was not refused: it succeeded, or failed for another reason than permission, e.g. because
/// there is no such object, which only those learn who may look.
fn refused<T, E>(
    service: Service,
    operation: &'static str,
    r: &Result<T, SdkError<E, Response>>,
) -> Result<Option<&'static str>, Fault>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    let Err(e) = r else { return Ok(Some(operation)) };
    let denied = e.code().is_some_and(|c| c.starts_with("AccessDenied")) || status(e) == 403;
    if denied {
        return Ok(None);
    }
    match fault(service, operation, e) {
        f if matches!(f.class(), FaultClass::Transient | FaultClass::Throttled) => Err(f),
        _ => Ok(Some(operation)),
    }
}
