use std::cell::{Cell, RefCell};

use super::*;
use crate::dispatch::RequestHead;
use crate::parse::request::split_target;

const NOW: u64 = 1_760_000_000;

/// A policy with one answer, and a record of what the host was told.
struct FakePolicy {
    verdict: Result<Verdict<&'static str>, CallError>,
    permission: Result<Permission, CallError>,
    calls: Cell<u32>,
    events: RefCell<Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum CallError {
    Trap,
    Unsupported(UnsupportedGrant),
}

impl From<UnsupportedGrant> for CallError {
    fn from(error: UnsupportedGrant) -> Self {
        Self::Unsupported(error)
    }
}

impl FakePolicy {
    fn new(verdict: Result<Verdict<&'static str>, CallError>, permission: Result<Permission, CallError>) -> Self {
        Self { verdict, permission, calls: Cell::default(), events: RefCell::default() }
    }

    fn allowing() -> Self {
        Self::new(Ok(Verdict::Allow(Grant::default())), Ok(Permission::Allow))
    }

    fn respond(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> HttpResponse {
        let (path, query) = split_target(target);
        let head = RequestHead { method, path, has_query: query.is_some(), has_body: !body.is_empty() };
        let kind = RequestKind::of(&head, headers.iter().map(|(name, _)| *name), &Routes::default());
        let header = |name: &str| headers.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
        respond(&HttpRequest { kind, method, query, header: &header, body: Ok(body.as_bytes()) }, self)
    }

    fn post(&self, target: &str, body: &str) -> (u16, String) {
        let response = self.respond("POST", target, &[("content-type", "application/json")], body);
        (response.status, response.body.into_owned())
    }

    fn events(&self) -> Vec<String> {
        self.events.take()
    }
}

impl PolicyCall for FakePolicy {
    type Reason = &'static str;
    type Error = CallError;

    fn authenticate(&self, _: Credentials) -> Result<Verdict<&'static str>, CallError> {
        self.calls.set(self.calls.get() + 1);
        self.verdict.clone()
    }

    fn authorize(&self, _: AuthorizeRequest) -> Result<Permission, CallError> {
        self.calls.set(self.calls.get() + 1);
        self.permission.clone()
    }

    fn authorizer(&self) -> Authorizer {
        Authorizer::Present
    }

    fn now(&self) -> u64 {
        NOW
    }

    fn status_page(&self) -> (u16, Cow<'static, str>) {
        (503, Cow::Borrowed("out of order"))
    }

