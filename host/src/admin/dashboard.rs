//! The dashboard: one page without external resources, which polls `/status`.

use axum::http::header;
use axum::response::Html;
use axum::{Router, routing};
use base64::prelude::{BASE64_STANDARD, Engine};
use sha2::{Digest, Sha256};

const PAGE: &str = include_str!("dashboard.html");

/// The route `/`. Its Content-Security-Policy allows the inline script and style of the page and requests to the gate,
/// and nothing else.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let headers =
        [(header::CONTENT_SECURITY_POLICY, content_security_policy()), (header::CACHE_CONTROL, "no-cache".to_owned())];
    Router::new().route("/", routing::get(move || async move { (headers, Html(PAGE)) }))
}

fn content_security_policy() -> String {
    format!(
        "default-src 'none'; connect-src 'self'; script-src '{}'; style-src '{}'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash_source("script"),
        hash_source("style")
    )
}

/// The CSP hash of the inline element with this name.
fn hash_source(element: &str) -> String {
    let digest = Sha256::digest(inline(element).unwrap_or_default());
    format!("sha256-{}", BASE64_STANDARD.encode(digest))
}

fn inline(element: &str) -> Option<&'static str> {
    let (_, rest) = PAGE.split_once(&format!("<{element}>"))?;
    rest.split_once(&format!("</{element}>")).map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_fits_its_content_security_policy() {
        for element in ["script", "style"] {
            assert_eq!(PAGE.matches(&format!("<{element}")).count(), 1, "one inline {element}");
            assert!(inline(element).is_some_and(|text| !text.is_empty()));
        }
        // The policy forbids handlers and styles in attributes.
        for attribute in [" style=", " onclick=", " onload=", " onerror="] {
            assert!(!PAGE.contains(attribute), "{attribute}");
        }
    }

    #[test]
    fn the_page_reads_only_members_that_the_status_has() {
        let response = include_str!("status_response.rs");
        let script = inline("script").unwrap();
        for line in script.lines() {
            for rest in line.split("status.").skip(1) {
                let name: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                assert!(response.contains(&format!("pub {name}: ")), "{name} in {line}");
            }
        }
    }
}
