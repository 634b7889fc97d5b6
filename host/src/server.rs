//! Wires the layers together and runs them.

use std::future::Future;
use std::io;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use brokers::FaultReply;
use mqtt_gate_engine::chain::{MemberError, MemberProblem};
use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::watch::{WatchThread, Watched};
use mqtt_gate_engine::{LoadError, Permission, Sandbox, SandboxError, StateInUse};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::admin::state::AdminState;
use crate::admin::thread::AdminThread;
use crate::child_compiler::ChildCompiler;
use crate::config::{Config, ListenAddresses};
use crate::config_file::ConfigFileState;
use crate::decision::monitor::MonitorQueue;
use crate::decision::refusals::{MAX_REFUSALS, Refusals};
use crate::decision::{ChainEvaluator, Evaluator};
use crate::emqx_api::ApiConfigError;
use crate::emqx_api::cache_reset::CacheReset;
use crate::emqx_api::revocation::{Coverage, Judge};
use crate::gate_reloader::{ConfigFile, GateReloader, LoadedSites, Loader, SitesError};
use crate::http::site::{Site, Sites};
use crate::http::{AuthService, status_page};
use crate::net::accept::{Acceptor, ConnectionLimit};
use crate::net::buffer_limit::BufferLimit;
use crate::net::heartbeat::HeartbeatMonitor;
use crate::net::listen::{BindError, InheritedSocketsError, Listeners};
use crate::net::open_files::max_connections;
use crate::net::worker::Workers;
use crate::security::{CredentialHandle, ListenerSecurity, SecretVerifier, SecurityError};
use crate::telemetry::Telemetry;
use crate::telemetry::decision_log::{DecisionLog, DecisionLogError};
use crate::telemetry::otel::{TraceError, Traces};
use crate::{admin, policy_events, systemd};

