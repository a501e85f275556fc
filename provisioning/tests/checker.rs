//! What the checker finds, by example: the repository's own files with one thing wrong.

mod common;

use common::{config, files, findings, with, wrong};
use leadline_domain::{EnvId, OrgId, ShareId};
use leadline_provisioning::{Finding, Severity, SourceFile, check};

#[test]
fn the_repository_has_no_error() {
    let (_, f) = check(&files());
    let said: Vec<String> = f.iter().map(ToString::to_string).collect();
    // Copies of production are for people to arrange.
    let keys: Vec<(&str, &str)> = f.iter().map(|f| (f.file.as_str(), f.key.as_str())).collect();
    assert_eq!(keys, [("uk.toml", "backup"), ("uk.toml", "backup.region"), ("us.toml", "backup")], "{said:#?}");
}

#[test]
fn overrides_apply_in_their_environment_only() {
    let c = config();
    let org = OrgId::parse("st-mary").unwrap();
    let share = ShareId::parse("clinic").unwrap();
    let of = |e: &str| c.organization(&EnvId::parse(e).unwrap(), &org).map(|o| o.shares[&share].clone());
    assert_eq!(of("test").unwrap().host, "127.0.0.1");
    assert_eq!(of("us").unwrap().host, "files.st-mary.example.org");
    assert_eq!(of("test").unwrap().settle.unverifiable_quiet_ms, 120_000);
    assert_eq!(of("test").unwrap().settle.strong_quiet_ms, 200);
    assert_eq!(of("uk"), None);
}

#[test]
fn a_fourth_environment_needs_a_file_and_if_it_is_production_gates() {
    let gates = format!("[to.us-west]\nfrom = \"test\"\nevidence_key = \"{}\"\n\n[to.uk]", "0f".repeat(32));
    let gates = gates.as_str();
    for (mut files, keys) in [(with("promotion.toml", "[to.uk]", gates), vec![]), (files(), vec!["production"])] {
        files.push(SourceFile::new(
            "us-west.toml",
            "id = \"us-west\"\nname = \"US West\"\nproduction = true\naccount = \"444444444444\"\nregion = \"us-west-2\"\n\
             jurisdictions = [\"us\"]\nalarms.receivers = [{ https = \"https://oncall.example.org\" }]\n\
             aws.worker_principals = [\"arn:aws:iam::444444444444:role/leadline-host\"]\n\
             temporal = { address = \"t.example.org:7233\", namespace = \"us-west\", tls = {} }\n",
        ));
        let (config, found) = check(&files);
        let errors: Vec<&str> =
            found.iter().filter(|f| f.severity == Severity::Error).map(|f| f.key.as_str()).collect();
        assert_eq!(errors, keys, "{found:#?}");
        assert_eq!(config.map(|c| c.environments().len()), keys.is_empty().then_some(4));
    }
}

#[test]
fn a_new_jurisdiction_needs_data_only() {
    let mut files = with("jurisdictions.toml", "[uk]", "[ie]\nname = \"Ireland\"\nregions = [\"eu-west-1\"]\n\n[uk]");
    files.push(SourceFile::new(
        "ie.toml",
        "id = \"ie\"\nname = \"IE\"\naccount = \"555555555555\"\nregion = \"eu-west-1\"\njurisdictions = [\"ie\"]\n\
         alarms.receivers = [{ email = \"a@example.org\" }]\naws.worker_principals = [\"root\"]\n\
         temporal = { address = \"t.example.org:7233\", namespace = \"ie\", tls = {} }\n",
    ));
    assert!(check(&files).0.is_some());
}

#[test]
fn syntax_is_reported_with_its_line() {
    let e = wrong(&with("us.toml", "id = \"us\"", "id = \"us"), &[""], "not TOML");
    assert_eq!(e[0].line, Some(2));
}

