//! The effects of the gate on the brokers in the configuration through their APIs, for `check`.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;

use mqtt_gate::config::{BrokerConfig, Config, OnRevoke};
use mqtt_gate::emqx_api::{ApiError, EmqxApi, NODE_CACHE_HINT, NodeCaches, broker_apis};
use mqtt_gate_engine::util::name::Name;
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
    /// The treatment of connected clients that the policies deny; `null`: they stay connected.
    revocation: Option<RevocationCheck>,
}

/// The treatment of connected clients that the policies deny.
#[derive(Serialize)]
struct RevocationCheck {
    on_revoke: &'static str,
    /// Time of the ban, such as `1h`; `null` if there is none.
    revoke_ban: Option<String>,
    /// The tenant whose policies are asked; `null`: those of the gate.
    tenant: Option<&'static str>,
    /// Whether clients of tenants are put to the policies of the gate.
    ignores_tenants: bool,
    /// Policies that cannot be asked about connected clients; `null`: not all policies were loaded.
    without_authorizer: Option<Vec<&'static str>>,
    /// Whether one of them can; `null`: not all policies were loaded.
    has_authorizer: Option<bool>,
}

/// Whether the policies that were loaded have an authorizer, by the tenant and the name.
pub(super) type Authorizers = BTreeMap<Option<Name>, Vec<(Name, bool)>>;

/// Calls the API of each broker that has one.
///
/// # Errors
/// A variable that the configuration names is not set, or certificates cannot be read.
pub(super) fn check(mut config: Config, authorizers: &Authorizers) -> Result<Vec<BrokerCheck>, CliError> {
    config.resolve_broker_env()?;
    let apis = broker_apis(&config).map_err(anyhow::Error::from)?;
    let service_problem = if apis.is_empty() { None } else { service_properties().as_deref().and_then(restriction) };
    let check = |(broker, api): &(&BrokerConfig, EmqxApi)| BrokerCheck {
        revocation: broker.on_revoke.map(|on_revoke| {
            RevocationCheck::new(broker, on_revoke, !config.tenant.0.is_empty(), authorizers.get(&broker.tenant))
        }),
        ..BrokerCheck::new(api.url(), api.node_caches(), service_problem)
    };
    Ok(apis.iter().map(check).collect())
}

impl BrokerCheck {
    fn new(api: &str, caches: Result<NodeCaches, ApiError>, service_problem: Option<&'static str>) -> Self {
        let (enabled_caches, problem) = match caches {
            Ok(caches) => (caches.enabled(), None),
            Err(error) => (Vec::new(), Some(sanitize::error_chain(&error))),
        };
        Self { api: api.to_owned(), problem, service_problem, enabled_caches, revocation: None }
    }
}

impl fmt::Display for BrokerCheck {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Self { api, problem, service_problem, enabled_caches, revocation } = self;
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
        revocation.iter().try_for_each(|revocation| revocation.write(f, api))
    }
}

impl RevocationCheck {
    fn new(
        broker: &BrokerConfig,
        on_revoke: OnRevoke,
        has_tenants: bool,
        authorizers: Option<&Vec<(Name, bool)>>,
    ) -> Self {
        let lacking = |policies: &Vec<(Name, bool)>| {
            policies.iter().filter(|(_, has_authorizer)| !has_authorizer).map(|(name, _)| name.as_str()).collect()
        };
        Self {
            on_revoke: on_revoke.name(),
            revoke_ban: broker.ban_of_revoked().map(|ban| humantime::format_duration(ban).to_string()),
            tenant: broker.tenant.map(Name::as_str),
            ignores_tenants: has_tenants && broker.tenant.is_none(),
            without_authorizer: authorizers.map(lacking),
            has_authorizer: authorizers.map(|policies| policies.iter().any(|(_, has_authorizer)| *has_authorizer)),
        }
    }

    fn write(&self, f: &mut fmt::Formatter, api: &str) -> fmt::Result {
        let Self { on_revoke, revoke_ban, tenant, ignores_tenants, without_authorizer, has_authorizer } = self;
        let whose = tenant.map_or_else(|| "the gate".to_owned(), |tenant| format!("tenant `{tenant}`"));
        if *has_authorizer == Some(false) {
            let cause = format!("no policy of {whose} has an authorizer, so none can be asked about connected clients");
            return write!(f, "\nwarning: broker {api}: on_revoke has no effect: {cause}");
        }
        let ban = revoke_ban.as_ref().map(|ban| format!(" and bans them for {ban}")).unwrap_or_default();
        let action = if *on_revoke == OnRevoke::Report.name() { "counts" } else { "disconnects" };
        write!(f, "\nbroker {api}: the gate {action} clients that the policies of {whose} deny{ban}")?;
        let lacking = without_authorizer.as_deref().unwrap_or_default();
        if !lacking.is_empty() {
            let lacking = lacking.join(", ");
            write!(f, "\nbroker {api}: not asked about connected clients, without an authorizer: {lacking}")?;
        }
        if *ignores_tenants {
            let remedy = "if clients of a tenant connect to this broker, set broker.tenant";
            write!(f, "\nwarning: broker {api}: only the policies of the gate are asked; {remedy}")?;
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
    fn the_effect_of_on_revoke_has_a_line() {
        let (gate, acme) = (None, Name::new("acme"));
        let text = |tenant, on_revoke, policies: &[(&str, bool)]| {
            let broker =
                BrokerConfig { tenant, on_revoke: Some(on_revoke), ..BrokerConfig::of_kind(brokers::BrokerKind::Emqx) };
            let policies = policies.iter().map(|(name, it)| (Name::new(name).unwrap(), *it)).collect();
            let revocation = RevocationCheck::new(&broker, on_revoke, true, Some(&policies));
            let check = BrokerCheck {
                revocation: Some(revocation),
                ..BrokerCheck::new("http://e", Ok(NodeCaches::default()), None)
            };
            check.to_string()
        };
        let reachable =
            "broker http://e: reachable\nbroker http://e: the gate disconnects clients that the policies of ";
        let remedy =
            "only the policies of the gate are asked; if clients of a tenant connect to this broker, set broker.tenant";
        assert_eq!(
            text(gate, OnRevoke::Ban, &[("a", true)]),
            format!("{reachable}the gate deny and bans them for 1h\nwarning: broker http://e: {remedy}")
        );
        assert_eq!(
            text(acme, OnRevoke::Kick, &[("a", true), ("b", false)]),
            format!(
                "{reachable}tenant `acme` deny\nbroker http://e: not asked about connected clients, without an authorizer: b"
            )
        );
        assert!(text(acme, OnRevoke::Kick, &[("b", false)]).ends_with(
            "\nwarning: broker http://e: on_revoke has no effect: no policy of tenant `acme` has an authorizer, so none can \
             be asked about connected clients"
        ));
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
