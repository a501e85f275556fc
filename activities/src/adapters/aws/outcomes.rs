//! Reports of the processor in an organization's bucket.

use super::s3::{CONFLICTS, S3OrgStore, conflict, no_winner, taken};
use super::sts::AwsOrgStores;
use crate::ports::outcomes::{KeptReport, OutcomeStore, OutcomeStores, ReportKept};
use crate::ports::store::OrgStore as _;
use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::Object;
use bytes::Bytes;
use leadline_domain::message::recording_key;
use leadline_domain::outcome::{report_key, reports_prefix};
use leadline_domain::{Digest, Fault, FaultCode, OrgScope};
use std::collections::BTreeSet;
use std::sync::Arc;

const RECORDINGS: &str = "recordings/sha256/";
const REPORTS: &str = "outcomes/sha256/";
/// Keys in one answer (ListObjectsV2: at most 1,000).
const PAGE: i32 = 1_000;
/// Reports of one recording that are shown.
const SHOWN: i32 = 100;
/// Greater than every character of a key.
const END: char = '~';

impl S3OrgStore {
    /// Keys below `prefix` that are greater than `after`, in order: one answer.
    async fn page(&self, prefix: &str, after: &str, most: i32) -> Result<Vec<Object>, Fault> {
        let ask = self.org.s3.list_objects_v2().bucket(&self.org.bucket).prefix(prefix).max_keys(most);
        let ask = if after.is_empty() { ask } else { ask.start_after(after) };
        match ask.send().await {
            Ok(mut r) => Ok(r.contents.take().unwrap_or_default()),
            Err(e) => Err(self.fail("ListObjectsV2", &e).await),
        }
    }

    async fn body(&self, key: &str) -> Result<Bytes, Fault> {
        let got = match self.org.s3.get_object().bucket(&self.org.bucket).key(key).send().await {
            Ok(g) => g,
            Err(e) => return Err(self.fail("GetObject", &e).await),
        };
        let read = got.body.collect().await;
        let lost = |_| Fault::new(FaultCode::StoreUnreachable, "GetObject: the answer broke off");
        Ok(read.map_err(lost)?.into_bytes())
    }
}

/// The digest in a key `<prefix>ab/<digest>[/...]`.
pub(super) fn digest_of(key: &str, prefix: &str) -> Option<Digest> {
    Digest::parse(key.strip_prefix(prefix)?.split('/').nth(1)?).ok()
}

fn stored_ms(o: &Object) -> i64 {
    o.last_modified().and_then(|t| t.to_millis().ok()).unwrap_or(0)
}

#[async_trait]
impl OutcomeStore for S3OrgStore {
    async fn has_recording(&self, digest: &Digest) -> Result<bool, Fault> {
        Ok(self.head_recording(digest).await?.is_some())
    }

    async fn keep_report(&self, digest: &Digest, report: &str, body: Bytes) -> Result<ReportKept, Fault> {
        let key = report_key(digest, report);
        for _ in 0..CONFLICTS {
            let put = self.org.s3.put_object().bucket(&self.org.bucket).key(&key).if_none_match("*");
            match put.content_type("application/json").body(ByteStream::from(body.clone())).send().await {
                Ok(_) => return Ok(ReportKept::New),
                Err(e) if taken(&e) => {
                    let same = self.body(&key).await? == body;
                    return Ok(if same { ReportKept::Same } else { ReportKept::Other });
                }
                Err(e) if conflict(&e) => {}
                Err(e) => return Err(self.fail("PutObject", &e).await),
            }
        }
        Err(no_winner())
    }

    async fn reports(&self, digest: &Digest) -> Result<Vec<KeptReport>, Fault> {
        let mut all = self.page(&reports_prefix(digest), "", SHOWN).await?;
        all.sort_by_key(stored_ms);
        let mut out = Vec::with_capacity(all.len());
        for o in &all {
            let body = self.body(o.key().unwrap_or_default()).await?;
            out.push(KeptReport { body, stored_ms: stored_ms(o) });
        }
        Ok(out)
    }

    async fn recordings_after(&self, after: Option<&Digest>) -> Result<Vec<(Digest, i64)>, Fault> {
        let mut from = after.map(recording_key).unwrap_or_default();
        loop {
            let page = self.page(RECORDINGS, &from, PAGE).await?;
            let found: Vec<_> =
                page.iter().filter_map(|o| Some((digest_of(o.key()?, RECORDINGS)?, stored_ms(o)))).collect();
            match page.last().and_then(Object::key) {
                // Keys that are none of ours: go on behind them.
                Some(last) if found.is_empty() => last.clone_into(&mut from),
                _ => return Ok(found),
            }
        }
    }

    async fn reported(&self, after: Option<&Digest>, last: &Digest) -> Result<BTreeSet<Digest>, Fault> {
        let mut out = BTreeSet::new();
        let mut from = after.map(|d| format!("{}{END}", reports_prefix(d))).unwrap_or_default();
        loop {
            let page = self.page(REPORTS, &from, PAGE).await?;
            for o in &page {
                match o.key().and_then(|k| digest_of(k, REPORTS)) {
                    Some(d) if d > *last => return Ok(out),
                    Some(d) => out.extend([d]),
                    None => {}
                }
            }
            match page.last().and_then(Object::key) {
                Some(key) => key.clone_into(&mut from),
                None => return Ok(out),
            }
        }
    }
}

#[async_trait]
impl OutcomeStores for AwsOrgStores {
    async fn outcomes(&self, scope: &OrgScope) -> Result<Arc<dyn OutcomeStore>, Fault> {
        Ok(Arc::new(self.opened(scope).await?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lead_back_to_digests() {
        let d = Digest::of(b"x");
        assert_eq!(digest_of(&recording_key(&d), RECORDINGS), Some(d));
        assert_eq!(digest_of(&report_key(&d, "r"), REPORTS), Some(d));
        assert_eq!(digest_of("recordings/sha256/ab/other", RECORDINGS), None);
        assert!(format!("{}{END}", reports_prefix(&d)) > report_key(&d, &"z".repeat(64)));
    }
}
