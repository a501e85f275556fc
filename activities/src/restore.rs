//! What was changed outside leadline, put back, and what is gone made again: only what the approved plan names, to what its
//! template says.

use crate::deps::Deps;
use crate::ports::checks::Physical;
use crate::provision::part_way;
use leadline_domain::drift::Difference;
use leadline_domain::gates::Approval;
use leadline_domain::{Fault, FaultCode};
use leadline_provisioning::plan::{Names, compare, compares, gone_with, wanted, without};
use leadline_workflows::contracts::StackPlan;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// IAM and S3 give back what was before for a moment after a change.
const SETTLES: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(500);

/// Writes what differs, and looks until nothing does. Returns the resources, in the order of the plan.
pub(crate) async fn restore(deps: &Deps, plan: &StackPlan, approval: &Approval) -> Result<Vec<String>, Fault> {
    let template: Value = serde_json::from_str(&plan.template)
        .map_err(|_| Fault::new(FaultCode::StackPlanMismatch, "the template of the plan is not JSON"))?;
    remake(deps, plan, approval, &template).await?;
    let resources = deps.settings.resources(&plan.stack).await?;
    let env = deps.registry.env();
    let physical = resources.iter().map(|(id, r)| (id.clone(), (r.resource_type.clone(), r.id.clone()))).collect();
    let names = Names::new(env.account(), env.region(), physical);
    // What is made again has the settings of its own type; those that belong to other types are written.
    let again = plan.remakes.iter().filter(|id| resources.get(*id).is_some_and(|r| compares(&r.resource_type)));
    let all: Vec<&String> = plan.repairs.iter().chain(again).collect();
    for id in &all {
        let id = *id;
        let there = resources.get(id).filter(|r| compares(&r.resource_type));
        let there = there.ok_or_else(|| {
            Fault::new(FaultCode::DriftFound, format!("{id} of stack {} is gone, or is not written", plan.stack))
        })?;
        put_back(deps, &template, id, there, &names).await?;
    }
    let deadline = tokio::time::Instant::now() + SETTLES;
    loop {
        let mut left = Vec::new();
        for (id, r) in all.iter().filter_map(|id| resources.get_key_value(id.as_str())) {
            left.extend(differences(deps, &template, id, r, &names).await?);
        }
        if left.is_empty() {
            let again = plan.remakes.iter().map(|id| format!("{}, made again", named(id, &names)));
            return Ok(plan.repairs.iter().map(|id| named(id, &names)).chain(again).collect());
        }
        if tokio::time::Instant::now() > deadline {
            let places: Vec<String> = left.iter().map(Difference::place).collect();
            return Err(Fault::new(FaultCode::DriftFound, format!("written, and not so: {}", places.join("; "))));
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// CloudFormation makes nothing that it believes to be there: the stack lets go of what is gone, and is given the whole
/// template again. Cut off in between, the second half is done by the repeat, or shown by the next plan.
async fn remake(deps: &Deps, plan: &StackPlan, approval: &Approval, template: &Value) -> Result<(), Fault> {
    if plan.remakes.is_empty() {
        return Ok(());
    }
    let resources = deps.settings.resources(&plan.stack).await?;
    let mut gone = Vec::new();
    for id in &plan.remakes {
        let Some(r) = resources.get(id) else { continue };
        let there = if compares(&r.resource_type) {
            deps.settings.read(r).await?.is_some()
        } else {
            !deps.settings.missing(&plan.stack, std::slice::from_ref(id)).await?.contains(id)
        };
        if !there {
            gone.push(id.clone());
        }
    }
    if !gone.is_empty() {
        let env = deps.registry.env();
        let physical = resources.iter().map(|(id, r)| (id.clone(), (r.resource_type.clone(), r.id.clone()))).collect();
        let names = Names::new(env.account(), env.region(), physical);
        gone.extend(gone_with(template, &gone).into_iter().filter(|id| resources.contains_key(id)));
        let without = without(template, &gone, &names).map_err(|open| {
            let detail = format!("{} refer to what is gone in a way that is not known", open.join(", "));
            Fault::new(FaultCode::DriftFound, detail)
        })?;
        tracing::warn!(stack = plan.stack, ?gone, "letting go of what is gone");
        part_way(deps, plan, approval, "without", &without.to_string(), &gone).await?;
    }
    if !gone.is_empty() || plan.remakes.iter().any(|id| !resources.contains_key(id)) {
        part_way(deps, plan, approval, "again", &plan.template, &[]).await?;
    }
    Ok(())
}

async fn put_back(deps: &Deps, template: &Value, id: &str, r: &Physical, names: &Names) -> Result<(), Fault> {
    let differ = differences(deps, template, id, r, names).await?;
    if let Some(gone) = differ.iter().find(|d| d.setting.is_empty()) {
        return Err(Fault::new(
            FaultCode::DriftFound,
            format!("{} is gone since the plan was made: plan again", gone.place()),
        ));
    }
    let wanted = wanted(template, id, names).unwrap_or_default();
    let settings: BTreeSet<&str> = differ.iter().filter_map(|d| d.setting.split('.').next()).collect();
    // S3 takes a lock of objects for a bucket with versions only.
    let (first, then): (Vec<_>, Vec<_>) = settings.into_iter().partition(|s| *s == "versioning");
    for setting in first.into_iter().chain(then) {
        tracing::warn!(resource = id, setting, "putting back what was changed outside leadline");
        deps.settings.write(r, setting, &wanted[setting]).await?;
    }
    Ok(())
}

/// Where a resource is not as the template says.
async fn differences(
    deps: &Deps,
    template: &Value,
    id: &str,
    r: &Physical,
    names: &Names,
) -> Result<Vec<Difference>, Fault> {
    let live = BTreeMap::from([(id.to_owned(), deps.settings.read(r).await?)]);
    let found = compare(template, template, &live, names);
    Ok(found.differences.into_iter().filter(|d| d.resource == id).collect())
}

fn named(id: &str, names: &Names) -> String {
    names.id(id).map_or_else(|| id.to_owned(), |name| format!("{id} ({name})"))
}
