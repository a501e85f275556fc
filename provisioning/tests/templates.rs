//! Templates of the repository's own environments and organizations, as committed.

mod common;

use leadline_provisioning::template;

#[test]
fn templates_are_committed() {
    let config = common::config();
    for (id, env) in config.environments() {
        let golden = |name: String, t: &serde_json::Value| {
            let text = template::text(t);
            assert!(text.len() <= template::MAX_BYTES, "{name}");
            common::golden(&common::golden_dir().join(name), &text);
        };
        golden(format!("{id}.json"), &template::environment(env));
        for org in config.organizations(id) {
            let scope = org.scope(env).unwrap();
            golden(format!("{id}.{}.json", org.id), &template::organization(env, &scope, org));
        }
    }
}
