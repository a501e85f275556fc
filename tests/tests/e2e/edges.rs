//! The dependency edges of docs/ARCHITECTURE.md, held over `cargo metadata`.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What each crate may depend on, of ours.
const ALLOWED: [(&str, &[&str]); 9] = [
    ("leadline-domain", &[]),
    ("leadline-formats", &[]),
    ("leadline-ehr", &["leadline-domain", "leadline-formats"]),
    ("leadline-provisioning", &["leadline-domain", "leadline-formats"]),
    ("leadline-workflows", &["leadline-domain"]),
    ("leadline-activities", &["leadline-domain", "leadline-formats", "leadline-provisioning", "leadline-workflows"]),
    (
        "leadline-gateway",
        &["leadline-domain", "leadline-formats", "leadline-ehr", "leadline-workflows", "leadline-activities"],
    ),
    (
        "leadline",
        &[
            "leadline-domain",
            "leadline-formats",
            "leadline-provisioning",
            "leadline-workflows",
            "leadline-activities",
            "leadline-gateway",
        ],
    ),
    (
        "leadline-tests",
        &[
            "leadline-domain",
            "leadline-formats",
            "leadline-provisioning",
            "leadline-workflows",
            "leadline-activities",
            "leadline-gateway",
            "leadline-ehr",
        ],
    ),
];

/// Prefixes of crates that only `activities` may name (the harness of the tests makes writers of its own).
const ADAPTERS_ONLY: [&str; 2] = ["aws-", "smb2"];
/// A library of ciphers, which speaks to nobody.
const NO_ADAPTER: &str = "aws-lc-rs";

fn normal_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let out = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--locked", "--format-version", "1", "--manifest-path"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml"))
        .output()
        .expect("cargo runs");
    let v: Value = serde_json::from_slice(&out.stdout).expect("cargo metadata is JSON");
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    v["packages"]
        .as_array()
        .expect("packages")
        .iter()
        .map(|p| {
            let deps = p["dependencies"].as_array().expect("dependencies").iter();
            let deps = deps.filter(|d| d["kind"].is_null()).map(|d| text(&d["name"])).collect();
            (text(&p["name"]), deps)
        })
        .collect()
}

#[test]
fn edges_run_one_way() {
    let found = normal_dependencies();
    assert_eq!(found.len(), ALLOWED.len(), "a crate came or went: {:?}", found.keys());
    for (name, allowed) in ALLOWED {
        for d in found[name].iter().filter(|d| d.starts_with("leadline")) {
            assert!(allowed.contains(&d.as_str()), "{name} must not depend on {d}");
        }
    }
}

#[test]
fn only_activities_names_aws_or_smb() {
    for (name, deps) in normal_dependencies() {
        if name == "leadline-activities" || name == "leadline-tests" {
            continue;
        }
        for d in &deps {
            let adapter = d != NO_ADAPTER && ADAPTERS_ONLY.iter().any(|p| d.starts_with(p));
            assert!(!adapter, "{name} must not name {d}");
        }
    }
}

#[test]
fn workflows_cannot_name_a_runtime_or_a_client() {
    let deps = &normal_dependencies()["leadline-workflows"];
    for banned in ["tokio", "temporalio-sdk", "temporalio-client", "temporalio-common", "reqwest", "rand", "chrono"] {
        assert!(!deps.contains(banned), "leadline-workflows must not name {banned}");
    }
}

#[test]
fn domain_stays_pure() {
    let deps = &normal_dependencies()["leadline-domain"];
    let allowed = ["serde", "serde_json", "schemars", "sha2", "hex", "chrono"];
    for d in deps {
        assert!(allowed.contains(&d.as_str()), "leadline-domain must not depend on {d}");
    }
}
