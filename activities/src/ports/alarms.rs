//! The role of the environment's topic of alarms.

use async_trait::async_trait;
use leadline_domain::{Alarm, Fault};

/// Where people hear of what cannot wait for somebody to look.
#[async_trait]
pub trait Alarms: Send + Sync {
    /// Publishes an alarm. A repeat reaches the receivers again.
    ///
    /// # Errors
    /// `alarm.*`, `credential.*`.
    async fn raise(&self, alarm: &Alarm) -> Result<(), Fault>;
}
