//! Malformed requests: rejected without calling the policy, and without repeating their content.

use serde_json::{Value, json};

use crate::support::device::Device;
use crate::support::http::{Connection, get, post};
use crate::support::in_process::{AUTH_CORE, Gate};

#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_get_400_without_echo() {
    let gate = Gate::start(AUTH_CORE).await;
    for (body, kind, field) in [
        ("", "not-json", None),
        ("s3cret", "not-json", None),
        (r#""s3cret""#, "not-an-object", None),
        (r#"{"username":"s3cret"}"#, "missing-field", Some("client_id")),
        (r#"{"client_id":"c","password":{"s3cret":1}}"#, "not-text", Some("password")),
        (r#"{"client_id":"c","password":"s3cret","password":"s3cret"}"#, "duplicate-field", Some("password")),
    ] {
        let response = gate.request(&post("/mqtt/auth", "application/json", body.as_bytes())).await;
        assert_eq!((response.status, response.result().as_str()), (400, "deny"), "{kind}");
        let error = response.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(field.unwrap_or_default()), "{error}");
        assert!(!response.text().contains("s3cret"));
        let status = gate.status().await;
        let mut warnings = status["config_warnings"].as_array().unwrap().iter();
        let expected = (&json!("/mqtt/auth"), &json!(kind), &field.map_or(Value::Null, Value::from));
        let is_reported = warnings.any(|warning| (&warning["route"], &warning["kind"], &warning["field"]) == expected);
        assert!(is_reported, "{kind}: {status}");
    }
    let status = gate.status().await;
    assert_eq!((&status["malformed_requests"], &status["authenticate"]["calls"]), (&json!(6), &json!(0)));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn emqx_gets_a_final_denial_for_malformed_requests() {
    let gate = Gate::start(AUTH_CORE).await;
    // EMQX takes any status but 200 for "ignore", and continues with its next authenticator.
    for request in
        [post("/emqx/auth", "application/json", b"{"), post("/emqx/auth", "text/plain", b"x"), get("/emqx/auth")]
    {
        let response = gate.request(&request).await;
        assert_eq!((response.status, response.result().as_str()), (200, "deny"));
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_body_with_content_length_is_a_413() {
    let gate = Gate::start(AUTH_CORE).await;
    let response = gate.request(&post("/mqtt/auth", "application/json", &vec![b' '; 70_000])).await;
    assert_eq!((response.status, response.result().as_str()), (413, "deny"));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_chunked_body_is_a_413() {
    let gate = Gate::start(AUTH_CORE).await;
    let head = b"POST /mqtt/auth HTTP/1.1\r\nhost: gate\r\ntransfer-encoding: chunked\r\n\r\n11170\r\n";
    let response = gate.request(&[head, vec![b' '; 70_000].as_slice(), b"\r\n0\r\n\r\n"].concat()).await;
    assert_eq!(response.status, 413);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_body_is_a_denial_for_emqx() {
    let gate = Gate::start(AUTH_CORE).await;
    let response = gate.request(&post("/emqx/auth", "application/json", &vec![b' '; 70_000])).await;
    assert_eq!((response.status, response.result().as_str()), (200, "deny"));
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn overlong_target_is_a_414() {
    let gate = Gate::start(AUTH_CORE).await;
    let target = format!("/mqtt/auth?client_id={}", "x".repeat(70_000));
    assert_eq!(gate.request(&get(&target)).await.status, 414);
    assert_eq!(gate.authenticate(&Device::valid()).await, 200);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_name_their_host_once() {
    let gate = Gate::start(AUTH_CORE).await;
    let login = |hosts: &str, version: &str| {
        let text = String::from_utf8(Device::valid().request()).unwrap();
        text.replacen("host: gate\r\n", hosts, 1).replacen("HTTP/1.1", version, 1).into_bytes()
    };
    for (hosts, version, status) in [
        ("host: gate\r\n", "HTTP/1.1", 200),
        ("", "HTTP/1.0", 200),
        ("", "HTTP/1.1", 400),
        ("host: gate\r\nhost: gate\r\n", "HTTP/1.1", 400),
        ("host: gate\r\nhost: other\r\n", "HTTP/1.0", 400),
    ] {
        assert_eq!(gate.request(&login(hosts, version)).await.status, status, "{hosts:?} {version}");
    }
    let emqx = String::from_utf8(Device::valid().request_to("/emqx/auth")).unwrap().replacen("host: gate\r\n", "", 1);
    assert_eq!(gate.request(emqx.as_bytes()).await.result(), "deny");
    assert_eq!(gate.status().await["config_warnings"][0]["kind"], "host");
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_transfer_codings_are_rejected() {
    let gate = Gate::start(AUTH_CORE).await;
    for coding in ["gzip", "identity", "chunked, gzip", "xchunked"] {
        let head = format!("POST /mqtt/auth HTTP/1.1\r\nhost: gate\r\ntransfer-encoding: {coding}\r\n\r\n0\r\n\r\n");
        assert_eq!(gate.request(head.as_bytes()).await.status, 400, "{coding}");
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_protocols_on_the_port_are_named() {
    let gate = Gate::start(AUTH_CORE).await;
    for (bytes, kind) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], "tls-on-plain-port"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2"),
        (b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c", "mqtt"),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 8003\r\n", "proxy-protocol"),
        (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", "proxy-protocol"),
        (b"nonsense\r\n\r\n", "invalid-http"),
    ] {
        let mut connection = Connection::open(gate.auth).await;
        connection.send(bytes).await;
        connection.wait_closed().await;
        let status = gate.status().await;
        let warnings = status["config_warnings"].as_array().unwrap();
        let warning = warnings.iter().find(|warning| warning["kind"] == kind).unwrap_or_else(|| panic!("{status}"));
        assert_eq!(warning["route"], "(none)", "{warning}");
    }
    gate.stop().await;
}
