//! HL7 version 2.5.1: an unsolicited observation message, ORU^R01 (chapter 7), with the printout in an OBX segment
//! of type ED (2.A.24).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::pdf;
use super::spec::{Sex, Spec, SynthError};
use super::text::put;
use super::waveform::Waveform;

/// Escapes the delimiters of a field (2.7.1) and drops control characters, which would end the segment.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars().filter(|c| !c.is_control()) {
        match c {
            '\\' => out.push_str("\\E\\"),
            '|' => out.push_str("\\F\\"),
            '^' => out.push_str("\\S\\"),
            '&' => out.push_str("\\T\\"),
            '~' => out.push_str("\\R\\"),
            other => out.push(other),
        }
    }
    out
}

/// Writes the bare message: segments that end in a carriage return, UTF-8, no MLLP frame around it.
///
/// MSH-10 depends on the recording and its revision, so that a later revision is a new message.
pub fn write(spec: &Spec) -> Result<Vec<u8>, SynthError> {
    let waveform = Waveform::synthesize(spec)?;
    let document = STANDARD.encode(pdf::write(spec)?);
    let measured = waveform.intervals();
    let time = |t: chrono::NaiveDateTime| t.format("%Y%m%d%H%M%S").to_string();
    let (start, sent, accession) = (time(spec.start), time(spec.sent()), spec.accession());
    let status = if spec.revision == 0 { 'F' } else { 'C' };
    let control = format!("{:016X}{:02X}", spec.uuid_bits("hl7 control") as u64, spec.revision);

    let mut out = String::with_capacity(document.len() + 2048);
    let mut segment = |args: std::fmt::Arguments<'_>| {
        put(&mut out, args);
        out.push('\r');
    };
    segment(format_args!(
        "MSH|^~\\&|{}|SYNTHETIC|LEADLINE|CLOUD|{sent}||ORU^R01^ORU_R01|{control}|T|2.5.1|||AL|NE||UNICODE UTF-8",
        escape(&spec.manufacturer)
    ));
    match &spec.patient {
        Some(p) => {
            let sex = match p.sex {
                Sex::Female => "F",
                Sex::Male => "M",
                Sex::Unknown => "U",
            };
            let birth = p.birth.map(|d| d.format("%Y%m%d").to_string()).unwrap_or_default();
            let (id, family, given) = (escape(&p.id), escape(&p.family), escape(&p.given));
            segment(format_args!("PID|1||{id}^^^SYNTHETIC^MR||{family}^{given}^^^^^L||{birth}|{sex}"));
        }
        None => segment(format_args!("PID|1||ANONYMOUS^^^SYNTHETIC^MR||^^^^^^S")),
    }
    segment(format_args!("PV1|1|O"));
    segment(format_args!("ORC|RE|{accession}|{accession}||CM"));
    // OBR-7 is the acquisition, OBR-22 the report, OBR-24 EC: electrocardiac (table 0074).
    segment(format_args!(
        "OBR|1|{accession}|{accession}|93000^Electrocardiogram complete^C4|||{start}|||||||||||||||{sent}||EC|{status}"
    ));
    for (n, code, name, value, unit) in [
        (1, "8867-4", "Heart rate", measured.rate, "/min"),
        (2, "8625-6", "P-R Interval", measured.pr, "ms"),
        (3, "8633-0", "QRS duration", measured.qrs, "ms"),
        (4, "8634-8", "Q-T interval", measured.qt, "ms"),
    ] {
        segment(format_args!("OBX|{n}|NM|{code}^{name}^LN||{value}|{unit}|||||{status}|||{start}"));
    }
    segment(format_args!(
        "OBX|5|ED|11524-6^EKG study^LN||{}^application^pdf^Base64^{document}||||||{status}|||{start}",
        escape(&spec.model)
    ));
    segment(format_args!("NTE|1||{}", escape(&spec.interpretation())));
    Ok(out.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn carries_the_printout_and_escapes_delimiters() {
        let mut spec = Spec::new(12);
        if let Some(p) = &mut spec.patient {
            p.family = "a|b^c&d~e\\f\r".to_owned();
        }
        let text = String::from_utf8(write(&spec).unwrap()).unwrap();
        assert!(text.contains("||a\\F\\b\\S\\c\\T\\d\\R\\e\\E\\f^"));
        assert!(!text.contains('\n') && text.ends_with('\r'));
        let obx = text.split('\r').find(|s| s.starts_with("OBX|5|")).unwrap();
        let data = obx.split('|').nth(5).unwrap().split('^').nth(4).unwrap();
        assert_eq!(STANDARD.decode(data).unwrap(), pdf::write(&spec).unwrap());
    }

    #[test]
    fn a_revision_is_a_corrected_result_in_a_new_message() {
        let field = |spec: &Spec, segment: &str, at: usize| {
            let text = String::from_utf8(write(spec).unwrap()).unwrap();
            text.split('\r').find(|s| s.starts_with(segment)).unwrap().split('|').nth(at).unwrap().to_owned()
        };
        let first = Spec::new(13);
        let second = Spec { revision: 1, ..first.clone() };
        assert_eq!((field(&first, "OBR", 25), field(&second, "OBR", 25)), ("F".to_owned(), "C".to_owned()));
        assert_eq!(field(&first, "OBR", 3), field(&second, "OBR", 3));
        assert_ne!(field(&first, "MSH", 9), field(&second, "MSH", 9));
        assert_eq!(field(&first, "OBX|5", 11), "F");
    }
}
