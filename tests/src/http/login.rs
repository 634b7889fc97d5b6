//! Logins: every encoding is understood, and the response is the one of the route's dialect.

use serde_json::json;

use crate::support::device::Device;
use crate::support::http::{get, post, post_json};
use crate::support::in_process::{AUTH_CORE, Gate};

#[tokio::test(flavor = "multi_thread")]
async fn allows_a_valid_device_and_denies_one_changed_character() {
    let gate = Gate::start(AUTH_CORE).await;
    let mut device = Device::valid();
    let response = gate.request(&device.request()).await;
    assert_eq!((response.status, response.text()), (200, r#"{"result":"allow"}"#));
    device.password.replace_range(0..1, if device.password.starts_with('A') { "B" } else { "A" });
    let response = gate.request(&device.request()).await;
    assert_eq!((response.status, response.text()), (401, r#"{"result":"deny"}"#));
    gate.stop().await;
}

fn form(device: &Device) -> String {
    let encode = |text: &str| text.replace('@', "%40").replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let [username, password, client_id] =
        [&device.username, &device.password, &device.client_id].map(|text| encode(text));
    format!("username={username}&password={password}&clientid={client_id}")
}

async fn assert_allowed(request: &[u8]) {
    let gate = Gate::start(AUTH_CORE).await;
    assert_eq!(gate.request(request).await.status, 200);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accepts_credentials_in_the_query() {
    assert_allowed(&get(&format!("/mqtt/auth?{}", form(&Device::valid())))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accepts_credentials_in_a_form() {
    let form = form(&Device::valid());
    assert_allowed(&post("/mqtt/auth", "application/x-www-form-urlencoded", form.as_bytes())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accepts_both_spellings_of_the_client_id() {
    let Device { client_id, username, password } = Device::valid();
    let body = json!({ "clientid": client_id, "username": username, "password": password });
    assert_allowed(&post_json("/mqtt/auth", &body)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn denies_a_login_without_a_password() {
    let gate = Gate::start(AUTH_CORE).await;
    let Device { client_id, username, .. } = Device::valid();
    let request = post_json("/mqtt/auth", &json!({ "client_id": client_id, "username": username }));
    assert_eq!(gate.request(&request).await.status, 401);
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn emqx_gets_the_verdict_in_the_body_of_a_200() {
    let gate = Gate::start(AUTH_CORE).await;
    for (device, result) in [(Device::valid(), "allow"), (Device::unsigned("x"), "deny")] {
        let response = gate.request(&device.request_to("/emqx/auth")).await;
        assert_eq!((response.status, response.header("content-type")), (200, Some("application/json")));
        assert_eq!(response.json(), json!({ "result": result }));
    }
    gate.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_requests_get_identical_responses() {
    let gate = Gate::start(AUTH_CORE).await;
    for device in [Device::valid(), Device::unsigned("x")] {
        for route in ["/emqx/auth", "/mqtt/auth", "/emqx/acl"] {
            let mut first = None;
            for _ in 0..3 {
                let response = gate.request(&device.request_to(route)).await;
                let response = (response.status, response.text().to_owned());
                assert_eq!(*first.get_or_insert_with(|| response.clone()), response);
            }
        }
    }
    gate.stop().await;
}
