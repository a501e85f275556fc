//! Every template there is, held to our rules without asking AWS: what the checker of the files cannot see.

use crate::check::{Finding, Severity};
use crate::config::Config;
use crate::plan::{Plan, Refusal, plan_backup, plan_env, plan_org};
use crate::policy::Rule;

/// What rendering everything found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rendered {
    /// Templates that were made.
    pub templates: usize,
    /// What is wrong with them, by file.
    pub findings: Vec<Finding>,
}

/// Plans every stack of a configuration as if there were none yet.
#[must_use]
pub fn render(config: &Config) -> Rendered {
    let mut out = Rendered::default();
    for (id, env) in config.environments() {
        let file = format!("{id}.toml");
        out.take(&file, &env.scope().stack(), plan_env(config, env, None, &[]));
        if let Some(plan) = plan_backup(config, env, None, &[]) {
            out.take(&file, &env.scope().backup_stack(), plan);
        }
        for org in config.organizations(id) {
            let stack = format!("of {} in {id}", org.id);
            out.take(&format!("orgs/{}.toml", org.id), &stack, plan_org(config, env, org, None, &[]));
        }
    }
    out
}

impl Rendered {
    fn take(&mut self, file: &str, stack: &str, plan: Result<Plan, Refusal>) {
        self.templates += 1;
        let mut add = |message: String, help: &str| {
            self.findings.push(Finding {
                file: file.to_owned(),
                line: None,
                key: String::new(),
                severity: Severity::Error,
                message: format!("stack {stack}: {message}"),
                help: help.to_owned(),
            });
        };
        match plan {
            Ok(_) => {}
            Err(Refusal::Policy(violations)) => {
                for v in violations {
                    add(v.to_string(), help(v.rule));
                }
            }
            Err(other) => add(other.to_string(), "see docs/PROVISIONING.md"),
        }
    }
}

fn help(rule: Rule) -> &'static str {
    match rule {
        Rule::Size => "place some of the shares in a second organization",
        Rule::Residency | Rule::Region => "region, account and jurisdictions have to fit together",
        _ => "no file can ask for this: report it, with the file",
    }
}
