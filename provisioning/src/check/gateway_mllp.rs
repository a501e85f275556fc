//! HL7 v2 over MLLP: whose a sender is must never be a question, and nothing crosses a network in clear.

use super::finding::{Findings, Severity::Error, Severity::Warning};
use super::{Folder, Placed, Read};
use crate::config::{Environment, OrgHl7, OrganizationFile};
use leadline_domain::OrgId;
use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};

const CERTIFICATES: &str = "gateway.hl7.client_certificates";

pub(super) fn check(folder: &Folder, placed: &Placed, findings: &mut Findings) {
    for e in &folder.environments {
        listener(e, findings);
        let orgs = placed.get(&e.value.id).into_iter().flatten();
        let senders: BTreeMap<&OrgId, &OrgHl7> =
            orgs.filter_map(|(id, o)| Some((id, o.gateway.hl7.as_ref()?))).collect();
        reachable(folder, e, &senders, findings);
        certificates(folder, e, &senders, findings);
    }
    for r in &folder.organizations {
        hosts(r, findings);
    }
}

fn listener(e: &Read<Environment>, findings: &mut Findings) {
    let Some(mllp) = &e.value.gateway.mllp else { return };
    let mut wrong = |key: &str, message: &str, help: &str| findings.at(Error, &e.parsed, key, message, help);
    if mllp.listen.as_ref().is_some_and(|a| a.parse::<SocketAddr>().is_err()) {
        wrong("gateway.mllp.listen", "is no address and port", "e.g. 0.0.0.0:2575");
    }
    if mllp.listen.is_some() && mllp.tls.is_none() {
        let help = "add [gateway.mllp.tls]; without TLS only loopback addresses, in [gateway.mllp.plain]";
        wrong("gateway.mllp.listen", "messages would come in clear, from nobody knows whom", help);
    }
    if mllp.listen.is_none() && mllp.plain.is_empty() {
        wrong("gateway.mllp", "listens nowhere", "add listen with [gateway.mllp.tls], or take [gateway.mllp] out");
    }
    for (org, address) in &mllp.plain {
        let key = format!("gateway.mllp.plain.{org}");
        match address.parse::<SocketAddr>() {
            Ok(a) if a.ip().is_loopback() => {}
            Ok(_) => wrong(&key, "is not a loopback address", "127.0.0.1:PORT; from elsewhere with TLS only"),
            Err(_) => wrong(&key, "is no address and port", "e.g. 127.0.0.1:2575"),
        }
    }
}

/// Senders without a way in, and ways in without senders.
fn reachable(folder: &Folder, e: &Read<Environment>, senders: &BTreeMap<&OrgId, &OrgHl7>, findings: &mut Findings) {
    let env = &e.value.id;
    let mllp = e.value.gateway.mllp.as_ref();
    for (org, hl7) in senders {
        let plain = mllp.is_some_and(|m| m.plain.contains_key(*org));
        let tls = mllp.is_some_and(|m| m.listen.is_some()) && !hl7.client_certificates.is_empty();
        if !plain && !tls {
            let help = format!("add certificates here and [gateway.mllp] with TLS to {env}.toml, or plain.{org} there");
            at(folder, org, findings, Warning, "gateway.hl7", format!("no HL7 v2 can come in {env}"), help);
        }
    }
    for org in mllp.iter().flat_map(|m| m.plain.keys()).filter(|org| !senders.contains_key(org)) {
        let message = format!("organization {org} has no [gateway.hl7] in {env}: its messages would be refused");
        findings.at(Error, &e.parsed, &format!("gateway.mllp.plain.{org}"), message, "add it, or take this out");
    }
}

fn certificates(folder: &Folder, e: &Read<Environment>, senders: &BTreeMap<&OrgId, &OrgHl7>, findings: &mut Findings) {
    let mut owners: BTreeMap<&str, Vec<&OrgId>> = BTreeMap::new();
    for (org, hl7) in senders {
        for certificate in &hl7.client_certificates {
            owners.entry(certificate).or_default().push(org);
        }
    }
    for (certificate, orgs) in owners.iter().filter(|(_, orgs)| orgs.len() > 1) {
        for org in orgs {
            let others: Vec<&str> = orgs.iter().filter(|o| o != &org).map(|o| o.as_str()).collect();
            let (short, others) = (&certificate[..12], others.join(", "));
            let message = format!("in {}, certificate {short}... is one of {others} too", e.value.id);
            at(
                folder,
                org,
                findings,
                Error,
                CERTIFICATES,
                message,
                "a certificate of its own for each organization".into(),
            );
        }
    }
}

fn hosts(r: &Read<OrganizationFile>, findings: &mut Findings) {
    let key = "gateway.hl7.pointer_hosts";
    let overrides = r.value.overrides.iter().map(|(env, o)| (format!("environment.{env}.{key}"), &o.gateway));
    for (key, gateway) in [(key.to_owned(), &r.value.gateway)].into_iter().chain(overrides) {
        for host in gateway.hl7.iter().flat_map(|h| &h.pointer_hosts).filter(|h| !is_host(h)) {
            let help = "host names in lower case, without scheme, port and wildcards: archive.example.org";
            findings.at(Error, &r.parsed, &key, format!("{host} is no host"), help);
        }
    }
}

/// Whether a pointer's host can be this, which is compared to the letter.
fn is_host(host: &str) -> bool {
    let v6 = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let name = || !host.is_empty() && !host.contains(['/', '*', '@', ' ', ':', '[', ']']);
    *host == host.to_lowercase() && v6.map_or_else(name, |v6| v6.parse::<Ipv6Addr>().is_ok())
}

fn at(
    folder: &Folder,
    org: &OrgId,
    findings: &mut Findings,
    severity: super::Severity,
    key: &str,
    message: String,
    help: String,
) {
    if let Some(r) = folder.organizations.iter().find(|r| r.value.id == *org) {
        findings.at(severity, &r.parsed, key, message, help);
    }
}
