//! A connection whose answers leave together.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use crate::security::stream::Wire;

/// So many bytes may wait before the client has to take some.
const MOST_WAITING: usize = 64 << 10;

/// A connection that keeps what is written to it until [`Gathered::send`], so that the answers to a hundred pipelined
/// requests are a few packets and not a hundred.
///
/// Nothing waits for more to come: whoever polls the server sends after each poll. (hyper's own `pipeline_flush` keeps
/// answers back for as long as another request has begun to arrive, and drops them when the connection ends then.)
#[derive(Clone)]
pub(crate) struct Gathered(Arc<Mutex<Gathering>>);

struct Gathering {
    stream: Wire,
    /// What came and was given back, to be read again.
    unread: BytesMut,
    waiting: BytesMut,
    /// Whether some of what was sent may be on its way to the system still.
    is_unflushed: bool,
    /// Where in `waiting` the last answer begins, if all of it is there.
    last: Option<usize>,
    /// Whether the next that is written may be several answers.
    was_blocked: bool,
    flow: Flow,
    /// How the first request begins.
    beginning: Vec<u8>,
}

/// So much is kept of the first request: its method and its path.
const BEGINNING: usize = 64;

/// What has come and gone on a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    /// Bytes that the client has sent.
    pub(crate) received: u64,
    /// Bytes that it has taken.
    pub(crate) sent: u64,
    /// Whether there are answers that it has yet to take.
    pub(crate) is_sending: bool,
    /// Whether the server asked for more and the client had sent nothing: every whole request has been taken.
    pub(crate) is_starved: bool,
    /// Whether the server could not write what it had to: there are answers that are not here yet.
    pub(crate) is_blocked: bool,
}

impl Flow {
    /// Whether the server has taken all that has come, and written all that it has to say.
    pub(crate) fn is_at_rest(self) -> bool {
        self.is_starved && !self.is_blocked
    }
}

impl Gathered {
    pub(crate) fn new(stream: Wire) -> Self {
        Self(Arc::new(Mutex::new(Gathering {
            stream,
            unread: BytesMut::new(),
            waiting: BytesMut::new(),
            is_unflushed: false,
            last: None,
            was_blocked: false,
            flow: Flow::default(),
            beginning: Vec::new(),
        })))
    }

    pub(crate) fn flow(&self) -> Flow {
        let inner = self.inner();
        Flow { is_sending: !inner.waiting.is_empty() || inner.is_unflushed, ..inner.flow }
    }

    /// How the first request on this connection begins.
    pub(crate) fn beginning(&self) -> Vec<u8> {
        self.inner().beginning.clone()
    }

    /// Gives back what was read and not used: it is read again before anything else.
    pub(crate) fn put_back(&self, unused: &[u8]) {
        self.inner().unread.extend_from_slice(unused);
    }

    /// Has the last of the answers that wait say that no other comes after it. False if none waits, or if part of it
    /// has been sent.
    pub(crate) fn announce_end(&self) -> bool {
        let mut inner = self.inner();
        let Some(at) = inner.last else { return false };
        let head = inner.waiting.get(at..).unwrap_or_default();
        // What has no answer yet is told to go on by a status 1xx.
        if !head.starts_with(b"HTTP/1.1 ") || head.get(9) == Some(&b'1') {
            return false;
        }
        let Some(line) = head.windows(2).position(|bytes| bytes == b"\r\n") else { return false };
        let rest = inner.waiting.split_off(at + line + 2);
        inner.waiting.extend_from_slice(b"connection: close\r\n");
        inner.waiting.unsplit(rest);
        inner.last = None;
        true
    }

    /// Puts another answer in the place of the last one, if that is a status 4xx, none of which has been sent.
    pub(crate) fn replace_last(&self, answer: &[u8]) {
        let mut inner = self.inner();
        let head = b"HTTP/1.";
        let Some(at) = inner.waiting.windows(head.len()).rposition(|bytes| bytes == head) else { return };
        // `HTTP/1.x 4`
        if inner.waiting.get(at + head.len() + 2) == Some(&b'4') {
            inner.waiting.truncate(at);
            inner.waiting.extend_from_slice(answer);
        }
    }

    /// Says that nothing more will be sent. In TLS that is a message of its own, without which a client may take what it
    /// has for cut off.
    pub(crate) async fn finish(&self) -> io::Result<()> {
        poll_fn(|cx| Pin::new(&mut self.inner().stream).poll_shutdown(cx)).await
    }

    /// Says that nothing more will be sent, and reads what still comes, so that the system does not take back what the
    /// client has yet to read. No more than so many bytes, and no longer than until `enough`.
    pub(crate) async fn linger(&self, most: u64, enough: impl Future<Output = ()>) {
        if self.finish().await.is_ok() {
            let (mut rest, mut nowhere) = (self.clone().take(most), tokio::io::sink());
            tokio::select! {
                _ = tokio::io::copy(&mut rest, &mut nowhere) => {}
                () = enough => {}
            }
        }
    }

    /// Sends what waits, as far as the client takes it.
    pub(crate) fn poll_send(&self, cx: &mut Context) -> Poll<io::Result<()>> {
        self.inner().poll_send(cx)
    }

    /// Sends all that waits.
    pub(crate) async fn send(&self) -> io::Result<()> {
        poll_fn(|cx| self.poll_send(cx)).await
    }

    /// Never contended: the server and its poller are one task.
    fn inner(&self) -> MutexGuard<'_, Gathering> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathering {
    fn poll_send(&mut self, cx: &mut Context) -> Poll<io::Result<()>> {
        while !self.waiting.is_empty() {
            let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.waiting))?;
            if sent == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.waiting.advance(sent);
            self.last = self.last.and_then(|last| last.checked_sub(sent));
            self.flow.sent += sent as u64;
            self.is_unflushed = true;
        }
        if self.is_unflushed {
            // TLS may have taken what the client has not.
            ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
            self.is_unflushed = false;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Gathered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context, buffer: &mut ReadBuf) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        if !inner.unread.is_empty() {
            let length = inner.unread.len().min(buffer.remaining());
            buffer.put_slice(&inner.unread.split_to(length));
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut inner.stream).poll_read(cx, buffer);
        let new = buffer.filled().get(before..).unwrap_or_default();
        if inner.flow.received == 0 {
            inner.beginning = new.get(..BEGINNING).unwrap_or(new).to_vec();
        }
        inner.flow.received += new.len() as u64;
        inner.flow.is_starved = read.is_pending();
        read
    }
}

impl AsyncWrite for Gathered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.inner();
        if inner.waiting.len() >= MOST_WAITING {
            let sent = inner.poll_send(cx);
            inner.flow.is_blocked = sent.is_pending();
            inner.was_blocked |= sent.is_pending();
            ready!(sent)?;
        }
        inner.flow.is_blocked = false;
        // The server writes each answer by itself, unless it had to wait for the one before.
        if std::mem::replace(&mut inner.was_blocked, false) {
            inner.last = None;
        } else if bytes.starts_with(b"HTTP/1.") {
            inner.last = Some(inner.waiting.len());
        }
        inner.waiting.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// What waits is sent after the poll in which this is called.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Nothing is shut before what waits has been sent, and that is not for the server to say.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
