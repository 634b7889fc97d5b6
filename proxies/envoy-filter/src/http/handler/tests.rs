use auth_core::signature::Key;
use brokers::Head;

use super::*;

const KEY: &str = "a key of more than 16 bytes";
const CLIENT_ID: &str = "GID_test@@@AA_BB_CC_DD_EE_FF@@@1";
const USERNAME: &str = "eyJpcCI6IjEifQ==";
const NOW: UnixTime = UnixTime(1_800_000_000);

/// What is asked, as a broker or a person would.
struct Sent<'a> {
    method: &'a str,
    target: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: Result<&'a str, Malformed>,
}

impl Sent<'_> {
    /// The answer, and the kinds of the notes, under these settings beside the key.
    fn answer_with(&self, settings: &[(&str, &str)]) -> (Answer, Vec<String>) {
        let get = |name: &str| settings.iter().chain(&[("signature-keys", KEY)]).find(|(known, _)| *known == name);
        let settings = Settings::read(|name| get(name).map(|(_, value)| (*value).to_owned())).unwrap();
        let (path, query) =
            self.target.split_once('?').map_or((self.target, None), |(path, query)| (path, Some(query)));
        let has_body = self.body != Ok("");
        let head = Head { method: self.method, path, has_query: query.is_some(), has_body };
        let errand = Errand::of(&head, self.headers.iter().map(|(name, _)| *name));
        let header = |name: &str| self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let body = self.body.clone().map(str::as_bytes);
        let mut noted = Vec::new();
        let mut notes = |_, note: Note| {
            noted.push(match note {
                Note::Refused(client_id, reason) => format!("{reason} {client_id}"),
                Note::Unfit(_, fault) => fault.to_string(),
                Note::Malformed(problem) => problem.kind().to_owned(),
                Note::Mistake(mistake) => mistake.kind().to_owned(),
            });
        };
        let answer =
            answer(&Arrived { errand, method: self.method, query, header: &header, body }, &settings, NOW, &mut notes);
        (answer, noted)
    }

    fn answer(&self) -> (Answer, Vec<String>) {
        self.answer_with(&[])
    }
}

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

fn login(password: &str) -> String {
    format!(r#"{{"client_id":"{CLIENT_ID}","username":"{USERNAME}","password":"{password}"}}"#)
}

fn good() -> String {
    login(&Key::new(None, KEY.as_bytes()).sign(CLIENT_ID, USERNAME))
}

fn post<'a>(target: &'a str, body: &'a str) -> Sent<'a> {
    Sent { method: "POST", target, headers: JSON, body: Ok(body) }
}

#[test]
fn a_login_is_judged_and_a_refusal_noted() {
    let (answer, noted) = post("/mqtt/auth", &good()).answer();
    assert_eq!((answer.status, &*answer.body), (200, r#"{"result":"allow"}"#));
    assert_eq!((answer.headers, noted.len()), (vec![("content-type", "application/json")], 0));
    let (answer, noted) = post("/mqtt/auth", &login("wrong")).answer();
    assert_eq!((answer.status, &*answer.body), (401, r#"{"result":"deny"}"#));
    assert_eq!(noted, [format!("bad-user-name-or-password {CLIENT_ID}")]);
    let (answer, _) = post("/emqx/auth", &login("wrong")).answer();
    assert_eq!((answer.status, &*answer.body), (200, r#"{"result":"deny"}"#));
}

#[test]
fn a_grant_is_told() {
    let settings = [("session-seconds", "60"), ("publish-topics", "up/{mac}")];
    let (answer, _) = post("/emqx/auth", &good()).answer_with(&settings);
    assert!(answer.body.contains(r#""expire_at":1800000060"#) && answer.body.contains("up/AA_BB_CC_DD_EE_FF"));
}

#[test]
fn an_action_is_judged_by_the_topics_of_the_grant() {
    let ask = |topic: &str| {
        let body = format!(r#"{{"client_id":"{CLIENT_ID}","topic":"{topic}","action":"publish"}}"#);
        let with = post("/mqtt/acl", &body).answer_with(&[("publish-topics", "up/{mac}")]);
        (with.0.status, post("/mqtt/acl", &body).answer())
    };
    assert_eq!((ask("up/AA_BB_CC_DD_EE_FF").0, ask("up/x").0), (200, 401));
    let (_, (answer, noted)) = ask("up/x");
    assert_eq!((answer.status, noted), (401, vec!["nobody-decides".to_owned()]));
    let (answer, _) =
        Sent { method: "GET", target: "/mosquitto/superuser?username=x", headers: &[], body: Ok("") }.answer();
    assert_ne!(answer.status, 200);
}

#[test]
fn what_asks_nothing_is_refused_and_noted() {
    let (answer, noted) = post("/mqtt/auth", "{}").answer();
    assert_eq!((answer.status, noted), (400, vec!["empty".to_owned()]));
    let (answer, _) = Sent { method: "DELETE", target: "/rabbitmq/user", headers: &[], body: Ok("") }.answer();
    assert_eq!(answer.status, 200);
    let (answer, _) = Sent { method: "DELETE", target: "/mqtt/acl", headers: &[], body: Ok("") }.answer();
    assert!(answer.status == 405 && answer.headers.contains(&("allow", "GET, POST")));
    let too_large =
        Sent { method: "POST", target: "/mqtt/auth", headers: JSON, body: Err(Malformed::TooLarge { limit: 9 }) };
    assert_eq!(too_large.answer().0.status, 413);
}

#[test]
fn people_and_pages_are_answered_too() {
    let look = |method| Sent { method, target: "/mqtt/auth", headers: &[("user-agent", "x")], body: Ok("") }.answer().0;
    assert!(look("GET").status == 200 && look("GET").body.contains("as a filter in Envoy"));
    assert!(look("OPTIONS").status == 204 && look("OPTIONS").body.is_empty());
    assert!(
        CROSS_ORIGIN
            .iter()
            .all(|header| look("GET").headers.contains(header) && look("OPTIONS").headers.contains(header))
    );
    let headers = [JSON[0], ("origin", "http://page")];
    let (answer, _) = Sent { method: "POST", target: "/mqtt/auth", headers: &headers, body: Ok(&good()) }.answer();
    assert!(answer.status == 200 && CROSS_ORIGIN.iter().all(|header| answer.headers.contains(header)));
}

#[test]
fn what_misses_the_routes_is_told_them_but_for_what_may_come_from_emqx() {
    let (answer, noted) = post("/", &good()).answer();
    assert!(answer.status == 404 && answer.body.contains("/emqx/auth"));
    assert_eq!(noted, ["no-such-route"]);
    let (answer, noted) = post("/api/emqx/auth", &good()).answer();
    assert_eq!((answer.status, noted.len()), (200, 1));
    assert!(answer.body.contains(r#""result":"deny""#));
}
