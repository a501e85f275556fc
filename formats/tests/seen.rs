//! What real files did that no specification foretells: a made-up file in place of each.

mod samples;

use leadline_formats::synth::{Spec, SynthFormat};
use leadline_formats::{Format, Verdict, inspect_bytes};

/// An element in implicit VR, little endian.
fn implicit(tag: u32, len: u32, value: &[u8]) -> Vec<u8> {
    [&((tag >> 16) as u16).to_le_bytes()[..], &(tag as u16).to_le_bytes(), &len.to_le_bytes(), value].concat()
}

/// A head in explicit VR whose transfer syntax is explicit too, and a data set that is not.
fn mistaken(data: &[u8]) -> Vec<u8> {
    let syntax = b"1.2.840.10008.1.2.4.50";
    let meta = [&[2, 0, 0x10, 0], &b"UI"[..], &(syntax.len() as u16).to_le_bytes(), syntax].concat();
    let len = [&[2, 0, 0, 0], &b"UL"[..], &[4, 0], &(meta.len() as u32).to_le_bytes()].concat();
    [&[0; 128], &b"DICM"[..], &len, &meta, data].concat()
}

#[test]
fn compressed_pixels_in_implicit_vr_are_fragments() {
    let class = b"1.2.840.10008.5.1.4.1.1.7\0";
    let mut data = implicit(0x0008_0016, class.len() as u32, class);
    for tag in [0x0028_0010, 0x0028_0011] {
        data.extend(implicit(tag, 2, &[20, 0]));
    }
    data.extend(implicit(0x7FE0_0010, u32::MAX, &[]));
    data.extend(implicit(0xFFFE_E000, 0, &[]));
    let pixels = samples::wave(1000);
    data.extend(implicit(0xFFFE_E000, 1000, &pixels));
    data.extend(implicit(0xFFFE_E0DD, 0, &[]));
    let bytes = mistaken(&data);
    let whole = inspect_bytes(&bytes);
    assert_eq!((whole.format, whole.verdict), (Format::DicomImage, Verdict::Complete), "{}", whole.summary());
    for cut in [bytes.len() - 1, bytes.len() - 8, bytes.len() - 9, bytes.len() - 500] {
        assert_eq!(inspect_bytes(&bytes[..cut]).verdict, Verdict::Partial, "{cut}");
    }
}

#[test]
fn a_table_of_numbers_is_no_wfdb_header() {
    for table in ["# coils\n3 3012 2 4 1.0e-02\n1.0 0.0 0.0 0.5\n", "3 3012 2\n1 0.5 0.25\n", "a 1 2\nx 16,5\n"] {
        let found = inspect_bytes(table.as_bytes());
        assert_eq!((found.format, found.verdict), (Format::Unknown, Verdict::Unverifiable), "{table}");
    }
    for header in ["a 1 250 10\na.dat 212x2:1+24 200 11 1024 995 -22131 0 I\n", "a/2 1 250 20\na1 10\na2 10\n"] {
        assert_eq!(inspect_bytes(header.as_bytes()).format, Format::WfdbHeader, "{header}");
    }
}

/// First and second differences (EN 1064 5.9.4) are the same samples, and the trace says so.
#[test]
fn differences_of_scp_samples_have_the_same_trace() {
    let plain = SynthFormat::Scp.write(&Spec::new(6)).unwrap().remove(0).bytes;
    let u32_at = |at: usize| u32::from_le_bytes(plain[at..at + 4].try_into().unwrap()) as usize;
    let rhythm = u32_at(22 + 6 * 10 + 6) - 1 + 16;
    let first = rhythm + 6 + 2 * 12;
    let sample = |n: usize| i16::from_le_bytes([plain[first + 2 * n], plain[first + 2 * n + 1]]);
    let want = inspect_bytes(&plain).identity.trace;
    assert!(want.is_some());
    for order in [1u8, 2] {
        let mut other = plain.clone();
        other[rhythm + 4] = order;
        for n in usize::from(order)..5000 {
            let step = match order {
                1 => sample(n) - sample(n - 1),
                _ => sample(n) - 2 * sample(n - 1) + sample(n - 2),
            };
            other[first + 2 * n..first + 2 * n + 2].copy_from_slice(&step.to_le_bytes());
        }
        assert_eq!(inspect_bytes(&other).identity.trace, want, "differences of order {order}");
    }
}

/// Data Set Trailing Padding (PS3.10 7.2) is no unwritten tail; zero bytes before it, and behind it, are.
#[test]
fn trailing_padding_of_dicom_is_complete() {
    let plain = samples::synth(SynthFormat::Dicom);
    let padding =
        |len: u32| [&[0xFC, 0xFF, 0xFC, 0xFF], &b"OB\0\0"[..], &len.to_le_bytes(), &vec![0; len as usize]].concat();
    for len in [126, 10_000] {
        let mut padded = plain.clone();
        padded.extend(padding(len));
        let whole = inspect_bytes(&padded);
        assert_eq!((whole.format, whole.verdict), (Format::DicomWaveform, Verdict::Complete), "{}", whole.summary());
        assert_eq!(inspect_bytes(&padded[..padded.len() - 2]).verdict, Verdict::Partial);
        let behind = [&padded[..], &[0; 100]].concat();
        assert_eq!(inspect_bytes(&behind).verdict, Verdict::Suspect);
        padded[plain.len() - 200..].fill(0);
        assert_ne!(inspect_bytes(&padded).verdict, Verdict::Complete);
    }
}

