//! The committed schemas are those of the types.

mod common;

#[test]
fn schemas_are_committed() {
    for (name, schema) in leadline_provisioning::schema::all() {
        let path = common::environments().join("schema").join(name);
        common::golden(&path, &leadline_provisioning::schema::text(&schema));
    }
}
