//! Acknowledgements (HL7 v2.5.1 chapter 2, sections 2.9.2, 2.9.3 and 2.14.8): MSH with the parties swapped, MSA, and ERR
//! when something is wrong, in the version of the message that they answer.

use super::er7::{Delimiters, USUAL};
use super::header::{Header, Wish};
use leadline_domain::{Fault, FaultClass};

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Result {
    /// It and everything that it brings are safe.
    Taken,
    /// It is kept, and something in it is wrong: sending it again changes nothing.
    Wrong(Fault),
    /// It is refused unread, by its header; the number is that of table 0357.
    Refused(Fault, u16),
}

/// Acknowledgements to send, in this order. Whole messages, without frames.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// In the enhanced mode: whether it is safe here.
    pub accept: Option<Vec<u8>>,
    /// What became of it.
    pub application: Option<Vec<u8>>,
}

/// When, and by which number, an acknowledgement is made.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// MSH-7: `YYYYMMDDHHMMSS+0000`.
    pub time: &'a str,
    /// MSH-10 of the acknowledgement; the second one of an answer has `-2` behind it.
    pub id: &'a str,
}

/// Whether trying again can help: everything that is not the message's own fault.
#[must_use]
pub fn passes(fault: &Fault) -> bool {
    fault.class() != FaultClass::Rejected
}

/// Decides how a message is answered.
///
/// Original mode: AA, AE for what is wrong with the content, AR for what its header rules out and for what cannot be
/// taken now. Enhanced mode: CA once everything is safe, then AA or AE if wanted; CR for the header; CE for what cannot
/// be taken now. A sender that wants no application acknowledgement of errors hears of them by CE, and one that wants no
/// accept acknowledgement hears AR instead of CR and CE, since otherwise it would hear nothing.
#[must_use]
pub fn answer(header: &Header, result: &Result, stamp: Stamp<'_>) -> Answer {
    let second = format!("{}-2", stamp.id);
    let make = |code, id, fault: Option<(&Fault, u16)>| Some(build(header, code, Stamp { id, ..stamp }, fault));
    let (fault, good) = match result {
        Result::Taken => (None, true),
        Result::Wrong(fault) => (Some((fault, number(fault))), false),
        Result::Refused(fault, number) => (Some((fault, *number)), false),
    };
    let now = matches!(result, Result::Wrong(fault) if passes(fault));
    let Some((accept, application)) = header.enhanced else {
        let code = match result {
            Result::Taken => "AA",
            Result::Wrong(_) if !now => "AE",
            _ => "AR",
        };
        return Answer { accept: None, application: make(code, stamp.id, fault) };
    };
    let hears = application.for_result(good);
    let (code, kept) = match result {
        Result::Taken => ("CA", true),
        Result::Wrong(_) if !now && hears => ("CA", true),
        Result::Wrong(_) => ("CE", false),
        Result::Refused(..) => ("CR", false),
    };
    // An error that no other acknowledgement would tell is told, unless the sender wants none at all.
    let wanted = accept.for_result(kept) || (!kept && accept != Wish::Never);
    let outcome = match (kept, good) {
        (true, true) => "AA",
        (true, false) => "AE",
        (false, _) => "AR",
    };
    Answer {
        accept: if wanted { make(code, stamp.id, fault.filter(|_| !kept)) } else { None },
        application: if hears && (kept || !wanted) { make(outcome, &second, fault) } else { None },
    }
}

/// An acknowledgement for what has no readable header: AR, addressed to nobody.
#[must_use]
pub fn unaddressed(fault: &Fault, stamp: Stamp<'_>) -> Vec<u8> {
    let header = Header {
        delimiters: USUAL,
        parties: Default::default(),
        kind: Vec::new(),
        event: Vec::new(),
        control_id: Vec::new(),
        processing_id: b"P".to_vec(),
        version: b"2.5.1".to_vec(),
        enhanced: None,
        charsets: Vec::new(),
    };
    build(&header, "AR", stamp, Some((fault, 100)))
}

/// Table 0357.
fn number(fault: &Fault) -> u16 {
    use leadline_domain::FaultCode as C;
    match fault.code {
        C::AttachmentUnreadable | C::AttachmentIncomplete => 102,
        C::Hl7NotAccepted | C::PointerRefused => 103,
        C::Hl7ControlIdReused => 205,
        _ => 207,
    }
}

