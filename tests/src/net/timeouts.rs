//! Slow clients lose their connection, and others are not affected.

use std::time::Duration;

use crate::support::device::Device;
use crate::support::http::{Connection, get};
use crate::support::in_process::{AUTH_CORE, Gate};
use crate::support::within_timeout;

/// A gate that waits this long for the rest of a request. No client of these tests has to be faster than that.
async fn impatient_gate() -> Gate {
    Gate::start_with(AUTH_CORE, |config| config.limits.request_timeout = Duration::from_millis(200)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn times_out_incomplete_request_heads() {
    let gate = impatient_gate().await;
    let request = Device::valid().request();
    let mut first_request = Connection::open(gate.auth).await;
    first_request.send(&request[..20]).await;
    let mut second_request = Connection::open(gate.auth).await;
    assert_eq!(second_request.request(&request).await.status, 200);
    second_request.send(&request[..20]).await;
    for connection in [&mut first_request, &mut second_request] {
        assert!(connection.try_response().await.is_none());
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_connections_that_have_not_begun_a_request() {
    let gate = impatient_gate().await;
    let request = Device::valid().request();
    let mut idle = Connection::open(gate.auth).await;
    let mut incomplete = Connection::open(gate.auth).await;
    incomplete.send(&request[..20]).await;
    assert!(incomplete.try_response().await.is_none());
    assert_eq!(idle.request(&request).await.status, 200);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closes_connections_that_never_read_responses() {
    let gate = impatient_gate().await;
    let mut client = Connection::open(gate.auth).await;
    // More responses than the socket buffers hold: the gate stops reading, and closes the connection in the end.
    let burst = get("/mqtt/auth").repeat(1_000);
    within_timeout("the gate to close the connection", async { while client.try_send(&burst).await {} }).await;
    gate.wait_until("the connection is closed", |status| status["connections"]["open"] == 0).await;
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn incomplete_body_is_a_408_and_not_evaluated() {
    let gate = impatient_gate().await;
    let request = Device::valid().request();
    let mut connection = Connection::open(gate.auth).await;
    connection.send(&request[..request.len() - 1]).await;
    let response = connection.response().await;
    assert_eq!((response.status, response.result().as_str()), (408, "deny"));
    assert_eq!(gate.status().await["authenticate"]["calls"], 0);
    gate.stop().await;
}
