//! One HTTP/1 connection.
//!
//! ```text
//!  accepted ──► handshake ──► serving ──shutdown──► draining
//!                  │ (TLS)       │                     │
//!                  │ failed      └──── CloseReason ────┤
//!                  ▼                                   ▼
//!               dropped                             closing ──► closed
//! ```
//!
//! | state | input | next |
//! | --- | --- | --- |
//! | handshake | TLS done, or no TLS | serving |
//! | handshake | failed, timed out, or shutdown and [`SHUTDOWN_GRACE`] passed | dropped |
//! | serving | hyper is done, fails, or cannot parse; a write fails; eviction by the sweep or the buffer limit | closing |
//! | serving | shutdown | draining |
//! | draining | as serving | closing |
//! | draining | idle, and a buffered response can announce the end | closing |
//! | draining | idle for [`SHUTDOWN_GRACE`] | closing |
//! | closing | responses sent and input drained, or timeout | closed |
//!
//! Serving is a sequence of turns (`turn.rs`). A turn polls hyper until all requests that arrived are answered, or the
//! turn's budget is spent, or [`MAX_BATCH`] is buffered. Then the responses are sent together.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use brokers::MAX_DISCARDED_BODY;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;

use super::accept::Accepted;
use super::activity::{Activity, Eviction, Stall};
use super::buffer_limit::{BufferLimit, UnfinishedRequest};
use super::coalesce::{CoalescedIo, IoState};
use super::drain::{IdleGrace, SHUTDOWN_GRACE};
use super::turn::{self, Turn};
use crate::config::Limits;
use crate::decision::Evaluator;
use crate::http::{AuthService, ConnectionMemory, ResponseBody};
use crate::security::{MaybeTlsStream, ServerTls};

/// Maximum size of a request head, in bytes. A request target has at most 65,534.
const MAX_HEAD: usize = 128 << 10;

/// Buffered responses, in bytes, that end a turn: its requests are answered, and its client can read meanwhile.
const MAX_BATCH: usize = 8 << 10;

/// Polls of hyper in one turn. It answers up to 16 requests in each.
const MAX_POLLS: u32 = turn::MAX_REQUESTS / 16;

/// Context that the connections of all workers share.
pub(super) struct ConnContext<E> {
    pub(super) service: AuthService<E>,
    pub(super) limits: Limits,
    pub(super) buffer_limit: BufferLimit,
    pub(super) shutdown: CancellationToken,
    /// Absent: connections are plain TCP.
    pub(super) tls: Option<ServerTls>,
}

/// Why a connection ends.
#[derive(Debug)]
enum CloseReason {
    /// The client closed it, or the gate after a last response.
    Complete,
    /// The client sent something that is not HTTP, or a head that is too long.
    ParseError {
        /// Whether it is a head that is too long. hyper still holds all that it has read of any head.
        is_too_long: bool,
    },
    /// The client broke it off.
    PeerError,
    /// The client was idle for too long.
    Idle,
    /// The client made no progress, or its requests take too much memory.
    Evicted(Option<Stall>),
}

/// Serves one connection until it ends. After the shutdown signal, until the requests in flight are answered.
pub(super) async fn serve<E: Evaluator>(
    context: Arc<ConnContext<E>>,
    Accepted { stream, permit }: Accepted,
    activity: Arc<Activity>,
) {
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%error, "cannot take over connection"),
    };
    // Responses are small single writes: waiting to fill a packet would only delay them.
    let _ = stream.set_nodelay(true);
    let Some(stream) = handshake(&context, stream).await else { return };

    let turn = Turn::new(Instant::now());
    let memory = ConnectionMemory::default();
    let requests = Requests { service: &context.service, activity: &activity, turn: &turn, memory: &memory };
    let service = service_fn(|request| requests.answer(request));
    let unfinished = context.buffer_limit.connection(Arc::clone(&activity));
    let mut connection = Connection::new(stream, &service, Arc::clone(&activity), &turn, unfinished, &context.limits);
    // After the signal, yield once, so that data already in the socket buffer is read before idle connections close.
    let mut shutdown = pin!(async {
        context.shutdown.cancelled().await;
        yield_now().await;
    });
    let reason = poll_fn(|cx| {
        activity.set_task(cx.waker());
        if !connection.is_draining && shutdown.as_mut().poll(cx).is_ready() {
            connection.is_draining = true;
        }
        connection.poll(cx)
    })
    .await;
    connection.close(&reason, &context.service, &context.limits, shutdown).await;
    drop(permit);
}