fn condition(number: u16) -> &'static str {
    match number {
        100 => "Segment sequence error",
        101 => "Required field missing",
        102 => "Data type error",
        103 => "Table value not found",
        200 => "Unsupported message type",
        201 => "Unsupported event code",
        202 => "Unsupported processing id",
        203 => "Unsupported version id",
        205 => "Duplicate key identifier",
        _ => "Application internal error",
    }
}

/// Versions before 2.5 have ERR with one field of code and location (2.3 to 2.4, section 2.16.5).
fn old(version: &[u8]) -> bool {
    matches!(version, b"2.3" | b"2.3.1" | b"2.4")
}

/// 2.7 withdrew MSA-3 and has the words in ERR-8 alone (v2.8.2 section 2.14.8.3).
fn without_text(version: &[u8]) -> bool {
    [&b"2.7"[..], b"2.8", b"2.9"].iter().any(|v| version.starts_with(v))
}

fn build(h: &Header, code: &str, stamp: Stamp<'_>, fault: Option<(&Fault, u16)>) -> Vec<u8> {
    let d = h.delimiters;
    let [application, facility, to_application, to_facility] = &h.parties;
    let join = |parts: &[&[u8]], by: u8| parts.join(&by);
    // The structure of an acknowledgement is named from 2.3.1 on.
    let kind = if h.event.is_empty() {
        b"ACK".to_vec()
    } else if h.version == b"2.3" {
        join(&[b"ACK", &h.event], d.component)
    } else {
        join(&[b"ACK", &h.event, b"ACK"], d.component)
    };
    let marks = [d.component, d.repetition, d.escape, d.subcomponent];
    let mut msh: Vec<&[u8]> = vec![b"MSH", &marks, to_application, to_facility, application, facility];
    msh.extend([stamp.time.as_bytes(), b"", &kind, stamp.id.as_bytes(), &h.processing_id, &h.version]);
    if h.enhanced.is_some() {
        // An acknowledgement is not acknowledged.
        msh.extend([&b""[..], b"", b"NE", b"NE"]);
    }
    let text = fault.map(|(fault, _)| said(fault, d)).unwrap_or_default();
    let msa: [&[u8]; 4] = [b"MSA", code.as_bytes(), &h.control_id, &text];
    let msa = if text.is_empty() || without_text(&h.version) { &msa[..3] } else { &msa[..] };
    let mut out = [join(&msh, d.field), join(msa, d.field)].join(&b'\r');
    if let Some((_, number)) = fault {
        let (digits, words) = (number.to_string(), condition(number));
        let err = if old(&h.version) {
            let coded = join(&[digits.as_bytes(), words.as_bytes()], d.subcomponent);
            join(&[b"ERR", &join(&[b"", b"", b"", &coded], d.component)], d.field)
        } else {
            let coded = join(&[digits.as_bytes(), words.as_bytes(), b"HL70357"], d.component);
            join(&[b"ERR", b"", b"", &coded, b"E", b"", b"", b"", &text], d.field)
        };
        out.push(b'\r');
        out.extend(err);
    }
    out.push(b'\r');
    out
}

