//! Transactions (FHIR R4 section 3.1.0.11): all entries are read and resolved before any of them is stored.

use super::json::Json;
use super::outcome::{Issue, Problem};
use super::request::condition;
use super::resource::{Create, Source, parse, resource};
use crate::attachment;
use leadline_domain::FaultCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Entries of one transaction.
const ENTRIES: usize = 100;

/// Reads the body of a transaction. A document that an entry refers to and that another entry brings is in that entry
/// alone; it is held against what the first one declares.
///
/// # Errors
/// As [`super::read`], with the place in the bundle; 422 for batches, other methods and other resources.
pub fn transaction(raw: &[u8]) -> Result<Vec<Create>, Problem> {
    let bundle = parse(raw)?;
    if bundle.text("resourceType") != Some("Bundle") {
        let why = "it is no Bundle: resources of other types have addresses of their own";
        return Err(Problem::new(400, Issue::Structure, FaultCode::FhirInvalid, why).at("resourceType"));
    }
    if bundle.text("type") != Some("transaction") {
        let why = "transactions are taken";
        return Err(Problem::new(422, Issue::NotSupported, FaultCode::FhirNotSupported, why).at("Bundle.type"));
    }
    let entries = bundle.list("entry");
    if entries.is_empty() || entries.len() > ENTRIES {
        let why = format!("a transaction has 1 to {ENTRIES} entries here");
        return Err(Problem::invalid(Issue::TooLong, why).at("Bundle.entry"));
    }
    let mut creates = Vec::new();
    let mut names = BTreeMap::new();
    for (index, entry) in entries.iter().enumerate() {
        creates.push(one(entry).map_err(|p| p.at(format!("Bundle.entry[{index}].resource")))?);
        let full = entry.text("fullUrl").filter(|f| !f.is_empty());
        if full.is_some_and(|full| names.insert(full.to_owned(), index).is_some()) {
            let why = "two entries have one fullUrl";
            return Err(Problem::invalid(Issue::Invariant, why).at(format!("Bundle.entry[{index}]")));
        }
    }
    resolve(&mut creates, &names)?;
    Ok(creates)
}

fn one(entry: &Json) -> Result<Create, Problem> {
    let request = entry.get("request");
    let text = |name: &str| request.and_then(|r| r.text(name));
    let unsupported = |why: &str| Err(Problem::new(422, Issue::NotSupported, FaultCode::FhirNotSupported, why));
    if text("method") != Some("POST") {
        return unsupported("entries with the method POST are taken");
    }
    let Some(value @ Json::Object(_)) = entry.get("resource") else {
        return Err(Problem::invalid(Issue::Required, "resource is missing"));
    };
    let kind = value.text("resourceType").unwrap_or_default();
    if text("url").map(|u| u.trim_matches('/')) != Some(kind) {
        return Err(Problem::invalid(Issue::Value, "request.url is not the type of the resource"));
    }
    let condition = text("ifNoneExist").map(condition).transpose()?;
    let body = serde_json::to_vec(value).unwrap_or_default();
    resource(value, body, condition)
}

fn resolve(creates: &mut [Create], names: &BTreeMap<String, usize>) -> Result<(), Problem> {
    for index in 0..creates.len() {
        let mut elsewhere = Vec::new();
        for attached in std::mem::take(&mut creates[index].documents) {
            let Source::At(url, size, hash) = &attached.source else {
                elsewhere.push(attached);
                continue;
            };
            let Some(to) = names.get(url) else {
                if url.starts_with("urn:") {
                    let why = "it refers to an entry that is not in the bundle";
                    let problem = Problem::new(422, Issue::NotFound, FaultCode::FhirUnresolved, why);
                    return Err(problem.at(attached.path).at(format!("Bundle.entry[{index}].resource")));
                }
                elsewhere.push(attached);
                continue;
            };
            let content = match creates[*to].documents.first() {
                Some(document) if creates[*to].kind == "Binary" => match &document.source {
                    Source::Here(content) => content,
                    Source::At(..) => continue,
                },
                _ => {
                    let why = "it refers to an entry that is no Binary";
                    let problem = Problem::new(422, Issue::NotFound, FaultCode::FhirUnresolved, why);
                    return Err(problem.at(attached.path).at(format!("Bundle.entry[{index}].resource")));
                }
            };
            attachment::declared(content, *size, hash.as_deref())
                .map_err(|f| Problem::from(f).at(attached.path).at(format!("Bundle.entry[{index}].resource")))?;
        }
        creates[index].documents = elsewhere;
    }
    Ok(())
}

/// What became of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    /// Its type.
    pub kind: &'static str,
    /// Its id.
    pub id: String,
    /// Whether it existed already, so that nothing was done.
    pub existed: bool,
}

/// The body that answers a transaction.
#[must_use]
pub fn response(entries: &[Answered]) -> Value {
    let entry = |a: &Answered| {
        let status = if a.existed { "200 OK" } else { "201 Created" };
        let location = format!("{}/{}/_history/1", a.kind, a.id);
        json!({ "response": { "status": status, "location": location, "etag": "W/\"1\"" } })
    };
    let entries: Vec<Value> = entries.iter().map(entry).collect();
    json!({ "resourceType": "Bundle", "type": "transaction-response", "entry": entries })
}
