//! Memory and time over contents made to cost much: huge declared lengths, deep nesting, many members, bombs.

use std::io::Write;
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use leadline_formats::Inspector;
use peak_alloc::PeakAlloc;

#[global_allocator]
static HELD: PeakAlloc = PeakAlloc;

/// What the crate promises beyond the buffer of its caller.
const BOUND: usize = 16 << 20;
const PIECE: usize = 64 << 10;

/// A name, and the content of about this many bytes.
type Maker = (&'static str, fn(usize) -> Vec<u8>);

fn repeated(head: &[u8], unit: &[u8], len: usize) -> Vec<u8> {
    let mut out = head.to_vec();
    while out.len() < len {
        out.extend_from_slice(unit);
    }
    out
}

/// Numbered pieces, so that no two are the same.
fn numbered(head: &[u8], len: usize, unit: impl Fn(u32) -> Vec<u8>) -> Vec<u8> {
    let (mut out, mut number) = (head.to_vec(), 0);
    while out.len() < len {
        out.extend(unit(number));
        number += 1;
    }
    out
}

fn atom(kind: &[u8], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
}

fn film(len: usize) -> Vec<u8> {
    // One track with as many chunks as fit the largest movie box that is read, and then more boxes.
    let entries = len.min(4 << 20).saturating_sub(200) / 4;
    let offsets: Vec<u8> = (0..entries as u32).flat_map(u32::to_be_bytes).collect();
    let table = atom(b"stco", &[&[0; 4][..], &(entries as u32).to_be_bytes(), &offsets].concat());
    let film = atom(b"moov", &atom(b"trak", &atom(b"mdia", &atom(b"minf", &atom(b"stbl", &table)))));
    repeated(&film, &atom(b"mdat", b""), len)
}

fn stored_zip(len: usize) -> Vec<u8> {
    numbered(b"", len, |number| {
        let mut member = b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0".to_vec();
        member.extend([0; 12]);
        member.extend([4, 0, 0, 0]);
        member.extend(number.to_le_bytes());
        member
    })
}

/// Compressed zero bytes, sixty times as many as asked for.
fn bomb(len: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![0; (len * 60).min(80 << 20)]).expect("memory");
    encoder.finish().expect("memory")
}

fn zip_bomb(len: usize) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![0; (len * 60).min(80 << 20)]).expect("memory");
    let data = encoder.finish().expect("memory");
    let mut head = b"PK\x03\x04\x14\0\0\0\x08\0\0\0\0\0\0\0\0\0".to_vec();
    head.extend((data.len() as u32).to_le_bytes());
    head.extend((len as u32 * 60).to_le_bytes());
    head.extend([0; 4]);
    [head, data].concat()
}

/// A film in an archive: the memory of both is held at a time.
fn packed_film(len: usize) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&film(len)).expect("memory");
    encoder.finish().expect("memory")
}

fn scp(len: usize) -> Vec<u8> {
    // As many sections as there may be, each over the whole record.
    let mut record = vec![7; len];
    record[2..6].copy_from_slice(&(len as u32).to_le_bytes());
    record[8..10].copy_from_slice(&[0, 0]);
    record[10..14].copy_from_slice(&10_256u32.to_le_bytes());
    record[16..22].copy_from_slice(b"SCPECG");
    for entry in record[22..10_262].chunks_exact_mut(10) {
        entry[..2].copy_from_slice(&6u16.to_le_bytes());
        entry[2..6].copy_from_slice(&(len as u32).to_le_bytes());
        entry[6..].copy_from_slice(&1u32.to_le_bytes());
    }
    record
}

fn mat5(len: usize) -> Vec<u8> {
    let mut head = vec![b' '; 124];
    head.extend([0, 1, b'I', b'M']);
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(&[0; 64]).expect("memory");
    let data = encoder.finish().expect("memory");
    let element = [&15u32.to_le_bytes()[..], &(data.len() as u32).to_le_bytes(), &data].concat();
    repeated(&head, &element, len)
}

