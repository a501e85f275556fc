//! The parts of a stack, used directly for what leadline is measured beside.

use crate::fleet::digests;
use crate::harness::stack::{ACCOUNT, Clinic, Stack};
use crate::harness::tools::tools;
use leadline_activities::adapters::aws::{Aws, AwsOrgStores, AwsSecrets, AwsSettings};
use leadline_activities::adapters::smb::{SmbConfig, SmbShare};
use leadline_activities::codec::{data_converter, parse_keys, random_keys};
use leadline_activities::engine::Engine;
use leadline_activities::ports::store::{OrgStore, OrgStores};
use leadline_activities::secret::Secret;
use leadline_domain::{EnvFacts, EnvId, EnvScope, OrgId, OrgScope, Placement};
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use temporalio_client::{Client, ClientOptions, Connection, ConnectionOptions};

/// See the module.
pub struct Parts<'a> {
    /// The stack.
    pub stack: &'a Stack,
    /// Its clinic.
    pub clinic: &'a Clinic,
}

impl Parts<'_> {
    fn facts() -> EnvFacts {
        EnvFacts {
            env: EnvId::parse("test").expect("an id"),
            account: ACCOUNT.into(),
            region: "us-east-1".into(),
            jurisdictions: BTreeSet::from(["us".parse().expect("a jurisdiction")]),
        }
    }

    async fn aws(&self) -> Aws {
        let settings = AwsSettings { endpoint_url: Some(self.stack.aws.url()), assume_worker_role: true };
        Aws::connect_as(&EnvScope::new(&Self::facts()), &settings, ACCOUNT, "test").await
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
        let placement = Placement::resolve(&self.org(), "us", &Self::facts()).expect("allowed");
        let scope = OrgScope::new(self.org(), placement);
        AwsOrgStores::new(self.aws().await).open(&scope).await.expect("opened")
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
        let keys = parse_keys(&text).expect("payload keys");
        let url: temporalio_client::Url =
            format!("http://{}", self.stack.temporal.address()).parse().expect("an address");
        let connection = Connection::connect(ConnectionOptions::new(url).build()).await.expect("Temporal answers");
        let options = ClientOptions::new("default").data_converter(data_converter(Arc::new(keys))).build();
        Engine::new(Client::new(connection, options).expect("a client"))
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

    /// How many different contents are in the archive.
    #[must_use]
    pub fn archived(&self) -> usize {
        digests(&self.on_disk("_archive")).len()
    }

    /// How many files are below a folder.
    #[must_use]
    pub fn files_below(&self, folder: &str) -> usize {
        fn count(dir: &std::path::Path) -> usize {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            entries.map(|e| if e.path().is_dir() { count(&e.path()) } else { 1 }).sum()
        }
        count(&self.on_disk(folder))
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
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|n| n.parse::<f64>().ok()).map_or(f64::NAN, |kib| kib / 1024.0)
    }
}
