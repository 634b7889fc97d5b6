//! The load, shaped like a broker's in a reconnect storm: few connections, pipelined requests, every response checked.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use hdrhistogram::Histogram;
use mio::{Events, Poll, Token, Waker};

mod connection;
pub(crate) mod login;
pub(crate) mod response;
pub(crate) mod url;

use connection::Connection;
use login::Login;

/// Logins over a number of connections, from one thread, so that the other processors are free for the server.
pub(crate) struct Load<'a> {
    pub(crate) login: &'a Login,
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
}

/// When logins are sent.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// A closed loop: each connection sends this many logins at once, and again when all of them have a response.
    Depth(usize),
    /// An open loop: this many logins per second over all connections, in steps of [`TICK`], however slow the responses
    /// are. Latency counts from the time at which a login was due (no coordinated omission).
    Rate(f64),
}

/// The outcome of a load.
pub(crate) struct LoadResult {
    /// Logins with a response. Each response allowed the login.
    pub(crate) logins: u64,
    pub(crate) elapsed: Duration,
    /// Latencies in nanoseconds.
    pub(crate) latencies: Histogram<u64>,
}

/// The interval in which logins of [`Pace::Rate`] come due.
const TICK: Duration = Duration::from_millis(1);

/// The longest wait for outstanding responses. A server that takes longer has lost them.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);

impl Load<'_> {
    /// Sends logins for `duration`, then waits for the outstanding responses.
    ///
    /// # Errors
    /// A response does not allow the login, or is missing.
    pub(crate) fn run(&self, server: SocketAddr, duration: Duration) -> Result<LoadResult> {
        let mut poll = Poll::new()?;
        let mut connections = Vec::new();
        for number in 0..self.connections {
            connections.push(Connection::open(server, &poll, Token(number))?);
        }
        let started = Instant::now();
        let _ticker = match self.pace {
            Pace::Rate(_) => Some(Ticker::start(Waker::new(poll.registry(), Token(usize::MAX))?, started)),
            Pace::Depth(_) => None,
        };
        let mut driver = Driver { load: self, connections, started, duration, scheduled: 0, latencies: histogram()? };
        let mut events = Events::with_capacity(1024);
        driver.start()?;
        loop {
            let elapsed = driver.started.elapsed();
            if elapsed >= duration && driver.is_fully_scheduled() && driver.is_idle() {
                return Ok(LoadResult { logins: driver.latencies.len(), elapsed, latencies: driver.latencies });
            }
            if elapsed > duration + RESPONSE_TIMEOUT {
                bail!("responses are missing {RESPONSE_TIMEOUT:?} after the last login was sent");
            }
            poll.poll(&mut events, Some(RESPONSE_TIMEOUT)).or_else(|error| match error.kind() {
                io::ErrorKind::Interrupted => Ok(()),
                _ => Err(error),
            })?;
            for event in &events {
                driver.handle_event(event.token())?;
            }
        }
    }
}

/// A thread that wakes the load at every [`TICK`] until it is dropped. A poll timeout alone would round up.
struct Ticker {
    stopped: Arc<AtomicBool>,
}

impl Ticker {
    fn start(waker: Waker, started: Instant) -> Self {
        let stopped = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopped);
        thread::spawn(move || {
            let mut tick = 1;
            while !stop.load(Relaxed) && waker.wake().is_ok() {
                thread::sleep((started + TICK * tick).saturating_duration_since(Instant::now()));
                tick += 1;
            }
        });
        Self { stopped }
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.stopped.store(true, Relaxed);
    }
}

/// A load in progress.
struct Driver<'a> {
    load: &'a Load<'a>,
    connections: Vec<Connection>,
    started: Instant,
    /// The period in which logins are sent.
    duration: Duration,
    /// Logins of [`Pace::Rate`] that have come due.
    scheduled: usize,
    latencies: Histogram<u64>,
}

impl Driver<'_> {
    fn start(&mut self) -> Result<()> {
        if let Pace::Depth(depth) = self.load.pace {
            let now = Instant::now();
            for connection in &mut self.connections {
                connection.enqueue(now, depth);
                connection.send(self.load.login)?;
            }
        }
        Ok(())
    }

    /// Reports whether every login of the period has come due.
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    fn is_fully_scheduled(&self) -> bool {
        match self.load.pace {
            Pace::Depth(_) => true,
            // The last tick may be cut short.
            Pace::Rate(rate) => self.scheduled as f64 + 1.0 >= rate * self.duration.saturating_sub(TICK).as_secs_f64(),
        }
    }

    fn is_idle(&self) -> bool {
        self.connections.iter().all(Connection::is_idle)
    }

    fn handle_event(&mut self, Token(number): Token) -> Result<()> {
        match (self.connections.get_mut(number), self.load.pace) {
            (Some(connection), pace) => {
                connection.receive(&mut self.latencies)?;
                if let Pace::Depth(depth) = pace
                    && self.started.elapsed() < self.duration
                    && connection.is_idle()
                {
                    connection.enqueue(Instant::now(), depth);
                }
                connection.send(self.load.login)
            }
            // A tick: the token of the waker belongs to no connection.
            (None, Pace::Rate(rate)) => self.schedule(rate),
            (None, Pace::Depth(_)) => Ok(()),
        }
    }

    /// Distributes the logins that have come due since the last tick over the connections.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "counts")]
    fn schedule(&mut self, rate: f64) -> Result<()> {
        let ticks = (self.started.elapsed().min(self.duration).as_secs_f64() / TICK.as_secs_f64()) as u32;
        let mut tick = (self.scheduled as f64 / (rate * TICK.as_secs_f64())) as u32;
        while tick < ticks {
            tick += 1;
            let due = (rate * TICK.as_secs_f64() * f64::from(tick)) as usize;
            let (new, count) = (due.saturating_sub(self.scheduled), self.connections.len());
            for at in 0..count.min(new) {
                let share = new / count + usize::from(at < new % count);
                // Start at another connection each time, so that the remainder is spread evenly.
                if let Some(connection) = self.connections.get_mut((self.scheduled + at) % count) {
                    connection.enqueue(self.started + TICK * tick, share);
                }
            }
            self.scheduled += new;
        }
        self.connections.iter_mut().try_for_each(|connection| connection.send(self.load.login))
    }
}

/// Creates a histogram from a microsecond to a minute, with three significant digits.
fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?)
}
