//! A connection whose answers leave together.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

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
    stream: TcpStream,
    waiting: BytesMut,
    starved: bool,
}

impl Gathered {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self(Arc::new(Mutex::new(Gathering { stream, waiting: BytesMut::new(), starved: false })))
    }

    /// Whether the server asked for more and the client had sent nothing: every whole request has been taken.
    pub(crate) fn is_starved(&self) -> bool {
        self.inner().starved
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
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Gathered {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context, buffer: &mut ReadBuf) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        let read = Pin::new(&mut inner.stream).poll_read(cx, buffer);
        inner.starved = read.is_pending();
        read
    }
}

impl AsyncWrite for Gathered {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut inner = self.inner();
        if inner.waiting.len() >= MOST_WAITING {
            ready!(inner.poll_send(cx))?;
        }
        inner.waiting.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    /// What waits is sent after the poll in which this is called.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        let mut inner = self.inner();
        ready!(inner.poll_send(cx))?;
        Pin::new(&mut inner.stream).poll_shutdown(cx)
    }
}
