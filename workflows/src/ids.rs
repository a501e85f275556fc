//! Workflow ids and search attributes. No file name, no PHI: ids and hashes only.

use leadline_domain::transfer::Transfer;
use leadline_domain::{EnvId, FileKey, Fingerprint, OrgId, ShareId, VersionKey};
use temporalio_common::search_attributes::SearchAttributeKey;

/// Search attribute (Keyword): the organization.
pub const ORG: SearchAttributeKey<String> = SearchAttributeKey::keyword("LeadlineOrg");
/// Search attribute (Keyword): `org/share`.
pub const SHARE: SearchAttributeKey<String> = SearchAttributeKey::keyword("LeadlineShare");
/// Names of the search attributes that the namespace must have, all of type Keyword.
pub const SEARCH_ATTRIBUTES: [&str; 2] = ["LeadlineOrg", "LeadlineShare"];

/// Value of [`SHARE`].
#[must_use]
pub fn share_value(org: &OrgId, share: &ShareId) -> String {
    format!("{org}/{share}")
}

/// Id of a [`crate::RecordingLifecycle`]: a repeat start for the same file is harmless.
#[must_use]
pub fn lifecycle(org: &OrgId, share: &ShareId, file: &Fingerprint) -> String {
    format!("recording/{org}/{share}/{}", file.file_key(org, share))
}

/// Id of a [`crate::SetLifecycle`]: one at a time for the files that belong together. `unit` as
/// `leadline_domain::set::unit_key` gives it.
#[must_use]
pub fn set(org: &OrgId, share: &ShareId, unit: &str) -> String {
    format!("set/{org}/{share}/{unit}")
}

/// The parts of a lifecycle's id.
#[must_use]
pub fn parse_lifecycle(id: &str) -> Option<(OrgId, ShareId, FileKey)> {
    let mut p = id.strip_prefix("recording/")?.split('/');
    let out = (OrgId::parse(p.next()?).ok()?, ShareId::parse(p.next()?).ok()?, FileKey::parse(p.next()?)?);
    p.next().is_none().then_some(out)
}

/// Id of an [`crate::IngestBatch`]: the same files in the same versions give the same id.
#[must_use]
pub fn batch<'a>(org: &OrgId, share: &ShareId, versions: impl IntoIterator<Item = &'a VersionKey>) -> String {
    let mut all: Vec<&str> = versions.into_iter().map(VersionKey::as_str).collect();
    all.sort_unstable();
    let h = leadline_domain::Digest::of(all.join(",").as_bytes()).to_hex();
    format!("batch/{org}/{share}/{}", &h[..32])
}

/// What the ids of an organization's watches begin with.
#[must_use]
pub fn watches(org: &OrgId) -> String {
    format!("watch/{org}/")
}

/// Id of a [`crate::ShareWatch`].
#[must_use]
pub fn watch(org: &OrgId, share: &ShareId) -> String {
    format!("watch/{org}/{share}")
}

/// Id of a [`crate::FollowedSubscription`]: a hash of what the EHR calls the subscription, which may be any text.
#[must_use]
pub fn subscription(org: &OrgId, name: &str) -> String {
    let h = leadline_domain::Digest::of(name.as_bytes()).to_hex();
    format!("{}{}", subscriptions(org), &h[..32])
}

/// What the ids of all subscriptions that are followed for an organization begin with.
#[must_use]
pub fn subscriptions(org: &OrgId) -> String {
    format!("subscription/{org}/")
}

/// Id of an [`crate::OnboardOrganization`] or [`crate::UpdateOrganization`]: one of them at a time for an organization.
#[must_use]
pub fn onboard(env: &EnvId, org: &OrgId) -> String {
    format!("onboard/{env}/{org}")
}

/// Id of an [`crate::UpdateEnvironment`]: one at a time for an environment.
#[must_use]
pub fn update_environment(env: &EnvId) -> String {
    format!("update-environment/{env}")
}

