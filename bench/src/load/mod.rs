//! The load, as a broker makes it in a reconnect storm: few connections, pipelined, every answer checked.

pub(crate) mod login;
pub(crate) mod url;

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token, Waker};

use login::{Answers, Login};

/// Logins over so many connections, from one thread: the other processors are for the server.
pub(crate) struct Load<'a> {
    pub(crate) login: &'a Login,
    pub(crate) connections: usize,
    pub(crate) pace: Pace,
}

/// When a login is sent.
#[derive(Clone, Copy)]
pub(crate) enum Pace {
    /// So many at once on each connection, and as many again when all of them have been answered: a closed loop.
    Depth(usize),
    /// So many a second, over all connections, however long the answers take; in steps of a millisecond. What waits
    /// behind a slow answer counts as waiting from the moment it should have been sent (no coordinated omission).
    Rate(f64),
}

/// What came of it.
pub(crate) struct Answered {
    /// Logins that were answered, all as they had to be.
    pub(crate) logins: u64,
    /// How long that took.
    pub(crate) took: Duration,
    /// How long each answer was waited for, in nanoseconds.
    pub(crate) latencies: Histogram<u64>,
}

/// As many as EMQX sends on a connection before the first is answered.
const MOST_IN_FLIGHT: usize = 100;

/// The step in which logins come at a rate.
const STEP: Duration = Duration::from_millis(1);

/// How long the last answers may take. A server that takes longer has lost them.
const PATIENCE: Duration = Duration::from_secs(10);

impl Load<'_> {
    /// Asks for so long, and waits for the last answers.
    ///
    /// # Errors
    /// An answer that does not let in, or none.
    pub(crate) fn run(&self, server: SocketAddr, long: Duration) -> Result<Answered> {
        let mut poll = Poll::new()?;
        let mut connections = Vec::new();
        for number in 0..self.connections {
            connections.push(Connection::open(server, &poll, Token(number))?);
        }
        let began = Instant::now();
        let _steps = match self.pace {
            Pace::Rate(_) => Some(Steps::begin(Waker::new(poll.registry(), Token(usize::MAX))?, began)),
            Pace::Depth(_) => None,
        };
        let mut run = Run { load: self, connections, began, long, scheduled: 0, latencies: histogram()? };
        let mut events = Events::with_capacity(1024);
        run.begin()?;
        loop {
            let running = run.began.elapsed();
            if running >= long && run.is_scheduled() && run.is_answered() {
                return Ok(Answered { logins: run.latencies.len(), took: running, latencies: run.latencies });
            }
            if running > long + PATIENCE {
                bail!("answers are missing {PATIENCE:?} after the last login was sent");
            }
            poll.poll(&mut events, Some(PATIENCE)).or_else(|error| match error.kind() {
                io::ErrorKind::Interrupted => Ok(()),
                _ => Err(error),
            })?;
            for event in &events {
                run.step(event.token())?;
            }
        }
    }
}

/// Wakes the load up every step, until it is dropped: polling alone would round the time up.
struct Steps(Arc<AtomicBool>);

impl Steps {
    fn begin(waker: Waker, began: Instant) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&over);
        thread::spawn(move || {
            let mut step = 1;
            while !stop.load(Relaxed) && waker.wake().is_ok() {
                thread::sleep((began + STEP * step).saturating_duration_since(Instant::now()));
                step += 1;
            }
        });
        Self(over)
    }
}

impl Drop for Steps {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

struct Run<'a> {
    load: &'a Load<'a>,
    connections: Vec<Connection>,
    began: Instant,
    /// How long logins come.
    long: Duration,
    /// Logins that have come at a rate.
    scheduled: usize,
    latencies: Histogram<u64>,
}

