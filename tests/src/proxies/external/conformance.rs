//! Conformance: every recorded credential and request, in every host of the default policy, with the same verdict
//! everywhere. The resulting table is part of docs/PROXIES.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;

use brokers::{AuthRequest, Credentials, Method, Request, Route};
use bytesize::ByteSize;
use serde_json::{Value, json};

use crate::support::broker::{Broker, mosquitto};
use crate::support::composition::Composition;
use crate::support::credential_cases::{self, Case, GROUPS, cases, cases_by_key};
use crate::support::device::{Device, KEY};
use crate::support::envoy::{Bootstrap, Envoy, HTTP};
use crate::support::http::{Connection, post_json};
use crate::support::in_process::{AUTH_CORE, Gate};
use crate::support::jco::Jco;
use crate::support::raw_mqtt::{RawClient, V5, connect_with};
use crate::support::request_corpus::{broker_requests, recorded_emqx_requests};
use crate::support::wasi_http::WasiHttp;

/// The default policy with the same settings in every host.
struct Hosts {
    native: Gate,
    wasmtime: WasiHttp,
    jco: Jco,
    envoy: Envoy,
    envoy_mqtt: Envoy,
    /// Kept for as long as the hosts run.
    _dependencies: (Broker, [Composition; 2]),
}

/// Names of the hosts, in the order of the columns.
const HOSTS: [&str; 5] = ["native", "wasmtime", "jco", "Envoy, HTTP", "Envoy, MQTT"];

impl Hosts {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let native = Gate::start_with(AUTH_CORE, |config| {
            settings.iter().for_each(|(name, value)| config.policy.first.settings.set(name, (*value).to_owned()));
            config.limits.max_body = ByteSize::mib(1);
        });
        let compositions =
            [Composition::with_config_store(AUTH_CORE).await, Composition::with_settings_from_env(AUTH_CORE).await];
        let mut bootstrap = Bootstrap::for_tests();
        bootstrap.change(HTTP, |plugin| {
            plugin["settings"] = settings.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            plugin["limits"]["body"] = json!(1 << 20);
        });
        let (broker, _log) = mosquitto().await;
        Self {
            native: native.await,
            wasmtime: WasiHttp::start(compositions[0].path(), settings).await,
            jco: Jco::start(compositions[1].path(), settings).await,
            envoy: Envoy::start(bootstrap, HTTP).await,
            envoy_mqtt: Envoy::mqtt(settings, broker.port).await,
            _dependencies: (broker, compositions),
        }
    }

    /// Addresses of the hosts that serve HTTP, the native one first.
    fn http_addresses(&self) -> [SocketAddr; 4] {
        [self.native.auth, self.wasmtime.address, self.jco.address, self.envoy.address()]
    }

    async fn stop(self) {
        self.envoy.assert_no_filter_crash().await;
        self.envoy_mqtt.assert_no_filter_crash().await;
        self.native.stop().await;
    }
}

/// Result of one case in one host.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    /// The verdict is the expected one.
    Same,
    /// The case cannot be expressed for this host, for this reason.
    NotApplicable(&'static str),
}

const MALFORMED: &str = "not a CONNECT: malformed HTTP";
const ACTION: &str = "not a CONNECT: an authorization request";
const BROKER: &str = "not a CONNECT: the request format of a broker";
const TEXT: &str = "a CONNECT cannot contain U+0000 or a text of 65,536 bytes";
const BODY: &str = "the adapter has a body limit of 64 KiB";

/// Results by row. A row has one cell per host for each of its cases. The number orders the rows.
#[derive(Default)]
struct Matrix(BTreeMap<(usize, String), Vec<[Cell; HOSTS.len()]>>);

impl Matrix {
    fn record(&mut self, order: usize, row: &str, cells: [Cell; HOSTS.len()]) {
        self.0.entry((order, row.to_owned())).or_default().push(cells);
    }