#[test]
fn an_unknown_key_names_the_nearest_one() {
    let e = wrong(
        &with("us.toml", "max_receive_count", "max_recieve_count"),
        &["queue.max_recieve_count"],
        "max_receive_count?",
    );
    assert_eq!(e[0].file, "us.toml");
    assert!(e[0].line.is_some());
    wrong(
        &with("orgs/st-mary.toml", "path = \"export\"", "pth = \"export\""),
        &["share.ward.pth"],
        "did you mean path?",
    );
}

#[test]
fn secrets_in_clear_are_refused() {
    let f = with("orgs/st-mary.toml", "path = \"export\"", "password = \"hunter2\"");
    let e = wrong(&f, &["share.ward.password"], "credentials must not be in a file");
    assert!(!e[0].to_string().contains("hunter2"));
}

#[test]
fn slugs() {
    wrong(&with("orgs/st-mary.toml", "id = \"st-mary\"", "id = \"St_Mary\""), &["id"], "lower-case");
    wrong(
        &with("orgs/st-mary.toml", "id = \"st-mary\"", "id = \"st-marys\""),
        &["id"],
        "the file is called st-mary.toml",
    );
    wrong(&with("orgs/st-mary.toml", "[share.clinic]", "[share.Clinic]"), &["share.Clinic"], "lower-case");
}

#[test]
fn names_that_differ_in_case_collide() {
    let mut files = files();
    let twin = files.iter().find(|f| f.path == "orgs/st-mary.toml").unwrap().text.clone();
    files.push(SourceFile::new("orgs/St-Mary.toml", twin));
    let f = findings(&files);
    assert!(f.iter().any(|f| f.message.contains("letter case only")), "{f:#?}");
}

#[test]
fn residency() {
    let f =
        with("orgs/kings-road.toml", "environments = [\"test\", \"uk\"]", "environments = [\"test\", \"uk\", \"us\"]");
    wrong(&f, &["jurisdiction", "share.reception.host", "share.reception.host"], "us does not take");
    wrong(
        &with("uk.toml", "region = \"eu-west-2\"\njur", "region = \"us-east-1\"\njur"),
        &["region"],
        "outside of jurisdiction uk",
    );
    wrong(
        &with("uk.toml", "[backup]\nregion = \"eu-west-2\"", "[backup]\nregion = \"eu-west-1\""),
        &["backup.region"],
        "outside of jurisdiction uk",
    );
    // Histories are kept where Temporal is, as far as its address says.
    let address = "leadline-uk.a1b2c.tmprl.cloud:7233";
    for elsewhere in ["us-east-1.aws.api.temporal.io:7233", "AWS-us-east-1.region.tmprl.cloud:7233"] {
        wrong(&with("uk.toml", address, elsewhere), &["temporal.address"], "region us-east-1 of Temporal Cloud");
    }
    assert!(check(&with("uk.toml", address, "eu-west-2.aws.api.temporal.io:7233")).0.is_some());
    wrong(&with("us.toml", "us-west-2", "eu-west-2"), &["backup.region"], "outside of jurisdiction us");
    wrong(
        &with("us.toml", "jurisdictions = [\"us\"]", "jurisdictions = [\"us\", \"fr\"]"),
        &["jurisdictions"],
        "fr is not in",
    );
    wrong(&with("us.toml", "production = true", "production = true\nsynthetic_only = true"), &["synthetic_only"], "");
}

