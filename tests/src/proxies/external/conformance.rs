//! One table: every credential and every request of EMQX, through every host of the default policy, with the same verdict
//! everywhere. The table stands in docs/PROXIES.md.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;

use brokers::{Credentials, Method, Question, Request, Route};
use bytesize::ByteSize;
use serde_json::{Value, json};

use crate::policy::credentials::{Case, GROUPS, cases, cases_by_key};
use crate::support::broker::mosquitto;
use crate::support::composition::Composition;
use crate::support::device::{Device, KEY};
use crate::support::envoy::{Bootstrap, Envoy, HTTP};
use crate::support::http::{Connection, post_json};
use crate::support::in_process::{AUTH_CORE, Gate};
use crate::support::jco::Jco;
use crate::support::raw_mqtt::{Raw, V5, connect_as};
use crate::support::request_corpus::{as_each_broker_asks, as_emqx_asked};
use crate::support::wasi_http::WasiHttp;

/// The default policy with the same settings in every host.
struct Hosts {
    native: Gate,
    wasmtime: WasiHttp,
    jco: Jco,
    envoy: Envoy,
    in_front_of_mosquitto: Envoy,
    _alive: (crate::support::broker::Broker, [Composition; 2]),
}

/// In the order of the columns.
const HOSTS: [&str; 5] = ["native", "wasmtime", "jco", "Envoy, HTTP", "Envoy, MQTT"];

impl Hosts {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let native = Gate::start_with(AUTH_CORE, |config| {
            settings.iter().for_each(|(name, value)| config.policy.settings.set(name, (*value).to_owned()));
            config.limits.body = ByteSize::mib(1);
        });
        let compositions = [Composition::of(AUTH_CORE).await, Composition::with_settings_from_env(AUTH_CORE).await];
        let mut bootstrap = Bootstrap::shipped();
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
            in_front_of_mosquitto: Envoy::mqtt(settings, broker.port).await,
            _alive: (broker, compositions),
        }
    }

    /// Those that are asked by HTTP, the native one first.
    fn by_http(&self) -> [SocketAddr; 4] {
        [self.native.logins, self.wasmtime.address, self.jco.address, self.envoy.address()]
    }

    async fn stop(self) {
        self.envoy.assert_unharmed().await;
        self.in_front_of_mosquitto.assert_unharmed().await;
        self.native.stop().await;
    }
}

/// What one host makes of one case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    /// What it has to be.
    Same,
    /// It cannot be asked that, for this reason.
    NotApplicable(&'static str),
}

const MALFORMED: &str = "not a CONNECT: malformed HTTP";
const ACTION: &str = "not a CONNECT: asks about a connected client";
const BROKER: &str = "not a CONNECT: in the words of a broker";
const TEXT: &str = "a CONNECT holds no U+0000 and no text of 65,536 bytes";
const BODY: &str = "the adapter takes 64 KiB";

/// Rows of cells, of which there are as many as hosts.
#[derive(Default)]
struct Matrix(BTreeMap<(usize, String), Vec<[Cell; HOSTS.len()]>>);

impl Matrix {
    fn note(&mut self, place: usize, row: &str, cells: [Cell; HOSTS.len()]) {
        self.0.entry((place, row.to_owned())).or_default().push(cells);
    }

    fn table(&self) -> String {
        let mut reasons = BTreeMap::new();
        let mut table = format!("| cases | {} |\n|{}\n", HOSTS.join(" | "), " --- |".repeat(HOSTS.len() + 1));
        for ((_, row), cells) in &self.0 {
            write!(table, "| {row}: {} |", cells.len()).unwrap();
            for host in 0..HOSTS.len() {
                let same = cells.iter().filter(|cells| cells[host] == Cell::Same).count();
                let mut told = if same > 0 { vec![format!("{same} the same")] } else { Vec::new() };
                let mut not = BTreeMap::<_, usize>::new();
                for cells in cells {
                    if let Cell::NotApplicable(why) = cells[host] {
                        *not.entry(why).or_default() += 1;
                    }
                }
                for (why, count) in not {
                    let next = reasons.len() + 1;
                    told.push(format!("{count} n/a ({})", reasons.entry(why).or_insert(next)));
                }
                write!(table, " {} |", told.join(", ")).unwrap();
            }
            table.push('\n');
        }
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, number)| *number);
        table.push('\n');
        for (why, number) in reasons {
            writeln!(table, "{number}. {why}").unwrap();
        }
        table
    }
}

/// A login by HTTP, on both routes.
async fn by_http(address: SocketAddr, body: &Value) -> &'static str {
    let mut connection = Connection::open(address).await;
    let status = connection.ask(&post_json("/mqtt/auth", body)).await.status;
    let answer = Connection::open(address).await.ask(&post_json("/emqx/auth", body)).await;
    assert_eq!((answer.status, answer.result() == "allow"), (200, status == 200), "the routes disagree");
    match status {
        200 => "allow",
        401 => "deny",
        400 => "malformed-request",
        413 => "too large",
        other => panic!("status {other}"),
    }
}

