//! Plans: what they contain, what they refuse, what they are identified by.

mod common;

use common::config;
use leadline_domain::{EnvId, OrgId};
use leadline_provisioning::config::{Config, Environment, Organization};
use leadline_provisioning::plan::{ChangeKind, Identity};
use leadline_provisioning::template;
use leadline_provisioning::{CurrentStack, Plan, Refusal, env_diff, plan_backup, plan_env, plan_opening, plan_org};
use std::collections::BTreeMap;

fn env(c: &Config, id: &str) -> Environment {
    c.environment(&EnvId::parse(id).unwrap()).unwrap().clone()
}

fn org(c: &Config, e: &str, id: &str) -> Organization {
    c.organization(&EnvId::parse(e).unwrap(), &OrgId::parse(id).unwrap()).unwrap().clone()
}

/// The stack that a plan leaves behind.
fn applied(p: &Plan) -> CurrentStack {
    CurrentStack { template: p.template().clone(), tags: p.tags().clone(), status: "CREATE_COMPLETE".into() }
}

#[test]
fn a_first_plan_creates_everything() {
    let c = config();
    let p = plan_org(&c, &env(&c, "us"), &org(&c, "us", "st-mary"), None, &[]).unwrap();
    assert_eq!(p.stack(), "leadline-us-org-st-mary");
    assert!(p.is_new() && p.changes().iter().all(|c| c.kind == ChangeKind::Create));
    // A stack that was there has something that is not created.
    let mut smaller = applied(&p);
    smaller.template["Resources"].as_object_mut().unwrap().retain(|_, r| r["Type"] == "AWS::S3::Bucket");
    let grown = plan_org(&c, &env(&c, "us"), &org(&c, "us", "st-mary"), Some(&smaller), &[]).unwrap();
    assert!(!grown.is_new() && grown.changes().iter().all(|c| c.kind == ChangeKind::Create), "{grown}");
    assert_eq!(p.changes().len(), p.template()["Resources"].as_object().unwrap().len());
    assert!(p.to_string().ends_with(&format!("plan {}", p.digest())), "{p}");
}

#[test]
fn what_is_applied_needs_no_change() {
    let c = config();
    for e in c.environments().values() {
        let first = plan_env(&c, e, None, &[]).unwrap();
        let again = plan_env(&c, e, Some(&applied(&first)), &[]).unwrap();
        assert!(again.changes().is_empty() && !again.is_new(), "{again}");
        assert_eq!(first.digest(), again.digest());
        assert_eq!(first.template_text(), again.template_text());
    }
}

/// A listing of stacks has outputs and no templates: what a stack says of itself is enough where all is as planned.
#[test]
fn a_stack_says_itself_whether_it_is_as_planned() {
    let c = config();
    let wanted = plan_org(&c, &env(&c, "us"), &org(&c, "us", "st-mary"), None, &[]).unwrap();
    let digest = template::digest(wanted.template()).unwrap().to_owned();
    let outputs = BTreeMap::from([(template::DIGEST.to_owned(), digest.clone())]);
    let tags = wanted.tags().clone();
    for settled in ["CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"] {
        let plan = wanted.applied(settled, &tags, &outputs).expect("as planned");
        assert!(plan.is_empty() && plan.digest() == wanted.digest());
        assert_eq!(
            Some(plan),
            plan_org(&c, &env(&c, "us"), &org(&c, "us", "st-mary"), Some(&applied(&wanted)), &[]).ok()
        );
    }
    // Whatever else it is, its template tells.
    for moving in ["UPDATE_IN_PROGRESS", "ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED", ""] {
        assert_eq!(wanted.applied(moving, &tags, &outputs), None, "{moving}");
    }
    assert_eq!(wanted.applied("CREATE_COMPLETE", &BTreeMap::new(), &outputs), None);
    assert_eq!(wanted.applied("CREATE_COMPLETE", &tags, &BTreeMap::new()), None);
    let mut other = org(&c, "us", "st-mary");
    other.limits.max_file_bytes += 1;
    other.shares.pop_first();
    let other = plan_org(&c, &env(&c, "us"), &other, None, &[]).unwrap();
    assert_eq!(other.applied("CREATE_COMPLETE", &tags, &outputs), None, "another template has another digest");
    assert_eq!((digest.len(), template::digest(&serde_json::json!({}))), (64, None));
    // A difference in what the stack says of itself is none beside the one that it comes of.
    let p = plan_org(&c, &env(&c, "us"), &org(&c, "us", "st-mary"), Some(&applied(&other)), &[]).unwrap();
    assert!(
        !p.changes().is_empty() && p.changes().iter().all(|c| !c.why.iter().any(|w| w.contains("Template"))),
        "{p}"
    );
}

