//! Whether the gate could reset the caches of the brokers in the configuration, for `check`.

use std::fmt;
use std::process::Command;

use mqtt_gate::config::Config;
use mqtt_gate::emqx_api::{ApiError, EmqxApi, NODE_CACHE_HINT, NodeCaches};
use mqtt_gate_engine::util::sanitize;
use serde::Serialize;

use super::error::CliError;

/// The unit that the packages install.
const SERVICE: &str = "mqtt-gate.service";

/// State of one broker's API.
#[derive(Serialize)]
pub(super) struct BrokerCheck {
    api: String,
    /// Why the API cannot be called from here.
    problem: Option<String>,
    /// Why the installed service cannot call it, although this process may.
    service_problem: Option<&'static str>,
    /// Caches that keep responses between two resets.
    enabled_caches: Vec<&'static str>,
}

/// Calls the API of each broker that has one.
///
/// # Errors
/// A variable that the configuration names is not set, or certificates cannot be read.
pub(super) fn check(mut config: Config) -> Result<Vec<BrokerCheck>, CliError> {
    config.resolve_broker_env()?;
    let apis = config.broker.iter().filter_map(|broker| EmqxApi::of(broker).transpose());
    let apis = apis.collect::<Result<Vec<_>, _>>().map_err(anyhow::Error::from)?;
    let service_problem = if apis.is_empty() { None } else { service_properties().as_deref().and_then(restriction) };
    Ok(apis.iter().map(|api| BrokerCheck::new(api.url(), api.node_caches(), service_problem)).collect())
}

impl BrokerCheck {
    fn new(api: &str, caches: Result<NodeCaches, ApiError>, service_problem: Option<&'static str>) -> Self {
        let (enabled_caches, problem) = match caches {
            Ok(caches) => (caches.enabled(), None),
            Err(error) => (Vec::new(), Some(sanitize::error_chain(&error))),
        };
        Self { api: api.to_owned(), problem, service_problem, enabled_caches }
    }
}

impl fmt::Display for BrokerCheck {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { api, problem, service_problem, enabled_caches } = self;
        match problem {
            None => write!(f, "broker {api}: reachable")?,
            Some(problem) => write!(f, "warning: broker {api}: {problem}")?,
        }
        if let Some(problem) = service_problem {
            write!(f, "\nwarning: broker {api}: {SERVICE} cannot reach it: {problem}")?;
        }
        if !enabled_caches.is_empty() {
            let caches = enabled_caches.join(" and ");
            write!(f, "\nwarning: broker {api}: node cache is on for {caches}; {NODE_CACHE_HINT}")?;
        }
        Ok(())
    }
}

/// The properties of the installed service, if there is a service manager.
fn service_properties() -> Option<String> {
    let properties = "--property=LoadState,PrivateNetwork,RestrictAddressFamilies";
    let output = Command::new("systemctl").args(["show", SERVICE, properties]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Why a service with these properties cannot open connections.
fn restriction(properties: &str) -> Option<&'static str> {
    let value = |name: &str| properties.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    if value("LoadState") != Some("loaded") {
        return None;
    }
    if value("PrivateNetwork") == Some("yes") {
        return Some("it has PrivateNetwork=yes; install the drop-in broker-api.conf of deploy/systemd");
    }
    let families = value("RestrictAddressFamilies").unwrap_or_default();
    // A list that begins with `~` names the families that are forbidden.
    let is_allowed = |family| families.split(' ').any(|listed| listed == family);
    let is_forbidden = if let Some(forbidden) = families.strip_prefix('~') {
        forbidden.split(' ').any(|listed| listed == "AF_INET")
    } else {
        // `none` forbids every family. An empty list restricts nothing.
        !families.is_empty() && !is_allowed("AF_INET") && !is_allowed("AF_INET6")
    };
    is_forbidden
        .then_some("its RestrictAddressFamilies= has no AF_INET; install the drop-in broker-api.conf of deploy/systemd")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn restrictions_of_the_installed_service_are_named() {
        for (properties, named) in [
            ("LoadState=not-found\nPrivateNetwork=yes\n", None),
            ("LoadState=loaded\nPrivateNetwork=yes\nRestrictAddressFamilies=AF_UNIX\n", Some("PrivateNetwork=yes")),
            (
                "LoadState=loaded\nPrivateNetwork=no\nRestrictAddressFamilies=AF_UNIX\n",
                Some("RestrictAddressFamilies="),
            ),
            ("LoadState=loaded\nPrivateNetwork=no\nRestrictAddressFamilies=~AF_INET AF_PACKET\n", Some("no AF_INET")),
            ("LoadState=loaded\nPrivateNetwork=no\nRestrictAddressFamilies=none\n", Some("no AF_INET")),
            ("LoadState=loaded\nPrivateNetwork=no\nRestrictAddressFamilies=~AF_PACKET\n", None),
            ("LoadState=loaded\nPrivateNetwork=no\nRestrictAddressFamilies=AF_INET AF_UNIX\n", None),
            ("LoadState=loaded\nPrivateNetwork=no\nRestrictAddressFamilies=\n", None),
            ("", None),
        ] {
            let restriction = restriction(properties);
            assert_eq!(restriction.is_some(), named.is_some(), "{properties}");
            assert!(named.is_none_or(|named| restriction.unwrap().contains(named)), "{restriction:?}");
        }
    }

    #[test]
    fn every_problem_has_a_line() {
        let caches = NodeCaches { authentication: Some(true), authorization: Some(false) };
        let check = |caches, service| BrokerCheck::new("http://emqx:18083", caches, service).to_string();
        assert_eq!(check(Ok(NodeCaches::default()), None), "broker http://emqx:18083: reachable");
        let text = check(Err(ApiError::Unauthorized), Some("it has PrivateNetwork=yes"));
        let expected = "warning: broker http://emqx:18083: it rejects the API key; check broker.api_key and broker.api_secret\n\
                        warning: broker http://emqx:18083: mqtt-gate.service cannot reach it: it has PrivateNetwork=yes";
        assert_eq!(text, expected);
        let text = check(Ok(caches), None);
        assert!(
            text.contains("\nwarning: broker http://emqx:18083: node cache is on for authentication; set "),
            "{text}"
        );
    }
}
