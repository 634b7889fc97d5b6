//! Accepts connections, up to a limit.

use std::future::poll_fn;
use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::util::log_throttle::LogThrottle;

/// Pause after a failed accept. Usually the process is out of file descriptors, and trying again at once only burns time.
const ACCEPT_RETRY_WAIT: Duration = Duration::from_millis(100);

/// Limit of the connections that are open at once.
#[derive(Clone)]
pub(crate) struct ConnectionLimit {
    max: usize,
    free: Arc<Semaphore>,
    open: Arc<AtomicUsize>,
    queued: Arc<AtomicU64>,
}

/// An accepted connection, which counts as open until this is dropped.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    /// `None` for connections that are accepted during shutdown: they do not count.
    pub(super) permit: Option<ConnectionPermit>,
}

/// Counts one connection as open until it is dropped.
pub(super) struct ConnectionPermit {
    open: Arc<AtomicUsize>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Relaxed);
    }
}

impl ConnectionLimit {
    pub(crate) fn new(max: usize) -> Self {
        Self { max, free: Arc::new(Semaphore::new(max)), open: Arc::default(), queued: Arc::default() }
    }

    /// Maximum number of open connections.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Connections that are open now.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Connections that had to wait because the limit was reached.
    pub(crate) fn queued(&self) -> u64 {
        self.queued.load(Relaxed)
    }

    /// Waits until one more connection is allowed.
    async fn acquire(&self, log_throttle: &mut LogThrottle) -> Option<ConnectionPermit> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(self.permit(permit));
        }
        self.queued.fetch_add(1, Relaxed);
        if log_throttle.should_log(Instant::now()) {
            tracing::warn!(
                max_connections = self.max,
                hint = "raise limits.max_connections if brokers need more; otherwise keep other clients off this port",
                "connection limit reached; new connections wait"
            );
        }
        Some(self.permit(Arc::clone(&self.free).acquire_owned().await.ok()?))
    }

    fn permit(&self, permit: OwnedSemaphorePermit) -> ConnectionPermit {
        self.open.fetch_add(1, Relaxed);
        ConnectionPermit { open: Arc::clone(&self.open), _permit: permit }
    }
}

/// Accepts connections one by one.
pub(crate) struct Acceptor {
    /// At least one.
    listeners: Vec<TcpListener>,
    /// The listener that is asked first. It changes, so that a busy one does not starve the others.
    first: usize,
    /// Whether the service manager holds the socket too, and hands it to the next gate.
    is_inherited: bool,
    limit: ConnectionLimit,
    /// A connection that waits for the limit.
    waiting: Option<TcpStream>,
    limit_log: LogThrottle,
    error_log: LogThrottle,
}

impl Acceptor {
    pub(crate) fn new(listeners: Vec<TcpListener>, is_inherited: bool, limit: ConnectionLimit) -> Self {
        let (limit_log, error_log) = (LogThrottle::default(), LogThrottle::default());
        Self { listeners, first: 0, is_inherited, limit, waiting: None, limit_log, error_log }
    }

    /// Returns the next connection, detached from the runtime. Cancelling this loses none.
    pub(super) async fn next(&mut self) -> Accepted {
        if self.waiting.is_none() {
            let stream = self.accept().await;
            self.waiting = Some(stream);
        }
        let permit = self.limit.acquire(&mut self.limit_log).await;
        match self.waiting.take() {
            Some(stream) => Accepted { stream, permit },
            None => Accepted { stream: self.accept().await, permit },
        }
    }

    /// Accepts one connection. An error costs at most that connection.
    async fn accept(&mut self) -> TcpStream {
        loop {
            match self.accept_any().await.and_then(tokio::net::TcpStream::into_std) {
                Ok(stream) => return stream,
                Err(error) => {
                    if self.error_log.should_log(Instant::now()) {
                        tracing::warn!(%error, hint = "raise the limit of open files", "cannot accept connection");
                    }
                    tokio::time::sleep(ACCEPT_RETRY_WAIT).await;
                }
            }
        }
    }

    /// Accepts one connection from any listener.
    async fn accept_any(&mut self) -> io::Result<tokio::net::TcpStream> {
        let count = self.listeners.len();
        self.first = (self.first + 1) % count.max(1);
        let (listeners, first) = (&self.listeners, self.first);
        poll_fn(|cx| {
            let in_turn = listeners.iter().cycle().skip(first).take(count);
            for listener in in_turn {
                if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                    return Poll::Ready(accepted.map(|(stream, _)| stream));
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Closes the listeners, and returns the connections that wait in them.
    ///
    /// Those of an inherited socket are left to the next gate. The operating system is asked directly: what the runtime
    /// knows of the socket may be old.
    pub(super) fn close(self) -> io::Result<Vec<Accepted>> {
        let mut waiting: Vec<TcpStream> = self.waiting.into_iter().collect();
        for listener in self.listeners {
            let listener = listener.into_std()?;
            let mut is_done = self.is_inherited;
            while !is_done {
                match listener.accept() {
                    Ok((stream, _)) => {
                        stream.set_nonblocking(true)?;
                        waiting.push(stream);
                    }
                    // The client left before it was accepted.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(_) => is_done = true,
                }
            }
        }
        Ok(waiting.into_iter().map(|stream| Accepted { stream, permit: None }).collect())
    }
}
