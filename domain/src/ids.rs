//! Identifiers: parsed once at the border, never a bare `String` across a boundary.

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// Why a text is not the identifier it should be. Carries the kind and the rule, never the text: it may be PHI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId {
    /// Which kind of identifier was expected, e.g. `organization`.
    pub kind: &'static str,
    /// The rule it breaks, in words.
    pub rule: &'static str,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a valid {} id: {}", self.kind, self.rule)
    }
}

impl std::error::Error for InvalidId {}

/// Slugs end up in bucket names (S3: 3 to 63 characters, lower case, digits, hyphens), role names and workflow ids.
const SLUG_RULE: &str = "2 to 24 characters: a lower-case letter, then lower-case letters, digits or single hyphens, not ending in a hyphen";
const ENV_RULE: &str = "2 to 12 characters: a lower-case letter, then lower-case letters, digits or single hyphens, not ending in a hyphen";

fn check_slug(s: &str, max: usize) -> bool {
    let b = s.as_bytes();
    (2..=max).contains(&b.len())
        && b[0].is_ascii_lowercase()
        && b.iter().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == b'-')
        && b[b.len() - 1] != b'-'
        && !s.contains("--")
}

macro_rules! slug {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal, $rule:ident, $pattern:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, schemars::JsonSchema)]
        #[serde(transparent)]
        pub struct $name(#[schemars(regex(pattern = $pattern), length(max = $max))] String);

        impl $name {
            /// Parses a slug.
            ///
            /// # Errors
            /// [`InvalidId`] when the text breaks the slug rule.
            pub fn parse(s: &str) -> Result<Self, InvalidId> {
                if check_slug(s, $max) { Ok(Self(s.to_owned())) } else { Err(InvalidId { kind: $kind, rule: $rule }) }
            }
            /// The slug as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(s: &str) -> Result<Self, InvalidId> {
                Self::parse(s)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                Self::parse(&String::deserialize(d)?).map_err(serde::de::Error::custom)
            }
        }
    };
}

slug!(
    /// An organization (tenant).
    OrgId, "organization", 24, SLUG_RULE, "^[a-z](-?[a-z0-9]){1,23}$"
);
slug!(
    /// One SMB endpoint of a site. Unique within its organization.
    ShareId, "share", 24, SLUG_RULE, "^[a-z](-?[a-z0-9]){1,23}$"
);
slug!(
    /// An environment: `test`, `us`, `uk`, ... Short, because with an organization and an account number it must fit
    /// a bucket name (63 characters).
    EnvId, "environment", 12, ENV_RULE, "^[a-z](-?[a-z0-9]){1,11}$"
);
slug!(
    /// A group of workers that reaches the same shares, e.g. the workers of one site behind a firewall.
    WorkerGroup, "worker group", 24, SLUG_RULE, "^[a-z](-?[a-z0-9]){1,23}$"
);

impl WorkerGroup {
    /// The group that every environment has: it serves what no site's workers have to.
    #[must_use]
    pub fn main() -> Self {
        Self("main".into())
    }
}

/// SHA-256 of a recording's content.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
    /// Takes a finished SHA-256.
    #[must_use]
    pub fn from_bytes(b: [u8; 32]) -> Self {
        Self(b)
    }
    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
    /// 64 lower-case hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        hex::encode(self.0)
    }
    /// Parses 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`InvalidId`] for anything else.
    pub fn parse(s: &str) -> Result<Self, InvalidId> {
        let mut b = [0; 32];
        hex::decode_to_slice(s, &mut b).map_err(|_| InvalidId { kind: "digest", rule: "64 hexadecimal digits" })?;
        Ok(Self(b))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}
impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.to_hex())
    }
}
impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.to_hex())
    }
}
impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}
impl schemars::JsonSchema for Digest {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Digest".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": "^[0-9a-f]{64}$",
            "description": "SHA-256 of the content, lower-case hexadecimal."
        })
    }
}

/// A recording: content of an organization, identified by its digest. Text form `org.<64 hex digits>`, at most 89
/// characters, so that it serves as an SQS `MessageDeduplicationId` (1 to 128 characters) as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(transparent)]
pub struct RecordingId(String);

impl RecordingId {
    /// The recording with this content in this organization.
    #[must_use]
    pub fn new(org: &OrgId, digest: &Digest) -> Self {
        Self(format!("{org}.{digest}"))
    }
    /// The organization and the digest in the text of an id; `None` if it is none.
    #[must_use]
    pub fn parts_of(text: &str) -> Option<(OrgId, Digest)> {
        let (org, digest) = text.split_once('.')?;
        // The text of a digest has one form: upper-case digits would make two ids of one recording.
        let lower = digest.len() == 64 && !digest.bytes().any(|b| b.is_ascii_uppercase());
        lower.then(|| Some((OrgId::parse(org).ok()?, Digest::parse(digest).ok()?))).flatten()
    }
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for RecordingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for RecordingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Hashes parts with their lengths, so that no two lists of parts collide by concatenation.
pub(crate) fn hash_parts(domain: &str, parts: &[&[u8]]) -> [u8; 32] {
    let mut h = Sha256::new();
    h.update((domain.len() as u64).to_be_bytes());
    h.update(domain);
    for p in parts {
        h.update((p.len() as u64).to_be_bytes());
        h.update(p);
    }
    h.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slugs() {
        for good in ["st-mary", "ab", "a1", "clinic-7-b"] {
            assert_eq!(OrgId::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a", "A1", "st--mary", "-a", "a-", "7up", "a_b", "a.b", "aaaaaaaaaaaaaaaaaaaaaaaaa", "é1"] {
            assert!(OrgId::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn invalid_id_does_not_repeat_its_input() {
        let e = OrgId::parse("Doe^John").unwrap_err().to_string();
        assert!(!e.contains("Doe"));
    }

    proptest! {
        #[test]
        fn digest_text_round_trips(b: [u8; 32]) {
            let d = Digest::from_bytes(b);
            prop_assert_eq!(Digest::parse(&d.to_hex()).unwrap(), d);
            prop_assert_eq!(serde_json::from_str::<Digest>(&serde_json::to_string(&d).unwrap()).unwrap(), d);
            let org = OrgId::parse("st-mary").unwrap();
            prop_assert_eq!(RecordingId::parts_of(RecordingId::new(&org, &d).as_str()), Some((org, d)));
        }
        #[test]
        fn parts_do_not_collide_by_concatenation(a in ".{0,8}", b in ".{1,8}") {
            let joined = format!("{a}{b}");
            prop_assert_ne!(hash_parts("t", &[a.as_bytes(), b.as_bytes()]), hash_parts("t", &[joined.as_bytes()]));
        }
    }
}