    fn table(&self) -> String {
        let mut reasons = BTreeMap::new();
        let mut table = format!("| cases | {} |\n|{}\n", HOSTS.join(" | "), " --- |".repeat(HOSTS.len() + 1));
        for ((_, row), cells) in &self.0 {
            write!(table, "| {row}: {} |", cells.len()).unwrap();
            for host in 0..HOSTS.len() {
                let same = cells.iter().filter(|cells| cells[host] == Cell::Same).count();
                let mut parts = if same > 0 { vec![format!("{same} the same")] } else { Vec::new() };
                let mut not_applicable = BTreeMap::<_, usize>::new();
                for cells in cells {
                    if let Cell::NotApplicable(reason) = cells[host] {
                        *not_applicable.entry(reason).or_default() += 1;
                    }
                }
                for (reason, count) in not_applicable {
                    let next = reasons.len() + 1;
                    parts.push(format!("{count} n/a ({})", reasons.entry(reason).or_insert(next)));
                }
                write!(table, " {} |", parts.join(", ")).unwrap();
            }
            table.push('\n');
        }
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, number)| *number);
        table.push('\n');
        for (reason, number) in reasons {
            writeln!(table, "{number}. {reason}").unwrap();
        }
        table
    }
}

/// The verdict of a login by HTTP. Asserts that `/mqtt/auth` and `/emqx/auth` agree.
async fn authenticate_by_http(address: SocketAddr, body: &Value) -> &'static str {
    let mut connection = Connection::open(address).await;
    let status = connection.request(&post_json("/mqtt/auth", body)).await.status;
    let emqx = Connection::open(address).await.request(&post_json("/emqx/auth", body)).await;
    assert_eq!((emqx.status, emqx.result() == "allow"), (200, status == 200), "the routes disagree");
    match status {
        200 => "allow",
        401 => "deny",
        400 => "malformed-request",
        413 => "too large",
        other => panic!("status {other}"),
    }
}

/// The verdict of a login by MQTT 5, with the reason of a denial. The broker behind the filter accepts every client.
async fn authenticate_by_mqtt(port: u16, client_id: &[u8], username: &[u8], password: &[u8]) -> &'static str {
    let mut client = RawClient::open(port).await;
    client.send(&connect_with(b"MQTT", V5, 0xc2, &[], &[client_id, username, password])).await;
    match client.receive(4).await[..] {
        [0x20, _, 0, 0] => "allow",
        [0x20, _, 0, 0x85] => "deny client-identifier-not-valid",
        [0x20, _, 0, 0x86] => "deny bad-user-name-or-password",
        ref other => panic!("not a CONNACK: {other:02x?}"),
    }
}

/// Whether a CONNECT can contain this text.
fn fits_connect(part: &[u8]) -> bool {
    part.len() < 1 << 16 && !part.contains(&0)
}

async fn compare_case(hosts: &Hosts, case: &Case, expected: &str) -> [Cell; HOSTS.len()] {
    let mut cells = [Cell::Same; HOSTS.len()];
    let body = case.body();
    let verdict = expected.split(' ').next().unwrap();
    for (host, address) in hosts.http_addresses().into_iter().enumerate() {
        match authenticate_by_http(address, &body).await {
            "too large" if body.to_string().len() > 64 << 10 => cells[host] = Cell::NotApplicable(BODY),
            received => assert_eq!(received, verdict, "{} under {}", case.id, HOSTS[host]),
        }
    }
    let texts = ["client_id", "username", "password"].map(|name| body[name].as_str().map(str::as_bytes));
    cells[4] = match texts {
        [Some(client_id), Some(username), Some(password)]
            if [client_id, username, password].into_iter().all(fits_connect) =>
        {
            let port = hosts.envoy_mqtt.port;
            assert_eq!(
                authenticate_by_mqtt(port, client_id, username, password).await,
                expected,
                "{} under MQTT",
                case.id
            );
            Cell::Same
        }
        [Some(_), Some(_), Some(_)] => Cell::NotApplicable(TEXT),
        _ => Cell::NotApplicable(MALFORMED),
    };
    cells
}

