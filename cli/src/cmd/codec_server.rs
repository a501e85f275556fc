//! `leadline codec-server`: Temporal's codec server protocol, so that its UI and CLI show payloads to those allowed.
//!
//! `POST /decode` and `/encode` take and give the JSON form of Temporal's `Payloads`. Whoever may ask sees file names:
//! it listens on this machine only, unless told otherwise and given a token to ask for.

use crate::connect::Site;
use crate::exit::{Code, Done, Failure};
use crate::{Global, output};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use leadline_activities::codec::{EncryptingCodec, random_token};
use leadline_domain::{Digest, EnvId, Fault, FaultCode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use temporalio_common::data_converters::{PayloadCodec, SerializationContextData, WorkflowSerializationContext};
use temporalio_common::protos::temporal::api::common::v1::Payload;

/// The UI sends the payloads of a page of events at once; each is 2 MiB at most, and grows by a third in JSON.
const BODY: usize = 32 * 1024 * 1024;

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Environment whose payloads are decoded.
    #[arg(long)]
    env: EnvId,
    /// Where to listen. Anything but a loopback address needs --token-secret, and something in front that speaks TLS.
    #[arg(long, default_value = "127.0.0.1:8234", value_name = "ADDR")]
    listen: SocketAddr,
    /// Origin of the Temporal UI, e.g. `http://127.0.0.1:8233`; can be repeated. Pages of other origins are refused.
    #[arg(long, value_name = "URL")]
    ui_origin: Vec<String>,
    /// Ask for `Authorization: Bearer TOKEN`, with the token that is in this secret of the environment. One is made if
    /// there is none.
    #[arg(long, value_name = "NAME")]
    token_secret: Option<String>,
}

struct Server {
    codec: EncryptingCodec,
    namespace: String,
    origins: Vec<String>,
    /// Digests are compared, so that the time it takes says nothing about the token.
    token: Option<Digest>,
}

pub(crate) async fn run(g: &Global, a: Args) -> Done {
    let site = Site::load(g, &a.env)?;
    if !a.listen.ip().is_loopback() && a.token_secret.is_none() {
        return Err(Failure::command(format!(
            "{} is no loopback address: whoever reaches it would read file names; say --token-secret",
            a.listen
        )));
    }
    for o in &a.ui_origin {
        if !(o.starts_with("http://") || o.starts_with("https://")) || o.matches('/').count() != 2 {
            return Err(Failure::command(format!(
                "--ui-origin {o} is no origin: scheme, host and port, without a path"
            )));
        }
    }
    let token = match &a.token_secret {
        None => None,
        Some(name) => match site.environment_secret(name, random_token).await? {
            t if t.trim().is_empty() => {
                return Err(Fault::new(FaultCode::SecretMissing, format!("secret {name} is empty")).into());
            }
            t => Some(Digest::of(t.trim().as_bytes())),
        },
    };
    let server = Arc::new(Server {
        codec: site.codec().await?,
        namespace: site.environment().temporal.namespace.clone(),
        origins: a.ui_origin,
        token,
    });
    let listener = tokio::net::TcpListener::bind(a.listen)
        .await
        .map_err(|e| Failure::machine(format!("cannot listen at {}: {e}", a.listen)))?;
    let at = listener.local_addr().map_err(|e| Failure::machine(e.to_string()))?;
    output::note(&format!("codec server of {} at http://{at}, for namespace {}", a.env, server.namespace));
    axum::serve(listener, router(server))
        .with_graceful_shutdown(super::worker::signal())
        .await
        .map_err(|e| Failure::machine(format!("the codec server ended: {e}")))?;
    Ok(Code::Ok)
}

fn router(server: Arc<Server>) -> Router {
    let both = Router::new().route("/decode", post(decode)).route("/encode", post(encode));
    // The CLI and the UI can put the namespace into the path.
    Router::new()
        .merge(both.clone())
        .nest("/{namespace}", both)
        .fallback(|| async { refused(StatusCode::NOT_FOUND, "there is /decode and /encode") })
        .layer(DefaultBodyLimit::max(BODY))
        .layer(from_fn_with_state(Arc::clone(&server), admit))
        .with_state(server)
}

fn refused(status: StatusCode, why: &str) -> Response {
    let body = serde_json::json!({ "error": why }).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Origin, token and namespace, before anything is read; the headers of CORS after.
async fn admit(State(s): State<Arc<Server>>, request: Request, next: Next) -> Response {
    let origin = match text(request.headers(), header::ORIGIN.as_str()) {
        None => None,
        Some(o) if s.origins.contains(&o) => Some(o),
        // Told without the headers of CORS: the page does not get to read it.
        Some(_) => return refused(StatusCode::FORBIDDEN, "this origin is not the Temporal UI's (--ui-origin)"),
    };
    let mut answer = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else if let Some(no) = s.forbids(request.headers(), request.uri().path()) {
        no
    } else {
        next.run(request).await
    };
    if let Some(o) = origin.and_then(|o| HeaderValue::from_str(&o).ok()) {
        let h = answer.headers_mut();
        h.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, o);
        h.insert(header::VARY, HeaderValue::from_static("origin"));
        h.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        h.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, OPTIONS"));
        let asked = "content-type, x-namespace, authorization, authorization-extras";
        h.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(asked));
    }
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name).map(|v| String::from_utf8_lossy(v.as_bytes()).into_owned())
}

