use super::*;
use crate::adapters::smb_fake::FakeShare;
use crate::ports::rotation::Labels;
use crate::secret::Secret;
use leadline_domain::{EnvFacts, EnvId, Placement};
use std::collections::BTreeSet;
use std::sync::Mutex as Plain;

/// A server that takes one password, and a secret with a current and a pending version; both count what is asked.
#[derive(Default)]
struct World {
    good: Plain<String>,
    current: Plain<(String, String)>,
    pending: Plain<Option<(String, String)>>,
    /// Passwords that were tried, in order.
    tried: Plain<Vec<String>>,
    reads: Plain<u32>,
    /// Why the secret cannot be read.
    away: Plain<Option<FaultCode>>,
}

fn version((id, password): (String, String)) -> Version {
    let password = Secret::new(password);
    let credentials = ShareCredentials { user: "ecg".into(), password, domain: String::new() };
    Version { id, credentials }
}

#[async_trait]
impl Rotation for World {
    async fn version(&self, _: &OrgScope, _: &ShareId, stage: Stage) -> Result<Option<Version>, Fault> {
        *self.reads.lock().unwrap() += 1;
        if let Some(code) = *self.away.lock().unwrap() {
            return Err(Fault::new(code, "away"));
        }
        Ok(match stage {
            Stage::Current => Some(version(self.current.lock().unwrap().clone())),
            Stage::Pending => self.pending.lock().unwrap().clone().map(version),
        })
    }
    async fn labels(&self, _: &OrgScope, _: &ShareId) -> Result<Labels, Fault> {
        unreachable!()
    }
    async fn begin(&self, _: &OrgScope, _: &ShareId, _: &ShareCredentials) -> Result<String, Fault> {
        unreachable!()
    }
    async fn promote(&self, _: &OrgScope, _: &ShareId, _: &str) -> Result<(), Fault> {
        unreachable!()
    }
    async fn withdraw(&self, _: &OrgScope, _: &ShareId) -> Result<Option<String>, Fault> {
        unreachable!()
    }
}

/// Logs on anew for each request.
struct Rotated {
    world: Arc<World>,
    password: String,
    inside: Arc<FakeShare>,
}

#[async_trait]
impl Share for Rotated {
    async fn list(&self, folder: &SharePath, except: &[SharePath]) -> Result<Listing, Fault> {
        self.world.tried.lock().unwrap().push(self.password.clone());
        if *self.world.good.lock().unwrap() != self.password {
            return Err(Fault::new(FaultCode::ShareLogonRefused, "wrong"));
        }
        self.inside.list(folder, except).await
    }
    async fn observe(&self, _: &SharePath) -> Result<Observation, Fault> {
        unreachable!()
    }
    async fn read(&self, _: &SharePath, _: u64) -> Result<Bytes, Fault> {
        unreachable!()
    }
    async fn create(&self, _: &SharePath, _: &Bytes) -> Result<(), Fault> {
        unreachable!()
    }
    async fn open(&self, _: &SharePath, _: u64) -> Result<Box<dyn FileReader>, Fault> {
        unreachable!()
    }
    async fn rename(&self, _: &SharePath, _: &SharePath, _: Option<&FileStat>) -> Result<(), Fault> {
        unreachable!()
    }
    async fn remove(&self, _: &SharePath) -> Result<(), Fault> {
        unreachable!()
    }
    async fn mkdir(&self, _: &SharePath) -> Result<(), Fault> {
        unreachable!()
    }
    async fn watch(&self, _: &SharePath) -> Result<Box<dyn Hints>, Fault> {
        unreachable!()
    }
}

fn share(w: &Arc<World>) -> RotatingShare {
    let facts = EnvFacts {
        env: EnvId::parse("test").unwrap(),
        account: "111111111111".into(),
        region: "us-east-1".into(),
        jurisdictions: BTreeSet::from(["us".parse().unwrap()]),
    };
    let org = leadline_domain::OrgId::parse("st-mary").unwrap();
    let scope = OrgScope::new(org.clone(), Placement::resolve(&org, "us", &facts).unwrap());
    let (world, inside) = (Arc::clone(w), FakeShare::new());
    inside.make_folder("in");
    let make = Box::new(move |c: ShareCredentials| {
        Arc::new(Rotated {
            world: Arc::clone(&world),
            password: c.password.expose().to_owned(),
            inside: Arc::clone(&inside),
        }) as Arc<dyn Share>
    });
    RotatingShare::new(scope, ShareId::parse("ward").unwrap(), Arc::clone(w) as Arc<dyn Rotation>, make)
}

