//! Whole files that are easily taken for broken ones: no such file is partial or malformed, and a cut of it is never
//! complete.

mod samples;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use leadline_formats::sets::{WfdbFiles, wfdb_verdict};
use leadline_formats::synth::SynthFormat;
use leadline_formats::wfdb::{Header, SampleCheck, SampleSums, SignalFile};
use leadline_formats::{Format, Verdict, inspect_bytes};
use samples::{look, no_cut_is_complete};

fn atom(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
}

#[test]
fn a_picture_in_boxes_has_no_movie() {
    for brand in [b"heic", b"avif"] {
        let head = atom(b"ftyp", &[&brand[..], b"\0\0\0\0mif1", &brand[..]].concat());
        let picture = [head, atom(b"meta", &samples::wave(300)), atom(b"mdat", &samples::wave(3000))].concat();
        assert_eq!(look(&picture), (Format::Mp4, Verdict::Unverifiable));
        assert_eq!(look(&picture[..picture.len() - 1]), (Format::Mp4, Verdict::Partial));
        let mut hollow = picture.clone();
        hollow[2000..].fill(0);
        assert_eq!(inspect_bytes(&hollow).verdict, Verdict::Suspect);
    }
}

#[test]
fn a_declaration_may_speak_of_anything() {
    for inside in ["<!-- don't -->", "<?a it's ] > ?>", "<!-- ] > \" --><!ENTITY a '<!--'>", "<!-- -- > -->"] {
        let text = format!("<!DOCTYPE zqecg [{inside}]><zqecg><a>1</a></zqecg>");
        assert_eq!(look(text.as_bytes()), (Format::VendorXml, Verdict::Complete), "{inside}");
        no_cut_is_complete(text.as_bytes());
    }
}

#[test]
fn tables_of_whole_numbers_are_no_wfdb_headers() {
    for table in [
        "0 8192 8190\n1 8193 8191\n",
        "1 2 250\n16 16 16\n",
        "1.5 2 3\n2.5 16 4\n",
        "Room 12 3",
        "1 2 3 4 5 6 7 8 9",
        "Room 12 3\nBed 16 2\n",
        "120/80 72 98\n118/76 70 99\n",
    ] {
        assert_eq!(look(table.as_bytes()), (Format::Unknown, Verdict::Unverifiable), "{table}");
    }
    let header = "100 2 360 650000 12:00:00\n100.dat 212 200 11 1024 995 -22131 0 MLII\n100.dat 212 200 11 1024 1011 20052 0 V5\n";
    assert_eq!(look(header.as_bytes()), (Format::WfdbHeader, Verdict::Complete));
    let lines: Vec<usize> = header.match_indices('\n').map(|(at, _)| at + 1).collect();
    assert_eq!(look(&header.as_bytes()[..lines[1]]), (Format::WfdbHeader, Verdict::Partial));
    assert_eq!(look(&header.as_bytes()[..lines[0]]), (Format::WfdbHeader, Verdict::Unverifiable));
    assert_eq!(look(b"12 3 45 6"), (Format::WfdbHeader, Verdict::Unverifiable));
    no_cut_is_complete(header.trim_end().as_bytes());
}

#[test]
fn a_text_with_the_name_of_a_box_is_no_film() {
    for text in
        ["QRS wide complex tachycardia", "The free text of a report", "Was skip beat seen?", "ECG moov", "No, ftyp"]
    {
        assert_eq!(look(text.as_bytes()), (Format::Unknown, Verdict::Unverifiable), "{text}");
    }
    let film = [atom(b"wide", b""), samples::mp4(false)].concat();
    assert_eq!(inspect_bytes(&film).format, Format::Mp4);
}

#[test]
fn a_table_that_starts_with_zero_is_no_edf() {
    let rows: String = (0..40).map(|n| format!("{n:<8}{:<8}{:<8}\n", n * 3, 17 - n)).collect();
    let wide: String = (0..60).map(|n| format!("{:<8}", n * 7 % 60)).collect();
    for text in [&rows[..], &rows[..50], &wide[..]] {
        assert_eq!(look(text.as_bytes()), (Format::Unknown, Verdict::Unverifiable), "{text}");
    }
    let edf = samples::synth(SynthFormat::Edf);
    for cut in [9, 100, 184, 191, 192, 300] {
        assert_eq!(look(&edf[..cut]), (Format::Edf, Verdict::Partial), "{cut}");
    }
    let mut damaged = edf.clone();
    damaged[185] = b'x';
    assert_eq!(inspect_bytes(&damaged).verdict, Verdict::Malformed);
}