/// Answers the requests of one connection, in turns.
struct Requests<'a, E> {
    service: &'a AuthService<E>,
    activity: &'a Activity,
    turn: &'a Turn,
    memory: &'a ConnectionMemory,
}

impl<E: Evaluator> Requests<'_, E> {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<ResponseBody>, Infallible> {
        self.turn.next_request().await;
        self.activity.start_request();
        let response = self.service.handle(request, self.memory).await;
        self.activity.answer_request();
        response
    }
}

/// Runs the TLS handshake. During shutdown a pending handshake is dropped after the same grace period as an idle
/// connection.
async fn handshake<E>(context: &ConnContext<E>, stream: TcpStream) -> Option<MaybeTlsStream> {
    let Some(tls) = &context.tls else { return Some(Either::Left(stream)) };
    let grace_over = async {
        context.shutdown.cancelled().await;
        sleep(SHUTDOWN_GRACE.min(context.limits.drain_timeout)).await;
    };
    tokio::select! {
        stream = tls.handshake(stream, context.limits.request_timeout) => stream,
        () = grace_over => None,
    }
}

/// A connection in the states serving, draining and closing.
struct Connection<'a, S>
where
    S: AnswerRequests,
{
    builder: http1::Builder,
    service: &'a S,
    http: http1::Connection<TokioIo<CoalescedIo>, &'a S>,
    io: CoalescedIo,
    activity: Arc<Activity>,
    turn: &'a Turn,
    idle_grace: IdleGrace,
    is_draining: bool,
    /// Whether the last response announced the end of the connection.
    sent_connection_close: bool,
}

/// The services that a connection can have. `Clone` and `Copy` references of them are services too.
trait AnswerRequests: Service<Request<Incoming>, Response = Response<ResponseBody>, Error = Infallible> {}

impl<S> AnswerRequests for S where S: Service<Request<Incoming>, Response = Response<ResponseBody>, Error = Infallible> {}

impl<'a, S: AnswerRequests> Connection<'a, S> {
    fn new(
        stream: MaybeTlsStream,
        service: &'a S,
        activity: Arc<Activity>,
        turn: &'a Turn,
        unfinished: UnfinishedRequest,
        limits: &Limits,
    ) -> Self {
        let mut builder = http1::Builder::new();
        builder
            // The sweep ends idle connections.
            .header_read_timeout(None)
            .max_buf_size(MAX_HEAD)
            // Clients may half-close after the last request; keep writing responses.
            .half_close(true);
        let io = CoalescedIo::new(stream, Arc::clone(&activity), unfinished);
        Self {
            http: builder.serve_connection(TokioIo::new(io.clone()), service),
            builder,
            service,
            io,
            activity,
            turn,
            idle_grace: IdleGrace::new(limits.drain_timeout),
            is_draining: false,
            sent_connection_close: false,
        }
    }

    /// Polls in the states serving and draining. Ready when the connection enters closing.
    fn poll(&mut self, cx: &mut Context) -> Poll<CloseReason> {
        let mut served = self.poll_turn(cx);
        if self.is_draining && served.is_pending() && self.is_idle() {
            if self.poll_drained(cx).is_ready() {
                return Poll::Ready(CloseReason::Complete);
            }
            served = Pin::new(&mut self.http).poll(cx);
        }
        if matches!(&served, Poll::Ready(Err(error)) if error.is_parse()) {
            // hyper's response is still in the buffer: it may be replaced.
            let is_too_long = matches!(&served, Poll::Ready(Err(error)) if error.is_parse_too_large());
            return Poll::Ready(CloseReason::ParseError { is_too_long });
        }
        if matches!(self.io.poll_send(cx), Poll::Ready(Err(_))) {
            return Poll::Ready(CloseReason::PeerError);
        }
        match served {
            Poll::Ready(Ok(())) => Poll::Ready(CloseReason::Complete),
            Poll::Ready(Err(_)) => Poll::Ready(CloseReason::PeerError),
            Poll::Pending => self.poll_eviction(),
        }
    }

