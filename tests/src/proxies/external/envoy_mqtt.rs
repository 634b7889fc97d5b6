//! The MQTT filter in Envoy in front of a broker: valid devices get through unchanged, and no other client reaches the
//! broker.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::bad_clients::{invalid_connects, rejected_clients, rejecting_connack};
use crate::support::broker::{Broker, mosquitto};
use crate::support::device::{Device, KEY, USERNAME};
use crate::support::envoy::{Bootstrap, Envoy, MQTT};
use crate::support::mqtt::{Ack, Client, v5};
use crate::support::output::Output;
use crate::support::raw_mqtt::{PING, PONG, RawClient, V3, V5, connect, connect_with, publish};
use crate::support::{free_ports, within_timeout};

const SETTINGS: &[(&str, &str)] = &[("signature-keys", KEY)];

/// Envoy's statistic of connected clients.
const ACTIVE_CLIENTS: &str = "listener.127.0.0.1_0.downstream_cx_active";

/// mosquitto behind an Envoy with the filter.
struct Site {
    envoy: Envoy,
    broker_log: Output,
    _broker: Broker,
}

impl Site {
    async fn start() -> Self {
        let (broker, broker_log) = mosquitto().await;
        Self { envoy: Envoy::mqtt(SETTINGS, broker.port).await, broker_log, _broker: broker }
    }

    /// A site whose clients have this time to send their CONNECT.
    async fn with_connect_timeout(seconds: u64) -> Self {
        let (broker, broker_log) = mosquitto().await;
        let mut bootstrap = Bootstrap::for_tests();
        bootstrap.change(MQTT, |plugin| plugin["limits"]["connect-seconds"] = seconds.into());
        bootstrap.broker(broker.port);
        Self { envoy: Envoy::start(bootstrap, MQTT).await, broker_log, _broker: broker }
    }

    /// Connects a valid device, and receives the CONNACK of the broker.
    async fn connect_device(&self, device: &Device, level: u8) -> RawClient {
        let mut client = RawClient::open(self.envoy.port).await;
        client.send(&connect(device, level)).await;
        client.receive(connack_length(level)).await;
        client
    }

    /// Asserts that no client has reached the broker, and that the filter has not crashed.
    async fn assert_broker_unreached(&self) {
        assert_eq!((self.envoy.broker_connections().await, self.broker_log.count("New connection")), (0, 0));
        self.envoy.assert_no_filter_crash().await;
    }
}

/// Everything that a client receives which sends these bytes.
async fn response(envoy: &Envoy, bytes: &[u8]) -> Vec<u8> {
    let mut client = RawClient::open(envoy.port).await;
    client.send(bytes).await;
    client.read_to_close().await
}

/// Length of the CONNACK of mosquitto, which sends its limits to clients of MQTT 5.
fn connack_length(level: u8) -> usize {
    if level == V5 { 11 } else { 4 }
}

async fn assert_alive(client: &mut RawClient) {
    client.send(PING).await;
    assert_eq!(client.receive(2).await, PONG);
}

