//! What a message brings: observations with encapsulated data (ED) or pointers (RP), as HL7 v2.5.1 section 7.4.2 (OBX)
//! and sections 2.A.24 (ED) and 2.A.65 (RP) have them, and all versions up to 2.8.2 in the same places.

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

/// The documents of a message, in its order. A document that cannot be decoded, or is empty, keeps its place.
///
/// Observations that are deleted, wrong or not yet there bring none: their status (OBX-11, or OBR-25 where
/// it is empty) is none of preliminary, final and corrected, and of amended and appended in OBX-11.
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
            b"OBR" => order = first_line(segment.field(25)),
            b"OBX" => {
                let kind = segment.field(2);
                if !matches!(kind, b"ED" | b"RP") {
                    continue;
                }
                let status = first_line(segment.field(11));
                if !(if status.is_empty() { taken(order) } else { taken(status) || later(status) }) {
                    if status.is_empty() || negative(status) {
                        passed = true;
                        continue;
                    }
                    let why = "OBX-11 is no status of table 0085";
                    put(&mut found, Err(Fault::new(FaultCode::AttachmentUnreadable, why)))?;
                    continue;
                }
                // Told, not passed over: what a stray delimiter has moved to another field must not vanish.
                let nothing = segment.repetitions(5).all(<[u8]>::is_empty).then_some(&b""[..]);
                for value in segment.repetitions(5).filter(|v| !v.is_empty()).chain(nothing) {
                    put(&mut found, document(kind, value, message.delimiters))?;
                }
            }
            _ => {}
        }
    }
    if found.is_empty() && passed {
        let why = "OBX-11: the status of no document is P, F, C, A or B";
        return Err(Fault::new(FaultCode::Hl7NotAccepted, why));
    }
    Ok(found)
}

fn put(found: &mut Vec<Result<Document, Fault>>, document: Result<Document, Fault>) -> Result<(), Fault> {
    if found.len() == DOCUMENTS {
        return Err(Fault::new(FaultCode::Hl7TooLong, format!("it brings more than {DOCUMENTS} documents")));
    }
    found.push(document);
    Ok(())
}

/// A code without what stands around it: a line that begins no segment is part of the field before it. `""` says that
/// there is none (section 2.5.3).
fn first_line(code: &[u8]) -> &[u8] {
    let line = code.split(|c| matches!(c, b'\r' | b'\n')).next().unwrap_or_default().trim_ascii();
    if line == b"\"\"" { b"" } else { line }
}

/// Table 0085: deleted, not yet there, not asked for, wrong. An observation of these is passed over; one whose status
/// is no code is told, since nobody knows what its sender meant.
fn negative(status: &[u8]) -> bool {
    matches!(status, b"D" | b"I" | b"N" | b"O" | b"R" | b"S" | b"U" | b"V" | b"W" | b"X")
}

/// Table 0085 (OBX-11) and table 0123 (OBR-25): preliminary, final, corrected. Nothing counts as final.
fn taken(status: &[u8]) -> bool {
    matches!(status, b"" | b"P" | b"F" | b"C")
}

/// Amended and appended, which table 0085 has from 2.8 on: results that are there. In OBR-25 `A` says that some are not.
fn later(status: &[u8]) -> bool {
    matches!(status, b"A" | b"B")
}

fn document(kind: &[u8], value: &[u8], d: Delimiters) -> Result<Document, Fault> {
    if value.is_empty() {
        return Err(Fault::new(FaultCode::AttachmentUnreadable, "OBX-5 is empty"));
    }
    // What a sender cut off ends so (v2.7 section 2.5.5.2).
    if d.truncation.is_some_and(|t| value.last() == Some(&t)) {
        return Err(Fault::new(FaultCode::AttachmentIncomplete, "its sender marked it as truncated"));
    }
    let mut components = split(value, d.component);
    let parts: Vec<&[u8]> = components.by_ref().take(6).collect();
    if kind == b"RP" {
        let text = String::from_utf8(unescape(parts[0], d)).ok().filter(|t| !t.is_empty() && t.len() <= POINTER);
        let unusable = || Fault::new(FaultCode::PointerRefused, "it is no pointer");
        return text.map(Document::Pointer).ok_or_else(unusable);
    }
    let more = components.any(|c| !c.is_empty());
    decode(&parts, more, d).map(Document::Data)
}