const MAKERS: &[Maker] = &[
    ("xml that nests", |len| repeated(b"<?xml version=\"1.0\"?>", b"<a>", len)),
    ("xml with long names", |len| numbered(b"<?xml version=\"1.0\"?>", len, |n| format!("<a{n:0250}>").into_bytes())),
    ("xml with a tag that never ends", |len| repeated(b"<?xml version=\"1.0\"?><a b=\"", b"c", len)),
    ("xml with one long text", |len| repeated(b"<?xml version=\"1.0\"?><RestingECG><WaveFormData>", b"QUJD", len)),
    ("xml with a declaration that never ends", |len| repeated(b"<?xml version=\"1.0\"?><!DOCTYPE a [", b"<!--'", len)),
    ("xml with a declaration of comments", |len| repeated(b"<?xml version=\"1.0\"?><!DOCTYPE a [", b"<!-- ' -->", len)),
    ("xml of ampersands", |len| repeated(b"<?xml version=\"1.0\"?><a>", b"&", len)),
    ("xml with many leads", |len| {
        repeated(b"<?xml version=\"1.0\"?><RestingECG>", b"<LeadData><WaveFormData>QQ==</WaveFormData></LeadData>", len)
    }),
    ("json that nests", |len| repeated(b"", b"[", len)),
    ("json that nests with attachments", |len| repeated(b"", b"{\"data\":\"QUJD\",\"a\":", len)),
    ("json of escapes", |len| repeated(b"{\"a\":\"", b"\\n", len)),
    ("hl7 of empty segments", |len| repeated(b"MSH|^~\\&|\r", b"\r", len)),
    ("hl7 of attachments", |len| repeated(b"MSH|^~\\&|\r", b"OBX|1|ED|a||a^a^a^Base64^QUJD\r", len)),
    ("hl7 with line breaks in an attachment", |len| repeated(b"MSH|^~\\&|\rOBX|1|ED|a||a^a^a^Base64^", b"A\r\n", len)),
    ("hl7 of repetitions", |len| repeated(b"MSH|^~\\&|\rOBX|1|ED|a||a^a^a^Base64^QQ", b"~^a^a^Base64^QQ", len)),
    ("hl7 of pieces and escapes", |len| repeated(b"MSH|^~\\&|\rOBX|1|ED|a||a^a^a^Base64^QQ", b"~QUJD\\.br\\", len)),
    ("dicom with a huge length", |len| {
        let mut head = vec![0; 128];
        head.extend(b"DICM\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0\x08\0\x05\0UN\0\0\xfe\xff\xff\xff");
        repeated(&head, &[1], len)
    }),
    ("dicom that nests", |len| {
        let mut head = vec![0; 128];
        head.extend(b"DICM\x02\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0");
        repeated(&head, b"\x08\0\x05\0SQ\0\0\xff\xff\xff\xff\xfe\xff\0\xe0\xff\xff\xff\xff", len)
    }),
    ("pdf of objects", |len| repeated(b"%PDF-1.4\n", b" obj", len)),
    ("pdf of trailers", |len| repeated(b"%PDF-1.4\n", b"trailer /Prev 5 xref ", len)),
    ("pdf of cross-reference streams", |len| {
        numbered(b"%PDF-1.4\n", len, |n| format!("{n} 0 obj /XRef /Prev {} endobj\n", n * 7).into_bytes())
    }),
    ("zip of empty members", stored_zip),
    ("zip of marks", |len| repeated(b"PK\x03\x04", b"PK", len)),
    ("zip with a length behind its data", |len| {
        let head = b"PK\x03\x04\x14\0\x08\0\x63\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        repeated(head, b"PK\x07\x08", len)
    }),
    ("zip with records in a member of no stated length", |len| {
        let head = b"PK\x03\x04\x14\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\0\0a";
        repeated(head, b"PK\x03\x04", len)
    }),
    ("tar of empty members", |len| {
        let mut header = vec![0u8; 512];
        header[0] = b'a';
        header[257..262].copy_from_slice(b"ustar");
        header[156] = b'0';
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        repeated(b"", &header, len)
    }),
    ("zip bomb", zip_bomb),
    ("gzip bomb", bomb),
    ("gzip of empty members", |len| repeated(b"", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0", len)),
    ("gzip with a name that never ends", |len| repeated(b"\x1f\x8b\x08\x08\0\0\0\0\0\x03", b"a", len)),
    ("film", film),
    ("film in an archive", packed_film),
    ("scp with sections over each other", scp),
    ("mat5 of compressed elements", mat5),
    ("mfer of empty tags", |len| repeated(b"\x40\x03MFR", b"\x17\0", len)),
    ("wfdb header of signals", |len| {
        numbered(b"a 30000 360 100\n", len.min(1 << 20), |n| format!("{n}.d 16\n").into())
    }),
    ("edf of tiny records", |len| {
        let mut head = vec![b' '; 512];
        head[0] = b'0';
        head[184..187].copy_from_slice(b"512");
        head[192..196].copy_from_slice(b"EDF+");
        head[236..244].copy_from_slice(b"99999999");
        head[252] = b'1';
        head[256..271].copy_from_slice(b"EDF Annotations");
        head[472] = b'1';
        repeated(&head, b"+1", len)
    }),
    ("utf-16 that nests", |len| repeated(b"\xff\xfe<\0?\0x\0m\0l\0?\0>\0", b"<\0a\0>\0", len)),
    ("anything", |len| repeated(b"\x01\x02", b"\x9d", len)),
];

fn inspect(bytes: &[u8], piece: usize) -> Duration {
    let start = Instant::now();
    let mut inspector = Inspector::new(None);
    bytes.chunks(piece).for_each(|piece| inspector.push(piece));
    let _ = inspector.finish();
    start.elapsed()
}

/// The only test that runs by itself here: what another one holds at the same time would count.
#[test]
fn memory_is_bounded() {
    for (name, make) in MAKERS {
        let bytes = make(6 << 20);
        HELD.reset_peak_usage();
        let before = HELD.current_usage();
        inspect(&bytes, PIECE);
        let held = HELD.peak_usage() - before;
        assert!(held <= BOUND, "{name}: {held} bytes are held");
    }
}

#[test]
#[ignore = "a measurement, for a machine that has nothing else to do"]
fn time_is_linear() {
    for (name, make) in MAKERS {
        // In one piece, so that a scan of all that follows would show each time it is made. Quadratic work takes 64
        // times as long for 8 times as much.
        let (small, large) = (make(256 << 10), make(2 << 20));
        let best = |bytes: &[u8]| (0..3).map(|_| inspect(bytes, bytes.len())).min().unwrap_or_default();
        let (short, long) = (best(&small).max(Duration::from_millis(1)), best(&large));
        let ratio = long.as_secs_f64() / short.as_secs_f64();
        let expected = large.len() as f64 / small.len() as f64;
        assert!(ratio < 3.0 * expected, "{name}: {short:?} for {}, {long:?} for {}", small.len(), large.len());
    }
}
