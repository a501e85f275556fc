//! What came in by another way than a share: content in an organization's own staging area.

use crate::ids::{Digest, InvalidId, ShareId};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;

/// By which way a recording came in. Only the ledger knows it (invariant L9).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ingress {
    /// A file on an SMB share.
    #[default]
    Smb,
    /// A clinician's upload.
    Web,
    /// An attachment of an HL7 v2 message.
    Hl7v2,
    /// An attachment of a FHIR resource.
    Fhir,
    /// A DICOM object, by C-STORE or STOW-RS.
    Dicom,
}

impl Ingress {
    /// The ways by which content is sent to leadline, rather than fetched from a share.
    pub const RECEIVED: [Self; 4] = [Self::Web, Self::Hl7v2, Self::Fhir, Self::Dicom];

    /// As it is in entries, keys and ids.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Smb => "smb",
            Self::Web => "web",
            Self::Hl7v2 => "hl7v2",
            Self::Fhir => "fhir",
            Self::Dicom => "dicom",
        }
    }

    /// The name that stands in the place of a share's in ids of lifecycles that begin in staging. No configured share
    /// may be called so.
    #[must_use]
    pub fn share(self) -> Option<ShareId> {
        match self {
            Self::Smb => None,
            other => ShareId::parse(&format!("in-{}", other.as_str())).ok(),
        }
    }

    /// The way that a share's name stands for; [`Ingress::Smb`] for a configured share.
    #[must_use]
    pub fn of_share(share: &ShareId) -> Self {
        Self::RECEIVED.into_iter().find(|i| i.share().as_ref() == Some(share)).unwrap_or(Self::Smb)
    }
}

impl fmt::Display for Ingress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Name of an object below `staging/`: 8 to 80 lower-case letters, digits and hyphens. Derived from ids or drawn at
/// random, never from a file name or an identifier of a patient.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct StagedName(String);

impl StagedName {
    /// Parses a name.
    ///
    /// # Errors
    /// [`InvalidId`] for another form.
    pub fn parse(s: &str) -> Result<Self, InvalidId> {
        let fits =
            (8..=80).contains(&s.len()) && s.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        let rule = "8 to 80 lower-case letters, digits and hyphens";
        if fits { Ok(Self(s.to_owned())) } else { Err(InvalidId { kind: "staged object", rule }) }
    }

    /// The same for the same parts, and without a way back to them: `<ingress>-<32 hexadecimal digits>`.
    #[must_use]
    pub fn derived(ingress: Ingress, parts: &[&str]) -> Self {
        // Lengths keep the parts apart: ("ab", "c") is not ("a", "bc").
        let all: String = parts.iter().map(|p| format!("{}:{p};", p.len())).collect();
        Self(format!("{ingress}-{}", &Digest::of(all.as_bytes()).to_hex()[..32]))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Divides a name from a version. Neither staged names nor names on shares of Windows hold it.
const VERSION: char = '?';

/// What is staged under a name: what is there now, or one version of it, as its store calls it. Whoever may write it again
/// (a form can be sent twice) makes another version, and what was judged stays what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StagedAt<'a> {
    /// Below `staging/`.
    pub name: &'a str,
    /// Which version; `None` where only one can be.
    pub version: Option<&'a str>,
}

impl<'a> StagedAt<'a> {
    /// What is there now.
    #[must_use]
    pub fn now(name: &'a str) -> Self {
        Self { name, version: None }
    }

    /// What a path of the staging area names.
    #[must_use]
    pub fn of_path(path: &'a str) -> Self {
        match path.split_once(VERSION) {
            Some((name, version)) => Self { name, version: Some(version) },
            None => Self::now(path),
        }
    }

    /// The path that names it.
    #[must_use]
    pub fn path(&self) -> String {
        self.version.map_or_else(|| self.name.to_owned(), |v| format!("{}{VERSION}{v}", self.name))
    }
}

impl fmt::Display for StagedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for StagedName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_in_have_names_that_lead_back() {
        for i in Ingress::RECEIVED {
            assert_eq!(Ingress::of_share(&i.share().expect("a valid id")), i);
        }
        assert_eq!(Ingress::of_share(&ShareId::parse("ward").unwrap()), Ingress::Smb);
    }

    #[test]
    fn a_path_names_a_version_and_leads_back() {
        let versions = [None, Some("v1"), Some("a?b"), Some("")];
        for version in versions {
            let at = StagedAt { name: "web-1", version };
            assert_eq!(StagedAt::of_path(&at.path()), at);
        }
        assert_eq!(StagedAt::of_path("web-1"), StagedAt::now("web-1"));
    }

    #[test]
    fn derived_names_are_valid_and_keep_parts_apart() {
        let a = StagedName::derived(Ingress::Hl7v2, &["ab", "c"]);
        assert_eq!(StagedName::parse(a.as_str()), Ok(a.clone()));
        assert_ne!(a, StagedName::derived(Ingress::Hl7v2, &["a", "bc"]));
        assert!(StagedName::parse("Doe_John.pdf").is_err());
    }
}
