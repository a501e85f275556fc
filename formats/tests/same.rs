//! Which contents are the same recording.

mod samples;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use leadline_formats::synth::{Spec, SynthFormat};
use leadline_formats::{Identity, Relation, inspect_bytes, relate};

fn identity(bytes: &[u8]) -> Identity {
    inspect_bytes(bytes).identity
}

/// A tar archive of these files.
fn archive(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out: Vec<u8> = files
        .iter()
        .flat_map(|(name, bytes)| {
            let mut one = samples::tar(name, bytes);
            one.truncate(one.len() - 1024);
            one
        })
        .collect();
    out.extend([0; 1024]);
    out
}

fn of_archives(a: &[(&str, &[u8])], b: &[(&str, &[u8])]) -> Relation {
    let plain = relate(&identity(&archive(a)), &identity(&archive(b)));
    let packed = relate(&identity(&samples::gzip(&archive(a))), &identity(&samples::gzip(&archive(b))));
    assert_eq!(plain, packed);
    plain
}

#[test]
fn archives_are_the_same_when_all_that_they_hold_is() {
    let (one, two) = (samples::philips(12), samples::philips(11));
    let (one, two) = (one.as_bytes(), two.as_bytes());
    let scp = |seed: u64| SynthFormat::Scp.write(&Spec::new(seed)).expect("valid").remove(0).bytes;
    let [first, second] = [1, 2].map(scp);
    let a = ("a.xml", one);
    assert_eq!(of_archives(&[a], &[("other.xml", one)]), Relation::Merge);
    // What says nothing of itself counts as well.
    assert_eq!(of_archives(&[a, ("b", b"sinus rhythm")], &[a, ("b", b"sinus rhythm")]), Relation::Merge);
    assert_eq!(of_archives(&[a, ("b", b"sinus rhythm")], &[a, ("b", b"fibrillation")]), Relation::Revision);
    assert_eq!(of_archives(&[a, ("b", b"sinus rhythm")], &[a]), Relation::Link);
    assert_eq!(of_archives(&[a, ("b", b"")], &[a]), Relation::Merge, "what is empty says nothing");
    let scp_beside = |scp: &[u8]| archive(&[a, ("b.xml", two), ("c.scp", scp)]);
    let (first, second) = (identity(&scp_beside(&first)), identity(&scp_beside(&second)));
    assert_eq!(relate(&first, &second), Relation::Revision);
    // Also far behind.
    let same = vec![a; 80];
    let mut all = same.clone();
    assert_eq!(of_archives(&all, &same), Relation::Merge);
    all[79].1 = two;
    assert_eq!(of_archives(&all, &same), Relation::Revision);
    // Of the same recording plain and in an archive with others it is known that they have it in common.
    assert_eq!(relate(&identity(one), &identity(&archive(&[a, ("b", b"note")]))), Relation::Link);
    assert_eq!(relate(&identity(one), &identity(&archive(&[a]))), Relation::Merge);
}

/// Members of no bytes are many in little space.
#[test]
fn an_archive_of_more_members_than_are_looked_at_is_the_same_as_no_other() {
    let one = samples::philips(12);
    let mut files = vec![("a.xml", one.as_bytes())];
    files.resize(10_002, ("n", b""));
    let with_itself = |files: &[(&str, &[u8])]| {
        let found = identity(&archive(files));
        relate(&found, &found)
    };
    assert_eq!(with_itself(&files), Relation::Link);
    files.truncate(10_000);
    assert_eq!(with_itself(&files), Relation::Merge);
}

/// A message with these documents.
fn message(id: &str, documents: &[&[u8]]) -> String {
    let observations: String = documents
        .iter()
        .map(|bytes| format!("OBX|1|ED|PDF^x||^application^pdf^Base64^{}||||||F\r", STANDARD.encode(bytes)))
        .collect();
    format!("MSH|^~\\&|ECG|WARD|||1||ORU^R01|{id}|P|2.5\rOBR|1\r{observations}NTE|1\r")
}

fn frames(messages: &[String]) -> Identity {
    identity(messages.iter().map(|message| format!("\x0b{message}\x1c\r")).collect::<String>().as_bytes())
}

fn pdf(seed: u64) -> Vec<u8> {
    SynthFormat::Pdf.write(&Spec::new(seed)).expect("valid").remove(0).bytes
}

