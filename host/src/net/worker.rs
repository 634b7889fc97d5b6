//! The threads that serve connections.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::net::accept::{Accepted, Acceptor};
use crate::config::Limits;
use crate::net::connection;
use crate::http::Questions;
use crate::decision::evaluate::{self, Judge};
use crate::net::heartbeat::Pulse;
use crate::util::shutdown::{Stop, Stopping};
use crate::security::tls::Tls;

/// Threads with a runtime, connections and a share of the warm instances each.
///
/// Brokers keep few, long connections (EMQX: 8 a node), so they are handed out in turn: a hash over their addresses
/// would leave threads idle.
pub(crate) struct Workers {
    lines: Vec<mpsc::UnboundedSender<Accepted>>,
    threads: Vec<JoinHandle<()>>,
}

/// What a worker knows.
pub(crate) struct Worker<J> {
    pub(crate) questions: Arc<Questions<J>>,
    pub(crate) limits: Limits,
    pub(crate) stopping: Stopping,
    /// None: connections are served as they come.
    pub(crate) tls: Option<Tls>,
}

impl<J> Clone for Worker<J> {
    fn clone(&self) -> Self {
        Self {
            questions: Arc::clone(&self.questions),
            limits: self.limits,
            stopping: self.stopping.clone(),
            tls: self.tls.clone(),
        }
    }
}

impl Workers {
    /// As many threads as there are hearts, each with a copy of this worker.
    pub(crate) fn start(worker: &Worker<impl Judge>, pulse: &Pulse) -> io::Result<Self> {
        let mut workers = Self { lines: Vec::new(), threads: Vec::new() };
        for (number, heart) in pulse.hearts().enumerate() {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(judge::MOST_THREADS)
                .build()?;
            let worker = worker.clone();
            let (line, connections) = mpsc::unbounded_channel();
            let serve = move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = worker.serve(connections) => {}
                        () = heart.beat() => {}
                    }
                });
            };
            workers.threads.push(thread::Builder::new().name(format!("worker-{number}")).spawn(serve)?);
            workers.lines.push(line);
        }
        Ok(workers)
    }

    /// Answers until `shutdown`, then says that the gate stops, and answers what is in flight.
    pub(crate) async fn serve(self, mut acceptor: Acceptor, stop: &Stop, shutdown: impl Future<Output = ()>) {
        tokio::select! {
            () = shutdown => {}
            () = self.accept(&mut acceptor) => {}
        }
        tracing::info!("stopping: answering what is in flight");
        self.close(acceptor);
        stop.say();
        let _ = tokio::task::spawn_blocking(move || self.join()).await;
    }

    /// Hands every connection to the next worker, for as long as it is polled.
    async fn accept(&self, acceptor: &mut Acceptor) {
        for line in self.lines.iter().cycle() {
            // A worker outlives this loop: it ends when its line does.
            let _ = line.send(acceptor.next().await);
        }
    }

    /// Closes the listener, and hands out the connections that wait there already.
    fn close(&self, acceptor: Acceptor) {
        let waiting = acceptor.close().unwrap_or_default();
        for (line, connection) in self.lines.iter().cycle().zip(waiting) {
            let _ = line.send(connection);
        }
    }

    /// Waits until every worker has answered what was in flight, or has run out of time.
    fn join(self) {
        drop(self.lines);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

impl<J: Judge> Worker<J> {
    async fn serve(self, mut connections: mpsc::UnboundedReceiver<Accepted>) {
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
