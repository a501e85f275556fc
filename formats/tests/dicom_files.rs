//! DICOM data sets in every encoding, and what writers do with them.

mod samples;

use leadline_formats::synth::SynthFormat;
use leadline_formats::{Format, Verdict, inspect_bytes};
use samples::{look, no_cut_is_complete};

#[test]
fn foreign_bytes_behind_a_data_set_are_suspect() {
    for name in [SynthFormat::Dicom, SynthFormat::DicomPdf] {
        let whole = samples::synth(name);
        for behind in
            [&b"\r\n"[..], b"\n", b"\x1a", b"\r\n\r\n", b"\x08\0", b"\x08\0\x18\0U", b"no element", b"\r\n--part--\r\n"]
        {
            let found = inspect_bytes(&[&whole, behind].concat());
            assert_eq!(found.verdict, Verdict::Suspect, "{behind:?}: {}", found.summary());
        }
        // The start of an element that may follow.
        for behind in [&b"\xfc"[..], b"\xfc\xff", b"\xfc\xff\xfc", b"\xfc\xff\xfc\xffOB\0\0\x02\0"] {
            assert_eq!(inspect_bytes(&[&whole, behind].concat()).verdict, Verdict::Partial, "{behind:?}");
        }
    }
    // Bytes in the middle are no trailing ones.
    let mut broken = samples::synth(SynthFormat::Dicom);
    let at =
        broken.windows(8).position(|w| w == b"\x08\0\x18\0UI\x40\0" || &w[..6] == b"\x08\0\x18\0UI").expect("a UID");
    broken[at + 4..at + 6].copy_from_slice(b"\r\n");
    assert_eq!(inspect_bytes(&broken).verdict, Verdict::Malformed);
}

/// An element in explicit VR, little endian, with a short length.
fn explicit(tag: u32, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let len = (value.len() as u16).to_le_bytes();
    [&((tag >> 16) as u16).to_le_bytes()[..], &(tag as u16).to_le_bytes(), vr, &len, value].concat()
}

/// The same with a long one.
fn long(tag: u32, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let len = (value.len() as u32).to_le_bytes();
    [&((tag >> 16) as u16).to_le_bytes()[..], &(tag as u16).to_le_bytes(), vr, &[0, 0], &len, value].concat()
}

/// An element in implicit VR.
fn implicit(tag: u32, value: &[u8]) -> Vec<u8> {
    let len = (value.len() as u32).to_le_bytes();
    [&((tag >> 16) as u16).to_le_bytes()[..], &(tag as u16).to_le_bytes(), &len, value].concat()
}

fn file(syntax: &[u8], data: &[u8]) -> Vec<u8> {
    [&[0; 128], &b"DICM"[..], &explicit(0x0002_0010, b"UI", syntax), data].concat()
}

const EXPLICIT: &[u8] = b"1.2.840.10008.1.2.1\0";
const IMPLICIT: &[u8] = b"1.2.840.10008.1.2\0";
const ECG: &[u8] = b"1.2.840.10008.5.1.4.1.1.9.1.1\0";

/// One multiplex group of two channels.
fn group(element: fn(u32, &[u8; 2], &[u8]) -> Vec<u8>, words: fn(u32, &[u8; 2], &[u8]) -> Vec<u8>) -> Vec<u8> {
    [
        element(0x003A_0005, b"US", &2u16.to_le_bytes()),
        element(0x003A_0010, b"UL", &500u32.to_le_bytes()),
        element(0x5400_1004, b"US", &16u16.to_le_bytes()),
        words(0x5400_1010, b"OW", &samples::wave(2000)),
    ]
    .concat()
}

fn untyped(tag: u32, _vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    implicit(tag, value)
}

#[test]
fn a_waveform_of_a_type_not_known_to_a_writer_is_read() {
    let items = implicit(0xFFFE_E000, &group(untyped, untyped));
    let data = [explicit(0x0008_0016, b"UI", ECG), long(0x5400_0100, b"UN", &items)].concat();
    let whole = file(EXPLICIT, &data);
    assert_eq!(look(&whole), (Format::DicomWaveform, Verdict::Complete));
    no_cut_is_complete(&whole);
}

#[test]
fn a_data_set_that_is_not_in_the_syntax_it_names_is_read() {
    let items = implicit(0xFFFE_E000, &group(explicit, long));
    let data = [explicit(0x0008_0016, b"UI", ECG), long(0x5400_0100, b"SQ", &items)].concat();
    let whole = file(IMPLICIT, &data);
    assert_eq!(look(&whole), (Format::DicomWaveform, Verdict::Complete));
    no_cut_is_complete(&whole);
}

