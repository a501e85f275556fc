//! Pure planner: environment and organization files to CloudFormation templates and plans.
//!
//! [`load`] reads a folder, [`check`](mod@check) finds everything that is wrong with it, [`template`] makes
//! CloudFormation templates, [`policy`] holds them to our own rules, [`plan`] compares them with what is there.

pub mod check;
pub mod config;
mod env_diff;
mod ingress_endpoints;
mod json;
mod load;
pub mod plan;
pub mod policy;
mod render;
pub mod schema;
pub mod template;

pub use check::{Finding, Severity, SourceFile, check};
pub use config::Config;
pub use env_diff::{KeyDiff, env_diff};
pub use ingress_endpoints::ingress_endpoints;
pub use load::{load, read_files};
pub use plan::{CurrentStack, Plan, Refusal, inputs, plan_backup, plan_env, plan_opening, plan_org};
pub use render::{Rendered, render};
