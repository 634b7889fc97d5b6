//! A policy behind `wasi:http` answers as the native gate does, under wasmtime and under jco.

use std::net::SocketAddr;

use brokers::{Outcome, Route};
use rumqttc::ConnectReturnCode::{BadUserNamePassword, NotAuthorized};
use serde_json::json;

use crate::policy::credentials::{GROUPS, cases_by_key};
use crate::support::broker;
use crate::support::composition::Composition;
use crate::support::device::{Device, KEY};
use crate::support::http::{Answer, Connection, get, post_json};
use crate::support::in_process::{AUTH_CORE, Gate, LOCKDOWN, MISBEHAVING, OPERATOR, PLAIN};
use crate::support::jco::Jco;
use crate::support::mqtt::Client;
use crate::support::request_corpus::{as_each_broker_asks, as_emqx_asked, ways_of_asking};
use crate::support::wasi_http::WasiHttp;

/// The same policy in both hosts: under wasmtime with settings from its `wasi:config/store`, under jco, which has none,
/// from the environment.
struct Hosts {
    wasmtime: WasiHttp,
    jco: Jco,
}

impl Hosts {
    async fn start(policy: &str, settings: &[(&str, &str)]) -> Self {
        let (by_store, by_env) = (Composition::of(policy).await, Composition::with_settings_from_env(policy).await);
        Self {
            wasmtime: WasiHttp::start(by_store.path(), settings).await,
            jco: Jco::start(by_env.path(), settings).await,
        }
    }

