//! The routes that brokers ask on, and the one line where every fault becomes a refusal.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use brokers::{Errand, Head, Malformed, Mistake, Outcome, Question, Reply, Route};
use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::body::{Body as _, Incoming};
use tower::ServiceExt;

use crate::security::secret::{Guard, Stranger};
use crate::http::body;
use crate::decision::outcome::{Case, Ruled};
use crate::config::Limits;
use crate::decision::{Asked, Decision};
use crate::telemetry::decision_log::DecisionLog;
use crate::telemetry::config_warnings::Findings;
use crate::decision::evaluate::{By, Judge, Judged};
use crate::telemetry::counters::Tally;
use crate::telemetry::otel::Traces;

type Answer = Response<Either<Full<Bytes>, axum::body::Body>>;

/// Who is told what came of each request.
#[derive(Clone, Default)]
pub(crate) struct Told {
    pub(crate) tally: Arc<Tally>,
    pub(crate) findings: Arc<Findings>,
    /// If there is one.
    pub(crate) decisions: Option<Arc<DecisionLog>>,
    /// If they are wanted.
    pub(crate) traces: Option<Arc<Traces>>,
}

impl Told {
    fn decided(&self, decision: &Decision) {
        self.tally.count(decision);
        if let Some(log) = &self.decisions {
            log.write(decision);
        }
        if let Some(traces) = &self.traces {
            traces.note(decision);
        }
    }
}

/// Answers brokers, as the judge says.
pub(crate) struct Questions<J> {
    judge: J,
    told: Told,
    limits: Limits,
    others: Router,
    guard: Guard,
}

impl<J: Judge> Questions<J> {
    /// `others` answers what is no question.
    pub(crate) fn new(judge: J, others: Router, told: Told, limits: Limits) -> Self {
        Self { judge, told, limits, others, guard: Guard::default() }
    }

    /// Answers whom this guard lets ask, and refuses all others.
    pub(crate) fn guarded_by(self, guard: Guard) -> Self {
        Self { guard, ..self }
    }

