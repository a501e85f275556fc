//! An organization from one environment to the next: only on evidence, only with the people's word, only what was shown.

use leadline_tests::harness::stack::{Clinic, Stack};
use leadline_tests::harness::tools::{Owned, wait_for};
use leadline_tests::ways_in::{Ports, WaysIn, open_to};
use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(120);
/// Account of the second environment on the endpoint.
const STAGE: &str = "333333333333";

/// A stack with a second environment, `stage`, that has gates: a namespace, an account and a worker of its own.
struct TwoEnvironments {
    stack: Stack,
    ports: Ports,
    workers: Vec<Owned>,
}

impl TwoEnvironments {
    async fn start() -> Self {
        let stack = Stack::start(&[Clinic::new("st-mary", "ward"), Clinic::new("kings-road", "reception")]);
        let environments = stack.environments();
        let test = std::fs::read_to_string(environments.join("test.toml")).expect("read");
        let stage = test
            .replace("\"test\"", "\"stage\"")
            .replace("leadline-test-", "leadline-stage-")
            .replace("111111111111", STAGE)
            .replace("namespace = \"default\"", "namespace = \"stage\"");
        std::fs::write(environments.join("stage.toml"), stage).expect("written");
        let gates = "[to.stage]\nfrom = \"test\"\napprovals = 1\nfour_eyes = true\n";
        std::fs::write(environments.join("promotion.toml"), gates).expect("written");
        let s = Self { ports: WaysIn::configure(&stack), stack, workers: Vec::new() };
        for c in &s.stack.clinics {
            s.edit(&c.org, "environments = [\"test\"]", "environments = [\"test\", \"stage\"]");
            let path = environments.join(format!("orgs/{}.toml", c.org));
            let text = std::fs::read_to_string(&path).expect("read");
            let there = format!("{text}\n[environment.stage.share.{}]\npath = \"stage\"\n", c.share);
            std::fs::write(&path, there).expect("written");
        }
        // One that takes some formats only.
        let some = "formats = [\"aecg\", \"dicom\", \"dicom_document\", \"dicom_waveform\", \"pdf\", \"scp\"]";
        s.edit("kings-road", "[limits]", &format!("{some}\n[limits]"));
        // One that has every way in open in test.
        let (path, ways) = (environments.join("orgs/st-mary.toml"), open_to("MARY"));
        let text = std::fs::read_to_string(&path).expect("read");
        let ways = ways.replace("[gateway.", "[environment.test.gateway.");
        std::fs::write(&path, text + &ways).expect("written");
        s.stack.temporal.make_namespace("stage");
        for name in ["LeadlineOrg", "LeadlineShare"] {
            let create =
                ["operator", "search-attribute", "create", "--namespace", "stage", "--type", "Keyword", "--name"];
            s.stack.temporal.cli(&[&create[..], &[name]].concat()).expect("made");
        }
        s
    }

    fn edit(&self, org: &str, from: &str, to: &str) {
        let path = self.stack.environments().join(format!("orgs/{org}.toml"));
        let text = std::fs::read_to_string(&path).expect("read");
        assert!(text.contains(from), "{text}");
        std::fs::write(path, text.replace(from, to)).expect("written");
    }

    /// Has `stage` believe evidence that is signed with this key.
    fn trust(&self, key: &str) {
        let gates = format!("[to.stage]\nfrom = \"test\"\napprovals = 1\nfour_eyes = true\nevidence_key = \"{key}\"\n");
        // Renamed, so that no worker reads half of it.
        let path = self.stack.environments().join("promotion.toml");
        let new = path.with_extension("new");
        std::fs::write(&new, gates).expect("written");
        std::fs::rename(&new, path).expect("renamed");
    }

    /// What canaries of st-mary come with, in a file.
    fn client(&self, secret: &str) -> String {
        let file = self.stack.dir.join("canary.toml");
        let text = format!("client_id = \"loader-st-mary\"\nclient_secret = \"{secret}\"\n");
        std::fs::write(&file, text).expect("written");
        file.to_string_lossy().into_owned()
    }