#[test]
fn an_update_names_what_differs() {
    let c = config();
    let first = plan_env(&c, &env(&c, "us"), None, &[]).unwrap();
    let mut e = env(&c, "us");
    e.queue.max_receive_count = 7;
    let p = plan_env(&c, &e, Some(&applied(&first)), &[]).unwrap();
    assert_eq!(p.changes().len(), 1);
    assert_eq!(p.changes()[0].kind, ChangeKind::Update);
    assert_eq!(p.changes()[0].why, ["Properties.RedrivePolicy.maxReceiveCount"]);
    let said = "change IngestQueue (AWS::SQS::Queue): Properties.RedrivePolicy.maxReceiveCount 5 -> 7";
    assert!(p.to_string().contains(said), "{p}");
    assert_eq!(serde_json::to_value(&p).unwrap()["changes"][0]["values"][0]["to"], "7");
    assert_ne!(p.digest(), first.digest());
}

/// Who may send in an organization's name, and who vouches for it, is registered like what is watched: a change of it is a
/// plan that somebody has to agree to.
#[test]
fn who_may_send_is_a_part_of_the_plan() {
    use leadline_provisioning::config::{HttpListener, Oidc, OrgHl7, ProcessingStorage};
    let c = config();
    let (us, before) = (env(&c, "us"), org(&c, "us", "st-mary"));
    let first = plan_org(&c, &us, &before, None, &[]).unwrap();
    let changed = |change: &dyn Fn(&mut Organization)| {
        let mut other = before.clone();
        change(&mut other);
        let p = plan_org(&c, &us, &other, Some(&applied(&first)), &[]).unwrap();
        assert_ne!(p.digest(), first.digest());
        assert!(p.changes().iter().any(|c| c.logical_id == "Configuration"), "{p}");
        applied(&p)
    };
    let certificate = |o: &mut Organization, name: &str| {
        o.gateway.hl7 = Some(OrgHl7 { client_certificates: [name.to_owned()].into(), ..OrgHl7::default() });
    };
    let one = changed(&|o| certificate(o, "one"));
    assert_ne!(changed(&|o| certificate(o, "another")).template, one.template);
    changed(&|o| o.storage.processing = Some(ProcessingStorage::default()));
    changed(&|o| o.link_encodings = Some(!before.links_encodings()));
    // Said or not, it is the same.
    let mut said = before.clone();
    said.link_encodings = Some(before.links_encodings());
    assert_eq!(plan_org(&c, &us, &said, None, &[]).unwrap().digest(), first.digest());
    // The environment's own.
    let first = plan_env(&c, &us, None, &[]).unwrap();
    let of_env = |change: &dyn Fn(&mut Environment)| {
        let mut other = us.clone();
        change(&mut other);
        plan_env(&c, &other, Some(&applied(&first)), &[]).unwrap()
    };
    let issuer = |e: &mut Environment, issuer: &str| {
        e.gateway.http = Some(HttpListener {
            listen: "127.0.0.1:8080".into(),
            public_url: "https://ecg.example.org".into(),
            oidc: Oidc {
                issuer: issuer.into(),
                audience: "leadline".into(),
                organization_claim: "org".into(),
                page_client_id: None,
            },
        });
    };
    let plans = [
        of_env(&|e| issuer(e, "https://id.example.org")),
        of_env(&|e| issuer(e, "https://other.example.org")),
        of_env(&|e| e.temporal.namespace = "other.a1b2c".into()),
        of_env(&|e| e.offboarding.retention_days = 1),
    ];
    for p in &plans {
        let ids: Vec<&str> = p.changes().iter().map(|c| c.logical_id.as_str()).collect();
        assert_eq!(ids, ["Configuration"], "{p}");
    }
    assert_ne!(plans[0].digest(), plans[1].digest());
    // How processes are run is nobody's to agree to.
    assert!(of_env(&|e| e.worker.drain_s += 1).changes().is_empty());
}