/// A member of a method that is not read (APPNOTE 4.4.5) may hold anything: the archive cannot be vouched for.
#[test]
fn members_that_are_not_read_prove_nothing() {
    let data = samples::wave(20_000);
    for (method, flags) in [(12u16, 0u16), (14, 0), (93, 0), (8, 1)] {
        let shared = [
            &flags.to_le_bytes()[..],
            &method.to_le_bytes(),
            &[0; 4],
            &0xDEAD_BEEFu32.to_le_bytes(),
            &(data.len() as u32).to_le_bytes(),
            &90_000u32.to_le_bytes(),
            &1u16.to_le_bytes(),
            &[0; 2],
        ]
        .concat();
        let local = [&b"PK\x03\x04\x2e\0"[..], &shared, b"a", &data].concat();
        let directory = [&b"PK\x01\x02\x2e\0\x2e\0"[..], &shared, &[0; 14], b"a"].concat();
        let end = [
            &b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..],
            &(directory.len() as u32).to_le_bytes(),
            &(local.len() as u32).to_le_bytes(),
            &[0; 2],
        ]
        .concat();
        let mut bytes = [local, directory, end].concat();
        let whole = inspect_bytes(&bytes);
        assert_eq!(
            (whole.format, whole.verdict),
            (Format::Zip, Verdict::Unverifiable),
            "{method}: {}",
            whole.summary()
        );
        assert_eq!(inspect_bytes(&bytes[..bytes.len() - 30]).verdict, Verdict::Partial);
        bytes[4096..8192].fill(0);
        assert_ne!(inspect_bytes(&bytes).verdict, Verdict::Complete);
    }
}

/// Carts compress with the default Huffman codes: the same samples again.
#[test]
fn compressed_scp_samples_have_the_same_trace() {
    let plain = SynthFormat::Scp.write(&Spec::new(6)).unwrap().remove(0).bytes;
    let u32_at = |at: usize| u32::from_le_bytes(plain[at..at + 4].try_into().unwrap()) as usize;
    let rhythm = u32_at(22 + 6 * 10 + 6) - 1 + 16;
    let first = rhythm + 6 + 2 * 12;
    let sample = |n: usize| i32::from(i16::from_le_bytes([plain[first + 2 * n], plain[first + 2 * n + 1]]));
    let step = |n: usize| if n < 2 { sample(n) } else { sample(n) - 2 * sample(n - 1) + sample(n - 2) };
    let mut bits = String::new();
    for n in 0..5000 {
        match step(n) {
            0 => bits.push('0'),
            v @ -8..=8 => bits.push_str(&format!("{}0{}", "1".repeat(v.unsigned_abs() as usize), i32::from(v < 0))),
            v @ -128..=127 => bits.push_str(&format!("1111111110{:08b}", v as i8)),
            v => bits.push_str(&format!("1111111111{:016b}", v as i16)),
        }
    }
    let coded: Vec<u8> = bits
        .as_bytes()
        .chunks(8)
        .map(|eight| eight.iter().enumerate().fold(0, |byte, (i, bit)| byte | (bit - b'0') << (7 - i)))
        .collect();
    assert!(coded.len() <= 10_000, "it fits in place of the plain samples");
    let mut packed = plain.clone();
    packed[rhythm + 4] = 2;
    packed[first..first + coded.len()].copy_from_slice(&coded);
    // A pointer to section 2 leads to two bytes behind a section header: the padding behind the coded samples.
    let section = first + 10_000 - 18;
    packed[section..section + 18].copy_from_slice(&[0, 0, 2, 0, 18, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x1F, 0x4E]);
    packed[22 + 2 * 10 + 2..22 + 2 * 10 + 6].copy_from_slice(&18u32.to_le_bytes());
    packed[22 + 2 * 10 + 6..22 + 2 * 10 + 10].copy_from_slice(&(section as u32 + 1).to_le_bytes());
    let want = inspect_bytes(&plain).identity.trace;
    assert!(want.is_some());
    assert_eq!(inspect_bytes(&packed).identity.trace, want);
    // Without the table they are other samples; with another table nothing is known of them.
    let mut other = packed.clone();
    other[section + 16] = 1;
    assert_eq!(inspect_bytes(&other).identity.trace, None);
}

fn atom(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
}

