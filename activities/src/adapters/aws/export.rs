//! Lists of all recordings of an organization, written into its own bucket.

use super::s3::S3OrgStore;
use crate::ports::store::Listed;
use aws_sdk_s3::primitives::ByteStream;
use leadline_domain::{Digest, Fault, FaultCode};

/// Recordings in one list: some 2 MB of text.
const A_LIST: usize = 10_000;
const PREFIX: &str = "recordings/";

impl S3OrgStore {
    pub(super) async fn list_into(&self, folder: &str) -> Result<Vec<Listed>, Fault> {
        let mut pages = self.org.s3.list_objects_v2().bucket(&self.org.bucket).prefix(PREFIX).into_paginator().send();
        let mut done = Vec::new();
        let (mut text, mut here) = (String::new(), Listed::default());
        while let Some(page) = pages.next().await {
            let page = match page {
                Ok(p) => p,
                Err(e) => return Err(self.fail("ListObjectsV2", &e).await),
            };
            for o in page.contents() {
                let key = o.key().unwrap_or_default();
                let size = o.size().and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
                let line = serde_json::json!({
                    "key": key,
                    "sha256": key.rsplit('/').next(),
                    "size": size,
                    "stored_ms": o.last_modified().and_then(|t| t.to_millis().ok()),
                });
                text.push_str(&line.to_string());
                text.push('\n');
                here.recordings += 1;
                here.bytes += size;
                if here.recordings >= A_LIST as u64 {
                    done.push(self.write_list(folder, done.len(), &mut text, &mut here).await?);
                }
            }
        }
        // An empty list says that there is nothing.
        if here.recordings > 0 || done.is_empty() {
            done.push(self.write_list(folder, done.len(), &mut text, &mut here).await?);
        }
        Ok(done)
    }

    async fn write_list(
        &self,
        folder: &str,
        number: usize,
        text: &mut String,
        here: &mut Listed,
    ) -> Result<Listed, Fault> {
        let body = std::mem::take(text).into_bytes();
        let mut list = std::mem::take(here);
        if folder.is_empty() || !folder.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(Fault::new(FaultCode::StoreRefused, "the name of an export is not letters, digits, hyphens"));
        }
        list.key = format!("ledger/export/{folder}/{number:05}.jsonl");
        list.sha256 = Digest::of(&body).to_hex();
        let put = self.org.s3.put_object().bucket(&self.org.bucket).key(&list.key);
        match put.content_type("application/jsonl").body(ByteStream::from(body)).send().await {
            Ok(_) => Ok(list),
            Err(e) => Err(self.fail("PutObject", &e).await),
        }
    }
}
