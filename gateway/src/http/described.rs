//! What the OpenAPI document says of routes that are described elsewhere by their standards: FHIR, STOW-RS; and of the page
//! and the document itself.

use super::protocols::{DICOM_WEB, FHIR};
use crate::dicom::stow::REFUSAL;
use leadline_ehr::fhir::KINDS;
use serde_json::{Map, Value, json};

/// Without its parameter, which says the version.
const FHIR_JSON: &str = "application/fhir+json";
const DICOM_JSON: &str = "application/dicom+json";
const PROBLEM: &str = "application/problem+json";

/// A status and when it is the answer.
type When = (u16, &'static str);

/// Answers of anything that is asked with a token.
const ASKED: &[When] = &[
    (401, "No token, or one that is not believed; with WWW-Authenticate"),
    (403, "The organization's file does not open this way in, or the organization leaves"),
    (405, "Another method; Allow says which"),
    (503, "Not now; Retry-After says when to come again"),
];

const CREATED: &[When] = &[
    (400, "It cannot be read: no JSON, a name twice in an object, too deep, another type than the address"),
    (412, "If-None-Exist is not selective"),
    (413, "Longer than the service takes: upload it by the web"),
    (415, "Another media type, version of FHIR or character set"),
    (
        422,
        "A document that is not whole or not what was declared, elements that R4 does not have, references that lead nowhere",
    ),
    (429, "Too many requests of the organization at a time; with Retry-After"),
];

const STOWED: &[When] = &[
    (400, "No multipart body, no instance in it, or one that broke off"),
    (406, "Answers are application/dicom+json"),
    (408, "Nothing came for too long; what was kept before stays kept"),
    (413, "An instance is too large, or more than 1,000 are in one request"),
    (415, "Not multipart/related of application/dicom"),
];

/// Refusals in a protocol's own words.
fn refusals(media_type: &str, schema: &Value, all: &[&[When]]) -> Map<String, Value> {
    let one = |(status, when): &When| {
        (status.to_string(), json!({ "description": when, "content": { media_type: { "schema": schema } } }))
    };
    all.iter().copied().flatten().map(one).collect()
}

fn answers(own: Value, refusals: Map<String, Value>) -> Value {
    let mut all = match own {
        Value::Object(o) => o,
        _ => Map::new(),
    };
    all.extend(refusals);
    Value::Object(all)
}

fn outcome() -> Value {
    json!({ "$ref": "#/components/schemas/OperationOutcome" })
}

fn token() -> Value {
    json!([{ "oidc": [] }])
}

fn text(name: &str, place: &str, what: &str) -> Value {
    json!({ "name": name, "in": place, "required": place == "path", "description": what, "schema": { "type": "string" } })
}

fn header(what: &str) -> Value {
    json!({ "description": what, "schema": { "type": "string" } })
}

/// `POST` of a resource.
fn create(kind: &str) -> Value {
    let json_of = json!({ "schema": { "type": "object", "description": format!("A {kind} of FHIR 4.0") } });
    let mut takes = json!({ FHIR_JSON: json_of, "application/json": json_of });
    if kind == "Binary" {
        takes = json!({ FHIR_JSON: json_of, "*/*": { "schema": { "type": "string", "format": "binary" } } });
    }
    let own = json!({
        "201": {
            "description": "It is durable, and the work on its recordings has begun",
            "headers": { "Location": header("What was created"), "ETag": header("Its version") },
        },
        "200": {
            "description": "The same was created before; nothing new was",
            "headers": { "Location": header("What was created then"), "ETag": header("Its version") },
        },
    });
    json!({
        "tags": ["fhir"], "operationId": format!("create{kind}"), "security": token(),
        "summary": format!("Create a {kind}. A repeat is harmless: ids follow from what is sent."),
        "parameters": [text("If-None-Exist", "header", "identifier=SYSTEM|VALUE: what has it already is not created again")],
        "requestBody": { "required": true, "content": takes },
        "responses": answers(own, refusals(FHIR_JSON, &outcome(), &[CREATED, ASKED])),
    })
}

/// `POST` of a Bundle.
fn bundle(id: &str, summary: &str, what: &str, done: Value) -> Value {
    let body = json!({ "schema": { "type": "object", "description": what } });
    json!({
        "tags": ["fhir"], "operationId": id, "security": token(), "summary": summary,
        "requestBody": { "required": true, "content": { FHIR_JSON: body, "application/json": body } },
        "responses": answers(json!({ "200": done }), refusals(FHIR_JSON, &outcome(), &[CREATED, ASKED])),
    })
}

/// `POST` of instances.
fn store(id: &str, summary: &str, parameters: Value) -> Value {
    let told = |when: &str| {
        let schema = json!({ "type": "object", "description": "Store Instances Response Module (PS3.18 annex I), in DICOM JSON" });
        json!({ "description": when, "content": { DICOM_JSON: { "schema": schema } } })
    };
    let body = json!({
        "schema": { "type": "string", "format": "binary", "description": "DICOM files, one a part" },
    });
    let own = json!({
        "200": told("Everything is kept"),
        "202": told("A part is kept; Failed SOP Sequence (0008,1198) says what is not, and why"),
        "409": told("Nothing is kept; Failed SOP Sequence says why"),
    });
    json!({
        "tags": ["dicomweb"], "operationId": id, "security": token(), "summary": summary, "parameters": parameters,
        "requestBody": { "required": true, "content": { "multipart/related; type=\"application/dicom\"": body } },
        "responses": answers(own, refusals(REFUSAL, &json!({ "type": "string" }), &[STOWED, ASKED])),
    })
}

/// `GET` of something that anybody may have.
fn read(
    tag: &str,
    id: &str,
    summary: &str,
    media_type: &str,
    parameters: Value,
    missing: Option<&'static str>,
) -> Value {
    let schema = if media_type.ends_with("json") { json!({ "type": "object" }) } else { json!({ "type": "string" }) };
    let mut responses = json!({ "200": { "description": "It", "content": { media_type: { "schema": schema } } } });
    if let Some(why) = missing {
        let schema = json!({ "$ref": "#/components/schemas/ProblemBody" });
        responses["404"] = refusals(PROBLEM, &schema, &[&[(404, why)]])["404"].clone();
    }
    json!({ "tags": [tag], "operationId": id, "summary": summary, "parameters": parameters, "responses": responses })
}

/// Paths, by what they are called.
pub(super) fn paths() -> Map<String, Value> {
    let mut all = Map::new();
    let mut put = |path: String, method: &str, operation: Value| {
        all.insert(path, json!({ method: operation }));
    };
    let mut statement =
        read("fhir", "metadata", "What is taken, as FHIR says it: a CapabilityStatement.", FHIR_JSON, json!([]), None);
    statement["responses"]["405"] = refusals(FHIR_JSON, &outcome(), &[ASKED])["405"].clone();
    put(format!("{FHIR}/metadata"), "get", statement);
    for kind in KINDS {
        put(format!("{FHIR}/{kind}"), "post", create(kind));
    }
    let done = json!({
        "description": "Everything is durable; a Bundle of the same length says what became of each entry",
        "content": { FHIR_JSON: { "schema": { "type": "object" } } },
    });
    let what = "A Bundle of type transaction, of creates";
    put(FHIR.to_owned(), "post", bundle("transaction", "Create several resources, all or none.", what, done));
    let what = "A Bundle as servers of R4 send it for topic-based subscriptions (Subscriptions R5 Backport)";
    let done = json!({ "description": "What it tells of was fetched and is durable" });
    put(
        format!("{FHIR}/notifications"),
        "post",
        bundle("notified", "Follow a notification of a subscription at the EHR.", what, done),
    );
    put(format!("{DICOM_WEB}/studies"), "post", store("store", "Store instances (STOW-RS, PS3.18 10.5).", json!([])));
    let study = json!([text("study", "path", "Study Instance UID; instances of another study are refused")]);
    put(
        format!("{DICOM_WEB}/studies/{{study}}"),
        "post",
        store("storeInStudy", "Store instances of one study.", study),
    );
    put(
        "/openapi.json".into(),
        "get",
        read("service", "openapi", "This document.", "application/json", json!([]), None),
    );
    let code = json!([text("code", "path", "e.g. upload.unknown")]);
    let page =
        read("service", "faultPage", "The page about a fault.", "text/markdown", code, Some("There is no such code"));
    put("/faults/{code}".into(), "get", page);
    let html = "The upload page, where the environment has one.";
    put("/upload".into(), "get", read("page", "page", html, "text/html", json!([]), None));
    let mut settings = read("page", "pageSettings", "Where the page logs on.", "application/json", json!([]), None);
    let why: &[When] = &[(503, "The issuer does not say where")];
    settings["responses"]["503"] =
        refusals(PROBLEM, &json!({ "$ref": "#/components/schemas/ProblemBody" }), &[why])["503"].clone();
    put("/upload/config.json".into(), "get", settings);
    let file = json!([text("file", "path", "app.js, app.css, or one of Uppy's")]);
    let file = read("page", "pageFile", "A file of the page.", "*/*", file, Some("There is no such file"));
    put("/upload/{file}".into(), "get", file);
    all
}

/// What these paths refer to.
pub(super) fn schemas() -> Map<String, Value> {
    let string = |what: &str| json!({ "type": "string", "description": what });
    let issue = json!({
        "type": "object", "required": ["severity", "code", "details"],
        "properties": {
            "severity": string("error"),
            "code": string("Of the value set issue-type"),
            "details": {
                "type": "object",
                "description": "coding[0].code is the fault's code, e.g. attachment.incomplete: stable, for programs",
            },
            "diagnostics": string("In words, without names of patients or files; absent when it is the gateway's own business"),
            "expression": { "type": "array", "items": string("Where, as FHIRPath") },
        },
    });
    let outcome = json!({
        "type": "object", "required": ["resourceType", "issue"],
        "description": "What is told when something is not taken (FHIR R4 section 2.28.2).",
        "properties": { "resourceType": { "const": "OperationOutcome" }, "issue": { "type": "array", "items": issue } },
    });
    Map::from_iter([("OperationOutcome".to_owned(), outcome)])
}
