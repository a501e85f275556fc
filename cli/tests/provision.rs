//! The checker and the planner as an operator and a pipeline use them: no server is asked.

use leadline_formats::Format;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

fn leadline(folder: &Path, arguments: &[&str]) -> Output {
    let mut c = Command::new(env!("CARGO_BIN_EXE_leadline"));
    c.arg("--environments").arg(folder).args(arguments).output().expect("it runs")
}

/// Standard output of a command that must end with this code.
#[track_caller]
fn ends(code: i32, folder: &Path, arguments: &[&str]) -> String {
    let out = leadline(folder, arguments);
    assert_eq!(out.status.code(), Some(code), "leadline {arguments:?}: {out:?}");
    String::from_utf8(out.stdout).expect("UTF-8")
}

fn objects(lines: &str) -> Vec<Value> {
    lines.lines().map(|l| serde_json::from_str(l).expect("an object a line")).collect()
}

/// A copy of the repository's environments, to be changed.
fn environments() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../environments");
    for sub in ["", "orgs"] {
        std::fs::create_dir_all(folder.path().join(sub)).expect("a folder");
        for e in std::fs::read_dir(from.join(sub)).expect("the repository's").flatten() {
            if e.path().extension().is_some_and(|x| x == "toml") {
                std::fs::copy(e.path(), folder.path().join(sub).join(e.file_name())).expect("copied");
            }
        }
    }
    folder
}

fn edit(folder: &Path, file: &str, from: &str, to: &str) {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path).expect("a file");
    assert!(text.contains(from), "{file} has no {from}");
    std::fs::write(path, text.replacen(from, to, 1)).expect("written");
}

/// From the file to the plans, with nothing but files: a fourth environment, in a jurisdiction nobody knew.
#[test]
fn a_fourth_environment_touches_files_only() {
    let folder = environments();
    let f = folder.path();
    let pem = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQ==\n-----END PUBLIC KEY-----";
    let ie = format!(
        "id = \"ie\"\nname = \"Ireland\"\nproduction = true\naccount = \"444444444444\"\nregion = \"eu-west-1\"\n\
         jurisdictions = [\"ie\"]\nalarms.receivers = [{{ https = \"https://on-call.example.org\" }}]\n\
         aws.worker_principals = [\"arn:aws:iam::444444444444:role/leadline-host\"]\n\
         temporal = {{ address = \"t.example.org:7233\", namespace = \"ie\", tls = {{}} }}\n\
         backup = {{ region = \"eu-west-1\" }}\n[cdn]\ncountries = [\"IE\"]\nsigning_keys = [\"\"\"\n{pem}\n\"\"\"]\n"
    );
    std::fs::write(f.join("ie.toml"), ie).expect("written");
    // The checker says what else belongs to it.
    let found = objects(&ends(3, f, &["env", "check", "--output", "json"]));
    let at = |x: &Value| (x["file"].as_str().map(String::from), x["key"].as_str().map(String::from));
    let keys: Vec<_> = found.iter().filter(|x| x["severity"] == "error").map(at).collect();
    let wants = |key: &str| (Some("ie.toml".to_owned()), Some(key.to_owned()));
    assert_eq!(keys, [wants("production"), wants("jurisdictions")]);
    edit(
        f,
        "jurisdictions.toml",
        "[uk]",
        "[ie]\nname = \"Ireland\"\nregions = [\"eu-west-1\"]\ncountries = [\"IE\"]\n\n[uk]",
    );
    let gates = format!("[to.ie]\nfrom = \"test\"\napprovals = 2\nevidence_key = \"{}\"\n\n[to.us]", "0f".repeat(32));
    edit(f, "promotion.toml", "[to.us]", &gates);
    let org = "id = \"liffey\"\nname = \"Liffey Heart Clinic\"\njurisdiction = \"ie\"\nenvironments = [\"ie\"]\n\
               contacts = [{ name = \"IT\", email = \"it@liffey.example.org\" }]\n\
               [share.ward]\nhost = \"nas.liffey.example.org\"\nshare = \"ecg\"\n";
    std::fs::write(f.join("orgs/liffey.toml"), org).expect("written");
    ends(0, f, &["env", "check"]);
    // Plans of the environment, of its copies and of the organization, there and nowhere else.
    let plans = objects(&ends(2, f, &["env", "plan", "ie", "--offline", "--output", "json"]));
    let stacks: Vec<_> = plans.iter().map(|p| (&p["stack"], &p["account"], &p["region"])).collect();
    let (account, region) = (&Value::from("444444444444"), &Value::from("eu-west-1"));
    let names = [Value::from("leadline-ie-env"), Value::from("leadline-ie-backup")];
    assert_eq!(stacks, [(&names[0], account, region), (&names[1], account, region)]);
    assert!(plans[0]["template"]["Resources"]["Delivery"].is_object());
    let plan = ends(2, f, &["org", "plan", "liffey", "--env", "ie", "--offline"]);
    assert!(plan.starts_with("stack leadline-ie-org-liffey in account 444444444444, region eu-west-1\n"), "{plan}");
    ends(1, f, &["org", "plan", "liffey", "--env", "us", "--offline"]);
    let differ = ends(0, f, &["env", "diff", "uk", "ie"]);
    assert!(
        differ.lines().any(|l| l.starts_with("region ") && l.contains("eu-west-2") && l.contains("eu-west-1")),
        "{differ}"
    );
}

