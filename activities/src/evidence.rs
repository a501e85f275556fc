//! Evidence for a promotion: collected by a worker of the environment that has passed, signed with a key that only those
//! who run its workers can read, and verified by the worker of the environment it is shown to.

// The activities macro makes constants that it does not document.
#![allow(missing_docs)]

use crate::deps::Deps;
use crate::engine::faults::{interaction_fault, status_fault};
use crate::faults::ended;
use crate::heartbeat::until_cancelled;
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use leadline_domain::gates::{Applied, Canary, Evidence, Run, SignedEvidence, statement};
use leadline_domain::{EnvId, Fault, FaultCode, OrgId};
use leadline_workflows::evidence::{CollectInput, definitions};
use leadline_workflows::{CanaryRun, OnboardOrganization, ids};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;
use temporalio_client::errors::{WorkflowGetResultError, WorkflowInteractionError};
use temporalio_client::{
    Client, WorkflowDescribeOptions, WorkflowExecutionStatus, WorkflowGetResultOptions, WorkflowHandle,
};
use temporalio_sdk::activities::{ActivityContext, ActivityError, activities};

/// Histories of each kind that are replayed.
const REPLAYED: usize = 20;

/// The text of a secret with a fresh key (Ed25519, PKCS #8, hexadecimal).
///
/// # Panics
/// When the machine has no source of randomness.
#[must_use]
pub fn new_key() -> String {
    let key = Ed25519KeyPair::generate().expect("randomness");
    hex::encode(key.to_pkcs8().expect("a key that was made a moment ago"))
}

fn pair(secret: &str) -> Result<Ed25519KeyPair, Fault> {
    let key = hex::decode(secret.trim()).ok().and_then(|k| Ed25519KeyPair::from_pkcs8(&k).ok());
    key.ok_or_else(|| Fault::new(FaultCode::SecretMissing, "the secret of the evidence key holds no key"))
}

/// What `promotion.toml` has of a key: 64 hexadecimal digits.
///
/// # Errors
/// `secret.missing` if the text holds none.
pub fn public_key(secret: &str) -> Result<String, Fault> {
    Ok(hex::encode(pair(secret)?.public_key()))
}

/// Signs evidence about an organization.
///
/// # Errors
/// `secret.missing` if the text holds no key.
pub fn sign(secret: &str, org: &OrgId, evidence: &Evidence) -> Result<String, Fault> {
    Ok(hex::encode(pair(secret)?.sign(&statement(org, evidence))))
}

/// Believes evidence about an organization only if it was signed with this key.
///
/// # Errors
/// `evidence.refused`.
pub fn verify(key: &str, org: &OrgId, signed: &SignedEvidence) -> Result<(), Fault> {
    let refused = |why: &str| Fault::new(FaultCode::EvidenceRefused, why);
    let key = hex::decode(key).map_err(|_| refused("evidence_key in promotion.toml is no key"))?;
    let signature = hex::decode(&signed.signature).map_err(|_| refused("it has no signature"))?;
    let said = statement(org, &signed.evidence);
    UnparsedPublicKey::new(&ED25519, key)
        .verify(&said, &signature)
        .map_err(|_| refused("it was not signed by the environment it claims to be from, or was changed since"))
}

/// Implements `leadline_workflows::evidence::Collecting`.
pub struct EvidenceActivities {
    deps: Arc<Deps>,
}

impl EvidenceActivities {
    /// Works with these parts.
    #[must_use]
    pub fn new(deps: Arc<Deps>) -> Self {
        Self { deps }
    }
}

#[activities]
impl EvidenceActivities {
    /// See the contract.
    #[activity(definition = definitions::CollectEvidence)]
    pub async fn collect_evidence(
        self: Arc<Self>,
        ctx: ActivityContext,
        input: CollectInput,
    ) -> Result<SignedEvidence, ActivityError> {
        let client = ctx.client();
        ended("collect_evidence", until_cancelled(&ctx, collect(&self.deps, &client, input)).await?)
    }
}

