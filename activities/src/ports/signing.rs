//! The role of an environment's key for evidence.

use async_trait::async_trait;
use leadline_domain::Fault;

/// Gives the private key that an environment's evidence is signed with.
#[async_trait]
pub trait Signing: Send + Sync {
    /// The key as its secret has it, see [`crate::evidence::new_key`]; whoever asks first makes it.
    ///
    /// # Errors
    /// `credential.*`.
    async fn key(&self) -> Result<String, Fault>;
}
