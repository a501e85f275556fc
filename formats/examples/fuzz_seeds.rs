//! `fuzz_seeds DIR`: writes small whole files into `DIR/<family>/`, where the fuzz targets of formats/fuzz start from.

use std::error::Error;
use std::path::{Path, PathBuf};

use leadline_formats::Format;
use leadline_formats::synth::{Spec, SynthFormat};

#[path = "../tests/samples/mod.rs"]
mod samples;

/// A longer input is slow to change and shows nothing that a shorter one does not.
const LONGEST: usize = 64 << 10;

fn family(format: Format) -> &'static str {
    match format {
        Format::Dicom | Format::DicomWaveform | Format::DicomDocument | Format::DicomImage => "dicom",
        Format::Aecg
        | Format::MuseXml
        | Format::CardiosoftXml
        | Format::PhilipsXml
        | Format::MortaraXml
        | Format::VendorXml
        | Format::Xml => "xml",
        Format::Scp => "scp",
        Format::Ishne | Format::IshneAnnotations => "ishne",
        Format::Edf | Format::EdfPlus | Format::Bdf | Format::BdfPlus => "edf",
        Format::WfdbHeader => "wfdb",
        Format::Mfer => "mfer",
        Format::Pdf => "pdf",
        Format::Zip => "zip",
        Format::Tar => "tar",
        Format::Gzip | Format::TarGzip => "gzip",
        Format::Mp4 => "mp4",
        Format::Mat4 | Format::Mat5 => "mat",
        Format::Mat73 | Format::Hdf5 => "hdf5",
        Format::FhirJson | Format::Json => "json",
        Format::Hl7v2 | Format::Hl7v2Mllp => "hl7",
        Format::Unknown => "any",
    }
}

/// The data set of a file behind a deflated transfer syntax (PS3.5 A.5).
fn deflated(dicom: &[u8]) -> Vec<u8> {
    let group = u32::from_le_bytes([dicom[140], dicom[141], dicom[142], dicom[143]]) as usize;
    let mut out = dicom[..132].to_vec();
    out.extend(b"\x02\0\x10\0UI\x16\x001.2.840.10008.1.2.1.99");
    out.extend(samples::deflate(&dicom[144 + group..]));
    out
}

/// Observations of each kind, in the enhanced mode.
const ORDER: &[u8] = b"MSH|^~\\&|ECG|WARD|LL|HUB|20260101||ORU^R01^ORU_R01|77|P|2.5.1|||AL|ER||UNICODE UTF-8\r\
    OBR|1|||||||||||||||||||||||||F\rOBX|1|ED|11524-6^EKG^LN||a&b&ISO^application^pdf^Base64^JVBE\r\nRi0x||||||C\r\
    OBX|2|RP|x||\\E\\\\E\\nas\\E\\ecg\\E\\a.pdf^^AP^PDF||||||F\rOBX|3|ED|x||^T^^A^a\\X0D\\\\.br\\b~^T^^Hex^68||||||P\r";
/// A document, and what it refers to.
const TRANSACTION: &[u8] = br#"{"resourceType":"Bundle","type":"transaction","entry":[
    {"fullUrl":"urn:uuid:1","resource":{"resourceType":"Binary","contentType":"text/plain","data":"aGVsbG8="},"request":{"method":"POST","url":"Binary"}},
    {"fullUrl":"urn:uuid:2","resource":{"resourceType":"DocumentReference","identifier":[{"system":"urn:x","value":"7"}],"status":"current","content":[{"attachment":{"url":"urn:uuid:1","size":5,"hash":"qvTGHdzF6KLavt4PO0gs2a6pQ00="}}]},"request":{"method":"POST","url":"DocumentReference","ifNoneExist":"identifier=urn:x|7"}}]}"#;
/// What a subscription sends (R5 backport for R4).
const NOTIFICATION: &[u8] = br#"{"resourceType":"Bundle","type":"history","entry":[{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Parameters","parameter":[
    {"name":"subscription","valueReference":{"reference":"https://ehr/Subscription/1"}},{"name":"type","valueCode":"event-notification"},
    {"name":"events-since-subscription-start","valueString":"2"},
    {"name":"notification-event","part":[{"name":"event-number","valueString":"2"},{"name":"focus","valueReference":{"reference":"DocumentReference/1"}}]}]}},
    {"fullUrl":"DocumentReference/1","request":{"method":"POST","url":"DocumentReference"},"response":{"status":"201"}}]}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::args().nth(1).ok_or("usage: fuzz_seeds DIR")?);
    let put = |family: &str, name: &str, bytes: &[u8]| -> std::io::Result<()> {
        if bytes.len() > LONGEST {
            return Ok(());
        }
        let folder: &Path = &root.join(family);
        std::fs::create_dir_all(folder)?;
        std::fs::write(folder.join(name), bytes)
    };
    for sample in samples::all() {
        put(family(sample.format), sample.name, &sample.bytes)?;
        // The readers of the gateway read these formats too, each in its own way.
        match family(sample.format) {
            "hl7" => {
                put("er7", sample.name, sample.bytes.strip_prefix(b"\x0b").unwrap_or(&sample.bytes))?;
                put("mllp", sample.name, &sample.bytes)?;
            }
            "json" => put("fhir", sample.name, &sample.bytes)?,
            _ => {}
        }
        put("any", sample.name, &sample.bytes)?;
    }
    let mut spec = Spec::new(5);
    (spec.leads, spec.seconds, spec.sample_rate_hz) = (2, 1, 100);
    for format in SynthFormat::all() {
        let Ok(files) = format.write(&spec) else { continue };
        for (i, file) in files.iter().enumerate() {
            let kind = leadline_formats::inspect_bytes(&file.bytes).format;
            put(family(kind), &format!("small-{format}-{i}"), &file.bytes)?;
            put("any", &format!("small-{format}-{i}"), &file.bytes)?;
        }
        if *format == SynthFormat::Dicom {
            put("dicom", "small-deflated", &deflated(&files[0].bytes))?;
        }
        if *format == SynthFormat::Wfdb {
            let of = |ending: &str| files.iter().find(|file| file.name.ends_with(ending)).map(|file| &file.bytes[..]);
            if let (Some(header), Some(signal)) = (of(".hea"), of(".dat")) {
                put("wfdb", "small-record", &[header, b"\0", signal].concat())?;
            }
        }
    }
    put(
        "wfdb",
        "segments",
        b"b/3 1 500 30\nb_l 0\n~ 10\nb1 20\n\x0cb_l 1 500 0\n~ 0 200 16 0 0 0 0\n\x0cb1 1 500 20\nb1.dat 16\n",
    )?;
    put("er7", "order", ORDER)?;
    put("er7", "pointer", br"https://pacs:8443/a?b=c#d")?;
    put("mllp", "two", b"\x40\x0bMSH|\r\x1c\r\x0bMSH|\x1c\x1c\r\r\n\x0bMSH")?;
    put("fhir", "transaction", TRANSACTION)?;
    put("fhir", "notification", NOTIFICATION)?;
    put("tar", "tar", &samples::tar("a.xml", &samples::cardiosoft()))?;
    put("any", "names", b"a/100.hea\na/100.dat\nb.xml\nB.pdf\nc.scp\nc.scp.done\n1/patient.hea\n1/ecgraw.dat\n")?;
    Ok(())
}
