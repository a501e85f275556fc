//! DICOM: 12-lead ECG waveform objects and encapsulated PDF reports.
//!
//! PS3.10 clause 7 (file format), PS3.5 clause 7 (explicit VR little endian), PS3.3 A.34.3 (12-Lead ECG), A.34.4
//! (General ECG), A.45.1 (Encapsulated PDF), C.10.9 (Waveform module), PS3.16 CID 3001 (leads), CID 3228
//! (durations), TID 3401 and CID 3263 (lead system).

use super::pdf;
use super::spec::{Patient, Sex, Spec, SynthError};
use super::waveform::{Lead, Waveform};

const TWELVE_LEAD_ECG: &str = "1.2.840.10008.5.1.4.1.1.9.1.1";
const GENERAL_ECG: &str = "1.2.840.10008.5.1.4.1.1.9.1.2";
const ENCAPSULATED_PDF: &str = "1.2.840.10008.5.1.4.1.1.104.1";
const EXPLICIT_VR_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
/// A UUID-derived identifier of this writer (PS3.7, D.3.3.2: fixed for an implementation).
const IMPLEMENTATION_CLASS: &str = "2.25.188146342011867043904137653228016253189";

/// A data set in explicit VR little endian. Elements must come in ascending order of their tags.
#[derive(Default)]
struct DataSet(Vec<u8>);

impl DataSet {
    fn element(&mut self, group: u16, element: u16, vr: &[u8; 2], value: &[u8]) -> &mut Self {
        // PS3.5, 6.2: values have even length; UI and binary values pad with NUL, text with a space.
        let pad = match vr {
            b"UI" | b"OB" | b"OW" | b"UN" => 0,
            _ => b' ',
        };
        let padded = value.len() + value.len() % 2;
        self.0.extend_from_slice(&group.to_le_bytes());
        self.0.extend_from_slice(&element.to_le_bytes());
        self.0.extend_from_slice(vr);
        // PS3.5, 7.1.2: these representations have two reserved bytes and a length of 32 bits, the rest 16 bits.
        if matches!(vr, b"OB" | b"OW" | b"SQ" | b"UN" | b"UT") {
            self.0.extend_from_slice(&[0, 0]);
            self.0.extend_from_slice(&(padded as u32).to_le_bytes());
        } else {
            debug_assert!(padded <= usize::from(u16::MAX));
            self.0.extend_from_slice(&(padded as u16).to_le_bytes());
        }
        self.0.extend_from_slice(value);
        if padded > value.len() {
            self.0.push(pad);
        }
        self
    }

    fn text(&mut self, group: u16, element: u16, vr: &[u8; 2], value: &str) -> &mut Self {
        self.element(group, element, vr, value.as_bytes())
    }

    fn u16(&mut self, group: u16, element: u16, value: u16) -> &mut Self {
        self.element(group, element, b"US", &value.to_le_bytes())
    }

    fn u32(&mut self, group: u16, element: u16, value: u32) -> &mut Self {
        self.element(group, element, b"UL", &value.to_le_bytes())
    }

    /// A sequence with explicit lengths throughout (PS3.5, 7.5).
    fn sequence(&mut self, group: u16, element: u16, items: &[DataSet]) -> &mut Self {
        let mut value = Vec::new();
        for item in items {
            value.extend_from_slice(&[0xFE, 0xFF, 0x00, 0xE0]);
            value.extend_from_slice(&(item.0.len() as u32).to_le_bytes());
            value.extend_from_slice(&item.0);
        }
        self.element(group, element, b"SQ", &value)
    }

    /// A sequence of one coded entry (PS3.3, table 8.8-1).
    fn code(&mut self, group: u16, element: u16, value: &str, scheme: &str, meaning: &str) -> &mut Self {
        let mut item = DataSet::default();
        item.text(0x0008, 0x0100, b"SH", value);
        item.text(0x0008, 0x0102, b"SH", scheme);
        item.text(0x0008, 0x0104, b"LO", meaning);
        self.sequence(group, element, &[item])
    }
}

