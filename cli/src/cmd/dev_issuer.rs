//! `leadline dev-issuer`: a local issuer of OpenID Connect tokens in the foreground. Its keys live as long as it does.

use crate::exit::{Code, Done, Failure};
use crate::output;
use leadline_domain::OrgId;
use leadline_gateway::issuer::{IssuerConfig, bind};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to listen: a loopback address. `http://ADDR` is the issuer's name in tokens and configuration.
    #[arg(long, default_value = "127.0.0.1:8300", value_name = "ADDR")]
    listen: SocketAddr,
    /// What tokens are for: `gateway.http.oidc.audience` of the environment's file.
    #[arg(long, default_value = "leadline")]
    audience: String,
    /// The claim that names the organization.
    #[arg(long, default_value = "org", value_name = "NAME")]
    organization_claim: String,
    /// A person who can log on, without a password, and their organization; can be repeated.
    #[arg(long, value_name = "NAME=ORG")]
    person: Vec<String>,
    /// A system that can log on with client credentials; can be repeated.
    #[arg(long, value_name = "ID:SECRET=ORG")]
    system: Vec<String>,
    /// Client id of the upload page.
    #[arg(long, default_value = "upload-page", value_name = "ID")]
    client_id: String,
    /// Where the upload page may be returned to; can be repeated.
    #[arg(long, default_value = "http://127.0.0.1:8080/upload", value_name = "URL")]
    redirect: Vec<String>,
}

pub(crate) async fn run(a: Args) -> Done {
    let mut people = BTreeMap::new();
    for p in &a.person {
        let (name, org) = pair(p, '=', "--person NAME=ORG")?;
        people.insert(name.to_owned(), organization(org)?);
    }
    let mut systems = BTreeMap::new();
    for s in &a.system {
        let (credentials, org) = pair(s, '=', "--system ID:SECRET=ORG")?;
        let (id, secret) = pair(credentials, ':', "--system ID:SECRET=ORG")?;
        systems.insert(id.to_owned(), (secret.to_owned(), organization(org)?));
    }
    let config = IssuerConfig {
        audience: a.audience,
        organization_claim: a.organization_claim,
        people,
        systems,
        client_id: a.client_id,
        redirects: a.redirect,
    };
    let (listener, issuer) = bind(a.listen, config).await.map_err(|e| Failure::machine(e.to_string()))?;
    output::note(&format!("issuer {}; Ctrl-C stops it", issuer.url()));
    let ended = issuer.serve(listener, super::worker::signal()).await;
    ended.map_err(|e| Failure::machine(format!("the issuer ended: {e}")))?;
    Ok(Code::Ok)
}

fn pair<'a>(text: &'a str, at: char, form: &str) -> Result<(&'a str, &'a str), Failure> {
    // The last one: a secret may hold the character.
    text.rsplit_once(at)
        .filter(|(a, b)| !a.is_empty() && !b.is_empty())
        .ok_or_else(|| Failure::command(format!("say {form}")))
}

fn organization(id: &str) -> Result<OrgId, Failure> {
    OrgId::parse(id).map_err(|e| Failure::command(format!("{id}: {e}")))
}