    /// A command in `stage`, by someone.
    fn command(&self, who: &str, args: &[&str]) -> Command {
        let mut c = self.stack.command(args);
        c.env("AWS_ACCESS_KEY_ID", STAGE).env("LEADLINE_OPERATOR", who);
        c
    }

    fn run(&self, who: &str, args: &[&str]) -> Output {
        self.command(who, args).output().expect("leadline runs")
    }

    fn work(&mut self) {
        self.workers.push(self.stack.worker());
        let log = std::fs::File::create(self.stack.dir.join("stage-worker.log")).expect("log file");
        let mut c = self.command("", &["worker", "--env", "stage", "--log-format", "json"]);
        c.stdout(log.try_clone().expect("log file")).stderr(log);
        self.workers.push(Owned::start(&mut c));
    }

    /// Digest of the plan that waits for an approval in `stage`.
    fn waiting(&self, status: &[&str]) -> String {
        let mut digest = String::new();
        wait_for("the plan waits for an approval", LIMIT, || {
            let out = self.run("cy", &[status, &["--output", "json"]].concat());
            let v: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap_or_default();
            digest = v["status"]["plan"].as_str().unwrap_or_default().to_owned();
            v["status"]["step"] == "waiting for approval" && v["state"] == "under way"
        });
        digest
    }
}

fn text(o: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&o.stdout), String::from_utf8_lossy(&o.stderr))
}

fn refused(o: &Output, with: &str) {
    assert_eq!(o.status.code(), Some(1), "{}", text(o));
    assert!(text(o).contains(with), "{}", text(o));
}

