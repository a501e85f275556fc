//! JSON Schemas of what people write, for editors and for the checker: one source for both.

use crate::config::{Environment, Jurisdictions, OrganizationFile, Promotion};
use schemars::JsonSchema;
use serde_json::Value;

/// The schema of a type.
#[must_use]
pub fn of<T: JsonSchema>() -> Value {
    schemars::schema_for!(T).to_value()
}

/// Every schema by the name of its file in `environments/schema/`.
#[must_use]
pub fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("environment.schema.json", of::<Environment>()),
        ("organization.schema.json", of::<OrganizationFile>()),
        ("jurisdictions.schema.json", of::<Jurisdictions>()),
        ("promotion.schema.json", of::<Promotion>()),
    ]
}

/// The text of a schema's file.
#[must_use]
pub fn text(schema: &Value) -> String {
    crate::json::pretty(schema)
}
