//! Arbitrary requests and verdicts, for the properties.

use brokers::{Access, Grant, Method, Route};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::properties::NOW;

/// The verdict on a request.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
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

pub(crate) fn any_grant() -> impl Strategy<Value = Grant> {
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
    (access, end, attributes).prop_map(|(access, expires_at, attributes)| Grant {
        access,
        expires_at,
        attributes,
        extensions: Vec::new(),
    })
}

pub(crate) fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        4 => any_grant().prop_map(Verdict::Allow),
        1 => Just(Verdict::Deny),
        1 => Just(Verdict::Ignore),
        1 => Just(Verdict::Fault),
    ]
}

/// One valid request for each route, and for each hook of VerneMQ.
pub(crate) const VALID: [(Route, &str); 13] = [
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
pub(crate) struct Sent {
    pub(crate) method: Method,
    pub(crate) query: Option<String>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

/// Positions in a request, and the bytes that replace those there.
type Mutations = Vec<(Index, u8)>;

pub(crate) fn any_request() -> impl Strategy<Value = Sent> {
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