/// Waits for a child and asserts that it succeeded.
fn succeeds(child: std::process::Child) {
    let out = child.wait_with_output().expect("it ends");
    assert!(out.status.success(), "{}", text(&out));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_organization_is_promoted_on_evidence_and_with_four_eyes() {
    let mut s = TwoEnvironments::start().await;
    for c in &s.stack.clinics {
        let _ = s.stack.device(&c.org).await;
    }
    std::fs::create_dir_all(s.stack.samba.path("ward").join("stage")).expect("folder");
    s.work();
    tokio::task::block_in_place(|| {
        s.stack.provision();

        // The environment itself: its plan waits for someone else.
        let apply = piped(&mut s.command("ann", &["env", "apply", "--env", "stage"]));
        let digest = s.waiting(&["env", "status", "--env", "stage"]);
        let approve = ["env", "approve", "--env", "stage", "--digest"];
        refused(&s.run("Ann ", &[&approve[..], &[&digest]].concat()), "someone else has to approve");
        refused(&s.run("bob", &[&approve[..], &["0123"]].concat()), "approval.refused");
        assert!(s.run("bob", &[&approve[..], &[&digest]].concat()).status.success());
        succeeds(apply);
        refused(&s.run("bob", &[&approve[..], &[&digest]].concat()), "approval.refused");

        // What test shows is signed by a worker of test, and this is the key to believe.
        let key = s.stack.ok(&["env", "evidence-key", "test"]).trim().to_owned();
        assert_eq!(key, s.stack.ok(&["env", "evidence-key", "test"]).trim(), "it is made once");
        s.trust(&key);

        // No evidence: not by the front door, not by the side door.
        let promote = ["promote", "st-mary", "--from", "test", "--to", "stage"];
        let check = [&promote[..], &["--check"]].concat();
        let out = both(&s, &check);
        assert_eq!(out.status.code(), Some(3), "{}", text(&out));
        assert!(text(&out).contains("no canary passed"), "{}", text(&out));
        // Nor are ways in passed over that nobody can try.
        let how = "add [gateway.canary] to test.toml, and `leadline canary st-mary --env test --credentials FILE`";
        for way in ["web", "hl7v2", "fhir", "dicom/c-store", "dicom/stow"] {
            assert!(text(&out).contains(&format!("no canary can be sent by {way}: {how}")), "{}", text(&out));
        }
        refused(&both(&s, &promote), "gate.closed");
        let onboard = ["org", "onboard", "st-mary", "--env", "stage"];
        refused(&s.run("ann", &onboard), "gate.closed");
        assert_eq!(s.run("ann", &["org", "status", "st-mary", "--env", "stage"]).status.code(), Some(3));
        let list = s.run("ann", &["org", "list", "--env", "stage"]);
        assert!(text(&list).contains("not onboarded") || text(&list).contains("REVIEW_IN_PROGRESS"), "{}", text(&list));

        // Canaries of every format through the share of test and every other way in. With another secret than the
        // issuer's, those that ask for a token are shut, and the gate says so.
        let test = s.stack.environments().join("test.toml");
        let there = std::fs::read_to_string(&test).expect("read");
        std::fs::write(&test, there + "\n[gateway.canary]\n").expect("written");
        let ways = WaysIn::start(&s.stack, s.ports);
        let canary = ["canary", "st-mary", "--env", "test", "--output", "json"];
        let with = |file: &str| s.stack.run(&[&canary[..], &["--credentials", file]].concat());
        wait_for("the worker has read the file", LIMIT, || !text(&both(&s, &check)).contains("add [gateway.canary]"));
        let out = with(&s.client("wrong"));
        assert_eq!(out.status.code(), Some(3), "{}", text(&out));
        // Those that ask for no token pass.
        for l in String::from_utf8_lossy(&out.stdout).lines() {
            let c: serde_json::Value = serde_json::from_str(l).expect("a canary is JSON");
            let asks = matches!(c["path"].as_str(), Some("web" | "fhir" | "dicom/stow"));
            assert_eq!(c["run"]["passed"], !asks, "{c}");
        }
        let out = both(&s, &check);
        assert_eq!(out.status.code(), Some(3), "{}", text(&out));
        let shut = "pdf by web (the last did not: canary/test/st-mary";
        assert!(text(&out).contains(shut) && !text(&out).contains("by hl7v2"), "{}", text(&out));
        assert!(text(&out).contains("the request for a token was answered 400 (invalid_client)"), "{}", text(&out));
        refused(&both(&s, &promote), "gate.closed");

        let out = with(&s.client("made-up"));
        let canaries = String::from_utf8_lossy(&out.stdout).into_owned();
        assert!(out.status.success(), "{}", text(&out));
        let mut by_path = BTreeMap::<String, usize>::new();
        for l in canaries.lines() {
            let c: serde_json::Value = serde_json::from_str(l).expect("a canary is JSON");
            assert!(c["run"]["passed"] == true && c["run"]["at_ms"].as_i64() > Some(0), "{c}");
            *by_path.entry(c["path"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        let all = by_path["smb/ward"];
        assert!(all >= 8, "{by_path:?}");
        let expected =
            [("dicom/c-store", 2), ("dicom/stow", 2), ("fhir", all), ("hl7v2", all), ("smb/ward", all), ("web", all)];
        assert_eq!(by_path, expected.map(|(p, n)| (p.to_owned(), n)).into());
        // They came in where it says, each a recording of its own that was delivered.
        let delivered = |way: &str| {
            let files = s.stack.files();
            files.iter().filter(|f| f["ingress"] == way && f["state"] == "delivered").count()
        };
        assert_eq!((delivered("web"), delivered("fhir")), (all, all));
        // Those by other ways than HTTP came in twice, by two runs.
        assert_eq!((delivered("hl7v2"), delivered("dicom")), (2 * all, 2 + 2 + 2));
        let out = both(&s, &check);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out));
        drop(ways);

        // Where only some formats are delivered, only these have to be shown.
        let canaries = s.stack.ok(&["canary", "kings-road", "--env", "test", "--output", "json"]);
        let sent: BTreeSet<String> = canaries
            .lines()
            .map(|l| serde_json::from_str::<serde_json::Value>(l).expect("a canary is JSON"))
            .inspect(|c| assert_eq!(c["run"]["passed"], true, "{c}"))
            .map(|c| c["format"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert_eq!(sent, ["aecg", "dicom", "dicom-pdf", "pdf", "scp"].map(String::from).into());
        let out = both(&s, &["promote", "kings-road", "--from", "test", "--to", "stage", "--check"]);
        assert_eq!(out.status.code(), Some(0), "{}", text(&out));

        // What changed since it was shown is not what was shown.
        s.edit("st-mary", "small_file_bytes = 8388608", "small_file_bytes = 8388607");
        refused(&both(&s, &promote), "changed since");
        s.edit("st-mary", "small_file_bytes = 8388607", "small_file_bytes = 8388608");

        let credentials = s.stack.dir.join("st-mary.credentials.toml").to_string_lossy().into_owned();
        let with = [&promote[..], &["--credentials", &credentials]].concat();
        // Evidence by another hand: the command refuses it, and where the command does not, the worker does.
        let stranger = s.run("ann", &["env", "evidence-key", "stage"]);
        let stranger = String::from_utf8_lossy(&stranger.stdout).trim().to_owned();
        assert!(stranger.len() == 64 && stranger != key, "{stranger}");
        s.trust(&stranger);
        refused(&both(&s, &promote), "evidence.refused");
        s.trust(&key);
        let promoting = piped(&mut both_command(&s, &with));
        let digest = s.waiting(&["org", "status", "st-mary", "--env", "stage"]);
        s.trust(&stranger);
        let approve = ["org", "approve", "st-mary", "--env", "stage", "--digest", &digest];
        assert!(s.run("bob", &approve).status.success());
        let out = promoting.wait_with_output().expect("it ends");
        refused(&out, "evidence.refused");
        let list = s.run("ann", &["org", "list", "--env", "stage"]);
        assert!(!text(&list).contains("CREATE_COMPLETE"), "nothing was executed: {}", text(&list));
        s.trust(&key);
        let promoting = piped(&mut both_command(&s, &with));
        let digest = s.waiting(&["org", "status", "st-mary", "--env", "stage"]);
        let approve = ["org", "approve", "st-mary", "--env", "stage", "--digest", &digest];
        refused(&s.run("ann", &approve), "someone else has to approve");
        assert!(s.run("bob", &approve).status.success());
        succeeds(promoting);
        let status = s.run("cy", &["org", "status", "st-mary", "--env", "stage", "--output", "json"]);
        let v: serde_json::Value = serde_json::from_slice(&status.stdout).expect("JSON");
        assert_eq!((&v["state"], &v["status"]["approvers"][0]["name"]), (&"done".into(), &"bob".into()), "{v}");
        let show = s.run("cy", &["org", "show", "st-mary", "--env", "stage"]);
        assert!(text(&show).contains("CREATE_COMPLETE") && text(&show).contains("watching"), "{}", text(&show));
        let replay = s.stack.ok(&["replay", "--env", "test"]);
        assert!(replay.is_empty(), "{replay}");
    });
}

fn piped(c: &mut Command) -> std::process::Child {
    c.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("leadline runs")
}

/// A command that looks at both environments, with a profile for each.
fn both_command(s: &TwoEnvironments, args: &[&str]) -> Command {
    let file = s.stack.dir.join("aws-credentials");
    let text = [("one", "111111111111"), ("two", STAGE)]
        .map(|(name, key)| format!("[{name}]\naws_access_key_id = {key}\naws_secret_access_key = test\n"));
    std::fs::write(&file, text.concat()).expect("written");
    let profiles = ["--from-profile", "one", "--to-profile", "two"];
    let mut c = s.command("ann", &[args, &profiles[..]].concat());
    c.env("AWS_SHARED_CREDENTIALS_FILE", file);
    c
}

fn both(s: &TwoEnvironments, args: &[&str]) -> Output {
    both_command(s, args).output().expect("leadline runs")
}
