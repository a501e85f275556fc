//! The message on the ingest queue: a CloudEvents 1.0 envelope in JSON (structured mode, CloudEvents JSON format
//! 1.0.2, section 3), identical for the same bytes whatever path they came by (invariant L9), but for its time.

use crate::ids::{Digest, RecordingId};
use crate::placement::OrgScope;
use crate::set::{MemberRole, SetObject};
use chrono::{DateTime, SecondsFormat, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `type` of the event.
pub const EVENT_TYPE: &str = "io.leadline.recording.delivered.v1";
/// `dataschema` of the event; `docs/schema/ingest-message.v1.json` holds it.
pub const DATA_SCHEMA: &str = "urn:leadline:schema:ingest-message:v1";

/// What a delivery is about: all of it follows from the bytes, but the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// SHA-256 of the content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Format name.
    pub format: String,
    /// Opaque identity inside the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The objects of a set, whose manifest the digest is that of; empty for a recording of one object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<SetObject>,
    /// When the recording was claimed, milliseconds since 1970-01-01 UTC.
    pub claimed_at_ms: i64,
}

/// The envelope, as consumers receive it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IngestMessage {
    /// Always `1.0`.
    pub specversion: String,
    /// The recording id, `<organization>.<sha256>`: the same for every repeat. Consumers deduplicate on it.
    pub id: String,
    /// `/leadline/<environment>/<organization>`.
    pub source: String,
    /// Always `io.leadline.recording.delivered.v1`.
    #[serde(rename = "type")]
    pub event_type: String,
    /// Key of the object in the organization's bucket.
    pub subject: String,
    /// When the recording was claimed, RFC 3339 in UTC with milliseconds.
    pub time: String,
    /// Always `application/json`.
    pub datacontenttype: String,
    /// Always `urn:leadline:schema:ingest-message:v1`.
    pub dataschema: String,
    /// The recording.
    pub data: RecordingData,
}

/// The recording in a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RecordingData {
    /// Environment it was delivered in.
    pub environment: String,
    /// Organization it belongs to.
    pub organization: String,
    /// SHA-256 of the content, lower-case hexadecimal.
    pub sha256: Digest,
    /// Size in bytes.
    pub size: u64,
    /// Format name as `leadline inspect` prints it, e.g. `dicom`, `pdf`, `unknown`.
    pub format: String,
    /// Media type of the object.
    pub media_type: String,
    /// Bucket of the organization.
    pub bucket: String,
    /// Key in the bucket. The object is never overwritten.
    pub key: String,
    /// Opaque identity of the recording inside the content (e.g. derived from a SOP Instance UID); absent if the format has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The objects of a set (format `set`), whose manifest is at `key`; absent for a recording of one object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<Vec<ObjectData>>,
}

/// One object of a set in a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectData {
    /// What it is to the set.
    pub role: MemberRole,
    /// Extension of the file's name in lower case, without the dot; empty if it had none.
    pub extension: String,
    /// SHA-256 of the content, lower-case hexadecimal.
    pub sha256: Digest,
    /// Size in bytes.
    pub size: u64,
    /// Format name as `leadline inspect` prints it.
    pub format: String,
    /// Media type of the object.
    pub media_type: String,
    /// Key in the bucket. The object is never overwritten.
    pub key: String,
    /// Opaque identity inside the content; absent if the format has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
}

/// Format name of a set; its object is the manifest.
pub const SET: &str = "set";

/// Key of a recording's object below its organization's bucket.
#[must_use]
pub fn recording_key(digest: &Digest) -> String {
    let hex = digest.to_hex();
    format!("recordings/sha256/{}/{hex}", &hex[..2])
}

/// Key of an object that is part of a set. Apart from the recordings: that these bytes came with a set is no claim of a
/// recording of these bytes alone, which may come before or after, and is a recording of its own.
#[must_use]
pub fn member_key(digest: &Digest) -> String {
    let hex = digest.to_hex();
    format!("recordings/members/sha256/{}/{hex}", &hex[..2])
}

/// Media type of a format; `application/octet-stream` where none is registered.
#[must_use]
pub fn media_type(format: &str) -> &'static str {
    match format {
        f if f.starts_with("dicom") => "application/dicom", // RFC 3240
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "gzip" => "application/gzip",
        "mp4" => "video/mp4",
        "fhir_json" => "application/fhir+json",
        "hl7v2" => "x-application/hl7-v2+er7",
        SET => "application/vnd.leadline.set+json",
        f if f.ends_with("xml") || matches!(f, "aecg" | "muse" | "cardiosoft" | "sierra" | "mortara") => {
            "application/xml"
        }
        _ => "application/octet-stream",
    }
}

/// RFC 3339 in UTC with milliseconds.
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// `YYYY-MM-DD` in UTC.
#[must_use]
pub fn utc_date(ms: i64) -> String {
    DateTime::<Utc>::from_timestamp_millis(ms).unwrap_or_default().format("%Y-%m-%d").to_string()
}

