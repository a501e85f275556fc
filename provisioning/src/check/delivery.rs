//! What must hold for delivery through CloudFront.

use super::Read;
use super::finding::{Findings, Severity::Error, Severity::Warning};
use crate::config::{Environment, Jurisdictions};

pub(crate) fn check(r: &Read<Environment>, table: &Jurisdictions, findings: &mut Findings) {
    let (e, parsed) = (&r.value, &r.parsed);
    let Some(cdn) = &e.cdn else { return };
    if e.bound_by_residency() {
        for j in e.jurisdictions.iter().filter(|j| table.knows(j)) {
            let may = table.countries(j);
            for c in cdn.countries.iter().filter(|c| !may.contains(c)) {
                let help = match may {
                    [] => format!("{j} names no countries in jurisdictions.toml: nothing of it may be delivered"),
                    may => format!("{j} allows {}", may.join(", ")),
                };
                let message = format!("recordings of jurisdiction {j} may not be delivered to {c}");
                findings.at(Error, parsed, "cdn.countries", message, help);
            }
        }
    }
    match (&cdn.domain, &cdn.certificate) {
        (Some(_), None) => {
            let help = "a certificate of ACM in us-east-1, where CloudFront looks for it";
            findings.at(Error, parsed, "cdn.certificate", "a host name of its own needs a certificate", help);
        }
        (None, Some(_)) => {
            findings.at(Error, parsed, "cdn.domain", "a certificate without its host name", "add domain");
        }
        (Some(_), Some(c)) if c.split(':').nth(4) != Some(e.account.as_str()) => {
            let help = format!("a certificate of account {}", e.account);
            findings.at(Error, parsed, "cdn.certificate", "the certificate is of another account", help);
        }
        (None, None) if e.production => {
            let help = "domain and certificate of its own: then TLS 1.2 is the oldest that is taken";
            findings.at(Warning, parsed, "cdn.domain", "CloudFront's own host name takes TLS 1.0 as well", help);
        }
        _ => {}
    }
}
