//! Worker threads, each with a runtime, connections and warm instances of its own.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::accept::{Accepted, Acceptor};
use super::activity::Activity;
use super::buffer_limit::BufferLimit;
use super::connection::{self, ConnContext};
use super::heartbeat::HeartbeatMonitor;
use super::sweep::{SWEEP_INTERVAL, Sweep};
use crate::config::Limits;
use crate::decision::{Evaluator, MAX_BLOCKING_THREADS};
use crate::http::AuthService;
use crate::security::ServerTls;

/// Tasks that a worker polls before it looks at sockets and timers again. A task takes up to a millisecond, a turn of a
/// busy connection. tokio's default is 61.
const EVENT_INTERVAL: u32 = 16;

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
        buffer_limit: BufferLimit,
        tls: Option<ServerTls>,
        shutdown: CancellationToken,
        monitor: &HeartbeatMonitor,
    ) -> io::Result<Self> {
        let context = ConnContext { service, limits, buffer_limit, shutdown: shutdown.clone(), tls };
        let context = Arc::new(context);
        let mut workers = Self { senders: Vec::new(), threads: Vec::new(), shutdown };
        for (index, heartbeat) in monitor.heartbeats().enumerate() {
            let runtime = runtime::Builder::new_current_thread()
                .enable_all()
                .event_interval(EVENT_INTERVAL)
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
    let mut sweep = Sweep::default();
    let mut ticks = interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_accepting = true;
    let mut drain = pin!(async {
        context.shutdown.cancelled().await;
        sleep(context.limits.drain_timeout).await;
    });
    while is_accepting || !serving.is_empty() {
        tokio::select! {
            connection = connections.recv(), if is_accepting => match connection {
                Some(connection) => {
                    let activity = Arc::<Activity>::default();
                    sweep.add(&activity, Instant::now());
                    serving.spawn(connection::serve(Arc::clone(&context), connection, activity));
                }
                None => is_accepting = false,
            },
            Some(_) = serving.join_next() => {}
            _ = ticks.tick(), if !serving.is_empty() => sweep.sweep(Instant::now(), &context.limits),
            () = &mut drain => {
                tracing::warn!(connections = serving.len(), "drain timeout: closing open connections");
                return;
            }
        }
    }
}
