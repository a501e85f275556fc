//! Nothing is done in another account, at another endpoint or in another namespace than the environment's.

use leadline_tests::harness::stack::{Clinic, Stack};
use leadline_tests::harness::tools::wait_for;
use std::process::{Command, Output};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
/// Another account on the endpoint; there, a key of twelve digits is the account.
const OTHER: &str = "333333333333";

fn text(o: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&o.stdout), String::from_utf8_lossy(&o.stderr))
}

fn refused(c: &mut Command, with: &str) {
    let out = c.output().expect("leadline runs");
    assert!(out.status.code() == Some(1) && text(&out).contains("environment.wrong_place"), "{}", text(&out));
    assert!(text(&out).contains(with), "{}", text(&out));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_somewhere_else_does_nothing_there() {
    let stack = Stack::start(&[Clinic::new("st-mary", "ward")]);
    let _worker = stack.worker();
    tokio::task::block_in_place(|| {
        let doctor = || stack.run_text(&["doctor", "--env", "test"]);
        assert!(doctor().contains("default is not marked yet"), "{}", doctor());
        let _ = stack.ok(&["env", "apply", "--env", "test"]);
        wait_for("the namespace is marked", LIMIT, || doctor().contains("default is the environment's"));

        // Another account's key, as a machine of another environment has it.
        let elsewhere: [&[&str]; 6] = [
            &["worker", "--env", "test"],
            &["env", "apply", "--env", "test"],
            &["env", "plan", "test"],
            &["org", "onboard", "st-mary", "--env", "test"],
            &["env", "evidence-key", "test"],
            &["file", "list", "--env", "test"],
        ];
        for args in elsewhere {
            refused(
                stack.command(args).env("AWS_ACCESS_KEY_ID", OTHER),
                &format!("account {OTHER}, not of 111111111111"),
            );
        }
        let out = stack.command(&["doctor", "--env", "test"]).env("AWS_ACCESS_KEY_ID", OTHER).output().expect("runs");
        assert!(out.status.code() == Some(3) && text(&out).contains("environment.wrong_place"), "{}", text(&out));
        let left = format!(
            "o = boto3.client('secretsmanager', endpoint_url='{}', region_name='us-east-1', \
             aws_access_key_id='{OTHER}', aws_secret_access_key='x')\nprint(len(o.list_secrets()['SecretList']))",
            stack.aws.url()
        );
        assert_eq!(stack.aws.python(&left).trim(), "0", "not even a secret was made there");

        // An environment in an account of its own, whose file names the namespace of test.
        let dir = stack.dir.join("elsewhere");
        std::fs::create_dir_all(dir.join("orgs")).expect("folder");
        let test = std::fs::read_to_string(stack.environments().join("test.toml")).expect("read");
        let stage = test
            .replace("\"test\"", "\"stage\"")
            .replace("leadline-test-", "leadline-stage-")
            .replace("111111111111", OTHER);
        std::fs::write(dir.join("stage.toml"), &stage).expect("written");
        let in_stage = |args: &[&str]| {
            let mut c = stack.command(args);
            c.env("AWS_ACCESS_KEY_ID", OTHER).env("LEADLINE_ENVIRONMENTS", &dir);
            c
        };
        refused(&mut in_stage(&["worker", "--env", "stage"]), "Temporal namespace default is that of test");
        refused(&mut in_stage(&["env", "apply", "--env", "stage"]), "Temporal namespace default is that of test");
        let out = in_stage(&["doctor", "--env", "stage"]).output().expect("leadline runs");
        assert!(out.status.code() == Some(3) && text(&out).contains("is that of test"), "{}", text(&out));

        // A file that means AWS itself, on a machine whose settings lead somewhere else.
        let endpoint = format!("endpoint_url = \"{}\"\n", stack.aws.url());
        assert!(stage.contains(&endpoint), "{stage}");
        std::fs::write(dir.join("stage.toml"), stage.replace(&endpoint, "")).expect("written");
        let mut c = in_stage(&["env", "plan", "stage"]);
        refused(c.env("AWS_ENDPOINT_URL", stack.aws.url()), "not AWS's own");

        // A gateway likewise.
        let listeners = format!("{test}\n[gateway.mllp.plain]\nst-mary = \"127.0.0.1:0\"\n");
        std::fs::write(stack.environments().join("test.toml"), listeners).expect("written");
        let org = stack.environments().join("orgs/st-mary.toml");
        let text = std::fs::read_to_string(&org).expect("read");
        std::fs::write(org, format!("{text}\n[gateway.hl7]\n")).expect("written");
        let mut c = stack.command(&["gateway", "--env", "test", "--metrics", "127.0.0.1:0"]);
        refused(c.env("AWS_ACCESS_KEY_ID", OTHER), OTHER);
    });
}
