//! What must hold between an organization, the environments it is placed in, and other organizations.

use super::environments::unknown_environment;
use super::finding::{Findings, Severity::Error, Severity::Warning};
use super::{Folder, Placed, Read, SourceFile, environment_ids, key_in, overlay};
use crate::config::{Environment, Limits, Organization, OrganizationFile, Share, ehr_key_name, normal_path};
use leadline_domain::{ArchiveRule, EnvId, Ingress, ShareId};
use std::collections::BTreeMap;

/// Where a share was found: file, environment, organization, share.
type Place<'a> = (&'a Read<OrganizationFile>, &'a EnvId, ShareId);

/// Reports, and returns every organization as it is in each of its environments.
pub(crate) fn check(folder: &Folder, files: &[SourceFile], findings: &mut Findings) -> Placed {
    folded_names(files, findings);
    let known = environment_ids(folder);
    let mut placed = Placed::new();
    let mut places: BTreeMap<String, Vec<Place<'_>>> = BTreeMap::new();
    for r in &folder.organizations {
        let file = &r.value;
        if file.contacts.is_empty() {
            let help = "add [[contacts]] with name and email";
            findings.at(Warning, &r.parsed, "contacts", "there is nobody to call when its share is gone", help);
        }
        for env in file.overrides.keys().filter(|e| !file.environments.contains(*e)) {
            let key = format!("environment.{env}");
            let help = "add it to environments, or remove the overrides";
            findings.at(Error, &r.parsed, &key, format!("it is not placed in environment {env}"), help);
        }
        for env in &file.environments {
            let Some(environment) = known.get(env) else {
                unknown_environment(&r.parsed, "environments", env.as_str(), folder, findings);
                continue;
            };
            residency(r, &environment.value, findings);
            let Some(org) = resolve(r, env, findings) else { continue };
            limits(r, env, &org.limits, findings);
            for (id, share) in &org.shares {
                check_share(r, env, id, share, findings);
                if share.enabled {
                    places.entry(share.place()).or_default().push((r, &environment.value.id, id.clone()));
                }
            }
            if org.shares.is_empty() && !findings.left_out_of(&r.parsed.path, "share") {
                let help = "add [share.<name>] with host and share";
                findings.at(Warning, &r.parsed, "share", format!("it has no share in environment {env}"), help);
            }
            placed.entry(env.clone()).or_default().insert(org.id.clone(), org);
        }
    }
    for (place, users) in places.iter().filter(|(_, u)| u.len() > 1) {
        contested(place, users, findings);
    }
    nested(&places, findings);
    placed
}

/// The key to blame for a value of a share in an environment: the override if there is one.
fn key_of(r: &Read<OrganizationFile>, env: &EnvId, share: &ShareId, name: &str) -> String {
    key_in(r, env, &format!("share.{share}.{name}"))
}

fn residency(r: &Read<OrganizationFile>, e: &Environment, findings: &mut Findings) {
    if e.jurisdictions.contains(&r.value.jurisdiction) {
        return;
    }
    let allowed = e.jurisdictions.iter().cloned().collect::<Vec<_>>().join(", ");
    findings.at(
        Error,
        &r.parsed,
        "jurisdiction",
        format!("environment {} does not take organizations of jurisdiction {}", e.id, r.value.jurisdiction),
        format!("{} takes {allowed}; place it elsewhere (docs/faults/config.residency.md)", e.id),
    );
}

fn resolve(r: &Read<OrganizationFile>, env: &EnvId, findings: &mut Findings) -> Option<Organization> {
    let value = overlay::resolved(&r.parsed.value, env.as_str());
    // A share that is in the overrides only may lack what every share needs.
    let mut complete = true;
    for (id, share) in value.get("share").and_then(|s| s.as_object()).into_iter().flatten() {
        for need in ["host", "share"].iter().filter(|n| share.get(**n).is_none()) {
            let key = format!("environment.{env}.share.{id}.{need}");
            // Else the share that it is an override of may be the one that was taken out.
            if !findings.left_out_of(&r.parsed.path, "share") {
                let help = "a share of this environment only needs host and share";
                findings.at(Error, &r.parsed, &key, "is missing", help);
            }
            complete = false;
        }
    }
    if !complete {
        return None;
    }
    // `environments` is required in a file and means nothing in a resolved one.
    let mut value = value;
    value["environments"] = serde_json::json!([env]);
    match serde_json::from_value::<OrganizationFile>(value) {
        Ok(f) => Some(Organization {
            id: f.id,
            name: f.name,
            jurisdiction: f.jurisdiction,
            contacts: f.contacts,
            formats: f.formats,
            limits: f.limits,
            shares: f.shares,
            gateway: f.gateway,
            link_encodings: f.link_encodings,
            storage: f.storage,
        }),
        Err(e) => {
            findings.at(
                Error,
                &r.parsed,
                &format!("environment.{env}"),
                e.to_string(),
                "the overrides do not fit on the organization",
            );
            None
        }
    }
}

fn limits(r: &Read<OrganizationFile>, env: &EnvId, l: &Limits, findings: &mut Findings) {
    if l.small_file_bytes > l.max_file_bytes {
        let over = format!("environment.{env}.limits.small_file_bytes");
        let key = if r.parsed.value.pointer(&format!("/environment/{env}/limits")).is_some() {
            over.as_str()
        } else {
            "limits.small_file_bytes"
        };
        findings.at(Error, &r.parsed, key, "is larger than max_file_bytes", "small_file_bytes <= max_file_bytes");
    }
}

