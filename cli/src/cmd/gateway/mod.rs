//! `leadline gateway`: the ways in besides SMB, as `[gateway]` of the environment says.

mod configured;
mod listeners;

use crate::connect::{ConfigNow, Site};
use crate::exit::{Code, Done};
use crate::{Global, output};
use configured::Organizations;
use leadline_activities::adapters::aws::{AwsUploads, SqsQueue};
use leadline_activities::engine::Engine;
use leadline_activities::metrics::METRICS;
use leadline_domain::{EnvId, Fault, FaultCode};
use leadline_gateway::durable::DurableIntake;
use leadline_gateway::http::Parts;
use leadline_gateway::intake::Intake;
use leadline_gateway::outcomes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Waiting times while what it needs to start does not answer.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(15);

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Environment to serve.
    #[arg(long)]
    env: EnvId,
    /// Where metrics are served, `address:port`; port 0 takes a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9465")]
    metrics: SocketAddr,
}

pub(crate) async fn run(g: &Global, a: Args) -> Done {
    let site = Site::load(g, &a.env)?;
    let config = site.environment().gateway.clone();
    if config.http.is_none() && config.mllp.is_none() && config.dicom.is_none() {
        let why = format!("environment {} has no [gateway.http], [gateway.mllp] or [gateway.dicom]", a.env);
        return Err(Fault::new(FaultCode::ConfigInvalid, why).into());
    }
    let aws = site.aws().await;
    let (deps, requests) = (site.deps_on(&aws)?, aws.counts());
    let metrics = listeners::bound("--metrics", &a.metrics.to_string()).await?;
    tokio::spawn(super::worker::serve_metrics(metrics, move || {
        let http = leadline_gateway::http::metrics::METRICS.render();
        std::future::ready(format!("{}{http}{}", METRICS.render(), requests.render()))
    }));
    let (told, mut stop) = watch::channel(false);
    tokio::spawn(async move {
        super::worker::signal().await;
        output::note("leadline: stopping; what has begun is finished");
        let _ = told.send(true);
    });
    let mut wait = RETRY_FIRST;
    // As for a worker: one that is started before Temporal is as good as one that was there before.
    let client = loop {
        match site.temporal_to_work(&aws).await {
            Ok(c) => break c,
            Err(failure) if failure.passes() => {
                tracing::warn!(%failure, "gateway cannot start yet, will try again");
                tokio::select! {
                    _ = stop.wait_for(|s| *s) => return Ok(Code::Ok),
                    () = tokio::time::sleep(wait) => wait = (wait * 2).min(RETRY_MAX),
                }
            }
            Err(failure) => return Err(failure),
        }
    };
    let engine = Engine::new(client);
    let intake: Arc<dyn Intake> = Arc::new(DurableIntake::new(Arc::clone(&deps), engine.clone()));
    let now = Arc::new(ConfigNow::new(g.environments.clone(), a.env.clone(), site.config().clone()));
    let organizations = Arc::new(Organizations::new(Arc::clone(&now)));
    // All listeners are bound before one serves: a gateway that cannot serve all that is configured does not start.
    let mut serving = JoinSet::new();
    if let Some(mllp) = &config.mllp {
        listeners::mllp(&mut serving, mllp, &now, &deps, &intake, stop.clone()).await?;
    }
    if let Some(dicom) = &config.dicom {
        listeners::dicom(&mut serving, dicom, &now, &intake, stop.clone()).await?;
    }
    if let Some(http) = &config.http {
        let listener = listeners::bound("gateway.http.listen", &http.listen).await?;
        let set = configured::http(http, site.environment());
        let routes = listeners::routes(&site, &config, &deps, &engine, &intake, &set.public_url).await?;
        let parts = Parts {
            intake: Arc::clone(&intake),
            uploads: Arc::new(AwsUploads::new(aws.clone())),
            directory: organizations,
            ready: Arc::new(configured::Answers::new(engine.clone(), aws.clone())),
            routes,
        };
        let (app, oidc) = leadline_gateway::http::assemble(&set, &parts)?;
        output::note(&format!("http {}", http.listen));
        let uploads = SqsQueue::new(&aws, site.environment().scope().upload_queue());
        let (events, sweep) = (app.clone(), app.clone());
        let (s1, s2, s3) = (stop.clone(), stop.clone(), stop.clone());
        serving.spawn(async move { leadline_gateway::http::events::run(&events, &uploads, ended(s1)).await });
        serving.spawn(async move {
            use leadline_gateway::http::sweep::{ABANDONED, INTERVAL, run};
            run(&sweep, ABANDONED, INTERVAL, ended(s2)).await;
        });
        serving.spawn(async move {
            leadline_gateway::http::serve_app(listener, &set, app, parts.routes, oidc, ended(s3)).await;
        });
    }
    let (reports, s) = (deps.outcomes.clone(), stop.clone());
    serving.spawn(async move { outcomes::serve(&reports, s).await });
    tracing::info!(env = %a.env, "gateway runs");
    while let Some(ended) = serving.join_next().await {
        if ended.is_err() || !*stop.borrow() {
            return Err(
                Fault::new(FaultCode::BugInvariant, "a part of the gateway ended by itself; its log says why").into()
            );
        }
    }
    Ok(Code::Ok)
}

/// Ends when the gateway is to stop.
pub(super) async fn ended(mut stop: watch::Receiver<bool>) {
    let _ = stop.wait_for(|s| *s).await;
}
