//! The operator's page: one file, which reads `/status` and has nothing from elsewhere.

use axum::http::header;
use axum::response::Html;
use axum::{Router, routing};
use base64::prelude::{BASE64_STANDARD, Engine};
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("page.html");

/// Answers `/`. The browser is told to run the script of the page and no other, and to ask nobody but the gate.
pub(crate) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let policy = format!(
        "default-src 'none'; connect-src 'self'; script-src '{}'; style-src '{}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        source("script"),
        source("style")
    );
    let headers = [(header::CONTENT_SECURITY_POLICY, policy), (header::CACHE_CONTROL, "no-cache".to_owned())];
    Router::new().route("/", routing::get(move || async move { (headers, Html(PAGE)) }))
}

/// How a policy for browsers names what stands within this element of the page.
fn source(element: &str) -> String {
    let within =
        PAGE.split_once(&format!("<{element}>")).and_then(|(_, rest)| rest.split_once(&format!("</{element}>")));
    let digest = Sha256::digest(within.map(|(text, _)| text).unwrap_or_default());
    format!("sha256-{}", BASE64_STANDARD.encode(digest))
}