#[test]
fn losing_data_has_to_be_named() {
    let c = config();
    let us = env(&c, "us");
    let first = plan_org(&c, &us, &org(&c, "us", "st-mary"), None, &[]).unwrap();
    let mut fewer = org(&c, "us", "st-mary");
    fewer.shares.retain(|id, _| id.as_str() != "clinic");
    let Err(Refusal::Stateful(lost)) = plan_org(&c, &us, &fewer, Some(&applied(&first)), &[]) else { panic!() };
    assert_eq!(lost.len(), 1);
    assert_eq!((lost[0].logical_id.as_str(), lost[0].kind), ("SecretClinic", ChangeKind::Remove));
    assert!(plan_org(&c, &us, &fewer, Some(&applied(&first)), &["SecretClinic".into()]).is_ok());
    // Another name of a bucket is another bucket.
    let mut renamed = applied(&first);
    renamed.template["Resources"]["Bucket"]["Properties"]["BucketName"] = "older".into();
    let Err(refusal @ Refusal::Stateful(_)) = plan_org(&c, &us, &org(&c, "us", "st-mary"), Some(&renamed), &[]) else {
        panic!()
    };
    assert!(refusal.to_string().contains("REPLACE Bucket"), "{refusal}");
}

#[test]
fn a_stack_that_only_a_human_can_leave() {
    let c = config();
    let first = plan_env(&c, &env(&c, "us"), None, &[]).unwrap();
    let stuck = CurrentStack { status: "UPDATE_ROLLBACK_FAILED".into(), ..applied(&first) };
    let refusal = plan_env(&c, &env(&c, "us"), Some(&stuck), &[]).unwrap_err();
    assert!(refusal.to_string().contains("docs/faults/stack.terminal_state.md"), "{refusal}");
    // A creation that failed left nothing: everything is made.
    let never = CurrentStack { status: "ROLLBACK_COMPLETE".into(), ..applied(&first) };
    let again = plan_env(&c, &env(&c, "us"), Some(&never), &[]).unwrap();
    assert_eq!((again.changes(), again.digest()), (first.changes(), first.digest()));
}

#[test]
fn residency_holds_without_the_checker() {
    let c = config();
    let uk_org = org(&c, "uk", "kings-road");
    assert!(matches!(plan_org(&c, &env(&c, "us"), &uk_org, None, &[]), Err(Refusal::Residency(_))));
    // An environment file that allows the jurisdiction in the wrong region gets past placement, not past the rule.
    let mut us = env(&c, "us");
    us.jurisdictions.insert("uk".into());
    let not_there = |refused: Result<Plan, Refusal>| {
        let Err(Refusal::Policy(v)) = refused else { panic!("{refused:?}") };
        assert_eq!(v.len(), 1, "{v:?}");
        assert!(v[0].message.contains("jurisdiction uk does not allow region"), "{v:?}");
    };
    not_there(plan_org(&c, &us, &uk_org, None, &[]));
    // Nor do the environment's own stack, which copies for delivery wait in, and that of its backup.
    not_there(plan_env(&c, &us, None, &[]));
    not_there(plan_backup(&c, &us, None, &[]).unwrap());
    // Made-up recordings may lie anywhere.
    let mut test = env(&c, "test");
    assert!(test.jurisdictions.contains("uk") && plan_env(&c, &test, None, &[]).is_ok());
    test.synthetic_only = false;
    not_there(plan_env(&c, &test, None, &[]));
}

