//! What the checker finds of the ways in besides SMB, by example.

mod common;

use common::{config, files, findings, with, wrong};
use leadline_domain::{EnvId, OrgId};
use leadline_provisioning::{Severity, SourceFile, check};

#[test]
fn names_of_the_other_ways_in_are_no_shares() {
    for name in ["in-web", "in-hl7v2", "in-fhir", "in-dicom", "fhir"] {
        let renamed: Vec<SourceFile> = files()
            .into_iter()
            .map(|f| match f.path.as_str() {
                "orgs/st-mary.toml" => {
                    SourceFile::new(&f.path, f.text.replace("share.clinic]", &format!("share.{name}]")))
                }
                _ => f,
            })
            .collect();
        let found = findings(&renamed);
        assert!(found.iter().any(|f| f.message.contains("stands for one of the ways in")), "{name}: {found:#?}");
    }
}

#[test]
fn the_key_for_an_ehr_has_a_secret() {
    let open = "[gateway.fhir]\nbase_url = \"https://ehr.example.org\"\nclient_id = \"leadline\"\n\n[limits]";
    let c = check(&with("orgs/st-mary.toml", "[limits]", open)).0.expect("valid");
    let (env, org) = (EnvId::parse("us").unwrap(), OrgId::parse("st-mary").unwrap());
    let plan = |c: &leadline_provisioning::config::Config| {
        let env = c.environment(&env).unwrap();
        leadline_provisioning::plan_org(c, env, c.organization(&env.id, &org).unwrap(), None, &[]).unwrap()
    };
    let made = |p: &leadline_provisioning::Plan| p.template()["Resources"]["SecretFhir"]["Properties"]["Name"].clone();
    assert_eq!(made(&plan(&c)), "leadline/us/st-mary/share/fhir");
    assert!(made(&plan(&config())).is_null());
}

/// Every way in can be opened with nothing set.
#[test]
fn empty_tables_open_the_ways_in() {
    let open = "[gateway.uploads]\n[gateway.hl7]\n[gateway.fhir]\n\n[limits]";
    let (config, found) = check(&with("orgs/st-mary.toml", "[limits]", open));
    let config = config.unwrap_or_else(|| panic!("{found:#?}"));
    let org = config.organization(&EnvId::parse("us").unwrap(), &OrgId::parse("st-mary").unwrap()).unwrap();
    assert!(org.gateway.uploads.is_some() && org.gateway.hl7.is_some() && org.gateway.fhir.is_some());
}

#[test]
fn dicom_titles_are_apart() {
    let title = |t: &str| format!("environments = [\"test\", \"uk\"]\n\n[gateway.dicom]\ncalled_ae_title = \"{t}\"\n");
    let both = |a: &str, b: &str| {
        let mut f = with("orgs/kings-road.toml", "environments = [\"test\", \"uk\"]\nformats", "formats");
        for (path, text) in [("orgs/kings-road.toml", title(a)), ("orgs/st-mary.toml", title(b).replace("uk", "us"))] {
            let file = f.iter_mut().find(|f| f.path == path).unwrap();
            file.text = file.text.replace("environments = [\"test\", \"us\"]\n", "").replacen(
                "\n[[contacts]]",
                &format!("{text}\n[[contacts]]"),
                1,
            );
        }
        f
    };
    let key = "gateway.dicom.called_ae_title";
    wrong(&both("ECG", "ECG"), &[key, key], "devices of st-mary call ECG as well");
    // Apart, and nobody listens: that is told, and no error.
    let f = findings(&both("KINGS", "MARY"));
    assert_eq!(f.iter().filter(|f| f.key == key && f.message.contains("does not accept DICOM")).count(), 4, "{f:#?}");
    assert!(f.iter().all(|f| f.severity == Severity::Warning), "{f:#?}");
    let listen = |a: &str| with("test.toml", "[temporal]", &format!("[gateway.dicom]\nlisten = \"{a}\"\n\n[temporal]"));
    wrong(&listen("gateway:11112"), &["gateway.dicom.listen"], "is no address and port");
    assert!(findings(&listen("0.0.0.0:11112")).iter().any(|f| f.message.contains("not encrypted")));
    let tls = "\"\ntls = { certificate_file = \"a\", key_file = \"b\", client_ca_file = \"c\" }\n#";
    assert!(findings(&listen(&format!("0.0.0.0:11112{tls}"))).iter().all(|f| f.key != "gateway.dicom.listen"));
    assert!(findings(&listen("127.0.0.1:11112")).iter().all(|f| f.key != "gateway.dicom.listen"));
}

