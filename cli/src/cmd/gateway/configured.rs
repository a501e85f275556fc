//! What the configuration says to the gateway, as it is now.

use crate::connect::ConfigNow;
use async_trait::async_trait;
use leadline_activities::adapters::aws::{Aws, who_am_i};
use leadline_activities::engine::Engine;
use leadline_domain::{Fault, FaultCode, Ingress, OrgId};
use leadline_gateway::dicom::{Ae, Titles};
use leadline_gateway::hl7::Senders;
use leadline_gateway::http::{Directory, HttpConfig, Limits, OidcConfig, Ready, UploadRules};
use leadline_provisioning::config::{Environment, HttpListener};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// See [`Directory`]. Files that change are read again.
pub(super) struct Organizations(Arc<ConfigNow>);

impl Organizations {
    pub(super) fn new(now: Arc<ConfigNow>) -> Self {
        Self(now)
    }
}

impl Directory for Organizations {
    fn uploads(&self, org: &OrgId) -> Result<UploadRules, Fault> {
        let (config, env) = self.0.get();
        let unknown = || Fault::new(FaultCode::ConfigUnknownOrg, format!("organization {org} is not configured here"));
        let o = config.organization(&env, org).ok_or_else(unknown)?;
        let e = config.environment(&env).ok_or_else(unknown)?;
        if o.gateway.uploads.is_none() {
            let why = format!("organization {org} takes no uploads");
            return Err(Fault::new(FaultCode::RequestForbidden, why));
        }
        Ok(UploadRules { scope: o.scope(e)?, max_bytes: o.limits.max_file_bytes })
    }

    fn open(&self, org: &OrgId, way: Ingress) -> Result<(), Fault> {
        let (config, env) = self.0.get();
        let unknown = || Fault::new(FaultCode::ConfigUnknownOrg, format!("organization {org} is not configured here"));
        let g = &config.organization(&env, org).ok_or_else(unknown)?.gateway;
        let open = match way {
            Ingress::Web => g.uploads.is_some(),
            Ingress::Hl7v2 => g.hl7.is_some(),
            Ingress::Fhir => g.fhir.is_some(),
            Ingress::Dicom => g.dicom.is_some(),
            // A share is no way through the gateway.
            Ingress::Smb => false,
        };
        let shut = || Fault::new(FaultCode::RequestForbidden, format!("organization {org} takes nothing by {way}"));
        open.then_some(()).ok_or_else(shut)
    }

    fn uploading(&self) -> Vec<OrgId> {
        let (config, env) = self.0.get();
        config.organizations(&env).filter(|o| o.gateway.uploads.is_some()).map(|o| o.id.clone()).collect()
    }

    fn of_bucket(&self, bucket: &str) -> Option<OrgId> {
        let (config, env) = self.0.get();
        let e = config.environment(&env)?;
        let of = |o: &&leadline_provisioning::config::Organization| o.scope(e).is_ok_and(|s| s.bucket() == bucket);
        config.organizations(&env).find(of).map(|o| o.id.clone())
    }

    fn origins(&self) -> BTreeSet<String> {
        let (config, env) = self.0.get();
        let uploads = config.organizations(&env).filter_map(|o| o.gateway.uploads.as_ref());
        uploads.flat_map(|u| u.origins.iter().cloned()).collect()
    }
}

/// The AE titles of all organizations.
pub(super) fn titles(now: &ConfigNow) -> Titles {
    let (config, env) = now.get();
    let ae = |o: &leadline_provisioning::config::Organization| {
        let d = o.gateway.dicom.as_ref()?;
        // The check of the configuration has seen to the form.
        let certificate = |(c, titles): (&String, &BTreeSet<String>)| {
            Some((*leadline_domain::Digest::parse(c).ok()?.as_bytes(), titles.clone()))
        };
        Some(Ae {
            org: o.id.clone(),
            called: d.called_ae_title.clone(),
            calling: d.calling_ae_titles.clone(),
            certificates: d.client_certificates.iter().filter_map(certificate).collect(),
        })
    };
    Titles::new(config.organizations(&env).filter_map(ae).collect())
}

/// What is set for the senders of HL7 v2 of each organization, and whose certificates are whose.
pub(super) fn senders(now: &ConfigNow) -> (BTreeMap<OrgId, Senders>, BTreeMap<[u8; 32], OrgId>) {
    let (config, env) = now.get();
    let (mut rules, mut certificates) = (BTreeMap::new(), BTreeMap::new());
    for o in config.organizations(&env) {
        let Some(h) = &o.gateway.hl7 else { continue };
        let (processing_ids, pointer_hosts) = (h.processing_ids.clone(), h.pointer_hosts.clone());
        rules.insert(o.id.clone(), Senders { processing_ids, pointer_hosts });
        for c in &h.client_certificates {
            // The check of the configuration has seen to the form, and that no two organizations have the same.
            if let Ok(digest) = leadline_domain::Digest::parse(c) {
                certificates.insert(*digest.as_bytes(), o.id.clone());
            }
        }
    }
    (rules, certificates)
}

/// How HTTP is served.
pub(super) fn http(http: &HttpListener, e: &Environment) -> HttpConfig {
    let store = e
        .aws
        .endpoint_url
        .clone()
        .map_or_else(|| format!("https://*.s3.{}.amazonaws.com", e.region), |url| url.trim_end_matches('/').to_owned());
    HttpConfig {
        public_url: http.public_url.clone(),
        oidc: OidcConfig {
            issuer: http.oidc.issuer.clone(),
            audience: http.oidc.audience.clone(),
            organization_claim: http.oidc.organization_claim.clone(),
            page_client_id: http.oidc.page_client_id.clone(),
        },
        store_origins: vec![store],
        limits: Limits::default(),
    }
}

/// See [`Ready`].
pub(super) struct Answers {
    engine: Engine,
    aws: Aws,
}

impl Answers {
    pub(super) fn new(engine: Engine, aws: Aws) -> Self {
        Self { engine, aws }
    }
}

#[async_trait]
impl Ready for Answers {
    async fn check(&self) -> Result<(), Fault> {
        // There is none of this id: that Temporal says so is what is asked for.
        self.engine.how_ended("readiness").await?;
        who_am_i(&self.aws).await.map(drop)
    }
}