/// Preamble, prefix, file meta information (PS3.10, 7.1) and the data set.
fn file(sop_class: &str, sop_instance: &str, data: &DataSet) -> Vec<u8> {
    let mut meta = DataSet::default();
    meta.element(0x0002, 0x0001, b"OB", &[0, 1]);
    meta.text(0x0002, 0x0002, b"UI", sop_class);
    meta.text(0x0002, 0x0003, b"UI", sop_instance);
    meta.text(0x0002, 0x0010, b"UI", EXPLICIT_VR_LITTLE_ENDIAN);
    meta.text(0x0002, 0x0012, b"UI", IMPLEMENTATION_CLASS);
    meta.text(0x0002, 0x0013, b"SH", "LEADLINE_SYNTH");
    let mut group_length = DataSet::default();
    group_length.u32(0x0002, 0x0000, meta.0.len() as u32);
    let mut out = vec![0u8; 128];
    out.extend_from_slice(b"DICM");
    for part in [&group_length.0, &meta.0, &data.0] {
        out.extend_from_slice(part);
    }
    out
}

/// The lead in CID 3001, which takes ISO/IEEE 11073-10101 codes as `partition:number`.
fn lead_meaning(lead: Lead) -> String {
    match lead {
        Lead::AVR => "aVR, augmented voltage, right".to_owned(),
        Lead::AVL => "aVL, augmented voltage, left".to_owned(),
        Lead::AVF => "aVF, augmented voltage, foot".to_owned(),
        other => format!("Lead {}", other.name()),
    }
}

/// A value of at most `limit` characters without the characters that DICOM gives a meaning: `\` separates values,
/// `^` and `=` parts of a name.
fn clean(text: &str, limit: usize) -> String {
    text.chars().filter(|c| !c.is_control() && !matches!(c, '\\' | '^' | '=')).take(limit).collect()
}

/// Everything up to group 0020 that both objects share: SOP common, study, equipment, patient, series.
struct Common<'a> {
    spec: &'a Spec,
    sop_class: &'a str,
    sop_instance: String,
    purpose: &'a str,
    modality: &'a str,
    description: &'a str,
    instance: &'a str,
    conversion: Option<&'a str>,
}

impl Common<'_> {
    fn write(&self, data: &mut DataSet) {
        let spec = self.spec;
        let date = spec.start.format("%Y%m%d").to_string();
        let time = spec.start.format("%H%M%S").to_string();
        let sent = spec.sent();
        data.text(0x0008, 0x0005, b"CS", "ISO_IR 192");
        data.text(0x0008, 0x0012, b"DA", &sent.format("%Y%m%d").to_string());
        data.text(0x0008, 0x0013, b"TM", &sent.format("%H%M%S").to_string());
        data.text(0x0008, 0x0016, b"UI", self.sop_class);
        data.text(0x0008, 0x0018, b"UI", &self.sop_instance);
        data.text(0x0008, 0x0020, b"DA", &date);
        data.text(0x0008, 0x0021, b"DA", &date);
        data.text(0x0008, 0x0023, b"DA", &date);
        data.text(0x0008, 0x002A, b"DT", &format!("{date}{time}"));
        data.text(0x0008, 0x0030, b"TM", &time);
        data.text(0x0008, 0x0031, b"TM", &time);
        data.text(0x0008, 0x0033, b"TM", &time);
        data.text(0x0008, 0x0050, b"SH", &spec.accession());
        data.text(0x0008, 0x0060, b"CS", self.modality);
        if let Some(conversion) = self.conversion {
            data.text(0x0008, 0x0064, b"CS", conversion);
        }
        data.text(0x0008, 0x0070, b"LO", &clean(&spec.manufacturer, 64));
        data.text(0x0008, 0x0090, b"PN", "");
        data.text(0x0008, 0x0201, b"SH", "+0000");
        data.text(0x0008, 0x1030, b"LO", "Electrocardiogram");
        data.text(0x0008, 0x103E, b"LO", self.description);
        data.text(0x0008, 0x1090, b"LO", &clean(&spec.model, 64));
        self.patient(data);
        data.text(0x0018, 0x1000, b"LO", &clean(&spec.device_serial, 64));
        data.text(0x0018, 0x1020, b"LO", env!("CARGO_PKG_VERSION"));
        data.text(0x0020, 0x000D, b"UI", &spec.uid("dicom study"));
        data.text(0x0020, 0x000E, b"UI", &spec.uid(&format!("dicom {} series", self.purpose)));
        data.text(0x0020, 0x0010, b"SH", "1");
        data.text(0x0020, 0x0011, b"IS", self.instance);
        data.text(0x0020, 0x0013, b"IS", "1");
    }

    /// The Patient module; its elements are type 2, so an anonymous object has them empty.
    fn patient(&self, data: &mut DataSet) {
        let spec = self.spec;
        let patient = spec.patient.as_ref();
        let name = |p: &Patient| format!("{}^{}", clean(&p.family, 31), clean(&p.given, 31));
        let birth = patient.and_then(|p| p.birth).map(|d| d.format("%Y%m%d").to_string());
        let sex = match patient.map(|p| p.sex) {
            Some(Sex::Female) => "F",
            Some(Sex::Male) => "M",
            Some(Sex::Unknown) => "O",
            None => "",
        };
        data.text(0x0010, 0x0010, b"PN", &patient.map(name).unwrap_or_default());
        data.text(0x0010, 0x0020, b"LO", &patient.map(|p| clean(&p.id, 64)).unwrap_or_default());
        data.text(0x0010, 0x0030, b"DA", &birth.unwrap_or_default());
        data.text(0x0010, 0x0040, b"CS", sex);
        if let Some(age) = spec.age_years().filter(|age| *age < 1000) {
            data.text(0x0010, 0x1010, b"AS", &format!("{age:03}Y"));
        }
    }
}

