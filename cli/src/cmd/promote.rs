//! `leadline promote`: an organization from one environment to the next, on evidence.

use super::apply::{self, gate_line, millis};
use super::org;
use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use leadline_activities::engine::Engine;
use leadline_domain::gates::{self, Request};
use leadline_domain::{EnvId, Fault, FaultCode, OrgId};
use serde_json::json;
use std::path::PathBuf;
use std::time::SystemTime;

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
            return Err(Failure::command(format!("{} is promoted to from {}, not from {}", a.to, rule.from, a.from)));
        }
        None => return Err(Failure::command(format!("promotion.toml has no [to.{}]: onboard there directly", a.to))),
    };
    let plan = org::plan(&to, &a.org, &a.allow).await?;
    let o = from.config().organization(&a.from, &a.org).ok_or_else(|| org::unknown(&a.org, &a.from))?;
    let inputs = leadline_provisioning::inputs(from.config(), from.environment(), o).map_err(|r| apply::refused(&r))?;
    output::note(&format!("a worker of {} collects what it can show of {}", a.from, a.org));
    let engine = Engine::new(from.temporal().await?);
    let signed = engine.collect_evidence(&from.environment().scope().main_queue(), &a.from, &a.org).await?;
    let evidence = &signed.evidence;
    if evidence.inputs != inputs {
        let detail =
            format!("the worker of {} has other files of {} than this command: give both the same", a.from, a.org);
        return Err(Fault::new(FaultCode::EvidenceRefused, detail).into());
    }
    if let Some(key) = &gates.evidence_key {
        leadline_activities::evidence::verify(key, &a.org, &signed)?;
    }
    let operator = g.operator()?;
    let request = Request {
        digest: plan.digest(),
        organization: true,
        requested_by: &operator,
        evidence: Some(evidence),
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
    let how = org::How { file: a.credentials.as_deref(), allow: &a.allow, repair: false, evidence: Some(signed) };
    org::onboard(g, &to, &a.org, how).await
}
