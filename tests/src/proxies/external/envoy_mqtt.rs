//! Envoy in front of a broker: a good device is let through untouched, and the broker never hears of any other.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::bad_clients::{no_connects, refusal, strangers};
use crate::support::broker::{free_ports, mosquitto};
use crate::support::device::{Device, KEY, USERNAME};
use crate::support::envoy::{Bootstrap, Envoy, MQTT};
use crate::support::mqtt::{Client, Sent, v5};
use crate::support::raw_mqtt::{PING, PONG, Raw, V3, V5, connect, connect_as, publish};

const KEYS: &[(&str, &str)] = &[("signature-keys", KEY)];

/// How many clients are connected.
const OPEN: &str = "listener.127.0.0.1_0.downstream_cx_active";

/// An Envoy whose clients have so many seconds for their CONNECT.
async fn hasty(broker: u16, seconds: u64) -> Envoy {
    let mut bootstrap = Bootstrap::shipped();
    bootstrap.change(MQTT, |plugin| plugin["limits"]["connect-seconds"] = seconds.into());
    bootstrap.broker(broker);
    Envoy::start(bootstrap, MQTT).await
}

/// What a connection is answered, until it ends, to which this is sent.
async fn answer(envoy: &Envoy, bytes: &[u8]) -> Vec<u8> {
    let mut client = Raw::open(envoy.port).await;
    client.send(bytes).await;
    client.until_end().await
}

fn accepted(level: u8) -> usize {
    // mosquitto tells clients of MQTT 5 the most topic aliases and messages that it takes.
    if level == V5 { 11 } else { 4 }
}

