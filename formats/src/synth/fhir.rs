//! FHIR R4 (4.0.1): a DiagnosticReport whose `presentedForm` holds the printout inline.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha1::{Digest as _, Sha1};

use super::pdf;
use super::spec::{Sex, Spec, SynthError};

// Structures keep the order in which they are declared. A `serde_json::Value` would order its keys by a feature
// that any crate of a build can switch on, and the bytes would depend on the build.

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    resource_type: &'static str,
    id: String,
    meta: Meta,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    contained: Vec<Patient>,
    identifier: [Identifier; 1],
    status: &'static str,
    category: [Concept; 1],
    code: Concept,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Reference>,
    effective_date_time: String,
    issued: String,
    conclusion: String,
    presented_form: [Attachment; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    version_id: String,
    last_updated: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Patient {
    resource_type: &'static str,
    id: &'static str,
    identifier: [Identifier; 1],
    name: [Name; 1],
    gender: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    birth_date: Option<String>,
}

#[derive(Serialize)]
struct Name {
    family: String,
    given: [String; 1],
}

#[derive(Serialize)]
struct Identifier {
    system: String,
    value: String,
}

#[derive(Serialize)]
struct Concept {
    coding: [Coding; 1],
}

#[derive(Serialize)]
struct Coding {
    system: &'static str,
    code: &'static str,
    display: &'static str,
}

#[derive(Serialize)]
struct Reference {
    reference: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Attachment {
    content_type: &'static str,
    data: String,
    size: usize,
    hash: String,
    title: &'static str,
    creation: String,
}

fn concept(system: &'static str, code: &'static str, display: &'static str) -> Concept {
    Concept { coding: [Coding { system, code, display }] }
}

/// Writes a DiagnosticReport in JSON. `size` and `hash` of the attachment are those of the printout's bytes; the hash
/// is the base64 of its SHA-1 (2.24.0.1.3 Attachment). Instants state UTC.
pub fn write(spec: &Spec) -> Result<Vec<u8>, SynthError> {
    let document = pdf::write(spec)?;
    let instant = |t: chrono::NaiveDateTime| t.format("%Y-%m-%dT%H:%M:%SZ").to_string();
    let patient = spec.patient.as_ref().map(|p| Patient {
        resource_type: "Patient",
        id: "patient",
        identifier: [Identifier { system: format!("urn:uuid:{}", spec.uuid("clinic")), value: p.id.clone() }],
        name: [Name { family: p.family.clone(), given: [p.given.clone()] }],
        gender: match p.sex {
            Sex::Female => "female",
            Sex::Male => "male",
            Sex::Unknown => "unknown",
        },
        birth_date: p.birth.map(|d| d.format("%Y-%m-%d").to_string()),
    });
    let report = Report {
        resource_type: "DiagnosticReport",
        id: spec.stem(),
        meta: Meta { version_id: (u32::from(spec.revision) + 1).to_string(), last_updated: instant(spec.sent()) },
        subject: patient.as_ref().map(|_| Reference { reference: "#patient" }),
        contained: patient.into_iter().collect(),
        identifier: [Identifier {
            system: "urn:ietf:rfc:3986".to_owned(),
            value: format!("urn:oid:{}", spec.uid("fhir")),
        }],
        status: if spec.revision == 0 { "final" } else { "amended" },
        category: [concept(
            "http://terminology.hl7.org/CodeSystem/v2-0074",
            "EC",
            "Electrocardiac (e.g., EKG,  EEC, Holter)",
        )],
        code: concept("http://loinc.org", "11524-6", "EKG study"),
        effective_date_time: instant(spec.start),
        issued: instant(spec.sent()),
        conclusion: spec.interpretation(),
        presented_form: [Attachment {
            content_type: "application/pdf",
            data: STANDARD.encode(&document),
            size: document.len(),
            hash: STANDARD.encode(Sha1::digest(&document)),
            title: "12-lead ECG report",
            creation: instant(spec.sent()),
        }],
    };
    // Serializing plain structures of strings and numbers to memory has no way to fail.
    Ok(serde_json::to_vec_pretty(&report).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attachment_is_the_printout() {
        let spec = Spec::new(14);
        let json: serde_json::Value = serde_json::from_slice(&write(&spec).unwrap()).unwrap();
        let form = &json["presentedForm"][0];
        let document = STANDARD.decode(form["data"].as_str().unwrap()).unwrap();
        assert_eq!(document, pdf::write(&spec).unwrap());
        assert_eq!(form["size"], document.len());
        assert_eq!(json["subject"]["reference"], "#patient");
        assert_eq!(json["contained"][0]["resourceType"], "Patient");
    }

    #[test]
    fn an_anonymous_report_has_no_subject() {
        let spec = Spec { patient: None, ..Spec::new(14) };
        let json: serde_json::Value = serde_json::from_slice(&write(&spec).unwrap()).unwrap();
        assert!(json.get("subject").is_none() && json.get("contained").is_none());
    }
}
