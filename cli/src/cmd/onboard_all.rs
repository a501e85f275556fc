//! `leadline org onboard --all`: every organization of an environment, several at a time.

use super::apply::{self, Applying, Ended};
use super::org::{self, Given};
use super::plans::Live;
use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use futures::StreamExt;
use leadline_activities::deps::Deps;
use leadline_domain::{EnvId, Fault, FaultCode};
use leadline_provisioning::Plan;
use leadline_provisioning::config::Organization;
use leadline_workflows::onboard::ApplyStatus;
use serde_json::json;
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::{Duration, Instant};
use temporalio_client::Client;

/// Time between two looks at an onboarding.
const POLL: Duration = Duration::from_secs(1);
/// After something was mended, the same fault may be seen for this long before it counts: the step tries again at once,
/// but a dead worker's attempt has to time out first.
const MENDING: Duration = Duration::from_secs(180);

/// What a run over all works with.
struct All<'a> {
    g: &'a Global,
    site: &'a Site,
    live: &'a Live,
    deps: &'a Deps,
    client: &'a Client,
    credentials: Option<&'a Path>,
}

/// Starts the onboarding of each, or follows one that is under way; one that fails stops no other.
pub(crate) async fn run(g: &Global, env: &EnvId, credentials: Option<&Path>, parallel: Option<NonZeroUsize>) -> Done {
    let site = Site::load(g, env)?;
    let deps = site.deps().await?;
    let client = site.temporal().await?;
    let live = Live::list(&site, false).await?;
    let all = All { g, site: &site, live: &live, deps: &deps, client: &client, credentials };
    let parallel = parallel.map_or(usize::from(site.environment().provisioning.at_once), NonZeroUsize::get);
    let orgs: Vec<&Organization> = site.config().organizations(env).collect();
    let total = orgs.len();
    let began = Instant::now();
    let mut each = futures::stream::iter(orgs)
        .map(|o| {
            let all = &all;
            async move {
                let began = Instant::now();
                let r = all.onboard(o).await;
                (o, r, began.elapsed().as_secs())
            }
        })
        .buffer_unordered(parallel);
    let mut failed = Vec::new();
    while let Some((o, r, seconds)) = each.next().await {
        match (g.output, &r) {
            (Format::Json, Ok(())) => output::json(&json!({"organization": o.id, "state": "done", "seconds": seconds})),
            (Format::Json, Err(f)) => output::json(&json!({
                "organization": o.id, "state": "failed", "seconds": seconds, "code": f.fault().code, "why": f.fault().detail,
            })),
            (Format::Text, Ok(())) => output::line(&format!("{} done in {seconds} s", o.id)),
            (Format::Text, Err(f)) => output::line(&format!("{} failed after {seconds} s: {f}", o.id)),
        }
        if let Err(f) = r {
            failed.push((o.id.to_string(), f.fault().code));
        }
    }
    let done = total - failed.len();
    output::note(&format!("{done} of {total} organizations onboarded in {} s", began.elapsed().as_secs()));
    let Some((_, code)) = failed.first() else { return Ok(Code::Ok) };
    let all = failed.iter().map(|(o, code)| format!("{o} ({code})")).collect::<Vec<_>>().join(", ");
    Err(Fault::new(*code, format!("not onboarded: {all}; run it again once it is mended")).into())
}

impl All<'_> {
    async fn onboard(&self, o: &Organization) -> Result<(), Failure> {
        let e = self.site.environment();
        let given = self.given(o)?;
        let scope = o.scope(e)?;
        let plan = self.live.plan(self.site, o, &[]).await?.plan.map_err(|r| apply::refused(&r))?;
        if plan.is_empty() && self.is_done(&plan).await? {
            return Ok(());
        }
        let inputs = leadline_provisioning::inputs(self.site.config(), e, o).map_err(|r| apply::refused(&r))?;
        let requester = apply::requester(self.g, self.site)?;
        let applying = Applying::start(self.site, self.client, &plan, requester, inputs, None).await?;
        let result = applying.result();
        tokio::pin!(result);
        let mut mended: Option<Instant> = None;
        loop {
            tokio::select! {
                r = &mut result => {
                    return Ok(r.map(drop)?);
                }
                () = tokio::time::sleep(POLL) => {}
            }
            // No answer: no worker at the moment. The onboarding goes on when there is one.
            let Ok(Some(status)) = tokio::time::timeout(Duration::from_secs(10), applying.status()).await else {
                continue;
            };
            let Some(fault) = waits(&status) else { continue };
            if mended.is_some_and(|at| at.elapsed() < MENDING) {
                continue;
            }
            if mended.is_some() || fault.code != FaultCode::SecretMissing || given.is_empty() {
                return Err(fault.into());
            }
            for (share, credentials) in &given {
                self.deps.secrets.put_share_credentials(&scope, share, credentials).await?;
            }
            applying.resume().await?;
            mended = Some(Instant::now());
        }
    }

    /// Whether this very plan was brought to its end, with its probes and watches: what is left is what the schedules look
    /// at, and trying everybody's credentials on everybody again takes long.
    async fn is_done(&self, plan: &Plan) -> Result<bool, Failure> {
        let last = Applying::of(self.client, plan.env(), plan.org());
        if !matches!(last.ended().await?, Ended::Well { .. }) {
            return Ok(false);
        }
        Ok(last.result().await.is_ok_and(|s| s.plan == plan.digest()))
    }

    fn given(&self, o: &Organization) -> Result<Given, Failure> {
        let path = self.credentials.map(|d| d.join(format!("{}.toml", o.id))).filter(|p| p.exists());
        let given = path.map(|p| org::read(&p)).transpose()?.unwrap_or_default();
        match given.keys().find(|id| !o.has_secret(id)) {
            Some(id) => Err(Failure::command(format!("its credentials name share {id}, which it does not have"))),
            None => Ok(given),
        }
    }
}

/// What it waits for that will not come by itself.
fn waits(status: &ApplyStatus) -> Option<Fault> {
    if status.step == "waiting for approval" {
        let detail = format!("plan {} waits for an approval: `leadline org approve`", status.plan);
        return Some(Fault::new(FaultCode::GateClosed, detail));
    }
    status.paused.clone()
}