/// A digest has one form: otherwise two organizations could have one certificate, and it would be nobody's.
#[test]
fn certificates_of_dicom_are_apart_however_they_are_written() {
    let listener = "[gateway.dicom]\nlisten = \"0.0.0.0:11112\"\n\
        [gateway.dicom.tls]\ncertificate_file = \"a\"\nkey_file = \"b\"\nclient_ca_file = \"c\"";
    let own = |title: &str, certificate: &str| {
        format!(
            "[environment.test.gateway.dicom]\ncalled_ae_title = \"{title}\"\n\
             client_certificates.{certificate} = [\"CART7\"]"
        )
    };
    let both = |a: &str, b: &str| with_ways_in(listener, &own("MARY", a), &own("KINGS", b));
    let (lower, upper) = ("ab".repeat(32), "AB".repeat(32));
    let (config, found) = check(&both(&lower, &"cd".repeat(32)));
    assert!(config.is_some(), "{found:#?}");
    let certificates = "gateway.dicom.client_certificates";
    wrong(&both(&lower, &lower), &[certificates, certificates], "it would be nobody's");
    let key = |certificate: &str| format!("environment.test.{certificates}.{certificate}");
    for other in [upper.as_str(), &lower[..62]] {
        wrong(&both(&lower, other), &[&key(other)], "is not valid");
    }
}

/// The repository's files with more in the test environment and in two of its organizations.
fn with_ways_in(environment: &str, st_mary: &str, kings_road: &str) -> Vec<SourceFile> {
    let mut files = files();
    for (path, text) in
        [("test.toml", environment), ("orgs/st-mary.toml", st_mary), ("orgs/kings-road.toml", kings_road)]
    {
        let file = files.iter_mut().find(|f| f.path == path).unwrap();
        *file = SourceFile::new(path, format!("{}\n{text}\n", file.text));
    }
    files
}

#[test]
fn senders_of_hl7_are_told_apart_and_nothing_comes_in_clear() {
    let own = |digit: &str| format!("[gateway.hl7]\nclient_certificates = [\"{}\"]", digit.repeat(64));
    let tls = "[gateway.mllp]\nlisten = \"0.0.0.0:2575\"\n\
        [gateway.mllp.tls]\ncertificate_file = \"a\"\nkey_file = \"b\"\nclient_ca_file = \"c\"";
    let (config, found) = check(&with_ways_in(tls, &own("a"), &own("b")));
    assert!(config.is_some(), "{found:#?}");
    let certificates = "gateway.hl7.client_certificates";
    wrong(&with_ways_in(tls, &own("a"), &own("a")), &[certificates, certificates], "of st-mary too");
    let clear = "[gateway.mllp]\nlisten = \"0.0.0.0:2575\"";
    wrong(&with_ways_in(clear, &own("a"), &own("b")), &["gateway.mllp.listen"], "in clear");
    let plain = |address: &str| format!("[gateway.mllp.plain]\nst-mary = \"{address}\"");
    assert!(check(&with_ways_in(&plain("127.0.0.1:2575"), "[gateway.hl7]", "")).0.is_some());
    for (address, words) in [("10.0.0.1:2575", "loopback"), ("localhost:2575", "no address")] {
        wrong(&with_ways_in(&plain(address), "[gateway.hl7]", ""), &["gateway.mllp.plain.st-mary"], words);
    }
    wrong(&with_ways_in(&plain("127.0.0.1:2575"), "", ""), &["gateway.mllp.plain.st-mary"], "no [gateway.hl7]");
    let host = "[gateway.hl7]\npointer_hosts = [\"https://archive.example.org\"]";
    wrong(&with_ways_in(tls, host, ""), &["gateway.hl7.pointer_hosts"], "no host");
    // In the overrides of an environment as well; a port or an address that is none never matches.
    for host in ["archive:8443", "[archive]", "", "Archive"] {
        let host = format!("[environment.test.gateway.hl7]\npointer_hosts = [\"[::1]\", \"{host}\"]");
        wrong(&with_ways_in(tls, &host, ""), &["environment.test.gateway.hl7.pointer_hosts"], "no host");
    }
    let nowhere = check(&with_ways_in("", "[gateway.hl7]", "")).1;
    assert!(nowhere.iter().any(|f| f.severity == Severity::Warning && f.message.contains("no HL7 v2 can come")));
}

