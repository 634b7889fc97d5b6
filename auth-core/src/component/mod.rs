//! The component's exports. Only this file reads the settings from the host, and the clock.

use std::cell::Cell;
use std::sync::OnceLock;

use bindings::exports::mqtt_gate::auth::{authenticator as wit, authorizer};
use bindings::wasi::{clocks::wall_clock, config::store};

use crate::{
    Access, Action, AuthorizeRequest, Credentials, DenyReason, Permission, Settings, UnixTime, Verdict, authenticate,
    authorize,
};

mod metadata;

#[allow(missing_docs, unsafe_code, unreachable_pub, clippy::allow_attributes_without_reason, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../wit", world: "described-access-policy", generate_all });
}

/// The default policy as a component.
pub struct Policy;

#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated from wit/")]
mod exports {
    use super::{Policy, bindings};

    bindings::export!(Policy with_types_in bindings);
}

impl wit::Guest for Policy {
    /// Validates the settings. Reads each setting by name, so that the host can report settings that no policy reads.
    fn check() -> Result<(), String> {
        // A store that fails is an error. Treating it as a missing setting would silently apply the default.
        let unreadable = Cell::new(None);
        let settings = Settings::read(|name| {
            store::get(name).unwrap_or_else(|_| {
                unreadable.set(Some(format!("{name}: the host failed to read this setting; see the log of the host")));
                None
            })
        });
        match unreadable.take() {
            Some(error) => Err(error),
            None => settings.map(drop).map_err(|error| error.to_string()),
        }
    }

    fn authenticate(credentials: wit::Credentials) -> Result<wit::Verdict, String> {
        let credentials = Credentials {
            client_id: &credentials.client_id,
            username: credentials.username.as_deref(),
            password: credentials.password.as_deref(),
        };
        let now = || UnixTime(wall_clock::now().seconds);
        Ok(authenticate(&credentials, settings()?, now).into())
    }
}

impl authorizer::Guest for Policy {
    fn authorize(request: authorizer::Request) -> Result<authorizer::Permission, String> {
        let request = AuthorizeRequest {
            client_id: &request.client_id,
            username: request.username.as_deref(),
            action: match &request.action {
                authorizer::Action::ConnectWithoutProof => Action::ConnectWithoutProof,
                authorizer::Action::Publish(publication) => Action::Publish(&publication.topic),
                authorizer::Action::Subscribe(subscription) => Action::Subscribe(&subscription.filter),
            },
        };
        Ok(match authorize(&request, settings()?) {
            Permission::Allow => authorizer::Permission::Allow,
            Permission::Deny => authorizer::Permission::Deny,
            Permission::Ignore => authorizer::Permission::Ignore,
        })
    }
}

/// Returns the settings. They are parsed once per instance, because they cannot change during its life.
fn settings() -> Result<&'static Settings, String> {
    static SETTINGS: OnceLock<Result<Settings, String>> = OnceLock::new();
    SETTINGS.get_or_init(read_settings).as_ref().map_err(Clone::clone)
}

/// Reads all settings with one host call, because an instance may serve only one login.
fn read_settings() -> Result<Settings, String> {
    let all = store::get_all().map_err(|_| "settings: the host failed to read them; see the log of the host")?;
    let get = |name: &str| all.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
    Settings::read(get).map_err(|error| error.to_string())
}

impl From<Verdict> for wit::Verdict {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Allow(grant) => Self::Allow(wit::Grant {
                access: grant.access.into(),
                expires_at: grant.expires_at.map(|end| end.0),
                key_id: grant.key_id,
                attributes: grant.attributes,
                extensions: Vec::new(),
            }),
            Verdict::Deny(denial) => Self::Deny(wit::Denial {
                reason: match denial.reason() {
                    DenyReason::ClientIdentifierNotValid => wit::Reason::ClientIdentifierNotValid,
                    DenyReason::BadUserNameOrPassword => wit::Reason::BadUserNameOrPassword,
                },
                detail: Some(denial.detail().to_owned()),
            }),
        }
    }
}

impl From<Access> for wit::Access {
    fn from(access: Access) -> Self {
        match access {
            Access::Everything => Self::Everything,
            Access::Only(topics) => Self::Only(wit::Topics { publish: topics.publish, subscribe: topics.subscribe }),
            Access::BrokerRules => Self::BrokerRules,
        }
    }
}
