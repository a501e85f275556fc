//! `leadline promote`: an organization from one environment to the next, on evidence.

use super::apply::{Applying, Ended, gate_line, millis};
use super::{canary, org, replay};
use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use leadline_activities::engine::Engine;
use leadline_domain::gates::{self, Applied, Evidence, Gates, Request, Run};
use leadline_domain::{EnvId, OrgId};
use leadline_workflows::ids;
use serde_json::json;
use std::path::PathBuf;
use std::time::SystemTime;

/// Histories of each kind that are replayed.
const REPLAYED: usize = 20;

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Organization.
    org: OrgId,
    /// Environment that has passed.
    #[arg(long)]
    from: EnvId,
    /// Environment to bring it to.
    #[arg(long)]
    to: EnvId,
    /// AWS profile to read the first with. Default: whatever AWS's own chain of credentials finds.
    #[arg(long, value_name = "PROFILE")]
    from_profile: Option<String>,
    /// AWS profile to work in the second with.
    #[arg(long, value_name = "PROFILE")]
    to_profile: Option<String>,
    /// Only collect the evidence and say how each gate stands. Exit 3 if one is closed.
    #[arg(long)]
    check: bool,
    /// As of `org onboard`.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// As of `org onboard`.
    #[arg(long, value_name = "ID")]
    allow: Vec<String>,
}

/// Collects the evidence, says how each gate stands, and applies the plan; people still have to approve it.
pub(crate) async fn run(g: &Global, a: Args) -> Done {
    let from = Site::load(g, &a.from)?.with_profile(a.from_profile);
    let to = Site::load(g, &a.to)?.with_profile(a.to_profile);
    let gates = match to.config().promotion().to.get(&a.to) {
        Some(rule) if rule.from == a.from => rule.gates(),
        Some(rule) => {
            return Err(Failure::new(format!("{} is promoted to from {}, not from {}", a.to, rule.from, a.from)));
        }
        None => return Err(Failure::new(format!("promotion.toml has no [to.{}]: onboard there directly", a.to))),
    };
    let plan = org::plan(&to, &a.org, &a.allow).await?;
    let evidence = collect(&from, &a.org, &gates).await?;
    let operator = g.operator()?;
    let request = Request {
        digest: plan.digest(),
        organization: true,
        requested_by: &operator,
        evidence: Some(&evidence),
        approvers: &[],
    };
    let states = gates::states(&gates, &request, millis(SystemTime::now()));
    let shown = states.iter().all(|s| s.open || s.gate == gates::Gate::Approvals);
    if a.check && g.output == Format::Json {
        output::json(&json!({"plan": plan.digest(), "gates": states, "evidence": evidence}));
    } else {
        for s in &states {
            if a.check { output::line(&gate_line(s)) } else { output::note(&gate_line(s)) }
        }
    }
    if a.check {
        return Ok(if shown { Code::Ok } else { Code::NotWell });
    }
    if let Some(fault) = gates::fault(&states).filter(|_| !shown) {
        return Err(fault.into());
    }
    let how = org::How { file: a.credentials.as_deref(), allow: &a.allow, repair: false, evidence: Some(evidence) };
    org::onboard(g, &to, &a.org, how).await
}

/// What the environment that has to pass first can show of an organization.
async fn collect(from: &Site, org: &OrgId, gates: &Gates) -> Result<Evidence, Failure> {
    let env = from.environment();
    let o = from.config().organization(&env.id, org).ok_or_else(|| org::unknown(org, &env.id))?;
    let inputs = leadline_provisioning::inputs(from.config(), env, o).map_err(|r| super::apply::refused(&r))?;
    let client = from.temporal().await?;
    let applying = Applying::of(&client, &env.id, Some(org));
    let run = |at_ms, passed| Run { at_ms, passed, source: applying.id() };
    let applied = match applying.ended().await? {
        Ended::Never | Ended::Running => None,
        Ended::Badly { at_ms } => Some(Applied { inputs: String::new(), run: run(at_ms, false) }),
        Ended::Well { at_ms } => {
            let s = applying.result().await.map_err(|e| Failure::new(e.to_string()))?;
            Some(Applied { inputs: s.inputs, run: run(at_ms, true) })
        }
    };
    let probes = match &applied {
        None => None,
        Some(_) => {
            let report = Engine::new(client.clone()).probe_isolation(&env.scope().main_queue(), &env.id, org).await?;
            let source = report.fault().map_or_else(|| ids::isolation(&env.id, org), |f| f.to_string());
            Some(Run { at_ms: millis(SystemTime::now()), passed: report.fault().is_none() && report.tried > 0, source })
        }
    };
    let required = canary::shares(from, o)?
        .into_iter()
        .flat_map(|s| s.formats.into_iter().map(move |f| (format!("smb/{}", s.share), f)))
        .collect();
    let canaries = canary::last(&client, &env.id, org).await?.unwrap_or_default();
    let replay = if gates.replay_clean {
        let (replayed, differ) = replay::replay(from, REPLAYED).await?;
        let source = match differ.first() {
            None => format!("{replayed} histories of {}", env.id),
            Some(d) => format!("{}: {}", d.workflow, d.why),
        };
        Some(Run { at_ms: millis(SystemTime::now()), passed: differ.is_empty() && replayed > 0, source })
    } else {
        None
    };
    Ok(Evidence { env: env.id.clone(), inputs, applied, probes, required, canaries, replay })
}