#[test]
fn environments_are_apart() {
    let both = with("uk.toml", "333333333333\"\n", "222222222222\"\n");
    let f: Vec<Finding> = findings(&both).into_iter().filter(|f| f.key == "account").collect();
    assert_eq!(f.iter().map(|f| f.file.as_str()).collect::<Vec<_>>(), ["uk.toml", "us.toml"]);
    assert!(f.iter().all(|f| f.severity == Severity::Error && f.message.contains("as well")), "{f:?}");
    let mut one = with("uk.toml", "namespace = \"leadline-uk.a1b2c\"", "namespace = \"leadline-us.a1b2c\"");
    let uk = one.iter_mut().find(|f| f.path == "uk.toml").unwrap();
    uk.text = uk.text.replace("leadline-uk.a1b2c.tmprl.cloud", "leadline-us.a1b2c.tmprl.cloud");
    wrong(&one, &["temporal.namespace", "temporal.namespace"], "as well");
    // However the address is written.
    let uk = one.iter_mut().find(|f| f.path == "uk.toml").unwrap();
    uk.text = uk.text.replace("leadline-us.a1b2c.tmprl.cloud", "LEADLINE-us.a1b2c.tmprl.cloud");
    wrong(&one, &["temporal.namespace", "temporal.namespace"], "as well");
}

#[test]
fn shares_are_apart() {
    let f = with("orgs/kings-road.toml", "share = \"kings-road\"", "share = \"ECG\"\npath = \"/Export/\"");
    wrong(&f, &["environment.test.share.reception.host", "environment.test.share.ward.host"], "is watched by st-mary");
    let f = with("orgs/kings-road.toml", "share = \"kings-road\"", "share = \"ecg\"\npath = \"export/today\"");
    wrong(&f, &["environment.test.share.reception.path"], "is inside what st-mary");
    let f = with(
        "orgs/st-mary.toml",
        "[environment.test.share.clinic]\nhost = \"127.0.0.1\"\nport = 4450\n",
        "[environment.test.share.clinic]\n",
    );
    wrong(&f, &["share.clinic.host", "share.clinic.host"], "each file would go to one of them");
}

#[test]
fn disabled_shares_do_not_contend() {
    let f = with(
        "orgs/st-mary.toml",
        "[environment.test.share.clinic]\nhost = \"127.0.0.1\"\nport = 4450\n",
        "[environment.test.share.clinic]\nenabled = false\n",
    );
    assert!(check(&f).0.is_some());
}

#[test]
fn archive_and_quiet_periods() {
    let f = |a: &str| with("orgs/st-mary.toml", "folder = \"_archive\"", &format!("folder = \"{a}\""));
    wrong(&f("export"), &["share.ward.archive.folder"], "inside the archive folder");
    wrong(&f(""), &["share.ward.archive.folder"], "is empty");
    wrong(&f("../x"), &["share.ward.archive.folder"], "..");
    let f = with("orgs/st-mary.toml", "unverifiable_quiet_ms = 120_000", "strong_quiet_ms = 0");
    wrong(&f, &["share.clinic.settle.strong_quiet_ms"], "is zero");
}

#[test]
fn alarms_reach_someone() {
    let f = with("us.toml", "receivers = [{ email = \"leadline-oncall-us@example.org\" }]", "");
    wrong(&f, &["alarms.receivers"], "reach nobody");
    let f = with("us.toml", "{ email =", "{ pager =");
    wrong(&f, &["alarms.receivers.0"], "email or https");
}

#[test]
fn delivery() {
    wrong(
        &with("uk.toml", "countries = [\"GB\"]", "countries = [\"GB\", \"US\"]"),
        &["cdn.countries"],
        "delivered to US",
    );
    wrong(
        &with("us.toml", "222222222222:certificate", "333333333333:certificate"),
        &["cdn.certificate"],
        "another account",
    );
    wrong(&with("us.toml", "domain = \"ecg-us.example.org\"", ""), &["cdn.domain"], "without its host name");
    wrong(&with("us.toml", "signing_keys", "signing_key"), &["cdn.signing_keys", "cdn.signing_key"], "is missing");
    wrong(&with("us.toml", "PUBLIC KEY", "PRIVATE KEY"), &["cdn.signing_keys.0"], "public half");
    let mut bare = with("us.toml", "domain = \"ecg-us.example.org\"", "");
    let us = bare.iter_mut().find(|f| f.path == "us.toml").unwrap();
    us.text = us.text.lines().filter(|l| !l.starts_with("certificate")).map(|l| format!("{l}\n")).collect();
    assert!(findings(&bare).iter().any(|f| f.key == "cdn.domain" && f.severity == Severity::Warning));
}

