use std::cell::RefCell;

use auth_core::signature::Key;
use brokers::{CORS_HEADERS, HttpRequest, HttpResponse, RequestError, RequestHead, RequestKind, Routes};

use super::*;

const KEY: &str = "a key of more than 16 bytes";
const CLIENT_ID: &str = "GID_test@@@AA_BB_CC_DD_EE_FF@@@1";
const USERNAME: &str = "eyJpcCI6IjEifQ==";
const NOW: UnixTime = UnixTime(1_800_000_000);

/// An HTTP request.
struct TestRequest<'a> {
    method: &'a str,
    target: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: Result<&'a str, RequestError>,
}

impl TestRequest<'_> {
    /// Answers the request under these settings and a key. Returns the response and the reported events.
    fn send_with(&self, settings: &[(&str, &str)]) -> (HttpResponse, Vec<String>) {
        let get = |name: &str| settings.iter().chain(&[("signature-keys", KEY)]).find(|(known, _)| *known == name);
        let settings = Settings::read(|name| get(name).map(|(_, value)| (*value).to_owned())).unwrap();
        let (path, query) = brokers::split_target(self.target);
        let has_body = self.body != Ok("");
        let head = RequestHead { method: self.method, path, has_query: query.is_some(), has_body };
        let kind = RequestKind::of(&head, self.headers.iter().map(|(name, _)| *name), &Routes::default());
        let header = |name: &str| self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let body = self.body.clone().map(str::as_bytes);
        let reported = RefCell::new(Vec::new());
        let log = |_, event: PolicyEvent| {
            reported.borrow_mut().push(match event {
                Event::Denied { client_id, reason } => format!("{} {client_id}", reason.reason().name()),
                Event::Error { error, .. } => error.to_string(),
                Event::Malformed(error) => error.kind().to_owned(),
                Event::Warning(warning) => warning.kind().to_owned(),
            });
        };
        let request = HttpRequest { kind, method: self.method, query, header: &header, body };
        let response = brokers::respond(&request, &LinkedPolicy { settings: &settings, now: NOW, log: &log });
        (response, reported.into_inner())
    }

    fn send(&self) -> (HttpResponse, Vec<String>) {
        self.send_with(&[])
    }
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

fn login(password: &str) -> String {
    format!(r#"{{"client_id":"{CLIENT_ID}","username":"{USERNAME}","password":"{password}"}}"#)
}

fn good() -> String {
    login(&Key::new(None, KEY.as_bytes()).sign(CLIENT_ID, USERNAME))
}

fn post<'a>(target: &'a str, body: &'a str) -> TestRequest<'a> {
    TestRequest { method: "POST", target, headers: JSON, body: Ok(body) }
}

#[test]
fn authenticates_and_reports_denied_logins() {
    let (response, reported) = post("/mqtt/auth", &good()).send();
    assert_eq!((response.status, &*response.body), (200, r#"{"result":"allow"}"#));
    assert_eq!((response.headers, reported.len()), (vec![("content-type", "application/json")], 0));
    let (response, reported) = post("/mqtt/auth", &login("wrong")).send();
    assert_eq!((response.status, &*response.body), (401, r#"{"result":"deny"}"#));
    assert_eq!(reported, [format!("bad-user-name-or-password {CLIENT_ID}")]);
    let (response, _) = post("/emqx/auth", &login("wrong")).send();
    assert_eq!((response.status, &*response.body), (200, r#"{"result":"deny"}"#));
}

#[test]
fn allow_reply_contains_the_grant() {
    let settings = [("session-seconds", "60"), ("publish-topics", "up/{mac}")];
    let (response, _) = post("/emqx/auth", &good()).send_with(&settings);
    assert!(response.body.contains(r#""expire_at":1800000060"#) && response.body.contains("up/AA_BB_CC_DD_EE_FF"));
}

#[test]
fn authorizes_by_the_topics_of_the_grant() {
    let ask = |topic: &str| {
        let body = format!(r#"{{"client_id":"{CLIENT_ID}","topic":"{topic}","action":"publish"}}"#);
        let with = post("/mqtt/acl", &body).send_with(&[("publish-topics", "up/{mac}")]);
        (with.0.status, post("/mqtt/acl", &body).send())
    };
    assert_eq!((ask("up/AA_BB_CC_DD_EE_FF").0, ask("up/x").0), (200, 401));
    let (_, (response, reported)) = ask("up/x");
    assert_eq!((response.status, reported), (401, vec!["no-fallback-rules".to_owned()]));
    let (response, _) =
        TestRequest { method: "GET", target: "/mosquitto/superuser?username=x", headers: &[], body: Ok("") }.send();
    assert_ne!(response.status, 200);
}

#[test]
fn rejects_and_reports_malformed_requests() {
    let (response, reported) = post("/mqtt/auth", "{}").send();
    assert_eq!((response.status, reported), (400, vec!["empty".to_owned()]));
    let (response, _) = TestRequest { method: "DELETE", target: "/rabbitmq/user", headers: &[], body: Ok("") }.send();
    assert_eq!(response.status, 200);
    let (response, _) = TestRequest { method: "DELETE", target: "/mqtt/acl", headers: &[], body: Ok("") }.send();
    assert!(response.status == 405 && response.headers.contains(&("allow", "GET, POST")));
    let too_large = TestRequest {
        method: "POST",
        target: "/mqtt/auth",
        headers: JSON,
        body: Err(RequestError::TooLarge { limit: 9 }),
    };
    assert_eq!(too_large.send().0.status, 413);
}

#[test]
fn serves_the_status_page_and_cross_origin_requests() {
    let status_page =
        |method| TestRequest { method, target: "/mqtt/auth", headers: &[("user-agent", "x")], body: Ok("") }.send().0;
    assert!(status_page("GET").status == 200 && status_page("GET").body.contains("as a filter in Envoy"));
    assert!(status_page("OPTIONS").status == 204 && status_page("OPTIONS").body.is_empty());
    assert!(
        CORS_HEADERS.iter().all(
            |header| status_page("GET").headers.contains(header) && status_page("OPTIONS").headers.contains(header)
        )
    );
    let headers = [JSON[0], ("origin", "http://page")];
    let (response, _) =
        TestRequest { method: "POST", target: "/mqtt/auth", headers: &headers, body: Ok(&good()) }.send();
    assert!(response.status == 200 && CORS_HEADERS.iter().all(|header| response.headers.contains(header)));
}

#[test]
fn unmatched_paths_get_404() {
    let (response, reported) = post("/", &good()).send();
    assert!(response.status == 404 && response.body.contains("/emqx/auth"));
    assert_eq!(reported, ["no-such-route"]);
    let (response, reported) = post("/api/emqx/auth", &good()).send();
    assert_eq!((response.status, reported.len()), (404, 1));
}
