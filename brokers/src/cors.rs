//! What is said to those who ask no request: people, browsers, and brokers that missed the routes.

use crate::Route;

/// The headers that an answer on [`Route::MqttAuth`] has if a page asks, which says so by `Origin`.
pub const CORS_HEADERS: [(&str, &str); 3] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", METHODS),
    ("access-control-allow-headers", "client-id, content-type, device-id"),
];

/// The methods of [`Route::MqttAuth`].
const METHODS: &str = "GET, POST, OPTIONS";

impl Route {
    /// The methods by which it can be asked or looked at, for the header `allow`.
    #[must_use]
    pub const fn methods(self) -> &'static str {
        match self {
            Self::MqttAuth => METHODS,
            Self::Vernemq => "POST",
            _ => "GET, POST",
        }
    }
}

/// What the 404 says.
#[must_use]
pub fn not_found_text() -> String {
    let paths: Vec<_> = Route::ALL.into_iter().map(Route::path).collect();
    format!("no such route; brokers ask on {}\n", paths.join(", "))
}