    fn addresses(&self) -> [(&'static str, SocketAddr); 2] {
        [("wasmtime", self.wasmtime.address), ("jco", self.jco.address)]
    }
}

async fn ask(address: SocketAddr, request: &[u8]) -> Answer {
    let mut connection = Connection::open(address).await;
    if request.starts_with(b"HEAD") {
        connection.send(request).await;
        return connection.head().await.expect("an answer");
    }
    connection.ask(request).await
}

/// What brokers and browsers look at, but for the length, which goes with the body.
const HEADERS: [&str; 5] = [
    "content-type",
    "allow",
    "access-control-allow-origin",
    "access-control-allow-methods",
    "access-control-allow-headers",
];

/// An answer, to be compared.
fn told(answer: &Answer) -> (u16, Vec<Option<&str>>, &str) {
    // What serves is described otherwise.
    let body = if answer.text().starts_with("mqtt-gate ") { "mqtt-gate" } else { answer.text() };
    (answer.status, HEADERS.iter().map(|name| answer.header(name)).collect(), body)
}

/// Asks all of them everything, and compares what they say.
async fn compare(gate: &Gate, hosts: &Hosts, requests: &[Vec<u8>]) {
    for request in requests {
        let expected = ask(gate.logins, request).await;
        for (host, address) in hosts.addresses() {
            let answer = ask(address, request).await;
            let begin = String::from_utf8_lossy(&request[..request.len().min(200)]).into_owned();
            assert_eq!(told(&answer), told(&expected), "{host}: {begin}");
        }
    }
}

const TOPICS: [(&str, &str); 2] =
    [("publish-topics", "devices/{mac}/up/#, log/{group}"), ("subscribe-topics", "devices/{mac}/#")];

#[tokio::test(flavor = "multi_thread")]
async fn signed_devices_are_answered_as_by_the_native_gate() {
    let settings = [&[("signature-keys", KEY)][..], &TOPICS].concat();
    let gate = Gate::start_with(AUTH_CORE, |config| {
        TOPICS.iter().for_each(|(name, value)| config.policy.settings.set(name, (*value).into()));
    })
    .await;
    let hosts = Hosts::start(AUTH_CORE, &settings).await;
    let genuine = Device::genuine();
    let forged = Device { password: "A".repeat(43) + "=", ..genuine.clone() };
    let mut requests = ways_of_asking();
    requests.extend(as_emqx_asked());
    for device in [&genuine, &forged, &Device::named(""), &Device::named("nobody"), &Device::signed_with("another key")]
    {
        requests.extend(as_each_broker_asks(device));
    }
    compare(&gate, &hosts, &requests).await;
    // So that they do not agree on nothing.
    for (_, address) in hosts.addresses() {
        assert_eq!(ask(address, &genuine.request()).await.status, 200);
        assert_eq!(ask(address, &forged.request()).await.status, 401);
    }
    gate.stop().await;
}

/// One without the `authorizer`.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_judges_no_actions_is_answered_for_as_by_the_native_gate() {
    let gate = Gate::start(LOCKDOWN).await;
    let hosts = Hosts::start(LOCKDOWN, &[("clients", OPERATOR)]).await;
    let (operator, stranger) = (Device::named(OPERATOR), Device::named("stranger"));
    let requests = [as_each_broker_asks(&operator), as_each_broker_asks(&stranger)].concat();
    compare(&gate, &hosts, &requests).await;
    for (_, address) in hosts.addresses() {
        assert_eq!(ask(address, &operator.request()).await.status, 200);
        let action = json!({ "clientid": OPERATOR, "topic": "t", "action": "publish" });
        assert_eq!(ask(address, &post_json("/emqx/acl", &action)).await.text(), r#"{"result":"ignore"}"#);
    }
    gate.stop().await;
}

/// One without an import.
#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_asks_for_nothing_is_composed_either_way() {
    for composition in [Composition::of(PLAIN).await, Composition::with_settings_from_env(PLAIN).await] {
        assert!(!composition.said.contains("wasi:config") && !composition.said.contains("wasi:cli"));
        let host = WasiHttp::start(composition.path(), &[]).await;
        for (client, status) in [("plain", 200), ("other", 401)] {
            assert_eq!(ask(host.address, &Device::named(client).request()).await.status, status, "{client}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_and_faults_are_answered_as_by_the_native_gate() {
    let gate = Gate::start(MISBEHAVING).await;
    let hosts = Hosts::start(MISBEHAVING, &[("signature-keys", KEY)]).await;
    let grants = ["nothing", "ignore", "everything", "attributes", "2100", "only"];
    let unfit = ["attribute-name", "attribute-twice", "expired", "in milliseconds", "eq", "placeholder", "no filter"];
    for how in grants.into_iter().chain(unfit).chain(["error", "tell me all"]) {
        compare(&gate, &hosts, &as_each_broker_asks(&Device::causing(how))).await;
    }
    for how in unfit.into_iter().chain(["error", "error-huge"]) {
        for (host, address) in hosts.addresses() {
            let answer = ask(address, &Device::causing(how).request_to("/emqx/auth")).await;
            assert_eq!((answer.status, answer.text()), (200, r#"{"result":"deny"}"#), "{host}: {how}");
        }
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_credential_gets_its_answer_under_wasmtime() {
    let composition = Composition::of(AUTH_CORE).await;
    for groups in GROUPS {
        for (key, cases) in &cases_by_key() {
            let settings = [("signature-keys", key.as_str()), ("allow-insecure-key", "true"), ("groups", groups)];
            let host = WasiHttp::start(composition.path(), &settings).await;
            let mut connection = Connection::open(host.address).await;
            for case in cases {
                let expected = case.expected(groups);
                let by_status = post_json("/mqtt/auth", &case.body());
                let status = match expected {
                    "allow" => 200,
                    // Longer than any broker could send.
                    _ if case.body().to_string().len() > 64 << 10 => 413,
                    "malformed-request" => 400,
                    _ => 401,
                };
                assert_eq!(connection.ask(&by_status).await.status, status, "{}: {expected}", case.id);
                let answer = connection.ask(&post_json("/emqx/auth", &case.body())).await;
                let result = if expected == "allow" { "allow" } else { "deny" };
                assert_eq!((answer.status, answer.result().as_str()), (200, result), "{}", case.id);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_a_policy_refuses_let_nobody_in_on_any_route() {
    for key in [None, Some(""), Some("null"), Some("short")] {
        let settings: Vec<_> = key.map(|key| ("signature-keys", key)).into_iter().collect();
        let hosts = Hosts::start(AUTH_CORE, &settings).await;
        for (host, address) in hosts.addresses() {
            for request in as_each_broker_asks(&Device::signed_with(key.unwrap_or_default())) {
                let answer = ask(address, &request).await;
                let target = String::from_utf8_lossy(&request).split([' ', '?']).nth(1).unwrap().to_owned();
                let refusals =
                    [Outcome::NoVerdict, Outcome::Deny].map(|outcome| Route::of(&target).unwrap().render(outcome));
                let is_refusal =
                    refusals.iter().any(|reply| (reply.status, &*reply.body) == (answer.status, answer.text()));
                assert!(is_refusal, "{host} {target}: {} {}", answer.status, answer.text());
            }
            let look = ask(address, &get("/mqtt/auth")).await;
            assert!(look.status == 503 && look.text().contains("refuses its settings"), "{host}: {}", look.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_fails_its_check_never_judges() {
    for how in ["fails", "tells"] {
        let hosts = Hosts::start(MISBEHAVING, &[("signature-keys", KEY), ("check", how)]).await;
        for (host, address) in hosts.addresses() {
            let device = Device::causing("nothing");
            assert_eq!(ask(address, &device.request()).await.status, 503, "{host}");
            assert_eq!(ask(address, &device.request_to("/emqx/auth")).await.text(), r#"{"result":"deny"}"#, "{host}");
            let look = ask(address, &get("/mqtt/auth")).await;
            assert!(look.status == 503 && !look.text().contains(KEY), "{host}");
        }
    }
}

/// The one thing that a proxy cannot put right: the host answers, and not as the route would.
#[tokio::test(flavor = "multi_thread")]
async fn a_trap_costs_one_request_where_each_has_an_instance_of_its_own() {
    let composition = Composition::with_settings_from_env(MISBEHAVING).await;
    let wasmtime = WasiHttp::start(composition.path(), &[]).await;
    let isolated = ["--isolate-requests", "worker", "--isolate-worker-pool-size", "2"];
    let jco = Jco::start_with(composition.path(), &[], &isolated).await;
    for (address, status) in [(wasmtime.address, 500), (jco.address, 502)] {
        for how in ["trap", "recurse"] {
            assert_eq!(ask(address, &Device::causing(how).request()).await.status, status, "{how}");
            assert_eq!(ask(address, &Device::causing("nothing").request()).await.status, 200, "after {how}");
        }
    }
}

/// What docs/PROXIES.md says of the two brokers that can be run here: they take the host's `500` for a refusal.
#[tokio::test(flavor = "multi_thread")]
async fn brokers_behind_a_composition_let_in_who_is_let_in_and_nobody_on_a_fault() {
    let composition = Composition::of(MISBEHAVING).await;
    let host = WasiHttp::start(composition.path(), &[]).await;
    for broker in [broker::amqtt(host.address, "json").await, broker::rabbitmq(host.address).await] {
        for how in ["trap", "error", "expired", "ignore"] {
            let device = Device { password: "x".into(), ..Device::causing(how) };
            let refused = Client::connect(broker.port, &device).await.err();
            assert!(matches!(refused, Some(NotAuthorized | BadUserNamePassword)), "{how}");
        }
        let device = Device { password: "x".into(), ..Device::causing("nothing") };
        assert!(Client::connect(broker.port, &device).await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_come_from_the_environment_where_they_are_composed_to() {
    let composition = Composition::with_settings_from_env(AUTH_CORE).await;
    let host = WasiHttp::start(composition.path(), &[("signature-keys", KEY), ("groups", "GID_x,GID_test")]).await;
    assert_eq!(ask(host.address, &Device::genuine().request()).await.status, 200);
    let host = WasiHttp::start(composition.path(), &[("signature-keys", KEY), ("groups", "GID_x,GID_y")]).await;
    assert_eq!(ask(host.address, &Device::genuine().request()).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_an_announced_length_is_read_and_bounded() {
    let hosts = Hosts::start(AUTH_CORE, &[("signature-keys", KEY)]).await;
    let body = Device::genuine().body().to_string();
    let head = "POST /mqtt/auth HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    // A byte at a time, and then more than is taken.
    let bytewise: String = body.chars().map(|byte| format!("1\r\n{byte}\r\n")).collect();
    let large = format!("{:x}\r\n{}\r\n", 70_000, " ".repeat(70_000));
    for (host, address) in hosts.addresses() {
        for (chunks, status) in [(&bytewise, 200), (&large, 413)] {
            let mut connection = Connection::open(address).await;
            let answer = connection.ask(format!("{head}{chunks}0\r\n\r\n").as_bytes()).await;
            assert_eq!(answer.status, status, "{host}");
            assert_eq!(connection.ask(&Device::genuine().request()).await.status, 200, "{host}: the next one");
        }
    }
}
