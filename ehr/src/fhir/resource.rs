//! The resources that are taken, and the documents in them (FHIR R4 sections 2.39 Binary, 10.5 DocumentReference, 10.3
//! DiagnosticReport, 2.24.0.8 Attachment).

use super::json::{Json, Unread};
use super::outcome::{Issue, Problem};
use super::request::Condition;
use crate::attachment;
use leadline_domain::{Fault, FaultCode};

/// The resources that can be created.
pub const KINDS: [&str; 3] = ["Binary", "DocumentReference", "DiagnosticReport"];
/// Documents of one resource.
const DOCUMENTS: usize = 64;

const COMMON: &[&str] =
    &["resourceType", "id", "meta", "implicitRules", "language", "text", "contained", "extension", "modifierExtension"];
const BINARY: &[&str] = &["contentType", "securityContext", "data"];
const DOCUMENT: &[&str] = &[
    "masterIdentifier",
    "identifier",
    "status",
    "docStatus",
    "type",
    "category",
    "subject",
    "date",
    "author",
    "authenticator",
    "custodian",
    "relatesTo",
    "description",
    "securityLabel",
    "content",
    "context",
];
const REPORT: &[&str] = &[
    "identifier",
    "basedOn",
    "status",
    "category",
    "code",
    "subject",
    "encounter",
    "effectiveDateTime",
    "effectivePeriod",
    "issued",
    "performer",
    "resultsInterpreter",
    "specimen",
    "result",
    "imagingStudy",
    "media",
    "conclusion",
    "conclusionCode",
    "presentedForm",
];

/// Where a document is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Here: decoded, whole as far as one can tell, and what was declared.
    Here(Vec<u8>),
    /// At this address; its declared size and hash.
    At(String, Option<u64>, Option<String>),
}

/// A document of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Where it is.
    pub source: Source,
    /// FHIRPath to it.
    pub path: String,
}

/// A resource to create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Create {
    /// Its type.
    pub kind: &'static str,
    /// Its identifiers, `system|value`. A condition is one of them.
    pub identifiers: Vec<String>,
    /// The identifier under which it must not exist yet.
    pub condition: Option<String>,
    /// What is kept of it.
    pub body: Vec<u8>,
    /// Its documents, in their order.
    pub documents: Vec<Attached>,
}

impl Create {
    /// The identifier that it is found by.
    #[must_use]
    pub fn key(&self) -> Option<&str> {
        self.condition.as_deref().or(self.identifiers.first().map(String::as_str))
    }
}

/// Reads a body as JSON.
///
/// # Errors
/// 400.
pub(super) fn parse(raw: &[u8]) -> Result<Json, Problem> {
    let bad = |issue, why| Problem::new(400, issue, FaultCode::FhirInvalid, why);
    Json::parse(raw).map_err(|unread| match unread {
        Unread::Syntax(line, column) => bad(Issue::Structure, format!("no JSON from line {line} column {column} on")),
        Unread::Bounds(why) => bad(Issue::TooLong, why.to_owned()),
    })
}

/// Reads the body of a request that creates a resource of type `kind`.
///
/// # Errors
/// 400 for what is no such resource; 412 and 400 for conditions; 415 for what other versions have; 422 for documents
/// that are not what they should be.
pub fn read(kind: &str, raw: &[u8], condition: Option<Condition>) -> Result<Create, Problem> {
    let value = parse(raw)?;
    if value.text("resourceType") != Some(kind) {
        let why = "the resource is of another type than the address says";
        return Err(Problem::new(400, Issue::Structure, FaultCode::FhirInvalid, why).at("resourceType"));
    }
    resource(&value, raw.to_vec(), condition)
}

/// Whether a content is a Binary resource, whatever it is called.
#[must_use]
pub fn is_binary(content: &[u8]) -> bool {
    content.trim_ascii_start().starts_with(b"{")
        && Json::parse(content).is_ok_and(|value| value.text("resourceType") == Some("Binary"))
}

/// A Binary that came as its content itself.
///
/// # Errors
/// 422.
pub fn binary(content: &[u8]) -> Result<Create, Problem> {
    let source = here(content.to_vec(), None, None).map_err(|fault| Problem::from(fault).at("Binary.data"))?;
    let documents = vec![Attached { source, path: "Binary.data".into() }];
    Ok(Create { kind: "Binary", identifiers: Vec::new(), condition: None, body: content.to_vec(), documents })
}

pub(super) fn resource(value: &Json, body: Vec<u8>, condition: Option<Condition>) -> Result<Create, Problem> {
    let named = value.text("resourceType").unwrap_or_default();
    let Some(kind) = KINDS.into_iter().find(|k| *k == named) else {
        let why = "Binary, DocumentReference and DiagnosticReport are taken";
        return Err(Problem::new(422, Issue::NotSupported, FaultCode::FhirNotSupported, why).at("resourceType"));
    };
    known(value, kind)?;
    let documents = match kind {
        "Binary" => {
            required(value, kind, "contentType")?;
            let data = required(value, kind, "data")?;
            let source = decoded(data, None, None).map_err(|f| Problem::from(f).at("Binary.data"))?;
            vec![Attached { source, path: "Binary.data".into() }]
        }
        "DocumentReference" => {
            standing(value, kind)?;
            let places = value.list("content").iter().map(|c| c.get("attachment"));
            let found = attachments(places, |i| format!("DocumentReference.content[{i}].attachment"))?;
            if found.is_empty() {
                return Err(Problem::invalid(Issue::Required, "it brings no document").at("DocumentReference.content"));
            }
            found
        }
        _ => {
            standing(value, kind)?;
            if !matches!(value.get("code"), Some(Json::Object(_))) {
                return Err(Problem::invalid(Issue::Required, "code is missing").at("DiagnosticReport.code"));
            }
            let places = value.list("presentedForm").iter().map(Some);
            attachments(places, |i| format!("DiagnosticReport.presentedForm[{i}]"))?
        }
    };
    let identifiers = identifiers(value);
    let condition = condition.map(|c| matched(&c, &identifiers)).transpose()?;
    Ok(Create { kind, identifiers, condition, body, documents })
}