/// Status, content type and body of a response.
async fn response(address: SocketAddr, request: &[u8]) -> (u16, String, String) {
    let response = Connection::open(address).await.request(request).await;
    (response.status, response.header("content-type").unwrap_or_default().to_owned(), response.text().to_owned())
}

async fn compare_request(hosts: &Hosts, request: &[u8], by_mqtt: Cell) -> [Cell; HOSTS.len()] {
    let [native, others @ ..] = hosts.http_addresses();
    let expected = response(native, request).await;
    for (host, address) in others.into_iter().enumerate() {
        let line = String::from_utf8_lossy(request);
        assert_eq!(response(address, request).await, expected, "{} under {}", line, HOSTS[host + 1]);
    }
    [Cell::Same, Cell::Same, Cell::Same, Cell::Same, by_mqtt]
}

/// The credentials in a recorded request; `None` if it is malformed or an authorization request.
fn credentials_in(request: &[u8]) -> Option<Credentials> {
    let text = String::from_utf8(request.to_vec()).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let (first, headers) = head.split_once("\r\n").unwrap();
    let mut words = first.split(' ');
    let method = if words.next() == Some("POST") { Method::Post } else { Method::Get };
    let (path, query) =
        words.next().unwrap().split_once('?').map_or((first, None), |(path, query)| (path, Some(query)));
    if path.contains("/emqx/acl") {
        return None;
    }
    let header = |name: &str| headers.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    let parsed = Route::EmqxAuth.parse(&Request { method, query, header: &header, body: body.as_bytes() });
    match parsed.ok()?.request {
        AuthRequest::Authenticate(credentials) => Some(credentials),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_host_gives_the_same_verdicts() {
    let mut matrix = Matrix::default();
    for (order, groups) in GROUPS.into_iter().enumerate() {
        for (key, cases) in &cases_by_key() {
            let hosts = Hosts::start(&credential_cases::settings(key, groups)).await;
            for case in cases {
                let expected = case.expected(groups);
                let cells = compare_case(&hosts, case, expected).await;
                let groups = if groups == "*" { "any group" } else { "the default groups" };
                matrix.record(order, &format!("credentials, {groups}: {expected}"), cells);
            }
            hosts.stop().await;
        }
    }
    let hosts = Hosts::start(&[("signature-keys", KEY), ("publish-topics", "devices/{mac}/up/#")]).await;
    for request in recorded_emqx_requests() {
        let is_action = String::from_utf8_lossy(&request).contains("/emqx/acl");
        let by_mqtt = match credentials_in(&request) {
            Some(credentials) => {
                let (username, password) =
                    (credentials.username.unwrap_or_default(), credentials.password.unwrap_or_default());
                let port = hosts.envoy_mqtt.port;
                let client_id = credentials.client_id.as_bytes();
                let verdict = authenticate_by_mqtt(port, client_id, username.as_bytes(), &password).await;
                let (_, _, body) = response(hosts.native.auth, &request).await;
                assert_eq!(verdict == "allow", body.contains("allow"), "{body}");
                Cell::Same
            }
            None => Cell::NotApplicable(if is_action { ACTION } else { MALFORMED }),
        };
        let row = if is_action { "EMQX ACL requests" } else { "EMQX login requests" };
        matrix.record(2, row, compare_request(&hosts, &request, by_mqtt).await);
    }
    for device in [Device::valid(), Device::unsigned("a stranger")] {
        for request in broker_requests(&device) {
            matrix.record(
                3,
                "requests of other brokers and formats",
                compare_request(&hosts, &request, Cell::NotApplicable(BROKER)).await,
            );
        }
    }
    hosts.stop().await;
    let table = matrix.table();
    println!("{table}");
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/PROXIES.md")).unwrap();
    assert!(page.contains(&table), "docs/PROXIES.md must contain this table:\n{table}");
    // No host loads the settings of the other cases.
    let without_key = cases().len() - cases_by_key().values().map(Vec::len).sum::<usize>();
    assert!(page.contains(&format!("The other {without_key} cases have settings that do not load")), "{without_key}");
}
