//! No client keeps others out: by being slow, by being many, by not listening.

use std::num::NonZero;
use std::time::Duration;

use serde_json::json;

use crate::support::child::{Running, mqtt_gate};
use crate::support::device::Device;
use crate::support::http::{Connection, get};
use crate::support::in_process::{AUTH_CORE, Gate};

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_does_not_come_to_its_end_is_not_waited_for() {
    let gate = Gate::start_with(AUTH_CORE, |config| config.limits.request = Duration::from_millis(100)).await;
    let request = Device::genuine().request();
    let mut at_once = Connection::open(gate.logins).await;
    at_once.send(&request[..20]).await;
    let mut after_another = Connection::open(gate.logins).await;
    assert_eq!(after_another.ask(&request).await.status, 200);
    after_another.send(&request[..20]).await;
    let mut silent = Connection::open(gate.logins).await;
    for slow in [&mut at_once, &mut after_another] {
        assert!(slow.try_answer().await.is_none());
    }
    // Who has not begun may take its time.
    assert_eq!(silent.ask(&request).await.status, 200);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_and_does_not_listen_is_let_go() {
    let gate = Gate::start_with(AUTH_CORE, |config| config.limits.request = Duration::from_millis(200)).await;
    let mut deaf = Connection::open(gate.logins).await;
    // More answers than fit between the two: the gate stops reading at some point, and then it ends the connection.
    let burst = get("/mqtt/auth").repeat(1_000);
    while deaf.try_send(&burst).await {}
    gate.until("it is let go", |status| status["connections"]["open"] == 0).await;
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_more_connections_than_allowed_and_the_next_one_waits() {
    let (running, _directory) = running_with(2).await;
    let request = Device::genuine().request();
    let mut first = Connection::open(running.logins).await;
    let mut second = Connection::open(running.logins).await;
    assert_eq!(first.ask(&request).await.status, 200);
    assert_eq!(second.ask(&request).await.status, 200);
    let status = async || Connection::open(running.admin).await.ask(&get("/status")).await.json();
    assert_eq!(status().await["connections"], json!({ "open": 2, "most": 2, "waits": 0 }));
    let mut third = Connection::open(running.logins).await;
    third.send(&request).await;
    while status().await["connections"]["waits"] == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(status().await["connections"], json!({ "open": 2, "most": 2, "waits": 1 }));
    drop(first);
    assert_eq!(third.answer().await.status, 200);
    running.terminate();
    let (_, _, log) = running.end().await;
    let told = log.lines().filter(|line| line.contains("no place for another connection")).count();
    assert_eq!(told, 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_loses_no_connection_that_waits_for_a_place() {
    let gate = Gate::start_with(AUTH_CORE, |config| config.limits.connections = NonZero::<usize>::MIN).await;
    let request = Device::genuine().request();
    let mut first = Connection::open(gate.logins).await;
    assert_eq!(first.ask(&request).await.status, 200);
    let mut waiting = Connection::open(gate.logins).await;
    waiting.send(&request).await;
    gate.until("it waits", |status| status["connections"]["waits"] == 1).await;
    // It is read only once the gate stops, and so is this one.
    let mut unreadable = Connection::open(gate.logins).await;
    unreadable.send(b"GET /emqx/auth no no\r\n\r\n").await;
    let (answer, refusal, ()) = tokio::join!(waiting.answer(), unreadable.answer(), gate.stop());
    assert_eq!((answer.status, refusal.status, refusal.result().as_str()), (200, 200, "deny"));
    assert!(unreadable.try_answer().await.is_none(), "it ends as it should, and not by a reset");
}

/// A program whose configuration allows so many connections.
async fn running_with(connections: usize) -> (Running, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("gate.toml");
    std::fs::write(&config, format!("limits.connections = {connections}\n")).unwrap();
    let mut command = mqtt_gate(["serve", "--config", config.to_str().unwrap()]);
    (Running::start(command.env("MQTT_SIGNATURE_KEY", crate::support::device::KEY)).await, directory)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_at_the_stop_is_refused_without_a_fault() {
    let (running, _directory) = running_with(1).await;
    let mut first = Connection::open(running.logins).await;
    assert_eq!(first.ask(&Device::genuine().request()).await.status, 200);
    let mut waiting = Vec::new();
    for _ in 0..5 {
        let mut connection = Connection::open(running.logins).await;
        connection.send(b"GET /emqx/auth no no\r\n\r\n").await;
        waiting.push(connection);
    }
    running.terminate();
    for connection in &mut waiting {
        let answer = connection.answer().await;
        assert_eq!((answer.status, answer.result().as_str()), (200, "deny"));
        assert!(connection.try_answer().await.is_none());
    }
    let (code, _, log) = running.end().await;
    assert_eq!(code, Some(0));
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_nobody_who_asks_nothing() {
    let long = Duration::from_secs(3_600);
    let gate = Gate::start_with(AUTH_CORE, |config| {
        (config.limits.request, config.limits.drain) = (long, long);
    })
    .await;
    let request = Device::genuine().request();
    let mut beginning = Connection::open(gate.logins).await;
    beginning.send(&request[..20]).await;
    let mut next = Connection::open(gate.logins).await;
    assert_eq!(next.ask(&request).await.status, 200);
    next.send(&request[..20]).await;
    // What it sent cannot be read, it has been told so, and it does not hang up.
    let mut lingering = Connection::open(gate.logins).await;
    assert_eq!(lingering.ask(b"garbage\r\n\r\n").await.status, 400);
    let _silent = Connection::open(gate.logins).await;
    gate.until("they are known", |status| status["connections"]["open"] == 4).await;
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_request_is_answered_the_same() {
    let gate = Gate::start(AUTH_CORE).await;
    for device in [Device::genuine(), Device::named("x")] {
        for route in ["/emqx/auth", "/mqtt/auth", "/emqx/acl"] {
            let mut seen = None;
            for _ in 0..3 {
                let answer = gate.ask(&device.request_to(route)).await;
                let said = (answer.status, answer.text().to_owned());
                assert_eq!(*seen.get_or_insert_with(|| said.clone()), said);
            }
        }
    }
    gate.stop().await;
}
