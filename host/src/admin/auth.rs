//! Authentication of operators: a bearer token, or the same token as a password.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{AppendHeaders, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::security::{AuthError, SecretVerifier};
use crate::util::log_throttle::LogThrottle;

/// Routes for probes, which have no token. They reveal only whether the gate is alive and ready.
const PUBLIC_PATHS: [&str; 2] = ["/livez", "/readyz"];

/// `Bearer` for programs. `Basic` lets a browser ask its user.
const CHALLENGES: [&str; 2] = ["Bearer realm=\"mqtt-gate\"", "Basic realm=\"mqtt-gate\", charset=\"UTF-8\""];

/// Requires the token on all routes except the public ones. Without a configured token the routes stay open.
pub(crate) fn require_token(routes: Router, verifier: SecretVerifier) -> Router {
    if !verifier.is_enabled() {
        return routes;
    }
    let throttle = Arc::<Mutex<LogThrottle>>::default();
    routes.layer(from_fn(move |request: Request, next: Next| {
        let (verifier, throttle) = (verifier.clone(), Arc::clone(&throttle));
        async move {
            if PUBLIC_PATHS.contains(&request.uri().path()) {
                return next.run(request).await;
            }
            let token = presented_token(request.headers());
            match verifier.verify(token.as_deref().map(Vec::as_slice)) {
                Ok(()) => next.run(request).await,
                Err(error) => unauthorized(error, &throttle),
            }
        }
    }))
}

/// The token of a request: the credentials of `Bearer`, or the password of `Basic` with any user name.
fn presented_token(headers: &HeaderMap) -> Option<Zeroizing<Vec<u8>>> {
    let (scheme, credentials) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let credentials = credentials.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Zeroizing::new(credentials.as_bytes().to_vec()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let user_and_password = Zeroizing::new(STANDARD.decode(credentials).ok()?);
    let colon = user_and_password.iter().position(|&byte| byte == b':')?;
    Some(Zeroizing::new(user_and_password.get(colon + 1..)?.to_vec()))
}

fn unauthorized(error: AuthError, throttle: &Mutex<LogThrottle>) -> Response {
    if error == AuthError::Invalid && throttle.lock().unwrap_or_else(PoisonError::into_inner).should_log(Instant::now())
    {
        let hint = "find the client that uses an old token, or close the admin address to others";
        tracing::warn!(hint, "admin request with invalid token");
    }
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
        require_token(routes, verifier).oneshot(request).await.unwrap().status()
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
    fn a_token_is_a_bearer_token_or_the_password_of_any_user() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        for (value, token) in [
            (format!("Bearer {TOKEN}"), Some(TOKEN)),
            (format!("bearer  {TOKEN} "), Some(TOKEN)),
            (basic(&format!("me:{TOKEN}")), Some(TOKEN)),
            (basic(&format!(":{TOKEN}")), Some(TOKEN)),
            (basic("me:a:b"), Some("a:b")),
            (basic("no colon"), None),
            ("Basic *".to_owned(), None),
            (TOKEN.to_owned(), None),
            (format!("Digest {TOKEN}"), None),
        ] {
            let headers = HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(&value).unwrap())]);
            assert_eq!(presented_token(&headers).as_deref().map(Vec::as_slice), token.map(str::as_bytes), "{value}");
        }
        assert!(presented_token(&HeaderMap::new()).is_none());
    }

    #[test]
    fn a_client_is_told_how_to_authenticate() {
        let response = unauthorized(AuthError::Missing, &Mutex::default());
        let challenges: Vec<_> = response.headers().get_all(WWW_AUTHENTICATE).iter().collect();
        assert_eq!((response.status(), challenges.len()), (StatusCode::UNAUTHORIZED, 2));
    }

    #[test]
    fn a_wrong_token_is_logged_and_a_missing_one_is_not() {
        for (error, is_logged) in [(AuthError::Invalid, true), (AuthError::Missing, false)] {
            let throttle = Mutex::<LogThrottle>::default();
            unauthorized(error, &throttle);
            assert_eq!(!throttle.lock().unwrap().should_log(Instant::now()), is_logged, "{error:?}");
        }
    }
}
