//! The answer to a request depends on that request alone, whatever stands before it on its connection.

use brokers::BrokerKind;
use mqtt_gate::config::BrokerConfig;

use crate::support::device::{Device, USERNAME};
use crate::support::http::{Connection, Response, get, post, post_json, without_body};
use crate::support::in_process::{AUTH_CORE, Gate};

/// Sequences that are tried for each configuration.
const SEQUENCES: usize = 150;

/// A small generator of numbers, the same each time (Knuth, MMIX).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// Requests that are allowed, denied, malformed, on no route, and unreadable.
fn requests() -> Vec<Vec<u8>> {
    let framing =
        |path: &str, framing: &str| format!("POST {path} HTTP/1.1\r\nhost: gate\r\n{framing}\r\n\r\n").into_bytes();
    let long = "x".repeat(70_000);
    let mut requests = vec![
        get("/mqtt/auth"),
        get("/elsewhere"),
        post_json("/emqx/elsewhere", &Device::valid().body()),
        without_body("OPTIONS", "/mqtt/auth"),
        without_body("DELETE", "/mqtt/auth"),
        get(&format!("/elsewhere?{long}")),
        b"garbage\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"GET /emqx/auth no no\r\n\r\n".to_vec(),
    ];
    for path in ["/mqtt/auth", "/emqx/auth", "/rabbitmq/user", "/mosquitto/user", "/vernemq"] {
        requests.push(Device::valid().request_to(path));
        requests.push(Device::unsigned("x").request_to(path));
        requests.push(post(path, "application/json", b"{"));
        requests.push(post(path, "application/json", &vec![b' '; 70_000]));
        requests.push(get(&format!("{path}?client_id=c&username={USERNAME}&password={long}")));
        requests.push(framing(path, "transfer-encoding: gzip"));
        requests.push(framing(path, "content-length: 1\r\ncontent-length: 2"));
        requests.push(framing(path, "bad header"));
    }
    requests
}

/// What a broker reads of a response; `None` if the connection closes instead.
type Answer = Option<(u16, Option<String>, Vec<u8>)>;

fn answer(response: Option<Response>) -> Answer {
    let response = response?;
    Some((response.status, response.header("content-type").map(str::to_owned), response.body))
}

/// A request, its answer on a connection of its own, and whether the connection ends with it.
struct Alone {
    request: Vec<u8>,
    answer: Answer,
    is_last: bool,
}

async fn alone(gate: &Gate, request: Vec<u8>) -> Alone {
    let mut connection = Connection::open(gate.auth).await;
    // More bytes, so that a head that is too long is answered before it is complete.
    connection.send(&request).await;
    let answer = answer(connection.try_response().await);
    let is_last = connection.try_send(&get("/livez")).await && connection.try_response().await.is_none();
    Alone { request, answer, is_last }
}

async fn assert_independent(kinds: &[BrokerKind], seed: u64) {
    let gate = Gate::start_with(AUTH_CORE, |config| {
        config.broker = kinds.iter().map(|&kind| BrokerConfig::of_kind(kind)).collect();
    })
    .await;
    let mut known = Vec::new();
    for request in requests() {
        known.push(alone(&gate, request).await);
    }
    // The table would be useless if everything ended the connection, or nothing.
    let last = known.iter().filter(|alone| alone.is_last).count();
    assert!((10..known.len() - 10).contains(&last), "{last} of {}", known.len());
    let mut numbers = Numbers(seed);
    for _ in 0..SEQUENCES {
        let sequence: Vec<&Alone> = (0..=numbers.below(6)).map(|_| &known[numbers.below(known.len())]).collect();
        let bytes: Vec<u8> = sequence.iter().flat_map(|alone| alone.request.clone()).collect();
        let mut connection = Connection::open(gate.auth).await;
        let cut = numbers.below(bytes.len());
        connection.send(&bytes[..cut]).await;
        // The gate may have closed the connection already.
        connection.try_send(&bytes[cut..]).await;
        for (position, alone) in sequence.iter().enumerate() {
            let received = answer(connection.try_response().await);
            let names = || {
                sequence
                    .iter()
                    .map(|alone| String::from_utf8_lossy(&alone.request[..40.min(alone.request.len())]).into_owned())
            };
            assert_eq!(received, alone.answer, "answer {position} to {:?}", names().collect::<Vec<_>>());
            if alone.is_last {
                break;
            }
        }
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_independent_for_brokers_of_every_kind() {
    assert_independent(&[], 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_independent_for_one_kind_of_broker() {
    assert_independent(&[BrokerKind::Emqx], 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_independent_for_two_kinds_of_brokers() {
    assert_independent(&[BrokerKind::Emqx, BrokerKind::Nanomq], 3).await;
}

/// An unreadable request is never answered in a way that another broker reads as *allow*.
#[tokio::test(flavor = "multi_thread")]
async fn unreadable_requests_without_a_dialect_get_a_status_4xx() {
    let gate = Gate::start(AUTH_CORE).await;
    for request in [&b"garbage\r\n\r\n"[..], b"POST /emqx/auth HTTP/1.1\r\nhost: gate\r\ncontent-length: x\r\n\r\n"] {
        let mut connection = Connection::open(gate.auth).await;
        assert_eq!(connection.request(&Device::valid().request_to("/emqx/auth")).await.result(), "allow");
        assert_eq!(connection.request(request).await.status, 400);
        assert!(connection.try_response().await.is_none());
    }
    gate.stop().await;
}
