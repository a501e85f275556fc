//! Where canaries of an organization go in besides its shares, and what stands in the way.

use crate::config::{Canary, Environment, Organization};
use leadline_domain::{IngressEndpoint, IngressEndpoints};
use std::net::SocketAddr;

/// The ways in that an organization's file opens in an environment. Each that canaries cannot take says why, and what to
/// do: it must not look as if it had been tried.
#[must_use]
pub fn ingress_endpoints(e: &Environment, o: &Organization) -> IngressEndpoints {
    let (env, org) = (&e.id, &o.id);
    let canary = e.gateway.canary.as_ref();
    let beginning =
        canary.and_then(|c| c.credentials_secret.clone()).unwrap_or_else(|| format!("leadline/{env}/canary"));
    let mut out = IngressEndpoints {
        credentials: format!("{beginning}/{org}"),
        issuer: e.gateway.http.as_ref().map(|h| h.oidc.issuer.clone()).unwrap_or_default(),
        scope: canary.and_then(|c| c.scope.clone()),
        ca_file: canary.and_then(|c| c.ca_file.clone()),
        ..IngressEndpoints::default()
    };
    let mut put = |path: &str, endpoint: &dyn Fn(&Canary) -> Result<IngressEndpoint, String>| {
        let endpoint = match canary {
            _ if !e.synthetic_only => {
                Err(format!("{env} holds patients' recordings: made-up ones do not belong there"))
            }
            None => Err(format!(
                "add [gateway.canary] to {env}.toml, and `leadline canary {org} --env {env} --credentials FILE`"
            )),
            Some(c) => endpoint(c),
        };
        out.open.insert(path.to_owned(), endpoint);
    };
    let unserved = |table: &str| {
        format!(
            "{org}.toml opens it and {env} does not serve it: add [gateway.{table}] to {env}.toml, or close it there"
        )
    };
    let no_address = |key: &str| format!("say in {env}.toml where it is: [gateway.canary] {key} = \"HOST:PORT\"");
    let http = || e.gateway.http.as_ref().map(|h| h.public_url.clone()).ok_or_else(|| unserved("http"));
    let g = &o.gateway;
    if g.uploads.is_some() {
        put("web", &|_| Ok(IngressEndpoint::Web { url: http()? }));
    }
    if g.fhir.is_some() {
        put("fhir", &|_| Ok(IngressEndpoint::Fhir { url: http()? }));
    }
    if let Some(hl7) = &g.hl7 {
        put("hl7v2", &|c| {
            let mllp = e.gateway.mllp.as_ref().ok_or_else(|| unserved("mllp"))?;
            let plain = mllp.plain.get(org).cloned();
            let ours = mllp.listen.as_deref().and_then(here);
            let (address, tls) = match (c.mllp.clone(), plain, ours) {
                (Some(address), ..) | (None, None, Some(address)) => (address, true),
                (None, Some(address), _) => (address, false),
                (None, None, None) => return Err(no_address("mllp")),
            };
            // One that says it is no production, if such are taken.
            let modes = ["T", "D", "P"].into_iter().find(|m| hl7.processing_ids.contains(*m));
            let processing_id = modes.ok_or_else(|| format!("{org}.toml takes no processing id"))?.to_owned();
            Ok(IngressEndpoint::Hl7v2 { address, tls, processing_id })
        });
    }
    if let Some(dicom) = &g.dicom {
        put("dicom/c-store", &|c| {
            let listener = e.gateway.dicom.as_ref().ok_or_else(|| unserved("dicom"))?;
            let address = c.dicom.clone().or_else(|| here(&listener.listen)).ok_or_else(|| no_address("dicom"))?;
            Ok(IngressEndpoint::Store {
                address,
                tls: listener.tls.is_some(),
                called: dicom.called_ae_title.clone(),
                calling: dicom.calling_ae_titles.clone(),
                certificates: dicom.client_certificates.clone(),
            })
        });
        // Without HTTP there is no STOW-RS, and C-STORE is a way of its own.
        if e.gateway.http.is_some() {
            put("dicom/stow", &|_| Ok(IngressEndpoint::Stow { url: http()? }));
        }
    }
    out
}

/// An address that is bound on this machine only, and so is where to send as well.
fn here(listen: &str) -> Option<String> {
    listen.parse::<SocketAddr>().is_ok_and(|a| a.ip().is_loopback()).then(|| listen.to_owned())
}
