//! What is said to those who ask no request: people, browsers, and whoever missed the routes.

use crate::policy;
use crate::request::Request;
use crate::response::Answer;

const TEXT: &str = "text/plain; charset=utf-8";

/// To those who look: what this is, and whether its policy can work. It cannot know which policy it was composed with.
pub(crate) fn look(request: &Request) -> Answer {
    if request.method() == "OPTIONS" {
        return Answer::empty(204).with_cors();
    }
    let (status, policy) = match policy::check() {
        Ok(()) => (200, "works with its settings"),
        Err(policy::NoVerdict) => (503, "refuses its settings: nobody is let in"),
    };
    let text = format!(
        "mqtt-gate {version} is running, composed with a policy behind wasi:http\npolicy: {policy}\n",
        version = env!("CARGO_PKG_VERSION"),
    );
    Answer::text(status, TEXT, text).with_cors()
}

/// To those who missed the routes.
pub(crate) fn elsewhere() -> Answer {
    Answer::text(404, TEXT, brokers::not_found_text())
}
