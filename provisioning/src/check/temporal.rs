//! Where Temporal is: over what it is reached, in which region, and whose namespace is meant.

use super::Read;
use super::environments::loopback;
use super::finding::{Findings, Severity::Error};
use crate::config::{Environment, Jurisdictions, Temporal};

pub(super) fn check(r: &Read<Environment>, table: &Jurisdictions, findings: &mut Findings) {
    let t = &r.value.temporal;
    let (host, _) = place(&t.address);
    if t.tls.is_none() && !loopback(&host) {
        findings.at(
            Error,
            &r.parsed,
            "temporal.address",
            "Temporal is reached over a network without TLS",
            "add [temporal.tls]; plain text is for loopback addresses",
        );
    }
    if t.api_key_secret.is_some() && t.tls.is_none() {
        findings.at(Error, &r.parsed, "temporal.api_key_secret", "an API key needs TLS", "add [temporal.tls]");
    }
    let Some(region) = region(&host).filter(|_| r.value.bound_by_residency()) else { return };
    for j in r.value.jurisdictions.iter().filter(|j| table.knows(j) && !table.allows(j, region)) {
        findings.at(
            Error,
            &r.parsed,
            "temporal.address",
            format!("region {region} of Temporal Cloud is outside of jurisdiction {j}: histories are kept there"),
            format!("{j} allows {}; or take {j} out of jurisdictions", table.regions(j).join(", ")),
        );
    }
}

/// What tells one namespace from another, however its address is written. Temporal Cloud's names hold the account, so there is
/// one of each name in the world, whichever of its addresses leads there.
pub(super) fn namespace(t: &Temporal) -> String {
    let (host, port) = place(&t.address);
    if cloud(&host) {
        format!("{} in Temporal Cloud", t.namespace)
    } else {
        format!("{} at {host}:{port}", t.namespace)
    }
}

/// Host and port; names in lower case, without the dot that says that a name is complete.
fn place(address: &str) -> (String, &str) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    (host.trim_end_matches('.').to_ascii_lowercase(), port)
}

fn cloud(host: &str) -> bool {
    [".tmprl.cloud", ".api.temporal.io"].iter().any(|end| host.ends_with(end))
}

/// The region that an address of Temporal Cloud names: `us-east-1.aws.api.temporal.io`, `aws-us-east-1.region.tmprl.cloud`. An
/// address that is a namespace's own names none.
fn region(host: &str) -> Option<&str> {
    let regional = host.strip_suffix(".api.temporal.io").and_then(|h| h.split_once('.')).map(|(region, _)| region);
    regional
        .or_else(|| host.strip_suffix(".region.tmprl.cloud").and_then(|h| h.split_once('-')).map(|(_, region)| region))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_is_read_from_addresses_that_have_one() {
        for (host, expected) in [
            ("us-east-1.aws.api.temporal.io", Some("us-east-1")),
            ("europe-west2.gcp.api.temporal.io", Some("europe-west2")),
            ("aws-eu-west-2.region.tmprl.cloud", Some("eu-west-2")),
            ("leadline-uk.a1b2c.tmprl.cloud", None),
            ("api.temporal.io", None),
            ("us-east-1.aws.api.temporal.io.example.org", None),
            ("127.0.0.1", None),
        ] {
            assert_eq!(region(host), expected, "{host}");
        }
    }

    #[test]
    fn one_namespace_is_one_however_it_is_written() {
        let of = |namespace: &str, address: &str| {
            let (namespace, address) = (namespace.to_owned(), address.to_owned());
            super::namespace(&Temporal {
                address,
                namespace,
                tls: None,
                api_key_secret: None,
                payload_keys_secret: None,
            })
        };
        let cloud = of("a.b1", "a.b1.tmprl.cloud:7233");
        for same in ["A.B1.tmprl.cloud:7233", "a.b1.tmprl.cloud.:443", "us-east-1.aws.api.temporal.io:7233"] {
            assert_eq!(of("a.b1", same), cloud, "{same}");
        }
        assert_ne!(of("c.b1", "a.b1.tmprl.cloud:7233"), cloud);
        assert_eq!(of("a", "T.example.org.:7233"), of("a", "t.example.org:7233"));
        assert_ne!(of("a", "t.example.org:7233"), of("a", "t.example.org:7234"), "another server");
    }
}