fn check_share(r: &Read<OrganizationFile>, env: &EnvId, id: &ShareId, share: &Share, findings: &mut Findings) {
    let key = |name: &str| key_of(r, env, id, name);
    if Ingress::of_share(id) != Ingress::Smb || ehr_key_name().as_ref() == Some(id) {
        let what = "this name stands for one of the ways in besides SMB";
        findings.at(Error, &r.parsed, &key("share"), what, "give the share another name");
    }
    for (name, path) in [("path", Some(&share.path)), ("archive.folder", folder(share))] {
        if path.is_some_and(|p| p.contains('\\') || p.split('/').any(|c| c == "..")) {
            findings.at(
                Error,
                &r.parsed,
                &key(name),
                "must hold neither .. nor \\",
                "a folder below the share's root, with /",
            );
        }
    }
    if let Some(f) = folder(share) {
        let (watched, archive) = (normal_path(&share.path), normal_path(f));
        if archive.is_empty() {
            findings.at(Error, &r.parsed, &key("archive.folder"), "is empty", "a folder of its own, e.g. _archive");
        } else if archive == watched || is_below(&watched, &archive) {
            findings.at(
                Error,
                &r.parsed,
                &key("archive.folder"),
                "the watched folder is inside the archive folder, so that nothing would be seen",
                "a folder beside or below the watched one",
            );
        }
    }
    let s = &share.settle;
    for (name, ms) in [
        ("strong_quiet_ms", s.strong_quiet_ms),
        ("weak_quiet_ms", s.weak_quiet_ms),
        ("unverifiable_quiet_ms", s.unverifiable_quiet_ms),
        ("stalled_after_ms", s.stalled_after_ms),
    ] {
        if ms == 0 {
            let help = "a file is done when it was quiet for a while: 200 ms or more";
            findings.at(Error, &r.parsed, &key(&format!("settle.{name}")), "is zero", help);
        }
    }
    if s.unverifiable_quiet_ms < s.strong_quiet_ms {
        findings.at(
            Warning,
            &r.parsed,
            &key("settle.unverifiable_quiet_ms"),
            "content that cannot prove its completeness is believed sooner than content that can",
            "longer than strong_quiet_ms",
        );
    }
    if s.stalled_after_ms < s.weak_quiet_ms.max(s.unverifiable_quiet_ms) {
        findings.at(
            Error,
            &r.parsed,
            &key("settle.stalled_after_ms"),
            "files are given up before they can settle",
            "longer than the quiet periods",
        );
    }
    for (list, globs) in [("only", &share.only), ("ignore", &share.ignore)] {
        for (i, g) in globs.iter().enumerate() {
            let at = key(&format!("{list}.{i}"));
            if g.is_empty() || g.contains(['/', '\\']) {
                let help = "globs match the last component of a path, e.g. *.bak";
                findings.at(Error, &r.parsed, &at, format!("\"{g}\" matches no name"), help);
            } else if list == "ignore" && g.chars().all(|c| c == '*') {
                findings.at(Error, &r.parsed, &at, "every file would be ignored", "enabled = false, if that is meant");
            }
        }
    }
    super::sets::check(share, &mut |name: &str, message: String, help: &str| {
        findings.at(Error, &r.parsed, &key(name), message, help);
    });
    if !share.encryption_required {
        let help = "leave it true unless the server cannot encrypt and the network is closed";
        findings.at(Warning, &r.parsed, &key("encryption_required"), "recordings may cross the network in clear", help);
    }
}

fn folder(share: &Share) -> Option<&String> {
    match &share.archive {
        ArchiveRule::Move { folder } => Some(folder),
        _ => None,
    }
}

/// Whether a normal path lies below a folder that is not the root.
fn is_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder).is_some_and(|r| r.starts_with('/'))
}

/// Two watches of one folder would each archive what the other has not delivered.
fn contested(place: &str, users: &[Place<'_>], findings: &mut Findings) {
    for (i, (r, env, id)) in users.iter().enumerate() {
        let others: Vec<String> = users
            .iter()
            .enumerate()
            .filter(|(j, _)| *j != i)
            .map(|(_, (o, e, s))| format!("{} share {s} in {e}", o.value.id))
            .collect();
        findings.at(
            Error,
            &r.parsed,
            &key_of(r, env, id, "host"),
            format!("in {env}, {place} is watched by {} as well: each file would go to one of them", others.join(", ")),
            format!("give it another address under [environment.{env}.share.{id}], or enabled = false there"),
        );
    }
}

/// The same for a folder inside another watched folder.
fn nested(places: &BTreeMap<String, Vec<Place<'_>>>, findings: &mut Findings) {
    // Sorted order puts a folder's descendants after it, but not always next to it (`a`, `a-b`, `a/c`): look up parents.
    for (place, users) in places {
        let mut parent = place.as_str();
        while let Some((up, _)) = parent.rsplit_once('/') {
            parent = up;
            // The root of a share is written with a final slash.
            let outer = places.get(parent).or_else(|| places.get(&format!("{parent}/")));
            let Some(outer) = outer.filter(|o| !std::ptr::eq(*o, users)) else { continue };
            for (r, env, id) in users {
                let (o, e, s) = &outer[0];
                findings.at(
                    Error,
                    &r.parsed,
                    &key_of(r, env, id, "path"),
                    format!("in {env}, {place} is inside what {} share {s} in {e} watches", o.value.id),
                    "watch folders that do not contain each other",
                );
            }
        }
    }
}

/// On a file system that keeps letter case, two files may be one organization.
fn folded_names(files: &[SourceFile], findings: &mut Findings) {
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for f in files {
        if let Some(first) = seen.insert(f.path.to_lowercase(), &f.path) {
            findings.error(
                &f.path,
                None,
                "id",
                format!("differs from {first} in letter case only"),
                "names of buckets and roles have no upper case: keep one of them",
            );
        }
    }
}
