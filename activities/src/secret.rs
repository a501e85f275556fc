//! A text that cannot be printed.

use serde::Deserialize;
use std::fmt;

/// A password, key or token. `Debug` hides it; it can be read from what holds it, and there is no `Display` and no
/// serialization:
///
/// ```compile_fail,E0277
/// let text = serde_json::to_string(&leadline_activities::secret::Secret::new("s"));
/// ```
///
/// ```compile_fail,E0599
/// let text = leadline_activities::secret::Secret::new("s").to_string();
/// ```
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps it.
    #[must_use]
    pub fn new(s: impl Into<String>) -> Self {
        Self(s.into())
    }
    /// The text, for the one call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}
