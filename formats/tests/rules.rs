//! The rules of each format, by example.

mod samples;

use leadline_formats::synth::{Spec, SynthFormat};
use leadline_formats::{
    Evidence, Format, Inspection, Inspector, LOOK, Relation, Verdict, inspect, inspect_bytes, needs, quick_look, relate,
};

#[test]
fn whole_files_are_recognized_and_complete() {
    for sample in samples::all() {
        let inspection = inspect_bytes(&sample.bytes);
        assert_eq!(inspection.format, sample.format, "{}: {}", sample.name, inspection.summary());
        assert_eq!(inspection.verdict, sample.verdict, "{}: {}", sample.name, inspection.summary());
    }
}

#[test]
fn unknown_content_is_never_an_error() {
    for bytes in [&b"hello"[..], b"\x01\x02\x03", &[0xFF; 5000], b"<3 hearts", b"<html><body>", b"{not json"] {
        let inspection = inspect_bytes(bytes);
        assert_eq!(inspection.format, Format::Unknown);
        assert_eq!(inspection.verdict, Verdict::Unverifiable);
    }
}

#[test]
fn preallocated_and_empty_files_are_suspect() {
    assert_eq!(inspect_bytes(&[0; 10_000]).verdict, Verdict::Suspect);
    assert_eq!(inspect_bytes(&[]).verdict, Verdict::Suspect);
}

#[test]
fn fewer_bytes_than_announced_is_partial() {
    let bytes = samples::synth(SynthFormat::Scp);
    let mut inspector = Inspector::new(Some(bytes.len() as u64 + 1));
    inspector.push(&bytes);
    assert_eq!(inspector.finish().verdict, Verdict::Partial);
}

#[test]
fn seeking_and_streaming_agree() {
    for sample in samples::all() {
        let mut reader = std::io::Cursor::new(&sample.bytes);
        let seeking = inspect(&mut reader, sample.bytes.len() as u64).expect("memory");
        assert_eq!(seeking, inspect_bytes(&sample.bytes), "{}", sample.name);
    }
}

#[test]
fn the_result_survives_json() {
    for sample in samples::all() {
        let inspection = inspect_bytes(&sample.bytes[..sample.bytes.len() / 2]);
        let text = serde_json::to_string(&inspection).expect("serializable");
        assert_eq!(serde_json::from_str::<Inspection>(&text).expect("readable"), inspection);
    }
}

#[test]
fn a_recording_in_progress_is_partial() {
    let mut bytes = samples::synth(SynthFormat::Edf);
    bytes[236..244].copy_from_slice(b"-1      ");
    let inspection = inspect_bytes(&bytes);
    assert_eq!(inspection.verdict, Verdict::Partial);
    assert!(matches!(inspection.evidence[0], Evidence::InProgress { .. }));
}

/// EDF+ 2.2.2: sign, digits, 0x14; what the last list leaves is zero.
#[test]
fn an_annotation_list_that_is_none_is_suspect() {
    for format in [SynthFormat::Edf, SynthFormat::Bdf] {
        let whole = samples::synth(format);
        let list = whole.windows(5).position(|w| w == b"+0\x14\x14\0").expect("a list");
        for (at, byte) in [(0, b'0'), (0, 0), (1, b'x'), (1, b'\x14'), (2, 0), (2, b' '), (whole.len() - 1 - list, 7)] {
            let mut bytes = whole.clone();
            bytes[list + at] = byte;
            let found = inspect_bytes(&bytes);
            assert_eq!(found.verdict, Verdict::Suspect, "{format} {at} {byte}: {}", found.summary());
        }
        for (onset, verdict) in
            [(&b"+0.5\x1530\x14Rest\x14\0"[..], Verdict::Complete), (b"-1\x14\x14\0", Verdict::Complete)]
        {
            let mut bytes = whole.clone();
            bytes[list..list + onset.len()].copy_from_slice(onset);
            assert_eq!(inspect_bytes(&bytes).verdict, verdict, "{onset:?}");
        }
    }
}