impl Run<'_> {
    fn begin(&mut self) -> Result<()> {
        if let Pace::Depth(depth) = self.load.pace {
            let now = Instant::now();
            for connection in &mut self.connections {
                connection.due.push_back((now, depth));
                connection.send(self.load.login)?;
            }
        }
        Ok(())
    }

    /// Whether all that was to come has come.
    #[expect(clippy::cast_precision_loss, reason = "a count")]
    fn is_scheduled(&self) -> bool {
        match self.load.pace {
            Pace::Depth(_) => true,
            // Up to the last step, which may be cut.
            Pace::Rate(rate) => self.scheduled as f64 + 1.0 >= rate * self.long.saturating_sub(STEP).as_secs_f64(),
        }
    }

    fn is_answered(&self) -> bool {
        self.connections.iter().all(Connection::is_answered)
    }

    fn step(&mut self, Token(number): Token) -> Result<()> {
        match (self.connections.get_mut(number), self.load.pace) {
            (Some(connection), pace) => {
                connection.receive(&mut self.latencies)?;
                if let Pace::Depth(depth) = pace
                    && self.began.elapsed() < self.long
                    && connection.is_answered()
                {
                    connection.due.push_back((Instant::now(), depth));
                }
                connection.send(self.load.login)
            }
            (None, Pace::Rate(rate)) => self.schedule(rate),
            (None, Pace::Depth(_)) => Ok(()),
        }
    }

    /// What has come due since the last step, to each connection in turn.
    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "counts")]
    fn schedule(&mut self, rate: f64) -> Result<()> {
        let steps = (self.began.elapsed().min(self.long).as_secs_f64() / STEP.as_secs_f64()) as u32;
        let mut step = (self.scheduled as f64 / (rate * STEP.as_secs_f64())) as u32;
        while step < steps {
            step += 1;
            let due = (rate * STEP.as_secs_f64() * f64::from(step)) as usize;
            let (new, count) = (due.saturating_sub(self.scheduled), self.connections.len());
            for at in 0..count.min(new) {
                let share = new / count + usize::from(at < new % count);
                // So that those left over are not always the same.
                if let Some(connection) = self.connections.get_mut((self.scheduled + at) % count) {
                    connection.due.push_back((self.began + STEP * step, share));
                }
            }
            self.scheduled += new;
        }
        self.connections.iter_mut().try_for_each(|connection| connection.send(self.load.login))
    }
}

/// One connection, and what is on its way there.
struct Connection {
    stream: TcpStream,
    /// Logins yet to be sent, by the moment at which they should have been.
    due: VecDeque<(Instant, usize)>,
    /// Logins on their way, by the same moment.
    in_flight: VecDeque<(Instant, usize)>,
    unsent: Vec<u8>,
    arrived: Vec<u8>,
    answers: Answers,
}

impl Connection {
    fn open(server: SocketAddr, poll: &Poll, token: Token) -> Result<Self> {
        let stream = std::net::TcpStream::connect(server).context("cannot connect to what is to be measured")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        let (unsent, arrived) = (Vec::new(), Vec::new());
        Ok(Self {
            stream,
            due: VecDeque::new(),
            in_flight: VecDeque::new(),
            unsent,
            arrived,
            answers: Answers::default(),
        })
    }

    fn is_answered(&self) -> bool {
        self.due.is_empty() && self.in_flight.is_empty()
    }

    /// Sends what is due, as far as it may and the server takes it.
    fn send(&mut self, login: &Login) -> Result<()> {
        let mut room = MOST_IN_FLIGHT.saturating_sub(self.in_flight.iter().map(|(_, count)| count).sum());
        while room > 0
            && let Some((moment, count)) = self.due.pop_front()
        {
            let now = count.min(room);
            room -= now;
            self.in_flight.push_back((moment, now));
            self.unsent.extend(login.requests(now));
            if count > now {
                self.due.push_front((moment, count - now));
            }
        }
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(0) => bail!("the server hung up"),
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Takes what has come.
    fn receive(&mut self, latencies: &mut Histogram<u64>) -> Result<()> {
        let mut buffer = [0; 64 << 10];
        loop {
            let (length, is_last) = match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the server hung up"),
                // Less than there is room for: the system has no more.
                Ok(length) => (length, length < buffer.len()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            self.arrived.extend_from_slice(buffer.get(..length).unwrap_or_default());
            let now = Instant::now();
            let mut read = 0;
            while let Some(length) = self.answers.next(self.arrived.get(read..).unwrap_or_default())? {
                read += length;
                self.answer(now, latencies)?;
            }
            self.arrived.drain(..read);
            if is_last {
                return Ok(());
            }
        }
    }

    fn answer(&mut self, now: Instant, latencies: &mut Histogram<u64>) -> Result<()> {
        let (moment, count) = self.in_flight.front_mut().context("an answer to nothing")?;
        latencies.saturating_record(now.saturating_duration_since(*moment).as_nanos().try_into()?);
        *count -= 1;
        if *count == 0 {
            self.in_flight.pop_front();
        }
        Ok(())
    }
}

/// From a microsecond to a minute, to three digits.
fn histogram() -> Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1_000, 60_000_000_000, 3)?)
}