#[test]
fn digests_differ_by_environment_and_organization() {
    let c = config();
    let mut digests = std::collections::BTreeSet::new();
    for (id, e) in c.environments() {
        assert!(digests.insert(plan_env(&c, e, None, &[]).unwrap().digest().to_owned()));
        for o in c.organizations(id) {
            assert!(digests.insert(plan_org(&c, e, o, None, &[]).unwrap().digest().to_owned()));
        }
    }
}

#[test]
fn plans_are_data_for_other_programs() {
    let c = config();
    let p = plan_org(&c, &env(&c, "us"), &org(&c, "us", "st-mary"), None, &[]).unwrap();
    let v = serde_json::to_value(&p).unwrap();
    for key in ["env", "org", "stack", "account", "region", "template", "tags", "changes", "digest"] {
        assert!(!v[key].is_null(), "{key}");
    }
    assert_eq!(v["changes"][0]["type"], "AWS::S3::Bucket");
}

#[test]
fn copies_are_a_stack_of_their_own_in_their_region() {
    let c = config();
    assert!(plan_backup(&c, &env(&c, "test"), None, &[]).is_none());
    let p = plan_backup(&c, &env(&c, "us"), None, &[]).unwrap().unwrap();
    assert_eq!((p.stack(), p.region(), p.org()), ("leadline-us-backup", "us-west-2", None));
    // Past the checker: the rule holds them in the jurisdiction.
    let mut us = env(&c, "us");
    us.backup.as_mut().unwrap().region = "eu-west-2".into();
    let Err(Refusal::Policy(v)) = plan_backup(&c, &us, None, &[]).unwrap() else { panic!() };
    assert!(v[0].message.contains("does not allow region eu-west-2"), "{v:?}");
    // Who no longer wants copies does not lose those there are: the stack is just not planned any more.
    us.backup = None;
    assert!(plan_backup(&c, &us, Some(&applied(&p)), &[]).is_none());
}

#[test]
fn what_is_lost_is_said_in_words_and_data() {
    let c = config();
    let us = env(&c, "us");
    let first = plan_org(&c, &us, &org(&c, "us", "st-mary"), None, &[]).unwrap();
    assert!(first.loses().is_empty());
    let mut fewer = org(&c, "us", "st-mary");
    fewer.shares.retain(|id, _| id.as_str() != "clinic");
    let refusal = plan_org(&c, &us, &fewer, Some(&applied(&first)), &[]).unwrap_err();
    assert!(refusal.to_string().contains("--allow SecretClinic"), "{refusal}");
    assert_eq!(serde_json::to_value(&refusal).unwrap()["stateful"][0]["logical_id"], "SecretClinic");
    let p = plan_org(&c, &us, &fewer, Some(&applied(&first)), &["SecretClinic".into()]).unwrap();
    assert_eq!(p.loses(), ["SecretClinic"]);
    assert!(p.to_string().contains("REMOVE SecretClinic") && p.to_string().contains("is lost with it"), "{p}");
    assert_eq!(serde_json::to_value(&p).unwrap()["loses"], serde_json::json!(["SecretClinic"]));
    // Whoever approves the plan approves the names: another digest than without, the same once it is done.
    assert_eq!((p.allows(), first.allows()), (&["SecretClinic".to_owned()][..], &[][..]));
    let plain = plan_org(&c, &us, &fewer, None, &[]).unwrap();
    assert_ne!(p.digest(), plain.digest());
    let twice = ["SecretClinic".into(), "SecretClinic".into()];
    let done = plan_org(&c, &us, &fewer, Some(&applied(&p)), &twice).unwrap();
    assert_eq!(p.digest(), done.digest());
    assert!(done.to_string().contains("may lose SecretClinic"), "{done}");
}

#[test]
fn everything_is_rendered_and_held_to_the_rules() {
    let c = config();
    let r = leadline_provisioning::render(&c);
    // Three environments, two with copies, two organizations in two places each.
    assert_eq!((r.templates, r.findings.len()), (9, 0), "{:?}", r.findings);
}

