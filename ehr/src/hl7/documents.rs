//! What a message brings: observations with encapsulated data (ED) or pointers (RP), as HL7 v2.5.1 section 7.4.2 (OBX)
//! and sections 2.A.24 (ED) and 2.A.65 (RP) have them.

use super::er7::{Delimiters, Message, split, unescape};
use crate::attachment;
use leadline_domain::{Fault, FaultCode};
use std::borrow::Cow;

/// Documents of one message.
const DOCUMENTS: usize = 64;
/// Longest pointer, characters.
const POINTER: usize = 2_048;

/// A document in a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// Its bytes.
    Data(Vec<u8>),
    /// Where it is, as the sender wrote it, without escapes.
    Pointer(String),
}

/// The documents of a message, in its order. A document that cannot be decoded keeps its place.
///
/// Observations that are deleted, wrong or not yet there bring none: their status (OBX-11, or OBR-25 where
/// it is empty) is none of preliminary, final and corrected.
///
/// # Errors
/// `hl7.too_long` for more than 64 documents; `hl7.not_accepted` when there are documents and the status of none is
/// taken.
pub fn documents(message: &Message<'_>) -> Result<Vec<Result<Document, Fault>>, Fault> {
    let mut found = Vec::new();
    let mut order: &[u8] = b"";
    let mut passed = false;
    for segment in message.segments() {
        match segment.name() {
            b"OBR" => order = segment.field(25),
            b"OBX" => {
                let kind = segment.field(2);
                if !matches!(kind, b"ED" | b"RP") {
                    continue;
                }
                let status = segment.field(11);
                if !taken(if status.is_empty() { order } else { status }) {
                    passed = true;
                    continue;
                }
                for value in segment.repetitions(5).filter(|v| !v.is_empty()) {
                    if found.len() == DOCUMENTS {
                        let why = format!("it brings more than {DOCUMENTS} documents");
                        return Err(Fault::new(FaultCode::Hl7TooLong, why));
                    }
                    found.push(document(kind, value, message.delimiters));
                }
            }
            _ => {}
        }
    }
    if found.is_empty() && passed {
        let why = "OBX-11: the status of no document is P, F or C";
        return Err(Fault::new(FaultCode::Hl7NotAccepted, why));
    }
    Ok(found)
}

/// Table 0085 (OBX-11) and table 0123 (OBR-25): preliminary, final, corrected. Nothing counts as final.
fn taken(status: &[u8]) -> bool {
    matches!(status, b"" | b"P" | b"F" | b"C")
}

fn document(kind: &[u8], value: &[u8], d: Delimiters) -> Result<Document, Fault> {
    let parts: Vec<&[u8]> = split(value, d.component).take(6).collect();
    if kind == b"RP" {
        let text = String::from_utf8(unescape(parts[0], d)).ok().filter(|t| !t.is_empty() && t.len() <= POINTER);
        let unusable = || Fault::new(FaultCode::PointerRefused, "it is no pointer");
        return text.map(Document::Pointer).ok_or_else(unusable);
    }
    decode(&parts, d).map(Document::Data)
}

/// The encoding is the fourth component and the data the fifth; senders that leave one out before them move both.
fn decode(parts: &[&[u8]], d: Delimiters) -> Result<Vec<u8>, Fault> {
    let of = |name: &[u8]| parts.iter().take(4).position(|p| p.eq_ignore_ascii_case(name));
    let data = |at: usize| plain(parts.get(at + 1).copied().unwrap_or_default(), d);
    if let Some(at) = of(b"Base64") {
        return attachment::base64(&data(at));
    }
    if let Some(at) = of(b"Hex") {
        return attachment::hexadecimal(&data(at));
    }
    if parts.get(3).is_some_and(|p| p.eq_ignore_ascii_case(b"A")) {
        return Ok(data(3).into_owned());
    }
    Err(Fault::new(FaultCode::AttachmentUnreadable, "its encoding is none of A, Hex, Base64"))
}

