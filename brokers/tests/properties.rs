//! For any request and any outcome, no broker reads a reply as more than it is.

use brokers::{Access, AuthRequest, Grant, Method, Outcome, Reply, RequestError, Route};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::broker_models::{self as models, Reading, Seen};
use crate::generators::{Sent, VALID, Verdict, any_grant, any_request, any_verdict};
use crate::read;

/// Requests and outcomes that are tried on every route.
const CASES: u32 = 20_000;

pub(crate) const NOW: u64 = 1_760_000_000;

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

/// What the host makes of a request and the verdict on it, and whether that is leave to let in or to pass on.
fn answer(route: Route, sent: &Sent, verdict: Verdict) -> (Reply, Verdict) {
    let headers: Vec<_> = sent.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let asked = match read(route, sent.method, sent.query.as_deref(), &headers, &sent.body) {
        Ok(asked) => asked,
        Err(problem) => return (route.render(Outcome::Malformed(&problem)), Verdict::Fault),
    };
    match (asked.request, verdict) {
        (AuthRequest::AlwaysDeny, _) | (_, Verdict::Deny) => (route.render(Outcome::Deny), Verdict::Deny),
        (_, Verdict::Ignore) => (route.render(Outcome::Ignore), Verdict::Ignore),
        (_, Verdict::Fault) => (route.render(Outcome::Error), Verdict::Fault),
        (AuthRequest::Authenticate(_), Verdict::Allow(grant)) => match route.allow_login(&grant, NOW) {
            Ok(admission) => (route.render(Outcome::Allow(admission)), Verdict::Allow(grant)),
            Err(_) => (route.render(Outcome::Error), Verdict::Fault),
        },
        (AuthRequest::Authorize(_), Verdict::Allow(grant)) => {
            (route.render(Outcome::Allow(route.allow_action())), Verdict::Allow(grant))
        }
    }
}

fn is_as_meant(route: Route, reply: &Reply, verdict: &Verdict) -> Result<(), TestCaseError> {
    let seen = Seen { status: reply.status, content_type: Some(reply.content_type), body: &reply.body };
    for (broker, reading) in readings(route, &seen) {
        let meant = match verdict {
            Verdict::Allow(_) => reading == Reading::Allowed,
            Verdict::Ignore if route.supports_ignore() => reading == Reading::PassedOn,
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
        let Ok(admission) = Route::EmqxAuth.allow_login(&grant, NOW) else { return Ok(()) };
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
        RequestError::Method,
        RequestError::Route,
        RequestError::InvalidHttp,
        RequestError::TooLarge { limit: 1 },
        RequestError::TooManyFields { limit: 1 },
        RequestError::TooSlow,
        RequestError::Truncated,
        RequestError::ContentType,
        RequestError::JsonAsForm,
        RequestError::NotJson,
        RequestError::NotAnObject,
        RequestError::Empty,
        RequestError::Missing("client_id"),
        RequestError::NotText("password"),
        RequestError::NotAnArray("topics"),
        RequestError::NotUtf8("username"),
        RequestError::Duplicate("client_id"),
        RequestError::InvalidValue("action"),
        RequestError::UnresolvedPlaceholder("topic"),
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