/// The fault's code and words. What is not the message's own fault is told by its code only.
fn said(fault: &Fault, d: Delimiters) -> Vec<u8> {
    let text = if passes(fault) { format!("{}: not taken now, send it again", fault.code) } else { fault.to_string() };
    super::er7::escape(text.as_bytes(), d)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hl7::er7::Message;
    use leadline_domain::FaultCode;

    const STAMP: Stamp<'_> = Stamp { time: "20260102030405+0000", id: "id1" };

    fn header(tail: &str) -> Header {
        Header::peek(format!("MSH|^~\\&|ECG|WARD^1|LL|HUB|20260101||ORU^R01|77|P|{tail}").as_bytes()).unwrap()
    }

    fn codes(tail: &str, result: &Result) -> Vec<String> {
        let answer = answer(&header(tail), result, STAMP);
        let code = |raw: Vec<u8>| {
            let message = Message::parse(&raw).unwrap();
            assert_eq!(message.segments()[1].field(2), b"77");
            String::from_utf8(message.segments()[1].field(1).to_vec()).unwrap()
        };
        [answer.accept, answer.application].into_iter().flatten().map(code).collect()
    }

    fn wrong() -> Result {
        Result::Wrong(Fault::new(FaultCode::AttachmentIncomplete, "attachment 1: the PDF ends early"))
    }

    fn later() -> Result {
        Result::Wrong(Fault::new(FaultCode::StoreUnreachable, "connect: 10.0.0.1"))
    }

    fn refused() -> Result {
        Result::Refused(Fault::new(FaultCode::Hl7NotAccepted, "MSH-12: ..."), 203)
    }

    #[test]
    fn the_original_mode_has_one_acknowledgement() {
        for (result, code) in [(Result::Taken, "AA"), (wrong(), "AE"), (later(), "AR"), (refused(), "AR")] {
            assert_eq!(codes("2.5", &result), [code]);
        }
    }

    #[test]
    fn the_enhanced_mode_has_what_the_sender_wants() {
        let none: [&str; 0] = [];
        for (wishes, result, expected) in [
            ("AL|AL", Result::Taken, &["CA", "AA"][..]),
            ("AL|AL", wrong(), &["CA", "AE"]),
            ("AL|AL", later(), &["CE"]),
            ("AL|AL", refused(), &["CR"]),
            ("AL|NE", Result::Taken, &["CA"]),
            ("AL|NE", wrong(), &["CE"]),
            ("NE|AL", Result::Taken, &["AA"]),
            ("NE|AL", wrong(), &["AE"]),
            ("NE|AL", later(), &["AR"]),
            ("NE|AL", refused(), &["AR"]),
            ("|AL", Result::Taken, &["AA"]),
            ("|AL", later(), &["AR"]),
            ("|AL", refused(), &["AR"]),
            ("NE|ER", Result::Taken, &none),
            ("NE|ER", wrong(), &["AE"]),
            ("NE|ER", later(), &["AR"]),
            ("NE|ER", refused(), &["AR"]),
            ("NE|SU", later(), &none),
            ("ER|ER", Result::Taken, &none),
            ("ER|ER", wrong(), &["AE"]),
            ("ER|ER", refused(), &["CR"]),
            ("SU|SU", Result::Taken, &["CA", "AA"]),
            ("SU|SU", later(), &["CE"]),
            ("NE|NE", wrong(), &none),
            ("NE|NE", refused(), &none),
        ] {
            assert_eq!(codes(&format!("2.5|||{wishes}"), &result), expected, "{wishes} {result:?}");
        }
    }

    #[test]
    fn parties_are_swapped_and_the_error_is_told_as_the_version_has_it() {
        let text = |tail: &str| String::from_utf8(answer(&header(tail), &wrong(), STAMP).application.unwrap()).unwrap();
        assert_eq!(
            text("2.5.1"),
            "MSH|^~\\&|LL|HUB|ECG|WARD^1|20260102030405+0000||ACK^R01^ACK|id1|P|2.5.1\r\
             MSA|AE|77|attachment.incomplete: attachment 1: the PDF ends early\r\
             ERR|||102^Data type error^HL70357|E||||attachment.incomplete: attachment 1: the PDF ends early\r"
        );
        assert!(text("2.3").contains("ACK^R01|id1") && text("2.3").ends_with("\rERR|^^^102&Data type error\r"));
        let error = "ERR|||102^Data type error^HL70357|E||||attachment.incomplete: attachment 1: the PDF ends early\r";
        assert!(
            text("2.6").ends_with(&format!(
                "|P|2.6\rMSA|AE|77|attachment.incomplete: attachment 1: the PDF ends early\r{error}"
            ))
        );
        for version in ["2.7", "2.8.2"] {
            assert!(text(version).ends_with(&format!("|ACK^R01^ACK|id1|P|{version}\rMSA|AE|77\r{error}")), "{version}");
        }
    }

    #[test]
    fn what_others_said_stays_inside() {
        let told = answer(&header("2.5"), &later(), STAMP).application.unwrap();
        let told = String::from_utf8(told).unwrap();
        assert!(told.contains("store.unreachable: not taken now") && !told.contains("10.0.0.1"));
    }

    #[test]
    fn what_has_no_header_is_answered_too() {
        let raw = unaddressed(&Fault::new(FaultCode::Hl7Unreadable, "no MSH"), STAMP);
        assert!(raw.starts_with(b"MSH|^~\\&|||||20260102030405+0000||ACK|id1|P|2.5.1\rMSA|AR||hl7.unreadable"));
    }
}
