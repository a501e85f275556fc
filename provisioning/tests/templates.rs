//! Templates of the repository's own environments and organizations, as committed.

mod common;

use leadline_domain::{EnvId, OrgId, ShareId};
use leadline_provisioning::config::{ArchiveStorage, OrgStorages, Organization, ProcessingStorage};
use leadline_provisioning::policy::Rule;
use leadline_provisioning::{CurrentStack, Refusal, plan_org, template};

#[test]
fn templates_are_committed() {
    let config = common::config();
    for (id, env) in config.environments() {
        let golden = |name: String, t: &serde_json::Value| {
            let text = template::text(t);
            assert!(text.len() <= template::MAX_BYTES, "{name}");
            common::golden(&common::golden_dir().join(name), &text);
        };
        golden(format!("{id}.json"), &template::environment(env));
        if let Some(t) = template::backup(env) {
            golden(format!("{id}.backup.json"), &t);
        }
        for org in config.organizations(id) {
            let scope = org.scope(env).unwrap();
            golden(format!("{id}.{}.json", org.id), &template::organization(env, &scope, org));
            // What deletion after off-boarding changes it to.
            golden(format!("{id}.{}.opened.json", org.id), &template::opened(env, &scope, org));
        }
    }
}

#[test]
fn an_environment_makes_what_it_is_configured_to() {
    let config = common::config();
    let types = |t: &serde_json::Value| -> Vec<String> {
        let all = t["Resources"].as_object().unwrap().values();
        all.map(|r| r["Type"].as_str().unwrap().to_owned()).collect()
    };
    let of = |id: &str| config.environment(&EnvId::parse(id).unwrap()).unwrap();
    // Test delivers nothing through CloudFront and copies nothing.
    assert!(!types(&template::environment(of("test"))).iter().any(|t| t.starts_with("AWS::CloudFront")));
    assert_eq!(template::backup(of("test")), None);
    let us = template::environment(of("us"));
    assert!(types(&us).contains(&"AWS::CloudFront::Distribution".to_owned()));
    // The lock of the copies is what the file says.
    let copies = template::backup(of("us")).unwrap();
    let lock =
        &copies["Resources"]["BackupBucket"]["Properties"]["ObjectLockConfiguration"]["Rule"]["DefaultRetention"];
    assert_eq!((&lock["Mode"], &lock["Days"]), (&"COMPLIANCE".into(), &35.into()));
}

/// Workers ask for the role themselves, so a principal has to be named: a service would only hand it out.
#[test]
fn a_worker_role_that_is_taken_trusts_somebody() {
    let config = common::config();
    for (id, env) in config.environments().iter().filter(|(_, e)| e.aws.assume_worker_role) {
        let t = template::environment(env);
        let trust = &t["Resources"]["WorkerRole"]["Properties"]["AssumeRolePolicyDocument"]["Statement"];
        assert!(trust.as_array().unwrap().iter().any(|s| !s["Principal"]["AWS"].is_null()), "{id}: {trust}");
    }
}