/// How often files are looked at without an event.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Why the gate does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// An address cannot be listened on.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Inherited sockets cannot be used.
    #[error(transparent)]
    InheritedSockets(#[from] InheritedSocketsError),
    /// No policy works.
    #[error("cannot activate the policy")]
    Policy(#[source] LoadError),
    /// One of several policies does not work.
    #[error("cannot activate the policies")]
    Policies(#[source] SitesError),
    /// Another gate uses the state directory.
    #[error(transparent)]
    StateInUse(#[from] StateInUse),
    /// The sandbox cannot be set up.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The decision log cannot be opened.
    #[error(transparent)]
    DecisionLog(#[from] DecisionLogError),
    /// Traces cannot be set up.
    #[error(transparent)]
    Traces(#[from] TraceError),
    /// A certificate or a secret cannot be used.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// The certificates of a broker's API cannot be used.
    #[error(transparent)]
    Api(#[from] ApiConfigError),
    /// The operating system refuses a thread or a socket.
    #[error("the operating system refuses a thread or a socket")]
    System(#[from] io::Error),
}

impl ServeError {
    /// A chain of one policy needs no name in its error.
    fn of_sites(error: SitesError, is_one: bool) -> Self {
        match error {
            SitesError::Policy(MemberError { source: MemberProblem::StateInUse(error), .. }) => error.into(),
            SitesError::Policy(MemberError { source: MemberProblem::Load(error), .. }) if is_one => Self::Policy(error),
            error => Self::Policies(error),
        }
    }
}

/// A gate with an active policy that does not serve yet.
pub struct Server {
    config: Config,
    sandbox: Arc<Sandbox>,
    loader: Loader,
    sites: LoadedSites,
    config_file: Option<ConfigFile>,
    cache_reset: CacheReset,
    auth_security: ListenerSecurity,
    admin_security: ListenerSecurity,
    dropped_log_lines: Arc<AtomicU64>,
    poll_interval: Duration,
}

impl Server {
    /// Sets up the sandbox and activates the first policy.
    ///
    /// # Errors
    /// No policy works, a certificate or a secret cannot be used, or the machine has no memory for the sandbox.
    pub fn prepare(config: Config) -> Result<Self, ServeError> {
        let sandbox = Sandbox::new(config.limits.engine())?;
        Self::prepare_in(sandbox, config)
    }

    /// As [`Self::prepare`], for a program that has the verb of [`ChildCompiler`]: policies are compiled in a child process.
    ///
    /// # Errors
    /// As [`Self::prepare`].
    pub fn prepare_with_child_compiler(config: Config) -> Result<Self, ServeError> {
        let compiler = ChildCompiler::new(&config.limits);
        let sandbox = Sandbox::new(config.limits.engine())?.with_compiler(compiler);
        Self::prepare_in(sandbox, config)
    }

    fn prepare_in(sandbox: Sandbox, config: Config) -> Result<Self, ServeError> {
        let (auth_security, admin_security) =
            (ListenerSecurity::for_auth(&config)?, ListenerSecurity::for_admin(&config)?);
        let sandbox = Arc::new(sandbox);
        warn_about_address_space(&sandbox);
        let cache_reset = CacheReset::new(&config)?;
        let loader = Loader::new(Arc::clone(&sandbox), cache_reset.clone());
        let is_one = config.policy.others.is_empty() && config.tenant.0.is_empty();
        let sites = loader.load_first(config.clone()).map_err(|error| ServeError::of_sites(error, is_one))?;
        let dropped_log_lines = Arc::default();
        let poll_interval = POLL_INTERVAL;
        Ok(Self {
            config,
            sandbox,
            loader,
            sites,
            config_file: None,
            cache_reset,
            auth_security,
            admin_security,
            dropped_log_lines,
            poll_interval,
        })
    }

    /// Shows this counter of dropped log lines in the metrics.
    #[must_use]
    pub fn with_dropped_log_lines(self, dropped_log_lines: Arc<AtomicU64>) -> Self {
        Self { dropped_log_lines, ..self }
    }

    /// Sets how often files are looked at without an event; 2 s by default.
    #[must_use]
    pub fn with_poll_interval(self, poll_interval: Duration) -> Self {
        Self { poll_interval, ..self }
    }

    /// Reloads policies and tenants when this file changes.
    #[must_use]
    pub fn with_config_file(self, config_file: ConfigFile) -> Self {
        Self { config_file: Some(config_file), ..self }
    }

    /// Serves brokers and the operator until `stop`, then answers the requests in flight.
    ///
    /// # Errors
    /// The operating system refuses a thread, or the decision log or traces cannot be set up.
    pub async fn serve(self, listeners: Listeners, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        let (listen, admin_listen) = (local_addresses(&listeners.auth)?, listeners.admin.local_addr()?);
        let (limits, routes, shutdown) = (self.config.limits, self.config.routes(), CancellationToken::new());
        let telemetry = telemetry(&self.config, self.dropped_log_lines)?;
        let connections = ConnectionLimit::new(max_connections(limits.max_connections, self.config.workers));
        let credentials: Vec<_> = self.auth_security.credentials().chain(self.admin_security.credentials()).collect();
        let (auth_tls, admin_tls) = (self.auth_security.tls(), self.admin_security.tls());
        let (has_tls, has_admin_tls) = (auth_tls.is_some(), admin_tls.is_some());

        let handshake_failures = [("tls", &auth_tls), ("admin_tls", &admin_tls)]
            .into_iter()
            .filter_map(|(name, tls)| Some((name, tls.as_ref()?.failures())))
            .collect();
        let watchdog = systemd::watchdog();
        systemd::check_watchdog(watchdog, limits.policy_timeout);
        let monitor = HeartbeatMonitor::new(self.config.workers.get(), watchdog);
        let (monitors, config_state) = (MonitorQueue::start()?, ConfigFileState::default());
        let activations = self.loader.activations();
        let config_file = self.config_file.map(|file| (file, config_state.clone()));
        let secret = self.auth_security.secret();
        let reloader = GateReloader::start(self.sites, self.loader, monitors.clone(), secret, config_file);
        let sites = reloader.sites();
        let chain = sites.gate.evaluator.chain().clone();
        let fallback = status_page::router(chain.clone(), routes);
        let judge_sites = Arc::clone(&sites);
        let service = AuthService::new(Arc::clone(&sites), routes, fallback, telemetry.clone(), limits);
        let buffer_limit = BufferLimit::new(limits.max_buffered.as_u64());
        let workers = Workers::start(service, limits, buffer_limit.clone(), auth_tls, shutdown.clone(), &monitor)?;

        let state = AdminState {
            sites,
            monitors: monitors.monitors(),
            config_file: config_state,
            activations,
            telemetry,
            connections: connections.clone(),
            buffer_limit,
            instances: self.sandbox.instance_counter(),
            policy_memory: self.sandbox.memory_budget(),
            cache_reset: self.cache_reset.clone(),
            credentials: credentials.clone(),
            handshake_failures,
            denials: Arc::default(),
            shutdown,
        };
        let background = admin::record_rates(state.telemetry.clone());
        let routes = admin::protected_router(state, self.admin_security.secret(), &self.config.access.admin_hosts);
        let admin_thread = AdminThread::start(listeners.admin, admin_tls, limits.request_timeout, routes, background)?;

        let watched = [Box::new(reloader) as Box<dyn Watched>];
        let watched =
            watched.into_iter().chain(self.auth_security.into_watched()).chain(self.admin_security.into_watched());
        let watch_thread = WatchThread::spawn(watched.collect(), self.poll_interval, policy_events::watch_error)?;
        self.cache_reset.start(limits.engine().policy_wall_timeout, |tenant| judge(&judge_sites, tenant))?;
        let watchdog = tokio::spawn(monitor.watch(systemd::alive));
        tracing::info!(%listen, admin = %admin_listen, tls = has_tls, admin_tls = has_admin_tls, "serving");
        warn_about_expiry(&credentials, SystemTime::now());
        warn_about_fault_replies(&self.config);
        systemd::ready(&chain.load());

        let stop = async {
            stop.await;
            systemd::stopping();
        };
        workers.serve(Acceptor::new(listeners.auth, listeners.is_inherited, connections), stop).await;
        watchdog.abort();
        self.cache_reset.stop();
        // Last, so that the operator can watch until the last request is answered.
        let _ = tokio::task::spawn_blocking(move || {
            admin_thread.stop();
            drop(watch_thread);
        })
        .await;
        tracing::info!("stopped");
        Ok(())
    }
}

fn local_addresses(listeners: &[TcpListener]) -> io::Result<ListenAddresses> {
    listeners.iter().map(TcpListener::local_addr).collect()
}

/// Runs a gate until `stop`: [`Server::prepare`] and [`Server::serve`] in one.
///
/// # Errors
/// As theirs.
pub async fn serve(config: Config, listeners: Listeners, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
    Server::prepare(config)?.serve(listeners, stop).await
}

/// Serves brokers with this evaluator instead of a policy, until `stop`. There is no admin address.
///
/// `bench/` uses it to measure the cost of all but the policy.
///
/// # Errors
/// The operating system refuses a thread.
pub async fn serve_with(
    evaluator: impl Evaluator,
    config: &Config,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let (limits, connections) = (config.limits, ConnectionLimit::new(config.limits.max_connections.get()));
    let (fallback, telemetry, secret) = (axum::Router::new(), Telemetry::default(), SecretVerifier::default());
    let refusals = Refusals::new(config.lockout, MAX_REFUSALS, Instant::now());
    let site = Site { tenant: None, evaluator, refusals, secret, counters: None };
    let service = AuthService::new(Arc::new(Sites::new(site)), config.routes(), fallback, telemetry, limits);
    let monitor = HeartbeatMonitor::new(config.workers.get(), None);
    let buffer_limit = BufferLimit::new(limits.max_buffered.as_u64());
    let workers = Workers::start(service, limits, buffer_limit, None, CancellationToken::new(), &monitor)?;
    workers.serve(Acceptor::new(vec![listener], false, connections), stop).await;
    Ok(())
}

/// Asks the policies of a tenant, or those of the gate, about connected clients.
fn judge(sites: &Arc<Sites<ChainEvaluator>>, tenant: Option<Name>) -> Judge {
    let (asked, judging) = (Arc::clone(sites), Arc::clone(sites));
    let coverage = move || {
        let coverage = asked.read(tenant, |site| {
            let chain = site.evaluator.chain().load();
            let lacking = chain.enforced().filter(|(_, member)| !member.active.load().policy.has_authorizer());
            Coverage { has_authorizer: chain.has_authorizer(), lacking: lacking.map(|(_, it)| it.name).collect() }
        });
        coverage.unwrap_or_default()
    };
    let may_stay_connected = move |request| {
        let permission = judging.read(tenant, |site| site.evaluator.may_stay_connected(request));
        // A tenant that was removed meanwhile decides about no client any more.
        permission.unwrap_or(Ok(Permission::Ignore))
    };
    Judge { coverage: Box::new(coverage), may_stay_connected: Box::new(may_stay_connected) }
}

fn telemetry(config: &Config, dropped_log_lines: Arc<AtomicU64>) -> Result<Telemetry, ServeError> {
    let decision_log = DecisionLog::open(&config.decision_log)?.map(Arc::new);
    // The signal is handled also without a log: it would end the gate.
    let hangup = signal(SignalKind::hangup())?;
    tokio::spawn(reopen_on_hangup(hangup, decision_log.as_ref().map(Arc::downgrade).unwrap_or_default()));
    let traces = Traces::start(&config.traces)?.map(Arc::new);
    Ok(Telemetry { decision_log, traces, dropped_log_lines, ..Telemetry::default() })
}

/// Reopens the decision log at each SIGHUP, which log rotation sends after it has moved the file away.
async fn reopen_on_hangup(mut hangup: Signal, log: Weak<DecisionLog>) {
    while hangup.recv().await.is_some() {
        let Some(log) = log.upgrade() else { return };
        log.reopen();
    }
}

fn warn_about_address_space(sandbox: &Sandbox) {
    let space = sandbox.address_space();
    if space.is_reduced(sandbox.limits()) {
        let hint = "raise the limit of virtual memory (ulimit -v), or use a system with 48-bit addresses";
        let (max_instances, guard_regions) = (space.max_instances, space.has_guards);
        tracing::warn!(max_instances, guard_regions, hint, "little address space; policies check their own bounds");
    }
}

fn warn_about_fault_replies(config: &Config) {
    if config.broker.iter().any(|broker| broker.faults == FaultReply::Unavailable) {
        let hint =
            "start EMQX with EMQX_SECURITY_PROFILE=hardened; otherwise its next authenticator may admit the client";
        tracing::warn!(hint, "faults are answered with status 503");
    }
}

fn warn_about_expiry(credentials: &[CredentialHandle], now: SystemTime) {
    for credential in credentials.iter().filter(|it| it.expires().is_some_and(|expires| expires < now)) {
        let hint = "replace the certificate; clients that verify it refuse to connect";
        tracing::warn!(what = credential.name, hint, "certificate has expired");
    }
}