#[test]
fn one_wrong_byte_shows_where_samples_have_a_checksum() {
    for (name, at) in [("scp", 2000usize), ("zip", 1000), ("gzip", 200), ("tgz", 200)] {
        let sample = samples::all().iter().find(|sample| sample.name == name).expect("known");
        let mut bytes = sample.bytes.clone();
        bytes[at] ^= 0x55;
        assert!(inspect_bytes(&bytes).verdict >= Verdict::Malformed, "{name}");
    }
}

#[test]
fn a_lead_with_another_checksum_is_malformed() {
    let text = String::from_utf8(samples::synth(SynthFormat::MuseXml)).expect("text");
    let open = "<LeadDataCRC32>";
    let at = text.find(open).expect("a checksum") + open.len();
    let changed = format!("{}1{}", &text[..at], &text[at..]);
    assert_eq!(inspect_bytes(changed.as_bytes()).verdict, Verdict::Malformed);
}

#[test]
fn a_document_type_declaration_is_skipped() {
    let text =
        b"<?xml version=\"1.0\"?><!DOCTYPE RestingECG SYSTEM \"http://host/restecg.dtd\"><RestingECG>&x;</RestingECG>";
    let inspection = inspect_bytes(text);
    assert_eq!((inspection.format, inspection.verdict), (Format::MuseXml, Verdict::Unverifiable));
}

#[test]
fn an_illegal_character_reference_is_malformed() {
    let text = b"<?xml version=\"1.0\"?><zqecg>&#x1;</zqecg>";
    assert_eq!(inspect_bytes(text).verdict, Verdict::Malformed);
    let text = b"<?xml version=\"1.0\"?><zqecg>&#x41; &amp; & AT&T</zqecg>";
    assert_eq!(inspect_bytes(text).verdict, Verdict::Complete);
}

#[test]
fn zero_bytes_after_the_end_are_suspect_and_inside_text_malformed() {
    for name in ["muse", "json", "mllp", "vendor", "pdf", "scp", "zip", "tgz", "edf", "mfer", "dicom"] {
        let sample = samples::all().iter().find(|sample| sample.name == name).expect("known");
        let mut bytes = sample.bytes.clone();
        bytes.resize(bytes.len() + 4096, 0);
        let inspection = inspect_bytes(&bytes);
        assert_eq!(inspection.verdict, Verdict::Suspect, "{name}: {}", inspection.summary());
    }
    let mut text = samples::vendor();
    text[200] = 0;
    assert_eq!(inspect_bytes(&text).verdict, Verdict::Malformed);
}

#[test]
fn an_open_frame_is_partial_and_a_bare_message_cannot_tell() {
    let framed = samples::mllp();
    assert_eq!(inspect_bytes(&framed[..framed.len() - 2]).verdict, Verdict::Partial);
    let bare = b"MSH|^~\\&|A|B|||20200101||ORU^R01|77|P|2.5\rPID|1\r";
    assert_eq!(inspect_bytes(bare).verdict, Verdict::Unverifiable);
    assert_eq!(inspect_bytes(&samples::batch()[..60]).verdict, Verdict::Partial);
}

#[test]
fn a_wrapped_attachment_is_read_over_its_line_breaks() {
    use base64::Engine as _;
    let pdf = base64::engine::general_purpose::STANDARD.encode(samples::synth(SynthFormat::Pdf));
    let lines: Vec<&str> = pdf.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).expect("ascii")).collect();
    let head = "\x0bMSH|^~\\&|A|B|||1||ORU^R01|77|P|2.5\rOBX|1|ED|x||^application^pdf^Base64^";
    let whole = format!("{head}{}||||||F\r\x1c\r", lines.join("\r\n"));
    assert_eq!(
        inspect_bytes(whole.as_bytes()).verdict,
        Verdict::Complete,
        "{}",
        inspect_bytes(whole.as_bytes()).summary()
    );
    let cut = format!("{head}{}||||||F\r\x1c\r", lines[..lines.len() / 2].join("\r\n"));
    assert_eq!(inspect_bytes(cut.as_bytes()).verdict, Verdict::Partial);
}

