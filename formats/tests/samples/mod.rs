//! Small whole files of every format, made in code.

#![allow(dead_code)] // each test uses a part

use std::io::Write;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use leadline_formats::synth::{Spec, SynthFormat};
use leadline_formats::{Format, Verdict, inspect_bytes};

/// What a content is, and how whole.
pub fn look(bytes: &[u8]) -> (Format, Verdict) {
    let found = inspect_bytes(bytes);
    (found.format, found.verdict)
}

/// Every cut of a whole file that is complete tells that it lacks something.
pub fn no_cut_is_complete(bytes: &[u8]) {
    for cut in (1..bytes.len()).filter(|cut| bytes.len() - cut < 600 || cut % 97 == 0) {
        assert_ne!(inspect_bytes(&bytes[..cut]).verdict, Verdict::Complete, "cut to {cut} of {}", bytes.len());
    }
}

/// A whole file, and the verdict that a whole file of its kind can get.
pub struct Sample {
    pub name: &'static str,
    pub format: Format,
    pub verdict: Verdict,
    pub bytes: Vec<u8>,
}

fn sample(name: &'static str, format: Format, bytes: Vec<u8>) -> Sample {
    Sample { name, format, verdict: Verdict::Complete, bytes }
}

fn unverifiable(name: &'static str, format: Format, bytes: Vec<u8>) -> Sample {
    Sample { name, format, verdict: Verdict::Unverifiable, bytes }
}

pub fn synth(format: SynthFormat) -> Vec<u8> {
    let files = format.write(&Spec::new(11)).expect("a valid specification");
    files.into_iter().last().expect("a file").bytes
}

/// Samples that are no zero bytes for long, as those of a real lead.
pub fn wave(len: usize) -> Vec<u8> {
    (0..len).map(|i| ((i * 37 + i / 7) % 251) as u8 + 1).collect()
}

pub fn cardiosoft() -> Vec<u8> {
    let numbers: Vec<String> = (0..2000).map(|i| (i % 91 - 45).to_string()).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<CardiologyXML><DICOMStudyUID>1.2.840.1.7</DICOMStudyUID>\
         <ObservationDateTime><Hour>9</Hour><Minute>4</Minute></ObservationDateTime><StripData>\
         <WaveformData lead=\"I\">{}</WaveformData></StripData></CardiologyXML>\n",
        numbers.join(",")
    )
    .into_bytes()
}

pub fn philips(leads: u32) -> String {
    let mut data = Vec::new();
    for lead in 0..leads {
        let body = wave(400 + lead as usize);
        data.extend((body.len() as u32).to_le_bytes());
        data.extend([1, 0, 0, 0]);
        data.extend(body);
    }
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-16\"?>\r\n<restingecgdata xmlns=\"http://www3.medical.philips.com\">\
         <documentinfo><documentname>03d494f2-94f2-13d4-857f-00095c028bdc.xml</documentname></documentinfo>\
         <dataacquisition date=\"2020-01-02\" time=\"03:04:05\"><machine machineid=\"77\">PageWriter</machine>\
         </dataacquisition><waveforms><parsedwaveforms dataencoding=\"Base64\" compression=\"XLI\" \
         numberofleads=\"{leads}\">{}</parsedwaveforms></waveforms></restingecgdata>",
        STANDARD.encode(data)
    )
}

pub fn utf16(text: &str, little: bool) -> Vec<u8> {
    let unit = |unit: u16| if little { unit.to_le_bytes() } else { unit.to_be_bytes() };
    std::iter::once(0xFEFF).chain(text.encode_utf16()).flat_map(unit).collect()
}

pub fn mortara() -> Vec<u8> {
    let channel = |name: &str| {
        format!(
            "<CHANNEL OFFSET=\"0\" BITS=\"16\" FORMAT=\"SIGNED\" DURATION=\"600\" SAMPLE_FREQ=\"500\" NAME=\"{name}\" \
             ENCODING=\"BASE64\" DATA=\"{}\"/>",
            STANDARD.encode(wave(1200))
        )
    };
    format!(
        "<?xml version=\"1.0\"?><ECG ACQUISITION_TIME=\"20200102\" ACQUIRING_DEVICE_SERIAL_NUMBER=\"9\"><SUBJECT/>{}{}</ECG>",
        channel("I"),
        channel("II")
    )
    .into_bytes()
}

pub fn vendor() -> Vec<u8> {
    let mut text = b"<?xml version=\"1.0\"?>\n<!DOCTYPE zqecg [ <!ENTITY a \"b>\"> ]>\n<zqecg><lead><![CDATA[".to_vec();
    text.extend(b"1 2 3 4 5 6 7 8 9 ".repeat(200));
    text.extend(b"]]></lead><!-- done --></zqecg>\n");
    text
}