    /// Polls hyper until it has answered every request that arrived, or the turn ends.
    fn poll_turn(&mut self, cx: &mut Context) -> Poll<hyper::Result<()>> {
        for _ in 1..MAX_POLLS {
            let served = Pin::new(&mut self.http).poll(cx);
            let io = self.io.state();
            // hyper pauses by itself after 16 requests, and has asked to be polled again.
            let is_paused = self.activity.is_idle() && !io.is_idle() && !self.turn.is_over();
            if served.is_ready() || !is_paused || io.buffered >= MAX_BATCH {
                return served;
            }
        }
        Pin::new(&mut self.http).poll(cx)
    }

    /// Tells the sweep and the buffer limit what the connection waits for. Ready if one of them has evicted it.
    fn poll_eviction(&mut self) -> Poll<CloseReason> {
        let io = self.io.state();
        let stall = self.stall(io);
        if io.is_idle() {
            self.turn.end();
        }
        self.io.count_unfinished();
        self.activity.set_stall(stall);
        match self.activity.eviction() {
            None => Poll::Pending,
            Some(Eviction::TimedOut) if matches!(stall, Some(Stall::Idle(_))) => Poll::Ready(CloseReason::Idle),
            Some(_) => Poll::Ready(CloseReason::Evicted(stall)),
        }
    }

    /// What the connection waits for. The body of a request has a timeout of its own.
    fn stall(&self, io: IoState) -> Option<Stall> {
        match self.activity.started() {
            _ if io.is_sending => Some(Stall::WritingResponse(io.sent)),
            _ if !self.activity.is_idle() || !io.is_read_pending => None,
            requests if io.has_begun_request => Some(Stall::ReadingHead(requests)),
            requests => Some(Stall::Idle(requests)),
        }
    }

    /// Whether every request that arrived was answered.
    fn is_idle(&self) -> bool {
        self.activity.is_idle() && self.io.state().is_idle()
    }

    /// Ready when an idle connection may close: its last response announces it, or its grace period is over. The latter
    /// holds also for a client that is in the middle of a request: a restart must not wait for it.
    fn poll_drained(&mut self, cx: &mut Context) -> Poll<()> {
        // Only hyper knows whether a request has begun to arrive, and tells when it is taken apart.
        let http = self.builder.serve_connection(TokioIo::new(self.io.clone()), self.service);
        let begun = std::mem::replace(&mut self.http, http).into_parts().read_buf;
        self.sent_connection_close = begun.is_empty() && self.io.set_connection_close();
        self.io.unread(&begun);
        if self.sent_connection_close {
            return Poll::Ready(());
        }
        self.idle_grace.poll_elapsed(cx, self.io.state().received)
    }

    /// Sends what is buffered, and closes the connection so that the client can read all of it.
    async fn close<E: Evaluator>(
        self,
        reason: &CloseReason,
        service: &AuthService<E>,
        limits: &Limits,
        shutdown: Pin<&mut impl Future<Output = ()>>,
    ) {
        let head = self.http.into_parts().read_buf;
        if let CloseReason::ParseError { is_too_long } = reason {
            self.io.replace_parse_error(&service.unreadable_response(&head, *is_too_long));
        }
        drop(head);
        self.io.keep_nothing();
        let (io, max_bytes) = (self.io, MAX_DISCARDED_BODY as u64);
        let closing = async {
            if !matches!(reason, CloseReason::Evicted(Some(Stall::WritingResponse(_)))) {
                let _ = io.send().await;
            }
            match reason {
                CloseReason::Complete if self.sent_connection_close => {
                    io.shutdown_and_drain(max_bytes, sleep(SHUTDOWN_GRACE)).await;
                }
                CloseReason::Complete | CloseReason::Idle => drop(io.shutdown().await),
                CloseReason::ParseError { .. } => {
                    // While draining, the shutdown future is complete and must not be polled again.
                    let shutdown = async {
                        if !self.is_draining {
                            shutdown.await
                        }
                    };
                    io.shutdown_and_drain(max_bytes, shutdown).await;
                }
                CloseReason::PeerError | CloseReason::Evicted(..) => {}
            }
        };
        let is_closed = timeout(limits.request_timeout.min(limits.drain_timeout), closing).await.is_ok();
        if !is_closed || !matches!(reason, CloseReason::Complete | CloseReason::Idle) {
            tracing::debug!(?reason, is_closed, "connection broken");
        }
    }
}
