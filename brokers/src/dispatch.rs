//! What a request comes for, told by its head alone: every face of the gate sorts requests in the same way.

use crate::{Method, Route};

/// The head of a request, as far as it tells what the request comes for.
pub struct RequestHead<'a> {
    /// The method, as it was sent.
    pub method: &'a str,
    /// The path of the address, without the query.
    pub path: &'a str,
    /// Whether a query follows the path.
    pub has_query: bool,
    /// Whether a body follows the head.
    pub has_body: bool,
}

/// What a request comes for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// It asks a question. Without a method, in a way in which the route cannot be asked.
    Check(Route, Option<Method>),
    /// A person or a browser looks at [`Route::MqttAuth`]. Nobody asks who may connect.
    StatusPage,
    /// It missed the routes, and may come from EMQX or rmqtt: refused as on their own.
    EmqxFallback,
    /// It missed the routes.
    NotFound,
}

impl RequestKind {
    /// Sorts a request. The names of its headers are in lower case, and looked at only if it might be a person's.
    pub fn of<'a>(head: &RequestHead, header_names: impl IntoIterator<Item = &'a str>) -> Self {
        match Route::of(head.path) {
            Some(Route::MqttAuth) if is_status_request(head, header_names) => Self::StatusPage,
            Some(route) => Self::Check(route, method(route, head.method)),
            None if Route::looks_like_emqx(head.path) => Self::EmqxFallback,
            None => Self::NotFound,
        }
    }
}

fn method(route: Route, name: &str) -> Option<Method> {
    match name {
        "POST" => Some(Method::Post),
        "GET" if route != Route::Vernemq => Some(Method::Get),
        _ => None,
    }
}

/// With a query, GET is a question, and HEAD would answer 200 to whoever asks one that way. So is what brings a body, and
/// what does not say who asks: NanoMQ sends a bare GET when its configuration has no headers, and would let everybody in on
/// the 200. Proxies on the way add headers of many names; people's programs and probes say what they are or what they take.
fn is_status_request<'a>(head: &RequestHead, header_names: impl IntoIterator<Item = &'a str>) -> bool {
    match head.method {
        "GET" | "HEAD" => {
            let (mut says_who, mut says_what) = (false, false);
            for name in header_names {
                says_who |= matches!(name, "accept" | "user-agent");
                says_what |= name == "content-type";
            }
            !head.has_query && !head.has_body && says_who && !says_what
        }
        "OPTIONS" => true,
        _ => false,
    }
}