/// Id of a [`crate::CanaryRun`]: one at a time for an organization.
#[must_use]
pub fn canary(env: &EnvId, org: &OrgId) -> String {
    format!("canary/{env}/{org}")
}

/// Id of a [`crate::CollectEvidence`]: one at a time for an organization.
#[must_use]
pub fn evidence(env: &EnvId, org: &OrgId) -> String {
    format!("evidence/{env}/{org}")
}

/// Id of a [`crate::IsolationProbe`] that a command starts, and of its schedule.
#[must_use]
pub fn isolation(env: &EnvId, org: &OrgId) -> String {
    format!("isolation/{env}/{org}")
}

/// Id of a [`crate::DriftCheck`] that a command starts, and of its schedule; without an organization that of the
/// environment's own stack.
#[must_use]
pub fn drift(env: &EnvId, org: Option<&OrgId>) -> String {
    match org {
        Some(org) => format!("drift/{env}/{org}"),
        None => format!("drift/{env}"),
    }
}

/// Id of an [`crate::OutcomeCheck`] that a command starts, and of its schedule.
#[must_use]
pub fn outcomes(env: &EnvId, org: &OrgId) -> String {
    format!("outcomes/{env}/{org}")
}

/// The environment that a schedule is of. Schedules stay until somebody ends them, whatever the retention of the namespace:
/// they are its mark.
#[must_use]
pub fn parse_schedule(id: &str) -> Option<EnvId> {
    let (kind, rest) = id.split_once('/')?;
    let env = EnvId::parse(rest.split('/').next()?).ok()?;
    ["drift", "isolation", "outcomes"].contains(&kind).then_some(env)
}

/// Id of a [`crate::TransferRecordings`]: one at a time for the same storages and selection.
#[must_use]
pub fn transfer(env: &EnvId, transfer: &Transfer) -> String {
    // An enum and ids have no way to fail.
    let asked = serde_json::to_string(transfer).unwrap_or_default();
    let h = leadline_domain::Digest::of(asked.as_bytes()).to_hex();
    format!("{}{}", transfers(env, &transfer.org), &h[..16])
}

/// What the ids of all transfers of an organization begin with.
#[must_use]
pub fn transfers(env: &EnvId, org: &OrgId) -> String {
    format!("transfer/{env}/{org}/")
}

/// Id of an [`crate::OffboardOrganization`]: one at a time for an organization.
#[must_use]
pub fn offboard(env: &EnvId, org: &OrgId) -> String {
    format!("offboard/{env}/{org}")
}

/// Id of a [`crate::RotateCredentials`]: one at a time for a share.
#[must_use]
pub fn rotate(env: &EnvId, org: &OrgId, share: &ShareId) -> String {
    format!("rotate/{env}/{org}/{share}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use leadline_domain::{FileStat, SharePath};

    #[test]
    fn lifecycle_ids_parse_back() {
        let (o, s) = (OrgId::parse("st-mary").unwrap(), ShareId::parse("ward").unwrap());
        let stat = FileStat { file_id: 1, size: 2, modified: 3, changed: 4 };
        let file = Fingerprint { path: SharePath::new("in/a"), stat };
        let k = file.file_key(&o, &s);
        assert_eq!(parse_lifecycle(&lifecycle(&o, &s, &file)), Some((o, s, k)));
        assert_eq!(parse_lifecycle("recording/st-mary/ward/xyz"), None);
    }

    #[test]
    fn schedules_tell_whose_they_are() {
        let (env, org) = (EnvId::parse("test").unwrap(), OrgId::parse("st-mary").unwrap());
        for id in [drift(&env, None), drift(&env, Some(&org)), isolation(&env, &org), outcomes(&env, &org)] {
            assert_eq!(parse_schedule(&id), Some(env.clone()), "{id}");
        }
        for other in ["backup/test", "drift", "drift/", "", "drift/NO/st-mary", "nightly"] {
            assert_eq!(parse_schedule(other), None, "{other}");
        }
    }
}
