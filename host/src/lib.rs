//! The native host of mqtt-gate: it answers an MQTT broker's HTTP callback by a policy, and swaps the policy while it
//! runs.
//!
//! ```text
//! main.rs, cli/   flags and verbs
//! config.rs       what the operator can choose          settings.rs   what a policy is told
//! sockets.rs      where it listens, or was handed a socket
//! acceptor.rs     connections, so many and no more ─► worker.rs  threads ─► connection.rs  a client;
//!                 gather.rs  its answers; patience.rs  how long it may dawdle; farewell.rs  its end when the gate stops
//! http.rs         the routes; a fault becomes a refusal there, in one line ─► case.rs  what a verdict comes to; body.rs;
//!                 findings.rs  what brokers do wrong; front.rs  what people look at
//! judge.rs        who answers; a slow policy holds up nobody
//! active.rs       the policy in service; everyone reads it, the reloader alone writes it
//! policy.rs       a component, loaded and checked ─► instances.rs  its warm instances ─► sandbox.rs  the limits;
//!                 compilers.rs  threads that give way
//! reload.rs       the swap ◄─ candidate.rs  what lies there now (reading.rs) ◄─ hints.rs  hints that it changed;
//!                 last_good.rs  what served last, kept (keeper.rs) for a start; history.rs  what happened
//! compose.rs      a policy behind `wasi:http`, as one component for other hosts
//! admin.rs        what the operator asks: status.rs, metrics.rs, page.rs ◄─ entrance.rs  who gets in; visit.rs
//! safeguards.rs   what stands before an address: tls.rs, access.rs ◄─ renewed.rs  read anew when files change
//! decision.rs     what came of a question, and why (ruling.rs) ─► tally.rs  counted; decision_log.rs  written down;
//!                 traces.rs  told a collector
//! supervisor.rs   what the service manager is told      pulse.rs      whether the workers are alive
//! ```
//!
//! Never true: that a fault is answered as `allow`; that a policy serves which has not been loaded and checked; that a
//! login is judged by two policies, or lost in a swap; that a secret is printed.

use std::future::{Future, IntoFuture};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};

mod acceptor;
mod access;
pub mod active;
mod admin;
mod body;
mod candidate;
mod case;
mod census;
mod compilers;
pub mod compose;
pub mod config;
mod connection;
mod decision;
pub mod decision_log;
mod entrance;
mod farewell;
mod findings;
mod front;
mod gather;
mod hints;
mod history;
mod http;
mod instances;
pub mod judge;
mod keeper;
mod last_good;
mod metrics;
pub mod one_line;
mod page;
mod patience;
pub mod policy;
mod pulse;
mod reading;
mod reload;
mod renewed;
mod ruling;
mod safeguards;
pub mod sandbox;
pub mod settings;
mod slots;
mod sockets;
mod status;
mod stop;
mod supervisor;
mod tally;
mod thread;
mod tls;
mod token;
pub mod traces;
mod visit;
mod wire;
mod worker;

pub use candidate::DEFAULT_POLICY;

use acceptor::{Acceptor, Places};
use active::ActivePolicy;
use admin::Admin;
use candidate::Origin;
use config::Config;
use decision_log::{DecisionLog, DecisionLogError};
use entrance::Entrance;
use http::{Questions, Told};
use judge::Judge;
use last_good::LastGood;
use policy::LoadError;
use pulse::Pulse;
use reload::Reloader;
use safeguards::Safeguards;
use sandbox::{Sandbox, SandboxError};
use stop::Stop;
use traces::{TraceError, Traces};
use worker::{Worker, Workers};