fn named(id: &str) -> (String, String) {
    (id.into(), format!("pw-{id}"))
}

impl World {
    fn new(current: &str, pending: Option<&str>) -> Arc<Self> {
        let w = Self::default();
        *w.current.lock().unwrap() = named(current);
        *w.pending.lock().unwrap() = pending.map(named);
        w.takes(current);
        Arc::new(w)
    }
    fn takes(&self, id: &str) {
        *self.good.lock().unwrap() = format!("pw-{id}");
    }
    fn tried(&self) -> Vec<String> {
        std::mem::take(&mut self.tried.lock().unwrap())
    }
    fn reads(&self) -> u32 {
        std::mem::take(&mut self.reads.lock().unwrap())
    }
}

async fn ask(s: &RotatingShare) -> bool {
    s.list(&SharePath::new("in"), &[]).await.is_ok()
}

#[tokio::test]
async fn the_pending_ones_are_tried_where_the_current_ones_are_refused_and_what_worked_is_kept() {
    let w = World::new("a", Some("b"));
    let s = share(&w);
    assert!(ask(&s).await && ask(&s).await);
    assert_eq!((w.tried(), w.reads()), (vec!["pw-a".into(), "pw-a".into()], 1), "nothing else is read or tried");
    w.takes("b");
    assert!(ask(&s).await, "in one request");
    assert_eq!(w.tried(), ["pw-a", "pw-b"]);
    assert!(ask(&s).await);
    assert_eq!(w.tried(), ["pw-b"]);
    // The other way round: the clinic took the change back.
    w.takes("a");
    assert!(ask(&s).await);
    assert_eq!(w.tried(), ["pw-b", "pw-a"]);
}

#[tokio::test]
async fn while_all_are_refused_an_attempt_tries_one_of_them() {
    let w = World::new("a", Some("b"));
    let s = share(&w);
    w.takes("neither");
    let mut tries = Vec::new();
    for _ in 0..4 {
        assert!(!ask(&s).await);
        tries.push(w.tried().len());
        s.stale();
    }
    assert_eq!(tries, [2, 1, 1, 1], "as many refused logons as without a pending version, but for the first");
    w.takes("a");
    assert!(ask(&s).await || ask(&s).await, "both have their turn");
    w.tried();
    w.takes("b");
    assert!(ask(&s).await);
    assert_eq!(w.tried(), ["pw-a", "pw-b"], "a refusal of long ago does not count after a success");
}

#[tokio::test]
async fn a_version_that_becomes_current_is_kept_and_a_new_one_tried_before_those_that_were_refused() {
    let w = World::new("a", Some("b"));
    let s = share(&w);
    w.takes("b");
    assert!(ask(&s).await);
    // The label moves.
    *w.current.lock().unwrap() = named("b");
    *w.pending.lock().unwrap() = None;
    s.stale();
    w.tried();
    assert!(ask(&s).await);
    assert_eq!(w.tried(), ["pw-b"]);
    w.takes("c");
    assert!(!ask(&s).await);
    *w.current.lock().unwrap() = named("c");
    s.stale();
    w.tried();
    assert!(ask(&s).await);
    assert_eq!(w.tried(), ["pw-c"]);
}

#[tokio::test]
async fn many_requests_that_hear_of_one_refusal_ask_for_others_once_and_a_store_that_is_away_stops_nothing() {
    let w = World::new("a", Some("b"));
    let s = share(&w);
    assert!(ask(&s).await);
    w.takes("b");
    w.reads();
    let all = futures::future::join_all((0..8).map(|_| ask(&s))).await;
    assert!(all.into_iter().all(|ok| ok));
    assert_eq!(w.reads(), 2, "current and pending");
    *w.away.lock().unwrap() = Some(FaultCode::CredentialUnreachable);
    s.stale();
    assert!(ask(&s).await);
    let none = World::new("a", None);
    *none.away.lock().unwrap() = Some(FaultCode::CredentialUnreachable);
    assert_eq!(share(&none).ready().await.unwrap_err().code, FaultCode::CredentialUnreachable);
}

#[tokio::test]
async fn a_secret_that_was_taken_away_is_used_no_more() {
    for code in [FaultCode::SecretMissing, FaultCode::CredentialRefused] {
        let w = World::new("a", None);
        let s = share(&w);
        assert!(ask(&s).await);
        *w.away.lock().unwrap() = Some(code);
        s.stale();
        w.tried();
        assert!(!ask(&s).await);
        assert!(!ask(&s).await);
        assert_eq!(w.tried(), Vec::<String>::new(), "{code}");
        *w.away.lock().unwrap() = None;
        assert!(ask(&s).await);
    }
}
