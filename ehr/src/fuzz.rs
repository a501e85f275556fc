//! Entry for the fuzz targets of formats/fuzz: every reader on any bytes, with what must hold for each.
//!
//! Not part of the interface: it is there with the feature `fuzzing` only, and in tests.

use crate::fhir;
use crate::hl7::ack::{self, Stamp};
use crate::hl7::er7::{Message, USUAL, escape, unescape};
use crate::hl7::{Document, Header, Pointer, accepts, documents, encoded};
use crate::mllp::{Event, Framer, frame};
use leadline_domain::{Fault, FaultCode};
use std::collections::BTreeSet;

/// The readers, one fuzz target each.
pub const READERS: &[&str] = &["er7", "fhir", "mllp"];

/// Runs a reader on a content.
///
/// # Panics
/// When something that must hold does not.
pub fn run(reader: &str, bytes: &[u8]) {
    match reader {
        "er7" => er7(bytes),
        "fhir" => resources(bytes),
        _ => frames(bytes),
    }
}

fn er7(bytes: &[u8]) {
    assert_eq!(unescape(&escape(bytes, USUAL), USUAL), bytes, "escapes lose something");
    let text = String::from_utf8_lossy(bytes);
    if let Ok(Pointer::Web { host, .. }) = Pointer::read(&text, &BTreeSet::from(["pacs".to_owned()])) {
        assert_eq!(host, "pacs", "a host that is not on the list");
    }
    let stamp = Stamp { time: "20260101000000+0000", id: "1" };
    let Ok(message) = Message::parse(bytes) else {
        let _ = Header::peek(bytes);
        return;
    };
    let header = Header::read(&message);
    let mut results = vec![
        ack::Result::Taken,
        ack::Result::Wrong(Fault::new(FaultCode::AttachmentIncomplete, "a|b^c~d\\e&f")),
        ack::Result::Wrong(Fault::new(FaultCode::StoreUnreachable, "x")),
    ];
    let modes = BTreeSet::from(["P".to_owned()]);
    if let Err((fault, number)) = accepts(&header, &modes).and_then(|()| encoded(&header, bytes)) {
        results.push(ack::Result::Refused(fault, number));
    }
    for result in results {
        let answer = ack::answer(&header, &result, stamp);
        for raw in [answer.accept, answer.application].into_iter().flatten() {
            assert!(raw.len() < 8_192, "a long answer");
            let read = Message::parse(&raw).expect("an answer is a message");
            assert!((2..=3).contains(&read.segments().len()), "an answer has other segments");
            assert_eq!(read.segments()[1].field(2), header.control_id, "an answer to another message");
        }
    }
    for document in documents(&message).into_iter().flatten().flatten() {
        if let Document::Data(content) = document {
            assert!(content.len() <= bytes.len(), "more comes out than went in");
            let _ = crate::attachment::whole(&content);
        }
    }
}

fn resources(bytes: &[u8]) {
    let _ = fhir::transaction(bytes);
    let _ = fhir::notification(bytes);
    for kind in fhir::KINDS {
        if let Ok(create) = fhir::read(kind, bytes, None) {
            assert_eq!((create.kind, &create.body[..]), (kind, bytes));
        }
    }
    if let Ok(value) = fhir::Json::parse(bytes) {
        let written = serde_json::to_vec(&value).expect("what was read can be written");
        let again = fhir::Json::parse(&written).map(without_fractions);
        assert_eq!(again, Ok(without_fractions(value)), "another value when it is read again");
    }
    let text = String::from_utf8_lossy(bytes);
    let _ = (fhir::media(&text, true), fhir::media(&text, false), fhir::condition(&text));
}

/// The same with fractions blanked: the last digit of one may change when it is written and read. What is kept is the
/// content as it came.
fn without_fractions(value: fhir::Json) -> fhir::Json {
    use fhir::Json as J;
    match value {
        J::Number(_) => J::Word(None),
        J::List(all) => J::List(all.into_iter().map(without_fractions).collect()),
        J::Object(all) => J::Object(all.into_iter().map(|(k, v)| (k, without_fractions(v))).collect()),
        other => other,
    }
}

fn frames(bytes: &[u8]) {
    let limit = bytes.first().map_or(0, |b| usize::from(*b));
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let mut framer = Framer::new(limit);
        let mut events = Vec::new();
        for mut piece in pieces {
            while let Some(event) = framer.next(&mut piece) {
                events.push(event);
            }
        }
        (events, framer.in_message(), framer.pending())
    };
    let whole = read(&mut std::iter::once(bytes));
    for size in [1, 2, 7, 64] {
        assert_eq!(read(&mut bytes.chunks(size)), whole, "frames depend on where pieces end");
    }
    for event in whole.0 {
        match event {
            Event::Frame(message) => {
                assert!(message.len() <= limit, "a long message");
                let again = read(&mut std::iter::once(&frame(&message)[..]));
                assert_eq!(again.0, [Event::Frame(message)], "a frame in its frame");
            }
            Event::TooLong(head) => assert!(head.len() <= 4_096, "a long head"),
            Event::Hopeless => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reader_takes_anything() {
        for reader in READERS {
            for bytes in [&b""[..], b"\0", b"MSH|^~\\&|", b"MSH|^~\\&|A|B|C|D|1||ORU^R01|1|P|2.5\r", b"{}", &[11; 99]] {
                run(reader, bytes);
            }
        }
    }
    // What the targets found, named after what was wrong.

    #[test]
    fn a_number_that_is_written_with_another_last_digit() {
        let digits = format!("{}{}", "4".repeat(74), "0000000000007382263761063757595");
        run("fhir", digits.as_bytes());
    }

    #[test]
    fn a_blank_at_the_end_of_a_control_id_is_part_of_it() {
        run("er7", b"MSH|^~\\&|A|B|C|D|1||ORU^R01|7 |P|2.5\r");
    }
}
