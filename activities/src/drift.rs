//! Looking for drift: plan, last applied template, live settings.

use crate::deps::Deps;
use crate::ports::checks::Planned;
use leadline_domain::drift::{Difference, DriftKind, NotCompared};
use leadline_domain::{DriftReport, Fault, FaultCode, OrgId};
use leadline_provisioning::plan::{Names, compare, compares, noticed};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Compares everything of an organization's stack, or of the environment's, that can be compared.
///
/// # Errors
/// `stack.*`; `stack.missing` if there is none; `config.*`.
pub async fn find(deps: &Deps, org: Option<&OrgId>) -> Result<DriftReport, Fault> {
    let stack = match org {
        Some(o) => deps.registry.scope(o)?.stack(),
        None => deps.registry.env().stack(),
    };
    look(deps, org, stack, &deps.plans.planned(org)?).await
}

/// The same with all stacks that there are: an environment has one of the copies besides, in their region. Where it is, its
/// resources are told by names of their own.
///
/// # Errors
/// As [`find`].
pub async fn find_all(deps: &Deps, org: Option<&OrgId>) -> Result<DriftReport, Fault> {
    let mut all = find(deps, org).await?;
    if org.is_none()
        && let Some(planned) = deps.plans.copies()?
    {
        let copies = look(deps, None, deps.registry.env().backup_stack(), &planned).await?;
        all.compared += copies.compared;
        all.differences.extend(copies.differences);
        all.not_compared.extend(copies.not_compared);
    }
    Ok(all)
}

async fn look(deps: &Deps, org: Option<&OrgId>, stack: String, planned: &Planned) -> Result<DriftReport, Fault> {
    let env = deps.registry.env();
    let settings = deps.settings.of(&stack);
    let gone = || Fault::new(FaultCode::StackMissing, format!("there is no stack {stack}"));
    let state = deps.stacks.describe(&stack).await?.ok_or_else(gone)?;
    let applied = deps.stacks.template(&stack).await?.ok_or_else(gone)?;
    let applied: Value = serde_json::from_str(&applied)
        .map_err(|_| Fault::new(FaultCode::StackFailed, format!("the template of {stack} was not made by leadline")))?;
    let resources = settings.resources(&stack).await?;
    let names = Names::new(
        env.account(),
        &planned.region,
        resources.iter().map(|(id, r)| (id.clone(), (r.resource_type.clone(), r.id.clone()))).collect(),
    );
    let mut live = BTreeMap::new();
    let mut not_compared = Vec::new();
    for (id, r) in &resources {
        if compares(&r.resource_type) {
            live.insert(id.clone(), settings.read(r).await?);
        } else if let Some(why) = leadline_provisioning::plan::why_not(&r.resource_type) {
            let resource_type = r.resource_type.clone();
            not_compared.push(NotCompared { resource: id.clone(), resource_type, why: why.to_owned() });
        }
    }
    let noticed: Vec<String> =
        resources.iter().filter(|(_, r)| noticed(&r.resource_type)).map(|(id, _)| id.clone()).collect();
    let missing = settings.missing(&stack, &noticed).await?;
    let mut found = compare(&planned.template, &applied, &live, &names);
    found.differences.extend(missing.into_iter().map(|id| vanished(id, &planned.template, &applied, &names)));
    tags(&stack, &planned.tags, &state.tags, &mut found.differences);
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
fn tags(stack: &str, planned: &BTreeMap<String, String>, live: &BTreeMap<String, String>, out: &mut Vec<Difference>) {
    if planned != live {
        out.push(Difference {
            resource: String::new(),
            resource_type: "stack".into(),
            name: stack.to_owned(),
            setting: "tags".into(),
            kind: DriftKind::Pending,
            planned: Some(json!(planned)),
            applied: Some(json!(live)),
            live: Some(json!(live)),
        });
    }
}