/// A stored member whose sizes are not in front, and the directory.
fn streamed(name: &str, data: &[u8], descriptor: &[u8]) -> Vec<u8> {
    let sum = crc32fast::hash(data).to_le_bytes();
    let size = (data.len() as u32).to_le_bytes();
    let names = (name.len() as u16).to_le_bytes();
    let common = [&[20, 0, 8, 0, 0, 0, 0, 0, 0, 0][..]].concat();
    let local = [b"PK\x03\x04", &common[..], &[0; 12], &names, &[0, 0], name.as_bytes(), data, descriptor].concat();
    let directory = [b"PK\x01\x02\x14\0", &common[..], &sum, &size, &size, &names, &[0; 16], name.as_bytes()].concat();
    let sizes = [(directory.len() as u32).to_le_bytes(), (local.len() as u32).to_le_bytes()].concat();
    let end = [&b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..], &sizes, &[0, 0]].concat();
    [local, directory, end].concat()
}

#[test]
fn streamed_members_of_an_archive_end_in_more_than_one_way() {
    let data = samples::wave(9000);
    let sum = crc32fast::hash(&data).to_le_bytes();
    let short = [sum, 9000u32.to_le_bytes(), 9000u32.to_le_bytes()].concat();
    let wide = [&sum[..], &9000u64.to_le_bytes(), &9000u64.to_le_bytes()].concat();
    let signed = |descriptor: &[u8]| [b"PK\x07\x08", descriptor].concat();
    for descriptor in [short.clone(), wide.clone(), signed(&short), signed(&wide)] {
        let mut archive = streamed("a.dat", &data, &descriptor);
        assert_eq!(look(&archive), (Format::Zip, Verdict::Complete), "{descriptor:?}");
        no_cut_is_complete(&archive);
        archive[4096..8192].fill(0);
        assert_eq!(inspect_bytes(&archive).verdict, Verdict::Malformed, "what is stored has its sum too");
    }
    assert_eq!(look(&streamed("folder/", b"", b"")), (Format::Zip, Verdict::Complete));
    assert_eq!(look(&streamed("empty", b"", &[0; 12])), (Format::Zip, Verdict::Complete));
    // Without one nothing says where the member ends: what is there has its end all the same.
    let bare = streamed("a.dat", &data, b"");
    assert_eq!(look(&bare), (Format::Zip, Verdict::Unverifiable));
    assert_eq!(look(&bare[..bare.len() - 1]), (Format::Zip, Verdict::Partial));
    // An archive in the archive has marks of its own.
    let nested = streamed("a.zip", &samples::zip(), &{
        let len = (samples::zip().len() as u32).to_le_bytes();
        [b"PK\x07\x08", &crc32fast::hash(&samples::zip()).to_le_bytes()[..], &len, &len].concat()
    });
    assert_eq!(look(&nested), (Format::Zip, Verdict::Complete));
}

#[test]
fn a_volume_of_a_split_archive_cannot_be_judged() {
    let first = [b"PK\x07\x08", &samples::zip()[..2000]].concat();
    assert_eq!(look(&first), (Format::Zip, Verdict::Unverifiable));
    let single = [b"PK00", &samples::zip()[..2000]].concat();
    assert_eq!(look(&single), (Format::Zip, Verdict::Partial));
    // The last volume, which holds the directory and a member of its own.
    let mut last = samples::zip();
    let end = last.windows(4).rposition(|w| w == b"PK\x05\x06").expect("an end record");
    last[end + 4] = 1;
    last[end + 10] = 9;
    assert_eq!(look(&last), (Format::Zip, Verdict::Unverifiable));
}

