//! The native host of mqtt-gate: it answers an MQTT broker's HTTP callback by a policy, and swaps the policy while it
//! runs.
//!
//! ```text
//! main.rs, cli/   flags and verbs
//! config.rs       what the operator can choose          settings.rs   what a policy is told
//! acceptor.rs     connections, so many and no more ─► worker.rs  threads ─► connection.rs  a client;
//!                 gather.rs  its answers; patience.rs  how long it may dawdle
//! http.rs         the routes; a fault becomes a refusal there, in one line ─► case.rs  what a verdict comes to; body.rs;
//!                 findings.rs  what brokers do wrong; front.rs  what people look at
//! judge.rs        who answers; a slow policy holds up nobody
//! active.rs       the policy in service; everyone reads it, the reloader alone writes it
//! policy.rs       a component, loaded and checked ─► instances.rs  its warm instances ─► sandbox.rs  the limits;
//!                 compilers.rs  threads that give way
//! reload.rs       the swap ◄─ candidate.rs  what lies there now ◄─ hints.rs  hints that it changed
//! admin.rs        what the operator asks                tally.rs      what it counts
//! ```
//!
//! Never true: that a fault is answered as `allow`; that a policy serves which has not been loaded and checked; that a
//! login is judged by two policies, or lost in a swap; that a secret is printed.

use std::future::{Future, IntoFuture};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};

mod acceptor;
pub mod active;
mod admin;
mod body;
mod candidate;
mod case;
mod census;
mod compilers;
pub mod config;
mod connection;
mod decision;
pub mod decision_log;
mod findings;
mod front;
mod gather;
mod hints;
mod history;
mod http;
mod instances;
pub mod judge;
mod metrics;
pub mod one_line;
mod page;
mod patience;
pub mod policy;
mod reload;
mod ruling;
pub mod sandbox;
pub mod settings;
mod slots;
mod status;
mod stop;
mod tally;
mod thread;
mod worker;

use acceptor::{Acceptor, Places};
use active::ActivePolicy;
use admin::Admin;
use candidate::Origin;
use config::Config;
use decision_log::{DecisionLog, DecisionLogError};
use http::{Questions, Told};
use judge::Judge;
use policy::LoadError;
use reload::Reloader;
use sandbox::{Sandbox, SandboxError};
use stop::Stop;
use worker::Workers;

/// So many connections may wait to be accepted. Beyond it the system drops them, and clients try again a second later.
const BACKLOG: u32 = 1024;

/// Where the gate can be asked.
pub struct Listeners {
    /// By brokers.
    pub logins: TcpListener,
    /// By the operator.
    pub admin: TcpListener,
}

/// Why the gate does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}; stop what holds it, or choose another with {flag}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The flag that changes it.
        flag: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// There is no policy to serve with.
    #[error("cannot put the policy in service")]
    Policy(#[from] LoadError),
    /// The machine does not let the gate run.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// There is no decision log where one is wanted.
    #[error(transparent)]
    Decisions(#[from] DecisionLogError),
    /// A thread or a socket fails.
    #[error("the system does not let the gate go on")]
    System(#[from] io::Error),
}

impl Listeners {
    /// Listens on the addresses of the configuration. To be called within a runtime.
    ///
    /// # Errors
    /// An address is taken, or is none of this machine's.
    pub fn bind(config: &Config) -> Result<Self, ServeError> {
        Ok(Self { logins: bind(config.listen, "--listen")?, admin: bind(config.admin_listen, "--admin-listen")? })
    }
}

fn bind(address: SocketAddr, flag: &'static str) -> Result<TcpListener, ServeError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A port that a gate before this one held a moment ago is free.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| ServeError::Listen { address, flag, source })
}

/// A gate with a policy that works, not yet open.
pub struct Gate {
    config: Config,
    reloader: Reloader,
}

impl Gate {
    /// Sets up the sandbox and loads the first policy.
    ///
    /// # Errors
    /// The policy does not load, or the machine has no room for the sandbox.
    pub fn prepare(config: Config) -> Result<Self, ServeError> {
        let sandbox = Arc::new(Sandbox::new(config.limits)?);
        let reloader = Reloader::start(Origin::new(&config.policy), sandbox)?;
        Ok(Self { config, reloader })
    }

    /// The policy in service, now and later.
    #[must_use]
    pub fn active(&self) -> ActivePolicy {
        self.reloader.active()
    }

    /// Answers brokers and the operator until `shutdown`, and then what is in flight.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub async fn serve(self, listeners: Listeners, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let (listen, admin) = (listeners.logins.local_addr()?, listeners.admin.local_addr()?);
        let (stop, stopping) = Stop::new();
        let places = Places::new(self.config.limits.connections.get());
        let decisions = DecisionLog::open(&self.config.decisions)?.map(Arc::new);
        // Also without a log: SIGHUP would end the gate.
        let hangup = signal(SignalKind::hangup())?;
        tokio::spawn(reopen_at_hangup(hangup, decisions.as_ref().map(Arc::downgrade).unwrap_or_default()));
        let told = Told { decisions, ..Told::default() };
        let operator = Admin {
            active: self.active(),
            history: self.reloader.history(),
            told: told.clone(),
            places: places.clone(),
            census: self.reloader.census(),
            stopping: stopping.clone(),
        };
        let limits = self.config.limits;
        let questions = Questions::new(self.active(), front::router(self.active()), told, limits);
        let workers = Workers::start(self.config.workers, questions, limits, &stopping)?;
        let reloading = tokio::spawn(self.reloader.run(stopping));
        let administration = tokio::spawn(axum::serve(listeners.admin, operator.router()).into_future());
        tracing::info!(%listen, %admin, "serving");

        workers.serve(Acceptor::new(listeners.logins, places), &stop, shutdown).await;
        // The operator can watch until the last login is answered.
        administration.abort();
        let _ = administration.await;
        let _ = reloading.await;
        tracing::info!("stopped");
        Ok(())
    }
}

/// Opens the decision log anew at each SIGHUP, which whoever rotates logs sends once the file has been moved away.
async fn reopen_at_hangup(mut hangup: Signal, log: Weak<DecisionLog>) {
    while hangup.recv().await.is_some() {
        let Some(log) = log.upgrade() else { return };
        log.reopen();
    }
}

/// Serves until `shutdown`: [`Gate::prepare`] and [`Gate::serve`] in one.
///
/// # Errors
/// As theirs.
pub async fn serve(config: Config, listeners: Listeners, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
    Gate::prepare(config)?.serve(listeners, shutdown).await
}

/// Answers brokers until `shutdown` as this judge says, by the same code that serves a policy: a gate without an
/// operator, to measure the judge or what is around it.
///
/// # Errors
/// The system refuses a thread.
pub async fn serve_by(
    judge: impl Judge,
    config: &Config,
    logins: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let (stop, stopping) = Stop::new();
    let (places, limits) = (Places::new(config.limits.connections.get()), config.limits);
    let questions = Questions::new(judge, axum::Router::new(), Told::default(), limits);
    let workers = Workers::start(config.workers, questions, limits, &stopping)?;
    workers.serve(Acceptor::new(logins, places), &stop, shutdown).await;
    Ok(())
}
