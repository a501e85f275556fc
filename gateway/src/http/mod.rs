//! HTTP: uploads and the page for them, and the frame in which FHIR and STOW-RS are served too.
//!
//! Other protocols make a `Router<App>` whose handlers take [`auth::Caller`] and `State<App>`, and hand it over in
//! [`Parts::protocols`], nested below a path of their own and with body limits of their own.

pub mod auth;
pub mod problem;

use crate::intake::Intake;
use auth::Tokens;
use axum::Router;
use axum::extract::FromRef;
use std::sync::Arc;

/// What the service is made of.
#[derive(Clone)]
pub struct Parts {
    /// Where everything that comes in ends.
    pub intake: Arc<dyn Intake>,
    /// Routes of other protocols.
    pub protocols: Router<App>,
}

/// What handlers share: their state.
#[derive(Clone)]
pub struct App {
    tokens: Arc<dyn Tokens>,
    intake: Arc<dyn Intake>,
}

impl App {
    /// Of its parts.
    #[must_use]
    pub fn new(tokens: Arc<dyn Tokens>, intake: Arc<dyn Intake>) -> Self {
        Self { tokens, intake }
    }

    /// Where everything that comes in ends.
    #[must_use]
    pub fn intake(&self) -> &Arc<dyn Intake> {
        &self.intake
    }
}

impl FromRef<App> for Arc<dyn Tokens> {
    fn from_ref(app: &App) -> Self {
        Arc::clone(&app.tokens)
    }
}
