//! The body, handed to the reader of parts as it asks for more.
//!
//! That reader takes all that is ready before it looks at any of it, and keeps what comes before a part and in its headers
//! until it is whole. So it is given one piece at a time, the next one only when it found nothing in those before, and a
//! bounded number of them.

use axum::body::Body;
use bytes::Bytes;
use futures::stream::{Stream, StreamExt as _, poll_fn, unfold};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;

/// Given at a time, bytes.
const PIECE: usize = 16 << 10;
/// Given in all, bytes, without anything of an instance among it: many times what its headers need.
const AHEAD: usize = 64 << 10;

/// More than that.
#[derive(Debug)]
pub(super) struct TooFar;

impl fmt::Display for TooFar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too much before an instance")
    }
}

impl std::error::Error for TooFar {}

type Failed = Box<dyn std::error::Error + Send + Sync>;

#[derive(Default)]
struct State {
    /// The reader was sent to look at what it has, and came back.
    hungry: bool,
    /// Given since it last found something, bytes.
    ahead: usize,
}

/// What is known of the reader.
pub(super) struct Feed(Arc<Mutex<State>>);

impl Feed {
    /// For a body, given up where nothing of it comes for so long: the pieces that the reader reads.
    pub(super) fn new(body: Body, silence: Duration) -> (Self, impl Stream<Item = Result<Bytes, Failed>> + Send) {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let mut body = Box::pin(heard(body, silence));
        let mut rest = Bytes::new();
        let pieces = poll_fn(move |context| {
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if !state.hungry {
                state.hungry = true;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            if rest.is_empty() {
                match std::task::ready!(body.as_mut().poll_next(context)) {
                    Some(Ok(came)) => rest = came,
                    Some(Err(e)) => return Poll::Ready(Some(Err(e.into()))),
                    None => return Poll::Ready(None),
                }
            }
            let piece = rest.split_to(rest.len().min(PIECE));
            state.ahead += piece.len();
            if state.ahead > AHEAD {
                return Poll::Ready(Some(Err(TooFar.into())));
            }
            state.hungry = false;
            Poll::Ready(Some(Ok(piece)))
        });
        (Self(state), pieces)
    }

    /// The reader found something: it may have more of it.
    pub(super) fn used(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = State::default();
    }
}

fn heard(body: Body, silence: Duration) -> impl Stream<Item = io::Result<Bytes>> + Send {
    unfold(Some(body.into_data_stream()), move |rest| async move {
        let mut rest = rest?;
        match tokio::time::timeout(silence, rest.next()).await {
            Ok(Some(Ok(piece))) => Some((Ok(piece), Some(rest))),
            Ok(Some(Err(e))) => Some((Err(io::Error::other(e)), None)),
            Ok(None) => None,
            Err(_) => Some((Err(io::ErrorKind::TimedOut.into()), None)),
        }
    })
}