    fn record(&self, route: &'static str, event: Event<&'static str, CallError>) {
        self.events.borrow_mut().push(match event {
            Event::Denied { client_id, reason } => format!("{route} {client_id} denied {reason}"),
            Event::Error { client_id, error } => format!("{route} {client_id} error {error:?}"),
            Event::Malformed(error) => format!("{route} malformed {}", error.kind()),
            Event::Warning(warning) => format!("{route} warning {}", warning.kind()),
        });
    }
}

const LOGIN: &str = r#"{"clientid":"c","username":"u","password":"p"}"#;
const PUBLISH: &str = r#"{"clientid":"c","username":"u","topic":"t","action":"publish"}"#;

#[test]
fn verdict_becomes_reply_and_event() {
    let expired = Grant { expires_at: Some(NOW), ..Grant::default() };
    for (verdict, emqx, status, event) in [
        (Ok(Verdict::Allow(Grant::default())), r#"{"result":"allow"}"#, 200, None),
        (Ok(Verdict::Deny("banned")), r#"{"result":"deny"}"#, 401, Some("c denied banned")),
        (Ok(Verdict::Ignore), r#"{"result":"deny"}"#, 401, None),
        (Err(CallError::Trap), r#"{"result":"deny"}"#, 503, Some("c error Trap")),
        (Ok(Verdict::Allow(expired)), r#"{"result":"deny"}"#, 503, Some("c error Unsupported(Expired)")),
    ] {
        let policy = FakePolicy::new(verdict, Ok(Permission::Deny));
        assert_eq!(policy.post("/emqx/auth", LOGIN), (200, emqx.to_owned()));
        let expected: Vec<_> = event.iter().map(|event| format!("/emqx/auth {event}")).collect();
        assert_eq!(policy.events(), expected);
        assert_eq!(policy.post("/mqtt/auth", LOGIN).0, status);
    }
}

#[test]
fn permission_becomes_reply_and_warning() {
    for (permission, emqx, status, event) in [
        (Ok(Permission::Allow), r#"{"result":"allow"}"#, 200, None),
        (Ok(Permission::Deny), r#"{"result":"deny"}"#, 401, None),
        (Ok(Permission::Ignore), r#"{"result":"ignore"}"#, 401, Some("/mqtt/acl warning no-fallback-rules")),
        (Err(CallError::Trap), r#"{"result":"deny"}"#, 503, Some("/mqtt/acl c error Trap")),
    ] {
        let policy = FakePolicy::new(Ok(Verdict::Ignore), permission);
        assert_eq!(policy.post("/emqx/acl", PUBLISH), (200, emqx.to_owned()));
        policy.events();
        assert_eq!(policy.post("/mqtt/acl", PUBLISH).0, status);
        assert_eq!(policy.events(), event.map(str::to_owned).into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn denied_without_a_call_if_the_request_is_malformed_or_never_allowed() {
    let policy = FakePolicy::allowing();
    assert_eq!(policy.post("/mqtt/auth", "{}").0, 400);
    assert_eq!(policy.events(), ["/mqtt/auth malformed empty"]);
    assert_eq!(policy.post("/mosquitto/superuser", r#"{"username":"u"}"#).0, 401);
    let too_large = RequestError::TooLarge { limit: 9 };
    let kind = RequestKind::Check(Route::MqttAuth, Some(Method::Post));
    let request = HttpRequest { kind, method: "POST", query: None, header: &|_| None, body: Err(too_large) };
    assert_eq!(respond(&request, &policy).status, 413);
    let not_allowed = policy.respond("DELETE", "/mqtt/acl", &[], "");
    assert!(not_allowed.status == 405 && not_allowed.headers.contains(&("allow", "GET, POST")));
    assert_eq!(policy.calls.get(), 0);
}

#[test]
fn unmatched_paths_get_404() {
    let policy = FakePolicy::allowing();
    let (status, body) = policy.post("/", LOGIN);
    assert!(status == 404 && body.contains("/emqx/auth"));
    assert_eq!(policy.events(), ["(none) malformed no-such-route"]);
    assert_eq!(policy.respond("GET", "/favicon.ico", &[], "").status, 404);
    assert_eq!(policy.events(), Vec::<String>::new());
    assert_eq!(policy.post("/api/emqx/auth", LOGIN).0, 404);
    assert_eq!(policy.events(), ["(none) malformed no-such-route"]);
    assert_eq!(policy.calls.get(), 0);
}

#[test]
fn status_page_and_cross_origin_responses_have_cors_headers() {
    let policy = FakePolicy::allowing();
    let has_cors = |response: &HttpResponse| cors::HEADERS.iter().all(|header| response.headers.contains(header));
    let page = policy.respond("GET", "/mqtt/auth", &[("user-agent", "x")], "");
    assert!(page.status == 503 && page.body == "out of order" && has_cors(&page));
    let preflight = policy.respond("OPTIONS", "/mqtt/auth", &[], "");
    assert!(preflight.status == 204 && preflight.body.is_empty() && has_cors(&preflight));
    let json = ("content-type", "application/json");
    let from_page = [json, ("origin", "http://page")];
    assert!(has_cors(&policy.respond("POST", "/mqtt/auth", &from_page, LOGIN)));
    assert!(!has_cors(&policy.respond("POST", "/emqx/auth", &from_page, LOGIN)));
    assert_eq!(policy.respond("POST", "/mqtt/auth", &[json], LOGIN).headers, [("content-type", "application/json")]);
}
