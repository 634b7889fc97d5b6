//! Requests are dispatched by their heads.

use brokers::{Method, RequestHead, RequestKind, Route, split_target};

fn kind(method: &str, target: &str, header_names: &[&str], has_body: bool) -> RequestKind {
    let (path, query) = split_target(target);
    let head = RequestHead { method, path, has_query: query.is_some(), has_body };
    RequestKind::of(&head, header_names.iter().copied())
}

#[test]
fn status_page_is_only_for_requests_that_no_broker_sends() {
    let check = |method| RequestKind::Check(Route::MqttAuth, method);
    for (method, target, header_names, expected) in [
        ("GET", "/mqtt/auth", &["host", "accept"][..], RequestKind::StatusPage),
        ("HEAD", "/mqtt/auth", &["user-agent"], RequestKind::StatusPage),
        ("OPTIONS", "/mqtt/auth", &[], RequestKind::StatusPage),
        ("GET", "/mqtt/auth", &["host", "connection", "content-length"], check(Some(Method::Get))),
        ("GET", "/mqtt/auth", &[":authority", "x-request-id", "x-forwarded-proto"], check(Some(Method::Get))),
        ("GET", "/mqtt/auth", &["host", "via", "traceparent", "b3", "forwarded"], check(Some(Method::Get))),
        ("GET", "/mqtt/auth", &["accept", "content-type"], check(Some(Method::Get))),
        ("GET", "/mqtt/auth?", &["accept"], check(Some(Method::Get))),
        ("HEAD", "/mqtt/auth?clientid=c", &["accept"], check(None)),
        ("POST", "/mqtt/auth", &["accept"], check(Some(Method::Post))),
        ("DELETE", "/mqtt/auth", &["accept"], check(None)),
        ("get", "/mqtt/auth", &["accept"], check(None)),
        ("GET", "/mqtt/acl", &["accept"], RequestKind::Check(Route::MqttAcl, Some(Method::Get))),
        ("OPTIONS", "/mqtt/acl", &["accept"], RequestKind::Check(Route::MqttAcl, None)),
        ("GET", "/vernemq", &["accept"], RequestKind::Check(Route::Vernemq, None)),
    ] {
        assert_eq!(kind(method, target, header_names, false), expected, "{method} {target} {header_names:?}");
    }
    assert_eq!(kind("GET", "/mqtt/auth", &["accept"], true), check(Some(Method::Get)));
}

#[test]
fn unmatched_paths_that_look_like_emqx_are_told_apart() {
    for target in ["/emqx", "/emqx/auth/", "/EMQX/auth", "/%65mqx/auth", "/api/emqx/acl?x"] {
        assert_eq!(kind("POST", target, &[], true), RequestKind::EmqxFallback, "{target}");
    }
    for target in ["/", "/mqtt/auth/", "/mqtt", "*", ""] {
        assert_eq!(kind("POST", target, &[], true), RequestKind::NotFound, "{target}");
    }
}
