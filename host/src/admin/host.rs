//! Check of the `host` header, against DNS rebinding: a web page whose own host name resolves to the admin address could
//! otherwise read the status through its visitor's browser.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{HOST, HeaderValue};
use axum::http::uri::Authority;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};

use super::auth::is_public;

/// Domains that cannot be registered: the loopback names (RFC 6761), private networks (ICANN, 2024) and services of
/// Kubernetes.
const PRIVATE_DOMAINS: [&str; 4] = [".localhost", ".internal", ".svc", ".cluster.local"];

/// Answers only requests to addresses, private names and these host names. Probes may use any name.
///
/// A token makes this check needless: a browser does not send one site's token to another.
pub(crate) fn require_known_host(routes: Router, allowed: &[String]) -> Router {
    let allowed: Arc<[String]> = allowed.into();
    routes.layer(from_fn(move |request: Request, next: Next| {
        let allowed = Arc::clone(&allowed);
        async move {
            let host = request.headers().get(HOST);
            // Every browser sends the header.
            if is_public(&request) || host.is_none_or(|host| is_known(host, &allowed)) {
                return next.run(request).await;
            }
            misdirected()
        }
    }))
}

fn is_known(header: &HeaderValue, allowed: &[String]) -> bool {
    let Some(authority) = header.to_str().ok().and_then(|text| text.parse::<Authority>().ok()) else { return false };
    let host = authority.host().trim_end_matches('.').to_ascii_lowercase();
    let is_address = host.parse::<Ipv4Addr>().is_ok()
        || host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')?.parse::<Ipv6Addr>().ok()).is_some();
    // A web page has a name with a dot: ICANN forbids hosts at top-level domains (SAC 053).
    let is_private = !host.contains('.') || PRIVATE_DOMAINS.iter().any(|domain| host.ends_with(domain));
    is_address || is_private || allowed.iter().any(|name| name.eq_ignore_ascii_case(&host))
}

fn misdirected() -> Response {
    let text = "unknown host name: use the IP address, add the name to access.admin_hosts, or set access.admin_token\n";
    (StatusCode::MISDIRECTED_REQUEST, text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_private_names_are_known_and_public_names_only_if_configured() {
        let allowed = ["gate.example.com".to_owned()];
        for host in [
            "127.0.0.1:8004",
            "[::1]:8004",
            "[fd00::1]",
            "localhost:8004",
            "LOCALHOST",
            "mqtt-gate:8004",
            "gate.mqtt.svc:8004",
            "gate.mqtt.svc.cluster.local",
            "gate.example.com:8004",
            "Gate.Example.Com.",
        ] {
            assert!(is_known(&HeaderValue::from_static(host), &allowed), "{host}");
        }
        for host in [
            "rebind.attacker.example:8004",
            "127.0.0.1.attacker.example",
            "xgate.example.com",
            "gate.example.com.attacker.example",
            "svc.attacker.example",
            "gate.local",
            "[attacker.example]",
            "attacker.example/localhost",
            "",
        ] {
            assert!(!is_known(&HeaderValue::from_static(host), &allowed), "{host}");
        }
    }
}
