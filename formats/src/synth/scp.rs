//! SCP-ECG: EN 1064:2005+A1:2007, ISO 11073-91064:2009.
//!
//! Sections 0 (pointers), 1 (patient and acquisition), 3 (leads) and 6 (rhythm). There is no section 2, which says
//! that section 6 is not Huffman-encoded (5.5); its samples are plain 16-bit integers without differences (5.9).

use chrono::{Datelike, NaiveDate, Timelike};

use super::checksum::crc_ccitt;
use super::spec::{Patient, Sex, Spec, SynthError};
use super::text::{ascii, fixed};
use super::waveform::Waveform;

/// Version 2.0 of the standard as section and protocol version numbers write it.
const VERSION: u8 = 20;
/// Section 0 lists sections 0 to 11.
const SECTIONS: usize = 12;

/// A section: the header of 16 bytes (5.2.7), the body, a filling byte for even length, the checksum.
fn section(id: u16, reserved: &[u8; 6], body: &[u8]) -> Vec<u8> {
    let length = 16 + body.len() + body.len() % 2;
    let mut out = vec![0, 0];
    out.extend_from_slice(&id.to_le_bytes());
    out.extend_from_slice(&(length as u32).to_le_bytes());
    out.extend_from_slice(&[VERSION, VERSION]);
    out.extend_from_slice(reserved);
    out.extend_from_slice(body);
    out.resize(length, 0);
    let crc = crc_ccitt(&out[2..]);
    out[..2].copy_from_slice(&crc.to_le_bytes());
    out
}

/// One field of section 1 (5.4): tag, length, value.
fn tag(out: &mut Vec<u8>, number: u8, value: &[u8]) {
    out.push(number);
    out.extend_from_slice(&(value.len() as u16).to_le_bytes());
    out.extend_from_slice(value);
}

/// Text with its closing NUL, at most 64 characters.
fn string(text: &str) -> Vec<u8> {
    let mut out = ascii(text).into_bytes();
    out.truncate(64);
    out.push(0);
    out
}

fn date(date: NaiveDate) -> Vec<u8> {
    let mut out = (date.year() as u16).to_le_bytes().to_vec();
    out.extend_from_slice(&[date.month() as u8, date.day() as u8]);
    out
}

/// Tag 14, the acquiring device (5.4.5).
fn machine(spec: &Spec) -> Vec<u8> {
    let mut out = vec![0, 0, 0, 0, 1, 0];
    // Type 0 is a cart; manufacturer code 255 means: see the name at the end.
    out.extend_from_slice(&[0, 255]);
    out.extend_from_slice(&fixed(&spec.model, 5, 0));
    out.push(0);
    // Protocol revision, compatibility level I, language ASCII, capabilities (can acquire: 0x80), mains 50 Hz.
    out.extend_from_slice(&[VERSION, 0xA0, 0, 0x80, 1]);
    out.resize(35, 0);
    let program = string("0");
    out.push(program.len() as u8);
    out.extend_from_slice(&program);
    for text in [&spec.device_serial, env!("CARGO_PKG_VERSION"), "leadline synth", &spec.manufacturer] {
        out.extend_from_slice(&string(text));
    }
    out
}

fn patient_section(spec: &Spec) -> Vec<u8> {
    let mut out = Vec::new();
    let patient = spec.patient.as_ref();
    let text = |field: fn(&Patient) -> &String| patient.map(|p| string(field(p)));
    if let Some(family) = text(|p| &p.family) {
        tag(&mut out, 0, &family);
    }
    if let Some(given) = text(|p| &p.given) {
        tag(&mut out, 1, &given);
    }
    // Tags 2, 14, 25 and 26 are required, so an anonymous record has an empty identifier.
    tag(&mut out, 2, &text(|p| &p.id).unwrap_or_else(|| vec![0]));
    if let Some(birth) = patient.and_then(|p| p.birth) {
        tag(&mut out, 5, &date(birth));
    }
    let sex = match patient.map(|p| p.sex) {
        Some(Sex::Male) => 1,
        Some(Sex::Female) => 2,
        _ => 0,
    };
    tag(&mut out, 8, &[sex]);
    tag(&mut out, 14, &machine(spec));
    tag(&mut out, 25, &date(spec.start.date()));
    tag(&mut out, 26, &[spec.start.hour() as u8, spec.start.minute() as u8, spec.start.second() as u8]);
    // High-pass 0.05 Hz in hundredths, low-pass 150 Hz.
    tag(&mut out, 27, &5u16.to_le_bytes());
    tag(&mut out, 28, &150u16.to_le_bytes());
    tag(&mut out, 30, &string(&spec.interpretation()));
    tag(&mut out, 31, &string(&spec.accession()));
    tag(&mut out, 255, &[]);
    out
}