pub use safeguards::SafeguardError;
pub use sockets::{HandedOver, HandedOverError, Listeners};

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
    /// The sockets that were handed over are of no use.
    #[error(transparent)]
    HandedOver(#[from] HandedOverError),
    /// There is no policy to serve with.
    #[error("cannot put the policy in service")]
    Policy(#[from] LoadError),
    /// The machine does not let the gate run.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// There is no decision log where one is wanted.
    #[error(transparent)]
    Decisions(#[from] DecisionLogError),
    /// There are no traces where they are wanted.
    #[error(transparent)]
    Traces(#[from] TraceError),
    /// What is to stand before an address is of no use.
    #[error(transparent)]
    Safeguard(#[from] SafeguardError),
    /// A thread or a socket fails.
    #[error("the system does not let the gate go on")]
    System(#[from] io::Error),
}

/// A gate with a policy that works, not yet open.
pub struct Gate {
    config: Config,
    reloader: Reloader,
    of_logins: Safeguards,
    of_admin: Safeguards,
    lost_lines: LostLines,
}

/// How many lines of the log nobody took.
pub(crate) type LostLines = Arc<dyn Fn() -> u64 + Send + Sync>;

impl Gate {
    /// Sets up the sandbox and loads the first policy.
    ///
    /// # Errors
    /// The policy does not load, a certificate or a secret is of no use, or the machine has no room for the sandbox.
    pub fn prepare(config: Config) -> Result<Self, ServeError> {
        let (of_logins, of_admin) = (Safeguards::of_logins(&config)?, Safeguards::of_admin(&config)?);
        let sandbox = Arc::new(Sandbox::new(config.limits)?);
        let last_good = LastGood::new(config.state.directory.clone());
        let reloader = Reloader::start(Origin::new(&config.policy), sandbox, last_good)?;
        Ok(Self { config, reloader, of_logins, of_admin, lost_lines: Arc::new(|| 0) })
    }

    /// Has the metrics tell how many lines of the log nobody took, as far as the caller knows.
    #[must_use]
    pub fn with_lost_lines(self, lost: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { lost_lines: Arc::new(lost), ..self }
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
        let traces = Traces::start(&self.config.traces)?.map(Arc::new);
        let told = Told { decisions, traces, ..Told::default() };
        let operator = Admin {
            active: self.reloader.active(),
            history: self.reloader.history(),
            told: told.clone(),
            places: places.clone(),
            census: self.reloader.census(),
            safeguards: self.of_logins.conditions().chain(self.of_admin.conditions()).collect(),
            lost_lines: self.lost_lines,
            stopping: stopping.clone(),
        };
        let safeguards = operator.safeguards.clone();
        let routes = token::required(operator.router(), self.of_admin.guard());
        let limits = self.config.limits;
        let questions = Questions::new(self.reloader.active(), front::router(self.reloader.active()), told, limits)
            .guarded_by(self.of_logins.guard());
        let (tls, admin_tls) = (self.of_logins.tls(), self.of_admin.tls());
        let (with_tls, with_admin_tls) = (tls.is_some(), admin_tls.is_some());
        let worker = Worker { questions: Arc::new(questions), limits, stopping: stopping.clone(), tls };
        let watchdog = supervisor::watchdog();
        if let Some(time) = watchdog.filter(|time| limits.deadline >= *time / 4) {
            let remedy =
                "lower limits.deadline, or raise WatchdogSec: a policy that runs into the deadline holds up its worker";
            tracing::warn!(watchdog = ?time, deadline = ?limits.deadline, remedy, "the watchdog may end a gate that is well");
        }
        let pulse = Pulse::new(self.config.workers.get(), watchdog);
        let workers = Workers::start(&worker, &pulse)?;
        let active = self.reloader.active();
        let renewing = tokio::spawn(Safeguards::run([self.of_logins, self.of_admin], stopping.clone()));
        let reloading = tokio::spawn(self.reloader.run(stopping));
        let watching = tokio::spawn(pulse.watch(supervisor::alive));
        let entrance = Entrance::new(listeners.admin, admin_tls, limits.request);
        let administration = tokio::spawn(axum::serve(entrance, routes).into_future());
        tracing::info!(%listen, %admin, tls = with_tls, admin_tls = with_admin_tls, "serving");
        for safeguard in safeguards.iter().filter(|it| it.expires().is_some_and(|end| end < SystemTime::now())) {
            let remedy = "put a new one in its place: whoever looks at it goes away";
            tracing::warn!(what = safeguard.name, remedy, "the certificate has expired");
        }
        supervisor::ready(&active.get());

        let shutdown = async {
            shutdown.await;
            supervisor::stopping();
        };
        workers.serve(Acceptor::new(listeners.logins, listeners.is_held, places), &stop, shutdown).await;
        watching.abort();
        // The operator can watch until the last login is answered.
        administration.abort();
        let _ = administration.await;
        let _ = tokio::join!(reloading, renewing);
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
    let worker = Worker { questions: Arc::new(questions), limits, stopping, tls: None };
    let workers = Workers::start(&worker, &Pulse::new(config.workers.get(), None))?;
    workers.serve(Acceptor::new(logins, false, places), &stop, shutdown).await;
    Ok(())
}
