//! `leadline canary`.

use crate::Global;
use crate::connect::{Site, share_config};
use crate::exit::{Code, Done, Failure};
use crate::output::{self, Format};
use leadline_activities::adapters::aws::AwsSecrets;
use leadline_activities::canary::{canaries, endpoint_canaries};
use leadline_activities::secret::Secret;
use leadline_domain::gates::Canary;
use leadline_domain::{EnvId, OrgId};
use leadline_gateway::senders::Credentials;
use leadline_provisioning::config::Organization;
use leadline_workflows::contracts::{CanaryInput, CanaryShare, CanaryWay};
use leadline_workflows::{CanaryRun, ids};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use temporalio_client::errors::WorkflowGetResultError;
use temporalio_client::{
    Client, WorkflowGetResultOptions, WorkflowHandle, WorkflowIdConflictPolicy, WorkflowIdReusePolicy,
    WorkflowStartOptions,
};

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Organization.
    org: OrgId,
    /// Environment; one for made-up recordings only.
    #[arg(long)]
    env: EnvId,
    /// What canaries come with by other ways in than the shares, to be kept in the environment's secret first: TOML with
    /// `client_id` and `client_secret` at the issuer of tokens, `certificate_file` and `key_file` (PEM). Read once; delete
    /// it afterwards.
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
}

/// The form of that file.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialsFile {
    client_id: Option<String>,
    client_secret: Option<String>,
    certificate_file: Option<PathBuf>,
    key_file: Option<PathBuf>,
}

fn credentials(file: &Path) -> Result<Credentials, Failure> {
    let read = |p: &Path| std::fs::read_to_string(p).map_err(|e| Failure::machine(format!("{}: {e}", p.display())));
    let form = "client_id and client_secret, certificate_file and key_file, or all four";
    let wrong = || Failure::command(format!("{} has to have {form}", file.display()));
    // What is wrong with it is not told: the message would quote the line.
    let c: CredentialsFile = toml::from_str(&read(file)?).map_err(|_| wrong())?;
    let beside = |p: PathBuf| read(&file.parent().unwrap_or(Path::new("")).join(p));
    let client = c.client_id.zip(c.client_secret.map(Secret::new));
    let certificate = match c.certificate_file.zip(c.key_file) {
        Some((certificate, key)) => Some((beside(certificate)?, Secret::new(beside(key)?))),
        None => None,
    };
    if client.is_none() && certificate.is_none() {
        return Err(wrong());
    }
    Ok(Credentials { client, certificate })
}

/// The other ways in that canaries can take, with the canaries of each; and those that they cannot take, with why.
pub(super) fn ways(site: &Site, o: &Organization) -> Result<(Vec<CanaryWay>, BTreeMap<String, String>), Failure> {
    let endpoints = leadline_provisioning::ingress_endpoints(site.environment(), o);
    let mut out = Vec::new();
    for (path, endpoint) in &endpoints.open {
        let Ok(endpoint) = endpoint else { continue };
        let formats = endpoint_canaries(endpoint, &o.formats)?.into_iter().map(|f| f.name().to_owned()).collect();
        out.push(CanaryWay { path: path.clone(), task_queue: site.environment().scope().main_queue(), formats });
    }
    Ok((out, endpoints.untried()))
}

/// The watched shares of an organization with the canaries that each is to have.
pub(super) fn shares(site: &Site, o: &Organization) -> Result<Vec<CanaryShare>, Failure> {
    let mut out = Vec::new();
    for (id, s) in o.watched() {
        let config = share_config(o, s);
        let formats = canaries(&config)?.into_iter().map(|f| f.name().to_owned()).collect();
        let task_queue = site.environment().scope().task_queue(&config.group);
        out.push(CanaryShare { share: id.clone(), task_queue, formats });
    }
    Ok(out)
}

/// Sends made-up recordings of every format that is delivered through every share and every other way in that is open,
/// and says what became of each.
pub(crate) async fn run(g: &Global, a: Args) -> Done {
    let site = Site::load(g, &a.env)?;
    if !site.environment().synthetic_only {
        return Err(Failure::command(format!(
            "{} holds patients' recordings: made-up ones do not belong there; use an environment with `synthetic_only`",
            a.env
        )));
    }
    let o = site.config().organization(&a.env, &a.org).ok_or_else(|| super::org::unknown(&a.org, &a.env))?;
    if let Some(file) = &a.credentials {
        let name = leadline_provisioning::ingress_endpoints(site.environment(), o).credentials;
        let text = credentials(file)?.text();
        AwsSecrets::new(site.aws_here().await?).put_environment_secret(&name, &text).await?;
        output::note(&format!("the credentials are in the secret {name}; delete {}", file.display()));
    }
    let (ways, untried) = ways(&site, o)?;
    for (path, why) in &untried {
        output::note(&format!("{path}: no canary can be sent: {why}"));
    }
    let input = CanaryInput { org: a.org.clone(), shares: shares(&site, o)?, ways };
    let client = site.temporal().await?;
    let queue = site.environment().scope().main_queue();
    let options = WorkflowStartOptions::new(&queue, ids::canary(&a.env, &a.org))
        .id_reuse_policy(WorkflowIdReusePolicy::AllowDuplicate)
        .id_conflict_policy(WorkflowIdConflictPolicy::UseExisting)
        .build();
    client.start_workflow(CanaryRun::run, input, options).await?;
    output::note("canaries are on their way; each is followed to its outcome");
    let done = last(&client, &a.env, &a.org).await?.unwrap_or_default();
    let passed = done.iter().filter(|c| c.run.passed).count();
    match g.output {
        Format::Json => done.iter().for_each(output::json),
        Format::Text => {
            let rows: Vec<Vec<String>> = done
                .iter()
                .map(|c| {
                    let how = if c.run.passed { "passed".to_owned() } else { format!("did not: {}", c.run.source) };
                    vec![c.path.clone(), c.format.clone(), how]
                })
                .collect();
            output::table(&["PATH", "FORMAT", "CANARY"], &rows);
            output::note(&format!("{passed} of {} passed", done.len()));
        }
    }
    Ok(if passed == done.len() && passed > 0 && untried.is_empty() { Code::Ok } else { Code::NotWell })
}

/// The canaries of the last run, once it has ended; `None` if there was none or it ended badly.
pub(super) async fn last(client: &Client, env: &EnvId, org: &OrgId) -> Result<Option<Vec<Canary>>, Failure> {
    let handle: WorkflowHandle<Client, CanaryRun> = client.get_workflow_handle(ids::canary(env, org));
    match handle.get_result(WorkflowGetResultOptions::default()).await {
        Ok(done) => Ok(Some(done)),
        Err(e @ WorkflowGetResultError::Rpc(_)) => Err(e.into()),
        Err(_) => Ok(None),
    }
}
