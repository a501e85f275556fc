//! GE MUSE `RestingECG` XML, as version 9 of that system exports it.
//!
//! The format has no public specification; the shape follows exported files: ISO 8859-1, a document type that names
//! `restecg.dtd`, base64 lines of 76 characters with little-endian 16-bit samples, and per lead a byte count and the
//! CRC-32 of the bytes before encoding.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::checksum::crc32;
use super::spec::{Sex, Spec, SynthError};
use super::text::{latin1, put, xml};
use super::waveform::{Lead, Waveform};

/// `<name>value</name>` with the indentation of `depth` levels of three spaces.
fn leaf(out: &mut String, depth: usize, name: &str, value: impl std::fmt::Display) {
    put(out, format_args!("{:1$}<{name}>{value}</{name}>\n", "", 3 * depth));
}

/// Writes an export with a median beat and the rhythm, 1 uV a unit.
///
/// Only measured leads are stored (I, II, V1 to V6): readers compute III, aVR, aVL and aVF from I and II. With
/// `leads` of 1 to 6, that leaves I or I and II.
pub fn write(spec: &Spec) -> Result<Vec<u8>, SynthError> {
    let waveform = Waveform::synthesize(spec)?;
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?>\n<!DOCTYPE RestingECG SYSTEM \"restecg.dtd\">\n<RestingECG>\n",
    );
    out.push_str("   <MuseInfo>\n");
    leaf(&mut out, 2, "MuseVersion", "9.0.0.0");
    out.push_str("   </MuseInfo>\n");
    demographics(&mut out, spec);
    for element in ["RestingECGMeasurements", "OriginalRestingECGMeasurements"] {
        put(&mut out, format_args!("   <{element}>\n"));
        measurements(&mut out, &waveform);
        put(&mut out, format_args!("   </{element}>\n"));
    }
    for element in ["Diagnosis", "OriginalDiagnosis"] {
        put(&mut out, format_args!("   <{element}>\n"));
        leaf(&mut out, 2, "Modality", "RESTING");
        out.push_str("      <DiagnosisStatement>\n");
        leaf(&mut out, 3, "StmtFlag", "ENDSLINE");
        leaf(&mut out, 3, "StmtText", xml(&spec.interpretation()));
        put(&mut out, format_args!("      </DiagnosisStatement>\n   </{element}>\n"));
    }
    beats(&mut out, &waveform);
    let stored: Vec<(Lead, &[i16])> =
        waveform.leads().iter().filter(|(l, _)| l.is_measured()).map(|(l, s)| (*l, s.as_slice())).collect();
    let medians: Vec<(Lead, Vec<i16>)> = stored.iter().map(|(l, s)| (*l, mean_beat(s, &waveform))).collect();
    let median: Vec<(Lead, &[i16])> = medians.iter().map(|(l, s)| (*l, s.as_slice())).collect();
    series(&mut out, spec, "Median", &median);
    series(&mut out, spec, "Rhythm", &stored);
    out.push_str("   <PharmaData>\n");
    leaf(&mut out, 2, "PharmaRRinterval", waveform.intervals().rr);
    let unique = format!("{}{}", spec.device_serial, spec.start.format("%d%m%Y%H%M%S"));
    leaf(&mut out, 2, "PharmaUniqueECGID", xml(&unique));
    leaf(&mut out, 2, "PharmaCartID", xml(&spec.device_serial));
    out.push_str("   </PharmaData>\n</RestingECG>\n");
    Ok(latin1(&out))
}