fn fhir(documents: &[&[u8]]) -> Identity {
    let contents: Vec<String> =
        documents.iter().map(|bytes| format!(r#"{{"attachment":{{"data":"{}"}}}}"#, STANDARD.encode(bytes))).collect();
    identity(format!(r#"{{"resourceType":"DocumentReference","content":[{}]}}"#, contents.join(",")).as_bytes())
}

#[test]
fn messages_are_the_same_when_all_of_them_and_all_their_documents_are() {
    let (one, two, other) = (&pdf(1)[..], &pdf(2)[..], &pdf(3)[..]);
    let first = message("1", &[one]);
    let stream = |second: &str, document: &[u8]| frames(&[first.clone(), message(second, &[document])]);
    assert_eq!(relate(&stream("2", two), &stream("2", two)), Relation::Merge);
    assert_eq!(relate(&stream("2", two), &stream("2", other)), Relation::Revision);
    assert_eq!(relate(&stream("2", two), &stream("3", two)), Relation::Link);
    assert_eq!(relate(&stream("2", two), &stream("3", other)), Relation::Unrelated);
    assert_ne!(relate(&stream("2", two), &frames(std::slice::from_ref(&first))), Relation::Merge);
    let batch = |second: &str, document: &[u8]| {
        identity(format!("BHS|^~\\&|A\r{first}{}BTS|2\r", message(second, &[document])).as_bytes())
    };
    assert_eq!(relate(&batch("2", two), &stream("2", two)), Relation::Merge, "in a batch or in frames");
    assert_ne!(relate(&batch("2", two), &batch("2", other)), Relation::Merge);
    // Without an identifier two messages are never the same.
    assert_ne!(relate(&stream("", two), &stream("", two)), Relation::Merge);
    let documents = |all: &[&[u8]]| frames(&[message("1", all)]);
    assert_eq!(relate(&documents(&[one, two]), &documents(&[one, two])), Relation::Merge);
    assert_eq!(relate(&documents(&[one, two]), &documents(&[one, other])), Relation::Revision);
    assert_eq!(relate(&documents(&[one, two]), &documents(&[one])), Relation::Revision);
    // The same documents in FHIR.
    for all in [&[one][..], &[one, two]] {
        assert_eq!(relate(&fhir(all), &documents(all)), Relation::Link);
        assert_eq!(relate(&fhir(all), &fhir(all)), Relation::Link);
    }
    assert_eq!(relate(&fhir(&[one, two]), &fhir(&[one, other])), Relation::Unrelated);
}

/// FHIR R4, Resource.id: unique within the space of all resources of the same type on the same server.
#[test]
fn an_id_is_one_of_its_server() {
    let resource = |between: &str, data: &str| {
        let text = format!(
            r#"{{"resourceType":"DocumentReference","id":"1",{between}"content":[{{"attachment":{{"data":"{data}"}}}}]}}"#
        );
        identity(text.as_bytes())
    };
    let of = |a: &str, b: &str, data: &str| relate(&resource(a, "aGVsbG8="), &resource(b, data));
    let (same, other) = ("aGVsbG8=", "aGVsbG9v");
    let source = |uri: &str| format!(r#""meta":{{"tag":[{{"source":"x"}}],"source":"{uri}"}},"#);
    let (a, b) = (source("http://a.example"), source("http://b.example"));
    assert_eq!(of(&a, &a, same), Relation::Merge);
    assert_eq!(of(&a, &a, other), Relation::Revision);
    assert_eq!(of(&a, &b, other), Relation::Unrelated);
    assert_eq!(of(&a, &b, same), Relation::Link);
    assert_eq!(of(&source("http://a.example#1f"), &source("http://a.example#2e"), other), Relation::Revision);
    let number = |system: &str, value: &str| {
        format!(
            r#""identifier":[{{"system":"{system}","type":{{"system":"t","value":"v"}},"value":"{value}"}},{{"value":"{value}{system}"}}],"#
        )
    };
    let one = format!(r#""contained":[{{"identifier":[{{"value":"9"}}]}}],{}"#, number("urn:a", "7"));
    assert_eq!(of(&one, &number("urn:a", "7"), same), Relation::Merge);
    assert_eq!(of(&one, &number("urn:a", "7"), other), Relation::Revision);
    for unlike in [number("urn:a", "8"), number("urn:b", "7"), a.clone()] {
        assert_eq!(of(&one, &unlike, other), Relation::Unrelated, "{unlike}");
    }
    let alone = r#""identifier":{"value":"7","system":"urn:a"},"#;
    assert_eq!(of(&one, alone, same), Relation::Merge);
    // Of no known server: it may be the same one.
    assert_eq!(of("", "", other), Relation::Link);
    assert_eq!(of(r##""meta":{"source":"#1f"},"##, "", other), Relation::Link);
    assert_eq!(of("", &a, other), Relation::Unrelated);
}

/// EDF+ 2.1.3: what was made anonymous says nothing about the recording.
#[test]
fn recordings_made_anonymous_have_nothing_in_common() {
    let with = |format: SynthFormat, seed: u64, recording: &str| {
        let mut bytes = format.write(&Spec::new(seed)).expect("valid").remove(0).bytes;
        bytes[88..168].copy_from_slice(format!("{recording:<80}").as_bytes());
        bytes[168..184].copy_from_slice(b"01.01.8500.00.00");
        identity(&bytes)
    };
    for format in [SynthFormat::Edf, SynthFormat::Bdf] {
        let of = |recording: &str| relate(&with(format, 1, recording), &with(format, 2, recording));
        assert_eq!(of("Startdate X X X X"), Relation::Unrelated);
        assert_eq!(of("X X X X"), Relation::Unrelated);
        assert_eq!(of("Startdate 02-MAR-2002 X X X"), Relation::Link);
        assert_eq!(of("Startdate X X X Holter7"), Relation::Link);
    }
}
