//! Pure planner: environment and organization files to CloudFormation templates and plans.
//!
//! [`load`] reads a folder, [`check`](mod@check) finds everything that is wrong with it, [`template`] makes CloudFormation
//! templates, [`policy`] holds them to our own rules, [`plan`] compares them with what is there.

pub mod check;
pub mod config;
mod json;
mod load;
pub mod schema;
pub mod template;

pub use check::{Finding, Severity, SourceFile, check};
pub use config::Config;
pub use load::{load, read_files};
