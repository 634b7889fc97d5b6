//! Connections that can be closed from outside, to make room for new ones.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// A connection that fails with `ConnectionAborted` once its [`EvictHandle`] is dropped.
pub(crate) struct EvictableIo<S> {
    stream: S,
    /// `None` once the connection has been evicted.
    evict: Option<oneshot::Receiver<()>>,
}

/// Evicts a connection when dropped.
pub(super) struct EvictHandle(oneshot::Sender<()>);

impl<S: Unpin> EvictableIo<S> {
    pub(super) fn new(stream: S) -> (Self, EvictHandle) {
        let (handle, evict) = oneshot::channel();
        (Self { stream, evict: Some(evict) }, EvictHandle(handle))
    }

    /// Returns the stream, or an error if the connection has been evicted. Registers the waker for the eviction.
    fn poll_stream(&mut self, cx: &mut Context) -> io::Result<Pin<&mut S>> {
        self.evict.take_if(|evict| Pin::new(evict).poll(cx).is_ready());
        match self.evict {
            Some(_) => Ok(Pin::new(&mut self.stream)),
            None => Err(io::ErrorKind::ConnectionAborted.into()),
        }
    }
}

impl EvictHandle {
    /// Whether the connection is still open.
    pub(super) fn is_open(&self) -> bool {
        !self.0.is_closed()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for EvictableIo<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context, buffer: &mut ReadBuf) -> Poll<io::Result<()>> {
        self.get_mut().poll_stream(cx)?.poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for EvictableIo<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().poll_stream(cx)?.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        self.get_mut().poll_stream(cx)?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        self.get_mut().poll_stream(cx)?.poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn dropping_the_handle_wakes_and_fails_a_waiting_connection() {
        let (stream, mut client) = duplex(64);
        let (mut io, handle) = EvictableIo::new(stream);
        client.write_all(b"x").await.unwrap();
        assert_eq!(io.read_u8().await.unwrap(), b'x');
        assert!(handle.is_open());
        let (read, ()) = tokio::join!(io.read_u8(), async { drop(handle) });
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(io.write_u8(b'x').await.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }

    #[test]
    fn a_handle_knows_when_the_connection_has_closed() {
        let (io, handle) = EvictableIo::new(());
        drop(io);
        assert!(!handle.is_open());
    }
}
