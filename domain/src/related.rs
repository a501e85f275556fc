//! Recordings that are not the same bytes and yet seem to be of the same recording. Each is delivered; the link between
//! them is kept with the file's history and in its audit entry, never in the message, which follows from the bytes alone.

use crate::ids::{Digest, RecordingId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How two recordings relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// The same recording in another encoding: identifier and samples are the same.
    Merge,
    /// The same identifier with other samples or another version.
    Revision,
    /// They seem to belong together: something that identifies them is the same.
    Link,
}

/// A recording that was there before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Related {
    /// Which.
    pub recording: RecordingId,
    /// How.
    pub how: Relation,
}

/// By what a recording is compared with others. Opaque: nothing of a patient can be read back from it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// The identifier that the format itself assigns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<String>,
    /// Device and time of acquisition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acquisition: Option<String>,
    /// Digest of the samples; the word before the colon names the form in which they were digested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waveform: Option<String>,
    /// Version or edit mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
}

impl Marks {
    /// The strongest one, with its kind: native, then acquisition, then waveform.
    #[must_use]
    pub fn strongest(&self) -> Option<(&'static str, &str)> {
        [("native", &self.native), ("acquisition", &self.acquisition), ("waveform", &self.waveform)]
            .into_iter()
            .find_map(|(kind, v)| v.as_deref().map(|v| (kind, v)))
    }

    /// Name of the claim that the first recording with this strongest mark makes; 32 hexadecimal digits.
    #[must_use]
    pub fn claim(&self) -> Option<String> {
        self.strongest().map(|(kind, v)| Digest::of(format!("{kind}:{v}").as_bytes()).to_hex()[..32].to_owned())
    }
}

/// What the claim of an identity says: who made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdentityClaim {
    /// The recording that came first.
    pub digest: Digest,
    /// Its marks.
    pub marks: Marks,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_claim_is_of_the_strongest_mark() {
        let some = |s: &str| Some(s.to_owned());
        let m = Marks { acquisition: some("a"), waveform: some("w:1"), ..Marks::default() };
        assert_eq!(m.strongest(), Some(("acquisition", "a")));
        let with_native = Marks { native: some("n"), ..m.clone() };
        assert_ne!(m.claim(), with_native.claim());
        assert_eq!(with_native.claim(), Marks { native: some("n"), ..Marks::default() }.claim());
        assert_eq!(Marks::default().claim(), None);
    }
}
