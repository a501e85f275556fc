//! HL7 annotated ECG: message type PORT_MT020001 (ANSI/HL7 V3 ECG, R1-2004).

use super::spec::{Patient, Sex, Spec, SynthError};
use super::text::{put, xml};
use super::waveform::Waveform;

/// ISO/IEEE 11073-10101, CPT-4 and HL7 ActCode as code systems.
const MDC: &str = r#"codeSystem="2.16.840.1.113883.6.24" codeSystemName="MDC""#;
const CPT4: &str = r#"codeSystem="2.16.840.1.113883.6.12" codeSystemName="CPT-4""#;
const ACT_CODE: &str = r#"codeSystem="2.16.840.1.113883.5.4" codeSystemName="ActCode""#;

/// Writes an annotated ECG in UTF-8 with one rhythm series: an absolute time axis, one `digits` element a lead, and
/// the rate and intervals as annotations.
pub fn write(spec: &Spec) -> Result<Vec<u8>, SynthError> {
    let waveform = Waveform::synthesize(spec)?;
    let time = |t: chrono::NaiveDateTime| t.format("%Y%m%d%H%M%S").to_string();
    let (start, end) = (time(spec.start), time(spec.end()));
    let mut out = String::with_capacity(8192 + waveform.samples() * waveform.leads().len() * 5);
    put(
        &mut out,
        format_args!(
            r#"<?xml version="1.0" encoding="UTF-8"?>
<AnnotatedECG xmlns="urn:hl7-org:v3" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" type="Observation">
  <id root="{id}" extension="{accession}"/>
  <code code="93000" {CPT4}/>
  <text>{remark}</text>
  <effectiveTime>
    <low value="{start}" inclusive="true"/>
    <high value="{end}" inclusive="false"/>
  </effectiveTime>
"#,
            id = spec.uuid("aecg"),
            accession = spec.accession(),
            remark = xml(&spec.interpretation()),
        ),
    );
    subject(&mut out, spec);
    put(
        &mut out,
        format_args!(
            r#"  <component>
    <series>
      <id root="{series}"/>
      <code code="RHYTHM" {ACT_CODE} displayName="Rhythm Waveforms"/>
      <effectiveTime>
        <low value="{start}" inclusive="true"/>
        <high value="{end}" inclusive="false"/>
      </effectiveTime>
      <author>
        <seriesAuthor>
          <id root="{device}" extension="{serial}"/>
          <manufacturedSeriesDevice>
            <id root="{device}" extension="{serial}"/>
            <manufacturerModelName>{model}</manufacturerModelName>
            <softwareName>{version}</softwareName>
          </manufacturedSeriesDevice>
          <manufacturerOrganization>
            <name>{manufacturer}</name>
          </manufacturerOrganization>
        </seriesAuthor>
      </author>
      <component>
        <sequenceSet>
          <component>
            <sequence>
              <code code="TIME_ABSOLUTE" {ACT_CODE} displayName="Absolute Time"/>
              <value xsi:type="GLIST_TS">
                <head value="{start}.000"/>
                <increment value="{increment}" unit="s"/>
              </value>
            </sequence>
          </component>
"#,
            series = spec.uuid("aecg series"),
            device = spec.uuid("aecg device"),
            serial = xml(&spec.device_serial),
            model = xml(&spec.model),
            version = env!("CARGO_PKG_VERSION"),
            manufacturer = xml(&spec.manufacturer),
            increment = 1.0 / f64::from(spec.sample_rate_hz),
        ),
    );
    for (lead, samples) in waveform.leads() {
        put(
            &mut out,
            format_args!(
                r#"          <component>
            <sequence>
              <code code="MDC_ECG_LEAD_{}" {MDC}/>
              <value xsi:type="SLIST_PQ">
                <origin value="0" unit="uV"/>
                <scale value="1" unit="uV"/>
                <digits>"#,
                // The nomenclature writes MDC_ECG_LEAD_AVR where the other codes keep the usual spelling.
                lead.name().to_uppercase()
            ),
        );
        for (n, sample) in samples.iter().enumerate() {
            put(&mut out, format_args!("{}{sample}", if n == 0 { "" } else { " " }));
        }
        out.push_str("</digits>\n              </value>\n            </sequence>\n          </component>\n");
    }
    out.push_str("        </sequenceSet>\n      </component>\n");
    annotations(&mut out, &waveform);
    out.push_str("    </series>\n  </component>\n</AnnotatedECG>\n");
    Ok(out.into_bytes())
}

