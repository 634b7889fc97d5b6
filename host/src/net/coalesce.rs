//! Coalesces the responses of one turn into one write.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::activity::{Activity, Eviction};
use super::buffer_limit::UnfinishedRequest;
use super::http1_patch;
use crate::security::MaybeTlsStream;

/// Maximum size of the write buffer, in bytes, before the client has to read some of it.
const MAX_BUFFERED: usize = 64 << 10;

/// Bytes of one read that may hold the beginning of the next request, and yet do not count as unfinished: what brokers
/// send at once.
const MAX_UNCOUNTED: u64 = 8 << 10;

/// A connection that buffers what is written until [`CoalescedIo::send`], so that the responses to a hundred pipelined
/// requests are a few packets.
///
/// No response waits for more to come: the connection is sent after each turn. (hyper's own `pipeline_flush` holds
/// responses back while another request begins to arrive, and drops them if the connection ends then.)
#[derive(Clone)]
pub(super) struct CoalescedIo(Arc<Mutex<Inner>>);

struct Inner {
    stream: MaybeTlsStream,
    /// Bytes that were read and given back, to be read again.
    unread: BytesMut,
    unsent: BytesMut,
    /// Whether the TLS layer may still hold bytes that were written.
    is_unflushed: bool,
    /// Where in `unsent` the last response begins, if all of it is there.
    last_response_at: Option<usize>,
    /// Whether the next write may contain several responses.
    was_blocked: bool,
    state: IoState,
    activity: Arc<Activity>,
    unfinished: UnfinishedRequest,
    /// Bytes of the last read.
    last_read: u64,
    /// Requests that were answered before the last read.
    answered: u64,
    /// Bytes of all reads since the last answer, with the read before it: hyper may keep the end of that one.
    since_answer: u64,
}

/// Progress of the reads and writes on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct IoState {
    /// Bytes received from the client.
    pub(super) received: u64,
    /// Bytes that the client has accepted.
    pub(super) sent: u64,
    /// Bytes of responses that are buffered.
    pub(super) buffered: usize,
    /// Whether responses are buffered that the client has not accepted.
    pub(super) is_sending: bool,
    /// Whether bytes arrived since the last answer.
    pub(super) has_begun_request: bool,
    /// Whether hyper's last read found nothing: it has taken every complete request.
    pub(super) is_read_pending: bool,
    /// Whether hyper's last write was refused: there are responses that are not buffered yet.
    pub(super) is_write_blocked: bool,
}

impl IoState {
    /// Whether hyper has read all that arrived, and written all responses.
    pub(super) fn is_idle(self) -> bool {
        self.is_read_pending && !self.is_write_blocked
    }
}

impl CoalescedIo {
    pub(super) fn new(stream: MaybeTlsStream, activity: Arc<Activity>, unfinished: UnfinishedRequest) -> Self {
        Self(Arc::new(Mutex::new(Inner {
            stream,
            unread: BytesMut::new(),
            unsent: BytesMut::new(),
            is_unflushed: false,
            last_response_at: None,
            was_blocked: false,
            state: IoState::default(),
            activity,
            unfinished,
            last_read: 0,
            answered: 0,
            since_answer: 0,
        })))
    }

    pub(super) fn state(&self) -> IoState {
        let inner = self.inner();
        let has_begun_request = inner.last_read > 0 && inner.activity.answered() == inner.answered;
        IoState {
            buffered: inner.unsent.len(),
            is_sending: !inner.unsent.is_empty() || inner.is_unflushed,
            has_begun_request,
            ..inner.state
        }
    }

    /// Tells the buffer limit that nothing is kept of what arrives from now on.
    pub(super) fn keep_nothing(&self) {
        self.inner().unfinished.set(0);
    }

    /// Tells the buffer limit how many bytes the unfinished request takes. Call it after each step.
    pub(super) fn count_unfinished(&self) {
        self.inner().count_unfinished();
    }

    /// Gives back bytes that were read and not used. They are read again before anything else.
    pub(super) fn unread(&self, bytes: &[u8]) {
        self.inner().unread.extend_from_slice(bytes);
    }

