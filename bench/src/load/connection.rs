//! One connection of the load: pipelined requests out, checked responses in.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use mio::net::TcpStream;
use mio::{Interest, Poll, Token};

use crate::load::login::{Draws, Login};
use crate::load::response::ResponseChecker;

/// The most requests in flight on a connection. EMQX pipelines as many by default.
const MAX_IN_FLIGHT: usize = 100;

/// A connection with its queue of due logins and its logins in flight.
pub(crate) struct Connection {
    stream: TcpStream,
    /// Logins to send, in batches, each with the time at which it was due.
    due: VecDeque<(Instant, usize)>,
    /// Logins in flight, in batches, each with the time at which it was due.
    in_flight: VecDeque<(Instant, usize)>,
    /// Chooses the next login, if there are several.
    draws: Draws,
    unsent: Vec<u8>,
    received: Vec<u8>,
    responses: ResponseChecker,
}

impl Connection {
    pub(crate) fn open(server: SocketAddr, poll: &Poll, token: Token) -> Result<Self> {
        let stream = std::net::TcpStream::connect(server).context("cannot connect to the server under test")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self {
            stream,
            due: VecDeque::new(),
            in_flight: VecDeque::new(),
            draws: Draws::new(token.0),
            unsent: Vec::new(),
            received: Vec::new(),
            responses: ResponseChecker::default(),
        })
    }

    /// Queues `count` logins that are due at `due_at`.
    pub(crate) fn enqueue(&mut self, due_at: Instant, count: usize) {
        self.due.push_back((due_at, count));
    }

    /// Reports whether every queued login has its response.
    pub(crate) fn is_idle(&self) -> bool {
        self.due.is_empty() && self.in_flight.is_empty()
    }

    /// Sends due logins, up to [`MAX_IN_FLIGHT`] and as far as the socket accepts them.
    pub(crate) fn send(&mut self, login: &Login) -> Result<()> {
        let mut room = MAX_IN_FLIGHT.saturating_sub(self.in_flight.iter().map(|(_, count)| count).sum());
        while room > 0
            && let Some((due_at, count)) = self.due.pop_front()
        {
            let now = count.min(room);
            room -= now;
            self.in_flight.push_back((due_at, now));
            self.unsent.extend(login.drawn_requests(now, &mut self.draws));
            if count > now {
                self.due.push_front((due_at, count - now));
            }
        }
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what the socket holds, checks the responses and records their latencies.
    pub(crate) fn receive(&mut self, latencies: &mut Histogram<u64>) -> Result<()> {
        let mut buffer = [0; 64 << 10];
        loop {
            let (length, is_last) = match self.stream.read(&mut buffer) {
                Ok(0) => bail!("the server closed the connection"),
                // A short read empties the socket, so another read would only return `WouldBlock`.
                Ok(length) => (length, length < buffer.len()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            self.received.extend_from_slice(buffer.get(..length).unwrap_or_default());
            let now = Instant::now();
            let mut consumed = 0;
            while let Some(length) = self.responses.next_len(self.received.get(consumed..).unwrap_or_default())? {
                consumed += length;
                self.record_response(now, latencies)?;
            }
            self.received.drain(..consumed);
            if is_last {
                return Ok(());
            }
        }
    }

    fn record_response(&mut self, now: Instant, latencies: &mut Histogram<u64>) -> Result<()> {
        let (due_at, count) = self.in_flight.front_mut().context("a response without a request")?;
        latencies.saturating_record(now.saturating_duration_since(*due_at).as_nanos().try_into()?);
        *count -= 1;
        if *count == 0 {
            self.in_flight.pop_front();
        }
        Ok(())
    }
}