#[test]
fn tokens_do_not_travel_in_clear() {
    let gateway = |public: &str, issuer: &str| {
        let text = format!(
            "\n[gateway.http]\nlisten = \"127.0.0.1:8080\"\npublic_url = \"{public}\"\n\
             [gateway.http.oidc]\nissuer = \"{issuer}\"\naudience = \"leadline\"\n"
        );
        let mut files = files();
        let test = files.iter_mut().find(|f| f.path == "test.toml").unwrap();
        let without = test.text.split("\n[gateway.http]").next().unwrap_or_default();
        *test = SourceFile::new("test.toml", format!("{without}{text}"));
        files
    };
    assert!(check(&gateway("http://127.0.0.1:8080", "http://127.0.0.1:8300")).0.is_some());
    assert!(check(&gateway("https://ecg.example.org", "https://id.example.org/realms/x")).0.is_some());
    wrong(
        &gateway("http://ecg.example.org", "http://127.0.0.1.example.org"),
        &["gateway.http.public_url", "gateway.http.oidc.issuer"],
        "in clear",
    );
}

/// The gateway binds all of its addresses or does not start for anybody.
#[test]
fn every_listener_can_be_bound_beside_the_others() {
    for address in ["localhost:8080", "127.0.0.1:99999"] {
        let f = with("test.toml", "listen = \"127.0.0.1:8080\"", &format!("listen = \"{address}\""));
        wrong(&f, &["gateway.http.listen"], "is no address and port");
    }
    let (mary, kings) = ("gateway.mllp.plain.st-mary", "gateway.mllp.plain.kings-road");
    let plain = |a: &str, b: &str| {
        let listeners = format!("[gateway.mllp.plain]\nst-mary = \"{a}\"\nkings-road = \"{b}\"");
        with_ways_in(&listeners, "[gateway.hl7]", "[gateway.hl7]")
    };
    assert!(check(&plain("127.0.0.1:2575", "127.0.0.1:2576")).0.is_some());
    assert!(check(&plain("127.0.0.1:0", "127.0.0.1:0")).0.is_some());
    let e = wrong(&plain("127.0.0.1:2575", "127.0.0.1:2575"), &[mary, kings], "together with");
    assert!(e[0].message.ends_with(kings) && e[1].message.ends_with(mary), "{e:#?}");
    let e = wrong(&plain("127.0.0.1:2575", "127.0.0.1:8080"), &["gateway.http.listen", kings], "together with");
    assert!(e[0].message.ends_with(kings), "{e:#?}");
    // All of them, and an address that stands for every other one.
    let tls = "certificate_file = \"a\", key_file = \"b\", client_ca_file = \"c\"";
    let all = format!(
        "[gateway.mllp]\nlisten = \"[::]:8080\"\ntls = {{ {tls} }}\n\
         [gateway.dicom]\nlisten = \"0.0.0.0:8080\"\ntls = {{ {tls} }}"
    );
    let keys = ["gateway.http.listen", "gateway.mllp.listen", "gateway.dicom.listen"];
    wrong(&with_ways_in(&all, "", ""), &keys, "together with gateway.dicom.listen and gateway.mllp.listen");
}

/// What is pulled from an EHR is patients' data, and whoever pulls has a name there.
#[test]
fn an_ehr_can_be_pulled_from_and_not_in_clear() {
    let fhir = |table: &str, base: &str| format!("[{table}]\nbase_url = \"{base}\"\n");
    let client = "client_id = \"leadline\"";
    let own = |base: &str| with_ways_in("", &format!("{}{client}", fhir("gateway.fhir", base)), "");
    for good in ["https://ehr.example.org/fhir", "http://127.0.0.1:8090/fhir", "http://localhost:8090"] {
        let (config, found) = check(&own(good));
        assert!(config.is_some(), "{good}: {found:#?}");
    }
    let key = "gateway.fhir.base_url";
    for clear in ["http://ehr.example.org/fhir", "http://127.0.0.1.example.org", "http://127.0.0.1@ehr.example.org"] {
        wrong(&own(clear), &[key], "in clear");
    }
    let nameless = fhir("gateway.fhir", "https://ehr.example.org");
    wrong(&with_ways_in("", &nameless, ""), &[key], "without a client id");
    // An override counts as it is in its environment, with what it does not name.
    let there = format!("environment.test.{key}");
    let over = |base: &str| format!("[gateway.fhir]\n{client}\n{}", fhir("environment.test.gateway.fhir", base));
    assert!(check(&with_ways_in("", &over("https://ehr.example.org"), "")).0.is_some());
    wrong(&with_ways_in("", &over("http://ehr.example.org"), ""), &[&there], "in clear");
    let only = fhir("environment.test.gateway.fhir", "https://ehr.example.org");
    wrong(&with_ways_in("", &only, ""), &[&there], "without a client id");
}
