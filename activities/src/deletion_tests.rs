use super::*;
use async_trait::async_trait;
use leadline_domain::{EnvFacts, IngressEndpoints, Placement, ShareId};
use std::collections::BTreeMap;
use std::sync::Mutex;

/// Secrets that are there.
struct There(Mutex<BTreeSet<String>>);

#[async_trait]
impl Removal for There {
    async fn secrets(&self, scope: &OrgScope) -> Result<BTreeSet<String>, Fault> {
        let all = self.0.lock().unwrap();
        Ok(all.iter().filter(|n| n.starts_with(&scope.secret_prefix())).cloned().collect())
    }
    async fn secret(&self, name: &str) -> Result<bool, Fault> {
        Ok(self.0.lock().unwrap().remove(name))
    }
    async fn key(&self, _: &OrgScope, _: i32) -> Result<bool, Fault> {
        Ok(false)
    }
    async fn bucket_is_there(&self, _: &OrgScope, _: Storage) -> Result<bool, Fault> {
        Ok(false)
    }
    async fn bucket(&self, _: &OrgScope, _: Storage) -> Result<bool, Fault> {
        Ok(false)
    }
}

/// A share may have left the file before the organization leaves: its password goes with the others.
#[tokio::test]
async fn every_secret_of_an_organization_goes_and_nobody_elses() {
    let org = OrgId::parse("st-mary").unwrap();
    let facts = EnvFacts {
        env: leadline_domain::EnvId::parse("test").unwrap(),
        account: "111111111111".into(),
        region: "us-east-1".into(),
        jurisdictions: ["us".to_owned()].into(),
    };
    let place = Placement::resolve(&org, "us", &facts).unwrap();
    let config = OrgConfig {
        scope: OrgScope::new(org, place),
        shares: BTreeMap::new(),
        limits: (1, 1),
        formats: BTreeSet::new(),
        secrets: ["ward", "never"].map(|s| ShareId::parse(s).unwrap()).into(),
        storages: BTreeSet::new(),
        link_encodings: false,
        endpoints: IngressEndpoints {
            credentials: "leadline/test/canary/st-mary".into(),
            ..IngressEndpoints::default()
        },
    };
    let own = ["share/clinic", "share/fhir", "share/ward"].map(|n| format!("leadline/test/st-mary/{n}"));
    let other = "leadline/test/st-mary-north/share/ward".to_owned();
    let mut all: BTreeSet<String> = own.clone().into();
    all.extend([other.clone(), "leadline/test/canary/st-mary".to_owned()]);
    let there = There(Mutex::new(all));
    let gone = secrets(&there, &config).await.unwrap();
    let mut expected: BTreeSet<String> = own.into();
    expected.extend(["leadline/test/canary/st-mary", "leadline/test/st-mary/share/never"].map(String::from));
    assert_eq!(gone, expected);
    assert_eq!(*there.0.lock().unwrap(), BTreeSet::from([other]));
    // A repeat, after it was cut off.
    let again = secrets(&there, &config).await.unwrap();
    assert_eq!(again, ["never", "ward"].map(|s| format!("leadline/test/st-mary/share/{s}")).into());
}
