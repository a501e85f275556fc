//! Keeping resources and taking in what they bring.

use super::Service;
use super::ehr::Ehr;
use crate::intake::{Content, Kept, Received};
use bytes::Bytes;
use leadline_domain::staged::{Ingress, StagedName};
use leadline_domain::{Digest, Fault, FaultClass, FaultCode, OrgId};
use leadline_ehr::attachment;
use leadline_ehr::fhir::{Answered, Attached, Create, Issue, Problem, Source};

/// The object of a resource's document.
pub(crate) fn document(org: &OrgId, id: &str, index: usize) -> StagedName {
    StagedName::derived(Ingress::Fhir, &[org.as_str(), id, &index.to_string()])
}

/// A document that a resource of the EHR refers to: whole as far as one can tell, and what was declared.
async fn pulled(ehr: &Ehr, url: &str, size: Option<u64>, hash: Option<&str>) -> Result<Bytes, Fault> {
    let content = ehr.document(url).await?;
    attachment::declared(&content, size, hash)?;
    attachment::whole(&content)?;
    Ok(content)
}

impl Service {
    /// Refuses references that lead to nothing received, before anything is stored.
    pub(super) async fn resolvable(&self, org: &OrgId, create: &Create) -> Result<(), Problem> {
        for attached in &create.documents {
            let Source::At(url, ..) = &attached.source else { continue };
            let known = match self.earlier(url) {
                Some(id) => self.intake.known(org, Ingress::Fhir, &document(org, id, 0)).await?,
                None => false,
            };
            if !known {
                let why = "it refers to a document that was not received: send it inline, in the bundle, or before";
                let problem = Problem::new(422, Issue::NotFound, FaultCode::FhirUnresolved, why);
                return Err(problem.at(attached.path.clone()));
            }
        }
        Ok(())
    }

    /// The id of a Binary of this service that an address names.
    fn earlier<'a>(&self, url: &'a str) -> Option<&'a str> {
        let url = url.strip_prefix(&self.base).map_or(url, |rest| rest.trim_start_matches('/'));
        url.strip_prefix("Binary/")?.split('/').next()
    }

    /// Keeps something as it came, under its content.
    pub(super) async fn keep_raw(&self, org: &OrgId, what: &str, raw: Bytes) -> Result<StagedName, Fault> {
        let digest = Digest::of(&raw).to_hex();
        let name = StagedName::derived(Ingress::Fhir, &[org.as_str(), what, &digest]);
        self.intake.keep(org, Ingress::Fhir, &name, raw).await.map(|_| name)
    }

    /// Stores a resource. What it is found by is its first identifier, or the one that the condition names; where that
    /// is taken by another resource, and always without one, its content.
    ///
    /// What a resource of an EHR refers to is pulled from there, one document at a time, each taken in before the next
    /// is asked for: all of a resource together are more than can be held. One that is wrong in itself is the problem
    /// at the end, and keeps none of the others.
    pub(super) async fn store(&self, org: &OrgId, create: Create, ehr: Option<&Ehr>) -> Result<Answered, Problem> {
        let conditional = create.condition.is_some();
        let of = |how: &str, what: &str| StagedName::derived(Ingress::Fhir, &[org.as_str(), create.kind, how, what]);
        let by_content = of("content", &Digest::of(&create.body).to_hex());
        let name = create.key().map(|key| of("identifier", key));
        let body = Bytes::from(create.body);
        let (name, kept) = match name {
            Some(name) => match self.intake.keep(org, Ingress::Fhir, &name, body.clone()).await? {
                Kept::Other if !conditional => {
                    let kept = self.intake.keep(org, Ingress::Fhir, &by_content, body).await?;
                    (by_content, kept)
                }
                kept => (name, kept),
            },
            None => {
                let kept = self.intake.keep(org, Ingress::Fhir, &by_content, body).await?;
                (by_content, kept)
            }
        };
        let id = name.as_str().to_owned();
        let answered = Answered { kind: create.kind, id: id.clone(), existed: conditional && kept != Kept::New };
        let brought = |a: &Attached| ehr.is_some() || matches!(a.source, Source::Here(_));
        let named = |(index, a): (usize, Attached)| brought(&a).then(|| (document(org, &id, index), a));
        let documents: Vec<_> = create.documents.into_iter().enumerate().filter_map(named).collect();
        // Another resource has the identifier: what this one brings is not wanted. If not all of that one was taken, its
        // request died in between, and its sender has changed it since: then this is what there is.
        let wanted = kept != Kept::Other
            || match documents.first() {
                Some((first, ..)) => !self.intake.known(org, Ingress::Fhir, first).await?,
                None => false,
            };
        // From the last to the first: where the first was taken, all were.
        let mut wrong = None;
        for (name, Attached { source, path }) in documents.into_iter().rev().filter(|_| wanted) {
            let content = match (source, ehr) {
                (Source::Here(content), _) => Bytes::from(content),
                (Source::At(url, size, hash), Some(ehr)) => match pulled(ehr, &url, size, hash.as_deref()).await {
                    Ok(content) => content,
                    Err(fault) => {
                        let passes = fault.class() != FaultClass::Rejected;
                        let problem = Problem::from(fault).at(path);
                        if passes {
                            return Err(problem);
                        }
                        wrong = Some(problem);
                        continue;
                    }
                },
                (Source::At(..), None) => continue,
            };
            // Of a repeat too: what was taken makes no new work.
            let content = Content::Bytes(content);
            let received = Received { org: org.clone(), ingress: Ingress::Fhir, name, content, declared: None };
            self.intake.take(received).await.map_err(|fault: Fault| Problem::from(fault).at(path))?;
        }
        if let Some(problem) = wrong {
            return Err(problem);
        }
        tracing::info!(%org, kind = answered.kind, id, existed = answered.existed, "FHIR resource taken");
        Ok(answered)
    }
}