fn demographics(out: &mut String, spec: &Spec) {
    out.push_str("   <PatientDemographics>\n");
    if let Some(p) = &spec.patient {
        leaf(out, 2, "PatientID", xml(&p.id));
        if let Some(age) = spec.age_years() {
            leaf(out, 2, "PatientAge", age);
            leaf(out, 2, "AgeUnits", "YEARS");
        }
        if let Some(birth) = p.birth {
            leaf(out, 2, "DateofBirth", birth.format("%m-%d-%Y"));
        }
        let gender = match p.sex {
            Sex::Female => "FEMALE",
            Sex::Male => "MALE",
            Sex::Unknown => "UNKNOWN",
        };
        leaf(out, 2, "Gender", gender);
        leaf(out, 2, "PatientLastName", xml(&p.family));
        leaf(out, 2, "PatientFirstName", xml(&p.given));
    }
    out.push_str("   </PatientDemographics>\n   <TestDemographics>\n");
    leaf(out, 2, "DataType", "RESTING");
    leaf(out, 2, "Site", 1);
    leaf(out, 2, "SiteName", "SYNTHETIC");
    leaf(out, 2, "AcquisitionDevice", xml(&spec.model));
    leaf(out, 2, "Status", if spec.revision == 0 { "UNCONFIRMED" } else { "CONFIRMED" });
    if spec.revision > 0 {
        leaf(out, 2, "EditListStatus", "Edited");
    }
    leaf(out, 2, "Priority", "NORMAL");
    leaf(out, 2, "Location", 1);
    leaf(out, 2, "AcquisitionTime", spec.start.format("%H:%M:%S"));
    leaf(out, 2, "AcquisitionDate", spec.start.format("%m-%d-%Y"));
    leaf(out, 2, "CartNumber", 1);
    leaf(out, 2, "AcquisitionSoftwareVersion", env!("CARGO_PKG_VERSION"));
    if spec.revision > 0 {
        let edited = spec.sent() + chrono::TimeDelta::hours(i64::from(spec.revision));
        leaf(out, 2, "EditTime", edited.format("%H:%M:%S"));
        leaf(out, 2, "EditDate", edited.format("%m-%d-%Y"));
    }
    out.push_str("   </TestDemographics>\n");
}

/// Where the mean beat begins and how long it is, in seconds: 0.5 s before the R peak, 1.2 s in all.
const BEAT: (f64, f64) = (0.5, 1.2);

fn measurements(out: &mut String, waveform: &Waveform) {
    let measured = waveform.intervals();
    // Onsets count in samples of the median beat, which the real exports keep at 500 Hz.
    let [p_on, p_off, q_on, q_off, t_off] =
        waveform.landmarks_ms().map(|ms| (f64::from(ms) / 1000.0 + BEAT.0) * f64::from(waveform.sample_rate_hz()));
    for (name, value) in [
        ("VentricularRate", measured.rate),
        ("AtrialRate", measured.rate),
        ("PRInterval", measured.pr),
        ("QRSDuration", measured.qrs),
        ("QTInterval", measured.qt),
        ("QTCorrected", measured.qtc),
        ("QRSCount", waveform.r_peaks().len() as u32),
        ("QOnset", q_on as u32),
        ("QOffset", q_off as u32),
        ("POnset", p_on as u32),
        ("POffset", p_off as u32),
        ("TOffset", t_off as u32),
        ("ECGSampleBase", waveform.sample_rate_hz()),
        ("ECGSampleExponent", 0),
    ] {
        leaf(out, 2, name, value);
    }
}

/// The times of the QRS complexes in milliseconds.
fn beats(out: &mut String, waveform: &Waveform) {
    out.push_str("   <QRSTimesTypes>\n");
    for (n, peak) in waveform.r_peaks().iter().enumerate() {
        out.push_str("      <QRS>\n");
        leaf(out, 3, "Number", n + 1);
        leaf(out, 3, "Type", 0);
        leaf(out, 3, "Time", *peak as u64 * 1000 / u64::from(waveform.sample_rate_hz()));
        out.push_str("      </QRS>\n");
    }
    leaf(out, 2, "GlobalRR", waveform.intervals().rr);
    out.push_str("   </QRSTimesTypes>\n");
}