#[tokio::test(flavor = "multi_thread")]
async fn good_devices_get_through_to_the_broker() {
    let (broker, log) = mosquitto().await;
    let envoy = Envoy::mqtt(KEYS, broker.port).await;
    let device = Device::genuine();
    let mut client = Client::connect(envoy.port, &device).await.expect("the device is let in");
    assert_eq!(client.subscribe("up/5").await, Sent::Taken);
    assert_eq!(client.publish("up/3", "of MQTT 3.1.1").await, Sent::Taken);

    let other = Device::genuine_with_id("GID_test@@@00_00_00_00_00_05@@@1");
    assert_eq!(v5::exchange(envoy.port, &other, "up/5", "of MQTT 5").await, Ok(("up/5".into(), "of MQTT 5".into())));
    assert_eq!(client.receive().await, ("up/5".into(), "of MQTT 5".into()));
    for (device, version) in [(&device, "p2"), (&other, "p5")] {
        let line = format!(" as {} ({version},", device.client_id);
        log.until(&line).await;
        assert_eq!(log.count(&line), 1, "{line}");
    }
    envoy.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_are_told_why_and_the_broker_never_hears_of_them() {
    let (broker, log) = mosquitto().await;
    let envoy = Envoy::mqtt(KEYS, broker.port).await;
    for (device, return_code, reason_code) in strangers() {
        for level in [V3, V5] {
            let told = answer(&envoy, &connect(&device, level)).await;
            assert_eq!(told, refusal(level, (return_code, reason_code)), "{}", device.client_id);
        }
    }
    // What comes behind the CONNECT of a stranger goes nowhere, however much it is.
    let stranger = Device::named("somebody");
    let flood = [connect(&stranger, V3), publish("up", &[b'x'; 60_000]).repeat(50)].concat();
    let mut client = Raw::open(envoy.port).await;
    client.send(&flood).await;
    client.until_end().await;
    assert!(Client::connect(envoy.port, &stranger).await.is_err());
    assert!(v5::exchange(envoy.port, &stranger, "up", "").await.is_err());
    assert_eq!((envoy.broker_connections().await, log.count("New connection")), (0, 0));
    assert!(envoy.log.count("refused: client_id=somebody reason=client-identifier-not-valid peer=127.0.0.1") > 0);
    let passwords = strangers().into_iter().map(|(device, ..)| device.password);
    for password in passwords.filter(|password| !password.is_empty()).chain([Device::genuine().password]) {
        assert!(!envoy.log.text().contains(&password), "a password is in the log");
    }
    envoy.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_speaks_otherwise_is_told_so() {
    let (broker, log) = mosquitto().await;
    let envoy = Envoy::mqtt(KEYS, broker.port).await;
    let device = Device::genuine();
    let payload = [&device.client_id, &device.username, &device.password].map(String::as_bytes);
    for (name, level, told) in [
        (&b"MQIsdp"[..], 3, &[0x20, 2, 0, 1][..]),
        (b"MQTT", 3, &[0x20, 2, 0, 1]),
        (b"MQTT", 6, &[0x20, 3, 0, 0x84, 0]),
        (b"MQTT", 0x84, &[0x20, 2, 0, 1]),
    ] {
        assert_eq!(answer(&envoy, &connect_as(name, level, 0xc2, &[], &payload)).await, told, "{level}");
    }
    let enhanced = connect_as(b"MQTT", V5, 0xc2, b"\x15\0\x05SCRAM", &payload);
    assert_eq!(answer(&envoy, &enhanced).await, [0x20, 3, 0, 0x8c, 0]);
    assert_eq!((envoy.broker_connections().await, log.count("New connection")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_connect_is_closed_and_told_nothing() {
    let (broker, log) = mosquitto().await;
    let envoy = Envoy::mqtt(KEYS, broker.port).await;
    for bytes in no_connects() {
        assert_eq!(answer(&envoy, &bytes).await, b"", "{:x?}", &bytes[..bytes.len().min(16)]);
    }
    assert_eq!((envoy.broker_connections().await, log.count("New connection")), (0, 0));
    assert_eq!(envoy.log.count(" reason=too-long "), 2);
    envoy.assert_unharmed().await;
}

/// What the broker's side of a connection gets, whatever the pieces in which it is sent.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_device_sends_reaches_the_broker_as_it_is() {
    let broker = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let envoy = Envoy::mqtt(KEYS, broker.local_addr().unwrap().port()).await;
    let device = Device::genuine();
    let payload = [&device.client_id, &device.username, &device.password].map(String::as_bytes);
    let [id, name, password] = payload;
    let properties = b"\x11\0\0\0\x3c\x26\0\x01a\0\x01b";
    let largest = vec![b'x'; 65_000];
    let connects = [
        connect(&device, V3),
        connect(&device, V5),
        connect_as(b"MQTT", V5, 0xc0, properties, &payload),
        connect_as(b"MQTT", V3, 0xee, &[], &[id, b"gone", b"\0\xff", name, password]),
        connect_as(b"MQTT", V3, 0xc6, &[], &[id, b"gone", &largest, name, password]),
    ];
    for connect in connects {
        for (behind, piece) in [
            (Vec::new(), 1),
            (publish("up", b"x").repeat(9), 1),
            (PING.into(), 7),
            (publish("up", &vec![b'y'; 1 << 20]), 50_000),
        ] {
            if connect.len() > 60_000 && piece < 10 {
                continue;
            }
            let sent = [&connect[..], &behind].concat();
            let send = async {
                let mut client = Raw::open(envoy.port).await;
                for piece in sent.chunks(piece) {
                    client.send(piece).await;
                }
                let answered = client.receive(5).await;
                client.send(PING).await;
                (answered, client)
            };
            let receive = async {
                let (mut stream, _) = broker.accept().await.unwrap();
                let mut got = vec![0; sent.len()];
                stream.read_exact(&mut got).await.unwrap();
                stream.write_all(b"\x20\x02\0\0!").await.unwrap();
                let mut ping = [0; 2];
                stream.read_exact(&mut ping).await.unwrap();
                assert_eq!(ping, PING);
                got
            };
            let ((answered, client), got) = tokio::join!(send, receive);
            assert!(got == sent, "{} bytes in pieces of {piece}", sent.len());
            assert_eq!(answered, b"\x20\x02\0\0!");
            drop(client);
        }
    }
    envoy.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_slow_or_gone_is_not_waited_for() {
    let (broker, log) = mosquitto().await;
    let envoy = hasty(broker.port, 5).await;
    let connect = connect(&Device::genuine(), V3);
    let began = Instant::now();
    let mut good = Raw::open(envoy.port).await;
    good.send(&connect).await;
    good.receive(accepted(V3)).await;
    let mut silent = Raw::open(envoy.port).await;
    let mut slow = Raw::open(envoy.port).await;
    slow.send(&connect[..connect.len() - 1]).await;
    let mut cut = Raw::open(envoy.port).await;
    cut.send(&connect[..20]).await;
    cut.finish().await;
    assert_eq!(cut.until_end().await, b"");
    let mut nothing = Raw::open(envoy.port).await;
    nothing.finish().await;
    assert_eq!(nothing.until_end().await, b"");
    assert_eq!((silent.until_end().await, slow.until_end().await), (vec![], vec![]));
    assert!(began.elapsed() > Duration::from_millis(4_700), "they had their time");
    assert_eq!(log.count("New connection"), 1);
    // Who is let in is not hurried.
    good.send(PING).await;
    assert_eq!(good.receive(2).await, PONG);
    // A stranger who will say no more may miss the answer, and is refused all the same.
    let mut finished = Raw::open(envoy.port).await;
    finished.send(&connect_as(b"MQTT", V3, 0x02, &[], &[b"somebody"])).await;
    finished.finish().await;
    assert!([&b""[..], &[0x20, 2, 0, 5]].contains(&&finished.until_end().await[..]));
    assert_eq!(log.count("New connection"), 1);
    drop(good);
    envoy.until_stat(OPEN, 0).await;
    envoy.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_its_grant_does() {
    let (broker, _log) = mosquitto().await;
    let envoy = Envoy::mqtt(&[KEYS[0], ("session-seconds", "5")], broker.port).await;
    let session = async |mac: &str, level| {
        let device = Device::genuine_with_id(&format!("GID_test@@@{mac}@@@1"));
        let mut client = Raw::open(envoy.port).await;
        let began = Instant::now();
        client.send(&connect(&device, level)).await;
        client.receive(accepted(level)).await;
        client.send(PING).await;
        assert_eq!(client.receive(2).await, PONG);
        assert_eq!(client.until_end().await, b"");
        assert!(began.elapsed() > Duration::from_millis(3_900), "it had its time");
    };
    tokio::join!(session("00_00_00_00_00_03", V3), session("00_00_00_00_00_05", V5));
    envoy.until_stat("cluster.broker.upstream_cx_active", 0).await;
    envoy.assert_unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_nobody_is_let_in_and_strangers_are_told_why() {
    let [nobody] = free_ports();
    let envoy = Envoy::mqtt(KEYS, nobody).await;
    assert_eq!(answer(&envoy, &connect(&Device::genuine(), V3)).await, b"");
    assert_eq!(answer(&envoy, &connect(&Device::named("somebody"), V3)).await, [0x20, 2, 0, 5]);
    let mut bootstrap = Bootstrap::shipped();
    bootstrap.change(MQTT, |plugin| plugin["cluster"] = "no-such-cluster".into());
    let envoy = Envoy::start(bootstrap, MQTT).await;
    assert_eq!(answer(&envoy, &connect(&Device::genuine(), V3)).await, b"");
}

/// A thousand at once, half of them bad in every way that there is.
#[tokio::test(flavor = "multi_thread")]
async fn a_storm_half_of_strangers_costs_no_device_its_connection() {
    const PAIRS: usize = 500;
    let (broker, log) = mosquitto().await;
    let envoy = hasty(broker.port, 12).await;
    let mut bad = no_connects();
    bad.extend(strangers().into_iter().map(|(device, ..)| connect(&device, V3)));
    bad.push(Vec::new());
    let (mut good, mut strangers) = (JoinSet::new(), JoinSet::new());
    let port = envoy.port;
    for n in 0..PAIRS {
        let bytes = bad[n % bad.len()].clone();
        strangers.spawn(async move {
            let mut client = Raw::open(port).await;
            client.send(&bytes).await;
            client.until_end().await
        });
        good.spawn(async move {
            let device = Device::genuine_with_id(&format!("GID_test@@@AA_BB_CC_DD_EE_FF@@@{n}"));
            let mut client = Raw::open(port).await;
            client.send(&connect(&device, V3)).await;
            assert_eq!(client.receive(4).await, [0x20, 2, 0, 0], "{n}");
            client
        });
    }
    let mut connected = good.join_all().await;
    for told in strangers.join_all().await {
        assert!(told.is_empty() || [4, 5].contains(&told[3]), "{told:?}");
    }
    for client in &mut connected {
        client.send(PING).await;
        assert_eq!(client.receive(2).await, PONG);
    }
    assert_eq!(envoy.broker_connections().await, 500);
    assert_eq!((log.count("New connection"), log.count(" as GID_test@@@")), (PAIRS, PAIRS));
    assert_eq!(log.count(USERNAME), PAIRS, "each as who it is");
    drop(connected);
    for open in [OPEN, "cluster.broker.upstream_cx_active", "cluster.refusals.upstream_cx_active"] {
        envoy.until_stat(open, 0).await;
    }
    envoy.assert_unharmed().await;
}