#[test]
fn a_text_that_speaks_of_a_pdf_is_none() {
    let xml = "<?xml version=\"1.0\"?><!-- %PDF-1.4 in base64 below --><zqecg><a>1</a></zqecg>";
    assert_eq!(look(xml.as_bytes()), (Format::VendorXml, Verdict::Complete));
    let json = r#"{"text":"starts with %PDF-1.4","n":[1,2]}"#;
    assert_eq!(look(json.as_bytes()), (Format::Json, Verdict::Complete));
    let hl7 = "\x0bMSH|^~\\&|A|B|||1||ORU^R01|77|P|2.5\rNTE|1||%PDF-1.4 follows\r\x1c\r";
    assert_eq!(look(hl7.as_bytes()), (Format::Hl7v2Mllp, Verdict::Complete));
    let pdf = [&b"junk of a printer\n"[..], &samples::synth(SynthFormat::Pdf)].concat();
    assert_eq!(inspect_bytes(&pdf).format, Format::Pdf);
}

#[test]
fn numbers_that_are_none_are_values() {
    for text in [r#"{"lead":[1,NaN]}"#, "[NaN, 2]", "[Infinity,-Infinity]", r#"{"a":NaN}"#] {
        assert_eq!(look(text.as_bytes()), (Format::Json, Verdict::Complete), "{text}");
    }
    assert_eq!(inspect_bytes(br#"{"a":Nothing}"#).verdict, Verdict::Malformed);
}

#[test]
fn logs_and_settings_that_start_with_a_bracket_are_no_json() {
    for text in [
        "[2024-05-01 10:00] export done\n[2024-05-01 10:01] started\n",
        "[2024] export done",
        "[filter]\nhz=50\n",
        "[ ] call the ward\n",
        "[true story]\n",
        "[\"a\"] = 3\n",
        "[[bin]]\nname = 'a'\n",
    ] {
        assert_eq!(look(text.as_bytes()), (Format::Unknown, Verdict::Unverifiable), "{text}");
    }
    for text in ["[1, 2", "[", "[\n{\"a\":", "[[1.5", "[\"a\"", "[tru"] {
        assert_eq!(look(text.as_bytes()), (Format::Json, Verdict::Partial), "{text}");
    }
    // Unwritten behind its start.
    let mut array = format!("[{}]", "1, ".repeat(2000) + "2").into_bytes();
    array[20..].fill(0);
    assert!(inspect_bytes(&array).verdict >= Verdict::Suspect);
}

#[test]
fn only_an_attachment_of_fhir_states_its_size() {
    assert_eq!(look(br#"{"size":4,"data":"wave"}"#), (Format::Json, Verdict::Complete));
    assert_eq!(look(br#"{"hash":"2jmj7l5rSw0yVb/vlWAYkK/YBwk=","data":"wave"}"#), (Format::Json, Verdict::Complete));
    let fhir = |hash: &str, size: u32| {
        format!(
            r#"{{"contentType":"a","size":{size},"hash":"{hash}","data":"aGVsbG8=","resourceType":"Binary","id":"1"}}"#
        )
    };
    // The sum of "hello": in base64 as FHIR has it, in digits, and those in base64.
    let digits = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d";
    let other = digits.replacen('a', "b", 1);
    let forms: [fn(&str) -> String; 4] = [
        |digits| STANDARD.encode(hex::decode(digits).expect("digits")),
        str::to_owned,
        str::to_uppercase,
        |digits| STANDARD.encode(digits),
    ];
    for form in forms {
        let verdict = |sum: &str, size: u32| inspect_bytes(fhir(&form(sum), size).as_bytes()).verdict;
        assert_eq!(verdict(digits, 5), Verdict::Complete, "{}", form(digits));
        assert_eq!(verdict(&other, 5), Verdict::Malformed, "{}", form(&other));
        assert_eq!(verdict(digits, 6), Verdict::Malformed);
    }
}

#[test]
fn a_holter_recording_whose_samples_start_nowhere_cannot_be_judged() {
    let whole = samples::synth(SynthFormat::Ishne);
    for offset in [0u32, 10, 512, 521] {
        let mut bytes = whole.clone();
        bytes[22..26].copy_from_slice(&offset.to_le_bytes());
        assert_eq!(look(&bytes), (Format::Ishne, Verdict::Unverifiable), "{offset}");
    }
}

/// A message with this in the fifth field of an observation.
fn message(data: &str) -> Vec<u8> {
    format!("\x0bMSH|^~\\&|A|B|||1||ORU^R01|77|P|2.5\rOBX|1|ED|x||{data}||||||F\r\x1c\r").into_bytes()
}

#[test]
fn the_weightiest_finding_about_an_attachment_counts() {
    let pdf = STANDARD.encode(samples::synth(SynthFormat::Pdf));
    for left in 0..4 {
        // At 4n + 1 letters the base64 does not end either.
        let cut = &pdf[..pdf.len() / 2 / 4 * 4 + left];
        let found = inspect_bytes(&message(&format!("^application^pdf^Base64^{cut}")));
        assert_eq!(found.verdict, Verdict::Partial, "{left}: {}", found.summary());
        let fhir = format!(r#"{{"resourceType":"Binary","size":1,"data":"{cut}"}}"#);
        assert_eq!(inspect_bytes(fhir.as_bytes()).verdict, Verdict::Partial, "{left}");
    }
    // A count that differs, and behind it a document that is cut.
    let cut = &pdf[..pdf.len() / 2];
    let text = format!("BHS|^~\\&|\rMSH|^~\\&|A\rBTS|2\rMSH|^~\\&|A\rOBX|1|ED|x||^a^pdf^Base64^{cut}\r");
    assert_eq!(inspect_bytes(text.as_bytes()).verdict, Verdict::Partial);
}

#[test]
fn breaks_and_repetitions_in_a_document_are_tolerated() {
    let pdf = STANDARD.encode(samples::synth(SynthFormat::Pdf));
    let lines: Vec<&str> = pdf.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).expect("ascii")).collect();
    let one = format!("^application^pdf^Base64^{pdf}");
    let cut = format!("^application^pdf^Base64^{}", &pdf[..pdf.len() / 2]);
    for between in ["\\.br\\", "\\X0D\\", "\\X0D0A\\", "~", "\r\n"] {
        let data = format!("^application^pdf^Base64^{}", lines.join(between));
        let found = inspect_bytes(&message(&data));
        assert_eq!(found.verdict, Verdict::Complete, "{between}: {}", found.summary());
        let data = format!("^application^pdf^Base64^{}", lines[..lines.len() / 2].join(between));
        assert_eq!(inspect_bytes(&message(&data)).verdict, Verdict::Partial, "{between}");
    }
    let twice = |a: &str, b: &str| inspect_bytes(&message(&format!("{a}~{b}"))).verdict;
    assert_eq!(twice(&one, &one), Verdict::Complete);
    assert_eq!(twice(&one, &one.replacen("^", "CART^", 1)), Verdict::Complete);
    assert_eq!(twice(&one, &cut), Verdict::Partial);
    assert_eq!(twice(&cut, &one), Verdict::Partial);
    // What is no base64 stays so.
    assert_eq!(inspect_bytes(&message(&format!("{one}\\F\\"))).verdict, Verdict::Suspect);
    assert_eq!(inspect_bytes(&message(&format!("{one}!"))).verdict, Verdict::Suspect);
    // Other marks than usual.
    let other = String::from_utf8(message(&one)).expect("text").replace('^', "#").replace("#~\\&", "#*!%");
    assert_eq!(inspect_bytes(other.as_bytes()).verdict, Verdict::Complete);
}

/// Attachments of attachments are not opened: what is inside counts for the first level only.
#[test]
fn an_attachment_of_an_attachment_is_not_opened() {
    let pdf = samples::synth(SynthFormat::Pdf);
    let mut json = format!(r#"{{"data":"{}"}}"#, STANDARD.encode(&pdf[..pdf.len() / 2]));
    assert_eq!(inspect_bytes(json.as_bytes()).verdict, Verdict::Partial);
    for _ in 0..4 {
        json = format!(r#"{{"data":"{}"}}"#, STANDARD.encode(&json));
        assert_eq!(inspect_bytes(json.as_bytes()).verdict, Verdict::Complete);
    }
}

#[test]
fn a_file_of_messages_needs_no_batch() {
    let text = "FHS|^~\\&|ECG\rMSH|^~\\&|ECG|S|||1||ORU^R01|1|P|2.5.1\rPID|1\rFTS|1\r";
    assert_eq!(look(text.as_bytes()), (Format::Hl7v2, Verdict::Complete));
    no_cut_is_complete(text.trim_end().as_bytes());
    let more = format!("{text}MSH|^~\\&|ECG|S|||1||ORU^R01|2|P|2.5.1\r");
    assert_eq!(look(more.as_bytes()), (Format::Hl7v2, Verdict::Unverifiable));
}

#[test]
fn a_preamble_that_spells_its_name_out_is_one_too() {
    let whole = samples::mfer(true);
    assert!(whole.starts_with(b"\x40\x20MFR Standard 12 leads ECG       "));
    for name in [&b"\x40\x20MFER Standard 12 leads ECG      "[..], b"\x40\x20 MFER Standard 12 leads ECG     "] {
        let mut bytes = whole.clone();
        bytes[..name.len()].copy_from_slice(name);
        assert_eq!(look(&bytes), (Format::Mfer, Verdict::Complete));
        assert_eq!(look(&bytes[..bytes.len() - 3]), (Format::Mfer, Verdict::Partial));
    }
    assert_eq!(inspect_bytes(b"@ home: MFER").format, Format::Unknown);
}

#[test]
fn a_plain_archive_is_judged_as_a_compressed_one() {
    let whole = samples::tar("a.xml", &samples::cardiosoft());
    assert_eq!(look(&whole), (Format::Tar, Verdict::Complete));
    assert_eq!(inspect_bytes(&whole).identity, inspect_bytes(&samples::gzip(&whole)).identity);
    for cut in [512, 5000, whole.len() - 1024] {
        assert_eq!(look(&whole[..cut]), (Format::Tar, Verdict::Partial), "{cut}");
    }
    assert_eq!(inspect_bytes(&[&whole, &b"more"[..]].concat()).verdict, Verdict::Suspect);
    assert_eq!(
        look(&[&whole[..], &[0; 9000]].concat()),
        (Format::Tar, Verdict::Complete),
        "blocks of ten KiB are usual"
    );
    let mut hollow = samples::tar("a.dat", &samples::wave(20_000));
    hollow[8192..12_288].fill(0);
    assert_eq!(look(&hollow), (Format::Tar, Verdict::Suspect));
}

/// A deviation that devices are known for: no name, the words of the length swapped, pointers from zero, another sum, padded.
#[test]
fn a_record_that_only_looks_like_scp_cannot_be_judged() {
    let mut bytes = samples::synth(SynthFormat::Scp);
    let (low, high) = ([bytes[2], bytes[3]], [bytes[4], bytes[5]]);
    bytes[2..6].copy_from_slice(&[high, low].concat());
    bytes[0] ^= 0xFF;
    bytes[16..22].fill(0);
    for entry in bytes[22..22 + 120].chunks_exact_mut(10) {
        let index = u32::from_le_bytes([entry[6], entry[7], entry[8], entry[9]]);
        entry[6..].copy_from_slice(&index.saturating_sub(1).to_le_bytes());
    }
    bytes.resize(bytes.len().next_multiple_of(32_768), 0);
    assert_eq!(look(&bytes), (Format::Unknown, Verdict::Unverifiable));
}

/// A header and its one signal file.
struct Files<'a>(&'a [u8]);

impl WfdbFiles for Files<'_> {
    fn header(&self, _record: &str) -> Option<Header> {
        None
    }

    fn signal(&self, file: &SignalFile, frames: Option<u64>) -> Option<SampleSums> {
        let mut check = SampleCheck::new(file, frames.unwrap_or(0));
        check.push(self.0);
        Some(check.finish())
    }
}

/// Three samples of 10 bits share four bytes; writers fill the last four.
#[test]
fn the_last_unit_of_packed_samples_may_be_filled() {
    let verdict = |format: u32, samples: u32, bytes: &[u8]| {
        let header = format!("a 1 250 {samples}\na.dat {format} 200 10 0 0 0 0 I\n");
        wfdb_verdict(&Header::parse(header.as_bytes()).expect("a header"), &Files(bytes)).verdict
    };
    for (format, samples, least) in [(310, 4, 6), (310, 5, 8), (310, 6, 8), (311, 4, 6), (311, 5, 7), (311, 6, 8)] {
        for len in least..=8 {
            let want = if len == least || len == 8 { Verdict::Complete } else { Verdict::Suspect };
            assert_eq!(verdict(format, samples, &[0; 8][..len]), want, "{format} {samples} {len}");
        }
        assert_eq!(verdict(format, samples, &[0; 8][..least - 1]), Verdict::Partial, "{format} {samples}");
        assert_eq!(verdict(format, samples, &[0; 12]), Verdict::Suspect, "{format} {samples}");
    }
}

/// Writers of JSON escape letters of base64 (RFC 8259, 7): PHP the slash, .NET the plus, Gson the padding.
#[test]
fn escapes_in_an_attachment_are_letters_of_it() {
    // Every letter of base64, and padding.
    let bytes: Vec<u8> = (0..=255).chain(samples::synth(SynthFormat::Pdf)).chain([0xFB, 0xFF]).collect();
    let bytes = if bytes.len().is_multiple_of(3) { [&bytes[..], b"\n"].concat() } else { bytes };
    let pdf = samples::synth(SynthFormat::Pdf);
    let hash = STANDARD.encode(hex::decode("aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d").expect("digits"));
    assert!(hash.contains('='));
    let forms: [fn(&str) -> String; 6] = [
        |text| text.replace('/', "\\/"),
        |text| text.replace('+', "\\u002B").replace('/', "\\u002f"),
        |text| text.replace('=', "\\u003d"),
        |text| text.replace('A', "\\u0041\\u000a").replace('z', "\\r\\n\\tz"),
        |text| text.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect(),
        str::to_owned,
    ];
    let plain =
        inspect_bytes(format!(r#"{{"resourceType":"Binary","data":"{}"}}"#, STANDARD.encode(&bytes)).as_bytes());
    for (n, form) in forms.iter().enumerate() {
        let fhir = |bytes: &[u8], size: usize| {
            let data = form(&STANDARD.encode(bytes));
            format!(r#"{{"resourceType":"Binary","size":{size},"data":"{data}"}}"#).into_bytes()
        };
        let found = inspect_bytes(&fhir(&bytes, bytes.len()));
        assert_eq!((found.format, found.verdict), (Format::FhirJson, Verdict::Complete), "{n}: {}", found.summary());
        assert_eq!(found.identity, plain.identity, "{n}");
        assert_eq!(look(&fhir(&bytes, bytes.len() + 1)).1, Verdict::Malformed, "{n}");
        assert_eq!(look(&fhir(&pdf[..pdf.len() / 2], pdf.len() / 2)).1, Verdict::Partial, "{n}");
        no_cut_is_complete(&fhir(&bytes[..300], 300));
        let hashed = |hash: &str| {
            let text = format!(r#"{{"resourceType":"a","hash":"{}","size":"5","data":"aGVsbG8="}}"#, form(hash));
            inspect_bytes(text.as_bytes()).verdict
        };
        assert_eq!(hashed(&hash), Verdict::Complete, "{n}");
        assert_eq!(hashed(&hash.replacen('q', "r", 1)), Verdict::Malformed, "{n}");
    }
    for text in [r#"{"a":"\ud83d\ude00\u12\x"}"#, r#"{"a":"\u"}"#, r#"{"data":"\ud83d"}"#] {
        assert_eq!(look(text.as_bytes()), (Format::Json, Verdict::Complete), "{text}");
    }
}

#[test]
fn a_frame_whose_line_ends_were_exchanged_is_closed() {
    let text = "\x0bMSH|^~\\&|A|B|||1||ORU^R01|77|P|2.5\rOBX|1|TX|a||b\r\x1c\r";
    for line_end in ["\n", "\r\n"] {
        let text = text.replace('\r', line_end);
        assert_eq!(look(text.as_bytes()), (Format::Hl7v2Mllp, Verdict::Complete));
        no_cut_is_complete(&text.as_bytes()[..text.rfind('\x1c').expect("an end") + 1]);
    }
}

/// What comes behind a trailer may be the start of another batch.
#[test]
fn a_batch_is_not_over_when_more_is_there() {
    let one = "BHS|^~\\&|A\rMSH|^~\\&|A|B|||1||ORU^R01|1|P|2.5\rBTS|1\r";
    let two = format!("{one}{one}");
    assert_eq!(look(two.as_bytes()), (Format::Hl7v2, Verdict::Complete));
    for cut in one.len() + 1..two.len() - 2 {
        assert_ne!(look(&two.as_bytes()[..cut]).1, Verdict::Complete, "{cut}");
    }
    for more in ["B", "BH", "F", "MSH|^~\\&|A|B|||1||ORU^R01|2|P|2.5\r", "OBX|1|TX\r", "\x1a"] {
        assert_eq!(look(format!("{one}{more}").as_bytes()).1, Verdict::Unverifiable, "{more}");
        let file = format!("FHS|^~\\&|A\r{one}FTS|1\r{more}");
        assert_eq!(look(file.as_bytes()).1, Verdict::Unverifiable, "{more}");
    }
    for more in ["\r\n", "FTS|1\r"] {
        assert_eq!(look(format!("{one}{more}").as_bytes()).1, Verdict::Complete, "{more}");
    }
}

#[test]
fn a_document_in_several_observations_is_one() {
    let pdf = STANDARD.encode(samples::synth(SynthFormat::Pdf));
    let text = |parts: &[String]| {
        let parts = parts.join("\r");
        format!("\x0bMSH|^~\\&|A|B|||1||ORU^R01|77|P|2.5\rOBR|1\r{parts}\rNTE|1\r\x1c\r").into_bytes()
    };
    let observation = |name: &str, data: &str| format!("OBX|1|ED|{name}||^application^pdf^Base64^{data}||||||F");
    let whole = inspect_bytes(&text(&[observation("PDF^x", &pdf)]));
    assert_eq!(whole.verdict, Verdict::Complete);
    let bytes = STANDARD.decode(&pdf).expect("base64");
    let third = pdf.len() / 3;
    let letters = [&pdf[..third], &pdf[third..2 * third], &pdf[2 * third..]].map(str::to_owned);
    // Each with its own padding.
    let padded = [&bytes[..1000], &bytes[1000..1301], &bytes[1301..]].map(|part| STANDARD.encode(part));
    for pieces in [&letters, &padded] {
        let parts: Vec<String> = pieces.iter().map(|piece| observation("PDF^x", piece)).collect();
        let found = inspect_bytes(&text(&parts));
        assert_eq!(found.verdict, Verdict::Complete, "{}", found.summary());
        assert_eq!(found.identity, whole.identity);
        assert_eq!(look(&text(&parts[..2])).1, Verdict::Partial);
        assert_ne!(look(&text(&[parts[0].clone(), parts[2].clone()])).1, Verdict::Complete, "a piece is missing");
        no_cut_is_complete(text(&parts).strip_suffix(b"\x1c\r").expect("an end"));
        // Another name is another document, and so is another start.
        let other = observation("PDF^y", &pieces[1]);
        assert_eq!(look(&text(&[parts[0].clone(), other, parts[2].clone()])).1, Verdict::Partial);
        assert_eq!(look(&text(&[parts[0].clone(), observation("PDF^x", &pdf)])).1, Verdict::Partial);
    }
    let twice = [observation("PDF^x", &pdf), observation("PDF^x", &pdf)];
    assert_eq!(look(&text(&twice)).1, Verdict::Complete);
    let picture = STANDARD.encode([&b"\x89PNG\r\n\x1a\n"[..], &samples::wave(300)].concat());
    assert_eq!(look(&text(&[observation("PDF^x", &pdf), observation("PDF^x", &picture)])).1, Verdict::Complete);
    // A segment that goes on (2.10.2).
    let open = format!("OBX|1|ED|PDF^x||^application^pdf^Base64^{}", letters[0]);
    let more = format!("ADD|{}", letters[1]);
    let last = format!("ADD|{}||||||F", letters[2]);
    let found = inspect_bytes(&text(&[open.clone(), more.clone(), last.clone()]));
    assert_eq!((found.verdict, found.identity), (Verdict::Complete, whole.identity));
    assert_eq!(look(&text(&[open.clone(), more])).1, Verdict::Partial);
    assert_eq!(look(&text(&[observation("PDF^x", &letters[0]), last])).1, Verdict::Partial);
}
