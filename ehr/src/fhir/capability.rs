//! What this server can do (FHIR R4 section 2.28.5): what is here and nothing else.

use super::resource::KINDS;
use serde_json::{Value, json};

/// The CapabilityStatement. `base` is the address of the FHIR service, `version` that of the software.
#[must_use]
pub fn capability_statement(base: &str, version: &str) -> Value {
    let resources: Vec<Value> = KINDS
        .iter()
        .map(|kind| {
            json!({
                "type": kind,
                "interaction": [{ "code": "create" }],
                "versioning": "no-version",
                "readHistory": false,
                "updateCreate": false,
                "conditionalCreate": *kind != "Binary",
            })
        })
        .collect();
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-24",
        "kind": "instance",
        "software": { "name": "leadline", "version": version },
        "implementation": { "description": "Takes in ECG recordings.", "url": base },
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json"],
        "rest": [{
            "mode": "server",
            "documentation": "Resources are taken in for their documents and cannot be read back.",
            "resource": resources,
            "interaction": [{ "code": "transaction" }],
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_is_there() {
        let statement = capability_statement("https://ecg.example.org/fhir", "0.1.0");
        assert_eq!(statement["fhirVersion"], "4.0.1");
        assert_eq!(statement["rest"][0]["resource"].as_array().unwrap().len(), 3);
        assert!(!statement.to_string().contains("\"read\""));
    }
}