impl Server {
    fn forbids(&self, headers: &HeaderMap, path: &str) -> Option<Response> {
        if let Some(token) = &self.token {
            let given = text(headers, header::AUTHORIZATION.as_str());
            let given = given.as_deref().and_then(|a| a.strip_prefix("Bearer ").or(a.strip_prefix("bearer ")));
            if given.map(|t| Digest::of(t.trim().as_bytes())).as_ref() != Some(token) {
                let mut r =
                    refused(StatusCode::UNAUTHORIZED, "the token is missing or wrong: Authorization: Bearer TOKEN");
                r.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                return Some(r);
            }
        }
        let in_path = path.trim_matches('/').rsplit_once('/').map(|(n, _)| n.to_owned());
        let named = [text(headers, "x-namespace"), in_path];
        let other = named.into_iter().flatten().find(|n| *n != self.namespace);
        other.map(|n| {
            refused(StatusCode::BAD_REQUEST, &format!("namespace {n} is not served here, {} is", self.namespace))
        })
    }
}

async fn decode(State(s): State<Arc<Server>>, body: Bytes) -> Response {
    code(&s, &body, false).await
}

async fn encode(State(s): State<Arc<Server>>, body: Bytes) -> Response {
    code(&s, &body, true).await
}

async fn code(s: &Server, body: &[u8], encode: bool) -> Response {
    // The error of the parser may quote what it read.
    let Some(payloads) = serde_json::from_slice::<Payloads>(body).ok().and_then(Payloads::read) else {
        return refused(StatusCode::BAD_REQUEST, "the body is not the JSON of Temporal's Payloads");
    };
    let context = SerializationContextData::Workflow(WorkflowSerializationContext::new());
    let done = if encode { s.codec.encode(&context, payloads).await } else { s.codec.decode(&context, payloads).await };
    match done {
        Ok(p) => {
            let body = serde_json::to_string(&Payloads::write(p)).unwrap_or_default();
            ([(header::CONTENT_TYPE, "application/json")], body).into_response()
        }
        Err(e) => refused(StatusCode::UNPROCESSABLE_ENTITY, &e.to_string()),
    }
}

/// The JSON form of protobuf: bytes are base64.
#[derive(Serialize, Deserialize)]
struct Payloads {
    #[serde(default)]
    payloads: Vec<OnePayload>,
}

#[derive(Serialize, Deserialize)]
struct OnePayload {
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    #[serde(default)]
    data: String,
}

impl Payloads {
    fn read(self) -> Option<Vec<Payload>> {
        let one = |p: OnePayload| {
            let metadata = p.metadata.into_iter().map(|(k, v)| Some((k, bytes(&v)?))).collect::<Option<_>>()?;
            Some(Payload { metadata, data: bytes(&p.data)?, ..Default::default() })
        };
        self.payloads.into_iter().map(one).collect()
    }

    fn write(payloads: Vec<Payload>) -> Self {
        let one = |p: Payload| OnePayload {
            metadata: p.metadata.iter().map(|(k, v)| (k.clone(), base64(v))).collect(),
            data: base64(&p.data),
        };
        Self { payloads: payloads.into_iter().map(one).collect() }
    }
}

fn base64(b: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(b)
}

/// Protobuf's JSON allows both alphabets, with padding or without.
fn bytes(s: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    use base64::alphabet;
    use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
    let any = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabet = if s.contains(['-', '_']) { &alphabet::URL_SAFE } else { &alphabet::STANDARD };
    GeneralPurpose::new(alphabet, any).decode(s).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_alphabets_and_paddings_are_read() {
        for s in ["+/8=", "-_8=", "+/8", "-_8"] {
            assert_eq!(bytes(s), Some(vec![0xfb, 0xff]), "{s}");
        }
        assert_eq!(bytes("no base64!"), None);
    }

    #[test]
    fn payloads_come_back() {
        let p = Payload {
            metadata: [("encoding".to_owned(), b"json/plain".to_vec())].into(),
            data: b"{}".to_vec(),
            ..Default::default()
        };
        let text = serde_json::to_string(&Payloads::write(vec![p.clone()])).unwrap();
        assert_eq!(text, r#"{"payloads":[{"metadata":{"encoding":"anNvbi9wbGFpbg=="},"data":"e30="}]}"#);
        assert_eq!(serde_json::from_str::<Payloads>(&text).unwrap().read(), Some(vec![p]));
    }
}
