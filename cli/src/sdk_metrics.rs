//! The metrics of Temporal's SDK. It serves them by itself and gives them to nobody, so it serves them on a loopback port
//! that only this program asks, and the endpoint that is told to people has them with all others.

use crate::exit::Failure;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use temporalio_common::telemetry::metrics::CoreMeter;
use temporalio_common::telemetry::{PrometheusExporterOptions, TelemetryOptions, start_prometheus_metric_exporter};
use temporalio_sdk::runtime::RuntimeOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A scrape must not wait for these for long.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where the SDK's metrics can be asked for.
#[derive(Clone, Copy)]
pub(crate) struct SdkMetrics(SocketAddr);

impl SdkMetrics {
    /// Options of a runtime that keeps its metrics, and how to ask for them.
    pub(crate) fn start() -> Result<(RuntimeOptions, Self), Failure> {
        let options = PrometheusExporterOptions::builder().socket_addr((Ipv4Addr::LOCALHOST, 0).into()).build();
        let served = start_prometheus_metric_exporter(options)
            .map_err(|e| Failure::machine(format!("cannot keep Temporal's metrics: {e}")))?;
        let telemetry = TelemetryOptions::builder().metrics(served.meter as Arc<dyn CoreMeter>).build();
        let options = RuntimeOptions::builder().telemetry_options(telemetry).build().map_err(Failure::machine)?;
        Ok((options, Self(served.bound_addr)))
    }

    /// All of them in the Prometheus text format; nothing if they cannot be had just now.
    pub(crate) async fn render(self) -> String {
        tokio::time::timeout(PATIENCE, self.asked()).await.ok().flatten().unwrap_or_default()
    }

    async fn asked(self) -> Option<String> {
        let mut socket = TcpStream::connect(self.0).await.ok()?;
        let request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        socket.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer).await.ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
    }
}