#[test]
fn canaries_are_no_patients() {
    let f = with("us.toml", "[queue]", "[gateway.canary]\n\n[queue]");
    wrong(&f, &["gateway.canary"], "do not belong where patients' are");
    let f = with("test.toml", "[gateway.canary]", "[gateway.canary]\nmllp = \"hl7.example.org\"");
    wrong(&f, &["gateway.canary.mllp"], "is not valid");
}

#[test]
fn formats_are_names_that_are_known() {
    let f = with("orgs/kings-road.toml", "\"dicom_waveform\"", "\"dicom_wavform\"");
    let e = wrong(&f, &["formats.3"], "did you mean dicom_waveform?");
    assert!(e[0].message.contains("\"scp\""), "{}", e[0]);
}

/// Each kind of warning is given, and withholds nothing.
#[test]
fn warnings() {
    let warned = |files: &[SourceFile]| -> Vec<String> {
        let (config, all) = check(files);
        assert!(config.is_some(), "{all:#?}");
        all.into_iter().filter(|f| f.file != "uk.toml" && f.key != "backup").map(|f| f.key).collect()
    };
    let org = |from: &str, to: &str| warned(&with("orgs/st-mary.toml", from, to));
    assert_eq!(
        warned(&with("us.toml", "visibility_timeout_s = 300", "visibility_timeout_s = 5")),
        ["queue.visibility_timeout_s"]
    );
    assert_eq!(
        warned(&with("test.toml", "receivers = [{ email = \"leadline-test@example.org\" }]", "")),
        ["alarms.receivers"]
    );
    assert_eq!(warned(&with("test.toml", "[aws]", "[aws]\nassume_worker_role = false")), ["aws.assume_worker_role"]);
    assert_eq!(org("path = \"export\"", "encryption_required = false"), ["share.ward.encryption_required"; 1]);
    assert_eq!(
        org("settle = { unverifiable_quiet_ms = 120_000 }", "settle = { unverifiable_quiet_ms = 1 }"),
        ["share.clinic.settle.unverifiable_quiet_ms"]
    );
    let no_contacts =
        org("[[contacts]]\nname = \"Clinic IT\"\nemail = \"it@st-mary.example.org\"\nrole = \"file server\"\n", "");
    assert_eq!(no_contacts, ["contacts"]);
}

/// Evidence for production is signed with a key that is written down. Elsewhere it may be believed as it comes, which is
/// warned of.
#[test]
fn a_key_for_evidence_is_a_key_and_production_has_one() {
    let there = "four_eyes = true\nevidence_key = \"";
    let key = |k: &str| {
        let f = with("promotion.toml", there, &format!("four_eyes = true\nevidence_key = \"{k}\" # \""));
        check(&f)
    };
    assert!(key(&"0f".repeat(32)).0.is_some());
    for no in ["", "0f", &"0F".repeat(32), &"0g".repeat(32)] {
        let found = key(no).1;
        let wrong = found.iter().find(|f| f.key == "to.us.evidence_key" && f.severity == Severity::Error);
        assert!(wrong.is_some_and(|f| f.help.contains("[0-9a-f]{64}")), "{no}: {found:#?}");
    }
    // Keys that anybody can sign for: zero, and others of small order, with either sign.
    for weak in [
        "00".repeat(32),
        format!("{}80", "00".repeat(31)),
        format!("01{}", "00".repeat(31)),
        format!("ec{}7f", "ff".repeat(30)),
        format!("ec{}", "ff".repeat(31)),
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a".to_owned(),
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa".to_owned(),
    ] {
        let (config, found) = key(&weak);
        let wrong = found.iter().find(|f| f.key == "to.us.evidence_key" && f.severity == Severity::Error);
        assert!(config.is_none() && wrong.is_some_and(|f| f.message.contains("small order")), "{weak}: {found:#?}");
    }
    let without = with("promotion.toml", there, "four_eyes = true # \"");
    let errors = wrong(&without, &["to.us", "to.uk"], "believed without a signature");
    assert!(errors.iter().all(|e| e.help.contains("evidence-key test")), "{errors:#?}");
    // In front of an environment that holds nobody's recordings.
    let rehearsal = "[to.rehearsal]\nfrom = \"test\"\n\n[to.uk]";
    let mut files = with("promotion.toml", "[to.uk]", rehearsal);
    let test = files.iter().find(|f| f.path == "test.toml").expect("test").text.clone();
    let other =
        [("id = \"test\"", "id = \"rehearsal\""), ("111111111111", "555555555555"), ("leadline-test", "rehearsal")];
    let text = other.iter().fold(test, |t, (from, to)| t.replace(from, to));
    files.push(SourceFile::new("rehearsal.toml", text));
    let (config, found) = check(&files);
    assert!(config.is_some(), "{found:#?}");
    let at = found.iter().find(|f| f.key == "to.rehearsal").expect("a finding");
    assert_eq!(at.severity, Severity::Warning);
}

