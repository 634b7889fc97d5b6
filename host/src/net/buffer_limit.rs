//! Limit of the memory that unfinished requests take, over all connections.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use super::activity::{Activity, Eviction};
use crate::util::log_throttle::LogThrottle;

/// Bytes received for requests that are not complete, of all connections.
///
/// A client can begin many requests and complete none. Beyond the limit the oldest unfinished request goes first: a
/// broker completes its requests at once.
#[derive(Clone)]
pub(crate) struct BufferLimit(Arc<Shared>);

struct Shared {
    max: u64,
    /// Bytes of all connections, also of those that were evicted and have not let go of them.
    held: AtomicU64,
    unfinished: Mutex<Unfinished>,
    evicted: AtomicU64,
}

#[derive(Default)]
struct Unfinished {
    /// Bytes of the requests below.
    bytes: u64,
    /// By age.
    requests: BTreeMap<u64, Request>,
    next_key: u64,
    log: LogThrottle,
}

struct Request {
    bytes: u64,
    connection: Arc<Activity>,
}

/// The unfinished request of one connection. Counts until it is dropped.
pub(super) struct UnfinishedRequest {
    limit: BufferLimit,
    connection: Arc<Activity>,
    bytes: u64,
    /// Its age, while it is unfinished.
    key: Option<u64>,
}

impl BufferLimit {
    /// `max` is in bytes.
    pub(crate) fn new(max: u64) -> Self {
        let (held, evicted) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Shared { max, held, unfinished: Mutex::default(), evicted }))
    }

    /// Maximum, in bytes.
    pub(crate) fn max(&self) -> u64 {
        self.0.max
    }

    /// Bytes that unfinished requests take now.
    pub(crate) fn used(&self) -> u64 {
        self.0.held.load(Relaxed)
    }

    /// Connections that were closed because of the limit.
    pub(crate) fn evicted(&self) -> u64 {
        self.0.evicted.load(Relaxed)
    }

    /// A connection without an unfinished request.
    pub(super) fn connection(&self, connection: Arc<Activity>) -> UnfinishedRequest {
        UnfinishedRequest { limit: self.clone(), connection, bytes: 0, key: None }
    }
}

impl UnfinishedRequest {
    /// Sets how many bytes the unfinished request of this connection takes; 0 if it has none.
    pub(super) fn set(&mut self, bytes: u64) {
        if bytes != self.bytes {
            self.limit.0.held.fetch_add(bytes.wrapping_sub(self.bytes), Relaxed);
            self.bytes = bytes;
            self.update();
        }
    }

    /// Whether this request has to wait until evicted connections have let go of their memory.
    pub(super) fn must_wait(&self) -> bool {
        self.bytes > 0 && self.limit.used() > self.limit.max()
    }

    fn update(&mut self) {
        let shared = &self.limit.0;
        let mut unfinished = shared.unfinished.lock().unwrap_or_else(PoisonError::into_inner);
        if self.bytes == 0 {
            if let Some(request) = self.key.take().and_then(|key| unfinished.requests.remove(&key)) {
                unfinished.bytes = unfinished.bytes.saturating_sub(request.bytes);
            }
            return;
        }
        unfinished.set(&mut self.key, self.bytes, &self.connection);
        while unfinished.bytes > shared.max
            && let Some((_, oldest)) = unfinished.requests.pop_first()
        {
            unfinished.bytes = unfinished.bytes.saturating_sub(oldest.bytes);
            shared.evicted.fetch_add(1, Relaxed);
            oldest.connection.evict(Eviction::Memory);
            if unfinished.log.should_log(Instant::now()) {
                tracing::warn!(
                    max_buffered = shared.max,
                    hint = "raise limits.max_buffered if brokers send this much; otherwise keep other clients off this port",
                    "unfinished requests take too much memory; closing oldest"
                );
            }
        }
    }
}

impl Unfinished {
    fn set(&mut self, key: &mut Option<u64>, bytes: u64, connection: &Arc<Activity>) {
        match *key {
            // Without an entry, it was evicted already.
            Some(key) => {
                if let Some(request) = self.requests.get_mut(&key) {
                    self.bytes = self.bytes.saturating_sub(request.bytes).saturating_add(bytes);
                    request.bytes = bytes;
                }
            }
            None => {
                self.requests.insert(self.next_key, Request { bytes, connection: Arc::clone(connection) });
                self.bytes = self.bytes.saturating_add(bytes);
                *key = Some(self.next_key);
                self.next_key += 1;
            }
        }
    }
}

impl Drop for UnfinishedRequest {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(limit: &BufferLimit) -> (Arc<Activity>, UnfinishedRequest) {
        let activity = Arc::<Activity>::default();
        (Arc::clone(&activity), limit.connection(activity))
    }

    #[test]
    fn oldest_unfinished_request_goes_first() {
        let limit = BufferLimit::new(100);
        let (first, mut first_request) = connection(&limit);
        let (second, mut second_request) = connection(&limit);
        let (third, mut third_request) = connection(&limit);
        first_request.set(10);
        second_request.set(50);
        first_request.set(40);
        assert_eq!((limit.used(), limit.evicted()), (90, 0));
        third_request.set(30);
        assert_eq!(first.eviction(), Some(Eviction::Memory));
        assert_eq!((second.eviction(), third.eviction()), (None, None));
        // The others wait until its memory is free.
        assert_eq!((limit.used(), limit.evicted()), (120, 1));
        assert!(second_request.must_wait() && !connection(&limit).1.must_wait());
        drop(first_request);
        assert_eq!((limit.used(), limit.evicted()), (80, 1));
        assert!(!second_request.must_wait());
    }

    #[test]
    fn completed_requests_do_not_count() {
        let limit = BufferLimit::new(100);
        let (activity, mut request) = connection(&limit);
        for _ in 0..10 {
            request.set(60);
            request.set(0);
        }
        let (_, mut other) = connection(&limit);
        other.set(90);
        assert_eq!((activity.eviction(), limit.used()), (None, 90));
        drop(other);
        assert_eq!(limit.used(), 0);
    }

    #[test]
    fn a_request_that_exceeds_the_limit_by_itself_goes() {
        let limit = BufferLimit::new(100);
        let (activity, mut request) = connection(&limit);
        request.set(101);
        assert_eq!((activity.eviction(), limit.used()), (Some(Eviction::Memory), 101));
        drop(request);
        assert_eq!(limit.used(), 0);
    }
}
