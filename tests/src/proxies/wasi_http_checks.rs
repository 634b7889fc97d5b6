//! What every host of a composed policy must do. `wasmtime` and `external::jco` run these checks.

use std::net::SocketAddr;

use brokers::{Outcome, Routes};
use serde_json::json;

use crate::support::composition::Composition;
use crate::support::device::{Device, KEY};
use crate::support::http::{Connection, Response, get, post_json};
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, MISBEHAVING, OPERATOR};
use crate::support::jco::Jco;
use crate::support::request_corpus::{broker_requests, recorded_emqx_requests, request_variants};
use crate::support::wasi_http::WasiHttp;

/// A kind of host.
#[derive(Clone, Copy)]
pub(super) enum Runtime {
    /// Settings come from `wasi:config/store`.
    Wasmtime,
    /// Settings come from the environment: jco has no `wasi:config/store`.
    Jco,
}

/// A running host with a composed policy.
pub(super) enum Host {
    Wasmtime(WasiHttp),
    Jco(Box<Jco>),
}

impl Runtime {
    /// Composes and starts a policy.
    async fn start(self, policy: &str, settings: &[(&str, &str)]) -> Host {
        match self {
            Self::Wasmtime => {
                let composition = Composition::with_config_store(policy).await;
                Host::Wasmtime(WasiHttp::start(composition.path(), settings).await)
            }
            Self::Jco => {
                let composition = Composition::with_settings_from_env(policy).await;
                Host::Jco(Box::new(Jco::start(composition.path(), settings).await))
            }
        }
    }
}

impl Host {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Wasmtime(host) => host.address,
            Self::Jco(host) => host.address,
        }
    }

    async fn request(&self, request: &[u8]) -> Response {
        send(self.address(), request).await
    }
}

async fn send(address: SocketAddr, request: &[u8]) -> Response {
    let mut connection = Connection::open(address).await;
    if request.starts_with(b"HEAD") {
        connection.send(request).await;
        return connection.response_head().await.expect("a response");
    }
    connection.request(request).await
}

/// The headers that brokers and browsers read, except the length, which follows from the body.
const HEADERS: [&str; 5] = [
    "content-type",
    "allow",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
];

/// The parts of a response that must be the same in every host.
fn comparable(response: &Response) -> (u16, Vec<Option<&str>>, &str) {
    // The status pages of the hosts differ.
    let body = if response.text().starts_with("mqtt-gate ") { "mqtt-gate" } else { response.text() };
    (response.status, HEADERS.iter().map(|name| response.header(name)).collect(), body)
}

/// Sends every request to both, and asserts that the responses are the same.
async fn assert_same_responses(gate: &Gate, host: &Host, requests: &[Vec<u8>]) {
    for request in requests {
        let expected = send(gate.auth, request).await;
        let response = host.request(request).await;
        let begin = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
        assert_eq!(comparable(&response), comparable(&expected), "{begin}");
    }
}

const TOPICS: [(&str, &str); 2] =
    [("publish-topics", "devices/{mac}/up/#, log/{group}"), ("subscribe-topics", "devices/{mac}/#")];

pub(super) async fn default_policy_responds_like_the_native_gate(runtime: Runtime, policy: &str) {
    let gate = Gate::start_with(AUTH_CORE, |config| {
        TOPICS.iter().for_each(|(name, value)| config.policy.first.settings.set(name, (*value).into()));
    })
    .await;
    let host = runtime.start(policy, &[&[("signature-keys", KEY)][..], &TOPICS].concat()).await;
    let mut requests = request_variants();
    requests.extend(recorded_emqx_requests());
    let (valid, forged) = (Device::valid(), Device::forged());
    let other_key = Device::signed_with("another key");
    for device in [&valid, &forged, &Device::unsigned(""), &Device::unsigned("x"), &other_key] {
        requests.extend(broker_requests(device));
    }
    assert_same_responses(&gate, &host, &requests).await;
    // Guards against hosts that agree because both fail.
    assert_eq!(host.request(&valid.request()).await.status, 200);
    assert_eq!(host.request(&forged.request()).await.status, 401);
    gate.stop().await;
}

