//! What is easily read as something else: sizes in extended headers, abbreviations, codes of two bytes.

mod samples;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use leadline_formats::synth::SynthFormat;
use leadline_formats::{Format, Verdict, inspect_bytes};
use samples::{look, no_cut_is_complete};

/// A header of a tar archive, and a content that may be longer than it says.
fn member(kind: u8, size: usize, content: &[u8]) -> Vec<u8> {
    let mut bytes = samples::tar("a", &[]);
    bytes.truncate(512);
    bytes[156] = kind;
    bytes[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes.iter().map(|byte| u32::from(*byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// POSIX.1-2001, "pax Extended Header": a record `size` is valid in the place of the field of the header.
#[test]
fn an_extended_header_may_state_the_size() {
    let data = samples::wave(5000);
    let extended = |kind: u8, text: &str| member(kind, text.len(), text.as_bytes());
    let end = vec![0; 1024];
    let stated = extended(b'x', "13 size=5000\n");
    let named = extended(b'x', "21 path=size=7 9 abc\n13 size=5000\n");
    let long_name = member(b'L', 5, b"abcd\0");
    let whole = [
        [&stated[..], &member(b'0', 0, &data), &end].concat(),
        [&stated[..], &member(b'0', 7, &data), &end].concat(),
        [&named[..], &member(b'0', 0, &data), &end].concat(),
        [&stated[..], &long_name, &member(b'0', 0, &data), &end].concat(),
        [&extended(b'g', "13 size=5000\n")[..], &member(b'0', 0, &data).repeat(3), &end].concat(),
        // It is about one member, and what cannot be read states nothing.
        [&stated[..], &member(b'0', 0, &data), &member(b'0', 300, &data[..300]), &end].concat(),
        [&extended(b'x', "size=7\n")[..], &member(b'0', 5000, &data), &end].concat(),
        [&extended(b'x', "99 size=7\n")[..], &member(b'0', 5000, &data), &end].concat(),
        [&extended(b'x', "16 comment=abcd\n")[..], &member(b'0', 5000, &data), &end].concat(),
        [&extended(b'x', "")[..], &member(b'0', 5000, &data), &end].concat(),
    ];
    for (n, bytes) in whole.iter().enumerate() {
        let found = inspect_bytes(bytes);
        assert_eq!((found.format, found.verdict), (Format::Tar, Verdict::Complete), "{n}: {}", found.summary());
        no_cut_is_complete(&bytes[..bytes.len() - 1024]);
        assert_eq!(inspect_bytes(&samples::gzip(bytes)).verdict, Verdict::Complete, "{n}");
    }
    for size in ["18446744073709551615", "4611686018427387903", "9999999"] {
        let record = format!(" size={size}\n");
        let text = format!("{}{record}", record.len() + 2);
        let bytes = [&extended(b'x', &text)[..], &member(b'0', 0, &data), &end].concat();
        assert_ne!(inspect_bytes(&bytes).verdict, Verdict::Complete, "{size}");
    }
}

/// HL7 v2.5.1, 2.15.2 and 2.15.6: encoding characters stand behind the separator.
#[test]
fn an_abbreviation_at_the_start_of_a_text_is_no_batch() {
    for text in [
        "FHS,LHS,RHS\n1,2,3\n",
        "BHS: Behavioural Health Services\nnothing here\n",
        "BHS,,,\n1,2,3\n",
        "FHS--- a rule ---\n",
        "BHS|^|A\r",
        "BHS|^^\\&|A\r",
        "FHS;a;b\n",
    ] {
        assert_eq!(look(text.as_bytes()), (Format::Unknown, Verdict::Unverifiable), "{text}");
    }
    for text in
        ["BHS|", "BHS|^", "BHS|^~\\&", "BHS|^~\\&|", "FHS|^~\\&#|A\r", "BHS|^~\\&\r", "FHS*:~*A\r", "\x0bBHS|^~"]
    {
        let found = look(text.as_bytes());
        assert_eq!(found.1, Verdict::Partial, "{text}");
    }
}

/// A framed message in a character set, with a document whose name is this.
fn named(charset: &str, name: &[u8], letters: &str) -> Vec<u8> {
    let head = format!("\x0bMSH|^~\\&|A|B|||1||ORU^R01|77|P|2.5||||||{charset}\rOBX|1|ED|");
    let tail = format!("||^application^pdf^Base64^{letters}||||||F\r\x1c\r");
    [head.as_bytes(), name, tail.as_bytes()].concat()
}

/// HL7 v2.5.1, 2.7.2: the second byte of a character in ISO-2022-JP may be that of a delimiter.
#[test]
fn codes_of_two_bytes_are_no_delimiters() {
    let pdf = STANDARD.encode(samples::synth(SynthFormat::Pdf));
    let cut = &pdf[..pdf.len() / 8 * 4];
    for name in [
        &b"\x1b$B?4EE?^\x1b(B"[..],
        b"\x1b$B%|%^%~%\\%&\x1b(B^a",
        b"a^\x1b$@!|!|!|\x1b(J",
        b"\x1b$(D!|!^\x1b(B^\x1b$B!|\x1b(B",
        // Ready for use, and not in use.
        b"\x1b$)C^a",
        b"\x1b)I^a",
        b"\x1b$B!|",
    ] {
        let closed = !name.ends_with(b"|");
        let whole = inspect_bytes(&named("ISO IR87", name, &pdf));
        assert_eq!(whole.verdict, Verdict::Complete, "{name:?}: {}", whole.summary());
        let open = inspect_bytes(&named("ISO IR87", name, cut));
        if closed {
            assert_eq!(open.verdict, Verdict::Partial, "{name:?}: {}", open.summary());
        }
        assert_eq!(whole.identity.waveform.is_some(), closed, "{name:?}");
    }
    // The next segment starts plain.
    let mut two = named("ISO IR87", b"\x1b$B!|", "");
    two.truncate(two.len() - 2);
    let more = named("", b"a", cut);
    two.extend(&more[more.windows(3).position(|w| w == b"OBX").expect("a segment")..]);
    assert_eq!(inspect_bytes(&two).verdict, Verdict::Partial);
}

/// HL7 table 0211.
#[test]
fn a_document_beside_codes_that_are_not_read_cannot_be_judged() {
    let pdf = STANDARD.encode(samples::synth(SynthFormat::Pdf));
    for charset in ["BIG-5", "GB 18030-2000", "KS X 1001", "UNICODE UTF-16", "ASCII~BIG-5", "big5"] {
        assert_eq!(look(&named(charset, b"a", &pdf)).1, Verdict::Unverifiable, "{charset}");
        assert_eq!(look(&named(charset, b"a", &pdf[..pdf.len() / 8 * 4])).1, Verdict::Partial, "{charset}");
        let text = String::from_utf8(named(charset, b"a", "b")).expect("text").replace("|ED|", "|TX|");
        let text = text.replace("Base64", "A");
        assert_eq!(look(text.as_bytes()).1, Verdict::Complete, "{charset}: no document");
    }
    for charset in ["", "ASCII", "8859/1", "UNICODE UTF-8", "ISO IR87", "ISO IR159"] {
        assert_eq!(look(&named(charset, b"a", &pdf)).1, Verdict::Complete, "{charset}");
    }
}
