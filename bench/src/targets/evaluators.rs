//! Judges in the place of a component, behind the gate's own serving code: what they differ in is what a component costs.

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

/// The checks of the default policy, compiled in.
struct Native {
    settings: Arc<Settings>,
    by: By,
}

/// No checks at all: everybody is let in.
struct Plain {
    by: By,
}

/// Serves one of them until it is ended.
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
        let by = By { digest: Digest::of(b""), generation: 1 };
        let forever = std::future::pending();
        match settings {
            Some(settings) => mqtt_gate::serve_by(Native { settings, by }, &config, listener, forever).await?,
            None => mqtt_gate::serve_by(Plain { by }, &config, listener, forever).await?,
        }
        Ok(())
    })
}

impl Judge for Native {
    async fn login(&self, who: Credentials) -> Judged<Verdict> {
        let who = auth_core::Credentials {
            client_id: &who.client_id,
            username: who.username.as_deref(),
            password: who.password.as_deref(),
        };
        let now = || UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
        let verdict = match authenticate(&who, &self.settings, now) {
            auth_core::Verdict::Allow(grant) => Verdict::Allow(Grant {
                access: Access::BrokerRules,
                expires_at: grant.expires_at.map(|end| end.0),
                key_id: grant.key_id,
                attributes: Vec::new(),
            }),
            auth_core::Verdict::Deny(_) => Verdict::Deny(Reason::NotAuthorized),
        };
        Judged { by: self.by, answer: Ok(verdict) }
    }

    async fn actions(&self, _: Actions) -> Judged<Permission> {
        Judged { by: self.by, answer: Ok(Permission::Ignore) }
    }
}

impl Judge for Plain {
    async fn login(&self, _: Credentials) -> Judged<Verdict> {
        let grant = Grant { access: Access::BrokerRules, expires_at: None, key_id: None, attributes: Vec::new() };
        Judged { by: self.by, answer: Ok(Verdict::Allow(grant)) }
    }

    async fn actions(&self, _: Actions) -> Judged<Permission> {
        Judged { by: self.by, answer: Ok(Permission::Ignore) }
    }
}
