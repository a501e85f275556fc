//! DICOM: whose an AE title is must never be a question.

use super::finding::{Findings, Severity::Error, Severity::Warning};
use super::{Folder, Placed, Read, key_in};
use crate::config::{Environment, OrgDicom};
use leadline_domain::{EnvId, OrgId};
use std::collections::BTreeMap;
use std::net::SocketAddr;

const CERTIFICATES: &str = "gateway.dicom.client_certificates";
const TITLE: &str = "gateway.dicom.called_ae_title";

pub(super) fn check(folder: &Folder, placed: &Placed, findings: &mut Findings) {
    for e in &folder.environments {
        listener(e, findings);
        if let Some(orgs) = placed.get(&e.value.id) {
            let titled =
                orgs.values().filter_map(|o| Some((&o.id, o.gateway.dicom.as_ref()?.called_ae_title.as_str())));
            titles(folder, &e.value, titled, findings);
            let certified = orgs.values().filter_map(|o| Some((&o.id, o.gateway.dicom.as_ref()?)));
            certificates(folder, &e.value, certified, findings);
        }
    }
}

fn listener(e: &Read<Environment>, findings: &mut Findings) {
    let Some(dicom) = &e.value.gateway.dicom else { return };
    let key = "gateway.dicom.listen";
    match dicom.listen.parse::<SocketAddr>() {
        Ok(a) if a.ip().is_loopback() || dicom.tls.is_some() => {}
        Ok(_) => findings.at(
            Warning,
            &e.parsed,
            key,
            "DICOM is not encrypted here, and patients' data would cross the network in clear",
            "add [gateway.dicom.tls], unless the network is closed",
        ),
        Err(_) => findings.at(Error, &e.parsed, key, "is no address and port", "e.g. 127.0.0.1:11112"),
    }
}

fn titles<'a>(
    folder: &Folder,
    environment: &Environment,
    titled: impl Iterator<Item = (&'a OrgId, &'a str)>,
    findings: &mut Findings,
) {
    let env = &environment.id;
    let mut users: BTreeMap<&str, Vec<&OrgId>> = BTreeMap::new();
    for (org, title) in titled {
        users.entry(title).or_default().push(org);
        if environment.gateway.dicom.is_none() {
            let help = format!("add [gateway.dicom] to {env}.toml");
            at(folder, env, org, findings, Warning, &format!("environment {env} does not accept DICOM"), help);
        }
    }
    for (title, orgs) in users.iter().filter(|(_, orgs)| orgs.len() > 1) {
        for org in orgs {
            let others: Vec<&str> = orgs.iter().filter(|o| o != &org).map(|o| o.as_str()).collect();
            let message = format!(
                "in {env}, devices of {} call {title} as well: their data could not be told apart",
                others.join(", ")
            );
            at(folder, env, org, findings, Error, &message, "an AE title of its own for each organization".into());
        }
    }
}

/// Whose a certificate is, and where it can be shown. The schema lets a digest be written in one way only, so that
/// equal ones are equal texts.
fn certificates<'a>(
    folder: &Folder,
    environment: &Environment,
    certified: impl Iterator<Item = (&'a OrgId, &'a OrgDicom)>,
    findings: &mut Findings,
) {
    let env = &environment.id;
    let tls = environment.gateway.dicom.as_ref().is_some_and(|d| d.tls.is_some());
    let mut owners: BTreeMap<&str, Vec<&OrgId>> = BTreeMap::new();
    let mut wrong = |org: &OrgId, message: &str, help: &str| {
        let Some(r) = folder.organizations.iter().find(|r| r.value.id == *org) else { return };
        findings.at(Error, &r.parsed, CERTIFICATES, message, help);
    };
    for (org, dicom) in certified {
        if !dicom.client_certificates.is_empty() && !tls {
            let help = format!("add [gateway.dicom.tls] to {env}.toml, or take the certificates out");
            wrong(org, &format!("in {env} no device can show a certificate: all would be refused"), &help);
        }
        for certificate in dicom.client_certificates.keys() {
            owners.entry(certificate).or_default().push(org);
        }
    }
    for orgs in owners.values().filter(|o| o.len() > 1) {
        for org in orgs {
            let others: Vec<&str> = orgs.iter().filter(|o| o != &org).map(|o| o.as_str()).collect();
            let message = format!("in {env}, {} has the same certificate: it would be nobody's", others.join(", "));
            wrong(org, &message, "a certificate of its own for each organization");
        }
    }
}

fn at(
    folder: &Folder,
    env: &EnvId,
    org: &OrgId,
    findings: &mut Findings,
    severity: super::Severity,
    message: &str,
    help: String,
) {
    let Some(r) = folder.organizations.iter().find(|r| r.value.id == *org) else { return };
    findings.at(severity, &r.parsed, &key_in(r, env, TITLE), message, help);
}