#[tokio::test(flavor = "multi_thread")]
async fn valid_devices_exchange_messages_through_the_broker() {
    let site = Site::start().await;
    let device = Device::valid();
    let mut client = Client::connect(site.envoy.port, &device).await.expect("the device is allowed");
    assert_eq!(client.subscribe("up/5").await, Ack::Accepted);
    assert_eq!(client.publish("up/3", "of MQTT 3.1.1").await, Ack::Accepted);

    let other = Device::valid_with_id("GID_test@@@00_00_00_00_00_05@@@1");
    let message = ("up/5".to_owned(), "of MQTT 5".to_owned());
    assert_eq!(v5::exchange(site.envoy.port, &other, &message.0, &message.1).await, Ok(message.clone()));
    assert_eq!(client.receive().await, message);
    for (device, version) in [(&device, "p2"), (&other, "p5")] {
        let line = format!(" as {} ({version},", device.client_id);
        site.broker_log.wait_for(&line).await;
        assert_eq!(site.broker_log.count(&line), 1, "{line}");
    }
    site.envoy.assert_no_filter_crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_clients_get_a_reason_code_and_never_reach_the_broker() {
    let site = Site::start().await;
    for (device, return_code, reason_code) in rejected_clients() {
        for level in [V3, V5] {
            let received = response(&site.envoy, &connect(&device, level)).await;
            assert_eq!(received, rejecting_connack(level, (return_code, reason_code)), "{}", device.client_id);
        }
    }
    let denial = "client_id=intruder reason=client-identifier-not-valid peer=127.0.0.1";
    assert!(site.envoy.log.count(denial) > 0, "{}", site.envoy.log.text());
    let passwords = rejected_clients().into_iter().map(|(device, ..)| device.password);
    for password in passwords.filter(|password| !password.is_empty()).chain([Device::valid().password]) {
        assert!(!site.envoy.log.text().contains(&password), "a password is in the log");
    }
    site.assert_broker_unreached().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_after_a_rejected_connect_is_discarded() {
    let site = Site::start().await;
    let intruder = Device::unsigned("intruder");
    let flood = [connect(&intruder, V3), publish("up", &[b'x'; 60_000]).repeat(50)].concat();
    response(&site.envoy, &flood).await;
    site.assert_broker_unreached().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn client_libraries_understand_the_rejection() {
    let site = Site::start().await;
    let intruder = Device::unsigned("intruder");
    assert!(Client::connect(site.envoy.port, &intruder).await.is_err());
    assert!(v5::exchange(site.envoy.port, &intruder, "up", "").await.is_err());
    site.assert_broker_unreached().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unsupported_protocol_versions_are_rejected() {
    let site = Site::start().await;
    let device = Device::valid();
    let payload = [&device.client_id, &device.username, &device.password].map(String::as_bytes);
    for (name, level, connack) in [
        (&b"MQIsdp"[..], 3, &[0x20, 2, 0, 1][..]),
        (b"MQTT", 3, &[0x20, 2, 0, 1]),
        (b"MQTT", 6, &[0x20, 3, 0, 0x84, 0]),
        (b"MQTT", 0x84, &[0x20, 2, 0, 1]),
    ] {
        let received = response(&site.envoy, &connect_with(name, level, 0xc2, &[], &payload)).await;
        assert_eq!(received, connack, "{level}");
    }
    site.assert_broker_unreached().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn enhanced_authentication_is_rejected() {
    let site = Site::start().await;
    let device = Device::valid();
    let payload = [&device.client_id, &device.username, &device.password].map(String::as_bytes);
    let enhanced = connect_with(b"MQTT", V5, 0xc2, b"\x15\0\x05SCRAM", &payload);
    assert_eq!(response(&site.envoy, &enhanced).await, [0x20, 3, 0, 0x8c, 0]);
    site.assert_broker_unreached().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_connects_are_closed_without_a_response() {
    let site = Site::start().await;
    for bytes in invalid_connects() {
        assert_eq!(response(&site.envoy, &bytes).await, b"", "{:x?}", &bytes[..bytes.len().min(16)]);
    }
    assert_eq!(site.envoy.log.count(" reason=too-long "), 2);
    site.assert_broker_unreached().await;
}

/// Sends a CONNECT and what follows it in pieces of these sizes, and asserts what the broker's side of the connection
/// gets.
async fn assert_forwards_unchanged(connect: &[u8], pieces: &[(Vec<u8>, usize)]) {
    let broker = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let envoy = Envoy::mqtt(SETTINGS, broker.local_addr().unwrap().port()).await;
    const RESPONSE: &[u8] = b"\x20\x02\0\0!";
    for (behind, piece) in pieces {
        let sent = [connect, behind].concat();
        let client = async {
            let mut client = RawClient::open(envoy.port).await;
            for piece in sent.chunks(*piece) {
                client.send(piece).await;
            }
            let received = client.receive(RESPONSE.len()).await;
            client.send(PING).await;
            (received, client)
        };
        let broker = async {
            let (mut stream, _) = broker.accept().await.unwrap();
            let mut received = vec![0; sent.len()];
            stream.read_exact(&mut received).await.unwrap();
            stream.write_all(RESPONSE).await.unwrap();
            let mut ping = [0; 2];
            stream.read_exact(&mut ping).await.unwrap();
            assert_eq!(ping, PING);
            received
        };
        let both = async { tokio::join!(client, broker) };
        let ((response, _client), received) = within_timeout("the exchange", both).await;
        assert!(received == sent, "{} bytes in pieces of {piece}", sent.len());
        assert_eq!(response, RESPONSE);
    }
    envoy.assert_no_filter_crash().await;
}

/// What follows the CONNECT, with the size of the pieces: nothing, small packets, and a large one.
fn pieces() -> Vec<(Vec<u8>, usize)> {
    vec![(Vec::new(), 1), (publish("up", b"x").repeat(9), 1), (PING.into(), 7), large_piece()]
}

fn large_piece() -> (Vec<u8>, usize) {
    (publish("up", &vec![b'y'; 1 << 20]), 50_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_3_1_1_packets_are_forwarded_unchanged() {
    assert_forwards_unchanged(&connect(&Device::valid(), V3), &pieces()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_5_packets_are_forwarded_unchanged() {
    assert_forwards_unchanged(&connect(&Device::valid(), V5), &pieces()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_5_properties_are_forwarded_unchanged() {
    let device = Device::valid();
    let payload = [&device.client_id, &device.username, &device.password].map(String::as_bytes);
    let properties = b"\x11\0\0\0\x3c\x26\0\x01a\0\x01b";
    assert_forwards_unchanged(&connect_with(b"MQTT", V5, 0xc0, properties, &payload), &pieces()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wills_are_forwarded_unchanged() {
    let device = Device::valid();
    let [id, name, password] = [&device.client_id, &device.username, &device.password].map(String::as_bytes);
    let payload = [id, b"gone", b"\0\xff", name, password];
    assert_forwards_unchanged(&connect_with(b"MQTT", V3, 0xee, &[], &payload), &pieces()).await;
    let large = vec![b'x'; 65_000];
    let payload = [id, b"gone", &large, name, password];
    assert_forwards_unchanged(&connect_with(b"MQTT", V3, 0xc6, &[], &payload), &[large_piece()]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn times_out_incomplete_connects() {
    let site = Site::with_connect_timeout(2).await;
    let connect = connect(&Device::valid(), V3);
    let began = Instant::now();
    let mut silent = RawClient::open(site.envoy.port).await;
    let mut incomplete = RawClient::open(site.envoy.port).await;
    incomplete.send(&connect[..connect.len() - 1]).await;
    assert_eq!((silent.read_to_close().await, incomplete.read_to_close().await), (vec![], vec![]));
    assert!(began.elapsed() > Duration::from_millis(1_700), "closed before the timeout");
    site.assert_broker_unreached().await;
    site.envoy.wait_for_stat(ACTIVE_CLIENTS, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connect_timeout_does_not_apply_to_connected_clients() {
    let site = Site::with_connect_timeout(6).await;
    let mut connected = site.connect_device(&Device::valid(), V3).await;
    // Opened later, so the timeout has passed for both when this connection closes.
    let mut silent = RawClient::open(site.envoy.port).await;
    assert_eq!(silent.read_to_close().await, b"");
    assert_alive(&mut connected).await;
    site.envoy.assert_no_filter_crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_closed_clients_without_a_connect_are_disconnected() {
    let site = Site::start().await;
    let connect = connect(&Device::valid(), V3);
    for begin in [&connect[..20], &[]] {
        let mut client = RawClient::open(site.envoy.port).await;
        client.send(begin).await;
        client.shutdown_write().await;
        assert_eq!(client.read_to_close().await, b"");
    }
    site.assert_broker_unreached().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_closed_clients_with_a_rejected_connect_never_reach_the_broker() {
    let site = Site::start().await;
    let mut client = RawClient::open(site.envoy.port).await;
    client.send(&connect_with(b"MQTT", V3, 0x02, &[], &[b"intruder"])).await;
    client.shutdown_write().await;
    // Envoy may close the connection before the CONNACK is sent.
    assert!([&b""[..], &[0x20, 2, 0, 5]].contains(&&client.read_to_close().await[..]));
    site.assert_broker_unreached().await;
}

/// Asserts that a session of this protocol level ends when its grant expires, and not before.
async fn assert_session_expires(level: u8) {
    const SESSION: Duration = Duration::from_secs(6);
    let (broker, broker_log) = mosquitto().await;
    let session = SESSION.as_secs().to_string();
    let envoy = Envoy::mqtt(&[SETTINGS[0], ("session-seconds", &session)], broker.port).await;
    let site = Site { envoy, broker_log, _broker: broker };
    let began = Instant::now();
    let mut client = site.connect_device(&Device::valid(), level).await;
    assert_alive(&mut client).await;
    assert_eq!(client.read_to_close().await, b"");
    // Expiry is in whole seconds.
    assert!(began.elapsed() > SESSION - Duration::from_millis(1_100), "closed before the expiry");
    site.envoy.wait_for_stat("cluster.broker.upstream_cx_active", 0).await;
    site.envoy.assert_no_filter_crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_3_1_1_sessions_end_when_the_grant_expires() {
    assert_session_expires(V3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mqtt_5_sessions_end_when_the_grant_expires() {
    assert_session_expires(V5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_broker_disconnects_valid_and_rejects_invalid_clients() {
    let [unused] = free_ports();
    let envoy = Envoy::mqtt(SETTINGS, unused).await;
    assert_eq!(response(&envoy, &connect(&Device::valid(), V3)).await, b"");
    assert_eq!(response(&envoy, &connect(&Device::unsigned("intruder"), V3)).await, [0x20, 2, 0, 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_cluster_disconnects_valid_clients() {
    let mut bootstrap = Bootstrap::for_tests();
    bootstrap.change(MQTT, |plugin| plugin["cluster"] = "no-such-cluster".into());
    let envoy = Envoy::start(bootstrap, MQTT).await;
    assert_eq!(response(&envoy, &connect(&Device::valid(), V3)).await, b"");
}

/// A thousand clients at once, half of them invalid in every known way.
#[tokio::test(flavor = "multi_thread")]
async fn connect_storm_with_invalid_clients_costs_no_device_its_connection() {
    const PAIRS: usize = 500;
    let site = Site::with_connect_timeout(20).await;
    let mut invalid = invalid_connects();
    invalid.extend(rejected_clients().into_iter().map(|(device, ..)| connect(&device, V3)));
    // A client that sends nothing.
    invalid.push(Vec::new());
    let (mut devices, mut intruders) = (JoinSet::new(), JoinSet::new());
    let port = site.envoy.port;
    for n in 0..PAIRS {
        let bytes = invalid[n % invalid.len()].clone();
        intruders.spawn(async move {
            let mut client = RawClient::open(port).await;
            client.send(&bytes).await;
            client.read_to_close().await
        });
        devices.spawn(async move {
            let device = Device::valid_with_id(&format!("GID_test@@@AA_BB_CC_DD_EE_FF@@@{n}"));
            let mut client = RawClient::open(port).await;
            client.send(&connect(&device, V3)).await;
            assert_eq!(client.receive(4).await, [0x20, 2, 0, 0], "{n}");
            client
        });
    }
    let mut connected = devices.join_all().await;
    for received in intruders.join_all().await {
        assert!(received.is_empty() || [4, 5].contains(&received[3]), "{received:?}");
    }
    for client in &mut connected {
        assert_alive(client).await;
    }
    assert_eq!(site.envoy.broker_connections().await, PAIRS as u64);
    let log = &site.broker_log;
    assert_eq!((log.count("New connection"), log.count(" as GID_test@@@")), (PAIRS, PAIRS));
    assert_eq!(log.count(USERNAME), PAIRS, "the broker logs each user name");
    drop(connected);
    for stat in [ACTIVE_CLIENTS, "cluster.broker.upstream_cx_active", "cluster.refusals.upstream_cx_active"] {
        site.envoy.wait_for_stat(stat, 0).await;
    }
    site.envoy.assert_no_filter_crash().await;
}
