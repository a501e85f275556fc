//! The MSH segment (HL7 v2.5.1 and v2.8.2 chapter 2, section 2.14.9), and whether its message is one that is taken.

use super::er7::{Delimiters, Message, Segment, split};
use leadline_domain::{Fault, FaultCode};
use std::collections::BTreeSet;

/// Longest field of MSH that is read. The longest one of the standard has 427 characters.
const FIELD: usize = 512;
/// Versions that are read (table 0104). All that is read of a message is in the same place in all of them, as the rules of
/// compatibility want it (chapter 2, section 2.8): MSH-3 to MSH-6, MSH-9 to MSH-12, MSH-15, MSH-16 and MSH-18; OBR-25; and
/// OBX-2, OBX-5, OBX-11 with the components of ED and RP. New are a fifth character in MSH-2 (2.7) and two codes of table
/// 0085 (2.8). 2.9 is refused until somebody has looked at it in the same way.
const VERSIONS: [&str; 11] = ["2.3", "2.3.1", "2.4", "2.5", "2.5.1", "2.6", "2.7", "2.7.1", "2.8", "2.8.1", "2.8.2"];
/// Events of MDM that bring content (chapter 9): new document, status change, addendum, edit, replacement.
const DOCUMENT_EVENTS: [&str; 5] = ["T02", "T04", "T06", "T08", "T10"];
/// Sets of table 0211 in which a byte of a character can be a delimiter, as `set_name` has them.
const NOT_OVER_ASCII: [&[u8]; 8] =
    [b"ISOIR87", b"ISOIR159", b"KSX1001", b"CNS11643", b"BIG5", b"GB18030", b"UTF16", b"UTF32"];

/// When the sender wants an acknowledgement (table 0155).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// `AL`, and what table 0155 does not have: who says something waits for something.
    Always,
    /// `NE`, or nothing where the other field says something.
    Never,
    /// `ER`
    OnError,
    /// `SU`
    OnSuccess,
}

impl Wish {
    fn of(field: &[u8]) -> Self {
        match field {
            b"" | b"NE" => Self::Never,
            b"ER" => Self::OnError,
            b"SU" => Self::OnSuccess,
            _ => Self::Always,
        }
    }

    /// Whether an acknowledgement is wanted for this result.
    #[must_use]
    pub fn for_result(self, good: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::OnError => !good,
            Self::OnSuccess => good,
        }
    }
}

/// What of MSH an answer needs. Fields are as they came, in the message's own delimiters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its delimiters.
    pub delimiters: Delimiters,
    /// MSH-3 to MSH-6: sending application and facility, receiving application and facility.
    pub parties: [Vec<u8>; 4],
    /// MSH-9.1, e.g. `ORU`.
    pub kind: Vec<u8>,
    /// MSH-9.2, e.g. `R01`.
    pub event: Vec<u8>,
    /// MSH-10.
    pub control_id: Vec<u8>,
    /// MSH-11.1
    pub processing_id: Vec<u8>,
    /// MSH-12.1
    pub version: Vec<u8>,
    /// MSH-15 and MSH-16, if one of them says something: the enhanced mode (section 2.9.3).
    pub enhanced: Option<(Wish, Wish)>,
    /// MSH-18 with its repetitions.
    pub charsets: Vec<u8>,
}

impl Header {
    /// Reads MSH.
    #[must_use]
    pub fn read(message: &Message<'_>) -> Self {
        Self::of(&message.header(), message.delimiters)
    }

    /// Reads MSH from the first bytes of a message.
    ///
    /// # Errors
    /// `hl7.unreadable`.
    pub fn peek(raw: &[u8]) -> Result<Self, Fault> {
        let raw = raw.trim_ascii_start();
        let end = memchr::memchr2(b'\r', b'\n', raw).unwrap_or(raw.len());
        Message::parse(&raw[..end]).map(|message| Self::read(&message))
    }