/// One item of the Channel Definition Sequence: 1 uV a unit, no offset, no skew.
fn channel(lead: Lead) -> DataSet {
    let mut item = DataSet::default();
    item.text(0x003A, 0x0203, b"SH", lead.name());
    item.code(0x003A, 0x0208, &format!("2:{}", lead.code()), "MDC", &lead_meaning(lead));
    item.text(0x003A, 0x0210, b"DS", "1");
    item.code(0x003A, 0x0211, "uV", "UCUM", "microvolt");
    item.text(0x003A, 0x0212, b"DS", "1");
    item.text(0x003A, 0x0213, b"DS", "0");
    item.text(0x003A, 0x0215, b"DS", "0");
    item.u16(0x003A, 0x021A, 16);
    item.text(0x003A, 0x0220, b"DS", "0.05");
    item.text(0x003A, 0x0221, b"DS", "150");
    item
}

/// Writes a 12-lead ECG waveform object (SOP class 1.2.840.10008.5.1.4.1.1.9.1.1).
///
/// PS3.3 A.34.3.4 caps that class at 16384 samples per channel; a longer recording becomes a General ECG object
/// (...9.1.2). Both classes take 200 to 1000 Hz.
pub fn write_ecg(spec: &Spec) -> Result<Vec<u8>, SynthError> {
    let waveform = Waveform::synthesize(spec)?;
    if !(200..=1000).contains(&spec.sample_rate_hz) {
        return Err(SynthError::Unrepresentable { format: "DICOM ECG", limit: "200 to 1000 Hz (PS3.3, A.34.3.4.4)" });
    }
    let sop_class = if waveform.samples() <= 16_384 { TWELVE_LEAD_ECG } else { GENERAL_ECG };
    let sop_instance = spec.uid("dicom ecg sop");
    let mut data = DataSet::default();
    let common = Common {
        spec,
        sop_class,
        sop_instance: sop_instance.clone(),
        purpose: "ecg",
        modality: "ECG",
        description: "Resting ECG",
        instance: "1",
        conversion: None,
    };
    common.write(&mut data);

    let mut group = DataSet::default();
    group.text(0x003A, 0x0004, b"CS", "ORIGINAL");
    group.u16(0x003A, 0x0005, u16::from(spec.leads));
    group.u32(0x003A, 0x0010, waveform.samples() as u32);
    group.text(0x003A, 0x001A, b"DS", &spec.sample_rate_hz.to_string());
    group.text(0x003A, 0x0020, b"SH", "RHYTHM");
    let channels: Vec<DataSet> = waveform.leads().iter().map(|(lead, _)| channel(*lead)).collect();
    group.sequence(0x003A, 0x0200, &channels);
    group.u16(0x5400, 0x1004, 16);
    group.text(0x5400, 0x1006, b"CS", "SS");
    let samples: Vec<u8> = waveform.interleaved().flat_map(i16::to_le_bytes).collect();
    group.element(0x5400, 0x1010, b"OW", &samples);

    // Acquisition context (TID 3401): where the electrodes sat.
    let mut context = DataSet::default();
    context.text(0x0040, 0xA040, b"CS", "CODE");
    context.code(0x0040, 0xA043, "10:11345", "MDC", "Lead System");
    let placement = "Standard 12-lead positions, electrodes placed individually";
    context.code(0x0040, 0xA168, "10:11265", "MDC", placement);
    data.sequence(0x0040, 0x0555, &[context]);
    data.sequence(0x0040, 0xB020, &annotations(spec, &waveform));
    data.sequence(0x5400, 0x0100, &[group]);
    Ok(file(sop_class, &sop_instance, &data))
}