/// The subject and the trial. The message knows recordings only as part of a clinical trial.
fn subject(out: &mut String, spec: &Spec) {
    let patient = spec.patient.as_ref();
    let id = patient.map_or("ANONYMOUS", |p| p.id.as_str());
    put(
        out,
        format_args!(
            r#"  <componentOf>
    <timepointEvent>
      <componentOf>
        <subjectAssignment>
          <subject>
            <trialSubject>
              <id root="{root}" extension="{id}"/>
"#,
            root = spec.uuid("aecg subject"),
            id = xml(id)
        ),
    );
    if let Some(Patient { family, given, birth, sex, .. }) = patient {
        let gender = match sex {
            Sex::Female => "F",
            Sex::Male => "M",
            Sex::Unknown => "UN",
        };
        put(
            out,
            format_args!(
                r#"              <subjectDemographicPerson>
                <name><family>{}</family><given>{}</given></name>
                <administrativeGenderCode code="{gender}" codeSystem="2.16.840.1.113883.5.1"/>
"#,
                xml(family),
                xml(given)
            ),
        );
        if let Some(birth) = birth {
            put(out, format_args!("                <birthTime value=\"{}\"/>\n", birth.format("%Y%m%d")));
        }
        out.push_str("              </subjectDemographicPerson>\n");
    }
    put(
        out,
        format_args!(
            r#"            </trialSubject>
          </subject>
          <componentOf>
            <clinicalTrial>
              <id root="{}" extension="SYNTHETIC"/>
            </clinicalTrial>
          </componentOf>
        </subjectAssignment>
      </componentOf>
    </timepointEvent>
  </componentOf>
"#,
            spec.uuid("aecg trial")
        ),
    );
}

/// The measurements as one annotation set of the series.
fn annotations(out: &mut String, waveform: &Waveform) {
    let measured = waveform.intervals();
    out.push_str("      <subjectOf>\n        <annotationSet>\n");
    for (code, value, unit) in [
        ("MDC_ECG_HEART_RATE", measured.rate, "bpm"),
        ("MDC_ECG_TIME_PD_RR", measured.rr, "ms"),
        ("MDC_ECG_TIME_PD_PR", measured.pr, "ms"),
        ("MDC_ECG_TIME_PD_QRS", measured.qrs, "ms"),
        ("MDC_ECG_TIME_PD_QT", measured.qt, "ms"),
        ("MDC_ECG_TIME_PD_QTc", measured.qtc, "ms"),
    ] {
        put(
            out,
            format_args!(
                r#"          <component>
            <annotation>
              <code code="{code}" {MDC}/>
              <value xsi:type="PQ" value="{value}" unit="{unit}"/>
            </annotation>
          </component>
"#
            ),
        );
    }
    out.push_str("        </annotationSet>\n      </subjectOf>\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_a_digits_element_a_lead_and_escapes_text() {
        let mut spec = Spec { leads: 4, seconds: 1, ..Spec::new(6) };
        if let Some(p) = &mut spec.patient {
            p.family = "<O'Neil & \u{e9}>".to_owned();
        }
        let text = String::from_utf8(write(&spec).unwrap()).unwrap();
        assert_eq!(text.matches("<digits>").count(), 4);
        assert!(text.contains("MDC_ECG_LEAD_AVR"));
        assert!(text.contains("<family>&lt;O&apos;Neil &amp; \u{e9}&gt;</family>"));
        assert!(text.contains(r#"<increment value="0.002" unit="s"/>"#));
        assert!(text.ends_with("</AnnotatedECG>\n"));
    }
}