/// The mean of all beats that lie within the recording; silence when there is none.
fn mean_beat(samples: &[i16], waveform: &Waveform) -> Vec<i16> {
    let rate = f64::from(waveform.sample_rate_hz());
    let (before, length) = ((BEAT.0 * rate) as usize, (BEAT.1 * rate) as usize);
    let mut sums = vec![0i64; length];
    let mut count = 0;
    for peak in waveform.r_peaks() {
        let Some(beat) = peak.checked_sub(before).and_then(|start| samples.get(start..start + length)) else {
            continue;
        };
        count += 1;
        for (sum, sample) in sums.iter_mut().zip(beat) {
            *sum += i64::from(*sample);
        }
    }
    // A mean of 16-bit numbers is a 16-bit number.
    sums.iter().map(|sum| (sum / i64::max(count, 1)) as i16).collect()
}

fn series(out: &mut String, spec: &Spec, kind: &str, leads: &[(Lead, &[i16])]) {
    out.push_str("   <Waveform>\n");
    leaf(out, 2, "WaveformType", kind);
    leaf(out, 2, "WaveformStartTime", 0);
    leaf(out, 2, "NumberofLeads", leads.len());
    leaf(out, 2, "SampleType", "CONTINUOUS_SAMPLES");
    leaf(out, 2, "SampleBase", spec.sample_rate_hz);
    leaf(out, 2, "SampleExponent", 0);
    // In hundredths of a hertz, hertz, hertz.
    leaf(out, 2, "HighPassFilter", 5);
    leaf(out, 2, "LowPassFilter", 150);
    leaf(out, 2, "ACFilter", "NONE");
    for (lead, samples) in leads {
        let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        out.push_str("      <LeadData>\n");
        leaf(out, 3, "LeadByteCountTotal", bytes.len());
        leaf(out, 3, "LeadTimeOffset", 0);
        leaf(out, 3, "LeadSampleCountTotal", samples.len());
        leaf(out, 3, "LeadAmplitudeUnitsPerBit", "1.00");
        leaf(out, 3, "LeadAmplitudeUnits", "MICROVOLTS");
        leaf(out, 3, "LeadHighLimit", i16::MAX);
        leaf(out, 3, "LeadLowLimit", i16::MIN);
        leaf(out, 3, "LeadID", lead.name());
        leaf(out, 3, "LeadOffsetFirstSample", 0);
        leaf(out, 3, "FirstSampleBaseline", 0);
        leaf(out, 3, "LeadSampleSize", 2);
        leaf(out, 3, "LeadOff", "FALSE");
        leaf(out, 3, "BaselineSway", "FALSE");
        leaf(out, 3, "LeadDataCRC32", crc32(&bytes));
        out.push_str("         <WaveFormData>\n");
        let encoded = STANDARD.encode(&bytes);
        for line in encoded.as_bytes().chunks(76) {
            out.extend(line.iter().map(|b| char::from(*b)));
            out.push('\n');
        }
        out.push_str("         </WaveFormData>\n      </LeadData>\n");
    }
    out.push_str("   </Waveform>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lead_agrees_with_its_count_and_checksum() {
        let text = String::from_utf8(write(&Spec::new(11)).unwrap()).unwrap();
        let between = |s: &str, a: &str, b: &str| s.split_once(a).unwrap().1.split_once(b).unwrap().0.to_owned();
        let leads: Vec<&str> = text.split("<LeadData>").skip(1).collect();
        assert_eq!(leads.len(), 16, "eight leads, median and rhythm");
        for lead in leads {
            let data: String = between(lead, "<WaveFormData>", "</WaveFormData>").split_whitespace().collect();
            let bytes = STANDARD.decode(data).unwrap();
            assert_eq!(between(lead, "<LeadByteCountTotal>", "<"), bytes.len().to_string());
            assert_eq!(between(lead, "<LeadDataCRC32>", "<"), crc32(&bytes).to_string());
        }
    }

    #[test]
    fn names_are_latin_1() {
        let mut spec = Spec { seconds: 1, leads: 1, ..Spec::new(1) };
        if let Some(p) = &mut spec.patient {
            p.given = "Zo\u{eb}".to_owned();
        }
        let bytes = write(&spec).unwrap();
        assert!(bytes.windows(4).any(|w| w == b"Zo\xeb<"));
    }
}
