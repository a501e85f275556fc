//! What follows from an organization's file, by example.

mod common;

use common::with;
use leadline_domain::{EnvId, IngressEndpoint, IngressEndpoints, OrgId};
use leadline_provisioning::check;

/// Other encodings are looked for where they can be expected: with more than one way in, or where the file says so.
#[test]
fn encodings_are_linked_where_more_than_one_way_in_is_open() {
    let links = |head: &str, ways: &str| {
        let text = (format!("jurisdiction = \"us\"\n{head}"), format!("{ways}\n[limits]"));
        let mut files = with("orgs/st-mary.toml", "jurisdiction = \"us\"", &text.0);
        let file = files.iter_mut().find(|f| f.path == "orgs/st-mary.toml").unwrap();
        file.text = file.text.replace("[limits]", &text.1);
        let (config, found) = check(&files);
        let config = config.unwrap_or_else(|| panic!("{found:#?}"));
        let org = config.organization(&EnvId::parse("us").unwrap(), &OrgId::parse("st-mary").unwrap()).unwrap();
        let alone = leadline_provisioning::config::Organization { shares: Default::default(), ..org.clone() };
        (org.links_encodings(), alone.links_encodings())
    };
    // With its shares, and without them.
    assert_eq!(links("", ""), (false, false));
    assert_eq!(links("", "[gateway.dicom]\ncalled_ae_title = \"MARY\""), (true, false));
    assert_eq!(links("", "[gateway.uploads]\n[gateway.fhir]"), (true, true));
    assert_eq!(links("link_encodings = true", ""), (true, true));
    assert_eq!(links("link_encodings = false", "[gateway.uploads]\n[gateway.hl7]"), (false, false));
}

/// Where canaries go in besides the shares: every way that the file opens is there, with what stands in its way.
#[test]
fn every_way_in_that_is_open_is_tried_or_says_why_not() {
    let ways = "[environment.test.gateway.uploads]\n[environment.test.gateway.hl7]\nprocessing_ids = [\"P\", \"T\"]\n\
                [environment.test.gateway.fhir]\n[environment.test.gateway.dicom]\ncalled_ae_title = \"MARY\"\n";
    let endpoints = |canary: &str, served: &str| {
        let mut files = with("orgs/st-mary.toml", "[environment.test.gateway.uploads]\n", ways);
        let test = files.iter_mut().find(|f| f.path == "test.toml").unwrap();
        test.text = test.text.replace("[gateway.canary]\n", canary) + served;
        let (config, found) = check(&files);
        let config = config.unwrap_or_else(|| panic!("{found:#?}"));
        let env = EnvId::parse("test").unwrap();
        let org = config.organization(&env, &OrgId::parse("st-mary").unwrap()).unwrap();
        leadline_provisioning::ingress_endpoints(config.environment(&env).unwrap(), org)
    };
    let why =
        |d: &IngressEndpoints| d.untried().into_iter().map(|(path, why)| format!("{path}: {why}")).collect::<Vec<_>>();
    let has = |all: &[String], path: &str, words: &str| {
        assert!(
            all.iter().any(|w| w.starts_with(&format!("{path}: ")) && w.contains(words)),
            "{path} {words}: {all:#?}"
        );
    };
    let all = ["dicom/c-store", "dicom/stow", "fhir", "hl7v2", "web"];
    let listed = |d: &IngressEndpoints| d.open.keys().cloned().collect::<Vec<_>>();

    let none = endpoints("", "");
    assert_eq!(listed(&none), all);
    assert_eq!(why(&none).len(), 5, "nothing is tried where canaries have no table");
    has(&why(&none), "web", "add [gateway.canary] to test.toml, and `leadline canary st-mary --env test --credentials");

    // HTTP is served there; nothing else is.
    let http = endpoints("[gateway.canary]\n", "");
    assert_eq!(http.open["web"], Ok(IngressEndpoint::Web { url: "http://127.0.0.1:8080".into() }));
    assert_eq!(
        (http.credentials.as_str(), http.issuer.as_str()),
        ("leadline/test/canary/st-mary", "http://127.0.0.1:8300")
    );
    assert_eq!(why(&http).len(), 2);
    has(&why(&http), "hl7v2", "add [gateway.mllp] to test.toml");
    has(&why(&http), "dicom/c-store", "add [gateway.dicom] to test.toml");

    // Served where nobody knows.
    let tls = "certificate_file = \"a\"\nkey_file = \"b\"\nclient_ca_file = \"c\"\n";
    let served = format!(
        "[gateway.mllp]\nlisten = \"0.0.0.0:2575\"\n[gateway.mllp.tls]\n{tls}[gateway.dicom]\nlisten = \"0.0.0.0:11112\"\n\
         [gateway.dicom.tls]\n{tls}"
    );
    let somewhere = endpoints("[gateway.canary]\n", &served);
    has(&why(&somewhere), "hl7v2", "[gateway.canary] mllp = \"HOST:PORT\"");
    has(&why(&somewhere), "dicom/c-store", "[gateway.canary] dicom = \"HOST:PORT\"");

    // And where it says.
    let said = "[gateway.canary]\nmllp = \"hl7.example.org:2575\"\ndicom = \"pacs.example.org:11112\"\n\
                credentials_secret = \"qa/canaries\"\n";
    let said = endpoints(said, &served);
    assert!(why(&said).is_empty() && said.credentials == "qa/canaries/st-mary", "{said:#?}");
    let hl7 = IngressEndpoint::Hl7v2 { address: "hl7.example.org:2575".into(), tls: true, processing_id: "T".into() };
    assert_eq!(said.open["hl7v2"], Ok(hl7), "as training where that is taken");
    let Ok(IngressEndpoint::Store { address, tls, called, .. }) = &said.open["dicom/c-store"] else {
        panic!("{said:#?}")
    };
    assert_eq!((address.as_str(), *tls, called.as_str()), ("pacs.example.org:11112", true, "MARY"));

    // On this machine the listener's address is the address.
    let here = "[gateway.mllp.plain]\nst-mary = \"127.0.0.1:2575\"\n[gateway.dicom]\nlisten = \"127.0.0.1:11112\"\n";
    let here = endpoints("[gateway.canary]\n", here);
    let hl7 = IngressEndpoint::Hl7v2 { address: "127.0.0.1:2575".into(), tls: false, processing_id: "T".into() };
    assert_eq!((here.open["hl7v2"].clone(), why(&here).len()), (Ok(hl7), 0));
}
