//! Requests are dispatched by their heads.

use brokers::{BrokerKind, Method, RequestHead, RequestKind, Route, Routes, split_target};

fn kind(method: &str, target: &str, header_names: &[&str], has_body: bool) -> RequestKind {
    kind_for(&Routes::default(), method, target, header_names, has_body)
}

fn kind_for(routes: &Routes, method: &str, target: &str, header_names: &[&str], has_body: bool) -> RequestKind {
    let (path, query) = split_target(target);
    let head = RequestHead { method, path, has_query: query.is_some(), has_body };
    RequestKind::of(&head, header_names.iter().copied(), routes)
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
fn unmatched_paths_are_refused_in_the_only_dialect_that_asks() {
    let emqx = Routes::for_kinds(&[BrokerKind::Emqx]);
    let emqx_and_nanomq = Routes::for_kinds(&[BrokerKind::Emqx, BrokerKind::Nanomq]);
    for target in ["/", "/emqx", "/emqx/auth/", "/EMQX/auth", "/%65mqx/auth", "/rabbitmq/user", "*", ""] {
        assert_eq!(kind_for(&emqx, "POST", target, &[], true), RequestKind::Refused(Route::EmqxAuth), "{target}");
        assert_eq!(kind_for(&emqx_and_nanomq, "POST", target, &[], true), RequestKind::NotFound, "{target}");
    }
    for target in ["/", "/emqx", "/emqx/auth/", "/mqtt/auth/", "/mqtt", "*", ""] {
        assert_eq!(kind("POST", target, &[], true), RequestKind::NotFound, "{target}");
    }
    // The status page is for people, whatever broker asks.
    assert_eq!(kind_for(&emqx, "GET", "/mqtt/auth", &["accept"], false), RequestKind::StatusPage);
    assert_eq!(kind_for(&emqx, "POST", "/mqtt/auth", &["accept"], true), RequestKind::Refused(Route::EmqxAuth));
}
