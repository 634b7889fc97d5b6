//! Any request to any route of a policy that denies, fails or leaves it to others: the broker is never told *allow*.

#![no_main]

use std::borrow::Cow;

use arbitrary::Arbitrary;
use brokers::{
    Authorizer, AuthorizeRequest, Credentials, HttpRequest, HttpResponse, Permission, PolicyCall, RequestHead,
    RequestKind, Route, Routes, UnsupportedGrant, Verdict, header_text, respond, split_target,
};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

#[derive(Arbitrary, Debug)]
struct Fuzzed<'a> {
    policy: Answer,
    method: Method,
    target: Target<'a>,
    headers: Vec<(HeaderName, &'a [u8])>,
    body: &'a [u8],
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Answer {
    Deny,
    Fail,
    Ignore,
}

#[derive(Arbitrary, Debug)]
enum Method {
    Get,
    Post,
    Options,
    Put,
}

#[derive(Arbitrary, Debug)]
enum Target<'a> {
    Route { index: u8, query: &'a str },
    Any(&'a str),
}

#[derive(Arbitrary, Debug)]
enum HeaderName {
    ContentType,
    Origin,
    VernemqHook,
    Other,
}

impl HeaderName {
    fn text(&self) -> &'static str {
        match self {
            Self::ContentType => "content-type",
            Self::Origin => "origin",
            Self::VernemqHook => "vernemq-hook",
            Self::Other => "x-other",
        }
    }
}

impl PolicyCall for Answer {
    type Reason = ();
    type Error = Option<UnsupportedGrant>;

    fn authenticate(&self, _: Credentials) -> Result<Verdict<()>, Self::Error> {
        match self {
            Self::Deny => Ok(Verdict::Deny(())),
            Self::Fail => Err(None),
            Self::Ignore => Ok(Verdict::Ignore),
        }
    }

    fn authorize(&self, _: AuthorizeRequest) -> Result<Permission, Self::Error> {
        match self {
            Self::Deny => Ok(Permission::Deny),
            Self::Fail => Err(None),
            Self::Ignore => Ok(Permission::Ignore),
        }
    }

    fn authorizer(&self) -> Authorizer {
        Authorizer::exported(true)
    }

    fn now(&self) -> u64 {
        0
    }

    fn status_page(&self) -> (u16, Cow<'static, str>) {
        (200, "status".into())
    }
}

/// Whether a broker takes this for *allow*, as `docs/BROKERS.md` says.
fn is_allow(route: Route, response: &HttpResponse) -> bool {
    let is_success = (200..300).contains(&response.status);
    let result = || serde_json::from_str::<Value>(&response.body).ok().and_then(|body| body.get("result").cloned());
    match route.path().split('/').nth(1) {
        // EMQX leaves a success that says nothing else to its other authenticators, which may allow everybody.
        Some("emqx") => is_success && result().is_none_or(|result| result == "allow"),
        Some("rabbitmq") => is_success && response.body.trim_start().to_ascii_lowercase().starts_with("allow"),
        Some("vernemq") => is_success && result().is_some_and(|result| result == "ok"),
        _ => is_success,
    }
}

fuzz_target!(|fuzzed: Fuzzed| {
    let method = match fuzzed.method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Options => "OPTIONS",
        Method::Put => "PUT",
    };
    let target: String = match fuzzed.target {
        Target::Route { index, query } => {
            format!("{}?{query}", Route::ALL[usize::from(index) % Route::ALL.len()].path())
        }
        Target::Any(target) => target.to_owned(),
    };
    let (path, query) = split_target(&target);
    let head = RequestHead { method, path, has_query: query.is_some(), has_body: !fuzzed.body.is_empty() };
    let names = fuzzed.headers.iter().map(|(name, _)| name.text());
    let kind = RequestKind::of(&head, names, &Routes::default());
    let header = |wanted: &str| {
        fuzzed.headers.iter().find(|(name, _)| name.text() == wanted).map(|(_, value)| header_text(value))
    };
    let response = respond(&HttpRequest { kind, method, query, header: &header, body: Ok(fuzzed.body) }, &fuzzed.policy);
    if let RequestKind::Check(route, _) | RequestKind::Refused(route) = kind {
        let leaves_it = matches!(fuzzed.policy, Answer::Ignore);
        assert!(!is_allow(route, &response) || leaves_it, "{route:?}: {response:?}");
        if leaves_it && !route.supports_ignore() {
            assert!(!is_allow(route, &response), "{route:?}: {response:?}");
        }
    }
});
