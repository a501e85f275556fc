//! What systems write around a document. Pure.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

/// Sending application (MSH-3) of canaries.
pub const APPLICATION: &str = "LEADLINE";
/// And facility (MSH-4).
pub const FACILITY: &str = "CANARY";

/// A control id (MSH-10: 20 characters at most) of what goes by a name that ends with hexadecimal digits.
#[must_use]
pub fn control_id(name: &str) -> String {
    format!("CANARY{}", &name[name.len().saturating_sub(14)..])
}

/// An ORU^R01 of nobody with the document in it.
#[must_use]
pub fn oru(control_id: &str, processing_id: &str, media_type: &str, document: &[u8]) -> Vec<u8> {
    let (kind, subtype) = media_type.split_once('/').unwrap_or(("application", "octet-stream"));
    format!(
        "MSH|^~\\&|{APPLICATION}|{FACILITY}|LL|HUB|20260101||ORU^R01|{control_id}|{processing_id}|2.5\rPID|||0||CANARY^LEADLINE\r\
         OBR|1\rOBX|1|ED|11524-6^EKG study^LN||^{kind}^{subtype}^Base64^{}||||||F\r",
        BASE64.encode(document)
    )
    .into_bytes()
}

/// A DocumentReference with the document in it.
#[must_use]
pub fn document_reference(identifier: &str, media_type: &str, document: &[u8]) -> Value {
    json!({
        "resourceType": "DocumentReference", "status": "current", "identifier": [{ "value": identifier }],
        "content": [{ "attachment": {
            "contentType": media_type, "data": BASE64.encode(document), "size": document.len()
        } }],
    })
}

/// The media type and body of a STOW-RS request with one instance.
#[must_use]
pub fn instances(file: &[u8]) -> (String, Vec<u8>) {
    let media_type = "multipart/related; type=\"application/dicom\"; boundary=leadline-edge";
    let body =
        [b"--leadline-edge\r\nContent-Type: application/dicom\r\n\r\n", file, b"\r\n--leadline-edge--\r\n"].concat();
    (media_type.to_owned(), body)
}