    /// Adds `connection: close` to the last buffered response. Returns `false` if there is none, or if part of it was sent.
    pub(super) fn set_connection_close(&self) -> bool {
        let mut guard = self.inner();
        let inner = &mut *guard;
        let is_set =
            inner.last_response_at.is_some_and(|at| http1_patch::insert_connection_close(&mut inner.unsent, at));
        if is_set {
            inner.last_response_at = None;
        }
        is_set
    }

    /// Responds to a head that hyper could not read, instead of hyper.
    pub(super) fn replace_parse_error(&self, response: &[u8]) {
        http1_patch::replace_parse_error(&mut self.inner().unsent, response);
    }

    /// Shuts down the sending side. In TLS that is a message, without which a client may take the response for truncated.
    pub(super) async fn shutdown(&self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut self.inner().stream).poll_shutdown(cx)).await
    }

    /// Shuts down the sending side, and drains unread input, up to `max_bytes` or until `enough`.
    ///
    /// Closing a socket with unread input makes the kernel send RST, which discards responses in flight.
    pub(super) async fn shutdown_and_drain(&self, max_bytes: u64, enough: impl Future<Output = ()>) {
        if self.shutdown().await.is_ok() {
            let (mut rest, mut sink) = (self.clone().take(max_bytes), tokio::io::sink());
            tokio::select! {
                _ = tokio::io::copy(&mut rest, &mut sink) => {}
                () = enough => {}
            }
        }
    }

    /// Sends buffered responses, as far as the client accepts them.
    pub(super) fn poll_send(&self, cx: &mut Context) -> Poll<io::Result<()>> {
        self.inner().poll_send(cx)
    }

    /// Sends all buffered responses.
    pub(super) async fn send(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_send(cx)).await
    }

    /// The lock is never contended: hyper and the code that sends run in one task.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn count_unfinished(&mut self) {
        let bytes = self.unfinished_bytes();
        self.unfinished.set(bytes);
    }

    /// Bytes at most that the gate holds for a request that is not complete.
    fn unfinished_bytes(&self) -> u64 {
        match self.activity.answered() == self.answered {
            true => self.since_answer,
            false if self.last_read > MAX_UNCOUNTED => self.last_read,
            false => 0,
        }
    }

    fn count_read(&mut self, new: u64) {
        let answered = self.activity.answered();
        let before = if answered == self.answered { self.since_answer } else { self.last_read };
        (self.since_answer, self.last_read, self.answered) = (before + new, new, answered);
        self.state.received += new;
    }

    fn poll_send(&mut self, cx: &mut Context) -> Poll<io::Result<()>> {
        while !self.unsent.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.unsent))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unsent.advance(sent);
            self.last_response_at = self.last_response_at.and_then(|at| at.checked_sub(sent));
            self.state.sent += sent as u64;
            self.is_unflushed = true;
        }
        if self.is_unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for CoalescedIo {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context, buffer: &mut ReadBuf) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        if !inner.unread.is_empty() {
            let length = inner.unread.len().min(buffer.remaining());
            buffer.put_slice(&inner.unread.split_to(length));
            return Poll::Ready(Ok(()));
        }
        if inner.activity.eviction() == Some(Eviction::Memory) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if inner.unfinished.must_wait() {
            inner.state.is_read_pending = false;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut inner.stream).poll_read(cx, buffer);
        let new = buffer.filled().get(before..).unwrap_or_default();
        let new = new.len() as u64;
        inner.state.is_read_pending = read.is_pending();
        if new > 0 {
            inner.count_read(new);
            // hyper reads on until it has a whole head.
            if inner.since_answer > MAX_UNCOUNTED {
                inner.count_unfinished();
            }
        }
        read
    }
}

