//! ISHNE Holter files.
//!
//! F. Badilini, "The ISHNE Holter Standard Output File Format", Annals of Noninvasive Electrocardiology
//! 3(3):263-266, 1998.

use chrono::{Datelike, NaiveDate, Timelike};

use super::checksum::crc_ccitt;
use super::spec::{Patient, Sex, Spec, SynthError};
use super::text::fixed;
use super::waveform::{Lead, Waveform};

/// Bytes before the variable block: magic, checksum, fixed header.
const HEADER: u32 = 522;
/// The header has room for twelve leads; unused slots hold this.
const UNUSED: i16 = -9;

fn lead_code(lead: Lead) -> i16 {
    // Codes 5 to 16 are I, II, III, VR, VL, VF, V1 to V6: the standard order.
    5 + Lead::ALL.iter().position(|l| *l == lead).map_or(0, |at| at as i16)
}

/// Day, month, year.
fn date(out: &mut Vec<u8>, date: Option<NaiveDate>) {
    let parts = date.map_or([UNUSED; 3], |d| [d.day() as i16, d.month() as i16, d.year() as i16]);
    shorts(out, &parts);
}

fn shorts(out: &mut Vec<u8>, values: &[i16]) {
    out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
}

/// Twelve slots, filled as far as there are leads.
fn slots(out: &mut Vec<u8>, values: impl Iterator<Item = i16>) {
    let mut all = [UNUSED; 12];
    for (slot, value) in all.iter_mut().zip(values) {
        *slot = value;
    }
    shorts(out, &all);
}

/// Writes an ISHNE file with 1 uV a unit. The number of samples in the header counts per lead.
///
/// The variable-length block holds the interpretation, so that the header's checksum covers text as well.
pub fn write(spec: &Spec) -> Result<Vec<u8>, SynthError> {
    let waveform = Waveform::synthesize(spec)?;
    let remark = spec.interpretation().into_bytes();
    let patient = spec.patient.as_ref();
    let text = |field: fn(&Patient) -> &String| patient.map_or("", |p| field(p).as_str());

    let mut body = Vec::new();
    for long in [remark.len() as u32, waveform.samples() as u32, HEADER, HEADER + remark.len() as u32] {
        body.extend_from_slice(&long.to_le_bytes());
    }
    shorts(&mut body, &[1]);
    body.extend_from_slice(&fixed(text(|p| &p.given), 40, 0));
    body.extend_from_slice(&fixed(text(|p| &p.family), 40, 0));
    body.extend_from_slice(&fixed(text(|p| &p.id), 20, 0));
    let sex = match patient.map(|p| p.sex) {
        Some(Sex::Male) => 1,
        Some(Sex::Female) => 2,
        _ => 0,
    };
    // Sex, and race 0: unknown.
    shorts(&mut body, &[sex, 0]);
    date(&mut body, patient.and_then(|p| p.birth));
    date(&mut body, Some(spec.start.date()));
    date(&mut body, Some(spec.sent().date()));
    shorts(&mut body, &[spec.start.hour() as i16, spec.start.minute() as i16, spec.start.second() as i16]);
    shorts(&mut body, &[i16::from(spec.leads)]);
    slots(&mut body, waveform.leads().iter().map(|(lead, _)| lead_code(*lead)));
    // Quality 1: good. Resolution: nanovolts a unit.
    slots(&mut body, waveform.leads().iter().map(|_| 1));
    slots(&mut body, waveform.leads().iter().map(|_| 1000));
    // No pacemaker.
    shorts(&mut body, &[0]);
    body.extend_from_slice(&fixed(&format!("{} {}", spec.model, spec.device_serial), 40, 0));
    shorts(&mut body, &[spec.sample_rate_hz as i16]);
    body.extend_from_slice(&fixed("", 80, 0));
    body.extend_from_slice(&fixed("", 80, 0));
    body.resize(HEADER as usize - 10, 0);
    body.extend_from_slice(&remark);

    let mut out = b"ISHNE1.0".to_vec();
    out.extend_from_slice(&crc_ccitt(&body).to_le_bytes());
    out.extend_from_slice(&body);
    out.extend(waveform.interleaved().flat_map(i16::to_le_bytes));
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_and_size_hold() {
        let spec = Spec { leads: 3, seconds: 2, ..Spec::new(8) };
        let bytes = write(&spec).unwrap();
        let offset = u32::from_le_bytes([bytes[22], bytes[23], bytes[24], bytes[25]]) as usize;
        assert_eq!(bytes.len(), offset + 2 * 3 * 1000);
        assert_eq!(u16::from_le_bytes([bytes[8], bytes[9]]), crc_ccitt(&bytes[10..offset]));
        assert_eq!(&bytes[156..164], &[3, 0, 5, 0, 6, 0, 7, 0]);
    }
}
