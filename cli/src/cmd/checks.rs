//! `leadline org probe`, `leadline org drift`, `leadline env drift`: what a worker looks at on schedule, now.

use crate::Global;
use crate::connect::Site;
use crate::exit::{Code, Done};
use crate::output::{self, Format};
use leadline_activities::engine::Engine;
use leadline_domain::drift::Difference;
use leadline_domain::isolation::Verdict;
use leadline_domain::{DriftReport, EnvId, OrgId, ProbeReport};
use serde_json::Value;

pub(crate) async fn probe(g: &Global, org: &OrgId, env: &EnvId, all: bool) -> Done {
    let site = Site::load(g, env)?;
    site.config().organization(env, org).ok_or_else(|| super::org::unknown(org, env))?;
    let engine = Engine::new(site.temporal().await?);
    output::note(&format!("trying everything with the credentials of {org}; a worker of {env} does it"));
    let report = engine.probe_isolation(&site.environment().scope().main_queue(), env, org).await?;
    match g.output {
        Format::Json => output::json(&report),
        Format::Text => show(&report, all),
    }
    Ok(if report.fault().is_none() { Code::Ok } else { Code::NotWell })
}

/// In a sentence.
pub(crate) fn summary(r: &ProbeReport) -> String {
    let left =
        if r.not_onboarded.is_empty() { String::new() } else { format!(", {} not onboarded", r.not_onboarded.len()) };
    format!(
        "{} of {} tries ended as they have to, on its own resources and those of {} other organizations{left}",
        r.as_expected,
        r.tried,
        r.others.len()
    )
}

fn show(r: &ProbeReport, all: bool) {
    output::line(&summary(r));
    let shown = r.evidence.iter().filter(|e| all || e.verdict() != Verdict::AsExpected);
    let rows: Vec<Vec<String>> = shown
        .map(|e| {
            let verdict = match e.verdict() {
                Verdict::Broken => "BROKEN",
                Verdict::Unproven => "unproven",
                Verdict::NothingThere => "nothing there",
                Verdict::AsExpected => "ok",
            };
            let said = format!("{} ({})", e.outcome, e.answer);
            vec![verdict.to_owned(), e.action.as_str().to_owned(), e.target.to_string(), e.resource.clone(), said]
        })
        .collect();
    output::table(&["VERDICT", "ACTION", "OF", "RESOURCE", "ANSWER"], &rows);
    for e in &r.evidence {
        if let Some(left) = &e.left {
            output::line(&format!("left behind: {left}"));
        }
    }
    for o in &r.not_onboarded {
        output::line(&format!("not tried: {o} is configured and not onboarded"));
    }
    for o in &r.leaving {
        output::line(&format!("{o} is being deleted: what could not be prepared there counts as nothing to reach"));
    }
    for n in &r.not_enforced {
        output::line(&format!("not enforced here: {}: {}", n.what, n.why));
    }
    if let Some(f) = r.fault() {
        output::line(&format!("{f}\n  see docs/faults/{}.md", f.code));
    }
}

pub(crate) async fn drift(g: &Global, org: Option<&OrgId>, env: &EnvId) -> Done {
    let site = Site::load(g, env)?;
    if let Some(org) = org {
        site.config().organization(env, org).ok_or_else(|| super::org::unknown(org, env))?;
    }
    let engine = Engine::new(site.temporal().await?);
    let report = engine.find_drift(&site.environment().scope().main_queue(), env, org).await?;
    match g.output {
        Format::Json => output::json(&report),
        Format::Text => compared(&report),
    }
    Ok(match (report.fault(), report.pending()) {
        (Some(_), _) => Code::NotWell,
        (None, true) => Code::Changes,
        (None, false) => Code::Ok,
    })
}

fn compared(r: &DriftReport) {
    for d in &r.differences {
        output::line(&format!("{}: {}", d.kind, d.place()));
        for (what, v) in values(d) {
            output::line(&format!("  {what:<8} {}", v.as_ref().map_or("nothing".into(), text)));
        }
    }
    for n in &r.not_compared {
        output::line(&format!("not compared: {} ({}): {}", n.resource, n.resource_type, n.why));
    }
    let past = r.drifted().count();
    let ahead = r.differences.len() - past;
    output::line(&format!(
        "stack {}: {} settings compared, {past} changed outside leadline, {ahead} planned and not applied",
        r.stack, r.compared
    ));
    if past > 0 {
        let (plan, apply) = commands(r);
        output::line("what was changed outside leadline is put back by nobody but you; see docs/faults/drift.found.md");
        output::line(&format!("  it stays: change the files, then  {plan}  and  {apply}"));
        output::line(&format!(
            "  it goes:  {plan} --repair  shows it,  {apply} --repair  puts it back,  {}  looks again",
            again(r)
        ));
    } else if ahead > 0 {
        let (plan, apply) = commands(r);
        output::line(&format!("  {plan}  shows the plan,  {apply}  applies it"));
    }
}

fn values(d: &Difference) -> [(&'static str, &Option<Value>); 3] {
    [("planned", &d.planned), ("applied", &d.applied), ("live", &d.live)]
}

fn text(v: &Value) -> String {
    v.as_str().map_or_else(|| v.to_string(), str::to_owned)
}

fn commands(r: &DriftReport) -> (String, String) {
    let env = &r.env;
    match &r.org {
        Some(o) => (format!("leadline org plan {o} --env {env}"), format!("leadline org onboard {o} --env {env}")),
        None => (format!("leadline env plan --env {env}"), format!("leadline env apply --env {env}")),
    }
}

fn again(r: &DriftReport) -> String {
    match &r.org {
        Some(o) => format!("leadline org drift {o} --env {}", r.env),
        None => format!("leadline env drift {}", r.env),
    }
}