impl IngestMessage {
    /// The one constructor.
    #[must_use]
    pub fn new(scope: &OrgScope, d: &Delivery) -> Self {
        let key = recording_key(&d.digest);
        Self {
            specversion: "1.0".into(),
            id: RecordingId::new(scope.org(), &d.digest).to_string(),
            source: format!("/leadline/{}/{}", scope.env(), scope.org()),
            event_type: EVENT_TYPE.into(),
            subject: key.clone(),
            time: rfc3339(d.claimed_at_ms),
            datacontenttype: "application/json".into(),
            dataschema: DATA_SCHEMA.into(),
            data: RecordingData {
                environment: scope.env().to_string(),
                organization: scope.org().to_string(),
                sha256: d.digest,
                size: d.size,
                format: d.format.clone(),
                media_type: media_type(&d.format).into(),
                bucket: scope.bucket(),
                key,
                identity: d.identity.clone(),
                objects: (!d.objects.is_empty()).then(|| d.objects.iter().map(object).collect()),
            },
        }
    }

    /// The one serializer. Fields in the order of the struct, no white space.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A struct of strings and numbers has no way to fail.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The SQS message group: recordings of an organization spread over 16 groups, so that one slow recording holds
    /// up a sixteenth of its organization and nobody else.
    #[must_use]
    pub fn group_id(&self) -> String {
        format!("{}.{}", self.data.organization, &self.data.sha256.to_hex()[..1])
    }

    /// The JSON Schema of the message.
    #[must_use]
    pub fn schema() -> serde_json::Value {
        let mut s = schemars::schema_for!(IngestMessage);
        s.insert("$id".into(), DATA_SCHEMA.into());
        s.to_value()
    }
}

fn object(o: &SetObject) -> ObjectData {
    ObjectData {
        role: o.role,
        extension: o.extension.clone(),
        sha256: o.digest,
        size: o.size,
        format: o.format.clone(),
        media_type: media_type(&o.format).into(),
        key: member_key(&o.digest),
        identity: o.identity.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golden::golden;
    use crate::set::{Manifest, SetKind};
    use crate::{EnvFacts, EnvId, OrgId, Placement};

    fn message() -> IngestMessage {
        IngestMessage::new(
            &scope(),
            &Delivery {
                digest: Digest::of(b"an ecg"),
                size: 6,
                format: "dicom".into(),
                identity: Some("uid:0f".into()),
                objects: vec![],
                claimed_at_ms: 1_700_000_000_123,
            },
        )
    }

    fn set() -> (Manifest, IngestMessage) {
        let object = |role, extension: &str, bytes: &[u8], format: &str| SetObject {
            role,
            extension: extension.into(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            format: format.into(),
            identity: None,
            place: crate::set::SetPlace::default(),
        };
        let mut objects = vec![
            object(MemberRole::Primary, "xml", b"an ecg", "aecg"),
            object(MemberRole::Required, "pdf", b"its printout", "pdf"),
        ];
        objects[0].identity = Some("native:0f".into());
        let manifest = Manifest::new(SetKind::Stem, None, &objects);
        let d = Delivery {
            digest: manifest.digest(),
            size: manifest.to_json().len() as u64,
            format: SET.into(),
            identity: objects[0].identity.clone(),
            objects,
            claimed_at_ms: 1_700_000_000_123,
        };
        (manifest, IngestMessage::new(&scope(), &d))
    }

    #[test]
    fn a_sets_message_and_manifest_are_the_committed_ones() {
        let (manifest, message) = set();
        golden("ingest-message.v1.set.example.json", &format!("{}\n", message.to_json()));
        golden("set-manifest.v1.example.json", &format!("{}\n", manifest.to_json()));
        assert_eq!(serde_json::from_str::<IngestMessage>(&message.to_json()).unwrap(), message);
        assert!(message.id.ends_with(&manifest.digest().to_hex()));
    }

    fn scope() -> OrgScope {
        let facts = EnvFacts {
            env: EnvId::parse("test").unwrap(),
            account: "000000000000".into(),
            region: "us-east-1".into(),
            jurisdictions: ["us".to_owned()].into(),
        };
        let org = OrgId::parse("st-mary").unwrap();
        OrgScope::new(org.clone(), Placement::resolve(&org, "us", &facts).unwrap())
    }

    #[test]
    fn the_message_is_the_committed_one() {
        golden("ingest-message.v1.example.json", &format!("{}\n", message().to_json()));
    }

    #[test]
    fn the_schema_is_the_committed_one() {
        golden(
            "ingest-message.v1.json",
            &format!("{}\n", serde_json::to_string_pretty(&IngestMessage::schema()).unwrap()),
        );
    }

    #[test]
    fn it_reads_back_and_refuses_unknown_fields() {
        let m = message();
        assert_eq!(serde_json::from_str::<IngestMessage>(&m.to_json()).unwrap(), m);
        assert!(serde_json::from_str::<IngestMessage>(&m.to_json().replacen('{', "{\"x\":1,", 1)).is_err());
    }

    #[test]
    fn ids_fit_sqs() {
        let m = message();
        assert!(m.id.len() <= 128 && m.group_id().len() <= 128);
    }
}