#[test]
fn environments_differ_where_they_should() {
    let c = config();
    let d = env_diff(&env(&c, "us"), &env(&c, "uk"));
    let keys: Vec<&str> = d.iter().map(|d| d.key.as_str()).collect();
    assert!(keys.contains(&"region") && keys.contains(&"backup.region") && !keys.contains(&"queue.retention_days"));
    assert!(env_diff(&env(&c, "us"), &env(&c, "us")).is_empty());
}

#[test]
fn a_plan_that_repairs_is_another_one() {
    let c = config();
    let plain = plan_env(&c, &env(&c, "us"), None, &[]).unwrap();
    let plain = plan_env(&c, &env(&c, "us"), Some(&applied(&plain)), &[]).unwrap();
    assert!(plain.is_empty());
    let repair = plain.clone().repairing(["B".to_owned(), "A".to_owned(), "B".to_owned()]);
    assert_eq!(repair.repairs(), ["A", "B"]);
    assert!(!repair.is_empty() && repair.changes().is_empty());
    assert!(
        repair.to_string().contains("put back A: ") && !repair.to_string().contains("nothing to change"),
        "{repair}"
    );
    let other = plain.clone().repairing(["A".to_owned()]);
    assert_ne!(repair.digest(), plain.digest());
    assert_ne!(repair.digest(), other.digest());
    assert_eq!(plain.clone().repairing([]), plain, "nothing to put back is the plain plan");
}

#[test]
fn whoever_carries_a_plan_out_can_compute_its_digest() {
    let c = config();
    let p = plan_org(&c, &env(&c, "us"), &org(&c, "us", "st-mary"), None, &[]).unwrap().repairing(["Key".to_owned()]);
    let sent: serde_json::Value = serde_json::from_str(&p.template_text()).unwrap();
    let identity = Identity {
        stack: p.stack(),
        account: p.account(),
        region: p.region(),
        template: &sent,
        tags: p.tags(),
        repairs: p.repairs(),
        remakes: p.remakes(),
        allows: p.allows(),
        deletes: p.deletes(),
    };
    assert_eq!(identity.digest(), p.digest());
    let remade = ["Key".to_owned()];
    for other in [
        Identity { stack: "x", ..identity },
        Identity { account: "x", ..identity },
        Identity { region: "x", ..identity },
        Identity { repairs: &[], ..identity },
        Identity { remakes: &remade, ..identity },
        Identity { allows: &remade, ..identity },
        Identity { deletes: Some("x"), ..identity },
    ] {
        assert_ne!(other.digest(), p.digest(), "{other:?}");
    }
}

#[test]
fn opening_for_deletion_is_a_plan_of_its_own_that_keeps_the_rules() {
    let c = config();
    for e in c.environments().values() {
        for o in c.organizations(&e.id) {
            let kept = plan_org(&c, e, o, None, &[]).unwrap();
            let open = plan_opening(&c, e, o, "certificate-1").unwrap();
            assert_eq!((open.stack(), open.deletes()), (kept.stack(), Some("certificate-1")));
            assert_ne!(open.digest(), kept.digest());
            assert_ne!(open.digest(), plan_opening(&c, e, o, "certificate-2").unwrap().digest());
            let sids = |p: &Plan| {
                let all = &p.template()["Resources"]["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"];
                let all = all.as_array().unwrap().iter().map(|s| s["Sid"].as_str().unwrap().to_owned());
                all.collect::<Vec<_>>()
            };
            let has = |p: &Plan, sid: &str| sids(p).iter().any(|s| s == sid);
            assert!(has(&kept, "RecordingsAreNotDeleted") && !has(&kept, "NothingIsWritten"));
            assert!(!has(&open, "RecordingsAreNotDeleted") && has(&open, "NothingIsWritten"));
            assert!(has(&open, "OwnRoleOnly"), "nobody else gets in");
            let rights = open.template()["Resources"]["RolePolicy"].to_string();
            assert!(rights.contains("s3:DeleteObjectVersion") && !rights.contains("BypassGovernance"), "{rights}");
            assert!(!kept.template()["Resources"]["RolePolicy"].to_string().contains("DeleteObjectVersion"));
        }
    }
}
