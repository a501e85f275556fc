//! Plans and lists of all organizations: one look at all stacks, and one at each that is not as planned.

use leadline_tests::harness::stack::{Clinic, Stack};
use leadline_tests::scale::requests;
use std::process::Output;

/// Takes out of a stack's template what it says of itself.
const UNTOLD: &str = "
f, n = c('cloudformation'), 'leadline-test-org-clinic-e'
t = f.get_template(StackName=n)['TemplateBody']
t = json.loads(t) if isinstance(t, str) else t
del t['Outputs']['Template']
tags = f.describe_stacks(StackName=n)['Stacks'][0]['Tags']
f.update_stack(StackName=n, TemplateBody=json.dumps(t), Capabilities=['CAPABILITY_NAMED_IAM'], Tags=tags)
";

/// Organization and number of changes.
fn changes(out: &Output) -> Vec<(String, usize)> {
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let of = |l: &str| {
        let v: serde_json::Value = serde_json::from_str(l).expect("a plan is JSON");
        (v["org"].as_str().expect("an organization").to_owned(), v["changes"].as_array().expect("changes").len())
    };
    text.lines().map(of).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn organizations_that_are_as_planned_cost_no_request_of_their_own() {
    let named = ["clinic-a", "clinic-b", "clinic-c", "clinic-d", "clinic-e", "clinic-f"];
    let clinics = named.map(|n| Clinic::new(n, &n.replace("clinic", "ward")).with("enabled = false"));
    let stack = Stack::start(&clinics);
    let mut worker = stack.worker();
    tokio::task::block_in_place(|| {
        stack.provision();
        let plan = || stack.run(&["org", "plan", "--all", "--env", "test", "--output", "json"]);
        let out = plan();
        assert_eq!((out.status.code(), requests(&out)), (Some(0), Some(1)), "{}", String::from_utf8_lossy(&out.stderr));
        assert_eq!(changes(&out), named.map(|n| (n.to_owned(), 0)));
        // The digest is that of the same plan by itself, which reads the template.
        let own = stack.ok(&["org", "plan", "clinic-b", "--env", "test", "--output", "json"]);
        let own: serde_json::Value = serde_json::from_str(&own).expect("JSON");
        assert!(String::from_utf8_lossy(&out.stdout).contains(own["digest"].as_str().expect("a digest")));

        // One that is behind its file is looked at: its stack, once more, and its template.
        let path = stack.environments().join("orgs/clinic-c.toml");
        let text = std::fs::read_to_string(&path).expect("read");
        std::fs::write(&path, text.replace("[share.ward-c]", "[storage.archive]\n\n[share.ward-c]")).expect("written");
        let out = plan();
        assert_eq!(out.status.code(), Some(2), "{}", String::from_utf8_lossy(&out.stderr));
        // All stacks; this one, and once more for its template.
        assert_eq!(requests(&out), Some(4));
        let changed = changes(&out);
        assert!(changed.iter().all(|(o, n)| (*n > 0) == (o == "clinic-c")), "{changed:?}");
        // One that is not there yet is new without a question.
        stack.write_organization(&Clinic::new("clinic-g", "ward-g").with("enabled = false"));
        let before = requests(&out);
        let out = plan();
        assert_eq!(requests(&out), before);
        assert!(changes(&out).iter().any(|(o, n)| o == "clinic-g" && *n > 5), "{:?}", changes(&out));

        // A stack that was made before stacks said what they are is compared by its template, and is as planned but for
        // saying so.
        let _ = stack.aws.python(UNTOLD);
        let out = plan();
        let of = |name: &str| changes(&out).into_iter().find(|(o, _)| o == name).expect("planned").1;
        assert_eq!((of("clinic-e"), of("clinic-f")), (1, 0));
        assert!(String::from_utf8_lossy(&out.stdout).contains("Outputs.Template"));
        // Saying so touches no resource, and is applied all the same: the next plan has nothing to change.
        stack.onboard(&clinics[4]);
        assert_eq!(changes(&plan()).into_iter().find(|(o, _)| o == "clinic-e"), Some(("clinic-e".to_owned(), 0)));
    });
    worker.stop(std::time::Duration::from_secs(20));
}
