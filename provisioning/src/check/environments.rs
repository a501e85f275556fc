//! What must hold between the keys of an environment, and between environments.

use super::finding::{Findings, Severity::Error, Severity::Warning};
use super::source::Parsed;
use super::{Folder, Read, environment_ids};
use crate::config::{Environment, Jurisdictions};
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(crate) fn check(folder: &Folder, findings: &mut Findings) {
    for r in &folder.environments {
        residency(r, &folder.jurisdictions, findings);
        super::temporal::check(r, &folder.jurisdictions, findings);
        aws(r, findings);
        alarms(r, findings);
        super::delivery::check(r, &folder.jurisdictions, findings);
        super::gateway_http::check(r, findings);
        super::gateway_listeners::check(r, findings);
        canaries(r, findings);
        if r.value.queue.visibility_timeout_s < 30 {
            findings.at(
                Warning,
                &r.parsed,
                "queue.visibility_timeout_s",
                "a processor that needs longer gets the same message twice",
                "30 seconds or more",
            );
        }
    }
    apart(folder, "account", |e| e.account.clone(), findings);
    apart(folder, "temporal.namespace", |e| super::temporal::namespace(&e.temporal), findings);
    promotion(folder, findings);
}

fn canaries(r: &Read<Environment>, findings: &mut Findings) {
    if r.value.gateway.canary.is_some() && !r.value.synthetic_only {
        let help = "take [gateway.canary] out; canaries are for environments with `synthetic_only`";
        let message = "made-up recordings do not belong where patients' are";
        findings.at(Error, &r.parsed, "gateway.canary", message, help);
    }
}

fn residency(r: &Read<Environment>, table: &Jurisdictions, findings: &mut Findings) {
    let e = &r.value;
    if e.synthetic_only && e.production {
        let help = "one of both: residency of patients' recordings is not optional";
        findings.at(Error, &r.parsed, "synthetic_only", "production holds patients' recordings", help);
    }
    for j in &e.jurisdictions {
        if !table.knows(j) {
            findings.at(
                Error,
                &r.parsed,
                "jurisdictions",
                format!("jurisdiction {j} is not in jurisdictions.toml"),
                format!(
                    "add it there with its regions, or use one of {}",
                    table.names().collect::<Vec<_>>().join(", ")
                ),
            );
            continue;
        }
        let backup = e.backup.as_ref().map(|b| ("backup.region", b.region.as_str()));
        for (key, region) in [Some(("region", e.region.as_str())), backup].into_iter().flatten() {
            if e.bound_by_residency() && !table.allows(j, region) {
                findings.at(
                    Error,
                    &r.parsed,
                    key,
                    format!("region {region} is outside of jurisdiction {j}"),
                    format!("{j} allows {}; or take {j} out of jurisdictions", table.regions(j).join(", ")),
                );
            }
        }
    }
    if e.production && e.offboarding.retention_days == 0 {
        let help = "1 day or more; the default is 30";
        findings.at(Error, &r.parsed, "offboarding.retention_days", "production holds nothing back", help);
    }
    if e.production {
        let message = match &e.backup {
            None => "recordings of production have no second copy",
            Some(_) => "`[backup]` makes a bucket for copies and copies nothing into it",
        };
        findings.at(Warning, &r.parsed, "backup", message, "arrange copies yourself, e.g. with AWS Backup");
    }
    if e.backup.as_ref().is_some_and(|b| b.region == e.region) {
        findings.at(
            Warning,
            &r.parsed,
            "backup.region",
            "copies there would be in the region of the originals, and be lost with it",
            "another region of the jurisdiction, if there is one",
        );
    }
}

fn aws(r: &Read<Environment>, findings: &mut Findings) {
    let a = &r.value.aws;
    if let Some(host) = a.endpoint_url.as_deref().and_then(|u| u.strip_prefix("http://")) {
        let host = host.trim_end_matches('/');
        let host = host.rsplit_once(':').filter(|(_, p)| p.parse::<u16>().is_ok()).map_or(host, |(h, _)| h);
        if !loopback(host) {
            findings.at(
                Error,
                &r.parsed,
                "aws.endpoint_url",
                "http:// sends recordings and credentials in clear",
                "https://; plain text is for loopback addresses",
            );
        }
    }
    if a.endpoint_url.is_some() && r.value.production {
        findings.at(
            Error,
            &r.parsed,
            "aws.endpoint_url",
            "production works with AWS itself",
            "remove the key, or set production = false",
        );
    }
    if !a.assume_worker_role {
        findings.at(
            if r.value.production { Error } else { Warning },
            &r.parsed,
            "aws.assume_worker_role",
            "workers keep the rights they were started with",
            "true",
        );
    }
    let own = format!("arn:aws:iam::{}:", r.value.account);
    // A service hands a role out to what it runs; a process that asks for one itself has to be named.
    if a.worker_principals.is_empty() && (a.assume_worker_role || a.worker_services.is_empty()) {
        findings.at(
            Error,
            &r.parsed,
            "aws.worker_principals",
            "nobody may take the worker role",
            format!("worker_principals = [\"{own}role/<role of the hosts of workers>\"]"),
        );
    }
    for p in &a.worker_principals {
        if p != "root" && !p.strip_prefix(&own).is_some_and(principal) {
            findings.at(
                Error,
                &r.parsed,
                "aws.worker_principals",
                format!("{p} is not a principal of account {}", r.value.account),
                format!("{own}role/<name>, {own}user/<name>, or root"),
            );
        }
    }
}

