//! HL7's own examples of FHIR R4, as `script/bootstrap --test` fetches them: none of them is called another version or
//! wrong, but for what is wrong with it.

use leadline_ehr::fhir::{KINDS, Problem, Source, read, transaction};
use leadline_tests::harness::tools::tools;
use std::collections::BTreeMap;

fn examples() -> BTreeMap<String, Vec<u8>> {
    let folder = tools().join("fhir-r4-examples");
    let files =
        std::fs::read_dir(&folder).unwrap_or_else(|_| panic!("no {}: script/bootstrap --test", folder.display()));
    let files = files.map(|f| f.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "json"));
    files.map(|p| (p.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(p).unwrap())).collect()
}

fn said(p: &Problem) -> String {
    format!("{} {} {}", p.status, p.fault.code, p.expression.as_deref().unwrap_or_default())
}

#[test]
fn resources_of_the_standard_are_read() {
    let mut refused = BTreeMap::new();
    let (mut taken, mut documents) = (0, 0);
    for (name, raw) in examples() {
        let Some(kind) = KINDS.iter().find(|k| name.starts_with(&format!("{k}-"))) else { continue };
        match read(kind, &raw, None) {
            Ok(create) => {
                taken += 1;
                documents += create.documents.iter().filter(|d| matches!(d.source, Source::Here(_))).count();
            }
            Err(problem) => drop(refused.insert(name, said(&problem))),
        }
    }
    // The hash of this one is neither base64 nor that of its document, and the document says "pdfInBase64Binary".
    let wrong = (
        "DiagnosticReport-example-pgx".to_owned(),
        "422 attachment.unreadable DiagnosticReport.presentedForm[0]".to_owned(),
    );
    assert_eq!(refused, BTreeMap::from([wrong]));
    assert!(taken >= 8 && documents >= 3, "{taken} resources, {documents} documents");
}

#[test]
fn transactions_of_the_standard_are_read() {
    let examples = examples();
    // A document with its patient, its authors, and its content as a Binary (IHE XDS by FHIR).
    let xds = transaction(&examples["Bundle-xds"]).map_err(|p| said(&p)).unwrap();
    let kinds: Vec<_> = xds.iter().map(|c| c.as_ref().map(|c| (c.kind, c.documents.len()))).collect();
    assert_eq!(kinds, [Some(("DocumentReference", 0)), None, None, None, Some(("Binary", 1))]);
    // Patients only, with every method there is.
    let other = transaction(&examples["Bundle-bundle-transaction"]).map_err(|p| said(&p)).unwrap_err();
    assert!(other.starts_with("422 fhir.not_supported"), "{other}");
    // Bundles that are documents and collections.
    for name in ["Bundle-report", "Bundle-lipids", "Bundle-ghp"] {
        assert_eq!(
            transaction(&examples[name]).map_err(|p| said(&p)).unwrap_err(),
            "422 fhir.not_supported Bundle.type"
        );
    }
}
