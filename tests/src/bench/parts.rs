//! The parts of a stack, used directly for what leadline is measured beside.

use crate::harness::stack::{ACCOUNT, Clinic, Stack};
use crate::harness::tools::{peak_kib, tools};
use crate::rig::{connect_with, facts, scope};
use leadline_activities::adapters::aws::{Aws, AwsOrgStores, AwsSecrets, AwsSettings, SqsQueue};
use leadline_activities::adapters::smb::{SmbConfig, SmbShare};
use leadline_activities::codec::random_keys;
use leadline_activities::engine::Engine;
use leadline_activities::ports::store::{OrgStore, OrgStores};
use leadline_activities::secret::Secret;
use leadline_domain::{EnvScope, OrgId};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

/// See the module.
pub struct Parts<'a> {
    /// The stack.
    pub stack: &'a Stack,
    /// Its clinic.
    pub clinic: &'a Clinic,
}

impl Parts<'_> {
    fn env() -> EnvScope {
        EnvScope::new(&facts("test"))
    }

    pub(super) async fn aws(&self) -> Aws {
        let settings =
            AwsSettings { endpoint_url: Some(self.stack.aws.url()), assume_worker_role: true, profile: None };
        Aws::connect_as(&Self::env(), &settings, ACCOUNT, "test").await
    }

    /// The clinic's organization.
    ///
    /// # Panics
    /// When it has no valid id.
    #[must_use]
    pub fn org(&self) -> OrgId {
        OrgId::parse(&self.clinic.org).expect("an id")
    }

    /// The organization's store.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn store(&self) -> Arc<dyn OrgStore> {
        AwsOrgStores::new(self.aws().await).open(&scope(&self.clinic.org)).await.expect("opened")
    }

    /// The environment's ingest queue, as the worker sends to it.
    pub async fn ingest_queue(&self) -> SqsQueue {
        SqsQueue::new(&self.aws().await, Self::env().ingest_queue())
    }

    /// The clinic's share, with a connection of its own.
    #[must_use]
    pub fn share(&self) -> SmbShare {
        SmbShare::new(SmbConfig {
            address: self.stack.samba.address(),
            share: self.clinic.share.clone(),
            user: self.clinic.user(),
            password: Secret::new(self.clinic.password()),
            domain: String::new(),
            response_timeout: Duration::from_secs(30),
            require_encryption: false,
        })
    }

    /// Temporal with the environment's payload keys.
    ///
    /// # Panics
    /// When it does not answer.
    pub async fn engine(&self) -> Engine {
        let secrets = AwsSecrets::new(self.aws().await);
        let text = secrets.environment_secret("leadline/test/payload-keys", random_keys).await.expect("payload keys");
        Engine::new(connect_with(&self.stack.temporal.address(), &text).await)
    }

    /// The task queue of the worker.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn task_queue() -> String {
        Self::env().main_queue()
    }

    /// A path of the share on the machine.
    #[must_use]
    pub fn on_disk(&self, path: &str) -> PathBuf {
        self.stack.samba.path(&self.clinic.share).join(path)
    }

    /// Puts files into a folder of the share, on the machine itself, owned by the share's user.
    ///
    /// # Panics
    /// When they cannot be written.
    pub fn put(&self, folder: &str, files: impl IntoIterator<Item = (String, Vec<u8>)>) {
        let dir = self.on_disk(folder);
        std::fs::create_dir_all(&dir).expect("folder");
        for (name, bytes) in files {
            std::fs::write(dir.join(name), bytes).expect("written");
        }
        let status = Command::new("chown").arg("-R").arg(self.clinic.user()).arg(&dir).status();
        assert!(status.is_ok_and(|s| s.success()), "chown");
    }

    /// Whether no file is below a folder. A look costs the measured machine a little, so it stops at the first file
    /// and is not made more often than it has to be.
    #[must_use]
    pub fn is_empty(&self, folder: &str) -> bool {
        fn any(dir: &std::path::Path) -> bool {
            let mut entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            entries.any(|e| !e.path().is_dir() || any(&e.path()))
        }
        !any(&self.on_disk(folder))
    }

    /// How many files are in a folder.
    #[must_use]
    pub fn count(&self, folder: &str) -> usize {
        std::fs::read_dir(self.on_disk(folder)).map_or(0, Iterator::count)
    }

    /// Takes all messages and compares: each of these digests once, and nothing else.
    ///
    /// # Panics
    /// When they differ.
    pub fn judge(&self, wanted: BTreeSet<String>) {
        let got = self.stack.take_messages("ingest");
        let digests: BTreeSet<String> =
            got.iter().map(|m| m["data"]["sha256"].as_str().unwrap_or_default().to_owned()).collect();
        assert_eq!(digests, wanted, "recordings that were delivered, and that were written");
        assert_eq!(got.len(), wanted.len(), "a recording came twice");
    }

    /// `rclone` with the share as `src:` and the endpoint as `dst:`.
    ///
    /// # Panics
    /// When it is not installed: `script/bootstrap --bench`.
    #[must_use]
    pub fn rclone(&self) -> Command {
        let program = tools().join("bin/rclone");
        let obscured = Command::new(&program).args(["obscure", &self.clinic.password()]).output().expect("rclone runs");
        let mut c = Command::new(program);
        c.env("RCLONE_CONFIG", "/dev/null")
            .env("RCLONE_CONFIG_SRC_TYPE", "smb")
            .env("RCLONE_CONFIG_SRC_HOST", "127.0.0.1")
            .env("RCLONE_CONFIG_SRC_PORT", self.stack.samba.port().to_string())
            .env("RCLONE_CONFIG_SRC_USER", self.clinic.user())
            .env("RCLONE_CONFIG_SRC_PASS", String::from_utf8_lossy(&obscured.stdout).trim())
            .env("RCLONE_CONFIG_DST_TYPE", "s3")
            .env("RCLONE_CONFIG_DST_PROVIDER", "Other")
            .env("RCLONE_CONFIG_DST_ENDPOINT", self.stack.aws.url())
            .env("RCLONE_CONFIG_DST_REGION", "us-east-1")
            .env("RCLONE_CONFIG_DST_ACCESS_KEY_ID", ACCOUNT)
            .env("RCLONE_CONFIG_DST_SECRET_ACCESS_KEY", "test")
            .env("RCLONE_CONFIG_DST_FORCE_PATH_STYLE", "true");
        c
    }

    /// The worker's peak memory, MiB.
    #[must_use]
    pub fn peak_mib(pid: u32) -> f64 {
        #[allow(clippy::cast_precision_loss)] // KiB of one process
        peak_kib(pid).map_or(f64::NAN, |kib| kib as f64 / 1024.0)
    }
}