fn plain(text: &[u8], d: Delimiters) -> Cow<'_, [u8]> {
    if memchr::memchr(d.escape, text).is_some() { Cow::Owned(unescape(text, d)) } else { Cow::Borrowed(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(rest: &str) -> Result<Vec<Result<Document, Fault>>, Fault> {
        let raw = format!("MSH|^~\\&|A|B|C|D|20260101||ORU^R01|1|P|2.5\r{rest}\r");
        documents(&Message::parse(raw.as_bytes()).unwrap())
    }

    fn data(text: &str) -> Vec<Result<Document, Fault>> {
        vec![Ok(Document::Data(text.as_bytes().to_vec()))]
    }

    #[test]
    fn encapsulated_data_is_found_as_senders_write_it() {
        for value in [
            "src^application^pdf^Base64^aGVsbG8=",
            "^PDF^^Base64^aGVsbG8=",
            "src&1.2&ISO^AP^PDF^BASE64^aGVs\\X0D0A\\bG8=",
            "^PDF^^Base64^aGVs\\.br\\bG8",
            "^PDF^^Base64^aGVs\r\nbG8=",
            "^PDF^Base64^aGVsbG8=",
            "^TEXT^plain^Hex^68656c6c6f",
            "^TEXT^plain^A^hello",
        ] {
            assert_eq!(
                read(&format!("OBR|1\rOBX|1|ED|11524-6^EKG^LN||{value}||||||F")).unwrap(),
                data("hello"),
                "{value}"
            );
        }
        let mark = data("a|b\\");
        assert_eq!(read("OBX|1|ED|x||^TEXT^^A^a\\F\\b\\E\\||||||F").unwrap(), mark);
    }

    #[test]
    fn what_cannot_be_decoded_keeps_its_place() {
        let found = read("OBX|1|ED|x||^PDF^^Base64^!!!~^PDF^^Base64^aGVsbG8=||||||F\rOBX|2|ED|x||^PDF^^Zip^x").unwrap();
        assert!(found[0].is_err() && found[2].is_err());
        assert_eq!(found[1..2], data("hello"));
        assert!(!format!("{found:?}").contains("!!!"));
    }

    #[test]
    fn pointers_come_without_escapes() {
        let pointer = |text: &str| vec![Ok(Document::Pointer(text.to_owned()))];
        let unc = read(r"OBX|1|RP|x||\E\\E\server\E\ecg\E\a.pdf^^AP^PDF||||||F").unwrap();
        assert_eq!(unc, pointer(r"\\server\ecg\a.pdf"));
        assert_eq!(read(r"OBX|1|RP|x||https://h/x?a=1\T\b=2").unwrap(), pointer("https://h/x?a=1&b=2"));
    }

    #[test]
    fn the_status_decides() {
        let line = |order: &str, own: &str| {
            read(&format!("OBR|1{}{order}\rOBX|1|ED|x||^T^^A^hello||||||{own}", "|".repeat(24)))
        };
        for (order, own) in [("F", "F"), ("F", ""), ("", "P"), ("X", "C"), ("", "")] {
            assert_eq!(line(order, own).unwrap(), data("hello"), "{order} {own}");
        }
        for (order, own) in [("F", "W"), ("X", ""), ("F", "D"), ("", "I")] {
            assert_eq!(line(order, own).unwrap_err().code, FaultCode::Hl7NotAccepted, "{order} {own}");
        }
        assert_eq!(read("OBX|1|NM|x||72||||||F").unwrap(), []);
    }

    #[test]
    fn the_number_of_documents_is_bounded() {
        let many = vec!["^T^^A^x"; DOCUMENTS + 1].join("~");
        assert_eq!(read(&format!("OBX|1|ED|x||{many}")).unwrap_err().code, FaultCode::Hl7TooLong);
    }
}