#[test]
fn a_vendors_own_class_is_what_it_holds() {
    let items = implicit(0xFFFE_E000, &group(explicit, long));
    let class = explicit(0x0008_0016, b"UI", b"1.3.46.670589.2.3.1.1\0");
    let whole = file(EXPLICIT, &[class.clone(), long(0x5400_0100, b"SQ", &items)].concat());
    assert_eq!(look(&whole), (Format::DicomWaveform, Verdict::Complete));
    no_cut_is_complete(&whole[..whole.len() - 1]);
    assert_eq!(look(&file(EXPLICIT, &class)), (Format::Dicom, Verdict::Unverifiable));
}

#[test]
fn a_data_set_that_nests_deeper_than_is_read_cannot_be_judged() {
    let mut data = explicit(0x0008_0016, b"UI", b"1.2.840.10008.5.1.4.1.1.88.11\0");
    for _ in 0..80 {
        data.extend(b"\x40\0\x30\xa7SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff");
    }
    for _ in 0..80 {
        data.extend(b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0");
    }
    assert_eq!(inspect_bytes(&file(EXPLICIT, &data)).verdict, Verdict::Unverifiable);
}

const BIG: &[u8] = b"1.2.840.10008.1.2.2\0";
const DEFLATED: &[u8] = b"1.2.840.10008.1.2.1.99";
const IMAGE: &[u8] = b"1.2.840.10008.5.1.4.1.1.7\0";

/// An element in explicit VR, big endian; the length of pixels and samples has four bytes.
fn big(tag: u32, vr: &[u8; 2], value: &[u8]) -> Vec<u8> {
    let len = if matches!(vr, b"OW" | b"SQ") {
        [&[0, 0][..], &(value.len() as u32).to_be_bytes()].concat()
    } else {
        (value.len() as u16).to_be_bytes().to_vec()
    };
    [&tag.to_be_bytes()[..], vr, &len, value].concat()
}

#[test]
fn a_waveform_is_the_same_in_every_encoding() {
    let class = |element: fn(u32, &[u8; 2], &[u8]) -> Vec<u8>| {
        [element(0x0008_0016, b"UI", ECG), element(0x0008_0018, b"UI", b"1.2.840.99999.1.2.3\0")].concat()
    };
    let items = implicit(0xFFFE_E000, &group(explicit, long));
    let little = [class(explicit), long(0x5400_0100, b"SQ", &items)].concat();
    let bare = [class(untyped), implicit(0x5400_0100, &implicit(0xFFFE_E000, &group(untyped, untyped)))].concat();
    let swapped: Vec<u8> = samples::wave(2000).chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
    let inner = [
        big(0x003A_0005, b"US", &2u16.to_be_bytes()),
        big(0x003A_0010, b"UL", &500u32.to_be_bytes()),
        big(0x5400_1004, b"US", &16u16.to_be_bytes()),
        big(0x5400_1010, b"OW", &swapped),
    ]
    .concat();
    let item = [&0xFFFE_E000u32.to_be_bytes()[..], &(inner.len() as u32).to_be_bytes(), &inner].concat();
    let turned = [class(big), big(0x5400_0100, b"SQ", &item)].concat();
    let files = [
        file(EXPLICIT, &little),
        file(IMPLICIT, &bare),
        file(BIG, &turned),
        file(DEFLATED, &samples::deflate(&little)),
    ];
    let want = inspect_bytes(&files[0]).identity;
    assert!(want.native.is_some() && want.waveform.is_some());
    for (n, whole) in files.iter().enumerate() {
        let found = inspect_bytes(whole);
        assert_eq!(
            (found.format, found.verdict),
            (Format::DicomWaveform, Verdict::Complete),
            "{n}: {}",
            found.summary()
        );
        assert_eq!(found.identity, want, "{n}");
        no_cut_is_complete(whole);
    }
    let foreign = [&files[3][..], b"\r\n"].concat();
    assert_eq!(inspect_bytes(&foreign).verdict, Verdict::Suspect);
}

#[test]
fn pixels_have_to_be_as_many_as_the_image_says() {
    let image = |pixels: &[u8], frames: &[u8]| {
        let parts = [
            explicit(0x0008_0016, b"UI", IMAGE),
            explicit(0x0028_0002, b"US", &3u16.to_le_bytes()),
            explicit(0x0028_0004, b"CS", b"RGB "),
            explicit(0x0028_0008, b"IS", frames),
            explicit(0x0028_0010, b"US", &20u16.to_le_bytes()),
            explicit(0x0028_0011, b"US", &15u16.to_le_bytes()),
            explicit(0x0028_0100, b"US", &8u16.to_le_bytes()),
            long(0x7FE0_0010, b"OW", pixels),
        ];
        file(EXPLICIT, &parts.concat())
    };
    let whole = image(&samples::wave(1800), b"2 ");
    assert_eq!(look(&whole), (Format::DicomImage, Verdict::Complete));
    no_cut_is_complete(&whole);
    assert_eq!(look(&image(&samples::wave(1798), b"2 ")).1, Verdict::Malformed);
    assert_eq!(look(&image(&samples::wave(1800), b"3 ")).1, Verdict::Malformed);
    assert_eq!(look(&[&whole, &b"\r\n"[..]].concat()).1, Verdict::Suspect);
}

/// PS3.3 A.33.7: a state refers to samples.
#[test]
fn a_presentation_state_of_waveforms_has_none() {
    for class in [&b"1.2.840.10008.5.1.4.1.1.9.100.1\0"[..], b"1.2.840.10008.5.1.4.1.1.9.100.2\0"] {
        let data = [explicit(0x0008_0016, b"UI", class), explicit(0x0070_0080, b"CS", b"AB")].concat();
        assert_eq!(look(&file(EXPLICIT, &data)), (Format::Dicom, Verdict::Unverifiable));
    }
}

#[test]
fn references_to_pixels_are_deflated_too() {
    let data = [explicit(0x0008_0016, b"UI", IMAGE), explicit(0x0008_0018, b"UI", b"1.2\0")].concat();
    for syntax in [DEFLATED, b"1.2.840.10008.1.2.4.95", b"1.2.840.10008.1.2.4.205\0"] {
        let whole = file(syntax, &samples::deflate(&data));
        assert_eq!(look(&whole), (Format::Dicom, Verdict::Unverifiable), "{syntax:?}");
        assert_eq!(look(&whole[..whole.len() - 1]).1, Verdict::Partial, "{syntax:?}");
    }
}

#[test]
fn the_file_meta_information_may_be_large_or_without_types() {
    let items = implicit(0xFFFE_E000, &group(explicit, long));
    let data = [explicit(0x0008_0016, b"UI", ECG), long(0x5400_0100, b"SQ", &items)].concat();
    let meta = |element: Vec<u8>| [&[0; 128], &b"DICM"[..], &element, &data].concat();
    let syntax = explicit(0x0002_0010, b"UI", EXPLICIT);
    let large = meta([syntax, long(0x0002_0102, b"OB", &samples::wave(70_000))].concat());
    let bare = meta([implicit(0x0002_0001, &[0, 1]), implicit(0x0002_0010, EXPLICIT)].concat());
    for whole in [&large, &bare] {
        assert_eq!(look(whole), (Format::DicomWaveform, Verdict::Complete));
        no_cut_is_complete(whole);
    }
    assert_eq!(look(&large[..9000]).1, Verdict::Partial);
    // Nothing else is that large.
    assert_eq!(look(&meta(long(0x0002_0016, b"OB", &samples::wave(70_000)))).1, Verdict::Malformed);
}

#[test]
fn an_element_without_a_type_is_read_over() {
    let items = implicit(0xFFFE_E000, &group(explicit, long));
    let whole = |vr: &[u8; 2], value: &[u8]| {
        let parts = [explicit(0x0008_0016, b"UI", ECG), explicit(0x0009_1010, vr, value)].concat();
        file(EXPLICIT, &[parts, long(0x5400_0100, b"SQ", &items)].concat())
    };
    for vr in [b"  ", b"\0\0", b"--", b"??"] {
        assert_eq!(look(&whole(vr, b"abcd")), (Format::DicomWaveform, Verdict::Complete), "{vr:?}");
        no_cut_is_complete(&whole(vr, b"abcd"));
    }
    assert_eq!(look(&whole(b"??", b"")).1, Verdict::Complete);
    assert_eq!(look(&whole(b"\0\0", b"")).1, Verdict::Unverifiable, "it may be unwritten");
    for vr in [b"lo", b" ?", b"\x04\0"] {
        assert_eq!(look(&whole(vr, b"abcd")).1, Verdict::Malformed, "{vr:?}");
    }
    // Blanks all over are no element.
    let padded = [&file(EXPLICIT, &explicit(0x0008_0016, b"UI", b"1.2\0"))[..], &[b' '; 40]].concat();
    assert_eq!(look(&padded).1, Verdict::Malformed);
}

/// PS3.3 C.7.6.3.1.2.
#[test]
fn pixels_that_share_colours_are_fewer() {
    for (name, len, verdict) in [
        (&b"YBR_FULL_422"[..], 600, Verdict::Complete),
        (b"YBR_PARTIAL_422 ", 600, Verdict::Complete),
        (b"YBR_PARTIAL_422 ", 598, Verdict::Malformed),
        (b"YBR_FULL", 600, Verdict::Malformed),
    ] {
        let parts = [
            explicit(0x0008_0016, b"UI", IMAGE),
            explicit(0x0028_0002, b"US", &3u16.to_le_bytes()),
            explicit(0x0028_0004, b"CS", name),
            explicit(0x0028_0010, b"US", &20u16.to_le_bytes()),
            explicit(0x0028_0011, b"US", &15u16.to_le_bytes()),
            explicit(0x0028_0100, b"US", &8u16.to_le_bytes()),
            long(0x7FE0_0010, b"OW", &samples::wave(len)),
        ];
        assert_eq!(look(&file(EXPLICIT, &parts.concat())).1, verdict, "{name:?} {len}");
    }
}
