//! How the operator comes in.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::tls::Tls;
use crate::wire::Wire;

/// So many may be coming to speak TLS at once. Further ones wait.
const MOST_GREETED: usize = 64;

/// How long that may take at the most: a probe is not to wait for strangers.
const LONGEST_GREETING: Duration = Duration::from_secs(2);

/// Takes connections of the operator. Whoever dawdles over TLS holds up nobody.
pub(crate) struct Entrance {
    listener: TcpListener,
    tls: Option<Tls>,
    patience: Duration,
    greeted: JoinSet<Option<(Wire, SocketAddr)>>,
}

impl Entrance {
    pub(crate) fn new(listener: TcpListener, tls: Option<Tls>, patience: Duration) -> Self {
        Self { listener, tls, patience, greeted: JoinSet::new() }
    }

    fn greet(&mut self, tls: Tls, stream: TcpStream, from: SocketAddr) {
        let patience = self.patience.min(LONGEST_GREETING);
        self.greeted.spawn(async move { Some((tls.greet(stream, patience).await?, from)) });
    }
}

impl Listener for Entrance {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        loop {
            let has_room = self.greeted.len() < MOST_GREETED;
            tokio::select! {
                (stream, from) = Listener::accept(&mut self.listener), if has_room => match self.tls.clone() {
                    Some(tls) => self.greet(tls, stream, from),
                    None => return (Wire::Plain(stream), from),
                },
                greeted = self.greeted.join_next(), if !self.greeted.is_empty() => {
                    if let Some(Ok(Some(come))) = greeted {
                        return come;
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
