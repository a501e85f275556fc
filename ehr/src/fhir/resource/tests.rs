use super::super::bundle::transaction;
use super::super::request::condition;
use super::*;

/// `1,2\n3,4\n`, and its SHA-1 (`printf '1,2\n3,4\n' | openssl sha1 -binary | base64`).
const DATA: &str = "MSwyCjMsNAo=";
const CONTENT: &[u8] = b"1,2\n3,4\n";
const HASH: &str = "u63ToEt5ZLJl6z2s0oyFP5xcka4=";

fn document(attachment: &str) -> String {
    format!(
        r#"{{"resourceType":"DocumentReference","identifier":[{{"system":"urn:x","value":"7"}}],"status":"current","content":[{{"attachment":{attachment}}}]}}"#
    )
}

fn report(form: &str) -> String {
    format!(
        r#"{{"resourceType":"DiagnosticReport","status":"final","code":{{"text":"ECG"}},"subject":{{"display":"Doe, John"}},"presentedForm":[{form}]}}"#
    )
}

fn problem(kind: &str, body: &str) -> (u16, FaultCode, String) {
    let p = read(kind, body.as_bytes(), None).unwrap_err();
    assert!(!p.fault.detail.contains("Doe"), "{p:?}");
    (p.status, p.fault.code, p.expression.unwrap_or_default())
}

fn here(create: &Create) -> Vec<&[u8]> {
    create
        .documents
        .iter()
        .filter_map(|d| if let Source::Here(c) = &d.source { Some(c.as_slice()) } else { None })
        .collect()
}