pub(super) async fn policy_without_an_authorizer_responds_like_the_native_gate(runtime: Runtime, policy: &str) {
    let gate = Gate::start(LOCKDOWN).await;
    let host = runtime.start(policy, &[("clients", OPERATOR)]).await;
    let (operator, stranger) = (Device::unsigned(OPERATOR), Device::unsigned("stranger"));
    let requests = [broker_requests(&operator), broker_requests(&stranger)].concat();
    assert_same_responses(&gate, &host, &requests).await;
    assert_eq!(host.request(&operator.request()).await.status, 200);
    let action = json!({ "clientid": OPERATOR, "topic": "t", "action": "publish" });
    assert_eq!(host.request(&post_json("/emqx/acl", &action)).await.text(), r#"{"result":"ignore"}"#);
    gate.stop().await;
}

pub(super) async fn grants_and_errors_respond_like_the_native_gate(runtime: Runtime) {
    let gate = Gate::start(MISBEHAVING).await;
    let host = runtime.start(MISBEHAVING, &[("signature-keys", KEY)]).await;
    let grants = ["nothing", "ignore", "everything", "attributes", "2100", "only", "rules", "quota", "odd detail"];
    let unsupported = [
        "attribute-name",
        "attribute-twice",
        "expired",
        "in milliseconds",
        "eq",
        "placeholder",
        "no filter",
        "no qos",
        "unknown extension",
    ];
    for behaviour in grants.into_iter().chain(unsupported).chain(["error", "tell me all"]) {
        assert_same_responses(&gate, &host, &broker_requests(&Device::triggering(behaviour))).await;
    }
    for behaviour in unsupported.into_iter().chain(["error", "error-huge"]) {
        let response = host.request(&Device::triggering(behaviour).request_to("/emqx/auth")).await;
        assert_eq!((response.status, response.text()), (200, r#"{"result":"deny"}"#), "{behaviour}");
    }
    gate.stop().await;
}

/// Asserts that a policy which rejects this key denies every request, in the dialect of its route.
pub(super) async fn rejected_key_denies_every_request(runtime: Runtime, key: Option<&str>) {
    let settings: Vec<_> = key.map(|key| ("signature-keys", key)).into_iter().collect();
    let host = runtime.start(AUTH_CORE, &settings).await;
    for request in broker_requests(&Device::signed_with(key.unwrap_or_default())) {
        let response = host.request(&request).await;
        let target = String::from_utf8_lossy(&request).split([' ', '?']).nth(1).unwrap().to_owned();
        let denials =
            [Outcome::Error, Outcome::Deny].map(|outcome| Routes::default().find(&target).unwrap().render(outcome));
        let is_denial = denials.iter().any(|reply| (reply.status, &*reply.body) == (response.status, response.text()));
        assert!(is_denial, "{target}: {} {}", response.status, response.text());
    }
    let page = host.request(&get("/mqtt/auth")).await;
    assert!(page.status == 503 && page.text().contains("settings"), "{}", page.text());
}

/// Asserts that a policy whose `check` fails in this way gives no verdict, and that no key is shown.
pub(super) async fn failing_check_denies_every_request(runtime: Runtime, check: &str) {
    let host = runtime.start(MISBEHAVING, &[("signature-keys", KEY), ("check", check)]).await;
    let device = Device::triggering("nothing");
    assert_eq!(host.request(&device.request()).await.status, 503);
    assert_eq!(host.request(&device.request_to("/emqx/auth")).await.text(), r#"{"result":"deny"}"#);
    let page = host.request(&get("/mqtt/auth")).await;
    assert!(page.status == 503 && !page.text().contains(KEY), "{}", page.text());
}

/// Asserts that a trap costs one request. Its response comes from the host: no adapter can translate it for the route.
pub(super) async fn trap_costs_one_request(host: Host, status: u16) {
    for fault in ["trap", "recurse"] {
        assert_eq!(host.request(&Device::triggering(fault).request()).await.status, status, "{fault}");
        assert_eq!(host.request(&Device::triggering("nothing").request()).await.status, 200, "after {fault}");
    }
}

/// Asserts that chunked bodies are read piece by piece, and limited.
pub(super) async fn chunked_bodies_are_read_and_limited(runtime: Runtime) {
    let host = runtime.start(AUTH_CORE, &[("signature-keys", KEY)]).await;
    let body = Device::valid().body().to_string();
    let head = "POST /mqtt/auth HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let single_bytes: String = body.chars().map(|byte| format!("1\r\n{byte}\r\n")).collect();
    let oversized = format!("{:x}\r\n{}\r\n", 70_000, " ".repeat(70_000));
    for (chunks, status) in [(&single_bytes, 200), (&oversized, 413)] {
        let mut connection = Connection::open(host.address()).await;
        let response = connection.request(format!("{head}{chunks}0\r\n\r\n").as_bytes()).await;
        assert_eq!(response.status, status);
        assert_eq!(connection.request(&Device::valid().request()).await.status, 200, "the next request");
    }
}
