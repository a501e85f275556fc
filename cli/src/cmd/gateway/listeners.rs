//! The listeners, each with what it needs.

use super::{configured, ended};
use crate::connect::{ConfigNow, Site};
use crate::exit::Failure;
use crate::output;
use async_trait::async_trait;
use leadline_activities::deps::Deps;
use leadline_activities::engine::Engine;
use leadline_domain::{Fault, FaultCode, OrgId, OrgScope, WorkerGroup};
use leadline_gateway::dicom::stow::Stow;
use leadline_gateway::dicom::{self, DicomLimits};
use leadline_gateway::fhir::Service;
use leadline_gateway::fhir::ehr::{Ehr, Settings};
use leadline_gateway::fhir::notify::{Ehrs, Follower, Remembered};
use leadline_gateway::hl7::Receiver;
use leadline_gateway::http::{Routes, protocols, reports};
use leadline_gateway::intake::Intake;
use leadline_gateway::mllp::{Limits, Listen, Server, Tls};
use leadline_gateway::pointers::{Followed, Web};
use leadline_gateway::tls::TlsFiles;
use leadline_provisioning::config::{DicomListener, Gateway, MllpListener, OrgFhir, ehr_key_name};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Longest FHIR body, and longest document behind a pointer, bytes: larger ones come by the web.
const DOCUMENT: usize = 64 << 20;
/// An archive or an EHR that does not answer for so long is given up for now.
const WEB: Duration = Duration::from_secs(30);
/// Requests of STOW-RS of one organization at a time. Of all, what they hold in memory is bounded.
const STOW_AT_ONCE: usize = 4;

pub(super) fn address(key: &str, text: &str) -> Result<SocketAddr, Failure> {
    text.parse().map_err(|_| Fault::new(FaultCode::ConfigInvalid, format!("{key} is not an address and port")).into())
}

pub(super) async fn bound(key: &str, text: &str) -> Result<TcpListener, Failure> {
    let at = address(key, text)?;
    TcpListener::bind(at).await.map_err(|e| Failure::machine(format!("{key}: cannot listen at {at}: {e}")))
}

fn files(certificate: &str, key: &str, client_roots: &str) -> TlsFiles {
    TlsFiles { certificate: certificate.into(), key: key.into(), client_roots: client_roots.into() }
}

pub(super) async fn mllp(
    serving: &mut JoinSet<()>,
    m: &MllpListener,
    now: &ConfigNow,
    deps: &Arc<Deps>,
    intake: &Arc<dyn Intake>,
    stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let (senders, certificates) = configured::senders(now);
    let tls = match (&m.listen, &m.tls) {
        (Some(listen), Some(t)) => Some((
            address("gateway.mllp.listen", listen)?,
            Tls { files: files(&t.certificate_file, &t.key_file, &t.client_ca_file), senders: certificates },
        )),
        _ => None,
    };
    let mut plain = BTreeMap::new();
    for (org, at) in &m.plain {
        plain.insert(org.clone(), address("gateway.mllp.plain", at)?);
    }
    let bytes = usize::try_from(m.max_message_bytes).unwrap_or(usize::MAX);
    let limits = Limits {
        message_bytes: bytes,
        connections: m.max_connections as usize,
        connections_per_org: m.max_connections_per_organization as usize,
        idle: Duration::from_secs(u64::from(m.idle_s)),
        ..Limits::default()
    };
    let web = Web::new(WEB);
    let pointers = Arc::new(Followed::new(Arc::clone(&deps.registry), Arc::clone(&deps.shares), web));
    let receiver = Receiver::new(Arc::clone(intake), pointers, senders, DOCUMENT).telling(deps.clone());
    let server = Server::bind(Listen { tls, plain }, limits, Arc::new(receiver)).await?;
    for at in server.addresses() {
        output::note(&format!("mllp {at}"));
    }
    serving.spawn(server.run(ended(stop)));
    Ok(())
}

pub(super) async fn dicom(
    serving: &mut JoinSet<()>,
    d: &DicomListener,
    now: &Arc<ConfigNow>,
    intake: &Arc<dyn Intake>,
    stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let listener = bound("gateway.dicom.listen", &d.listen).await?;
    let object = usize::try_from(d.max_object_bytes).unwrap_or(usize::MAX);
    let limits = DicomLimits::new(d.max_associations as usize, Duration::from_secs(u64::from(d.idle_s)), object);
    let tls = d.tls.as_ref().map(|t| files(&t.certificate_file, &t.key_file, &t.client_ca_file));
    let tls = tls.map(|t| t.acceptor()).transpose()?;
    let (now, intake) = (Arc::clone(now), Arc::clone(intake));
    output::note(&format!("dicom {}", d.listen));
    serving.spawn(dicom::serve(listener, tls, limits, Arc::new(move || configured::titles(&now)), intake, stop));
    Ok(())
}

/// FHIR below `/fhir`, STOW-RS below `/dicom-web`, and reports of the processor at `/outcomes`.
pub(super) async fn routes(
    site: &Site,
    gateway: &Gateway,
    deps: &Arc<Deps>,
    engine: &Engine,
    intake: &Arc<dyn Intake>,
    public_url: &str,
) -> Result<Routes, Failure> {
    let queue = site.environment().scope().task_queue(&WorkerGroup::main());
    let ehrs = Arc::new(Configured::new(site, deps)?);
    let follower = Follower::new(ehrs, Arc::new(Remembered::new(engine.clone(), queue)));
    let service =
        Service::new(Arc::clone(intake), format!("{public_url}{}", protocols::FHIR), DOCUMENT).following(follower);
    let object = gateway.dicom.as_ref().map_or(256 << 20, |d| d.max_object_bytes);
    let stow = Stow::new(usize::try_from(object).unwrap_or(usize::MAX), STOW_AT_ONCE, WEB);
    let protocols = protocols::routes(service, stow, intake);
    Ok(Routes { protocols, reports: reports::routes(deps.outcomes.clone()) })
}

/// The EHRs that notify us, by organization, as they were configured at the start.
struct Configured {
    deps: Arc<Deps>,
    ehrs: BTreeMap<OrgId, (OrgScope, OrgFhir)>,
}

impl Configured {
    fn new(site: &Site, deps: &Arc<Deps>) -> Result<Self, Failure> {
        let mut ehrs = BTreeMap::new();
        for o in site.config().organizations(&site.environment().id) {
            let Some(fhir) = &o.gateway.fhir else { continue };
            ehrs.insert(o.id.clone(), (o.scope(site.environment())?, fhir.clone()));
        }
        Ok(Self { deps: Arc::clone(deps), ehrs })
    }
}

#[async_trait]
impl Ehrs for Configured {
    async fn open(&self, org: &OrgId) -> Result<Option<Ehr>, Fault> {
        let Some((scope, fhir)) = self.ehrs.get(org) else { return Ok(None) };
        let (Some(base), Some(client_id), Some(secret)) = (&fhir.base_url, &fhir.client_id, ehr_key_name()) else {
            return Ok(None);
        };
        let key = self.deps.secrets.share_credentials(scope, &secret).await?.password.expose().as_bytes().to_vec();
        let (base, client_id, key_id) = (base.clone(), client_id.clone(), fhir.key_id.clone());
        let settings = Settings { base, client_id, key, key_id, limit: DOCUMENT };
        match Ehr::new(settings, Web::new(WEB)) {
            Ok(ehr) => Ok(Some(ehr)),
            Err(fault) => {
                // So that the key is read again once it has been mended.
                self.deps.secrets.forget(scope, &secret);
                Err(fault)
            }
        }
    }
}