pub fn mfer(end: bool) -> Vec<u8> {
    let mut bytes = b"\x40\x20MFR Standard 12 leads ECG       \x01\x01\x00\x17\x04ACME\x85\x07".to_vec();
    bytes.extend([0xE4, 7, 1, 2, 3, 4, 5]);
    for channel in 0..3u8 {
        bytes.extend([0x3F, channel, 3, 9, 1, channel]);
    }
    let body = wave(3000);
    bytes.extend([0x1E, 0x84]);
    bytes.extend((body.len() as u32).to_be_bytes());
    bytes.extend(body);
    if end {
        bytes.extend([0x80, 0]);
    }
    bytes
}

pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

pub fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// An archive with a stored member, a deflated one, and a deflated one whose sizes follow its data.
pub fn zip() -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    let contents = [wave(3000), cardiosoft(), b"abc".repeat(900)];
    for (i, content) in contents.iter().enumerate() {
        let (method, flags) = [(0u16, 0u16), (8, 0), (8, 8)][i];
        let data = if method == 8 { deflate(content) } else { content.clone() };
        let sum = crc32fast::hash(content);
        let sizes = |later: bool| {
            let (sum, packed, size) = if later { (0, 0, 0) } else { (sum, data.len() as u32, content.len() as u32) };
            [sum.to_le_bytes(), packed.to_le_bytes(), size.to_le_bytes()].concat()
        };
        let at = out.len() as u32;
        let name = format!("f{i}");
        let common = [20u16, flags, method, 0, 0].map(u16::to_le_bytes).concat();
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(sizes(flags & 8 != 0));
        out.extend([2, 0, 0, 0]);
        out.extend(name.bytes());
        out.extend(&data);
        if flags & 8 != 0 {
            out.extend(b"PK\x07\x08");
            out.extend(sizes(false));
        }
        directory.extend(b"PK\x01\x02\x14\0");
        directory.extend(&common);
        directory.extend(sizes(false));
        directory.extend([2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        directory.extend(at.to_le_bytes());
        directory.extend(name.bytes());
    }
    let at = out.len() as u32;
    let len = directory.len() as u32;
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0\x03\0\x03\0");
    out.extend(len.to_le_bytes());
    out.extend(at.to_le_bytes());
    out.extend(b"\x07\0comment");
    out
}

pub fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    header[148..156].fill(b' ');
    header[156] = b'0';
    header[257..263].copy_from_slice(b"ustar\0");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut out = header.to_vec();
    out.extend(content);
    out.resize(out.len().next_multiple_of(512) + 1024, 0);
    out
}

fn atom(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 8).to_be_bytes()[..], kind, body].concat()
}

fn full(kind: &[u8; 4], words: &[u32]) -> Vec<u8> {
    let body: Vec<u8> = std::iter::once(&0).chain(words).flat_map(|word| word.to_be_bytes()).collect();
    atom(kind, &body)
}

/// A film of one track with two chunks of two samples.
pub fn mp4(movie_first: bool) -> Vec<u8> {
    let head = atom(b"ftyp", b"isom\0\0\0\x01isom");
    let media = atom(b"mdat", &wave(4000));
    let movie = |at: u32| {
        let tables =
            [full(b"stsc", &[1, 1, 2, 1]), full(b"stsz", &[1000, 4]), full(b"stco", &[2, at, at + 2000])].concat();
        let track = atom(b"trak", &atom(b"mdia", &atom(b"minf", &atom(b"stbl", &tables))));
        atom(b"moov", &[full(b"mvhd", &[0; 24]), track].concat())
    };
    if movie_first {
        let len = movie(0).len() as u32;
        [&head[..], &movie(head.len() as u32 + len + 8), &media].concat()
    } else {
        let movie = movie(head.len() as u32 + 8);
        [head, media, movie].concat()
    }
}

pub fn mat5() -> Vec<u8> {
    let mut out = b"MATLAB 5.0 MAT-file, made by a test".to_vec();
    out.resize(124, b' ');
    out.extend([0, 1, b'I', b'M']);
    let mut element = Vec::new();
    element.extend(14u32.to_le_bytes());
    element.extend(1600u32.to_le_bytes());
    element.extend(wave(1600));
    out.extend(&element);
    let packed = zlib(&element);
    out.extend(15u32.to_le_bytes());
    out.extend((packed.len() as u32).to_le_bytes());
    out.extend(packed);
    out
}