#[test]
fn the_size_of_a_fhir_attachment_must_hold() {
    let text =
        br#"{"resourceType":"DocumentReference","id":"a","content":[{"attachment":{"size":5,"data":"aGVsbG8="}}]}"#;
    assert_eq!(inspect_bytes(text).verdict, Verdict::Complete);
    let text = String::from_utf8_lossy(text).replace("\"size\":5", "\"size\":6");
    assert_eq!(inspect_bytes(text.as_bytes()).verdict, Verdict::Malformed);
}

#[test]
fn encodings_of_one_recording_merge_and_others_do_not() {
    let utf8 = inspect_bytes(samples::philips(12).as_bytes()).identity;
    let utf16 = inspect_bytes(&samples::utf16(&samples::philips(12), true)).identity;
    assert_eq!(relate(&utf8, &utf16), Relation::Merge);
    let other = inspect_bytes(samples::philips(11).as_bytes()).identity;
    assert_eq!(relate(&utf8, &other), Relation::Revision);
    let zipped = inspect_bytes(&samples::gzip(samples::philips(12).as_bytes())).identity;
    assert_eq!(relate(&utf8, &zipped), Relation::Merge);
    let edf = inspect_bytes(&samples::synth(SynthFormat::Edf)).identity;
    assert_eq!(relate(&utf8, &edf), Relation::Unrelated);
    assert_eq!(relate(&Default::default(), &Default::default()), Relation::Unrelated);
}

#[test]
fn an_annotated_ecg_needs_root_and_extension() {
    let aecg = |extension: &str, digits: &str| {
        let text = format!(
            "<?xml version=\"1.0\"?><AnnotatedECG xmlns=\"urn:hl7-org:v3\">\
             <id root=\"61d1a24f-b47e-41aa-ae95-f8ac302f4eeb\" extension=\"{extension}\"/>\
             <value><digits>{digits}</digits></value></AnnotatedECG>"
        );
        inspect_bytes(text.as_bytes()).identity
    };
    assert_eq!(relate(&aecg("s1", "1 2 3"), &aecg("s2", "1 2 3")), Relation::Link);
    assert_eq!(relate(&aecg("s1", "1 2 3"), &aecg("s1", " 1\n2  3 ")), Relation::Merge);
    assert_eq!(relate(&aecg("s1", "1 2 3"), &aecg("s1", "1 2 4")), Relation::Revision);
}

#[test]
fn words_where_samples_belong_are_no_waveform() {
    for (digits, expected) in
        [("1 -2 3.5", Verdict::Complete), ("", Verdict::Unverifiable), ("lead off", Verdict::Unverifiable)]
    {
        let text =
            format!("<AnnotatedECG xmlns=\"urn:hl7-org:v3\"><value><digits>{digits}</digits></value></AnnotatedECG>");
        let inspection = inspect_bytes(text.as_bytes());
        assert_eq!(inspection.verdict, expected, "{digits:?}: {:?}", inspection.evidence);
        assert_eq!(inspection.identity.waveform.is_some(), expected == Verdict::Complete, "{digits:?}");
    }
}

/// Neither whole contents nor broken ones: a cut or a wrong byte makes parsers speak of what they met.
#[test]
fn no_text_of_a_content_leaks() {
    let patient = Spec::new(11).patient.expect("the default has one");
    let birth = patient.birth.expect("and is born");
    let dates: Vec<String> = ["%Y%m%d", "%Y-%m-%d", "%d.%m.%Y"].map(|form| birth.format(form).to_string()).into();
    let mut words = vec!["ACME", "PageWriter", "subject", "Synth", &patient.family, &patient.given, &patient.id];
    words.extend(dates.iter().map(String::as_str));
    for word in &words[4..8] {
        assert!(samples::all().iter().any(|s| memmem(&s.bytes, word.as_bytes())), "{word} is in none");
    }
    for sample in samples::all() {
        let len = sample.bytes.len();
        let mut copies = vec![sample.bytes.clone()];
        copies.extend((1..40).map(|n| sample.bytes[..len * n / 40].to_vec()));
        copies.extend((1..60).map(|n| {
            let mut copy = sample.bytes.clone();
            // Most damage goes to the start, where the names are.
            copy[len * n * n / 3600] ^= 0x15;
            copy
        }));
        for copy in &copies {
            let inspection = inspect_bytes(copy);
            let text =
                format!("{} {}", serde_json::to_string(&inspection).expect("serializable"), inspection.summary());
            // Digests hold digits, too, and by chance those of a date.
            let plain = |word: &&str| word.len() < 32 || !word.bytes().all(|c| c.is_ascii_alphanumeric() || c == b':');
            let text = text.split('"').filter(plain).collect::<Vec<_>>().join("\"");
            for word in &words {
                assert!(!text.contains(word), "{}: {word} in {text}", sample.name);
            }
        }
    }
}