fn millis(t: SystemTime) -> i64 {
    t.duration_since(SystemTime::UNIX_EPOCH).ok().and_then(|d| i64::try_from(d.as_millis()).ok()).unwrap_or_default()
}

async fn collect(deps: &Deps, client: &Client, input: CollectInput) -> Result<SignedEvidence, Fault> {
    let CollectInput { org, probes } = input;
    let here = deps.registry.env();
    let env = here.env();
    let (required, untried) = asked(deps, &org)?;
    let evidence = Evidence {
        env: env.clone(),
        inputs: deps.plans.inputs(env, &org)?,
        applied: applied(client, env, &org).await?,
        probes: Some(probes),
        required,
        untried,
        canaries: canaries(client, env, &org).await?,
        replay: Some(replayed(client, env).await?),
    };
    let signature = sign(&deps.signing.key().await?, &org, &evidence)?;
    Ok(SignedEvidence { evidence, signature })
}

/// The last onboarding or update, if it has ended.
async fn applied(client: &Client, env: &EnvId, org: &OrgId) -> Result<Option<Applied>, Fault> {
    let handle: WorkflowHandle<Client, OnboardOrganization> = client.get_workflow_handle(ids::onboard(env, org));
    let d = match handle.describe(WorkflowDescribeOptions::default()).await {
        Ok(d) => d,
        Err(WorkflowInteractionError::NotFound(_)) => return Ok(None),
        Err(e) => return Err(interaction_fault(&e)),
    };
    let Some(at_ms) = d.close_time().map(millis) else { return Ok(None) };
    let run = |passed| Run { at_ms, passed, source: ids::onboard(env, org) };
    if d.status() != WorkflowExecutionStatus::Completed {
        return Ok(Some(Applied { inputs: String::new(), run: run(false) }));
    }
    match handle.get_result(WorkflowGetResultOptions::default()).await {
        Ok(s) => Ok(Some(Applied { inputs: s.inputs, run: run(true) })),
        Err(WorkflowGetResultError::Rpc(s)) => Err(status_fault(&s)),
        Err(_) => Ok(Some(Applied { inputs: String::new(), run: run(false) })),
    }
}

/// Paths, with the formats of the canaries that each is to have.
type Required = BTreeSet<(String, String)>;

/// Every watched share and every other way in, with every canary that it is to have; and the ways that nothing can be shown
/// of, with why: no canary can be sent by them, or they take no format that canaries have.
fn asked(deps: &Deps, org: &OrgId) -> Result<(Required, BTreeMap<String, String>), Fault> {
    let config = deps.registry.org(org)?;
    let (mut required, mut untried) = (BTreeSet::new(), config.endpoints.untried());
    for (share, config) in &config.shares {
        let formats = crate::canary::canaries(config)?;
        required.extend(formats.iter().map(|f| (format!("smb/{share}"), f.name().to_owned())));
    }
    for (path, endpoint) in &config.endpoints.open {
        let Ok(endpoint) = endpoint else { continue };
        let formats = crate::canary::endpoint_canaries(endpoint, &config.formats)?;
        if formats.is_empty() {
            let why = "it takes no format that canaries have: close it, or let `formats` have one";
            untried.insert(path.clone(), why.into());
        }
        required.extend(formats.iter().map(|f| (path.clone(), f.name().to_owned())));
    }
    Ok((required, untried))
}

/// The canaries of the last run that has ended.
async fn canaries(client: &Client, env: &EnvId, org: &OrgId) -> Result<Vec<Canary>, Fault> {
    let handle: WorkflowHandle<Client, CanaryRun> = client.get_workflow_handle(ids::canary(env, org));
    match handle.describe(WorkflowDescribeOptions::default()).await {
        // One that runs is waited for by whoever sent it.
        Ok(d) if d.status() == WorkflowExecutionStatus::Completed => {}
        Ok(_) | Err(WorkflowInteractionError::NotFound(_)) => return Ok(Vec::new()),
        Err(e) => return Err(interaction_fault(&e)),
    }
    match handle.get_result(WorkflowGetResultOptions::default()).await {
        Ok(done) => Ok(done),
        Err(WorkflowGetResultError::Rpc(s)) => Err(status_fault(&s)),
        Err(_) => Ok(Vec::new()),
    }
}

