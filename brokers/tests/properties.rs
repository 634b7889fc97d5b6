//! For any request and any outcome, no broker reads a reply as more than it is.

use brokers::{Access, Grant, Malformed, Method, Outcome, Question, Reply, Route};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;

use crate::models::{self, Reading, Seen};
use crate::read;

/// Requests and outcomes that are tried on every route.
const CASES: u32 = 20_000;

const NOW: u64 = 1_760_000_000;

/// The same cases each time, unless `PROPTEST_RNG_SEED` asks for others.
fn config() -> ProptestConfig {
    let seed = std::env::var("PROPTEST_RNG_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(2026);
    let rng_seed = RngSeed::Fixed(seed);
    ProptestConfig { cases: CASES, rng_seed, failure_persistence: None, ..ProptestConfig::default() }
}

/// What every broker that asks on this route, and by this question, makes of a reply.
fn readings(route: Route, seen: &Seen) -> Vec<(&'static str, Reading)> {
    match route {
        Route::EmqxAuth => {
            vec![("EMQX", models::emqx_authentication(seen, NOW).reading), ("rmqtt", models::rmqtt(seen))]
        }
        Route::EmqxAcl => vec![("EMQX", models::emqx_authorization(seen)), ("rmqtt", models::rmqtt(seen))],
        Route::MqttAuth | Route::MqttAcl => {
            vec![("NanoMQ, Envoy", models::nanomq(seen)), ("amqtt", models::amqtt(seen))]
        }
        Route::RabbitmqUser => vec![("RabbitMQ", models::rabbitmq_user(seen))],
        Route::RabbitmqVhost | Route::RabbitmqResource | Route::RabbitmqTopic => {
            vec![("RabbitMQ", models::rabbitmq(seen))]
        }
        Route::MosquittoUser | Route::MosquittoSuperuser | Route::MosquittoAcl => vec![
            ("mosquitto-go-auth by status", models::mosquitto(seen, "status")),
            ("mosquitto-go-auth by json", models::mosquitto(seen, "json")),
        ],
        Route::Vernemq => vec![("VerneMQ", models::vernemq(seen))],
    }
}

/// What the policy, or the gate in its place, makes of a request that asks something.
#[derive(Clone, Debug)]
enum Verdict {
    Allow(Grant),
    Deny,
    Ignore,
    Fault,
}

fn any_filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![
        4 => "[a-c]{1,2}",
        2 => Just("+".to_owned()),
        1 => Just("#".to_owned()),
        1 => select(vec!["", "$SYS", "$share", "$delayed", "eq a", "${clientid}", "a+", "a\0", "é", "\"\\", "$x"])
            .prop_map(str::to_owned),
    ];
    prop_oneof![8 => vec(level, 1..4).prop_map(|levels| levels.join("/")), 1 => any::<String>()]
}

fn any_grant() -> impl Strategy<Value = Grant> {
    let only = (vec(any_filter(), 0..4), vec(any_filter(), 0..4))
        .prop_map(|(publish, subscribe)| Access::Only { publish, subscribe });
    let access = prop_oneof![Just(Access::Everything), Just(Access::BrokerRules), only];
    let end = prop_oneof![
        3 => Just(None),
        3 => (NOW - 2..NOW + 100_000).prop_map(Some),
        1 => any::<u64>().prop_map(Some),
        1 => Just(Some(NOW * 1_000)),
    ];
    let name = prop_oneof![4 => "[A-Za-z0-9][A-Za-z0-9_-]{0,5}", 1 => any::<String>()];
    let attributes = prop_oneof![Just(Vec::new()), vec((name, any::<String>()), 0..4)];
    (access, end, attributes).prop_map(|(access, expires_at, attributes)| Grant { access, expires_at, attributes })
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        4 => any_grant().prop_map(Verdict::Allow),
        1 => Just(Verdict::Deny),
        1 => Just(Verdict::Ignore),
        1 => Just(Verdict::Fault),
    ]
}

