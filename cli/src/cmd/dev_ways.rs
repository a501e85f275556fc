//! What `leadline dev` starts for the ways in besides SMB: an issuer of real tokens, and the gateway.

use crate::Global;
use crate::connect::Site;
use crate::exit::Failure;
use crate::output;
use leadline_domain::EnvId;
use leadline_gateway::issuer::{Issuer, IssuerConfig, bind};
use leadline_provisioning::config::HttpListener;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::watch;

/// Secret of every system at the local issuer, which lets in whoever asks anyway.
const SECRET: &str = "dev";
/// The gateway cannot run before the environment is made: until then it is started again and again.
const AGAIN: Duration = Duration::from_secs(5);

/// The issuer, bound and not served yet, and what the gateway is configured to be.
pub(super) struct Ways {
    listener: TcpListener,
    issuer: Issuer,
    http: HttpListener,
    environment: EnvId,
    organizations: Vec<String>,
    /// The account at this machine's own AWS endpoint, where a key of its number is all that is asked for.
    account: Option<String>,
}

impl Ways {
    /// As an environment's file says. `None`, with the reason told, where it has no `[gateway.http]` or an issuer that
    /// is none of this machine's.
    pub(super) async fn bind(g: &Global, env: &EnvId) -> Result<Option<Self>, Failure> {
        let site = Site::load(g, env)?;
        let Some(http) = site.environment().gateway.http.clone() else {
            output::note(&format!("gateway       not started: environment {env} has no [gateway.http]"));
            return Ok(None);
        };
        let address = http.oidc.issuer.strip_prefix("http://").and_then(|a| a.parse::<SocketAddr>().ok());
        let Some(address) = address.filter(|a| a.ip().is_loopback()) else {
            output::note(&format!("gateway       not started: the issuer of {env} is none of this machine's"));
            return Ok(None);
        };
        let organizations: Vec<_> = site.config().organizations(env).map(|o| o.id.clone()).collect();
        let config = IssuerConfig {
            audience: http.oidc.audience.clone(),
            organization_claim: http.oidc.organization_claim.clone(),
            people: organizations.iter().map(|o| (person(o.as_str()), o.clone())).collect(),
            systems: organizations.iter().map(|o| (system(o.as_str()), (SECRET.to_owned(), o.clone()))).collect(),
            client_id: http.oidc.page_client_id.clone().unwrap_or_default(),
            redirects: vec![format!("{}/upload", http.public_url)],
        };
        let (listener, issuer) =
            bind(address, config).await.map_err(|e| Failure::machine(format!("the issuer at {address}: {e}")))?;
        let organizations = organizations.iter().map(ToString::to_string).collect();
        let e = site.environment();
        let local = e.aws.endpoint_url.as_deref().is_some_and(|u| u.starts_with("http://"));
        let account = local.then(|| e.account.clone());
        Ok(Some(Self { listener, issuer, http, environment: env.clone(), organizations, account }))
    }

    /// Says where they are, and how to get a token.
    pub(super) fn tell(&self) {
        output::note(&format!("issuer        {}", self.issuer.url()));
        let when = "once the environment is made and a worker runs";
        output::note(&format!("upload page   {}/upload, {when}", self.http.public_url));
        for o in &self.organizations {
            let (person, system, url) = (person(o), system(o), self.issuer.url());
            output::note(&format!("  {o}: log on there as {person}; a token for programs:"));
            output::note(&format!("    curl -su {system}:{SECRET} -d grant_type=client_credentials {url}/token"));
        }
    }

    /// Serves tokens and keeps a gateway running until `stop` says so.
    pub(super) async fn serve(self, g: &Global, log: &Path, mut stop: watch::Receiver<bool>) -> Result<(), Failure> {
        let stopped = |mut s: watch::Receiver<bool>| async move {
            let _ = s.wait_for(|s| *s).await;
        };
        let mut issuing = tokio::spawn(self.issuer.serve(self.listener, stopped(stop.clone())));
        let me = std::env::current_exe().map_err(|e| Failure::machine(format!("this program: {e}")))?;
        loop {
            let mut c = Command::new(&me);
            c.args(["gateway", "--env", self.environment.as_str(), "--environments"]).arg(&g.environments);
            if let Some(account) = &self.account {
                // Whatever this terminal has: a gateway of another account would end at once.
                c.env("AWS_ACCESS_KEY_ID", account).env("AWS_SECRET_ACCESS_KEY", "local");
                c.env_remove("AWS_SESSION_TOKEN").env_remove("AWS_PROFILE");
            }
            let out = std::fs::File::options().create(true).append(true).open(log);
            let out = out.map_err(|e| Failure::machine(format!("{}: {e}", log.display())))?;
            let err = out.try_clone().map_err(|e| Failure::machine(e.to_string()))?;
            // A group of its own: Ctrl-C reaches this process only, which then stops it in order.
            c.stdin(Stdio::null()).stdout(out).stderr(err).kill_on_drop(true).process_group(0);
            let mut child = c.spawn().map_err(|e| Failure::machine(format!("cannot start the gateway: {e}")))?;
            tokio::select! {
                _ = stop.wait_for(|s| *s) => {
                    super::dev::stop(&mut child).await;
                    return Ok(());
                }
                ended = &mut issuing => {
                    super::dev::stop(&mut child).await;
                    return Err(Failure::machine(format!("the issuer ended by itself: {ended:?}")));
                }
                _ = child.wait() => {}
            }
            tokio::select! {
                _ = stop.wait_for(|s| *s) => return Ok(()),
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }
}

fn person(org: &str) -> String {
    format!("clinician-{org}")
}

fn system(org: &str) -> String {
    format!("loader-{org}")
}