pub fn mat4() -> Vec<u8> {
    let mut out = Vec::new();
    for word in [30u32, 2, 500, 0, 4] {
        out.extend(word.to_le_bytes());
    }
    out.extend(b"val\0");
    out.extend(wave(2000));
    out
}

pub fn hdf5(base: u64) -> Vec<u8> {
    let mut out = vec![b' '; base as usize];
    if base == 512 {
        out[..14].copy_from_slice(b"MATLAB 7.3 MAT");
        out[124..128].copy_from_slice(&[0, 2, b'I', b'M']);
    }
    out.extend(b"\x89HDF\r\n\x1a\n");
    out.extend([0, 0, 0, 0, 0, 8, 8, 0, 4, 0, 16, 0, 0, 0, 0, 0]);
    for address in [base, u64::MAX, base + 3000, u64::MAX] {
        out.extend(address.to_le_bytes());
    }
    let body = wave(base as usize + 3000 - out.len());
    out.extend(body);
    out
}

/// A message with a document of this many bytes, in a frame.
pub fn mllp() -> Vec<u8> {
    [&b"\x0b"[..], &synth(SynthFormat::Hl7v2), b"\x1c\r"].concat()
}

pub fn batch() -> Vec<u8> {
    b"BHS|^~\\&|ECG\rMSH|^~\\&|ECG|S|||20200101||ORU^R01|1|P|2.5.1\rPID|1\rBTS|1\r".to_vec()
}

pub fn json() -> Vec<u8> {
    let mut text = b"{\"leads\": [1, -2.5e3, true, null, \"\\u00e4\\\"\", {}, []".to_vec();
    text.extend(b", [1, 2, 3]".repeat(100));
    text.extend(b"]}\n");
    text
}

/// One whole file of every kind.
pub fn all() -> &'static [Sample] {
    static ALL: LazyLock<Vec<Sample>> = LazyLock::new(make);
    &ALL
}

fn make() -> Vec<Sample> {
    use Format as F;
    vec![
        sample("dicom", F::DicomWaveform, synth(SynthFormat::Dicom)),
        sample("dicom-pdf", F::DicomDocument, synth(SynthFormat::DicomPdf)),
        sample("aecg", F::Aecg, synth(SynthFormat::Aecg)),
        sample("scp", F::Scp, synth(SynthFormat::Scp)),
        sample("edf", F::EdfPlus, synth(SynthFormat::Edf)),
        sample("bdf", F::BdfPlus, synth(SynthFormat::Bdf)),
        sample("ishne", F::Ishne, synth(SynthFormat::Ishne)),
        sample("wfdb", F::WfdbHeader, synth(SynthFormat::Wfdb)),
        sample("pdf", F::Pdf, synth(SynthFormat::Pdf)),
        sample("muse", F::MuseXml, synth(SynthFormat::MuseXml)),
        unverifiable("csv", F::Unknown, synth(SynthFormat::Csv)),
        unverifiable("hl7v2", F::Hl7v2, synth(SynthFormat::Hl7v2)),
        sample("fhir", F::FhirJson, synth(SynthFormat::Fhir)),
        sample("mllp", F::Hl7v2Mllp, mllp()),
        sample("batch", F::Hl7v2, batch()),
        sample("json", F::Json, json()),
        sample("cardiosoft", F::CardiosoftXml, cardiosoft()),
        sample("philips", F::PhilipsXml, philips(12).into_bytes()),
        sample("philips-utf16le", F::PhilipsXml, utf16(&philips(12), true)),
        sample("philips-utf16be", F::PhilipsXml, utf16(&philips(2), false)),
        sample("mortara", F::MortaraXml, mortara()),
        sample("vendor", F::VendorXml, vendor()),
        sample("mfer", F::Mfer, mfer(true)),
        unverifiable("mfer-open", F::Mfer, mfer(false)),
        sample("zip", F::Zip, zip()),
        sample("gzip", F::Gzip, gzip(&cardiosoft())),
        sample("gzip-members", F::Gzip, [gzip(b"one"), gzip(b"two")].concat()),
        sample("tar", F::Tar, tar("a.xml", &cardiosoft())),
        sample("tgz", F::TarGzip, gzip(&tar("a.xml", &cardiosoft()))),
        sample("mp4", F::Mp4, mp4(true)),
        sample("mp4-moov-last", F::Mp4, mp4(false)),
        sample("mat4", F::Mat4, mat4()),
        sample("mat5", F::Mat5, mat5()),
        sample("mat73", F::Mat73, hdf5(512)),
        sample("hdf5", F::Hdf5, hdf5(0)),
    ]
}
