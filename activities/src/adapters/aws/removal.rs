//! What a stack leaves behind, removed as whoever started this process.

use super::errors::{Service, fault};
use super::settings::{AwsSettingsReader, there};
use crate::ports::removal::Removal;
use async_trait::async_trait;
use aws_sdk_secretsmanager::types::{Filter, FilterNameStringType};
use leadline_domain::transfer::Storage;
use leadline_domain::{Fault, OrgScope};
use std::collections::BTreeSet;

#[async_trait]
impl Removal for AwsSettingsReader {
    async fn secrets(&self, scope: &OrgScope) -> Result<BTreeSet<String>, Fault> {
        let prefix = scope.secret_prefix();
        let filter = Filter::builder().key(FilterNameStringType::Name).values(&prefix).build();
        let mut pages = self.secrets.list_secrets().filters(filter).into_paginator().send();
        let mut out = BTreeSet::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| fault(Service::Secrets, "ListSecrets", &e))?;
            let names = page.secret_list().iter().filter_map(|s| s.name());
            // The filter pays no regard to letter case.
            out.extend(names.filter(|n| n.starts_with(&prefix)).map(str::to_owned));
        }
        Ok(out)
    }

    async fn secret(&self, name: &str) -> Result<bool, Fault> {
        let r = self.secrets.describe_secret().secret_id(name).send().await;
        if there(Service::Secrets, "DescribeSecret", &["ResourceNotFoundException"], r)?.is_none() {
            return Ok(false);
        }
        let delete = self.secrets.delete_secret().secret_id(name).force_delete_without_recovery(true);
        let r = delete.send().await;
        there(Service::Secrets, "DeleteSecret", &["ResourceNotFoundException"], r)?;
        Ok(true)
    }

    async fn key(&self, scope: &OrgScope, days: i32) -> Result<bool, Fault> {
        let alias = scope.key_alias();
        let r = self.kms.describe_key().key_id(&alias).send().await;
        let Some(k) = there(Service::Kms, "DescribeKey", &["NotFoundException"], r)? else { return Ok(false) };
        let id = k.key_metadata().map(|m| m.key_id().to_owned()).unwrap_or_default();
        // The key first: without its name it would not be found by a repeat. One that waits already is success.
        let r = self.kms.schedule_key_deletion().key_id(&id).pending_window_in_days(days).send().await;
        there(Service::Kms, "ScheduleKeyDeletion", &["KMSInvalidStateException"], r)?;
        let r = self.kms.delete_alias().alias_name(&alias).send().await;
        there(Service::Kms, "DeleteAlias", &["NotFoundException"], r)?;
        Ok(true)
    }

    async fn bucket_is_there(&self, scope: &OrgScope, storage: Storage) -> Result<bool, Fault> {
        let r = self.s3.head_bucket().bucket(scope.storage_bucket(storage)).send().await;
        Ok(there(Service::S3, "HeadBucket", &["NotFound", "NoSuchBucket"], r)?.is_some())
    }

    async fn bucket(&self, scope: &OrgScope, storage: Storage) -> Result<bool, Fault> {
        let name = scope.storage_bucket(storage);
        let r = self.s3.delete_bucket().bucket(&name).send().await;
        match there(Service::S3, "DeleteBucket", &["NoSuchBucket"], r) {
            Ok(done) => Ok(done.is_some()),
            // Something came, or a part of the deletion was not: the step before is to be looked at.
            Err(f) => Err(Fault::new(f.code, format!("bucket {name}: {}", f.detail))),
        }
    }
}
