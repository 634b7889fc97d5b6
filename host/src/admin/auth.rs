//! The token without which the operator's address tells nobody more than whether the gate is alive and ready.

use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{AppendHeaders, IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use crate::net::accept::Told;
use crate::security::secret::{Guard, Stranger};

/// What probes ask, which have no token. It says nothing else.
const OPEN: [&str; 2] = ["/livez", "/readyz"];

/// What is asked for: by programs, and by browsers, which then ask their user.
const CHALLENGES: [&str; 2] = ["Bearer realm=\"mqtt-gate\"", "Basic realm=\"mqtt-gate\", charset=\"UTF-8\""];

/// The same routes, for who has the token.
pub(crate) fn required(routes: Router, guard: Guard) -> Router {
    if !guard.is_on_duty() {
        return routes;
    }
    let told = Arc::new(Mutex::new(Told::default()));
    routes.layer(from_fn(move |request: Request, next: Next| {
        let (guard, told) = (guard.clone(), Arc::clone(&told));
        async move {
            if OPEN.contains(&request.uri().path()) {
                return next.run(request).await;
            }
            match guard.check(shown(request.headers()).as_deref().map(Vec::as_slice)) {
                Ok(()) => next.run(request).await,
                Err(stranger) => turn_away(stranger, &told),
            }
        }
    }))
}

/// What a request shows for a token: after `Bearer`, or as the password of whoever.
fn shown(headers: &HeaderMap) -> Option<Zeroizing<Vec<u8>>> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, shown) = value.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Zeroizing::new(shown.trim().as_bytes().to_vec()));
    }
    let pair = Zeroizing::new(STANDARD.decode(shown.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?);
    let colon = pair.iter().position(|&byte| byte == b':')?;
    Some(Zeroizing::new(pair.get(colon + 1..)?.to_vec()))
}

fn turn_away(stranger: Stranger, told: &Mutex<Told>) -> Response {
    if stranger == Stranger::Wrong && told.lock().unwrap_or_else(PoisonError::into_inner).is_due() {
        tracing::warn!("somebody asks on the admin address with a wrong token; no more of these are told for a minute");
    }
    let challenges = CHALLENGES.map(|challenge| (WWW_AUTHENTICATE, HeaderValue::from_static(challenge)));
    (StatusCode::UNAUTHORIZED, AppendHeaders(challenges), "the token of access.admin_token is needed\n").into_response()
}