#[test]
fn findings_come_at_once_with_file_key_severity_and_help() {
    let folder = environments();
    let f = folder.path();
    edit(f, "us.toml", "max_receive_count", "max_recieve_count");
    edit(f, "uk.toml", "region = \"eu-west-2\"\njurisdictions", "region = \"us-east-1\"\njurisdictions");
    edit(f, "orgs/st-mary.toml", "path = \"export\"", "path = \"../export\"");
    let found = objects(&ends(3, f, &["env", "check", "--output", "json"]));
    let errors: Vec<&Value> = found.iter().filter(|x| x["severity"] == "error").collect();
    let at: Vec<_> = errors.iter().map(|x| (x["file"].as_str().unwrap(), x["key"].as_str().unwrap())).collect();
    let expected =
        [("orgs/st-mary.toml", "share.ward.path"), ("uk.toml", "region"), ("us.toml", "queue.max_recieve_count")];
    assert_eq!(at, expected);
    assert!(errors.iter().all(|x| x["line"].is_u64() && !x["help"].as_str().unwrap().is_empty()), "{errors:#?}");
    let text = ends(3, f, &["env", "check"]);
    assert!(
        text.contains("us.toml:17: error: queue.max_recieve_count: no such key. did you mean max_receive_count?"),
        "{text}"
    );
    // Nothing is planned from files that are wrong.
    ends(1, f, &["env", "plan", "test", "--offline"]);
}

#[test]
fn usage_is_told_apart_from_failure() {
    let folder = environments();
    let f = folder.path();
    ends(64, f, &["env", "plan"]);
    ends(64, f, &["env", "plan", "test", "--env", "us"]);
    ends(64, f, &["org", "plan", "--env", "us"]);
    ends(64, f, &["org", "plan", "st-mary", "--all", "--env", "us"]);
    ends(1, f, &["env", "plan", "mars", "--offline"]);
}

/// Prints the times (`--nocapture`); what it holds to is that each of them is there.
#[test]
#[expect(clippy::print_stdout, reason = "times for whoever asks for them")]
fn a_thousand_organizations() {
    let folder = environments();
    let f = folder.path();
    for n in 0..1000 {
        let org = format!(
            "id = \"clinic-{n}\"\nname = \"Clinic {n}\"\njurisdiction = \"us\"\nenvironments = [\"us\"]\n\
             contacts = [{{ name = \"IT\", email = \"it@example.org\" }}]\n\
             [share.ward]\nhost = \"nas-{n}.example.org\"\nshare = \"ecg\"\n[share.icu]\nhost = \"nas-{n}.example.org\"\nshare = \"icu\"\n"
        );
        std::fs::write(f.join(format!("orgs/clinic-{n}.toml")), org).expect("written");
    }
    let start = Instant::now();
    let out = leadline(f, &["env", "check"]);
    assert_eq!(out.status.code(), Some(0), "{out:?}");
    let noted = String::from_utf8(out.stderr).expect("UTF-8");
    assert!(noted.contains("1009 templates"), "{noted}");
    println!("files of 1,000 organizations checked, their templates made and held to the rules: {:?}", start.elapsed());
    let start = Instant::now();
    let plans = objects(&ends(2, f, &["org", "plan", "--all", "--env", "us", "--offline", "--output", "json"]));
    assert_eq!(plans.len(), 1001);
    let digests: std::collections::BTreeSet<&str> = plans.iter().filter_map(|p| p["digest"].as_str()).collect();
    assert_eq!(digests.len(), 1001);
    println!("1,001 organizations planned: {:?}", start.elapsed());
}

/// The planner may not depend on the crate that knows the formats; this holds its list equal.
#[test]
fn formats_of_files_are_those_that_are_known() {
    let name = |f: &Format| serde_json::to_value(f).unwrap().as_str().unwrap().to_owned();
    let mut known: Vec<String> = Format::ALL.iter().map(name).collect();
    known.sort();
    assert_eq!(known, leadline_provisioning::config::FORMATS);
}
