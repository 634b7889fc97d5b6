//! What requests come for, by their heads.

use brokers::{Method, RequestHead, RequestKind, Route};

fn errand(method: &str, target: &str, header_names: &[&str], has_body: bool) -> RequestKind {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let head = RequestHead { method, path, has_query: query.is_some(), has_body };
    RequestKind::of(&head, header_names.iter().copied())
}

#[test]
fn people_look_and_brokers_ask() {
    let asks = |method| RequestKind::Check(Route::MqttAuth, method);
    for (method, target, header_names, expected) in [
        ("GET", "/mqtt/auth", &["host", "accept"][..], RequestKind::StatusPage),
        ("HEAD", "/mqtt/auth", &["user-agent"], RequestKind::StatusPage),
        ("OPTIONS", "/mqtt/auth", &[], RequestKind::StatusPage),
        ("GET", "/mqtt/auth", &["host", "connection", "content-length"], asks(Some(Method::Get))),
        ("GET", "/mqtt/auth", &[":authority", "x-request-id", "x-forwarded-proto"], asks(Some(Method::Get))),
        ("GET", "/mqtt/auth", &["host", "via", "traceparent", "b3", "forwarded"], asks(Some(Method::Get))),
        ("GET", "/mqtt/auth", &["accept", "content-type"], asks(Some(Method::Get))),
        ("GET", "/mqtt/auth?", &["accept"], asks(Some(Method::Get))),
        ("HEAD", "/mqtt/auth?clientid=c", &["accept"], asks(None)),
        ("POST", "/mqtt/auth", &["accept"], asks(Some(Method::Post))),
        ("DELETE", "/mqtt/auth", &["accept"], asks(None)),
        ("get", "/mqtt/auth", &["accept"], asks(None)),
        ("GET", "/mqtt/acl", &["accept"], RequestKind::Check(Route::MqttAcl, Some(Method::Get))),
        ("OPTIONS", "/mqtt/acl", &["accept"], RequestKind::Check(Route::MqttAcl, None)),
        ("GET", "/vernemq", &["accept"], RequestKind::Check(Route::Vernemq, None)),
    ] {
        assert_eq!(errand(method, target, header_names, false), expected, "{method} {target} {header_names:?}");
    }
    assert_eq!(errand("GET", "/mqtt/auth", &["accept"], true), asks(Some(Method::Get)));
}

#[test]
fn what_misses_the_routes_may_be_emqx_all_the_same() {
    for target in ["/emqx", "/emqx/auth/", "/EMQX/auth", "/%65mqx/auth", "/api/emqx/acl?x"] {
        assert_eq!(errand("POST", target, &[], true), RequestKind::EmqxFallback, "{target}");
    }
    for target in ["/", "/mqtt/auth/", "/mqtt", "*", ""] {
        assert_eq!(errand("POST", target, &[], true), RequestKind::NotFound, "{target}");
    }
}
