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
    put("tar", "tar", &samples::tar("a.xml", &samples::cardiosoft()))?;
    put("any", "names", b"a/100.hea\na/100.dat\nb.xml\nB.pdf\nc.scp\nc.scp.done\n1/patient.hea\n1/ecgraw.dat\n")?;
    Ok(())
}
