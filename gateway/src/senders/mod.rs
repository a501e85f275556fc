//! Organizations' own systems, as canaries play them: the same endpoints, the same credentials, the same answers as for
//! everybody else. Nothing here is let in that another sender would not be.

mod credentials;
pub mod envelopes;
mod mllp;
mod store;
mod web;

pub use credentials::Credentials;

use crate::dicom;
use crate::{fhir, hl7};
use async_trait::async_trait;
use leadline_activities::ports::senders::{GivenSecrets, Parcel, Senders, Sent};
use leadline_domain::{Digest, Fault, FaultClass, IngressEndpoint, IngressEndpoints, OrgId, StagedName};
use std::sync::Arc;
use std::time::Duration;

/// One request, one message, one association.
const LIMIT: Duration = Duration::from_secs(60);
/// The AE title of canaries where any is taken.
const TITLE: &str = "LEADLINE-CANARY";

/// See [`Senders`].
pub struct AsSystems {
    secrets: Arc<dyn GivenSecrets>,
    tokens: web::Tokens,
}

/// What keeps a parcel from being taken.
#[derive(Debug)]
enum No {
    /// As it is, it never will be.
    Refused(String),
    /// Nobody answered, or asked to come again.
    Unanswered(String),
    /// Credentials cannot be read now.
    Fault(Fault),
}

impl AsSystems {
    /// With the secrets of the environment.
    #[must_use]
    pub fn new(secrets: Arc<dyn GivenSecrets>) -> Self {
        Self { secrets, tokens: web::Tokens::default() }
    }

    async fn credentials(&self, org: &OrgId, endpoints: &IngressEndpoints) -> Result<Credentials, No> {
        let how = || format!("fill it with `leadline canary {org} --credentials FILE`");
        match self.secrets.given(&endpoints.credentials).await {
            Ok(text) => Credentials::read(&text).ok_or_else(|| {
                No::Refused(format!("secret {} holds no credentials: {}", endpoints.credentials, how()))
            }),
            Err(f) if f.class() == FaultClass::Blocked => Err(No::Refused(format!("{f}: {}", how()))),
            Err(f) => Err(No::Fault(f)),
        }
    }

    async fn through(
        &self,
        org: &OrgId,
        endpoints: &IngressEndpoints,
        endpoint: &IngressEndpoint,
        parcel: &Parcel,
    ) -> Result<StagedName, No> {
        let (name, content) = (&parcel.name, &parcel.content);
        match endpoint {
            IngressEndpoint::Web { url } => {
                let caller = self.caller(org, endpoints, url).await?;
                web::upload(&caller, parcel).await
            }
            IngressEndpoint::Fhir { url } => {
                let body = envelopes::document_reference(name, &parcel.media_type, content);
                let caller = self.caller(org, endpoints, url).await?;
                let id = web::create(&caller, body).await?;
                Ok(fhir::document(org, &id, 0))
            }
            IngressEndpoint::Stow { url } => {
                let (media_type, body) = envelopes::instances(content);
                self.caller(org, endpoints, url).await?.post("/dicom-web/studies", &media_type, body.into()).await?;
                Ok(dicom::staged(org, &Digest::of(content)))
            }
            IngressEndpoint::Hl7v2 { address, tls, processing_id } => {
                let tls = if *tls { Some(self.credentials(org, endpoints).await?) } else { None };
                let id = envelopes::control_id(name);
                let message = envelopes::oru(&id, processing_id, &parcel.media_type, content);
                mllp::send(address, tls.as_ref(), endpoints.ca_file.as_deref(), &message).await?;
                Ok(hl7::document(org, [envelopes::APPLICATION, envelopes::FACILITY], &id, "0"))
            }
            IngressEndpoint::Store { address, tls, called, calling, certificates } => {
                let tls = if *tls { Some(self.credentials(org, endpoints).await?) } else { None };
                let digest = tls.as_ref().and_then(Credentials::digest);
                let own = digest.and_then(|d| certificates.get(&d)).filter(|t| !t.is_empty());
                let may = |t: &&String| calling.is_empty() || calling.contains(*t);
                let title = match own {
                    Some(titles) => titles.iter().find(may),
                    None => calling.first(),
                };
                let calling = title.map_or(TITLE, String::as_str);
                let stored =
                    store::send(address, tls.as_ref(), endpoints.ca_file.as_deref(), [calling, called], content);
                Ok(dicom::staged(org, &stored.await?))
            }
        }
    }

    async fn caller<'a>(
        &'a self,
        org: &'a OrgId,
        endpoints: &'a IngressEndpoints,
        url: &'a str,
    ) -> Result<web::Caller<'a>, No> {
        let credentials = self.credentials(org, endpoints).await?;
        web::Caller::new(&self.tokens, org, endpoints, url, &credentials).await
    }
}

#[async_trait]
impl Senders for AsSystems {
    async fn send(
        &self,
        org: &OrgId,
        endpoints: &IngressEndpoints,
        endpoint: &IngressEndpoint,
        parcel: &Parcel,
    ) -> Result<Sent, Fault> {
        let sent = tokio::time::timeout(LIMIT, self.through(org, endpoints, endpoint, parcel)).await;
        match sent.unwrap_or_else(|_| Err(No::Unanswered(format!("no answer in {} s", LIMIT.as_secs())))) {
            Ok(name) => Ok(Sent::Taken(name)),
            Err(No::Refused(why)) => Ok(Sent::Refused(why)),
            Err(No::Unanswered(why)) => Ok(Sent::Unanswered(why)),
            Err(No::Fault(fault)) => Err(fault),
        }
    }
}

#[cfg(test)]
mod tests;
