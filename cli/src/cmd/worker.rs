//! `leadline worker`.

use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::sdk_metrics::SdkMetrics;
use crate::{Global, output};
use leadline_activities::adapters::aws::Aws;
use leadline_activities::deps::Deps;
use leadline_activities::metrics::METRICS;
use leadline_activities::worker::{Capacity, worker};
use leadline_domain::{EnvId, Fault, FaultCode, WorkerGroup};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use temporalio_client::tonic;
use temporalio_sdk::Runtime;
use temporalio_sdk::error::{WorkerRunError, WorkerValidationError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

/// Waiting times while what it needs to start does not answer.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(15);

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Environment to serve.
    #[arg(long)]
    env: EnvId,
    /// Worker group: the workers that reach the same shares.
    #[arg(long, default_value = "main")]
    group: WorkerGroup,
    /// Where metrics are served, `address:port`; port 0 takes a free one. Default: the environment's.
    #[arg(long, value_name = "ADDR")]
    metrics: Option<SocketAddr>,
}

pub(crate) async fn run(g: &Global, a: Args) -> Done {
    let site = Site::load(g, &a.env)?;
    let metrics =
        match a.metrics {
            Some(m) => m,
            None => site.environment().worker.metrics_address.parse().map_err(|_| {
                Fault::new(FaultCode::ConfigInvalid, "worker.metrics_address is not an address and port")
            })?,
        };
    let aws = site.aws().await;
    let (deps, requests) = (site.deps_on(&aws)?, aws.counts());
    let listener = tokio::net::TcpListener::bind(metrics)
        .await
        .map_err(|e| Failure::machine(format!("cannot serve metrics at {metrics}: {e}")))?;
    let at = listener.local_addr().map_err(|e| Failure::machine(e.to_string()))?;
    let (options, sdk) = SdkMetrics::start()?;
    tokio::spawn(serve_metrics(listener, move || {
        let requests = Arc::clone(&requests);
        async move { format!("{}{}{}", METRICS.render(), requests.render(), sdk.render().await) }
    }));
    let runtime = Runtime::from_current_tokio(options)
        .map_err(|e| Failure::machine(format!("cannot start the Temporal runtime: {e}")))?;
    let (told, mut stop) = watch::channel(false);
    tokio::spawn(async move {
        signal().await;
        output::note("leadline: stopping; what is under way is finished or handed over");
        let _ = told.send(true);
    });
    tracing::info!(env = %a.env, group = %a.group, metrics = %at, "worker starts");
    let mut wait = RETRY_FIRST;
    loop {
        let failure = match serve(&site, &aws, &a.group, &runtime, &deps, stop.clone()).await {
            Ok(()) => return Ok(Code::Ok),
            Err(f) if f.passes() => f,
            Err(f) => return Err(f),
        };
        tracing::warn!(%failure, "worker cannot start yet, will try again");
        tokio::select! {
            _ = stop.wait_for(|s| *s) => return Ok(Code::Ok),
            () = tokio::time::sleep(wait) => wait = (wait * 2).min(RETRY_MAX),
        }
    }
}

/// Works until told to stop. Fails with what passes if Temporal or AWS cannot be reached at the start: a worker that is
/// started before them, or while they are away, is as good as one that was there before. One that reaches another
/// account, region or namespace than its environment's does nothing there.
async fn serve(
    site: &Site,
    aws: &Aws,
    group: &WorkerGroup,
    runtime: &Runtime,
    deps: &Arc<Deps>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Failure> {
    let client = tokio::select! {
        _ = stop.wait_for(|s| *s) => return Ok(()),
        c = site.temporal_to_work(aws) => c?,
    };
    let drain = Duration::from_secs(u64::from(site.environment().worker.drain_s));
    let shares = deps.registry.snapshot().orgs.values().map(|o| o.shares.len()).sum();
    let capacity = Capacity { drain, ..Capacity::default() }.watching(shares);
    let mut w = worker(runtime, client, deps, group, capacity)
        .map_err(|e| Fault::new(FaultCode::EngineRefused, format!("cannot start the worker: {e}")))?;
    let hand_over = w.shutdown_handle();
    let stopping = tokio::spawn(async move {
        if stop.wait_for(|s| *s).await.is_ok() {
            hand_over();
        }
    });
    tracing::info!("worker runs");
    let ended = w.run().await;
    stopping.abort();
    ended.map_err(|e| match &e {
        WorkerRunError::Validation(WorkerValidationError::NamespaceDescribeError { source, .. })
            if source.code() != tonic::Code::NotFound && source.code() != tonic::Code::PermissionDenied =>
        {
            Fault::new(FaultCode::EngineUnreachable, format!("temporal does not answer: {:?}", source.code())).into()
        }
        WorkerRunError::Validation(WorkerValidationError::NamespaceDescribeError { source, .. })
            if source.code() == tonic::Code::NotFound =>
        {
            let t = &site.environment().temporal;
            let detail = format!(
                "Temporal at {} has no namespace {}: make it, with the search attributes LeadlineOrg and LeadlineShare, both \
                 Keyword (`temporal operator namespace create`, `temporal operator search-attribute create`); for an \
                 environment of this machine, start `leadline dev` again",
                t.address, t.namespace
            );
            Fault::new(FaultCode::EngineRefused, detail).into()
        }
        _ => Fault::new(FaultCode::EngineRefused, format!("the worker ended: {e}")).into(),
    })
}

/// SIGINT or SIGTERM.
pub(crate) async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    match (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) {
        (Ok(mut t), Ok(mut i)) => {
            tokio::select! { _ = t.recv() => {}, _ = i.recv() => {} }
        }
        _ => std::future::pending().await,
    }
}

/// A scrape is one short request; anything else gets the same answer.
pub(crate) async fn serve_metrics<T: Future<Output = String> + Send>(
    listener: tokio::net::TcpListener,
    render: impl Fn() -> T + Send + Sync + 'static,
) {
    let render = Arc::new(render);
    while let Ok((mut socket, _)) = listener.accept().await {
        let render = Arc::clone(&render);
        tokio::spawn(async move {
            let mut head = [0; 1024];
            let read = tokio::time::timeout(std::time::Duration::from_secs(5), socket.read(&mut head)).await;
            if !matches!(read, Ok(Ok(n)) if n > 0) {
                return;
            }
            let body = render().await;
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = socket.write_all(answer.as_bytes()).await;
        });
    }
}
