//! Transactions (FHIR R4 section 3.1.0.11): all entries are read and resolved before any of them is stored.

use super::json::Json;
use super::outcome::{Issue, Problem};
use super::request::condition;
use super::resource::{Attached, Create, KINDS, Source, parse, resource};
use crate::attachment;
use leadline_domain::FaultCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Entries of one transaction.
const ENTRIES: usize = 100;

/// Reads the body of a transaction. A document that an entry refers to and that another entry brings is in that entry
/// alone; it is held against what the first one declares. Entries with other resources are `None`: senders put patient
/// and author beside a document, and those are not created here.
///
/// # Errors
/// As [`super::read`], with the place in the bundle; 422 for batches and other methods, and where no entry is one of
/// those that are taken.
pub fn transaction(raw: &[u8]) -> Result<Vec<Option<Create>>, Problem> {
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
    if creates.iter().all(Option::is_none) {
        let why = "it has no Binary, DocumentReference or DiagnosticReport";
        return Err(Problem::new(422, Issue::NotSupported, FaultCode::FhirNotSupported, why).at("Bundle.entry"));
    }
    resolve(&mut creates, &names)?;
    Ok(creates)
}

fn one(entry: &Json) -> Result<Option<Create>, Problem> {
    let request = entry.get("request");
    let text = |name: &str| request.and_then(|r| r.text(name));
    let unsupported = |why: &str| Err(Problem::new(422, Issue::NotSupported, FaultCode::FhirNotSupported, why));
    let Some(value @ Json::Object(_)) = entry.get("resource") else {
        return unsupported("entries with a resource are taken");
    };
    let kind = value.text("resourceType").unwrap_or_default();
    match text("method") {
        Some("POST") => {}
        Some("PUT") if !KINDS.contains(&kind) => {}
        _ => return unsupported("documents are taken by POST"),
    }
    if !KINDS.contains(&kind) {
        return Ok(None);
    }
    if text("url").map(|u| u.trim_matches('/')) != Some(kind) {
        return Err(Problem::invalid(Issue::Value, "request.url is not the type of the resource"));
    }
    let condition = text("ifNoneExist").map(condition).transpose()?;
    let body = serde_json::to_vec(value).unwrap_or_default();
    resource(value, body, condition).map(Some)
}

fn unresolved(why: &str) -> Problem {
    Problem::new(422, Issue::NotFound, FaultCode::FhirUnresolved, why)
}

fn resolve(creates: &mut [Option<Create>], names: &BTreeMap<String, usize>) -> Result<(), Problem> {
    for index in 0..creates.len() {
        let Some(documents) = creates[index].as_mut().map(|c| std::mem::take(&mut c.documents)) else { continue };
        let mut left = Vec::new();
        for attached in documents {
            let place = |p: Problem| p.at(attached.path.clone()).at(format!("Bundle.entry[{index}].resource"));
            let Source::At(url, size, hash) = &attached.source else {
                left.push(attached);
                continue;
            };
            match names.get(url) {
                Some(to) => {
                    let binary = creates[*to].as_ref().filter(|c| c.kind == "Binary").and_then(|c| c.documents.first());
                    let Some(Attached { source: Source::Here(content), .. }) = binary else {
                        return Err(place(unresolved("it refers to an entry that is no Binary")));
                    };
                    attachment::declared(content, *size, hash.as_deref()).map_err(|f| place(f.into()))?;
                }
                None if url.starts_with("urn:") => {
                    return Err(place(unresolved("it refers to an entry that is not in the bundle")));
                }
                None => left.push(attached),
            }
        }
        if let Some(create) = &mut creates[index] {
            create.documents = left;
        }
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

/// The body that answers a transaction; `None` for an entry with a resource of another type.
#[must_use]
pub fn response(entries: &[Option<Answered>]) -> Value {
    let entry = |answered: &Option<Answered>| match answered {
        Some(a) => {
            let status = if a.existed { "200 OK" } else { "201 Created" };
            let location = format!("{}/{}/_history/1", a.kind, a.id);
            json!({ "response": { "status": status, "location": location, "etag": "W/\"1\"" } })
        }
        None => {
            let told = "Kept with the transaction, and not created: documents are taken in here.";
            let issue = json!({ "severity": "information", "code": "informational", "diagnostics": told });
            let outcome = json!({ "resourceType": "OperationOutcome", "issue": [issue] });
            json!({ "response": { "status": "202 Accepted", "outcome": outcome } })
        }
    };
    let entries: Vec<Value> = entries.iter().map(entry).collect();
    json!({ "resourceType": "Bundle", "type": "transaction-response", "entry": entries })
}