#[test]
fn a_segment_of_a_stream_has_no_movie() {
    let parts = [
        atom(b"styp", b"msdh\0\0\0\0msdhmsix"),
        atom(b"sidx", &[0; 32]),
        atom(b"moof", &atom(b"mfhd", &[0, 0, 0, 0, 0, 0, 0, 1])),
        atom(b"mdat", &samples::wave(3000)),
    ];
    let segment = parts.concat();
    assert_eq!(samples::look(&segment), (Format::Mp4, Verdict::Unverifiable));
    assert_eq!(samples::look(&segment[..segment.len() - 1]).1, Verdict::Partial);
    assert_eq!(samples::look(&parts[..2].concat()).1, Verdict::Partial);
    // The segment of a file names its movie first.
    let film = [atom(b"ftyp", b"isom\0\0\0\x01isom"), parts[2].clone(), parts[3].clone()].concat();
    assert_eq!(samples::look(&film).1, Verdict::Partial);
}

/// Compressed sound in QuickTime counts samples (here 64 in 34 bytes) and gives each the size of one.
#[test]
fn samples_of_compressed_sound_are_no_bytes() {
    let full = |kind: &[u8; 4], words: &[u32]| {
        atom(kind, &words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>())
    };
    let head = [atom(b"ftyp", b"qt  \0\0\x02\0qt  "), atom(b"wide", b"")].concat();
    let film = |samples: u32, at: u32| {
        let tables =
            [full(b"stco", &[0, 1, at]), full(b"stsc", &[0, 1, 1, samples, 1]), full(b"stsz", &[0, 1, samples])]
                .concat();
        let track = atom(b"trak", &atom(b"mdia", &atom(b"minf", &atom(b"stbl", &tables))));
        [&head[..], &atom(b"mdat", &samples::wave(3400)), &atom(b"moov", &track)].concat()
    };
    let at = head.len() as u32 + 8;
    assert_eq!(samples::look(&film(6400, at)), (Format::Mp4, Verdict::Complete));
    // A chunk behind the end is one all the same.
    assert_eq!(samples::look(&film(6400, 9000)).1, Verdict::Partial);
}

#[test]
fn zero_bytes_behind_boxes_and_matrices_are_suspect() {
    for (name, whole) in [
        ("mp4", samples::mp4(true)),
        ("mp4-moov-last", samples::mp4(false)),
        ("mat4", samples::mat4()),
        ("mat5", samples::mat5()),
    ] {
        for pad in [20, 64, 512, 5000] {
            let mut copy = whole.clone();
            copy.resize(copy.len() + pad, 0);
            let found = inspect_bytes(&copy);
            assert_eq!(found.verdict, Verdict::Suspect, "{name} {pad}: {}", found.summary());
            copy.push(1);
            assert_eq!(inspect_bytes(&copy).verdict, Verdict::Malformed, "{name} {pad}");
        }
        // Inside what is declared they are no foreign ones.
        let mut short = whole[..whole.len() - 100].to_vec();
        short.resize(short.len() + 80, 0);
        assert_eq!(inspect_bytes(&short).verdict, Verdict::Partial, "{name}");
    }
}

/// GNU tar: the map of a sparse file goes on behind its header (byte 482), 21 entries a block (byte 504).
#[test]
fn the_map_of_a_sparse_member_is_no_content() {
    let plain = samples::tar("a.xml", &samples::cardiosoft());
    let sparse = |blocks: usize| {
        let content = samples::wave(3000);
        let mut header = samples::tar("h.bin", &content);
        header.truncate(512 + 3072);
        (header[156], header[482]) = (b'S', u8::from(blocks > 0));
        header[257..265].copy_from_slice(b"ustar  \0");
        sum(&mut header[..512], i64::from);
        let mut map = samples::wave(512 * blocks);
        for (n, block) in map.chunks_exact_mut(512).enumerate() {
            block[504] = u8::from(n + 1 < blocks);
        }
        [&header[..512], &map, &header[512..], &plain].concat()
    };
    for blocks in [0, 1, 3] {
        let whole = sparse(blocks);
        assert_eq!(samples::look(&whole), (Format::Tar, Verdict::Complete), "{blocks}");
        assert_eq!(samples::look(&samples::gzip(&whole)), (Format::TarGzip, Verdict::Complete), "{blocks}");
        samples::no_cut_is_complete(&whole[..whole.len() - 1024]);
        for cut in [520, 1100, 2000] {
            assert_eq!(samples::look(&whole[..cut]), (Format::Tar, Verdict::Partial), "{blocks} {cut}");
        }
    }
}

/// Sets the sum of a header.
fn sum(header: &mut [u8], value: fn(u8) -> i64) {
    header[148..156].fill(b' ');
    let sum: i64 = header.iter().map(|byte| value(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

#[test]
fn a_sum_over_signed_bytes_is_one_too() {
    let mut archive = samples::tar("M\u{fc}ller.xml", &samples::cardiosoft());
    sum(&mut archive[..512], |byte| i64::from(byte as i8));
    assert_eq!(samples::look(&archive), (Format::Tar, Verdict::Complete));
    archive[0] ^= 1;
    assert_eq!(samples::look(&archive).1, Verdict::Malformed);
}
