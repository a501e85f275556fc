//! What was changed past us, put back: only what the approved plan names, to what its template says.

use crate::deps::Deps;
use crate::ports::checks::Physical;
use leadline_domain::drift::Difference;
use leadline_domain::{Fault, FaultCode};
use leadline_provisioning::plan::{Names, compare, compares, wanted};
use leadline_workflows::contracts::StackPlan;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// IAM and S3 give back what was before for a moment after a change.
const SETTLES: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(500);

/// Writes what differs, and looks until nothing does. Returns the resources, in the order of the plan. The caller holds
/// the approval.
pub(crate) async fn restore(deps: &Deps, plan: &StackPlan) -> Result<Vec<String>, Fault> {
    let template: Value = serde_json::from_str(&plan.template)
        .map_err(|_| Fault::new(FaultCode::StackPlanMismatch, "the template of the plan is not JSON"))?;
    let resources = deps.settings.resources(&plan.stack).await?;
    let env = deps.registry.env();
    let physical = resources.iter().map(|(id, r)| (id.clone(), (r.resource_type.clone(), r.id.clone()))).collect();
    let names = Names::new(env.account(), env.region(), physical);
    for id in &plan.repairs {
        let there = resources.get(id).filter(|r| compares(&r.resource_type));
        let there = there.ok_or_else(|| {
            Fault::new(FaultCode::DriftFound, format!("{id} of stack {} is gone, or is not written", plan.stack))
        })?;
        put_back(deps, &template, id, there, &names).await?;
    }
    let deadline = tokio::time::Instant::now() + SETTLES;
    loop {
        let mut left = Vec::new();
        for (id, r) in plan.repairs.iter().filter_map(|id| resources.get_key_value(id)) {
            left.extend(differences(deps, &template, id, r, &names).await?);
        }
        if left.is_empty() {
            return Ok(plan.repairs.iter().map(|id| named(id, &names)).collect());
        }
        if tokio::time::Instant::now() > deadline {
            let places: Vec<String> = left.iter().map(Difference::place).collect();
            return Err(Fault::new(FaultCode::DriftFound, format!("written, and not so: {}", places.join("; "))));
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn put_back(deps: &Deps, template: &Value, id: &str, r: &Physical, names: &Names) -> Result<(), Fault> {
    let differ = differences(deps, template, id, r, names).await?;
    if let Some(gone) = differ.iter().find(|d| d.setting.is_empty()) {
        return Err(Fault::new(FaultCode::DriftFound, format!("{} is gone: it cannot be put back", gone.place())));
    }
    let wanted = wanted(template, id, names).unwrap_or_default();
    let settings: BTreeSet<&str> = differ.iter().filter_map(|d| d.setting.split('.').next()).collect();
    for setting in settings {
        tracing::warn!(resource = id, setting, "putting back what was changed past us");
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