fn memmem(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

#[test]
fn a_quick_look_never_says_more_than_the_inspection() {
    for sample in samples::all() {
        let bytes = &sample.bytes;
        for eighth in 1..=8 {
            let cut = &bytes[..bytes.len() * eighth / 8];
            let want = needs(&cut[..cut.len().min(4096)]);
            assert!(want.head <= LOOK && want.tail <= LOOK);
            for head in [512u64, want.head] {
                let head = &cut[..cut.len().min(head as usize)];
                let tail = &cut[cut.len() - cut.len().min(want.tail as usize)..];
                if let Some(quick) = quick_look(head, tail, cut.len() as u64) {
                    let full = inspect_bytes(cut);
                    assert_eq!(full.verdict, Verdict::Partial, "{} {eighth}/8 {}", sample.name, quick.summary());
                }
            }
        }
    }
}

/// Large texts and archives that are still being written show it in their last bytes.
#[test]
fn a_quick_look_finds_missing_end_marks() {
    let muse = samples::synth(SynthFormat::MuseXml);
    let aecg = samples::synth(SynthFormat::Aecg);
    let fhir = samples::synth(SynthFormat::Fhir);
    let json = [&b"[1"[..], &b", 1".repeat(60_000), b"]\n"].concat();
    let zip = streamed(400_000);
    for (name, whole) in [("muse", muse), ("aecg", aecg), ("fhir", fhir), ("json", json), ("zip", zip)] {
        let look = |bytes: &[u8]| {
            let ends = bytes.len().min(LOOK as usize);
            quick_look(&bytes[..ends.min(bytes.len() - 1)], &bytes[bytes.len() - ends..], bytes.len() as u64)
        };
        assert_eq!(look(&whole), None, "{name}");
        let mut open = whole[..whole.len() - 40].to_vec();
        while matches!(open.last(), Some(b'>' | b'}' | b']')) || open.ends_with(b"PK") {
            open.pop();
        }
        let looked = look(&open).map(|inspection| (inspection.verdict, inspection.format));
        let full = inspect_bytes(&open);
        assert_eq!(looked, Some((full.verdict, full.format)), "{name}: {}", full.summary());
        assert_eq!(full.verdict, Verdict::Partial, "{name}");
        // Padding is for those who read it all.
        open.extend([0; 100]);
        assert_eq!(look(&open), None, "{name}");
    }
    // Volumes of a split archive, UTF-16 and texts of no known kind have other ends.
    let volume = [&b"PK\x07\x08"[..], &streamed(400_000)[..300_000]].concat();
    let wide = samples::utf16(&samples::philips(200), false);
    let other = format!("<?xml version=\"1.0\"?><a>{}", "1 ".repeat(90_000)).into_bytes();
    for bytes in [volume, wide, other] {
        let ends = LOOK as usize;
        assert_eq!(quick_look(&bytes[..ends], &bytes[bytes.len() - ends..], bytes.len() as u64), None);
    }
}

/// An archive of one stored member.
fn streamed(len: usize) -> Vec<u8> {
    let data = samples::wave(len);
    let common = [&[0; 4][..], &crc32fast::hash(&data).to_le_bytes(), &(len as u32).to_le_bytes().repeat(2)].concat();
    let local = [b"PK\x03\x04\x14\0\0\0\0\0", &common[..], &[1, 0, 0, 0], b"a", &data].concat();
    let directory = [b"PK\x01\x02\x14\0\x14\0\0\0\0\0", &common[..], &[1, 0], &[0; 16], b"a"].concat();
    let places = [(directory.len() as u32).to_le_bytes(), (local.len() as u32).to_le_bytes()].concat();
    [local, directory, b"PK\x05\x06\0\0\0\0\x01\0\x01\0".to_vec(), places, vec![0; 2]].concat()
}

#[test]
fn a_quick_look_finds_declared_lengths() {
    for name in ["scp", "edf", "bdf", "hdf5", "mat4", "dicom"] {
        let sample = samples::all().iter().find(|sample| sample.name == name).expect("known");
        let cut = &sample.bytes[..sample.bytes.len() - 1];
        let head = &cut[..cut.len().min(64 << 10).min(cut.len() / 2).max(4096).min(cut.len())];
        let looked = quick_look(head, &cut[cut.len() - 100..], cut.len() as u64);
        assert_eq!(looked.map(|inspection| inspection.verdict), Some(Verdict::Partial), "{name}");
    }
}

/// XML 1.0, 4.1: a line break of another system is a reference, and white space between the letters of base64.
#[test]
fn references_in_the_data_of_a_lead_are_resolved() {
    let philips = samples::philips(12);
    let at = philips.find("numberofleads").expect("an attribute");
    let at = at + philips[at..].find('>').expect("an end") + 101;
    let muse = String::from_utf8(samples::synth(SynthFormat::MuseXml)).expect("text");
    let lead = muse.find("<WaveFormData>\n").expect("a lead") + 100;
    let mortara = String::from_utf8(samples::mortara()).expect("text");
    let data = mortara.find("DATA=\"").expect("a channel") + 106;
    for (name, text, at) in [("philips", philips, at), ("muse", muse, lead), ("mortara", mortara, data)] {
        let plain = inspect_bytes(text.as_bytes());
        assert_eq!(plain.verdict, Verdict::Complete, "{name}");
        for reference in ["&#13;\n", "&#xD;&#xA;", "&#10;", "&#32;", "&#9;"] {
            let changed = format!("{}{reference}{}", &text[..at], &text[at..]);
            let found = inspect_bytes(changed.as_bytes());
            assert_eq!(found.verdict, Verdict::Complete, "{name} {reference}: {}", found.summary());
            assert_eq!(found.identity, plain.identity, "{name} {reference}");
        }
        // A letter of base64 is one; other characters are none.
        let letter = format!("{}&#{};{}", &text[..at], text.as_bytes()[at], &text[at + 1..]);
        assert_eq!(inspect_bytes(letter.as_bytes()), Inspection { ..plain.clone() }, "{name}");
        let other = format!("{}&amp;{}", &text[..at], &text[at..]);
        assert_eq!(inspect_bytes(other.as_bytes()).verdict, Verdict::Malformed, "{name}");
    }
}

#[test]
fn markup_in_front_of_other_bytes_proves_nothing() {
    let other = samples::wave(4000);
    let hollow = [&other[..2000], &[0; 100], &other[..900]].concat();
    for behind in [&other, &hollow] {
        let head = &b"<Header>\r\n <Rate>500</Rate>\r\n</Header>\r\n"[..];
        assert_eq!(inspect_bytes(&[head, behind].concat()).verdict, Verdict::Unverifiable);
        assert_eq!(inspect_bytes(&[&b"<ECGDATA v=1>"[..], behind].concat()).verdict, Verdict::Unverifiable);
        let declared = [&b"<?xml version=\"1.0\"?>"[..], head, behind].concat();
        assert_eq!(inspect_bytes(&declared).verdict, Verdict::Malformed);
        assert_eq!(inspect_bytes(&[&b"<zqecg/>"[..], behind].concat()).verdict, Verdict::Malformed);
    }
    assert_eq!(inspect_bytes(b"<a>1</a> and more").verdict, Verdict::Unverifiable);
}

/// A script's warning is markup of no known root.
#[test]
fn a_pdf_behind_a_piece_of_markup_is_one() {
    let pdf = samples::synth(SynthFormat::Pdf);
    for before in ["<br />\n<b>Warning</b>: x in y.php on line 1<br />\n", "<p>done</p>", "<!-- a page -->\n"] {
        let bytes = [before.as_bytes(), &pdf].concat();
        let found = inspect_bytes(&bytes);
        assert_eq!((found.format, found.verdict), (Format::Pdf, Verdict::Complete), "{before}: {}", found.summary());
        assert_eq!(inspect_bytes(&bytes[..bytes.len() - 8]).verdict, Verdict::Partial, "{before}");
    }
    for xml in ["<?xml version=\"1.0\"?><a>%PDF-1.4</a>", "<zqecg>%PDF-1.4</zqecg>"] {
        assert_ne!(inspect_bytes(xml.as_bytes()).format, Format::Pdf, "{xml}");
    }
}

/// What a channel of texts appends has one byte a character.
#[test]
fn a_line_end_of_one_byte_behind_utf_16_is_suspect() {
    for little in [true, false] {
        let whole = samples::utf16(&samples::philips(2), little);
        for behind in [&b"\n"[..], b"\r", b"\r\n", b"\n\n"] {
            let found = inspect_bytes(&[&whole, behind].concat());
            assert_eq!(found.verdict, Verdict::Suspect, "{behind:?}: {}", found.summary());
            assert_eq!(found.format, Format::PhilipsXml);
            let open = [&whole[..whole.len() - 2], behind].concat();
            assert_eq!(inspect_bytes(&open).verdict, Verdict::Partial, "{behind:?}");
        }
        for text in ["\n", "\r\n", "\n\r"] {
            let text = samples::utf16(&(samples::philips(2) + text), little);
            assert_eq!(inspect_bytes(&text).verdict, Verdict::Complete);
        }
        assert_eq!(inspect_bytes(&[&whole[..], b">"].concat()).verdict, Verdict::Partial);
        assert_eq!(inspect_bytes(&[&whole[..], b">\n"].concat()).verdict, Verdict::Malformed);
    }
}

/// RFC 1468: between `ESC $` and `ESC (` the bytes of `<`, `&` and quotes are halves of characters.
#[test]
fn two_byte_codes_are_no_markup() {
    let name = "\x1b$B<1\"&>>==<\x1b(B and \x1b$(D<&&<\x1b(B";
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"iso-2022-jp\"?><AnnotatedECG><id root=\"1.2\"/><name use='{name}'>{name}</name>\
         <digits>1 2 3</digits></AnnotatedECG>\n"
    );
    let found = inspect_bytes(text.as_bytes());
    assert_eq!((found.format, found.verdict), (Format::Aecg, Verdict::Complete), "{}", found.summary());
    samples::no_cut_is_complete(text.trim_end().as_bytes());
    let wrong = text.replace("</name>", "</nom>");
    assert_eq!(inspect_bytes(wrong.as_bytes()).verdict, Verdict::Malformed);
    assert_ne!(inspect_bytes(text.replace("iso-2022-jp", "utf-8").as_bytes()).verdict, Verdict::Complete);
}