/// A login by MQTT 5: `allow`, or the reason of the refusal. A broker that is reached lets everybody in.
async fn by_mqtt(port: u16, client_id: &[u8], username: &[u8], password: &[u8]) -> &'static str {
    let mut client = Raw::open(port).await;
    client.send(&connect_as(b"MQTT", V5, 0xc2, &[], &[client_id, username, password])).await;
    match client.receive(4).await[..] {
        [0x20, _, 0, 0] => "allow",
        [0x20, _, 0, 0x85] => "deny client-identifier-not-valid",
        [0x20, _, 0, 0x86] => "deny bad-user-name-or-password",
        ref other => panic!("not an answer to a CONNECT: {other:02x?}"),
    }
}

/// The parts of a CONNECT, if there can be one with them.
fn fits(part: &[u8]) -> bool {
    part.len() < 1 << 16 && !part.contains(&0)
}

async fn credential(hosts: &Hosts, case: &Case, expected: &str) -> [Cell; HOSTS.len()] {
    let mut cells = [Cell::Same; HOSTS.len()];
    let body = case.body();
    let word = expected.split(' ').next().unwrap();
    for (host, address) in hosts.by_http().into_iter().enumerate() {
        match by_http(address, &body).await {
            "too large" if body.to_string().len() > 64 << 10 => cells[host] = Cell::NotApplicable(BODY),
            verdict => assert_eq!(verdict, word, "{} under {}", case.id, HOSTS[host]),
        }
    }
    let texts = ["client_id", "username", "password"].map(|name| body[name].as_str().map(str::as_bytes));
    cells[4] = match texts {
        [Some(client_id), Some(username), Some(password)] if [client_id, username, password].into_iter().all(fits) => {
            let port = hosts.in_front_of_mosquitto.port;
            assert_eq!(by_mqtt(port, client_id, username, password).await, expected, "{} under MQTT", case.id);
            Cell::Same
        }
        [Some(_), Some(_), Some(_)] => Cell::NotApplicable(TEXT),
        _ => Cell::NotApplicable(MALFORMED),
    };
    cells
}

/// A request by HTTP: the status, the content type and the body.
async fn answer(address: SocketAddr, request: &[u8]) -> (u16, String, String) {
    let answer = Connection::open(address).await.ask(request).await;
    (answer.status, answer.header("content-type").unwrap_or_default().to_owned(), answer.text().to_owned())
}

async fn request(hosts: &Hosts, request: &[u8], in_a_connect: Cell) -> [Cell; HOSTS.len()] {
    let [native, others @ ..] = hosts.by_http();
    let expected = answer(native, request).await;
    for (host, address) in others.into_iter().enumerate() {
        let line = String::from_utf8_lossy(request);
        assert_eq!(answer(address, request).await, expected, "{} under {}", line, HOSTS[host + 1]);
    }
    [Cell::Same, Cell::Same, Cell::Same, Cell::Same, in_a_connect]
}

/// What EMQX asked, as a login; `None` if that asks nothing, or about an action.
fn login(request: &[u8]) -> Option<Credentials> {
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
    let asked = Route::EmqxAuth.read(&Request { method, query, header: &header, body: body.as_bytes() });
    match asked.ok()?.question {
        Question::Login(who) => Some(who),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_host_gives_the_same_verdict() {
    let mut matrix = Matrix::default();
    for (place, groups) in GROUPS.into_iter().enumerate() {
        for (key, cases) in &cases_by_key() {
            let settings = [("signature-keys", key.as_str()), ("allow-insecure-key", "true"), ("groups", groups)];
            let hosts = Hosts::start(&settings).await;
            for case in cases {
                let expected = case.expected(groups);
                let cells = credential(&hosts, case, expected).await;
                let groups = if groups == "*" { "any group" } else { "the default groups" };
                matrix.note(place, &format!("credentials, {groups}: {expected}"), cells);
            }
            hosts.stop().await;
        }
    }
    let hosts = Hosts::start(&[("signature-keys", KEY), ("publish-topics", "devices/{mac}/up/#")]).await;
    for asked in as_emqx_asked() {
        let is_action = String::from_utf8_lossy(&asked).contains("/emqx/acl");
        let in_a_connect = match login(&asked) {
            Some(who) => {
                let (username, password) = (who.username.unwrap_or_default(), who.password.unwrap_or_default());
                let port = hosts.in_front_of_mosquitto.port;
                let verdict = by_mqtt(port, who.client_id.as_bytes(), username.as_bytes(), &password).await;
                let (_, _, body) = answer(hosts.native.logins, &asked).await;
                assert_eq!(verdict == "allow", body.contains("allow"), "{body}");
                Cell::Same
            }
            None => Cell::NotApplicable(if is_action { ACTION } else { MALFORMED }),
        };
        let row = if is_action { "EMQX asks about actions" } else { "EMQX asks about logins" };
        matrix.note(2, row, request(&hosts, &asked, in_a_connect).await);
    }
    for device in [Device::genuine(), Device::named("a stranger")] {
        for asked in as_each_broker_asks(&device) {
            matrix.note(
                3,
                "other brokers, and other ways to ask",
                request(&hosts, &asked, Cell::NotApplicable(BROKER)).await,
            );
        }
    }
    hosts.stop().await;
    let table = matrix.table();
    println!("{table}");
    let written = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/PROXIES.md")).unwrap();
    assert!(written.contains(&table), "docs/PROXIES.md has another table than this:\n{table}");
    // Those whose settings do not load cannot be asked at all.
    let at_the_start = cases().len() - cases_by_key().values().map(Vec::len).sum::<usize>();
    assert!(
        written.contains(&format!("The other {at_the_start} cases have settings that do not load")),
        "{at_the_start}"
    );
}