/// Writes an SCP-ECG record with 1 uV a unit.
///
/// A lead of section 6 is at most 65534 bytes (its length has 16 bits), and the sample time is whole microseconds,
/// so rates that do not divide 1 MHz are refused.
pub fn write(spec: &Spec) -> Result<Vec<u8>, SynthError> {
    let waveform = Waveform::synthesize(spec)?;
    let refuse = |limit| Err(SynthError::Unrepresentable { format: "SCP-ECG", limit });
    if waveform.samples() > 32_767 {
        return refuse("32767 samples per lead");
    }
    if 1_000_000 % spec.sample_rate_hz != 0 {
        return refuse("a sample time of whole microseconds");
    }
    let count = spec.leads;
    let mut leads = vec![count];
    // Bit 2: all leads recorded at once; bits 3 to 7: how many of them (5.6.2).
    leads.push(0b100 | (count << 3));
    for (lead, samples) in waveform.leads() {
        leads.extend_from_slice(&1u32.to_le_bytes());
        leads.extend_from_slice(&(samples.len() as u32).to_le_bytes());
        leads.push(lead.code());
    }
    let mut rhythm = 1000u16.to_le_bytes().to_vec();
    rhythm.extend_from_slice(&((1_000_000 / spec.sample_rate_hz) as u16).to_le_bytes());
    rhythm.extend_from_slice(&[0, 0]);
    for (_, samples) in waveform.leads() {
        rhythm.extend_from_slice(&((2 * samples.len()) as u16).to_le_bytes());
    }
    for (_, samples) in waveform.leads() {
        rhythm.extend(samples.iter().flat_map(|s| s.to_le_bytes()));
    }
    let bodies = [
        (1u16, section(1, &[0; 6], &patient_section(spec))),
        (3, section(3, &[0; 6], &leads)),
        (6, section(6, &[0; 6], &rhythm)),
    ];

    let pointers_length = 16 + 10 * SECTIONS;
    let mut pointers = Vec::new();
    for id in 0..SECTIONS as u16 {
        // Indices count bytes from 1, and the first six bytes are the record's own header (5.2, 5.3.3).
        let mut at = 7 + pointers_length;
        let (mut length, mut index) = (0, 0);
        if id == 0 {
            (length, index) = (pointers_length, 7);
        }
        for (present, body) in &bodies {
            if *present == id {
                (length, index) = (body.len(), at);
            }
            at += body.len();
        }
        pointers.extend_from_slice(&id.to_le_bytes());
        pointers.extend_from_slice(&(length as u32).to_le_bytes());
        pointers.extend_from_slice(&(index as u32).to_le_bytes());
    }
    let mut out = vec![0; 6];
    out.extend_from_slice(&section(0, b"SCPECG", &pointers));
    for (_, body) in &bodies {
        out.extend_from_slice(body);
    }
    let length = out.len() as u32;
    out[2..6].copy_from_slice(&length.to_le_bytes());
    let crc = crc_ccitt(&out[2..]);
    out[..2].copy_from_slice(&crc.to_le_bytes());
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers_lead_to_sections_with_valid_checksums() {
        let bytes = write(&Spec::new(9)).unwrap();
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u32_at = |at: usize| u32::from(u16_at(at)) | (u32::from(u16_at(at + 2)) << 16);
        assert_eq!(u16_at(0), crc_ccitt(&bytes[2..]));
        assert_eq!(u32_at(2) as usize, bytes.len());
        assert_eq!(&bytes[16..22], b"SCPECG");
        let mut seen = Vec::new();
        for entry in (22..22 + 120).step_by(10) {
            let (id, length, index) = (u16_at(entry), u32_at(entry + 2) as usize, u32_at(entry + 6) as usize);
            if length > 0 {
                seen.push(id);
                let start = index - 1;
                assert_eq!(u16_at(start), crc_ccitt(&bytes[start + 2..start + length]), "section {id}");
                assert_eq!(u16_at(start + 2), id);
                assert_eq!(u32_at(start + 4) as usize, length);
                assert_eq!(length % 2, 0);
            }
        }
        assert_eq!(seen, [0, 1, 3, 6]);
    }

    #[test]
    fn limits_are_refused() {
        let spec = Spec::new(1);
        assert!(write(&Spec { seconds: 66, ..spec.clone() }).is_err());
        assert!(write(&Spec { sample_rate_hz: 360, ..spec }).is_err());
    }
}