    /// Answers one request.
    pub(crate) async fn answer(&self, request: Request<Incoming>) -> Result<Answer, Infallible> {
        let (route, method) = match errand(&request) {
            Errand::Ask(route, method) => (route, method),
            Errand::Look => return self.answer_others(request).await,
            Errand::LikeEmqx => return Ok(self.answer_like_emqx(request).await),
            Errand::Elsewhere => return self.answer_elsewhere(request).await,
        };
        // A browser says which page asks; what brokers never look at costs them nothing.
        let by_page = route == Route::MqttAuth && request.headers().contains_key(header::ORIGIN);
        let reply = match self.read(route, method, request).await {
            Ok(asked) => {
                let now = SystemTime::now();
                asked.mistakes.iter().for_each(|mistake| self.told.findings.mistake(route, mistake, now));
                self.decide(route, asked.question, now).await
            }
            Err(problem) => self.turn_down(route, &problem),
        };
        let mut response = to_response(route, reply);
        if by_page {
            for (name, value) in brokers::CROSS_ORIGIN {
                response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
        }
        Ok(response)
    }

    /// Reads the request and what it asks.
    async fn read(
        &self,
        route: Route,
        method: Option<brokers::Method>,
        request: Request<Incoming>,
    ) -> Result<brokers::Asked, Malformed> {
        let (head, body) = request.into_parts();
        let body = self.read_body(body).await?;
        self.guard.check(head.headers.get(SECRET).map(HeaderValue::as_bytes)).map_err(|stranger| match stranger {
            Stranger::Silent => Malformed::NoSecret,
            Stranger::Wrong => Malformed::WrongSecret,
        })?;
        let method = method.ok_or(Malformed::Method)?;
        let header = |name: &str| text(&head.headers, name);
        route.read(&brokers::Request { method, query: head.uri.query(), header: &header, body: &body })
    }

    /// Reads a body, whatever is asked by it: others have requests behind it.
    async fn read_body(&self, body: Incoming) -> Result<Bytes, Malformed> {
        let limit = usize::try_from(self.limits.body.as_u64()).unwrap_or(usize::MAX);
        body::read(body, limit, self.limits.request).await
    }

    /// Puts a question to the judge.
    async fn decide(&self, route: Route, question: Question, at: SystemTime) -> Reply {
        let began = Instant::now();
        let client_id = question.client_id().to_owned();
        let case = |by: By| Case { route, client_id: &client_id, policy: by.digest };
        let (asked, by, answer) = match question {
            Question::Login(who) => {
                let Judged { by, answer } = self.judge.login(who).await;
                (Asked::Login, by, answer.and_then(|verdict| case(by).login(verdict, seconds(at))))
            }
            Question::Actions(what) => {
                let Judged { by, answer } = self.judge.actions(what).await;
                (Asked::Action, by, answer.map(|permission| case(by).action(permission)))
            }
            Question::Never => {
                self.told.tally.count_unasked(route);
                return route.render(Outcome::Deny);
            }
        };
        // The one place where a fault gets its answer: it is refused.
        let Ruled { outcome, ruling, key_id } = answer.unwrap_or_else(|fault| case(by).refuse_for(&fault));
        let (client_id, key_id, took) = (client_id.as_str(), key_id.as_deref(), began.elapsed());
        self.told.decided(&Decision { asked, route, client_id, ruling, by, key_id, at, took });
        if asked == Asked::Action && outcome == Outcome::Ignore && !route.passes_on() {
            self.told.findings.mistake(route, &Mistake::NobodyDecides, at);
        }
        route.render(outcome)
    }

    /// The answer to a request that cannot be read as HTTP, whole, if another one is needed than a status: what EMQX would
    /// take for *ignore*, a client could bring about by a user name that is too long for an address. What is left of the
    /// head tells where it was for, or else how the first request on this connection began: brokers have theirs to
    /// themselves.
    pub(crate) fn answer_unreadable(&self, head: &[u8], first: &[u8]) -> Option<Vec<u8>> {
        let is_like_emqx = |head: &[u8]| {
            let target = head.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
            Route::is_like_emqx(&String::from_utf8_lossy(target))
        };
        if !is_like_emqx(head) && !is_like_emqx(first) {
            self.note(ELSEWHERE, &Malformed::Unreadable);
            return None;
        }
        let Reply { content_type, body, .. } = self.turn_down(Route::EmqxAuth, &Malformed::Unreadable);
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        Some(answer.into_bytes())
    }

    fn turn_down(&self, route: Route, problem: &Malformed) -> Reply {
        self.note(route.path(), problem);
        route.render(Outcome::Malformed(problem))
    }

    /// Counts a request that asks nothing, and tells of it.
    fn note(&self, route: &'static str, problem: &Malformed) {
        self.told.tally.count_malformed();
        self.told.findings.malformed(route, problem, SystemTime::now());
    }

    async fn answer_like_emqx(&self, request: Request<Incoming>) -> Answer {
        let _ = self.read_body(request.into_body()).await;
        to_response(Route::EmqxAuth, self.turn_down(Route::EmqxAuth, &Malformed::Route))
    }

    /// Answers what is no route: a broker with a slip in its configuration, or somebody who looks around.
    async fn answer_elsewhere(&self, request: Request<Incoming>) -> Result<Answer, Infallible> {
        if request.method() == Method::POST {
            self.note(ELSEWHERE, &Malformed::Route);
        }
        self.answer_others(request).await
    }

    async fn answer_others(&self, request: Request<Incoming>) -> Result<Answer, Infallible> {
        let (head, body) = request.into_parts();
        let _ = self.read_body(body).await;
        let request = Request::from_parts(head, axum::body::Body::empty());
        Ok(self.others.clone().oneshot(request).await?.map(Either::Right))
    }
}

/// The header by which a broker shows the secret, if there is one.
const SECRET: &str = "x-mqtt-gate-secret";

/// What findings call every path that is no route.
const ELSEWHERE: &str = "(none)";

/// What a request comes for. The routes are matched by hand, because everything passes through here.
fn errand(request: &Request<Incoming>) -> Errand {
    let head = Head {
        method: request.method().as_str(),
        path: request.uri().path(),
        has_query: request.uri().query().is_some(),
        has_body: !request.body().is_end_stream(),
    };
    Errand::of(&head, request.headers().keys().map(HeaderName::as_str))
}

/// A header; the empty text if it is none.
fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or_default())
}

/// Seconds since 1970. A clock before that is at its beginning: every grant that ends seems to be in milliseconds then.
fn seconds(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn to_response(route: Route, reply: Reply) -> Answer {
    let body = match reply.body {
        std::borrow::Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
        std::borrow::Cow::Owned(text) => Bytes::from(text),
    };
    let mut response = Response::new(Either::Left(Full::new(body)));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    if reply.status == 405 {
        headers.insert(header::ALLOW, HeaderValue::from_static(route.methods()));
    }
    response
}