    fn of(msh: &Segment<'_>, delimiters: Delimiters) -> Self {
        let own = |text: &[u8]| text[..text.len().min(FIELD)].to_vec();
        // Null says nothing: with both null or absent, the mode is the original one.
        let wish = |n| Some(msh.field(n).trim_ascii()).filter(|f| *f != b"\"\"").unwrap_or_default();
        let (accept, application) = (wish(15), wish(16));
        let enhanced = !(accept.is_empty() && application.is_empty());
        Self {
            delimiters,
            parties: [3, 4, 5, 6].map(|n| own(msh.field(n))),
            kind: own(msh.component(9, 1)),
            event: own(msh.component(9, 2)),
            control_id: own(msh.field(10)),
            processing_id: own(msh.component(11, 1)),
            version: own(msh.component(12, 1)),
            enhanced: enhanced.then(|| (Wish::of(accept), Wish::of(application))),
            charsets: own(msh.field(18)),
        }
    }
}

/// A reason to refuse: the fault, and its number in table 0357.
pub type Refused = (Fault, u16);

/// Whether a message with this header is one that is taken, in one of these processing modes (table 0103).
///
/// # Errors
/// `hl7.unreadable` without a control id; `hl7.not_accepted` for a type, event, processing id or version that is not
/// taken.
pub fn accepts(header: &Header, modes: &BTreeSet<String>) -> Result<(), Refused> {
    let no = |code, why: &str, number| Err((Fault::new(code, why), number));
    if header.control_id.is_empty() || header.control_id.len() >= FIELD {
        return no(FaultCode::Hl7Unreadable, "MSH-10 has no usable control id", 101);
    }
    let event = String::from_utf8_lossy(&header.event).into_owned();
    match &header.kind[..] {
        b"ORU" if event == "R01" => {}
        b"MDM" if DOCUMENT_EVENTS.contains(&&*event) => {}
        b"ORU" | b"MDM" => return no(FaultCode::Hl7NotAccepted, "MSH-9: this event is not taken", 201),
        _ => return no(FaultCode::Hl7NotAccepted, "MSH-9: this type of message is not taken", 200),
    }
    if !modes.iter().any(|mode| mode.as_bytes() == header.processing_id) {
        return no(FaultCode::Hl7NotAccepted, "MSH-11: this processing id is not taken here", 202);
    }
    if !VERSIONS.iter().any(|v| v.as_bytes() == header.version) {
        return no(FaultCode::Hl7NotAccepted, "MSH-12: versions 2.3 to 2.8.2 are taken", 203);
    }
    Ok(())
}

/// Refuses text that is not in the encoding that MSH-18 declares (table 0211), as far as that can be told, and sets that
/// do not extend ASCII, the alternate ones too: an escape sequence can switch to them anywhere.
///
/// # Errors
/// `hl7.unreadable`.
pub fn encoded(header: &Header, raw: &[u8]) -> Result<(), Refused> {
    let fault = |why: &str| Err((Fault::new(FaultCode::Hl7Unreadable, why), 102));
    if header.charsets.len() >= FIELD {
        return fault("MSH-18 is too long");
    }
    for (index, one) in split(&header.charsets, header.delimiters.repetition).enumerate() {
        let name = set_name(split(one, header.delimiters.component).next().unwrap_or_default());
        if NOT_OVER_ASCII.iter().any(|set| name.starts_with(set)) {
            return fault("MSH-18 has a set in which a byte of a character can be a delimiter");
        }
        if index == 0 && name == b"UTF8" && std::str::from_utf8(raw).is_err() {
            return fault("MSH-18 says UTF-8 and the message is not");
        }
    }
    Ok(())
}

