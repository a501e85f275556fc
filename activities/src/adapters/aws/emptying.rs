//! A bucket that was opened for deletion, emptied by its organization's own role.

use super::errors::{Service, fault};
use super::s3::S3OrgStore;
use crate::ports::store::{Held, Stuck};
use crate::provision::now_ms;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::operation::list_object_versions::ListObjectVersionsOutput;
use leadline_domain::{Fault, FaultCode};

/// Requests under way at once: S3 takes 3,500 a second and prefix.
const AT_ONCE: usize = 16;
/// Locked versions that are named.
const NAMED: usize = 50;

/// A version of an object, or a delete marker, which has no size.
struct Version {
    key: String,
    id: String,
    bytes: u64,
}

fn of_page(page: &ListObjectVersionsOutput) -> (Vec<Version>, Vec<Version>) {
    let version = |key: Option<&str>, id: Option<&str>, size: Option<i64>| Version {
        key: key.unwrap_or_default().to_owned(),
        id: id.unwrap_or_default().to_owned(),
        bytes: size.and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
    };
    let versions = page.versions().iter().map(|v| version(v.key(), v.version_id(), v.size())).collect();
    let markers = page.delete_markers().iter().map(|m| version(m.key(), m.version_id(), None)).collect();
    (versions, markers)
}

/// Key and version after which a listing goes on.
type Place = (Option<String>, Option<String>);

fn next(page: &ListObjectVersionsOutput) -> Option<Place> {
    let place = || (page.next_key_marker().map(str::to_owned), page.next_version_id_marker().map(str::to_owned));
    (page.is_truncated() == Some(true)).then(place)
}

impl S3OrgStore {
    pub(super) async fn counted(&self) -> Result<Held, Fault> {
        let mut held = Held::default();
        let mut after = None;
        loop {
            let page = self.versions(&after).await?;
            let (versions, markers) = of_page(&page);
            held.versions += versions.len() as u64;
            held.bytes += versions.iter().map(|v| v.bytes).sum::<u64>();
            held.markers += markers.len() as u64;
            after = next(&page);
            if after.is_none() {
                return Ok(held);
            }
        }
    }

    /// A page of all versions, after this place.
    async fn versions(&self, after: &Option<Place>) -> Result<ListObjectVersionsOutput, Fault> {
        let (key, version) = after.clone().unwrap_or_default();
        let list = self.org.s3.list_object_versions().bucket(&self.org.bucket);
        match list.set_key_marker(key).set_version_id_marker(version).send().await {
            Ok(page) => Ok(page),
            Err(e) => Err(self.fail("ListObjectVersions", &e).await),
        }
    }

    pub(super) async fn emptied(&self) -> Result<Stuck, Fault> {
        self.give_up_uploads().await?;
        let mut stuck = Stuck::default();
        let mut after = None;
        loop {
            let page = self.versions(&after).await?;
            let (versions, markers) = of_page(&page);
            let all: Vec<Version> = versions.into_iter().chain(markers).collect();
            for some in all.chunks(AT_ONCE) {
                let each = futures::future::join_all(some.iter().map(|v| self.delete_version(v))).await;
                for (v, locked) in some.iter().zip(each) {
                    if let Some(until) = locked? {
                        keep(&mut stuck, v, until);
                    }
                }
            }
            after = next(&page);
            if after.is_none() {
                return Ok(stuck);
            }
        }
    }

    async fn give_up_uploads(&self) -> Result<(), Fault> {
        // Those that are given up are not listed again.
        loop {
            let page = match self.org.s3.list_multipart_uploads().bucket(&self.org.bucket).send().await {
                Ok(p) => p,
                Err(e) => return Err(self.fail("ListMultipartUploads", &e).await),
            };
            for u in page.uploads() {
                let abort = self.org.s3.abort_multipart_upload().bucket(&self.org.bucket);
                let abort = abort.set_key(u.key().map(str::to_owned)).set_upload_id(u.upload_id().map(str::to_owned));
                match abort.send().await {
                    Ok(_) => {}
                    Err(e) if e.code() == Some("NoSuchUpload") => {}
                    Err(e) => return Err(self.fail("AbortMultipartUpload", &e).await),
                }
            }
            if page.is_truncated() != Some(true) {
                return Ok(());
            }
        }
    }

    /// `Some`: it is locked, until then, or without an end.
    async fn delete_version(&self, v: &Version) -> Result<Option<Option<i64>>, Fault> {
        let (s3, bucket) = (&self.org.s3, &self.org.bucket);
        let e = match s3.delete_object().bucket(bucket).key(&v.key).version_id(&v.id).send().await {
            Ok(_) => return Ok(None),
            Err(e) if matches!(e.code(), Some("NoSuchKey" | "NoSuchVersion")) => return Ok(None),
            Err(e) => e,
        };
        let refused = fault(Service::S3, "DeleteObject", &e);
        // S3 refuses a locked version as it refuses anything: the lock itself tells them apart.
        if refused.code != FaultCode::StoreAccessDenied {
            return Err(self.fail("DeleteObject", &e).await);
        }
        let hold = s3.get_object_legal_hold().bucket(bucket).key(&v.key).version_id(&v.id).send().await;
        let held = hold.ok().and_then(|h| h.legal_hold).and_then(|h| h.status);
        if held == Some(aws_sdk_s3::types::ObjectLockLegalHoldStatus::On) {
            return Ok(Some(None));
        }
        let retention = s3.get_object_retention().bucket(bucket).key(&v.key).version_id(&v.id).send().await;
        let until = retention.ok().and_then(|r| r.retention).and_then(|r| r.retain_until_date);
        // A date that is past stays with the version: something else refused.
        match until.and_then(|t| t.to_millis().ok()).filter(|ms| *ms > now_ms()) {
            Some(ms) => Ok(Some(Some(ms))),
            None => Err(self.fail("DeleteObject", &e).await),
        }
    }
}

fn keep(stuck: &mut Stuck, v: &Version, until: Option<i64>) {
    stuck.versions += 1;
    stuck.bytes += v.bytes;
    match until {
        Some(ms) => stuck.until_ms = stuck.until_ms.max(Some(ms)),
        None => stuck.legal_hold = true,
    }
    if stuck.named.len() < NAMED {
        stuck.named.push(format!("{} {}", v.key, v.id));
    }
}
