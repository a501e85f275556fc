//! Looking for drift: plan, last applied template, live settings.

use crate::deps::Deps;
use leadline_domain::drift::{Difference, DriftKind, NotCompared};
use leadline_domain::{DriftReport, Fault, FaultCode, OrgId};
use leadline_provisioning::plan::{Names, compare, compares, noticed};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Compares everything of a stack that can be compared.
///
/// # Errors
/// `stack.*`; `stack.missing` if there is none; `config.*`.
pub async fn find(deps: &Deps, org: Option<&OrgId>) -> Result<DriftReport, Fault> {
    let env = deps.registry.env();
    let stack = match org {
        Some(o) => deps.registry.scope(o)?.stack(),
        None => env.stack(),
    };
    let planned = deps.plans.planned(org)?;
    let gone = || Fault::new(FaultCode::StackMissing, format!("there is no stack {stack}"));
    let state = deps.stacks.describe(&stack).await?.ok_or_else(gone)?;
    let applied = deps.stacks.template(&stack).await?.ok_or_else(gone)?;
    let applied: Value = serde_json::from_str(&applied)
        .map_err(|_| Fault::new(FaultCode::StackFailed, format!("the template of {stack} was not made by leadline")))?;
    let resources = deps.settings.resources(&stack).await?;
    let names = Names::new(
        env.account(),
        env.region(),
        resources.iter().map(|(id, r)| (id.clone(), (r.resource_type.clone(), r.id.clone()))).collect(),
    );
    let mut live = BTreeMap::new();
    let mut not_compared = Vec::new();
    for (id, r) in &resources {
        if compares(&r.resource_type) {
            live.insert(id.clone(), deps.settings.read(r).await?);
        } else if let Some(why) = leadline_provisioning::plan::why_not(&r.resource_type) {
            let resource_type = r.resource_type.clone();
            not_compared.push(NotCompared { resource: id.clone(), resource_type, why: why.to_owned() });
        }
    }
    let noticed: Vec<String> =
        resources.iter().filter(|(_, r)| noticed(&r.resource_type)).map(|(id, _)| id.clone()).collect();
    let missing = deps.settings.missing(&stack, &noticed).await?;
    let mut found = compare(&planned.template, &applied, &live, &names);
    found.differences.extend(missing.into_iter().map(|id| vanished(id, &planned.template, &applied, &names)));
    tags(&planned.tags, &state.tags, &mut found.differences);
    not_compared.extend(found.not_compared);
    Ok(DriftReport {
        env: env.env().clone(),
        org: org.cloned(),
        stack,
        compared: found.compared,
        differences: found.differences,
        not_compared,
    })
}

/// A resource that is not compared, and is not there any more.
fn vanished(id: String, planned: &Value, applied: &Value, names: &Names) -> Difference {
    let of = |t: &Value| t["Resources"].get(&id).map(|r| r["Properties"].clone());
    let (planned, applied_as) = (of(planned), of(applied));
    let resource_type = applied["Resources"][&id]["Type"].as_str().unwrap_or_default().to_owned();
    let kind = match &planned {
        None => DriftKind::AlreadyAsPlanned,
        p if *p == applied_as => DriftKind::Drifted,
        Some(_) => DriftKind::Conflict,
    };
    let name = names.id(&id).unwrap_or_default().to_owned();
    Difference {
        resource: id,
        resource_type,
        name,
        setting: String::new(),
        kind,
        planned,
        applied: applied_as,
        live: None,
    }
}

/// CloudFormation has the stack's tags once only: what it has is what was applied.
fn tags(planned: &BTreeMap<String, String>, live: &BTreeMap<String, String>, out: &mut Vec<Difference>) {
    if planned != live {
        out.push(Difference {
            resource: String::new(),
            resource_type: "stack".into(),
            name: String::new(),
            setting: "tags".into(),
            kind: DriftKind::Pending,
            planned: Some(json!(planned)),
            applied: Some(json!(live)),
            live: Some(json!(live)),
        });
    }
}
