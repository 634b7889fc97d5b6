//! Worker threads, each with a runtime, connections and warm instances of its own.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::accept::{Accepted, Acceptor};
use super::connection::{self, ConnContext};
use super::heartbeat::HeartbeatMonitor;
use crate::config::Limits;
use crate::decision::{Evaluator, MAX_BLOCKING_THREADS};
use crate::http::AuthService;
use crate::security::ServerTls;

/// The worker threads.
///
/// Brokers keep few, long connections (EMQX: 8 for each node), so connections go to the workers in turn: a hash of the
/// addresses would leave workers idle.
pub(crate) struct Workers {
    senders: Vec<mpsc::UnboundedSender<Accepted>>,
    threads: Vec<JoinHandle<()>>,
    shutdown: CancellationToken,
}

impl Workers {
    /// Starts one worker for each heartbeat of the monitor.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub(crate) fn start(
        service: AuthService<impl Evaluator>,
        limits: Limits,
        tls: Option<ServerTls>,
        shutdown: CancellationToken,
        monitor: &HeartbeatMonitor,
    ) -> io::Result<Self> {
        let context = ConnContext { service: Arc::new(service), limits, shutdown: shutdown.clone(), tls };
        let context = Arc::new(context);
        let mut workers = Self { senders: Vec::new(), threads: Vec::new(), shutdown };
        for (index, heartbeat) in monitor.heartbeats().enumerate() {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(MAX_BLOCKING_THREADS)
                .build()?;
            let context = Arc::clone(&context);
            let (sender, connections) = mpsc::unbounded_channel();
            let run = move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = serve_connections(context, connections) => {}
                        () = heartbeat.run() => {}
                    }
                });
            };
            workers.threads.push(thread::Builder::new().name(format!("worker-{index}")).spawn(run)?);
            workers.senders.push(sender);
        }
        Ok(workers)
    }

    /// Serves connections until `stop`. Then triggers the shutdown, and waits until requests in flight are answered.
    pub(crate) async fn serve(self, mut acceptor: Acceptor, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = stop => {}
            () = self.distribute(&mut acceptor) => {}
        }
        tracing::info!("stopping: answering requests in flight");
        self.distribute_waiting(acceptor);
        self.shutdown.cancel();
        let _ = tokio::task::spawn_blocking(move || self.join()).await;
    }

    /// Hands each connection to the next worker.
    async fn distribute(&self, acceptor: &mut Acceptor) {
        for sender in self.senders.iter().cycle() {
            // A worker ends after its sender, so there is a receiver.
            let _ = sender.send(acceptor.next().await);
        }
    }

    /// Closes the listener, and hands out the connections that wait in it.
    fn distribute_waiting(&self, acceptor: Acceptor) {
        let waiting = acceptor.close().unwrap_or_default();
        for (sender, connection) in self.senders.iter().cycle().zip(waiting) {
            let _ = sender.send(connection);
        }
    }

    /// Waits until every worker has ended.
    fn join(self) {
        drop(self.senders);
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("worker panicked");
            }
        }
    }
}

/// Serves connections until no more can come, then waits for the last ones, for at most `drain_timeout`.
async fn serve_connections<E: Evaluator>(
    context: Arc<ConnContext<E>>,
    mut connections: mpsc::UnboundedReceiver<Accepted>,
) {
    let mut serving = JoinSet::new();
    loop {
        tokio::select! {
            connection = connections.recv() => match connection {
                Some(connection) => drop(serving.spawn(connection::serve(Arc::clone(&context), connection))),
                None => break,
            },
            Some(_) = serving.join_next() => {}
        }
    }
    let all_ended = async { while serving.join_next().await.is_some() {} };
    if timeout(context.limits.drain_timeout, all_ended).await.is_err() {
        tracing::warn!(connections = serving.len(), "drain timeout: closing open connections");
    }
}