/// The Waveform Annotation module: the statement as text, and the measurements with their units.
fn annotations(spec: &Spec, waveform: &Waveform) -> Vec<DataSet> {
    // Channel 0 of multiplex group 1 stands for all channels (PS3.3, C.10.10.1.1).
    let whole_group = [1u16, 0].map(u16::to_le_bytes).concat();
    let mut statement = DataSet::default();
    statement.element(0x0040, 0xA0B0, b"US", &whole_group);
    statement.u16(0x0040, 0xA180, 0);
    statement.text(0x0070, 0x0006, b"ST", &spec.interpretation());
    let measured = waveform.intervals();
    let mut items = vec![statement];
    // CID 3228 names these by their ISO/IEEE 11073-10101 codes.
    for (code, meaning, unit, unit_meaning, value) in [
        ("2:16168", "RR interval global", "ms", "millisecond", measured.rr),
        ("2:15872", "PR interval global", "ms", "millisecond", measured.pr),
        ("2:16156", "QRS duration global", "ms", "millisecond", measured.qrs),
        ("2:16160", "QT interval global", "ms", "millisecond", measured.qt),
    ] {
        let mut item = DataSet::default();
        item.code(0x0040, 0x08EA, unit, "UCUM", unit_meaning);
        item.code(0x0040, 0xA043, code, "MDC", meaning);
        item.element(0x0040, 0xA0B0, b"US", &whole_group);
        item.u16(0x0040, 0xA180, 1);
        item.text(0x0040, 0xA30A, b"DS", &value.to_string());
        items.push(item);
    }
    items
}

/// Writes the printout of [`pdf`] as an Encapsulated PDF object (SOP class 1.2.840.10008.5.1.4.1.1.104.1), in the
/// study of the waveform object.
pub fn write_encapsulated_pdf(spec: &Spec) -> Result<Vec<u8>, SynthError> {
    let document = pdf::write(spec)?;
    let sop_instance = spec.uid("dicom pdf sop");
    let mut data = DataSet::default();
    let common = Common {
        spec,
        sop_class: ENCAPSULATED_PDF,
        sop_instance: sop_instance.clone(),
        purpose: "pdf",
        modality: "ECG",
        description: "ECG report",
        instance: "2",
        conversion: Some("WSD"),
    };
    common.write(&mut data);
    data.text(0x0028, 0x0301, b"CS", "YES");
    data.code(0x0040, 0xA043, "11524-6", "LN", "EKG study");
    data.text(0x0042, 0x0010, b"ST", "12-lead ECG report");
    data.element(0x0042, 0x0011, b"OB", &document);
    data.text(0x0042, 0x0012, b"LO", "application/pdf");
    data.u32(0x0042, 0x0015, document.len() as u32);
    Ok(file(ENCAPSULATED_PDF, &sop_instance, &data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_even_and_the_pdf_ends_where_its_length_says() {
        let spec = Spec::new(5);
        let bytes = write_encapsulated_pdf(&spec).unwrap();
        assert_eq!(bytes.len() % 2, 0);
        let document = pdf::write(&spec).unwrap();
        let tail = 8 + 16 + 12;
        // MIME type (8 + 16 bytes) and length (8 + 4 bytes) follow the document.
        let mime = bytes.len() - tail;
        assert_eq!(&bytes[mime..mime + 8], &[0x42, 0, 0x12, 0, b'L', b'O', 16, 0]);
        assert_eq!(bytes[bytes.len() - 4..], (document.len() as u32).to_le_bytes());
    }

    #[test]
    fn class_and_limits_follow_the_length_and_rate() {
        let class_of = |spec: &Spec| {
            let bytes = write_ecg(spec).unwrap();
            let at = |needle: &str| bytes.windows(needle.len()).any(|w| w == needle.as_bytes());
            (at(TWELVE_LEAD_ECG), at(GENERAL_ECG))
        };
        let spec = Spec { leads: 2, ..Spec::new(1) };
        assert_eq!(class_of(&spec), (true, false));
        assert_eq!(class_of(&Spec { seconds: 33, ..spec.clone() }), (false, true));
        let slow = Spec { sample_rate_hz: 128, ..spec };
        assert!(matches!(write_ecg(&slow), Err(SynthError::Unrepresentable { .. })));
    }

    #[test]
    fn separators_do_not_reach_the_values() {
        assert_eq!(clean("a\\b^c=d\u{7}", 3), "abc");
    }
}
