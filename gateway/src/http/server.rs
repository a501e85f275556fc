//! The service itself: its routes, its listener, its end.

use super::auth::Tokens;
use super::impatient::Impatient;
use super::layers::{Frame, frame, hurry, panicked, seated};
use super::oidc::Oidc;
use super::outbound::Network;
use super::page::{self, Page};
use super::problem::Problem;
use super::{App, HttpConfig, Limits, Parts, Routes, health, openapi, uploads};
use crate::seats::Seats;
use axum::Router;
use axum::http::{HeaderName, Method, header};
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use leadline_domain::{Fault, FaultCode};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// hyper: a connection's headers, bytes.
const HEADERS: usize = 64 * 1024;
/// After a failure to accept, e.g. for want of file descriptors.
const BREATH: Duration = Duration::from_millis(100);

/// Serves until `shutdown` ends, then lets requests under way end.
///
/// # Errors
/// `identity.unreachable` if this system trusts no certificates.
pub async fn serve(
    listener: TcpListener,
    config: HttpConfig,
    parts: Parts,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), Fault> {
    let (app, oidc) = assemble(&config, &parts)?;
    serve_app(listener, &config, app, parts.routes, oidc, shutdown).await;
    Ok(())
}

/// The state of a service that believes the configured issuer's tokens, for [`serve_app`] and what runs beside it.
///
/// # Errors
/// `identity.unreachable` if this system trusts no certificates.
pub fn assemble(config: &HttpConfig, parts: &Parts) -> Result<(App, Arc<Oidc>), Fault> {
    let oidc = Arc::new(Oidc::new(config.oidc.clone(), Arc::new(Network::new()?)));
    Ok((App::new(config, parts, Arc::clone(&oidc) as Arc<dyn Tokens>), oidc))
}

/// Serves what [`assemble`] made until `shutdown` ends, then lets requests under way end.
pub async fn serve_app(
    listener: TcpListener,
    config: &HttpConfig,
    app: App,
    routes: Routes,
    oidc: Arc<Oidc>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let routes = router(config, app.clone(), routes, Some(oidc));
    run(listener, config.limits, routes, &app, shutdown).await;
}

/// The routes with all that is around them. `oidc` for the page; without it there is none.
pub fn router(config: &HttpConfig, app: App, routes: Routes, oidc: Option<Arc<Oidc>>) -> Router {
    let frame_state = Arc::new(Frame {
        places: Semaphore::new(config.limits.requests),
        longest: config.limits.transfer.max(config.limits.request),
        https: config.public_url.starts_with("https://"),
    });
    // So that a few organizations that send slowly leave room for the others.
    let seats = Arc::new(Seats::new(config.limits.requests / 4));
    let reports = routes.reports.layer(from_fn_with_state(config.limits.request, hurry));
    let page = Page::new(config, oidc).map_or_else(Router::new, page::routes);
    let known = app.clone();
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |o, _| {
            o.to_str().is_ok_and(|o| known.directory().origins().contains(o))
        }))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE])
        .expose_headers([header::RETRY_AFTER, HeaderName::from_static("x-request-id")]);
    Router::new()
        .merge(uploads::routes().layer(from_fn_with_state(config.limits.request, hurry)))
        .merge(uploads::long_routes())
        // Within what shares with other origins, whose browsers ask with OPTIONS first.
        .method_not_allowed_fallback(other_method)
        .layer(from_fn_with_state((app.clone(), Arc::clone(&seats)), seated))
        .layer(cors)
        .merge(reports.layer(from_fn_with_state((app.clone(), seats), seated)))
        .merge(routes.protocols)
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/openapi.json", get(openapi::document))
        .route("/faults/{code}", get(health::fault_page))
        .merge(page)
        .fallback(async || Problem::new(FaultCode::RequestNotFound, "there is nothing at this path"))
        .method_not_allowed_fallback(other_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(frame_state, frame))
        .with_state(app)
}

async fn other_method() -> Problem {
    Problem::new(FaultCode::RequestMethod, "Allow says what the path is for")
}

async fn run(
    listener: TcpListener,
    limits: Limits,
    routes: Router,
    app: &App,
    shutdown: impl Future<Output = ()> + Send,
) {
    // axum's own server has no time limit for headers: a peer that sends a byte a minute would keep its connection.
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header_read).max_buf_size(HEADERS);
    // Who ends its half in the middle of a body may still listen: it is told, instead of left without an answer.
    http.half_close(true);
    let places = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let place = tokio::select! {
            p = Arc::clone(&places).acquire_owned() => p,
            () = &mut shutdown => break,
        };
        let accepted = tokio::select! {
            a = listener.accept() => a,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((socket, _)) => {
                let _ = socket.set_nodelay(true);
                let socket = Impatient::new(socket, limits.unread);
                let service = TowerToHyperService::new(routes.clone());
                let served = graceful.watch(http.serve_connection(TokioIo::new(socket), service));
                tokio::spawn(async move {
                    // A peer that goes away is no failure of ours.
                    let _ = served.await;
                    drop(place);
                });
            }
            Err(e) => {
                tracing::warn!(error = ?e.kind(), "a connection was not accepted");
                tokio::time::sleep(BREATH).await;
            }
        }
    }
    app.stop();
    drop(listener);
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way at the end");
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
pub(super) mod tests;