#[test]
fn workers_are_somebody() {
    let host = "worker_principals = [\"arn:aws:iam::222222222222:role/leadline-host\"]";
    let f = |to: &str| with("us.toml", host, to);
    wrong(&f(""), &["aws.worker_principals"], "nobody may take");
    wrong(&with("us.toml", &format!("\n{host}"), ""), &["aws.worker_principals"], "nobody may take");
    // Services hand a role out; they let nobody take it.
    wrong(&f("worker_services = [\"ec2.amazonaws.com\"]"), &["aws.worker_principals"], "nobody may take");
    let of = |who: &str| f(&format!("worker_principals = [\"arn:aws:iam::{who}\"]"));
    for good in ["root", "role/hosts/of-workers", "user/jo.doe@example.org"] {
        assert!(check(&of(&format!("222222222222:{good}"))).0.is_some(), "{good}");
    }
    wrong(&of("999999999999:role/x"), &["aws.worker_principals"], "not a principal of");
    for nobody in ["", "anything", "group/admins", "role/", "role/*", "role//a", "user/?", "root/a"] {
        wrong(&of(&format!("222222222222:{nobody}")), &["aws.worker_principals"], "not a principal of");
    }
    wrong(&f(&format!("{host}\nendpoint_url = \"https://aws.example.org\"")), &["aws.endpoint_url"], "AWS itself");
    wrong(
        &f(&format!("{host}\nassume_worker_role = false")),
        &["aws.assume_worker_role"],
        "rights they were started with",
    );
}

#[test]
fn gates_name_environments_that_exist() {
    wrong(
        &with("promotion.toml", "[to.us]\nfrom = \"test\"", "[to.us]\nfrom = \"stage\""),
        &["to.us.from"],
        "no environment stage",
    );
    wrong(&with("promotion.toml", "[to.us]\nfrom = \"test\"", "[to.us]\nfrom = \"us\""), &["to.us"], "from itself");
}

#[test]
fn globs_and_overrides() {
    let f = |to: &str| with("orgs/st-mary.toml", "path = \"export\"", &format!("path = \"export\"\n{to}"));
    wrong(&f("only = [\"in/*.dcm\"]"), &["share.ward.only.0"], "matches no name");
    wrong(&f("ignore = [\"*\"]"), &["share.ward.ignore.0"], "every file would be ignored");
    wrong(&f("done_markers = [\"done\"]"), &["share.ward.done_markers.0"], "is not valid");
    let f = with("orgs/st-mary.toml", "environments = [\"test\", \"us\"]", "environments = [\"us\"]");
    wrong(&f, &["environment.test"], "not placed in");
    let f = with(
        "orgs/st-mary.toml",
        "[environment.test.share.clinic]",
        "[environment.test.share.other]\nport = 1\n[environment.test.share.clinic]",
    );
    wrong(&f, &["environment.test.share.other.host", "environment.test.share.other.share"], "is missing");
}