#[test]
fn documents_are_found_where_r4_has_them() {
    let inline = format!(r#"{{"contentType":"text/csv","data":"{DATA}","size":8,"hash":"{HASH}"}}"#);
    let found = read("DocumentReference", document(&inline).as_bytes(), None).unwrap();
    assert_eq!(here(&found), [CONTENT]);
    assert_eq!(found.identifiers, ["urn:x|7"]);
    assert_eq!(found.key(), Some("urn:x|7"));
    let found = read("DiagnosticReport", report(&format!("{inline},{inline}")).as_bytes(), None).unwrap();
    assert_eq!(here(&found).len(), 2);
    let body = format!(r#"{{"resourceType":"Binary","contentType":"text/csv","data":"{DATA}"}}"#);
    assert_eq!(here(&read("Binary", body.as_bytes(), None).unwrap()), [CONTENT]);
    let referred = document(r#"{"url":"Binary/1","size":8}"#);
    let found = read("DocumentReference", referred.as_bytes(), None).unwrap();
    assert_eq!(found.documents[0].source, Source::At("Binary/1".into(), Some(8), None));
    assert_eq!(read("DiagnosticReport", report("").as_bytes(), None).unwrap().documents, []);
}

#[test]
fn documents_that_are_not_what_was_declared_are_refused() {
    let at = "DocumentReference.content[0].attachment";
    for (attachment, code) in [
        (format!(r#"{{"data":"{DATA}","size":9}}"#), FaultCode::AttachmentUnreadable),
        (format!(r#"{{"data":"{DATA}","hash":"AAAA"}}"#), FaultCode::AttachmentUnreadable),
        (r#"{"data":"!"}"#.to_owned(), FaultCode::AttachmentUnreadable),
        (r#"{"data":""}"#.to_owned(), FaultCode::AttachmentUnreadable),
        (r#"{"data":"JVBERi0xLjQK"}"#.to_owned(), FaultCode::AttachmentIncomplete),
        (r#"{"title":"Doe"}"#.to_owned(), FaultCode::FhirInvalid),
    ] {
        assert_eq!(problem("DocumentReference", &document(&attachment)), (422, code, at.into()), "{attachment}");
    }
}

#[test]
fn what_is_no_such_resource_is_refused() {
    assert_eq!(problem("Binary", "{").0, 400);
    assert_eq!(problem("Binary", r#"{"resourceType":"Binary","data":"","data":""}"#).0, 400);
    assert_eq!(problem("Binary", &report("")).0, 400);
    let missing = problem("Binary", r#"{"resourceType":"Binary","data":"AAAA"}"#);
    assert_eq!(missing, (422, FaultCode::FhirInvalid, "Binary.contentType".into()));
    let none = r#"{"resourceType":"DocumentReference","status":"current","content":[]}"#;
    assert_eq!(problem("DocumentReference", none).2, "DocumentReference.content");
    let single = r#"{"resourceType":"DocumentReference","status":"current","content":{}}"#;
    assert_eq!(problem("DocumentReference", single).2, "DocumentReference.content");
    let wrong = report("").replace("final", "entered-in-error");
    assert_eq!(problem("DiagnosticReport", &wrong).2, "DiagnosticReport.status");
    let with = |more: &str| document(r#"{"data":"MQ=="}"#).replace("\"status\"", &format!("{more},\"status\""));
    let wrong = with(r#""docStatus":"entered-in-error""#);
    assert_eq!(problem("DocumentReference", &wrong).2, "DocumentReference.docStatus");
    assert!(read("DocumentReference", with(r#""docStatus":"final""#).as_bytes(), None).is_ok());
}

/// R4 2.4.1: what modifies the meaning of a resource is not passed over by whoever does not understand it.
#[test]
fn what_modifies_a_resource_is_not_passed_over() {
    let modifier = r#""modifierExtension":[{"url":"urn:x","valueBoolean":true}]"#;
    let plain = document(r#"{"data":"MQ=="}"#);
    for wrong in [
        plain.replace("\"status\"", &format!("{modifier},\"status\"")),
        plain.replace("\"attachment\"", &format!("{modifier},\"attachment\"")),
        plain.replace("\"status\"", r#""implicitRules":"urn:x","status""#),
    ] {
        assert_eq!(problem("DocumentReference", &wrong).1, FaultCode::FhirNotSupported, "{wrong}");
    }
}

#[test]
fn other_versions_are_told_by_what_they_have() {
    // `modality` and `bodySite` came with R5; STU3 had `indexed` and `class`.
    for element in ["modality", "bodySite", "indexed", "class", "Doe"] {
        let body = document(r#"{"data":"MQ=="}"#).replace("\"status\"", &format!("\"{element}\":1,\"status\""));
        assert_eq!(problem("DocumentReference", &body).1, FaultCode::FhirNotSupported, "{element}");
    }
}

#[test]
fn a_condition_is_one_of_the_identifiers() {
    let body = document(&format!(r#"{{"data":"{DATA}"}}"#));
    let with = |header: &str| read("DocumentReference", body.as_bytes(), Some(condition(header).unwrap()));
    for header in ["identifier=urn:x|7", "identifier=7"] {
        assert_eq!(with(header).unwrap().condition.as_deref(), Some("urn:x|7"));
    }
    for header in ["identifier=urn:y|7", "identifier=|7", "identifier=8"] {
        assert_eq!(with(header).unwrap_err().status, 400, "{header}");
    }
}

fn bundle(entries: &[(&str, &str, String)]) -> String {
    let entry = |(full, url, resource): &(&str, &str, String)| {
        format!(r#"{{"fullUrl":"{full}","resource":{resource},"request":{{"method":"POST","url":"{url}"}}}}"#)
    };
    let entries: Vec<String> = entries.iter().map(entry).collect();
    format!(r#"{{"resourceType":"Bundle","type":"transaction","entry":[{}]}}"#, entries.join(","))
}

#[test]
fn entries_of_a_transaction_refer_to_each_other() {
    let binary = format!(r#"{{"resourceType":"Binary","contentType":"text/csv","data":"{DATA}"}}"#);
    let refers = |size: u32| document(&format!(r#"{{"url":"urn:uuid:1","size":{size},"hash":"{HASH}"}}"#));
    let body = bundle(&[("urn:uuid:2", "DocumentReference", refers(8)), ("urn:uuid:1", "Binary", binary.clone())]);
    let read = |body: &str| -> Vec<Create> { transaction(body.as_bytes()).unwrap().into_iter().flatten().collect() };
    let creates = read(&body);
    assert_eq!((creates[0].documents.len(), here(&creates[1])), (0, vec![CONTENT]));
    // Patient and author beside a document are not created, and no reason to refuse it.
    let patient = r#"{"resourceType":"Patient","name":[{"family":"Doe"}]}"#.to_owned();
    let beside = bundle(&[("urn:uuid:3", "Patient", patient), ("urn:uuid:1", "Binary", binary.clone())]);
    assert_eq!((read(&beside).len(), transaction(beside.as_bytes()).unwrap()[0].clone()), (1, None));
    for (body, place) in [
        (
            bundle(&[("urn:uuid:2", "DocumentReference", refers(9)), ("urn:uuid:1", "Binary", binary.clone())]),
            "Bundle.entry[0].resource.content[0].attachment",
        ),
        (bundle(&[("urn:uuid:2", "DocumentReference", refers(8))]), "Bundle.entry[0].resource.content[0].attachment"),
        (bundle(&[("urn:uuid:1", "DocumentReference", refers(8))]), "Bundle.entry[0].resource.content[0].attachment"),
        (bundle(&[("a", "Binary", binary.clone()), ("a", "Binary", binary.clone())]), "Bundle.entry[1]"),
        (bundle(&[("a", "Patient", binary.clone())]), "Bundle.entry[0].resource"),
        (bundle(&[("a", "Patient", r#"{"resourceType":"Patient"}"#.into())]), "Bundle.entry"),
        (bundle(&[("a", "Binary", binary.clone())]).replace("POST", "PUT"), "Bundle.entry[0].resource"),
        (bundle(&[("a", "Binary", binary)]).replace("transaction", "batch"), "Bundle.type"),
        (bundle(&[]), "Bundle.entry"),
    ] {
        let problem = transaction(body.as_bytes()).unwrap_err();
        assert_eq!((problem.status, problem.expression.as_deref()), (422, Some(place)), "{body}");
    }
    assert_eq!(transaction(b"{}").unwrap_err().status, 400);
}
