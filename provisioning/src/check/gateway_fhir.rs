//! FHIR: an EHR from which something can be pulled, and not in clear.

use super::finding::{Findings, Severity::Error};
use super::gateway_http::loopback;
use super::{Folder, Placed, key_in};

const BASE_URL: &str = "gateway.fhir.base_url";

pub(super) fn check(folder: &Folder, placed: &Placed, findings: &mut Findings) {
    for (env, orgs) in placed {
        for org in orgs.values() {
            let Some(fhir) = &org.gateway.fhir else { continue };
            let Some(base) = &fhir.base_url else { continue };
            let Some(r) = folder.organizations.iter().find(|r| r.value.id == org.id) else { continue };
            let mut wrong = |message: String, help: &str| {
                findings.at(Error, &r.parsed, &key_in(r, env, BASE_URL), message, help);
            };
            if base.starts_with("http://") && !loopback(base) {
                let message = format!("{base} is in clear: patients' data would be seen on the way");
                wrong(message, "https; plain http is for a loopback address");
            }
            if fhir.client_id.is_none() {
                wrong("nothing can be pulled without a client id".into(), "add client_id, as registered at the EHR");
            }
        }
    }
}
