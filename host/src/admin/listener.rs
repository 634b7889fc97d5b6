//! The listener for operators: TLS handshakes, and a limit of connections.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::either::Either;

use super::evictable::{EvictHandle, EvictableIo};
use crate::security::{MaybeTlsStream, ServerTls};

/// Concurrent TLS handshakes. Further connections wait in the accept queue of the system.
const MAX_HANDSHAKES: usize = 64;

/// Open connections. One more evicts the oldest, so probes and operators can always connect.
const MAX_CONNECTIONS: usize = 256;

/// A handshake of a client that responds takes far less. Silent clients must not delay a probe.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);

/// Accepts connections of operators. A slow TLS handshake does not block other clients.
pub(crate) struct AdminListener {
    listener: TcpListener,
    tls: Option<ServerTls>,
    handshake_timeout: Duration,
    handshakes: JoinSet<Option<(MaybeTlsStream, SocketAddr)>>,
    connections: Connections,
}

/// Open connections, the oldest first.
#[derive(Default)]
struct Connections(VecDeque<EvictHandle>);

impl AdminListener {
    /// `timeout` is the request timeout. A handshake gets at most two seconds of it.
    pub(crate) fn new(listener: TcpListener, tls: Option<ServerTls>, timeout: Duration) -> Self {
        let handshake_timeout = timeout.min(HANDSHAKE_TIMEOUT);
        Self { listener, tls, handshake_timeout, handshakes: JoinSet::new(), connections: Connections::default() }
    }

    fn spawn_handshake(&mut self, tls: ServerTls, stream: TcpStream, peer: SocketAddr) {
        let timeout = self.handshake_timeout;
        self.handshakes.spawn(async move { Some((tls.handshake(stream, timeout).await?, peer)) });
    }
}

impl Connections {
    /// Adds a connection. Evicts the oldest one if there are too many.
    fn admit<S: Unpin>(&mut self, stream: S) -> EvictableIo<S> {
        self.0.retain(EvictHandle::is_open);
        if self.0.len() >= MAX_CONNECTIONS {
            self.0.pop_front();
        }
        let (io, handle) = EvictableIo::new(stream);
        self.0.push_back(handle);
        io
    }
}

impl Listener for AdminListener {
    type Io = EvictableIo<MaybeTlsStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let has_room = self.handshakes.len() < MAX_HANDSHAKES;
            tokio::select! {
                (stream, peer) = Listener::accept(&mut self.listener), if has_room => match self.tls.clone() {
                    Some(tls) => self.spawn_handshake(tls, stream, peer),
                    None => return (self.connections.admit(Either::Left(stream)), peer),
                },
                handshake = self.handshakes.join_next(), if !self.handshakes.is_empty() => {
                    if let Some(Ok(Some((stream, peer)))) = handshake {
                        return (self.connections.admit(stream), peer);
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_connection_is_evicted_and_closed_ones_free_their_place() {
        let mut connections = Connections::default();
        let mut open: Vec<_> = (0..MAX_CONNECTIONS).map(|_| connections.admit(())).collect();
        drop(open.pop());
        open.push(connections.admit(()));
        assert_eq!(connections.0.len(), MAX_CONNECTIONS, "a closed connection was replaced");
        let newest = connections.admit(());
        assert_eq!(connections.0.len(), MAX_CONNECTIONS);
        drop(open.remove(0));
        assert!(connections.0.iter().all(EvictHandle::is_open), "the first one had been evicted");
        drop(newest);
    }
}