/// ISO 32000-1, 7.3.10: an object has two numbers.
#[test]
fn a_text_behind_a_pdf_that_speaks_of_objects_opens_none() {
    let pdf = samples::synth(SynthFormat::Pdf);
    let look = |behind: &str| {
        let bytes = [&pdf, behind.as_bytes()].concat();
        let tail = bytes.len() - 4096.min(bytes.len());
        let quick = quick_look(&bytes[..4096.min(bytes.len() - 1)], &bytes[tail..], bytes.len() as u64);
        (inspect_bytes(&bytes).verdict, quick.is_some())
    };
    let far = "-".repeat(5000);
    for text in
        ["<!-- an object cache, <b>1 object</b> -->", "12 0 object", "1 obj", "a 0 obj ", "12 a obj", "12 obj 0 obj"]
    {
        assert_eq!(look(&format!("{text}\n")), (Verdict::Suspect, false), "{text}");
        assert_eq!(look(&format!("{far}{text}\n")), (Verdict::Suspect, false), "{text}");
    }
    for text in ["12 0 obj", "12 0 obj\n<<", "12\r\n0 obj<</A 1>>", "12 00000 obj[1]"] {
        assert_eq!(look(&format!("{text}\n")).0, Verdict::Partial, "{text}");
        assert_eq!(look(&format!("{far}\n{text}\n")), (Verdict::Partial, true), "{text}");
    }
}