#[test]
fn plain_text_is_for_loopback() {
    let (here, there) = ("endpoint_url = \"http://127.0.0.1", "endpoint_url = \"http://10.0.0.1");
    wrong(&with("test.toml", here, there), &["aws.endpoint_url"], "in clear");
    wrong(&with("us.toml", "tls = {}", ""), &["temporal.address", "temporal.api_key_secret"], "without TLS");
}

#[test]
fn limits_and_types() {
    wrong(
        &with("us.toml", "max_receive_count = 5", "max_receive_count = 0"),
        &["queue.max_receive_count"],
        "at least 1",
    );
    wrong(
        &with("us.toml", "account = \"222222222222\"", "account = 222222222222"),
        &["account"],
        "expected string, found a number",
    );
    wrong(&with("us.toml", "lock = \"compliance\"", "lock = \"strict\""), &["backup.lock"], "governance");
    wrong(&with("us.toml", "name = \"US production\"\n", ""), &["name"], "is missing");
    wrong(&with("orgs/st-mary.toml", "mode = \"leave\"", "mode = \"burn\""), &["share.clinic.archive"], "leave");
    wrong(&with("orgs/st-mary.toml", "4_294_967_296", "1"), &["limits.small_file_bytes"], "");
}

/// `sets`, on the share `ward`.
fn with_sets(rules: &str) -> Vec<SourceFile> {
    with("orgs/st-mary.toml", "path = \"export\"", &format!("path = \"export\"\n{rules}"))
}

#[test]
fn sets_that_can_never_be_complete_are_found() {
    let good = with_sets(
        "sets = [{ kind = \"wfdb\" }, { kind = \"stem\", primary = [\"xml\"], required = [\"pdf\"] }, \
         { kind = \"marker\", primary = [\"scp\"], marker = \"done\", appended = true }]\ndone_markers = [\".ok\"]",
    );
    let (config, f) = check(&good);
    let config = config.unwrap_or_else(|| panic!("{f:#?}"));
    let org = config.organization(&EnvId::parse("us").unwrap(), &OrgId::parse("st-mary").unwrap()).unwrap();
    assert_eq!(org.shares[&ShareId::parse("ward").unwrap()].set_rules().len(), 4);

    let stem = |rest: &str| with_sets(&format!("sets = [{{ kind = \"stem\", {rest} }}]"));
    wrong(&stem("required = [\"pdf\"]"), &["share.ward.sets.0.primary"], "is missing");
    wrong(&stem("primary = []"), &["share.ward.sets.0.primary"], "is empty");
    wrong(&stem("primary = [\"xml\"], required = [\".XML\"]"), &["share.ward.sets.0.required.0"], "is primary already");
    wrong(&stem("primary = [\"*.xml\"]"), &["share.ward.sets.0.primary.0"], "of no file");
    wrong(&with_sets("sets = [{ kind = \"stam\" }]"), &["share.ward.sets.0"], "stem");
    let twice = "sets = [{ kind = \"stem\", primary = [\"hea\"], required = [\"dat\"] }, { kind = \"wfdb\" }]";
    wrong(&with_sets(twice), &["share.ward.sets.1.kind"], "rule 0 claims the extension hea");
    let mixed = "sets = [{ kind = \"marker\", marker = \"ok\" }]\ndone_markers = [\".done\"]";
    wrong(&with_sets(mixed), &["share.ward.done_markers"], "side by side");
    wrong(&with_sets("done_markers = [\".a.b\"]"), &["share.ward.done_markers.0"], "of no file");
}