/// Elements that R4 does not have are those of another version, or nobody's: a reader must not pass over what it does
/// not know (section 2.6.3). They are not named: a name can hold anything.
fn known(value: &Json, kind: &str) -> Result<(), Problem> {
    let Json::Object(members) = value else { return Err(Problem::invalid(Issue::Structure, "it is no object")) };
    let own = match kind {
        "Binary" => BINARY,
        "DocumentReference" => DOCUMENT,
        _ => REPORT,
    };
    for (name, _) in members {
        let name = name.strip_prefix('_').unwrap_or(name);
        if !COMMON.contains(&name) && !own.contains(&name) {
            let why = "it has an element that R4 (4.0.1) does not have there: is it of another version?";
            return Err(Problem::new(422, Issue::Structure, FaultCode::FhirNotSupported, why).at(kind));
        }
    }
    // What changes the meaning of an element has to be understood by whoever takes it (section 2.4.1, 2.6.3.2).
    let modified = |v: &Json| !v.list("modifierExtension").is_empty();
    if modified(value) || value.list("content").iter().any(modified) || value.get("implicitRules").is_some() {
        let why = "modifierExtension and implicitRules are not understood here";
        return Err(Problem::new(422, Issue::NotSupported, FaultCode::FhirNotSupported, why).at(kind));
    }
    let lists = ["identifier", "content", "presentedForm", "contained", "modifierExtension"];
    let single = |name: &&str| value.get(name).is_some_and(|v| !matches!(v, Json::List(_)));
    match lists.iter().find(|name| single(name)) {
        Some(name) => Err(Problem::invalid(Issue::Structure, "it must be a list").at(format!("{kind}.{name}"))),
        None => Ok(()),
    }
}

fn required<'a>(value: &'a Json, kind: &str, name: &str) -> Result<&'a str, Problem> {
    let missing = || Problem::invalid(Issue::Required, format!("{name} is missing")).at(format!("{kind}.{name}"));
    value.text(name).filter(|text| !text.is_empty()).ok_or_else(missing)
}

/// A document whose resource says that it is none is not taken. Of a DocumentReference `status` is that of the reference,
/// and `docStatus` that of the document.
fn standing(value: &Json, kind: &str) -> Result<(), Problem> {
    let document = value.text("docStatus").map(|s| ("docStatus", s));
    for (name, status) in [("status", required(value, kind, "status")?)].into_iter().chain(document) {
        if matches!(status, "entered-in-error" | "cancelled") {
            let why = "its status says that it is not to be used";
            return Err(Problem::invalid(Issue::BusinessRule, why).at(format!("{kind}.{name}")));
        }
    }
    Ok(())
}

fn attachments<'a>(
    places: impl Iterator<Item = Option<&'a Json>>,
    path: impl Fn(usize) -> String,
) -> Result<Vec<Attached>, Problem> {
    let mut found = Vec::new();
    for (index, attachment) in places.enumerate() {
        let path = path(index);
        if index == DOCUMENTS {
            return Err(Problem::invalid(Issue::TooLong, format!("more than {DOCUMENTS} documents")).at(path));
        }
        let Some(attachment) = attachment else {
            return Err(Problem::invalid(Issue::Required, "attachment is missing").at(path));
        };
        let size = match attachment.get("size") {
            None => None,
            Some(Json::Whole(size)) => Some(*size),
            Some(_) => return Err(Problem::invalid(Issue::Value, "size is no whole number").at(format!("{path}.size"))),
        };
        let hash = attachment.text("hash");
        let source = match (attachment.text("data"), attachment.text("url")) {
            (Some(data), _) => decoded(data, size, hash).map_err(|f| Problem::from(f).at(path.clone()))?,
            (None, Some(url)) => Source::At(url.to_owned(), size, hash.map(str::to_owned)),
            (None, None) => return Err(Problem::invalid(Issue::Required, "neither data nor url is there").at(path)),
        };
        found.push(Attached { source, path });
    }
    Ok(found)
}

fn decoded(data: &str, size: Option<u64>, hash: Option<&str>) -> Result<Source, Fault> {
    here(attachment::base64(data.as_bytes())?, size, hash)
}

fn here(content: Vec<u8>, size: Option<u64>, hash: Option<&str>) -> Result<Source, Fault> {
    attachment::declared(&content, size, hash)?;
    attachment::whole(&content)?;
    Ok(Source::Here(content))
}

fn identifiers(value: &Json) -> Vec<String> {
    let token = |i: &Json| Some(format!("{}|{}", i.text("system").unwrap_or_default(), i.text("value")?));
    let master = value.get("masterIdentifier").and_then(token);
    master.into_iter().chain(value.list("identifier").iter().filter_map(token)).take(16).collect()
}

/// A condition on an identifier that the resource does not have would not be fulfilled by creating it.
fn matched(condition: &Condition, identifiers: &[String]) -> Result<String, Problem> {
    let fits = |token: &&String| {
        let (system, value) = token.rsplit_once('|').unwrap_or_default();
        value == condition.value && condition.system.as_deref().is_none_or(|s| s == system)
    };
    identifiers.iter().find(fits).cloned().ok_or_else(|| {
        let why = "If-None-Exist: the resource does not have this identifier";
        Problem::new(400, Issue::Invariant, FaultCode::FhirInvalid, why)
    })
}

#[cfg(test)]
mod tests;