impl AsyncWrite for CoalescedIo {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.inner();
        if inner.unsent.len() >= MAX_BUFFERED {
            let sent = inner.poll_send(cx);
            inner.state.is_write_blocked = sent.is_pending();
            inner.was_blocked |= sent.is_pending();
            ready!(sent)?;
        }
        inner.state.is_write_blocked = false;
        // hyper writes each response by itself, unless it had to wait for the one before (hyper 1, `proto::h1::io`, the
        // flattening write strategy). The test below pins that.
        if std::mem::replace(&mut inner.was_blocked, false) {
            inner.last_response_at = None;
        } else if bytes.starts_with(b"HTTP/1.") {
            inner.last_response_at = Some(inner.unsent.len());
        }
        inner.unsent.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// The buffer is sent at the end of the turn.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// The connection is shut down once the buffer was sent, and hyper does not know when.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Full;
    use hyper::body::{Bytes, Incoming};
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper::{Request, Response};
    use hyper_util::rt::TokioIo;
    use tokio::io::AsyncWriteExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio_util::either::Either;

    use super::*;
    use crate::net::buffer_limit::BufferLimit;

    async fn pair() -> (CoalescedIo, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let activity = Arc::<Activity>::default();
        let unfinished = BufferLimit::new(1 << 20).connection(Arc::clone(&activity));
        (CoalescedIo::new(Either::Left(server), activity, unfinished), client)
    }

    async fn ok(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
        Ok(Response::new(Full::from("ok")))
    }

    /// hyper writes each of several pipelined responses by one call, so the start of the last one is known.
    #[tokio::test]
    async fn finds_the_last_of_several_pipelined_responses() {
        let (io, mut client) = pair().await;
        client.write_all(&b"GET / HTTP/1.1\r\n\r\n".repeat(3)).await.unwrap();
        let connection = http1::Builder::new().serve_connection(TokioIo::new(io.clone()), service_fn(ok));
        let mut connection = std::pin::pin!(connection);
        // Until all three requests were read.
        poll_fn(|cx| {
            assert!(connection.as_mut().poll(cx).is_pending());
            let is_complete = io.state().received == 54 && io.state().is_idle();
            if is_complete { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        assert!(io.set_connection_close());
        assert!(!io.set_connection_close(), "only once");
        let unsent = String::from_utf8(io.inner().unsent.to_vec()).unwrap();
        let responses: Vec<_> = unsent.split("HTTP/1.1 200 OK\r\n").skip(1).collect();
        assert_eq!(responses.len(), 3);
        assert!(responses[2].starts_with("connection: close\r\n") && !responses[1].contains("close"), "{unsent}");
    }

    #[tokio::test]
    async fn buffers_until_it_is_sent() {
        let (mut io, mut client) = pair().await;
        io.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        io.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").await.unwrap();
        assert_eq!((io.state().sent, io.state().is_sending), (0, true));
        io.send().await.unwrap();
        assert_eq!((io.state().sent, io.state().is_sending), (45, false));
        let mut received = [0; 45];
        client.read_exact(&mut received).await.unwrap();
        assert_eq!(received[..], *b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 404 Not Found\r\n\r\n");
        assert!(!io.set_connection_close(), "it was sent");
    }

    #[tokio::test]
    async fn reads_again_what_was_given_back() {
        let (mut io, mut client) = pair().await;
        client.write_all(b"world").await.unwrap();
        io.unread(b"hello ");
        let mut received = [0; 11];
        io.read_exact(&mut received).await.unwrap();
        assert_eq!(received[..], *b"hello world");
    }

    #[tokio::test]
    async fn counts_bytes_of_unfinished_requests() {
        let (io, _client) = pair().await;
        let activity = Arc::clone(&io.inner().activity);
        let unfinished = || io.inner().unfinished_bytes();
        let receive = |length| {
            io.inner().count_read(length);
            unfinished()
        };
        assert_eq!((unfinished(), receive(100), receive(50)), (0, 100, 150));
        activity.answer_request();
        assert_eq!((io.state().has_begun_request, unfinished()), (false, 0));
        // The read before the answer may hold the beginning of the next request.
        assert_eq!(receive(7), 57);
        activity.answer_request();
        assert_eq!(receive(10_000), 10_007);
        assert!(io.state().has_begun_request);
        activity.answer_request();
        assert_eq!((io.state().has_begun_request, unfinished()), (false, 10_000));
    }
}
