//! Cross-origin requests from browsers.

use crate::route::Route;

/// The headers of every response to a browser page, which sends `origin`, and of every status page. See
/// [`Route::supports_cors`].
pub const HEADERS: [(&str, &str); 3] = [
    ("access-control-allow-origin", "*"),
    ("access-control-allow-methods", Route::MqttAuth.methods()),
    ("access-control-allow-headers", "client-id, content-type, device-id"),
];