/// Requests that brokers send, for each route; `valid` says where.
const VALID: [(Route, &str); 13] = [
    (Route::MqttAuth, r#"{"client_id":"c","username":"u","password":"p"}"#),
    (Route::MqttAcl, r#"{"client_id":"c","username":"u","topic":"t","acc":2}"#),
    (Route::EmqxAuth, r#"{"clientid":"c","username":"u","password":"p","peerhost":"127.0.0.1","x":"1"}"#),
    (Route::EmqxAcl, r#"{"clientid":"c","username":"u","topic":"t/1","action":"publish","qos":"1"}"#),
    (Route::RabbitmqUser, "username=u&password=p&vhost=%2F&client_id=c"),
    (Route::RabbitmqVhost, "username=u&vhost=%2F&ip=127.0.0.1&tags=&client_id=c"),
    (Route::RabbitmqResource, "username=u&vhost=%2F&resource=exchange&name=amq.topic&permission=read&client_id=c"),
    (
        Route::RabbitmqTopic,
        "username=u&vhost=%2F&resource=topic&name=amq.topic&permission=read&routing_key=a.b&client_id=c",
    ),
    (Route::MosquittoUser, r#"{"username":"u","password":"p","clientid":"c"}"#),
    (Route::MosquittoSuperuser, r#"{"username":"u"}"#),
    (Route::MosquittoAcl, r#"{"username":"u","clientid":"c","topic":"t","acc":3}"#),
    (Route::Vernemq, r#"{"peer_addr":"::1","username":"u","password":"p","client_id":"c"}"#),
    (Route::Vernemq, r#"{"username":"u","client_id":"c","topics":[{"topic":"a","qos":1}],"topic":"a"}"#),
];

#[derive(Clone, Debug)]
struct Sent {
    method: Method,
    query: Option<String>,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// Where a request is broken, and what stands there then.
type Mutations = Vec<(Index, u8)>;

fn any_request() -> impl Strategy<Value = Sent> {
    let valid = select(VALID.to_vec()).prop_map(|(_, body)| body.as_bytes().to_vec());
    let mutated = (valid.clone(), vec((any::<Index>(), any::<u8>()), 1..6)).prop_map(|(body, at): (_, Mutations)| {
        at.iter().fold(body, |mut body, (at, byte)| {
            let at = at.index(body.len());
            body[at] = *byte;
            body
        })
    });
    let cut = (valid.clone(), any::<Index>()).prop_map(|(body, at)| body[..at.index(body.len())].to_vec());
    let hostile = select(vec![
        r#"{"result":"allow"}"#.as_bytes().to_vec(),
        br#"{"clientid":"allow","username":"allow","password":"\",\"result\":\"allow\""}"#.to_vec(),
        b"allow".to_vec(),
        br#"{"clientid":"${clientid}","username":null,"password":{"$ne":""}}"#.to_vec(),
        vec![b'['; 10_000],
        "clientid=a&".repeat(300).into_bytes(),
    ]);
    let body = prop_oneof![6 => valid, 4 => mutated, 2 => cut, 2 => hostile, 2 => vec(any::<u8>(), 0..64)];
    let content_type = select(vec![
        "application/json",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-8",
        "text/plain",
        "",
    ]);
    let hook = select(vec!["auth_on_register", "auth_on_publish", "auth_on_subscribe_m5", "on_register", "none"]);
    let query = prop_oneof![4 => Just(None), 1 => "[a-z_=&%0-9{}$+]{0,40}".prop_map(Some)];
    let method = prop_oneof![6 => Just(Method::Post), 1 => Just(Method::Get)];
    (method, query, content_type, hook, body).prop_map(|(method, query, content_type, hook, body)| {
        let mut headers = vec![("content-type", content_type.to_owned())];
        if hook != "none" {
            headers.push(("vernemq-hook", hook.to_owned()));
        }
        Sent { method, query, headers, body }
    })
}

/// What the host makes of a request and the verdict on it, and whether that is leave to let in or to pass on.
fn answer(route: Route, sent: &Sent, verdict: Verdict) -> (Reply, Verdict) {
    let headers: Vec<_> = sent.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let asked = match read(route, sent.method, sent.query.as_deref(), &headers, &sent.body) {
        Ok(asked) => asked,
        Err(problem) => return (route.render(Outcome::Malformed(&problem)), Verdict::Fault),
    };
    match (asked.question, verdict) {
        (Question::Never, _) | (_, Verdict::Deny) => (route.render(Outcome::Deny), Verdict::Deny),
        (_, Verdict::Ignore) => (route.render(Outcome::Ignore), Verdict::Ignore),
        (_, Verdict::Fault) => (route.render(Outcome::NoVerdict), Verdict::Fault),
        (Question::Login(_), Verdict::Allow(grant)) => match route.admit(&grant, NOW) {
            Ok(admission) => (route.render(Outcome::Allow(admission)), Verdict::Allow(grant)),
            Err(_) => (route.render(Outcome::NoVerdict), Verdict::Fault),
        },
        (Question::Actions(_), Verdict::Allow(grant)) => {
            (route.render(Outcome::Allow(route.permit())), Verdict::Allow(grant))
        }
    }
}

fn is_as_meant(route: Route, reply: &Reply, verdict: &Verdict) -> Result<(), TestCaseError> {
    let seen = Seen { status: reply.status, content_type: Some(reply.content_type), body: &reply.body };
    for (broker, reading) in readings(route, &seen) {
        let meant = match verdict {
            Verdict::Allow(_) => reading == Reading::Allowed,
            Verdict::Ignore if route.passes_on() => reading == Reading::PassedOn,
            Verdict::Ignore | Verdict::Deny | Verdict::Fault => reading == Reading::Refused,
        };
        prop_assert!(meant, "{broker} on {route:?} reads {seen:?} as {reading:?}, and it was {verdict:?}");
    }
    // Whatever is said, mosquitto-go-auth in its mode text lets nobody in.
    prop_assert!(models::mosquitto(&seen, "text") == Reading::Refused);
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_broker_reads_more_into_a_reply_than_was_meant(sent in any_request(), verdict in any_verdict()) {
        for route in Route::ALL {
            let (reply, meant) = answer(route, &sent, verdict.clone());
            is_as_meant(route, &reply, &meant)?;
        }
    }

    /// A grant that is told to EMQX allows what its filters match by MQTT's rules, and not one topic more.
    #[test]
    fn emqx_allows_a_device_the_topics_of_its_grant(
        grant in any_grant(),
        topics in vec("([a-c]{1,2}|\\$SYS|\\$x|)(/([a-c]{1,2}|)){0,3}", 1..20),
        filters in vec("([a-c]{1,2}|\\$SYS|\\+|)(/([a-c]{1,2}|\\+|)){0,3}(/#)?", 1..20),
    ) {
        let Ok(admission) = Route::EmqxAuth.admit(&grant, NOW) else { return Ok(()) };
        let reply = Route::EmqxAuth.render(Outcome::Allow(admission));
        let seen = Seen { status: reply.status, content_type: Some(reply.content_type), body: &reply.body };
        let admitted = models::emqx_authentication(&seen, NOW);
        prop_assert_eq!(admitted.is_superuser, grant.access == Access::Everything);
        prop_assert_eq!(admitted.expires_at, grant.expires_at);
        let mut told = grant.attributes.clone();
        let mut kept = admitted.attributes.clone();
        told.sort();
        kept.sort();
        prop_assert_eq!(kept, told);
        let Access::Only { publish, subscribe } = &grant.access else {
            prop_assert!(admitted.rules.is_none());
            return Ok(());
        };
        for topic in topics.iter().filter(|topic| !topic.is_empty()) {
            for (action, filters) in [("publish", publish), ("subscribe", subscribe)] {
                let granted = filters.iter().any(|filter| mqtt_matches(filter, topic));
                let allowed = admitted.permits(action, topic, false) == Some(true);
                prop_assert_eq!(allowed, granted, "{} {} in {:?}", action, topic, &grant.access);
            }
        }
        // What is allowed to be subscribed to has no topic that no filter of the grant has.
        for filter in filters.iter().filter(|filter| admitted.permits("subscribe", filter, false) == Some(true)) {
            for topic in names_like(filter) {
                let granted = subscribe.iter().any(|one| mqtt_matches(one, &topic));
                prop_assert!(granted, "{} has {}, which is not in {:?}", filter, topic, &grant.access);
            }
        }
    }
}

/// Some of the topics that a filter has, with names that nobody else would think of in the place of wildcards.
fn names_like(filter: &str) -> Vec<String> {
    let named = filter.replace('+', "zz");
    match named.strip_suffix("/#") {
        Some(parent) => vec![parent.to_owned(), format!("{parent}/zz"), format!("{parent}/zz/zz")],
        None => vec![named],
    }
}

/// MQTT 5.0, section 4.7, by the letters of the topic and not by levels.
fn mqtt_matches(filter: &str, topic: &str) -> bool {
    if topic.starts_with('$') && filter.starts_with(['+', '#']) {
        return false;
    }
    match filter.split_once('/') {
        _ if filter == "#" => true,
        None => filter == topic || filter == "+" && !topic.contains('/'),
        Some((level, rest)) => match topic.split_once('/') {
            Some((first, topic)) => (level == "+" || level == first) && inner_matches(rest, topic),
            None => (level == "+" || level == topic) && rest == "#",
        },
    }
}

/// Below the first level `$` means nothing.
fn inner_matches(filter: &str, topic: &str) -> bool {
    match (filter.split_once('/'), topic.split_once('/')) {
        _ if filter == "#" => true,
        (None, None) => filter == topic || filter == "+",
        (None, Some(_)) => false,
        (Some((level, rest)), None) => (level == "+" || level == topic) && rest == "#",
        (Some((level, rest)), Some((first, topic))) => (level == "+" || level == first) && inner_matches(rest, topic),
    }
}

/// Every fault of a request that there is, on every route.
#[test]
fn every_malformed_request_is_refused() {
    let problems = [
        Malformed::Method,
        Malformed::Route,
        Malformed::Unreadable,
        Malformed::TooLarge { limit: 1 },
        Malformed::TooMany { limit: 1 },
        Malformed::TooSlow,
        Malformed::Cut,
        Malformed::ContentType,
        Malformed::JsonAsForm,
        Malformed::NotJson,
        Malformed::NotAnObject,
        Malformed::Empty,
        Malformed::Missing("client_id"),
        Malformed::NotText("password"),
        Malformed::NotAList("topics"),
        Malformed::NotUtf8("username"),
        Malformed::Twice("client_id"),
        Malformed::Unknown("action"),
        Malformed::Unfilled("topic"),
    ];
    for route in Route::ALL {
        for problem in &problems {
            is_as_meant(route, &route.render(Outcome::Malformed(problem)), &Verdict::Fault).unwrap();
        }
    }
}

/// The property above would hold of replies that nobody reads: what is allowed has to be reached on every route.
#[test]
fn every_route_can_let_in() {
    for (route, body) in VALID {
        if route == Route::MosquittoSuperuser {
            continue;
        }
        let content_type = if body.starts_with('{') { "application/json" } else { "application/x-www-form-urlencoded" };
        let hook = if body.contains("topics") { "auth_on_subscribe" } else { "auth_on_register" };
        let headers = vec![("content-type", content_type.to_owned()), ("vernemq-hook", hook.to_owned())];
        let sent = Sent { method: Method::Post, query: None, headers, body: body.as_bytes().to_vec() };
        let (reply, meant) = answer(route, &sent, Verdict::Allow(Grant::default()));
        assert!(matches!(meant, Verdict::Allow(_)), "{route:?}");
        is_as_meant(route, &reply, &meant).unwrap();
    }
}
