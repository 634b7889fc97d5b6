//! The threads that serve connections.

use std::io;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::Limits;
use crate::connection;
use crate::http::Questions;
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

/// What a worker knows.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) questions: Arc<Questions>,
    pub(crate) limits: Limits,
    pub(crate) stopping: Stopping,
}

impl Workers {
    pub(crate) fn start(
        count: NonZero<usize>,
        questions: &Arc<Questions>,
        limits: Limits,
        stopping: &Stopping,
    ) -> io::Result<Self> {
        let mut workers = Self { lines: Vec::new(), threads: Vec::new() };
        for number in 0..count.get() {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(judge::MOST_THREADS)
                .build()?;
            let worker = Worker { questions: Arc::clone(questions), limits, stopping: stopping.clone() };
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
        let waiting = waiting(listener).unwrap_or_default();
        for (line, connection) in self.lines.iter().cycle().zip(waiting) {
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

/// The connections that wait at a listener. Asked of the system itself: what the runtime knows of it may be old.
fn waiting(listener: TcpListener) -> io::Result<Vec<std::net::TcpStream>> {
    let listener = listener.into_std()?;
    let mut connections = Vec::new();
    loop {
        match listener.accept() {
            Ok((connection, _)) => {
                connection.set_nonblocking(true)?;
                connections.push(connection);
            }
            // It was gone before it was taken.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => return Ok(connections),
        }
    }
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
                    Some(connection) => drop(serving.spawn(connection::serve(self.clone(), connection))),
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
}
