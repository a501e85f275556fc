//! EDF+ and BDF+.
//!
//! B. Kemp, J. Olivan, "European data format 'plus' (EDF+)", Clinical Neurophysiology 114:1755-1761, 2003, and
//! edfplus.info/specs/edfplus.html. BDF (biosemi.com/faq/file_format.htm) is EDF with 24-bit samples; BDF+ takes
//! over the annotations of EDF+.

use super::spec::{Patient, Sex, Spec, SynthError};
use super::text::{ascii, fixed};
use super::waveform::Waveform;

/// What the two formats do differently.
struct Flavour {
    version: &'static [u8; 8],
    reserved: &'static str,
    annotations: &'static str,
    /// Bytes of a sample.
    width: usize,
    minimum: &'static str,
    maximum: &'static str,
}

const EDF: Flavour = Flavour {
    version: b"0       ",
    reserved: "EDF+C",
    annotations: "EDF Annotations",
    width: 2,
    minimum: "-32768",
    maximum: "32767",
};

const BDF: Flavour = Flavour {
    version: b"\xFFBIOSEMI",
    reserved: "BDF+C",
    annotations: "BDF Annotations",
    width: 3,
    minimum: "-8388608",
    maximum: "8388607",
};

/// Samples of the annotation signal in each record.
const ANNOTATION_SAMPLES: usize = 60;

/// Writes EDF+ (`EDF+C`, continuous) with records of one second.
pub fn write_edf(spec: &Spec) -> Result<Vec<u8>, SynthError> {
    write(spec, &EDF)
}

/// Writes BDF+ (`BDF+C`, continuous) with records of one second.
pub fn write_bdf(spec: &Spec) -> Result<Vec<u8>, SynthError> {
    write(spec, &BDF)
}

/// A subfield of the local identifications: no spaces inside, `X` when unknown.
fn subfield(text: &str) -> String {
    let joined = ascii(text.trim()).replace(' ', "_");
    if joined.is_empty() { "X".to_owned() } else { joined }
}

/// `DD-MMM-YYYY` with the English abbreviation in capitals.
fn long_date(date: chrono::NaiveDate) -> String {
    date.format("%d-%b-%Y").to_string().to_uppercase()
}

fn patient_field(patient: Option<&Patient>) -> String {
    let Some(p) = patient else { return "X X X X".to_owned() };
    let sex = match p.sex {
        Sex::Female => "F",
        Sex::Male => "M",
        Sex::Unknown => "X",
    };
    let birth = p.birth.map_or_else(|| "X".to_owned(), long_date);
    format!("{} {sex} {birth} {}", subfield(&p.id), subfield(&format!("{} {}", p.family, p.given)))
}

fn write(spec: &Spec, flavour: &Flavour) -> Result<Vec<u8>, SynthError> {
    let waveform = Waveform::synthesize(spec)?;
    let signals = waveform.leads().len() + 1;
    let per_record = spec.sample_rate_hz as usize;
    let header = 256 * (signals + 1);
    let mut out = flavour.version.to_vec();
    let mut field = |text: &str, width: usize| out.extend_from_slice(&fixed(text, width, b' '));

    field(&patient_field(spec.patient.as_ref()), 80);
    let equipment = format!("{}_{}", subfield(&spec.model), subfield(&spec.device_serial));
    let date = long_date(spec.start.date());
    field(&format!("Startdate {date} {} X {equipment}", spec.accession()), 80);
    field(&spec.start.format("%d.%m.%y").to_string(), 8);
    field(&spec.start.format("%H.%M.%S").to_string(), 8);
    field(&header.to_string(), 8);
    field(flavour.reserved, 44);
    field(&spec.seconds.to_string(), 8);
    field("1", 8);
    field(&signals.to_string(), 4);

    // The signal headers are stored column by column; the annotation signal comes last.
    for (lead, _) in waveform.leads() {
        field(&format!("ECG {}", lead.name()), 16);
    }
    field(flavour.annotations, 16);
    let mut column = |lead: &str, annotation: &str, width: usize| {
        for _ in 1..signals {
            field(lead, width);
        }
        field(annotation, width);
    };
    column("Ag-AgCl electrodes", "", 80);
    column("uV", "", 8);
    // Physical and digital range agree: a unit is a microvolt.
    column(flavour.minimum, "-1", 8);
    column(flavour.maximum, "1", 8);
    column(flavour.minimum, flavour.minimum, 8);
    column(flavour.maximum, flavour.maximum, 8);
    column("HP:0.05Hz LP:150Hz", "", 80);
    column(&per_record.to_string(), &ANNOTATION_SAMPLES.to_string(), 8);
    column("", "", 32);

    for record in 0..spec.seconds as usize {
        for (_, samples) in waveform.leads() {
            for sample in &samples[record * per_record..][..per_record] {
                out.extend_from_slice(&i32::from(*sample).to_le_bytes()[..flavour.width]);
            }
        }
        // Time-keeping annotation first (2.2.4), then what belongs to the recording as a whole.
        let mut list = format!("+{record}\u{14}\u{14}\0").into_bytes();
        if record == 0 {
            let text = ascii(&spec.interpretation());
            list.extend_from_slice(format!("+0\u{14}{text}\u{14}\0").as_bytes());
        }
        debug_assert!(list.len() <= ANNOTATION_SAMPLES * flavour.width);
        list.resize(ANNOTATION_SAMPLES * flavour.width, 0);
        out.extend_from_slice(&list);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_the_header() {
        let spec = Spec { leads: 3, seconds: 4, ..Spec::new(2) };
        assert_eq!(write_edf(&spec).unwrap().len(), 256 * 5 + 4 * (3 * 500 + 60) * 2);
        assert_eq!(write_bdf(&spec).unwrap().len(), 256 * 5 + 4 * (3 * 500 + 60) * 3);
    }

    #[test]
    fn fixed_fields_stay_in_place() {
        let mut spec = Spec { revision: 255, ..Spec::new(2) };
        if let Some(p) = &mut spec.patient {
            p.family = "\u{c9}".repeat(100);
            p.id = "a b".to_owned();
        }
        let bytes = write_edf(&spec).unwrap();
        assert!(bytes[8..].starts_with(b"a_b "));
        assert_eq!(&bytes[192..197], b"EDF+C");
        assert_eq!(&bytes[184..192], b"3584    ");
    }
}
