//! Headers of requests: media types (FHIR R4 section 3.1.0.1.9) and conditions (section 3.1.0.8.1).

use super::outcome::{Issue, Problem};
use leadline_domain::FaultCode;

/// What a body is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Media {
    /// FHIR in JSON.
    Json,
    /// Something else: the content of a Binary itself.
    Native,
}

fn unsupported(why: &str) -> Problem {
    Problem::new(415, Issue::NotSupported, FaultCode::FhirNotSupported, why)
}

/// Reads `Content-Type`. `native`: whether a body may be no FHIR at all, as for a Binary.
///
/// # Errors
/// 415 for XML, another version than 4.0, another character set than UTF-8, and anything that is not FHIR.
pub fn media(content_type: &str, native: bool) -> Result<Media, Problem> {
    let mut parts = content_type.split(';').map(str::trim);
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let fhir = match kind.as_str() {
        "application/fhir+json" => true,
        "application/json" | "text/json" => !native,
        "application/fhir+xml" => return Err(unsupported("FHIR in XML is not taken: send application/fhir+json")),
        "application/fhir+turtle" => {
            return Err(unsupported("FHIR in Turtle is not taken: send application/fhir+json"));
        }
        _ => false,
    };
    if !fhir {
        return match native && kind.contains('/') {
            true => Ok(Media::Native),
            false => Err(unsupported("Content-Type must be application/fhir+json")),
        };
    }
    for part in parts {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let value = value.trim_matches('"');
        match name.to_ascii_lowercase().as_str() {
            "fhirversion" if value != "4.0" => return Err(unsupported("fhirVersion: 4.0 is taken")),
            "charset" if !value.eq_ignore_ascii_case("utf-8") => return Err(unsupported("charset: UTF-8 is taken")),
            _ => {}
        }
    }
    Ok(Media::Json)
}

/// What `If-None-Exist` asks for: an identifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Its system: `None` for any, empty for none.
    pub system: Option<String>,
    /// Its value.
    pub value: String,
}

/// Reads `If-None-Exist`: one `identifier` is what this service can look for.
///
/// # Errors
/// 400 for other parameters; 412 for one that is not selective.
pub fn condition(header: &str) -> Result<Condition, Problem> {
    let query = header.split_once('?').map_or(header, |(_, query)| query);
    let mut found = None;
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if name != "identifier" || found.is_some() {
            let why = "If-None-Exist: one identifier is what can be looked for";
            return Err(Problem::new(400, Issue::NotSupported, FaultCode::FhirInvalid, why));
        }
        found = Some(match value.split_once('|') {
            Some((system, value)) => Condition { system: Some(system.to_owned()), value: value.to_owned() },
            None => Condition { system: None, value: value.into_owned() },
        });
    }
    found.filter(|c| !c.value.is_empty() && !c.value.contains(',')).ok_or_else(|| {
        let why = "If-None-Exist: an identifier with a value is needed";
        Problem::new(412, Issue::MultipleMatches, FaultCode::FhirInvalid, why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_of_this_version_is_taken() {
        for yes in [
            "application/fhir+json",
            "application/json",
            "Application/FHIR+JSON; charset=UTF-8",
            "application/fhir+json;fhirVersion=4.0",
            "application/fhir+json; fhirVersion=\"4.0\"; charset=utf-8",
        ] {
            assert_eq!(media(yes, false), Ok(Media::Json), "{yes}");
        }
        for no in [
            "",
            "application/xml",
            "application/fhir+xml",
            "application/fhir+json; fhirVersion=3.0",
            "application/fhir+json; fhirVersion=5.0",
            "application/fhir+json; charset=iso-8859-1",
            "application/pdf",
        ] {
            assert_eq!(media(no, false).unwrap_err().status, 415, "{no}");
        }
        assert_eq!(media("application/pdf", true), Ok(Media::Native));
        assert_eq!(media("application/xml", true), Ok(Media::Native));
        assert_eq!(media("application/fhir+xml", true).unwrap_err().status, 415);
        assert_eq!(media("application/fhir+json; fhirVersion=5.0", true).unwrap_err().status, 415);
    }

    #[test]
    fn one_identifier_can_be_looked_for() {
        let found = |system: Option<&str>, value: &str| {
            Ok(Condition { system: system.map(str::to_owned), value: value.to_owned() })
        };
        assert_eq!(condition("identifier=urn%3Ax|7"), found(Some("urn:x"), "7"));
        assert_eq!(condition("DocumentReference?identifier=|7"), found(Some(""), "7"));
        assert_eq!(condition("identifier=7%207"), found(None, "7 7"));
        for (no, status) in [("identifier=", 412), ("identifier=a|", 412), ("identifier=a,b", 412), ("", 412)] {
            assert_eq!(condition(no).unwrap_err().status, status, "{no}");
        }
        for no in ["patient=1", "identifier=1&status=current", "identifier:not=1"] {
            assert_eq!(condition(no).unwrap_err().status, 400, "{no}");
        }
    }
}
