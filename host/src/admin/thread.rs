//! The thread of the admin address: scrapes and status pages delay no login, and a busy acceptor delays no probe.

use std::future::IntoFuture;
use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::runtime;
use tokio_util::sync::CancellationToken;

use super::listener::AdminListener;
use crate::security::ServerTls;

/// A thread that serves operators.
pub(crate) struct AdminThread {
    stop: CancellationToken,
    thread: JoinHandle<()>,
}

impl AdminThread {
    /// Starts the thread. `timeout` is the request timeout, and `background` runs beside the requests.
    ///
    /// # Errors
    /// The operating system refuses the thread.
    pub(crate) fn start(
        listener: TcpListener,
        tls: Option<ServerTls>,
        timeout: Duration,
        routes: Router,
        background: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<Self> {
        let listener = listener.into_std()?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let serve = async move {
            let listener = match TcpListener::from_std(listener) {
                Ok(listener) => AdminListener::new(listener, tls, timeout),
                Err(error) => return tracing::error!(%error, "cannot serve the admin address"),
            };
            tokio::select! {
                _ = axum::serve(listener, routes).into_future() => {}
                () = background => {}
                () = stopped.cancelled() => {}
            }
        };
        let thread = thread::Builder::new().name("admin".into()).spawn(move || runtime.block_on(serve))?;
        Ok(Self { stop, thread })
    }

    /// Stops the thread, and waits for it. Open connections are closed.
    pub(crate) fn stop(self) {
        self.stop.cancel();
        if self.thread.join().is_err() {
            tracing::error!("admin thread panicked");
        }
    }
}