/// The encoding is the fourth component and the data the fifth; senders that leave one out before them move both. The
/// data is the last component: what follows it was cut off by a delimiter that its sender did not escape. `more`:
/// whether anything is behind `parts`.
fn decode(parts: &[&[u8]], more: bool, d: Delimiters) -> Result<Vec<u8>, Fault> {
    let of = |name: &[u8]| parts.iter().take(4).position(|p| p.eq_ignore_ascii_case(name));
    let data = |at: usize| {
        if more || parts.iter().skip(at + 2).any(|p| !p.is_empty()) {
            let why = "a component follows the data: is a delimiter in it not escaped?";
            return Err(Fault::new(FaultCode::AttachmentUnreadable, why));
        }
        Ok(plain(parts.get(at + 1).copied().unwrap_or_default(), d))
    };
    if let Some(at) = of(b"Base64") {
        return attachment::base64(&data(at)?);
    }
    if let Some(at) = of(b"Hex") {
        return attachment::hexadecimal(&data(at)?);
    }
    if parts.get(3).is_some_and(|p| p.eq_ignore_ascii_case(b"A")) {
        return Ok(data(3)?.into_owned());
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
    fn what_a_stray_delimiter_or_line_does_to_a_document_is_told() {
        for value in ["^TEXT^plain^A^lead I: 1 ^ 2", "^T^^A^hello^^^^^x", "^PDF^^Base64^aGVs^bG8=", "^PDF^Hex^68^^65"] {
            let found = read(&format!("OBX|1|ED|x||{value}||||||F\rOBX|2|ED|x||^T^^A^hello||||||F")).unwrap();
            assert_eq!(found[0].as_ref().unwrap_err().code, FaultCode::AttachmentUnreadable, "{value}");
            assert_eq!(found[1..], data("hello"), "{value}");
        }
        assert_eq!(read("OBX|1|ED|x||^T^^A^hello^^||||||F").unwrap(), data("hello"));
        // A segment without fields is its name alone, which is a line of the field before it here.
        for status in ["F\rNTE", " F ", "F\nstray text", "\"\""] {
            assert_eq!(read(&format!("OBX|1|ED|x||^T^^A^hello||||||{status}")).unwrap(), data("hello"), "{status:?}");
        }
        let found = read("OBX|1|ED|x||^T^^A^a||||||final\rOBX|2|ED|x||^T^^A^hello||||||F").unwrap();
        assert_eq!(found[0].as_ref().unwrap_err().code, FaultCode::AttachmentUnreadable);
        assert_eq!(found[1..], data("hello"));
    }

    #[test]
    fn an_observation_without_its_document_is_told() {
        for line in ["OBX|1|ED|x||||||||F", "OBX|1|RP|x||~||||||F", "OBR|1\rOBX|1|ED|x"] {
            let found = read(&format!("{line}\rOBX|2|ED|x||^T^^A^hello||||||F")).unwrap();
            assert_eq!(found[0].as_ref().unwrap_err().code, FaultCode::AttachmentUnreadable, "{line}");
            assert_eq!(found[1..], data("hello"), "{line}");
        }
        assert_eq!(read("OBX|1|ED|x||~^T^^A^hello||||||F").unwrap(), data("hello"));
        assert_eq!(read("OBX|1|ED|x||||||||X\rOBX|2|ED|x||^T^^A^hello||||||F").unwrap(), data("hello"));
        assert_eq!(read("OBX|1|ST|x||||||||F").unwrap(), []);
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
        for (order, own) in [("F", "F"), ("F", ""), ("", "P"), ("X", "C"), ("", ""), ("A", "B"), ("", "A")] {
            assert_eq!(line(order, own).unwrap(), data("hello"), "{order} {own}");
        }
        for (order, own) in [("F", "W"), ("X", ""), ("F", "D"), ("", "I"), ("A", "")] {
            assert_eq!(line(order, own).unwrap_err().code, FaultCode::Hl7NotAccepted, "{order} {own}");
        }
        assert_eq!(read("OBX|1|NM|x||72||||||F").unwrap(), []);
    }

    /// As the examples of chapters 7 and 9 of 2.6 and 2.8.2 are built: more fields behind the ones that are read, coded
    /// values with more components, segments that older versions do not have.
    #[test]
    fn messages_of_later_versions_have_their_documents_in_the_same_places() {
        let six = "MSH|^~\\&|CART|WARD|LL|HUB|20260101101500||ORU^R01^ORU_R01|26-1|P^T|2.6|||AL|NE|USA|UNICODE UTF-8\r\
            SFT|Maker^D|4.2|CART|1\rPID|1||4711^^^HOSP^MR||Doe^John^^^^^L||19500101|M\rPV1|1|I\r\
            ORC|RE|1^P|2^F||CM\rOBR|1|1^P|2^F|93000^Electrocardiogram^C4|||20260101100000||||||||||||||||||F\r\
            OBX|1|NM|8867-4^Heart rate^LN||72|/min^^UCUM|||||F|||20260101100000\r\
            OBX|2|ED|11524-6^EKG study^LN||CART^TEXT^plain^Base64^aGVsbG8=||||||F|||20260101100000||||CART-7\r";
        let eight = "MSH|^~\\&#|CART|WARD|LL|HUB|20260101101500+0100||MDM^T02^MDM_T02|28-1|P|2.8.2^USA|||AL|AL|USA|UNICODE UTF-8\r\
            EVN||20260101101500\rPID|1||4711^^^HOSP&1.2.3&ISO^MR||Doe^John^^^^^L||19500101|M\rPV1|1|I\r\
            PRT||AD||AP\rTXA|1|CD^^HL70270|AP^^HL70191|20260101||||||||doc-1||||AU\r\
            OBX|1|ED|11524-6^EKG study^LN^^^^2.64||CART^TEXT^plain^A^a\\P\\1||||||B|||20260101||||CART-7^^1.2.3^ISO|20260101\r\
            OBX|2|RP|11524-6^EKG study^LN||https://h/x^^AP^PDF||||||A\r\
            OBX|3|ED|11524-6^EKG study^LN||CART^TEXT^plain^A^cut off#||||||F\r";
        let read = |raw: &str| documents(&Message::parse(raw.as_bytes()).unwrap()).unwrap();
        assert_eq!(read(six), data("hello"));
        let found = read(eight);
        assert_eq!(found[..2], [Ok(Document::Data(b"a#1".to_vec())), Ok(Document::Pointer("https://h/x".into()))]);
        assert_eq!(found[2].as_ref().unwrap_err().code, FaultCode::AttachmentIncomplete);
    }

    #[test]
    fn the_number_of_documents_is_bounded() {
        let many = vec!["^T^^A^x"; DOCUMENTS + 1].join("~");
        assert_eq!(read(&format!("OBX|1|ED|x||{many}")).unwrap_err().code, FaultCode::Hl7TooLong);
    }
}