async fn replayed(client: &Client, env: &EnvId) -> Result<Run, Fault> {
    // A replayer stays on its thread.
    let (client, runtime) = (client.clone(), tokio::runtime::Handle::current());
    let replay = tokio::task::spawn_blocking(move || runtime.block_on(crate::replay::replay(&client, REPLAYED)));
    let (replayed, differ) =
        replay.await.map_err(|_| Fault::new(FaultCode::BugInvariant, "the replay was ended from outside"))??;
    let source = match differ.first() {
        None => format!("{replayed} histories of {env}"),
        Some(d) => format!("{}: {}", d.workflow, d.why),
    };
    Ok(Run { at_ms: millis(SystemTime::now()), passed: differ.is_empty() && replayed > 0, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence() -> Evidence {
        let run = || Run { at_ms: 5, passed: true, source: "onboard/test/st-mary".into() };
        let (path, format) = ("smb/ward".to_owned(), "dicom".to_owned());
        Evidence {
            env: EnvId::parse("test").unwrap(),
            inputs: "i".into(),
            applied: Some(Applied { inputs: "i".into(), run: run() }),
            probes: Some(run()),
            required: BTreeSet::from([(path.clone(), format.clone())]),
            untried: BTreeMap::new(),
            canaries: vec![Canary { path, format, run: run() }],
            replay: Some(run()),
        }
    }

    #[test]
    fn only_what_was_signed_with_the_key_is_believed() {
        let (secret, other) = (new_key(), new_key());
        let (key, org) = (public_key(&secret).unwrap(), OrgId::parse("st-mary").unwrap());
        let signed = SignedEvidence { signature: sign(&secret, &org, &evidence()).unwrap(), evidence: evidence() };
        assert_eq!(verify(&key, &org, &signed), Ok(()));
        // As it travels: written and read.
        let travelled: SignedEvidence = serde_json::from_str(&serde_json::to_string(&signed).unwrap()).unwrap();
        assert_eq!(verify(&key, &org, &travelled), Ok(()));

        let refused = |org: &OrgId, s: &SignedEvidence| verify(&key, org, s).unwrap_err().code;
        assert_eq!(refused(&OrgId::parse("kings-road").unwrap(), &signed), FaultCode::EvidenceRefused, "of another");
        let tampered: [fn(&mut Evidence); 9] = [
            |e| e.inputs = "j".into(),
            |e| e.applied.as_mut().unwrap().inputs = "j".into(),
            |e| e.applied.as_mut().unwrap().run.at_ms = 6,
            |e| e.probes.as_mut().unwrap().at_ms = 6,
            |e| e.canaries.clear(),
            |e| e.required.clear(),
            |e| drop(e.untried.insert("web".into(), "w".into())),
            |e| e.replay.as_mut().unwrap().passed = false,
            |e| e.env = EnvId::parse("stage").unwrap(),
        ];
        for t in tampered {
            let mut s = signed.clone();
            t(&mut s.evidence);
            assert_eq!(refused(&org, &s), FaultCode::EvidenceRefused, "{s:?}");
        }
        let made_up = SignedEvidence { signature: String::new(), evidence: evidence() };
        assert_eq!(refused(&org, &made_up), FaultCode::EvidenceRefused);
        let theirs = SignedEvidence { signature: sign(&other, &org, &evidence()).unwrap(), evidence: evidence() };
        assert_eq!(refused(&org, &theirs), FaultCode::EvidenceRefused);
        assert!(verify("no key", &org, &signed).is_err() && sign("no key", &org, &evidence()).is_err());
    }
}
