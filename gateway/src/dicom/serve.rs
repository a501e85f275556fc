//! The listener.

use super::association::{self, End, Shared};
use super::config::{DicomLimits, Titles};
use super::exchange::Budget;
use crate::intake::Intake;
use crate::seats::Seats;
use crate::tls;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// At a stop, associations have this long to finish the object they are at.
const GRACE: Duration = Duration::from_secs(20);
/// After the system refused a connection (e.g. no file descriptors left).
const BREATH: Duration = Duration::from_millis(100);

/// The AE titles as they are configured now.
pub type TitlesNow = Arc<dyn Fn() -> Titles + Send + Sync>;

/// Serves associations until `stop` says so; then each finishes the object it is at, within 20 s.
///
/// Without `tls`, bind to a loopback address, or to one in a closed network.
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    limits: DicomLimits,
    titles: TitlesNow,
    intake: Arc<dyn Intake>,
    mut stop: watch::Receiver<bool>,
) {
    let shared = Arc::new(Shared {
        limits,
        budget: Budget::new(limits.held_bytes, limits.object_bytes),
        intake,
        places: Arc::new(Semaphore::new(limits.associations)),
        seats: Seats::new(limits.associations_per_org),
    });
    // Silent strangers keep each other out at worst, and no association.
    let strangers = Arc::new(Semaphore::new(limits.strangers));
    let mut running = JoinSet::new();
    loop {
        let stream = tokio::select! {
            () = association::stopped(&mut stop) => break,
            Some(_) = running.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "DICOM connection not accepted");
                    tokio::time::sleep(BREATH).await;
                    continue;
                }
            },
        };
        // Answers are short: none waits for another to go with it.
        let _ = stream.set_nodelay(true);
        let Ok(unknown) = Arc::clone(&strangers).try_acquire_owned() else {
            tracing::warn!("DICOM connection closed: too many have not said who they are");
            continue;
        };
        let (shared, titles, stop, tls) = (Arc::clone(&shared), titles(), stop.clone(), tls.clone());
        running.spawn(async move {
            let end = match tls {
                None => association::run(stream, &shared, &titles, None, unknown, stop).await,
                // A peer that does not shake hands in time, or without a good certificate, is hung up on.
                Some(tls) => match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
                    Ok(Ok(stream)) => {
                        let certificate = tls::peer(&stream);
                        association::run(stream, &shared, &titles, certificate, unknown, stop).await
                    }
                    Ok(Err(error)) => {
                        tracing::info!(%error, "DICOM connection without the TLS that it needs");
                        End::Refused
                    }
                    Err(_) => End::Refused,
                },
            };
            tracing::debug!(?end, "DICOM association ended");
        });
    }
    let all = async { while running.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, all).await.is_err() {
        tracing::warn!("DICOM associations did not end in time and are cut off: their peers send again");
        running.abort_all();
    }
}