#[test]
fn everything_is_reported_at_once() {
    let mut f = with("us.toml", "max_receive_count = 5", "max_receive_count = 0");
    let o = f.iter_mut().find(|f| f.path == "orgs/st-mary.toml").unwrap();
    o.text = o.text.replace("path = \"export\"", "pth = 1\nport = 0");
    let keys: Vec<String> = findings(&f).into_iter().filter(|f| f.severity == Severity::Error).map(|f| f.key).collect();
    assert_eq!(keys, ["share.ward.pth", "share.ward.port", "queue.max_receive_count"]);
}

#[test]
fn what_stands_beside_something_misshapen_is_checked_and_nothing_is_guessed() {
    let us = |edits: &[(&str, &str)]| {
        let mut files = files();
        let f = files.iter_mut().find(|f| f.path == "us.toml").unwrap();
        for (from, to) in edits {
            assert!(f.text.contains(from), "{from}");
            f.text = f.text.replacen(from, to, 1);
        }
        files
    };
    let (nameless, abroad) =
        (("name = \"US production\"", "nmae = \"US\""), ("region = \"us-west-2\"", "region = \"eu-west-1\""));
    wrong(
        &us(&[("[queue]", "[queue]\nvisibility = 3"), abroad]),
        &["queue.visibility", "backup.region"],
        "no such key",
    );
    wrong(
        &us(&[("visibility_timeout_s = 300", "visibility_timeout_s = \"5 min\""), abroad]),
        &["queue.visibility_timeout_s", "backup.region"],
        "expected integer",
    );
    // Nobody says of whoever wrote `recievers` that alarms reach no one.
    wrong(&us(&[("receivers =", "recievers ="), abroad]), &["backup.region", "alarms.recievers"], "outside");
    wrong(
        &us(&[("email = \"leadline-oncall", "mail = \"leadline-oncall"), abroad]),
        &["backup.region", "alarms.receivers.0"],
        "outside",
    );
    let shares = with("orgs/kings-road.toml", "host = ", "hots = ");
    let said = findings(&shares).into_iter().filter(|f| f.file == "orgs/kings-road.toml").map(|f| f.key);
    let keys = ["share.reception.host", "share.reception.hots", "environment.test.share.reception.hots"];
    assert_eq!(said.collect::<Vec<_>>(), keys);
    // Without what every environment has there is nothing to check it against.
    wrong(&us(&[nameless, abroad]), &["name", "nmae"], "is missing");
}

#[test]
fn unreadable_and_empty_folders() {
    let dir = tempfile::tempdir().unwrap();
    let (c, f) = leadline_provisioning::load(dir.path());
    assert!(c.is_none() && f[0].message.contains("no environment"));
    std::fs::write(dir.path().join("us.toml"), [0xff, 0xfe]).unwrap();
    let (c, f) = leadline_provisioning::load(dir.path());
    assert!(c.is_none() && f.iter().any(|f| f.file == "us.toml" && f.message.contains("UTF-8")));
    let (c, f) = leadline_provisioning::load(&dir.path().join("gone"));
    assert!(c.is_none() && f.iter().any(|f| f.message.contains("cannot be read")));
}

mod anything {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is in a file, the answer is a configuration or an error, with lines that exist.
        #[test]
        fn is_answered(at in 0usize..900, junk in "[\\[\\]{}=\"\n.a-z0-9é -]{0,12}", which in 0usize..7) {
            let mut files = files();
            let n = which % files.len();
            let f = &mut files[n];
            let mut at = at.min(f.text.len());
            while !f.text.is_char_boundary(at) {
                at -= 1;
            }
            f.text.insert_str(at, &junk);
            let lines = f.text.split('\n').count();
            let path = f.path.clone();
            let (config, found) = check(&files);
            prop_assert_eq!(config.is_none(), found.iter().any(|f| f.severity == Severity::Error));
            for f in found.iter().filter(|f| f.file == path) {
                prop_assert!(f.line.is_none_or(|l| (1..=lines).contains(&l)), "{}", f);
            }
        }
    }
}
