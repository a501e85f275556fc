//! What the handlers share.

use super::auth::Tokens;
use super::health::Readiness;
use super::{Directory, HttpConfig, Parts, Ready};
use crate::intake::Intake;
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use axum::extract::FromRef;
use leadline_activities::ports::uploads::{LONGEST_VALID, Uploads};
use leadline_domain::{OrgId, StagedName};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What handlers share: their state. A clone is the same.
#[derive(Clone)]
pub struct App(Arc<Shared>);

struct Shared {
    tokens: Arc<dyn Tokens>,
    intake: Arc<dyn Intake>,
    uploads: Arc<dyn Uploads>,
    directory: Arc<dyn Directory>,
    ready: Arc<dyn Ready>,
    readiness: Readiness,
    public_url: String,
    valid: Duration,
    stopping: AtomicBool,
    known: Mutex<HashMap<Known, Instant>>,
}

/// An upload in parts that the store knew a moment ago.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Known(String, String, String);

impl Known {
    pub(crate) fn new(org: &OrgId, name: &StagedName, id: &str) -> Self {
        Self(org.to_string(), name.to_string(), id.to_owned())
    }
}

/// For how long an upload is believed to be there.
const REMEMBERED: Duration = Duration::from_secs(300);
/// Of how many uploads that is remembered; then all are looked for again.
const MANY: usize = 10_000;

impl App {
    /// Of a configuration and parts, believing these tokens.
    #[must_use]
    pub fn new(config: &HttpConfig, parts: &Parts, tokens: Arc<dyn Tokens>) -> Self {
        Self(Arc::new(Shared {
            tokens,
            intake: Arc::clone(&parts.intake),
            uploads: Arc::clone(&parts.uploads),
            directory: Arc::clone(&parts.directory),
            ready: Arc::clone(&parts.ready),
            readiness: Readiness::default(),
            public_url: config.public_url.clone(),
            valid: config.limits.url_valid.min(LONGEST_VALID),
            stopping: AtomicBool::new(false),
            known: Mutex::default(),
        }))
    }

    /// Where everything that comes in ends.
    #[must_use]
    pub fn intake(&self) -> &dyn Intake {
        self.0.intake.as_ref()
    }

    /// What browsers and systems call the service.
    #[must_use]
    pub fn public_url(&self) -> &str {
        &self.0.public_url
    }

    /// The organizations.
    #[must_use]
    pub fn directory(&self) -> &dyn Directory {
        self.0.directory.as_ref()
    }

    pub(crate) fn uploads(&self) -> &dyn Uploads {
        self.0.uploads.as_ref()
    }

    pub(crate) fn ready(&self) -> &dyn Ready {
        self.0.ready.as_ref()
    }

    pub(super) fn readiness(&self) -> &Readiness {
        &self.0.readiness
    }

    /// How long permissions are good.
    pub(crate) fn valid(&self) -> Duration {
        self.0.valid
    }

    /// Bits that nobody can guess.
    pub(crate) fn random(&self) -> [u8; 16] {
        let mut b = [0; 16];
        // The system's source of randomness does not fail once it is there.
        let _ = SystemRandom::new().fill(&mut b);
        b
    }

    pub(crate) fn stop(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Relaxed)
    }

    pub(crate) fn remember(&self, k: Known) {
        let mut all = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MANY {
            all.clear();
        }
        all.insert(k, Instant::now());
    }

    pub(crate) fn remembers(&self, k: &Known) -> bool {
        let all = self.0.known.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(k).is_some_and(|t| t.elapsed() < REMEMBERED)
    }

    pub(crate) fn forget(&self, k: &Known) {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner).remove(k);
    }
}

impl FromRef<App> for Arc<dyn Tokens> {
    fn from_ref(app: &App) -> Self {
        Arc::clone(&app.0.tokens)
    }
}
