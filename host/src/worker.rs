//! The threads that serve connections.

use std::future::poll_fn;
use std::io;
use std::num::NonZero;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::Limits;
use crate::gather::Gathered;
use crate::http::Logins;
use crate::judge;
use crate::stop::Stopping;

/// Threads with a runtime, connections and a share of the warm instances each.
///
/// Brokers keep few, long connections (EMQX: 8 a node), so they are handed out in turn: a hash over their addresses
/// would leave threads idle.
pub(crate) struct Workers {
    lines: Vec<mpsc::UnboundedSender<std::net::TcpStream>>,
    threads: Vec<JoinHandle<()>>,
}

/// How long a connection may be quiet between two requests, or take over the head of one. EMQX reconnects needlessly
/// when it is under 15 s.
const IDLE: Duration = Duration::from_secs(75);

/// What a worker knows.
#[derive(Clone)]
struct Worker {
    logins: Arc<Logins>,
    limits: Limits,
    stopping: Stopping,
}

impl Workers {
    pub(crate) fn start(
        count: NonZero<usize>,
        logins: &Arc<Logins>,
        limits: Limits,
        stopping: &Stopping,
    ) -> io::Result<Self> {
        let mut workers = Self { lines: Vec::new(), threads: Vec::new() };
        for number in 0..count.get() {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(judge::MOST_THREADS)
                .build()?;
            let worker = Worker { logins: Arc::clone(logins), limits, stopping: stopping.clone() };
            let (line, connections) = mpsc::unbounded_channel();
            let serve = move || runtime.block_on(worker.serve(connections));
            workers.threads.push(thread::Builder::new().name(format!("worker-{number}")).spawn(serve)?);
            workers.lines.push(line);
        }
        Ok(workers)
    }

    /// Hands every connection to the next worker, for as long as it is polled.
    pub(crate) async fn accept(&self, listener: &TcpListener) {
        for line in self.lines.iter().cycle() {
            // A worker outlives this loop: it ends when its line does.
            let _ = line.send(next_connection(listener).await);
        }
    }

    /// Closes the listener, and hands out the connections that wait there already.
    pub(crate) fn close(&self, listener: TcpListener) {
        for (line, connection) in self.lines.iter().cycle().zip(waiting(&listener)) {
            let _ = line.send(connection);
        }
    }

    /// Waits until every worker has answered what was in flight, or has run out of time.
    pub(crate) fn join(self) {
        drop(self.lines);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

/// The connections that wait at a listener.
fn waiting(listener: &TcpListener) -> Vec<std::net::TcpStream> {
    let mut cx = Context::from_waker(Waker::noop());
    let next = || match listener.poll_accept(&mut cx) {
        Poll::Ready(Ok((connection, _))) => connection.into_std().ok(),
        _ => None,
    };
    std::iter::from_fn(next).collect()
}

/// The next connection, detached from the runtime that accepted it. An error costs at most the connection.
async fn next_connection(listener: &TcpListener) -> std::net::TcpStream {
    loop {
        match listener.accept().await.and_then(|(connection, _)| connection.into_std()) {
            Ok(connection) => return connection,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                // Out of file descriptors, usually: trying again at once would only fill the log.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

impl Worker {
    async fn serve(self, mut connections: mpsc::UnboundedReceiver<std::net::TcpStream>) {
        let mut serving = JoinSet::new();
        loop {
            tokio::select! {
                connection = connections.recv() => match connection {
                    Some(connection) => drop(serving.spawn(self.clone().serve_one(connection))),
                    None => break,
                },
                Some(_) = serving.join_next() => {}
            }
        }
        let all_answered = async { while serving.join_next().await.is_some() {} };
        if timeout(self.limits.drain, all_answered).await.is_err() {
            tracing::warn!(connections = serving.len(), "gave up waiting for connections to end");
        }
    }

    /// Serves one connection until it ends; once the gate stops, until what is in flight has been answered.
    async fn serve_one(mut self, connection: std::net::TcpStream) {
        let stream = match TcpStream::from_std(connection) {
            Ok(stream) => stream,
            Err(error) => return tracing::warn!(%error, "cannot take over a connection"),
        };
        // Answers are one small write each: waiting to fill a packet would only cost time.
        let _ = stream.set_nodelay(true);
        let gathered = Gathered::new(stream);
        let logins = self.logins;
        let service = service_fn(move |request| {
            let logins = Arc::clone(&logins);
            async move { logins.answer(request).await }
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE)
                .serve_connection(TokioIo::new(gathered.clone()), service)
        );
        let mut stopped = pin!(self.stopping.wait());
        let mut stopping = false;
        let ended = poll_fn(|cx| {
            stopping = stopping || stopped.as_mut().poll(cx).is_ready();
            let mut ended = connection.as_mut().poll(cx);
            if stopping && ended.is_pending() && gathered.is_starved() {
                // Not before: it would drop the requests that have arrived and not been answered.
                connection.as_mut().graceful_shutdown();
                ended = connection.as_mut().poll(cx);
            }
            match gathered.poll_send(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error.to_string())),
                _ => ended.map_err(|error| error.to_string()),
            }
        })
        .await;
        // What hyper says of a request that it cannot read, for one.
        let sent = timeout(self.limits.drain, gathered.send()).await;
        if ended.is_err() || !matches!(sent, Ok(Ok(()))) {
            tracing::debug!(?ended, "a connection broke");
        }
    }
}
