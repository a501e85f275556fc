//! HTTP: uploads and the page for them, and the frame in which FHIR and STOW-RS are served too.
//!
//! Other protocols are in [`protocols`]: routers with body limits of their own, handed over in [`Routes::protocols`].

mod app;
pub mod auth;
mod described;
pub mod events;
mod extract;
mod health;
mod impatient;
mod layers;
pub mod metrics;
pub mod oidc;
pub mod openapi;
pub mod outbound;
mod page;
pub mod problem;
pub mod protocols;
pub mod reports;
mod server;
pub mod sweep;
pub mod uploads;

pub use app::App;
pub(crate) use app::Known;
pub use oidc::OidcConfig;
pub use server::{assemble, router, serve, serve_app};

use crate::intake::Intake;
use async_trait::async_trait;
use axum::Router;
use leadline_activities::ports::uploads::Uploads;
use leadline_domain::{Fault, Ingress, OrgId, OrgScope};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How the service is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpConfig {
    /// What browsers and systems call it, e.g. `https://ecg.example.org`, without a slash at its end.
    pub public_url: String,
    /// Whose tokens are believed.
    pub oidc: OidcConfig,
    /// Origins of the object store that the page sends files to, e.g. `https://*.s3.eu-west-2.amazonaws.com`, for its
    /// content security policy.
    pub store_origins: Vec<String>,
    /// Limits.
    pub limits: Limits,
}

/// Limits of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests at a time; more are told to come back. Of uploads and reports, one organization may have a quarter of
    /// them.
    pub requests: usize,
    /// Connections at a time; more wait to be accepted.
    pub connections: usize,
    /// A connection that has not sent its headers after so long is closed.
    pub header_read: Duration,
    /// A connection whose peer has read nothing of its answer for so long is closed.
    pub unread: Duration,
    /// A request of uploads or a report, which carry little, that is not answered after so long is given up.
    pub request: Duration,
    /// The same for putting parts together, and for other protocols, whose requests carry documents over slow lines.
    pub transfer: Duration,
    /// How long a permission to upload is good; 15 minutes at most.
    pub url_valid: Duration,
    /// At the end, requests under way have so long.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests: 256,
            connections: 1_024,
            header_read: Duration::from_secs(10),
            unread: Duration::from_secs(30),
            request: Duration::from_secs(60),
            transfer: Duration::from_secs(900),
            url_valid: Duration::from_secs(600),
            drain: Duration::from_secs(20),
        }
    }
}

/// What an organization's people may upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadRules {
    /// The names of what the organization owns.
    pub scope: OrgScope,
    /// Largest file, bytes.
    pub max_bytes: u64,
}

/// The organizations, as they are configured now.
pub trait Directory: Send + Sync {
    /// What the organization's people may upload.
    ///
    /// # Errors
    /// `config.unknown_org`; `request.forbidden` if it takes no uploads; `org.offboarding`.
    fn uploads(&self, org: &OrgId) -> Result<UploadRules, Fault>;

    /// Whether the organization's file opens this way in.
    ///
    /// # Errors
    /// `config.unknown_org`; `request.forbidden` if it does not.
    fn open(&self, org: &OrgId, way: Ingress) -> Result<(), Fault>;

    /// Every organization that takes uploads.
    fn uploading(&self) -> Vec<OrgId>;

    /// Whose bucket this is.
    fn of_bucket(&self, bucket: &str) -> Option<OrgId>;

    /// Origins of other pages that may call, of all organizations.
    fn origins(&self) -> BTreeSet<String>;
}

/// Whether the service can do its work.
#[async_trait]
pub trait Ready: Send + Sync {
    /// What everything needs, whatever the organization: Temporal answers, and AWS knows our credentials. Not a store:
    /// one organization's trouble must not take the service from the others.
    ///
    /// # Errors
    /// What is missing.
    async fn check(&self) -> Result<(), Fault>;
}

/// What the service is made of.
#[derive(Clone)]
pub struct Parts {
    /// Where everything that comes in ends.
    pub intake: Arc<dyn Intake>,
    /// Permissions to upload.
    pub uploads: Arc<dyn Uploads>,
    /// The organizations.
    pub directory: Arc<dyn Directory>,
    /// Whether it can work.
    pub ready: Arc<dyn Ready>,
    /// Routes beside those of uploads.
    pub routes: Routes,
}

/// Routes beside those of uploads.
#[derive(Clone, Default)]
pub struct Routes {
    /// Other protocols. They have bounds of their own.
    pub protocols: Router<App>,
    /// The processor's reports, which carry little: bounded as uploads are.
    pub reports: Router<App>,
}
