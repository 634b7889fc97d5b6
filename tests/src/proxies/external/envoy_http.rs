//! The HTTP filter in Envoy responds to brokers as the native gate does.

use serde_json::{Map, Value, json};

use crate::support::credential_cases::{self, GROUPS, cases_by_key};
use crate::support::device::{Device, KEY};
use crate::support::envoy::{Bootstrap, Envoy, HTTP};
use crate::support::http::{Connection, Response, cross_origin, get, post, post_json, without_body};
use crate::support::in_process::{AUTH_CORE, Gate};
use crate::support::request_corpus::recorded_emqx_requests_to;

const ROUTES: [&str; 12] = [
    "/mqtt/auth",
    "/mqtt/acl",
    "/emqx/auth",
    "/emqx/acl",
    "/rabbitmq/user",
    "/rabbitmq/vhost",
    "/rabbitmq/resource",
    "/rabbitmq/topic",
    "/mosquitto/user",
    "/mosquitto/superuser",
    "/mosquitto/acl",
    "/vernemq",
];

async fn assert_gives_every_case_its_verdict(groups: &str) {
    for (key, cases) in &cases_by_key() {
        let mut bootstrap = Bootstrap::for_tests();
        bootstrap.change(HTTP, |plugin| {
            let settings = credential_cases::settings(key, groups).map(|(name, value)| (name.to_owned(), json!(value)));
            plugin["settings"] = Value::Object(settings.into_iter().collect::<Map<_, _>>());
            // Some user names are longer than any broker can send.
            plugin["limits"]["body"] = json!(1 << 20);
        });
        let envoy = Envoy::start(bootstrap, HTTP).await;
        let mut connection = Connection::open(envoy.address()).await;
        for case in cases {
            case.assert_responses(&mut connection, groups, 1 << 20).await;
        }
        envoy.assert_no_filter_crash().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_gives_every_case_its_verdict_for_the_default_groups() {
    assert_gives_every_case_its_verdict(GROUPS[0]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_gives_every_case_its_verdict_for_any_group() {
    assert_gives_every_case_its_verdict(GROUPS[1]).await;
}

/// Valid and invalid requests of every kind, to every route and beside them.
fn requests() -> Vec<Vec<u8>> {
    const FORM: &str = "application/x-www-form-urlencoded";
    let valid = Device::valid();
    let action = |topic: &str| {
        let mut body = valid.body();
        body["topic"] = topic.into();
        body["action"] = "publish".into();
        body
    };
    let mut requests = Vec::new();
    for route in ROUTES {
        requests.extend(recorded_emqx_requests_to(route));
        let unsigned = Device::unsigned("x").body();
        for body in [valid.body(), unsigned, action("up/AA_BB_CC_DD_EE_FF"), action("up/x"), json!({})] {
            requests.push(post_json(route, &body));
            requests.push(cross_origin(&post_json(route, &body)));
        }
        let query =
            "client_id=x&username=y&password=z&topic=t&action=publish&acc=1&vhost=/&resource=topic&permission=read";
        requests.push(get(&format!("{route}?{query}")));
        requests.push(post(route, FORM, query.as_bytes()));
        requests.push(post(route, FORM, br#"{"client_id":"x"}"#));
        requests.push(post(route, "text/plain", b"x"));
        requests.push(post(route, "application/json; \u{e9}", b"{}"));
        requests.push(post(route, "application/json", b"\xff"));
        requests.push(post(route, "application/json", br#"{"client_id":"${clientid}"}"#));
        requests.extend(["PUT", "DELETE", "PATCH"].map(|method| without_body(method, route)));
        // Without the headers of a person.
        requests.push(format!("GET {route} HTTP/1.1\r\nhost: gate\r\n\r\n").into_bytes());
    }
    for target in ["/", "/mqtt/auth/", "/x?y=z", "/EMQX/auth", "/api/%65mqx", "/mqtt//auth"] {
        requests.extend([get(target), post_json(target, &valid.body())]);
    }
    requests
}

/// The parts of a response that brokers and browsers read.
fn comparable(response: &Response) -> (u16, &str, [Option<&str>; 5]) {
    let headers = [
        "content-type",
        "allow",
        "access-control-allow-origin",
        "access-control-allow-methods",
        "access-control-allow-headers",
    ];
    (response.status, response.text(), headers.map(|name| response.header(name)))
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_responds_like_the_native_gate() {
    let topics = [("publish-topics", "up/{mac}"), ("subscribe-topics", "down/{mac}/#")];
    let gate = Gate::start_with(AUTH_CORE, |config| {
        topics.iter().for_each(|(name, value)| config.policy.first.settings.set(name, (*value).to_owned()));
    })
    .await;
    let envoy = Envoy::http(&[&[("signature-keys", KEY)], &topics[..]].concat()).await;
    // One connection each: no response closes it.
    let mut native = Connection::open(gate.auth).await;
    let mut in_envoy = Connection::open(envoy.address()).await;
    let requests = requests();
    assert!(requests.len() > 400);
    for request in requests {
        let (expected, response) = (native.request(&request).await, in_envoy.request(&request).await);
        assert_eq!(comparable(&response), comparable(&expected), "{}", String::from_utf8_lossy(&request));
    }
    // The status pages have the same headers and different texts.
    for (method, status) in [("GET", 200), ("OPTIONS", 204)] {
        let request = without_body(method, "/mqtt/auth");
        let (expected, response) = (native.request(&request).await, in_envoy.request(&request).await);
        assert_eq!((expected.status, response.status), (status, status));
        assert_eq!(comparable(&response).2, comparable(&expected).2);
    }
    assert!(in_envoy.request(&get("/mqtt/auth")).await.text().contains("Envoy"));
    envoy.assert_no_filter_crash().await;
    gate.stop().await;
}

/// EMQX sends up to a hundred requests on a connection before it reads a response.
#[tokio::test(flavor = "multi_thread")]
async fn pipelined_responses_keep_the_order_of_requests() {
    let envoy = Envoy::http(&[("signature-keys", KEY)]).await;
    let mut connection = Connection::open(envoy.address()).await;
    let devices = [Device::valid(), Device::unsigned("x"), Device::valid()];
    let requests: Vec<_> = devices.iter().cycle().take(300).map(|device| device.request_to("/emqx/auth")).collect();
    connection.send(&requests.concat()).await;
    for result in ["allow", "deny", "allow"].iter().cycle().take(300) {
        assert_eq!(connection.response().await.result(), *result);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn request_can_arrive_in_single_bytes() {
    let envoy = Envoy::http(&[("signature-keys", KEY)]).await;
    let mut connection = Connection::open(envoy.address()).await;
    for byte in &Device::valid().request() {
        connection.send(&[*byte]).await;
    }
    assert_eq!(connection.response().await.status, 200);
    envoy.assert_no_filter_crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn body_can_be_chunked_with_and_without_trailers() {
    let envoy = Envoy::http(&[("signature-keys", KEY)]).await;
    let mut connection = Connection::open(envoy.address()).await;
    let head = "POST /mqtt/auth HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    for end in ["0\r\n\r\n", "0\r\nx-trailer: x\r\n\r\n"] {
        connection.send(head.as_bytes()).await;
        for piece in Device::valid().body().to_string().as_bytes().chunks(7) {
            let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat();
            connection.send(&chunk).await;
        }
        connection.send(end.as_bytes()).await;
        assert_eq!(connection.response().await.status, 200, "{end:?}");
    }
    envoy.assert_no_filter_crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_bodies_are_denied_and_the_connection_continues() {
    let envoy = Envoy::http(&[("signature-keys", KEY)]).await;
    let mut connection = Connection::open(envoy.address()).await;
    for length in [65_537, 300_000] {
        for (route, status) in [("/mqtt/auth", 413), ("/emqx/auth", 200), ("/rabbitmq/user", 200)] {
            let response = connection.request(&post(route, "application/json", &vec![b' '; length])).await;
            assert_eq!(response.status, status, "{length} to {route}");
            assert!(!response.text().contains("allow"), "{}", response.text());
        }
    }
    assert_eq!(connection.request(&Device::valid().request()).await.status, 200);
    envoy.assert_no_filter_crash().await;
}

/// Envoy itself answers 413 and closes the connection if a body arrives faster than the filter discards it. No client can
/// make a broker send that much.
#[tokio::test(flavor = "multi_thread")]
async fn huge_bodies_are_never_allowed() {
    let envoy = Envoy::http(&[("signature-keys", KEY)]).await;
    for length in [3 << 20, 8 << 20] {
        for route in ["/mqtt/auth", "/emqx/auth", "/rabbitmq/user"] {
            let mut connection = Connection::open(envoy.address()).await;
            connection.try_send(&post(route, "application/json", &vec![b' '; length])).await;
            let response = connection.try_response().await;
            assert!(response.is_none_or(|response| !response.text().contains("allow")), "{length} to {route}");
        }
    }
    let mut connection = Connection::open(envoy.address()).await;
    assert_eq!(connection.request(&Device::valid().request()).await.status, 200);
    envoy.assert_no_filter_crash().await;
}

/// The SDK of the filter traps on header names that are not UTF-8. Envoy rejects such requests before the filter.
#[tokio::test(flavor = "multi_thread")]
async fn headers_that_are_not_utf8_do_not_crash_the_filter() {
    let envoy = Envoy::http(&[("signature-keys", KEY)]).await;
    for (header, status) in
        [(&b"\xff: x"[..], 400), (b"\xc3: x", 400), (b"x\0: x", 400), (b"x: \xff", 200), (b"content-type: \xff", 400)]
    {
        let head = [&b"POST /mqtt/auth HTTP/1.1\r\nhost: gate\r\n"[..], header, b"\r\n"].concat();
        let body = Device::valid().body().to_string();
        let kind = if header.starts_with(b"content-type") { "" } else { "content-type: application/json\r\n" };
        let rest = format!("{kind}content-length: {}\r\n\r\n{body}", body.len());
        let mut connection = Connection::open(envoy.address()).await;
        let response = connection.request(&[&head[..], rest.as_bytes()].concat()).await;
        assert_eq!(response.status, status, "{header:x?}");
    }
    envoy.assert_no_filter_crash().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_that_are_not_utf8_do_not_crash_the_filter() {
    let envoy = Envoy::http(&[("signature-keys", KEY)]).await;
    for target in [&b"/mqtt/auth?\xff"[..], b"/\xff", b"/emqx/auth?client_id=\xff"] {
        let request = [b"GET ", target, b" HTTP/1.1\r\nhost: gate\r\naccept: x\r\n\r\n"].concat();
        let response = Connection::open(envoy.address()).await.request(&request).await;
        assert!(response.status != 200 || response.result() == "deny", "{target:x?}: {}", response.status);
    }
    envoy.assert_no_filter_crash().await;
}
