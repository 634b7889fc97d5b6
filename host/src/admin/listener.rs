//! How the operator comes in.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::serve::Listener;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::security::tls::Tls;
use crate::admin::evictable::{Host, Visit};
use crate::security::stream::Wire;

/// So many may be coming to speak TLS at once. Further ones wait.
const MOST_GREETED: usize = 64;

/// So many may be in at once. One more, and who came first of them has to go: a probe or an operator always gets in.
const MOST_VISITS: usize = 256;

/// How long that may take at the most: a probe is not to wait for strangers.
const LONGEST_GREETING: Duration = Duration::from_secs(2);

/// Takes connections of the operator. Whoever dawdles over TLS holds up nobody.
pub(crate) struct Entrance {
    listener: TcpListener,
    tls: Option<Tls>,
    patience: Duration,
    greeted: JoinSet<Option<(Wire, SocketAddr)>>,
    /// Who is in, the first one first.
    visits: VecDeque<Host>,
}

impl Entrance {
    pub(crate) fn new(listener: TcpListener, tls: Option<Tls>, patience: Duration) -> Self {
        Self { listener, tls, patience, greeted: JoinSet::new(), visits: VecDeque::new() }
    }

    fn greet(&mut self, tls: Tls, stream: TcpStream, from: SocketAddr) {
        let patience = self.patience.min(LONGEST_GREETING);
        self.greeted.spawn(async move { Some((tls.greet(stream, patience).await?, from)) });
    }

    fn let_in(&mut self, wire: Wire) -> Visit {
        self.visits.retain(Host::has_a_visitor);
        if self.visits.len() >= MOST_VISITS {
            self.visits.pop_front();
        }
        let (visit, host) = Visit::new(wire);
        self.visits.push_back(host);
        visit
    }
}

impl Listener for Entrance {
    type Io = Visit;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visit, SocketAddr) {
        loop {
            let has_room = self.greeted.len() < MOST_GREETED;
            tokio::select! {
                (stream, from) = Listener::accept(&mut self.listener), if has_room => match self.tls.clone() {
                    Some(tls) => self.greet(tls, stream, from),
                    None => return (self.let_in(Wire::Plain(stream)), from),
                },
                greeted = self.greeted.join_next(), if !self.greeted.is_empty() => {
                    if let Some(Ok(Some((wire, from)))) = greeted {
                        return (self.let_in(wire), from);
                    }
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}
