//! What follows from an organization's file, by example.

mod common;

use common::with;
use leadline_domain::{EnvId, OrgId};
use leadline_provisioning::check;

/// Other encodings are looked for where they can be expected: with more than one way in, or where the file says so.
#[test]
fn encodings_are_linked_where_more_than_one_way_in_is_open() {
    let links = |head: &str, ways: &str| {
        let text = (format!("jurisdiction = \"us\"\n{head}"), format!("{ways}\n[limits]"));
        let mut files = with("orgs/st-mary.toml", "jurisdiction = \"us\"", &text.0);
        let file = files.iter_mut().find(|f| f.path == "orgs/st-mary.toml").unwrap();
        file.text = file.text.replace("[limits]", &text.1);
        let (config, found) = check(&files);
        let config = config.unwrap_or_else(|| panic!("{found:#?}"));
        let org = config.organization(&EnvId::parse("us").unwrap(), &OrgId::parse("st-mary").unwrap()).unwrap();
        let alone = leadline_provisioning::config::Organization { shares: Default::default(), ..org.clone() };
        (org.links_encodings(), alone.links_encodings())
    };
    // With its shares, and without them.
    assert_eq!(links("", ""), (false, false));
    assert_eq!(links("", "[gateway.dicom]\ncalled_ae_title = \"MARY\""), (true, false));
    assert_eq!(links("", "[gateway.uploads]\n[gateway.fhir]"), (true, true));
    assert_eq!(links("link_encodings = true", ""), (true, true));
    assert_eq!(links("link_encodings = false", "[gateway.uploads]\n[gateway.hl7]"), (false, false));
}