/// On a standard queue the time that a message is kept counts from when it was first sent, and goes on counting where dead
/// letters are: these have to be kept longer than the queue they come from keeps them.
#[test]
fn dead_letters_outlast_the_queue_they_come_from() {
    let config = common::config();
    let mut seen = 0;
    for env in config.environments().values() {
        let t = template::environment(env);
        let queues = t["Resources"].as_object().unwrap();
        for (id, q) in queues.iter().filter(|(_, r)| r["Type"] == "AWS::SQS::Queue") {
            let p = &q["Properties"];
            let Some(to) = p["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0].as_str() else { continue };
            let (own, dead) = (&p["MessageRetentionPeriod"], &queues[to]["Properties"]["MessageRetentionPeriod"]);
            assert_eq!(dead, 14 * 86_400, "{to}");
            assert!(p["FifoQueue"] == true || own.as_u64() < dead.as_u64(), "{id}: {own} and {dead}");
            seen += 1;
        }
    }
    assert_eq!(seen, 3 * config.environments().len());
}

/// SQS leaves what was received three times out of the age of the oldest message, so an alarm on the age alone is silent
/// while an entry is taken again and again.
#[test]
fn audit_entries_that_are_taken_and_not_written_down_raise_an_alarm() {
    let config = common::config();
    let t = template::environment(config.environment(&EnvId::parse("us").unwrap()).unwrap());
    let alarms = t["Resources"].as_object().unwrap().values().filter(|r| r["Type"] == "AWS::CloudWatch::Alarm");
    let of_audit: Vec<String> =
        alarms.map(|r| r["Properties"].to_string()).filter(|p| p.contains("AuditQueue")).collect();
    let numbers = ["ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible"];
    assert!(of_audit.iter().any(|p| numbers.iter().all(|n| p.contains(n))), "{of_audit:?}");
    let backlog = &t["Resources"]["AuditBacklogAlarm"]["Properties"];
    // As long as alarms.audit_age_s says, and never empty meanwhile.
    assert_eq!((&backlog["EvaluationPeriods"], &backlog["Threshold"]), (&15.into(), &0.into()));
}

/// A stack says by its outputs that it is being deleted: of other organizations' probes nothing can be placed there.
#[test]
fn an_opened_stack_says_so() {
    let config = common::config();
    let us = config.environment(&EnvId::parse("us").unwrap()).unwrap();
    let org = config.organization(&us.id, &OrgId::parse("st-mary").unwrap()).unwrap();
    let scope = org.scope(us).unwrap();
    let says = |t: serde_json::Value| {
        let names = t["Outputs"].as_object().unwrap().keys().cloned();
        template::is_opened(&names.map(|n| (n, String::new())).collect())
    };
    assert!(says(template::opened(us, &scope, org)));
    assert!(!says(template::organization(us, &scope, org)));
}

#[test]
fn pages_may_send_to_a_bucket_where_uploads_are_taken_and_nowhere_else() {
    use leadline_provisioning::config::{HttpListener, Oidc, OrgUploads};
    let config = common::config();
    let mut env = config.environment(&EnvId::parse("test").unwrap()).unwrap().clone();
    let mut org = config.organizations(&env.id).next().unwrap().clone();
    let scope = org.scope(&env).unwrap();
    let cors = |env: &_, org: &_| {
        template::organization(env, &scope, org)["Resources"]["Bucket"]["Properties"]["CorsConfiguration"].clone()
    };
    let uploads = OrgUploads { origins: ["https://intranet.example.org".to_owned()].into() };
    org.gateway.uploads = Some(uploads);
    env.gateway.http = None;
    assert!(cors(&env, &org).is_null(), "the environment has no gateway");
    env.gateway.http = Some(HttpListener {
        listen: "127.0.0.1:8080".into(),
        public_url: "https://ecg.example.org".into(),
        oidc: Oidc {
            issuer: "https://id.example.org".into(),
            audience: "leadline".into(),
            organization_claim: "org".into(),
            page_client_id: None,
        },
    });
    let rule = &cors(&env, &org)["CorsRules"][0];
    assert_eq!(rule["AllowedOrigins"], serde_json::json!(["https://ecg.example.org", "https://intranet.example.org"]));
    assert_eq!(rule["ExposedHeaders"], serde_json::json!(["ETag"]));
    org.gateway.uploads = None;
    assert!(cors(&env, &org).is_null(), "the organization takes none");
}

/// CloudFormation takes 51,200 bytes in a request. A hundred shares are more than any organization we know of has.
#[test]
fn many_shares_fit_and_too_many_are_refused_with_their_number() {
    let config = common::config();
    let us = config.environment(&EnvId::parse("us").unwrap()).unwrap();
    let mut org = config.organization(&us.id, &OrgId::parse("st-mary").unwrap()).unwrap().clone();
    let one = org.shares.values().next().unwrap().clone();
    let with = |org: &mut Organization, n: usize| {
        // The longest names there are.
        org.shares = (0..n).map(|i| (ShareId::parse(&format!("share-{i:0>18}")).unwrap(), one.clone())).collect();
        plan_org(&config, us, org, None, &[])
    };
    let plan = with(&mut org, 80).expect("80 shares with the longest names");
    assert!(plan.template_text().len() <= template::MAX_BYTES);
    let Err(Refusal::Policy(v)) = with(&mut org, 200) else { panic!("200 shares fit") };
    assert_eq!(v[0].rule, Rule::Size);
    let said = v[0].message.clone();
    let fit = template::shares_that_fit(us, &org.scope(us).unwrap(), &org);
    assert!(said.contains("it has 200 shares") && said.contains(&format!("about {fit} fit")), "{said}");
    // The number is right: so many fit, and a few more do not.
    assert!(with(&mut org, fit).is_ok());
    assert!(with(&mut org, fit + 3).is_err(), "{fit}");
}

/// What a file says is registered, so that a changed file is a changed plan.
#[test]
fn a_changed_configuration_is_a_changed_plan() {
    let config = common::config();
    let us = config.environment(&EnvId::parse("us").unwrap()).unwrap();
    let org = config.organization(&us.id, &OrgId::parse("st-mary").unwrap()).unwrap();
    let first = plan_org(&config, us, org, None, &[]).unwrap();
    let there = CurrentStack {
        template: first.template().clone(),
        tags: first.tags().clone(),
        status: "CREATE_COMPLETE".into(),
    };
    let mut changed = org.clone();
    changed.shares.values_mut().next().unwrap().reconcile_s += 1;
    let plan = plan_org(&config, us, &changed, Some(&there), &[]).unwrap();
    let ids: Vec<&str> = plan.changes().iter().map(|c| c.logical_id.as_str()).collect();
    assert_eq!(ids, ["Configuration"]);
    // What it is called and whom to call are no part of it.
    let mut other = org.clone();
    other.contacts.clear();
    other.name.push_str(" (North)");
    assert!(plan_org(&config, us, &other, Some(&there), &[]).unwrap().changes().is_empty());
}

/// A storage of copies is a bucket of its own that is as closed as that of the originals, and makes no other change.
#[test]
fn a_storage_of_copies_is_as_closed_as_the_originals() {
    let config = common::config();
    let us = config.environment(&EnvId::parse("us").unwrap()).unwrap();
    let mut org = config.organization(&us.id, &OrgId::parse("st-mary").unwrap()).unwrap().clone();
    let scope = org.scope(us).unwrap();
    let without = template::organization(us, &scope, &org);
    org.storage.processing = Some(ProcessingStorage { keep_days: 7 });
    let with = template::organization(us, &scope, &org);
    common::golden(&common::golden_dir().join("us.st-mary.processing.json"), &template::text(&with));
    let (r, before) = (with["Resources"].as_object().unwrap(), without["Resources"].as_object().unwrap());
    let added: Vec<&String> = r.keys().filter(|k| !before.contains_key(*k)).collect();
    assert_eq!(added, ["ProcessingBucket", "ProcessingBucketPolicy", "ProcessingRolePolicy"]);
    let changed: Vec<&String> = before.iter().filter(|(k, v)| r[*k] != **v).map(|(k, _)| k).collect();
    assert_eq!(changed, ["Configuration"]);
    for key in ["BucketEncryption", "PublicAccessBlockConfiguration", "OwnershipControls", "VersioningConfiguration"] {
        assert_eq!(r["ProcessingBucket"]["Properties"][key], r["Bucket"]["Properties"][key], "{key}");
    }
    let sids = |policy: &str| -> Vec<String> {
        let all = r[policy]["Properties"]["PolicyDocument"]["Statement"].as_array().unwrap();
        all.iter().map(|s| s["Sid"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(sids("ProcessingBucketPolicy"), sids("BucketPolicy"));
    assert!(plan_org(&config, us, &org, None, &[]).is_ok());
}

/// Where there is an archive, copies may be moved into it: in the session that is for this, and never a version of them.
#[test]
fn only_a_move_takes_copies_away() {
    let config = common::config();
    let us = config.environment(&EnvId::parse("us").unwrap()).unwrap();
    let mut org = config.organization(&us.id, &OrgId::parse("st-mary").unwrap()).unwrap().clone();
    org.storage.processing = Some(ProcessingStorage { keep_days: 7 });
    let before = template::organization(us, &org.scope(us).unwrap(), &org);
    org.storage.archive = Some(ArchiveStorage::default());
    let with = template::organization(us, &org.scope(us).unwrap(), &org);
    common::golden(&common::golden_dir().join("us.st-mary.archive.json"), &template::text(&with));
    let (r, old) = (with["Resources"].as_object().unwrap(), before["Resources"].as_object().unwrap());
    let added: Vec<&String> = r.keys().filter(|k| !old.contains_key(*k)).collect();
    assert_eq!(added, ["ArchiveBucket", "ArchiveBucketPolicy", "ArchiveRolePolicy"]);
    let changed: Vec<&String> = old.iter().filter(|(k, v)| r[*k] != **v).map(|(k, _)| k).collect();
    assert_eq!(changed, ["Configuration", "ProcessingBucketPolicy", "ProcessingRolePolicy"]);
    // Whoever may delete anything of an organization, and what is denied to whom.
    let deletes = |policy: &str| -> Vec<String> {
        let all = r[policy]["Properties"]["PolicyDocument"]["Statement"].as_array().unwrap();
        let of = all.iter().filter(|s| s["Action"].as_array().unwrap().iter().any(|a| a == "s3:DeleteObject"));
        of.map(|s| format!("{} {} {}", s["Effect"], s["Sid"], s["Condition"])).collect()
    };
    assert_eq!(deletes("ArchiveRolePolicy"), [""; 0]);
    assert_eq!(deletes("ArchiveBucketPolicy"), [r#""Deny" "RecordingsAreNotDeleted" null"#]);
    assert_eq!(deletes("ProcessingRolePolicy"), [r#""Allow" "Move" null"#]);
    let moved = r#""Deny" "RecordingsAreMovedOnly" {"StringNotLike":{"aws:userid":"*:leadline-move"}}"#;
    assert_eq!(deletes("ProcessingBucketPolicy"), [moved]);
    assert!(plan_org(&config, us, &org, None, &[]).is_ok());
}

/// docs/PROVISIONING.md says of every resource what it is for.
#[test]
fn every_resource_is_explained() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/PROVISIONING.md");
    let page = std::fs::read_to_string(path).expect("the page");
    let config = common::config();
    let mut missing = std::collections::BTreeSet::new();
    for (id, env) in config.environments() {
        let mut templates = vec![template::environment(env)];
        templates.extend(template::backup(env));
        for o in config.organizations(id) {
            let storage = OrgStorages {
                processing: Some(ProcessingStorage::default()),
                archive: Some(ArchiveStorage::default()),
            };
            let all = Organization { storage, ..o.clone() };
            templates.push(template::organization(env, &o.scope(env).unwrap(), &all));
        }
        for t in templates {
            for name in t["Resources"].as_object().unwrap().keys() {
                // Those of which there may be many are explained once.
                let shown = [("AlarmReceiver", "<digest>"), ("DeliverySigner", "<digest>"), ("Secret", "<share>")]
                    .iter()
                    .find(|(many, _)| name.starts_with(many))
                    .map_or_else(|| name.clone(), |(many, each)| format!("{many}{each}"));
                if !page.contains(&format!("`{shown}`")) {
                    missing.insert(shown);
                }
            }
        }
    }
    assert!(missing.is_empty(), "docs/PROVISIONING.md does not explain {missing:?}");
}
