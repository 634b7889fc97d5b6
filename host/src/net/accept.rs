//! Taking connections, no more of them than the operator allows.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The same trouble is told in the log no more often than this.
const QUIET: Duration = Duration::from_secs(60);

/// The places that connections take up.
#[derive(Clone)]
pub(crate) struct Places {
    most: usize,
    free: Arc<Semaphore>,
    open: Arc<AtomicUsize>,
    waits: Arc<AtomicU64>,
}

/// A connection, and the place that it takes up for as long as this lives.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    /// None for those that are answered while the gate stops.
    pub(crate) place: Option<Place>,
}

/// The place of one connection, which is counted until this is dropped.
pub(crate) struct Place {
    open: Arc<AtomicUsize>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Relaxed);
    }
}

impl Places {
    pub(crate) fn new(most: usize) -> Self {
        Self { most, free: Arc::new(Semaphore::new(most)), open: Arc::default(), waits: Arc::default() }
    }

    /// The most connections that there may be.
    pub(crate) fn most(&self) -> usize {
        self.most
    }

    /// Connections that there are.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// How often a connection had to wait for a place.
    pub(crate) fn waits(&self) -> u64 {
        self.waits.load(Relaxed)
    }

    /// A place for a connection that has come, once there is one.
    async fn take(&self, told: &mut Told) -> Option<Place> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(self.fill(permit));
        }
        self.waits.fetch_add(1, Relaxed);
        if told.is_due() {
            tracing::warn!(
                connections = self.most,
                remedy = "raise limits.connections if these are brokers; otherwise keep strangers off this port",
                "no place for another connection: it waits, with those behind it, until one of the others ends"
            );
        }
        Some(self.fill(Arc::clone(&self.free).acquire_owned().await.ok()?))
    }

    fn fill(&self, permit: OwnedSemaphorePermit) -> Place {
        self.open.fetch_add(1, Relaxed);
        Place { open: Arc::clone(&self.open), _permit: permit }
    }
}

/// Takes connections, one after another.
pub(crate) struct Acceptor {
    listener: TcpListener,
    /// Whether the listener outlives this, in the hands of somebody else.
    is_held: bool,
    places: Places,
    /// A connection that waits for a place.
    kept: Option<TcpStream>,
    full: Told,
    failed: Told,
}

impl Acceptor {
    /// `is_held`: somebody else holds the listener too.
    pub(crate) fn new(listener: TcpListener, is_held: bool, places: Places) -> Self {
        Self { listener, is_held, places, kept: None, full: Told::default(), failed: Told::default() }
    }

    /// The next connection, detached from the runtime that accepted it. Loses none when it is given up half-way.
    pub(crate) async fn next(&mut self) -> Accepted {
        if self.kept.is_none() {
            let stream = self.accept().await;
            self.kept = Some(stream);
        }
        let place = self.places.take(&mut self.full).await;
        match self.kept.take() {
            Some(stream) => Accepted { stream, place },
            None => Accepted { stream: self.accept().await, place },
        }
    }

    /// An error costs at most the connection.
    async fn accept(&mut self) -> TcpStream {
        loop {
            match self.listener.accept().await.and_then(|(connection, _)| connection.into_std()) {
                Ok(stream) => return stream,
                Err(error) => {
                    if self.failed.is_due() {
                        tracing::warn!(
                            %error,
                            remedy = "raise the limit on open files, if that is it",
                            "cannot accept a connection"
                        );
                    }
                    // Out of file descriptors, usually: trying again at once would only cost time.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// Closes the listener; the connections that wait here and, unless they are left to whoever holds it next, there.
    /// Asked of the system itself: what the runtime knows of it may be old.
    pub(crate) fn close(self) -> io::Result<Vec<Accepted>> {
        let listener = self.listener.into_std()?;
        let mut waiting: Vec<TcpStream> = self.kept.into_iter().collect();
        let mut is_done = self.is_held;
        while !is_done {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    waiting.push(stream);
                }
                // It was gone before it was taken.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => is_done = true,
            }
        }
        Ok(waiting.into_iter().map(|stream| Accepted { stream, place: None }).collect())
    }
}

/// When something was told last.
#[derive(Default)]
pub(crate) struct Told(Option<Instant>);

impl Told {
    /// Whether to tell it now; if so, it counts as told.
    pub(crate) fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.0.is_none_or(|told| now.duration_since(told) >= QUIET);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}
