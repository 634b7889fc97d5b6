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

    /// The place of a connection that has come.
    fn fill(&self, permit: Option<OwnedSemaphorePermit>) -> Option<Place> {
        let permit = permit?;
        self.open.fetch_add(1, Relaxed);
        Some(Place { open: Arc::clone(&self.open), _permit: permit })
    }

    /// Leave to take a connection, once there is room. Connections that come meanwhile wait where the system keeps them.
    async fn permit(&self, told: &mut Told) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() {
            return Some(permit);
        }
        self.waits.fetch_add(1, Relaxed);
        if told.is_due() {
            tracing::warn!(
                connections = self.most,
                remedy = "raise limits.connections if these are brokers; otherwise keep strangers off this port",
                "no place for another connection: further ones wait until one of these ends"
            );
        }
        Arc::clone(&self.free).acquire_owned().await.ok()
    }
}

/// Takes connections, one after another.
pub(crate) struct Acceptor<'a> {
    listener: &'a TcpListener,
    places: Places,
    full: Told,
    failed: Told,
}

impl<'a> Acceptor<'a> {
    pub(crate) fn new(listener: &'a TcpListener, places: Places) -> Self {
        Self { listener, places, full: Told::default(), failed: Told::default() }
    }

    /// The next connection, detached from the runtime that accepted it. An error costs at most the connection.
    pub(crate) async fn next(&mut self) -> Accepted {
        let permit = self.places.permit(&mut self.full).await;
        loop {
            match self.listener.accept().await.and_then(|(connection, _)| connection.into_std()) {
                Ok(stream) => return Accepted { stream, place: self.places.fill(permit) },
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
}

/// The connections that wait at a listener, which is closed. Asked of the system itself: what the runtime knows of it may
/// be old.
pub(crate) fn close(listener: TcpListener) -> io::Result<Vec<Accepted>> {
    let listener = listener.into_std()?;
    let mut connections = Vec::new();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(true)?;
                connections.push(Accepted { stream, place: None });
            }
            // It was gone before it was taken.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => return Ok(connections),
        }
    }
}

/// When something was told last.
#[derive(Default)]
struct Told(Option<Instant>);

impl Told {
    /// Whether to tell it now; if so, it counts as told.
    fn is_due(&mut self) -> bool {
        let now = Instant::now();
        let is_due = self.0.is_none_or(|told| now.duration_since(told) >= QUIET);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }
}