/// The letters and digits of a set's name, without `UNICODE` before another name: senders differ in the rest.
fn set_name(text: &[u8]) -> Vec<u8> {
    let name: Vec<u8> = text.iter().filter(|c| c.is_ascii_alphanumeric()).map(u8::to_ascii_uppercase).collect();
    name.strip_prefix(b"UNICODE").map(<[u8]>::to_vec).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> Header {
        Header::peek(text.as_bytes()).unwrap()
    }

    fn verdict(text: &str) -> u16 {
        accepts(&header(text), &BTreeSet::from(["P".to_owned()])).map_or_else(|(_, number)| number, |()| 0)
    }

    #[test]
    fn what_is_taken_is_taken_and_the_rest_has_its_number() {
        for version in VERSIONS.into_iter().chain(["2.5.1^USA"]) {
            assert_eq!(verdict(&format!("MSH|^~\\&|A|B|C|D|20260101||ORU^R01^ORU_R01|1|P|{version}")), 0);
        }
        assert_eq!(verdict("MSH|^~\\&#|A|B|C|D|20260101||ORU^R01^ORU_R01|1|P^T|2.8.2^USA^2.8.2"), 0);
        for event in DOCUMENT_EVENTS {
            assert_eq!(verdict(&format!("MSH|^~\\&|A|B|C|D|20260101||MDM^{event}|1|P|2.5")), 0);
        }
        for (fields, number) in [
            ("ADT^A01|1|P|2.5", 200),
            ("ORU^R30|1|P|2.5", 201),
            ("MDM^T01|1|P|2.5", 201),
            ("ORU^R01|1|T|2.5", 202),
            ("ORU^R01|1|P|2.9", 203),
            ("ORU^R01|1|P|2.8.3", 203),
            ("ORU^R01|1|P|3.0", 203),
            ("ORU^R01|1|P|", 203),
            ("ORU^R01||P|2.5", 101),
        ] {
            assert_eq!(verdict(&format!("MSH|^~\\&|A|B|C|D|20260101||{fields}")), number, "{fields}");
        }
    }

    #[test]
    fn the_mode_is_enhanced_when_one_of_the_fields_says_something() {
        let base = "MSH|^~\\&|A|B|C|D|20260101||ORU^R01|1|P|2.5||";
        assert_eq!(header(base).enhanced, None);
        assert_eq!(header(&format!("{base}|AL|")).enhanced, Some((Wish::Always, Wish::Never)));
        assert_eq!(header(&format!("{base}||ER")).enhanced, Some((Wish::Never, Wish::OnError)));
        for nothing in [r#"|""|"""#, r#"|""|"#, r#"||"""#, "| | "] {
            assert_eq!(header(&format!("{base}{nothing}")).enhanced, None, "{nothing}");
        }
        assert_eq!(header(&format!(r#"{base}|""| SU "#)).enhanced, Some((Wish::Never, Wish::OnSuccess)));
        assert_eq!(header(&format!("{base}|NE|Y")).enhanced, Some((Wish::Never, Wish::Always)));
        assert!(Wish::OnError.for_result(false) && !Wish::OnError.for_result(true));
        assert!(Wish::OnSuccess.for_result(true) && !Wish::OnSuccess.for_result(false));
    }

    #[test]
    fn a_wrong_encoding_is_told() {
        let utf8 = header("MSH|^~\\&|A|B|C|D|20260101||ORU^R01|1|P|2.5||||||UNICODE UTF-8");
        assert!(encoded(&utf8, "Jürgen".as_bytes()).is_ok());
        assert!(encoded(&utf8, b"J\xFCrgen").unwrap_err().0.detail.contains("UTF-8"));
        let latin = header("MSH|^~\\&|A|B|C|D|20260101||ORU^R01|1|P|2.5||||||8859/1");
        assert!(encoded(&latin, b"J\xFCrgen").is_ok());
    }

    #[test]
    fn sets_whose_bytes_can_be_delimiters_are_refused() {
        let said = |sets: &str| {
            let header = header(&format!("MSH|^~\\&|A|B|C|D|20260101||ORU^R01|1|P|2.5||||||{sets}"));
            encoded(&header, b"x").map_err(|(fault, number)| (fault.code, number))
        };
        let unreadable = Err((FaultCode::Hl7Unreadable, 102));
        for sets in [
            "~ISO IR87",
            "ISO IR87",
            "8859/1~ISO IR6~iso ir159",
            "KS X 1001",
            "CNS 11643-1992",
            "BIG-5",
            "Big5",
            "GB 18030-2000",
            "UNICODE UTF-16",
            "unicode utf-16le",
            "UTF-16",
            "UTF-32",
            "~UNICODE UTF-32^x",
            &format!("{}ISO IR87", "~".repeat(FIELD)),
        ] {
            assert_eq!(said(sets), unreadable, "{sets}");
        }
        for sets in
            ["", "\"\"", "ASCII", "8859/1", "8859/15~", "UNICODE UTF-8", "utf8", "UNICODE", "ISO IR14", "~ISO IR14"]
        {
            assert_eq!(said(sets), Ok(()), "{sets}");
        }
    }
}
