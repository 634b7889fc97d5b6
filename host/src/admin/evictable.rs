//! A connection of the operator, which can be asked to go.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::security::stream::Wire;

/// A connection that ends when its [`Host`] is dropped.
pub(crate) struct Visit {
    wire: Wire,
    /// Absent once it has been heard.
    leave: Option<oneshot::Receiver<()>>,
}

/// Who let a visitor in, and can have it go.
pub(crate) struct Host(oneshot::Sender<()>);

impl Visit {
    pub(crate) fn new(wire: Wire) -> (Self, Host) {
        let (host, leave) = oneshot::channel();
        (Self { wire, leave: Some(leave) }, Host(host))
    }

    /// The connection, unless it has to end. Whoever waits for it hears of that.
    fn wire(&mut self, cx: &mut Context) -> io::Result<Pin<&mut Wire>> {
        self.leave.take_if(|leave| Pin::new(leave).poll(cx).is_ready());
        if self.leave.is_some() { Ok(Pin::new(&mut self.wire)) } else { Err(io::ErrorKind::ConnectionAborted.into()) }
    }
}

impl Host {
    /// Whether the visitor is still there.
    pub(crate) fn has_a_visitor(&self) -> bool {
        !self.0.is_closed()
    }
}

impl AsyncRead for Visit {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context, buffer: &mut ReadBuf) -> Poll<io::Result<()>> {
        self.get_mut().wire(cx)?.poll_read(cx, buffer)
    }
}

impl AsyncWrite for Visit {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.get_mut().wire(cx)?.poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        self.get_mut().wire(cx)?.poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context) -> Poll<io::Result<()>> {
        self.get_mut().wire(cx)?.poll_shutdown(cx)
    }
}