/// Whether what stands behind the account in an ARN is somebody. AWS refuses a trust in anything else, and the change
/// with it.
fn principal(resource: &str) -> bool {
    let named = |name: &str| {
        let of_names = |c: char| c.is_ascii_alphanumeric() || "+=,.@_/-".contains(c);
        name.chars().all(of_names) && name.split('/').all(|part| !part.is_empty())
    };
    resource == "root" || ["role/", "user/"].iter().any(|kind| resource.strip_prefix(kind).is_some_and(named))
}

fn alarms(r: &Read<Environment>, findings: &mut Findings) {
    if r.value.alarms.receivers.is_empty() {
        findings.at(
            if r.value.production { Error } else { Warning },
            &r.parsed,
            "alarms.receivers",
            "alarms reach nobody",
            "receivers = [{ email = \"on-call@example.org\" }]",
        );
    }
}

/// Two environments must differ in `of`: the boundary between them is drawn there.
fn apart(folder: &Folder, key: &str, of: impl Fn(&Environment) -> String, findings: &mut Findings) {
    let mut by: BTreeMap<String, Vec<&Read<Environment>>> = BTreeMap::new();
    for r in &folder.environments {
        by.entry(of(&r.value)).or_default().push(r);
    }
    for (value, same) in by.iter().filter(|(_, s)| s.len() > 1) {
        for r in same {
            let others: Vec<&str> =
                same.iter().filter(|o| o.parsed.path != r.parsed.path).map(|o| o.value.id.as_str()).collect();
            findings.at(
                Error,
                &r.parsed,
                key,
                format!("{value} is used by environment {} as well", others.join(", ")),
                format!("give each environment a {} of its own", key.replace('.', " ")),
            );
        }
    }
}

fn promotion(folder: &Folder, findings: &mut Findings) {
    let gated = |env: &leadline_domain::EnvId| folder.promotion.as_ref().is_some_and(|p| p.value.to.contains_key(env));
    for r in folder.environments.iter().filter(|r| r.value.production && !gated(&r.value.id)) {
        let id = &r.value.id;
        findings.at(
            Error,
            &r.parsed,
            "production",
            format!("production environment {id} has no gates: anything could be applied there"),
            format!("add [to.{id}] to promotion.toml"),
        );
    }
    let Some(p) = &folder.promotion else { return };
    let known = environment_ids(folder);
    for (to, rule) in &p.value.to {
        let key = format!("to.{to}");
        for (key, env) in [(key.clone(), to), (format!("{key}.from"), &rule.from)] {
            if !known.contains_key(env) {
                unknown_environment(&p.parsed, &key, env.as_str(), folder, findings);
            }
        }
        if rule.evidence_key.is_none() {
            let production = folder.environments.iter().any(|r| r.value.id == *to && r.value.production);
            findings.at(
                if production { Error } else { Warning },
                &p.parsed,
                &key,
                format!("evidence from {} is believed without a signature", rule.from),
                format!(
                    "evidence_key = what `leadline env evidence-key {}` prints; until that can be asked, a key that nobody has",
                    rule.from
                ),
            );
        }
        if rule.evidence_key.as_deref().is_some_and(small_order) {
            let message = "anybody can sign for this key: it is a point of small order";
            let help = format!("evidence_key = what `leadline env evidence-key {}` prints", rule.from);
            findings.at(Error, &p.parsed, &format!("{key}.evidence_key"), message, help);
        }
        if *to == rule.from {
            findings.at(Error, &p.parsed, &key, "an environment is promoted from itself", "name the one before it");
        }
    }
}

/// The keys of Ed25519 that are no keys: the eight points whose order divides the cofactor, zero among them, in every way to
/// write them but for the sign (RFC 8032 section 5.1.7; RFC 7748 section 6 warns of the same). For such a key signatures
/// can be made without a private half.
const SMALL_ORDER: [&str; 7] = [
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];

fn small_order(key: &str) -> bool {
    let Ok(mut bytes) = hex::decode(key) else { return false };
    if let Some(last) = bytes.last_mut() {
        // The sign.
        *last &= 0x7f;
    }
    SMALL_ORDER.contains(&hex::encode(bytes).as_str())
}

pub(crate) fn unknown_environment(at: &Parsed, key: &str, env: &str, folder: &Folder, findings: &mut Findings) {
    if folder.broken.contains(env) {
        return;
    }
    let known: Vec<&str> = environment_ids(folder).keys().map(|e| e.as_str()).collect();
    findings.at(
        Error,
        at,
        key,
        format!("there is no environment {env}"),
        format!("one of {}, or write {env}.toml", known.join(", ")),
    );
}

/// Whether a host never leaves the machine.
pub(super) fn loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|a| a.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::loopback;

    #[test]
    fn loopback_is_an_address_not_a_name_that_looks_like_one() {
        for yes in ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"] {
            assert!(loopback(yes), "{yes}");
        }
        for no in ["127.0.0.1.example.org", "10.0.0.1", "localhost.example.org", ""] {
            assert!(!loopback(no), "{no}");
        }
    }
}
