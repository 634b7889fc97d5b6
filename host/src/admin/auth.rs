//! Authentication of operators: a bearer token, or the same token as a password.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use axum::middleware::{Next, from_fn};
use axum::response::{AppendHeaders, IntoResponse, Response};

use crate::security::{AuthError, SecretVerifier, presented};
use crate::util::log_throttle::LogThrottle;

/// Routes for probes, which have no token. They reveal only whether the gate is alive and ready.
const PUBLIC_PATHS: [&str; 2] = ["/livez", "/readyz"];

/// `Bearer` for programs. `Basic` lets a browser ask its user.
const CHALLENGES: [&str; 2] = ["Bearer realm=\"mqtt-gate\"", "Basic realm=\"mqtt-gate\", charset=\"UTF-8\""];

/// Delay of the answer to a wrong token. With the limit of connections it bounds the guesses to some hundred a second.
/// Right tokens are never delayed.
const WRONG_TOKEN_DELAY: Duration = Duration::from_secs(1);

/// Counts and logs denied requests.
#[derive(Default)]
pub(crate) struct Denials {
    wrong_tokens: AtomicU64,
    throttle: Mutex<LogThrottle>,
}

impl Denials {
    /// Requests with a wrong token.
    pub(crate) fn wrong_tokens(&self) -> u64 {
        self.wrong_tokens.load(Relaxed)
    }

    fn record(&self, error: AuthError, now: Instant) {
        // A browser asks without a token first.
        if error == AuthError::Missing {
            return;
        }
        let wrong_tokens = self.wrong_tokens.fetch_add(1, Relaxed) + 1;
        if self.throttle.lock().unwrap_or_else(PoisonError::into_inner).should_log(now) {
            let hint = "find the client that uses an old token, or close the admin address to others";
            tracing::warn!(wrong_tokens, hint, "admin request with wrong token");
        }
    }
}

/// Whether a request needs no token.
pub(super) fn is_public(request: &Request) -> bool {
    PUBLIC_PATHS.contains(&request.uri().path())
}

/// Requires the token on all routes except the public ones. Without a configured token the routes stay open.
pub(super) fn require_token(routes: Router, verifier: SecretVerifier, denials: Arc<Denials>) -> Router {
    if !verifier.is_enabled() {
        return routes;
    }
    routes.layer(from_fn(move |request: Request, next: Next| {
        let (verifier, denials) = (verifier.clone(), Arc::clone(&denials));
        async move {
            if is_public(&request) {
                return next.run(request).await;
            }
            let authorization = request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes);
            match verifier.verify(|| authorization.and_then(presented::in_authorization)) {
                Ok(()) => next.run(request).await,
                Err(error) => {
                    denials.record(error, Instant::now());
                    if error == AuthError::Invalid {
                        tokio::time::sleep(WRONG_TOKEN_DELAY).await;
                    }
                    unauthorized()
                }
            }
        }
    }))
}

fn unauthorized() -> Response {
    let challenges = CHALLENGES.map(|challenge| (WWW_AUTHENTICATE, HeaderValue::from_static(challenge)));
    let text = "unauthorized: send the token of access.admin_token as a bearer token or as a password\n";
    (StatusCode::UNAUTHORIZED, AppendHeaders(challenges), text).into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::routing;
    use tower::ServiceExt;

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    async fn status(verifier: SecretVerifier, path: &str, authorization: Option<&str>) -> StatusCode {
        let routes =
            Router::new().route("/livez", routing::get(|| async {})).route("/status", routing::get(|| async {}));
        let mut request = Request::get(path);
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let request = request.body(Body::empty()).unwrap();
        require_token(routes, verifier, Arc::default()).oneshot(request).await.unwrap().status()
    }

    #[tokio::test]
    async fn probes_need_no_token_and_everything_else_does() {
        let verifier = SecretVerifier::of(TOKEN);
        assert_eq!(status(verifier.clone(), "/livez", None).await, StatusCode::OK);
        // Unknown paths must not be told apart from known ones.
        for path in ["/status", "/nowhere", "/livez/"] {
            assert_eq!(status(verifier.clone(), path, None).await, StatusCode::UNAUTHORIZED, "{path}");
        }
        let bearer = format!("Bearer {TOKEN}");
        assert_eq!(status(verifier.clone(), "/status", Some(&bearer)).await, StatusCode::OK);
        assert_eq!(status(verifier.clone(), "/nowhere", Some(&bearer)).await, StatusCode::NOT_FOUND);
        assert_eq!(status(SecretVerifier::default(), "/status", None).await, StatusCode::OK);
    }

    #[test]
    fn a_client_is_told_how_to_authenticate() {
        let response = unauthorized();
        let challenges: Vec<_> = response.headers().get_all(WWW_AUTHENTICATE).iter().collect();
        assert_eq!((response.status(), challenges.len()), (StatusCode::UNAUTHORIZED, 2));
    }

    #[test]
    fn wrong_tokens_are_counted_and_missing_ones_are_not() {
        let denials = Denials::default();
        for error in [AuthError::Invalid, AuthError::Missing, AuthError::Invalid] {
            denials.record(error, Instant::now());
        }
        assert_eq!(denials.wrong_tokens(), 2);
    }
}
