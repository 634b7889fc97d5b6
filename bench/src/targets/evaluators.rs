//! Native evaluators behind the gate's serving code. Their difference from the gate is the cost of the component.

use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use auth_core::{Settings, UnixTime, authenticate};
use brokers::{Actions, Credentials};
use mqtt_gate::config::Config;
use mqtt_gate::judge::{By, Judge, Judged};
use mqtt_gate::policy::{Access, Digest, Grant, Permission, Reason, Verdict};
use tokio::net::TcpListener;

/// The default policy's checks, compiled in.
struct NativeEvaluator {
    settings: Arc<Settings>,
    policy: By,
}

/// No checks: every login is allowed.
struct AllowAllEvaluator {
    policy: By,
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
        let policy = By { digest: Digest::of(b""), generation: 1 };
        let shutdown = std::future::pending();
        match settings {
            Some(settings) => {
                mqtt_gate::serve_by(NativeEvaluator { settings, policy }, &config, listener, shutdown).await?;
            }
            None => mqtt_gate::serve_by(AllowAllEvaluator { policy }, &config, listener, shutdown).await?,
        }
        Ok(())
    })
}

impl Judge for NativeEvaluator {
    async fn login(&self, credentials: Credentials) -> Judged<Verdict> {
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
            }),
            auth_core::Verdict::Deny(_) => Verdict::Deny(Reason::NotAuthorized),
        };
        Judged { by: self.policy, answer: Ok(verdict) }
    }

    async fn actions(&self, _: Actions) -> Judged<Permission> {
        Judged { by: self.policy, answer: Ok(Permission::Ignore) }
    }
}

impl Judge for AllowAllEvaluator {
    async fn login(&self, _: Credentials) -> Judged<Verdict> {
        let grant = Grant { access: Access::BrokerRules, expires_at: None, key_id: None, attributes: Vec::new() };
        Judged { by: self.policy, answer: Ok(Verdict::Allow(grant)) }
    }

    async fn actions(&self, _: Actions) -> Judged<Permission> {
        Judged { by: self.policy, answer: Ok(Permission::Ignore) }
    }
}
