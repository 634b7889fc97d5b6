//! Native evaluators behind the gate's serving code. Their difference from the gate is the cost of the component.

use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use auth_core::{Settings, UnixTime, authenticate};
use brokers::{AuthorizeRequest, Authorizer, Credentials, Permission};
use mqtt_gate::config::Config;
use mqtt_gate::decision::{CallCost, Evaluation, Evaluator, PolicyRef};
use mqtt_gate_engine::util::name::Name;
use mqtt_gate_engine::{Access, Denial, DenyReason, Digest, Grant, Verdict};
use tokio::net::TcpListener;

/// The default policy's checks, compiled in.
struct NativeEvaluator {
    settings: Arc<Settings>,
    policy: PolicyRef,
}

/// No checks: every login is allowed.
struct AllowAllEvaluator {
    policy: PolicyRef,
}

/// Serves until the process is killed: with the default policy's checks, or without checks if there are no `settings`.
pub(crate) fn serve(
    listen: SocketAddr,
    workers: Option<NonZero<usize>>,
    settings: Option<Arc<Settings>>,
) -> Result<()> {
    let mut config = Config::default();
    config.workers = workers.unwrap_or(config.workers);
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(listen).await?;
        eprintln!("listening on {}", listener.local_addr()?);
        let policy = PolicyRef {
            name: Name::none(),
            digest: Digest::of(b""),
            generation: 1,
            activations: 1,
            authorizer: Authorizer::Absent,
        };
        let shutdown = std::future::pending();
        match settings {
            Some(settings) => {
                mqtt_gate::serve_with(NativeEvaluator { settings, policy }, &config, listener, shutdown).await?;
            }
            None => mqtt_gate::serve_with(AllowAllEvaluator { policy }, &config, listener, shutdown).await?,
        }
        Ok(())
    })
}

impl Evaluator for NativeEvaluator {
    fn policy(&self) -> PolicyRef {
        self.policy
    }

    async fn authenticate(&self, credentials: Credentials, _: &CallCost) -> Evaluation<Verdict> {
        let credentials = auth_core::Credentials {
            client_id: &credentials.client_id,
            username: credentials.username.as_deref(),
            password: credentials.password.as_deref(),
        };
        let now = || UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
        let verdict = match authenticate(&credentials, &self.settings, now) {
            auth_core::Verdict::Allow(grant) => Verdict::Allow(Grant {
                access: Access::BrokerRules,
                expires_at: grant.expires_at.map(|end| end.0),
                key_id: grant.key_id,
                attributes: Vec::new(),
                extensions: Vec::new(),
            }),
            auth_core::Verdict::Deny(_) => Verdict::Deny(Denial { reason: DenyReason::NotAuthorized, detail: None }),
        };
        Evaluation { policy: self.policy, result: Ok(verdict) }
    }

    async fn authorize(&self, _: AuthorizeRequest, _: &CallCost) -> Evaluation<Permission> {
        Evaluation { policy: self.policy, result: Ok(Permission::Ignore) }
    }
}

impl Evaluator for AllowAllEvaluator {
    fn policy(&self) -> PolicyRef {
        self.policy
    }

    async fn authenticate(&self, _: Credentials, _: &CallCost) -> Evaluation<Verdict> {
        let (attributes, extensions) = (Vec::new(), Vec::new());
        let grant = Grant { access: Access::BrokerRules, expires_at: None, key_id: None, attributes, extensions };
        Evaluation { policy: self.policy, result: Ok(Verdict::Allow(grant)) }
    }

    async fn authorize(&self, _: AuthorizeRequest, _: &CallCost) -> Evaluation<Permission> {
        Evaluation { policy: self.policy, result: Ok(Permission::Ignore) }
    }
}
