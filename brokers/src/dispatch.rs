//! The kind of a request, told by its head alone. Every host dispatches requests in this way.

use crate::parse::request::Method;
use crate::route::Route;
use crate::routes::Routes;

/// The route in logs, metrics and the status of a request whose path is not a route.
pub const UNMATCHED_ROUTE: &str = "(none)";

/// Stands for a route in records of requests that brokers send to the address for operators.
pub const ADMIN_ADDRESS: &str = "(admin address)";

/// The head of a request, as far as dispatch reads it.
pub struct RequestHead<'a> {
    /// The method.
    pub method: &'a str,
    /// The path of the URL, without the query.
    pub path: &'a str,
    /// Whether a query follows the path.
    pub has_query: bool,
    /// Whether a body follows the head.
    pub has_body: bool,
}

/// The kind of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    /// A broker's request on a route. `None` is a method that the route does not have.
    Check(Route, Option<Method>),
    /// A person, a probe or a browser's preflight request on [`Route::MqttAuth`].
    StatusPage,
    /// Not a route, and refused in the only dialect that asks, as on this route.
    Refused(Route),
    /// Not a route, and in no known dialect.
    NotFound,
}

impl RequestKind {
    /// Classifies a request. Header names are in lower case, and are read only if the request may be for the status
    /// page.
    ///
    /// The status page exists whatever `routes` are: operators and load balancers look at it.
    pub fn of<'a>(head: &RequestHead, header_names: impl IntoIterator<Item = &'a str>, routes: &Routes) -> Self {
        if head.path == Route::MqttAuth.path() && is_status_page(head, header_names) {
            return Self::StatusPage;
        }
        match routes.find(head.path) {
            Some(route) => Self::Check(route, method(route, head.method)),
            None => routes.fallback().map_or(Self::NotFound, Self::Refused),
        }
    }
}

/// The name of the tenant in a path below `/t/`, and the path without it.
#[must_use]
pub fn split_tenant(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix("/t/")?;
    let end = rest.find('/').unwrap_or(rest.len());
    Some(rest.split_at(end))
}

fn method(route: Route, name: &str) -> Option<Method> {
    match name {
        "POST" => Some(Method::Post),
        "GET" if route != Route::Vernemq => Some(Method::Get),
        _ => None,
    }
}

/// Whether a request is for the status page: OPTIONS, or a GET or HEAD without a query, a body and `content-type`, and
/// with `accept` or `user-agent`.
///
/// NanoMQ without configured headers sends a bare GET and would read a 200 as allow. Proxies add other headers, so only
/// those two count: browsers, `curl` and probes send them.
fn is_status_page<'a>(head: &RequestHead, header_names: impl IntoIterator<Item = &'a str>) -> bool {
    match head.method {
        "GET" | "HEAD" => {
            let (mut has_agent, mut has_content_type) = (false, false);
            for name in header_names {
                has_agent |= matches!(name, "accept" | "user-agent");
                has_content_type |= name == "content-type";
            }
            !head.has_query && !head.has_body && has_agent && !has_content_type
        }
        "OPTIONS" => true,
        _ => false,
    }
}

/// The body of a 404, which lists the routes.
#[must_use]
pub fn not_found_text(routes: &Routes) -> String {
    let paths: Vec<_> = routes.iter().map(Route::path).collect();
    format!("no such route; the routes for brokers are {}\n", paths.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_below_t_names_a_tenant() {
        for (path, expected) in [
            ("/t/acme/emqx/auth", Some(("acme", "/emqx/auth"))),
            ("/t/acme", Some(("acme", ""))),
            ("/t//emqx/auth", Some(("", "/emqx/auth"))),
            ("/emqx/auth", None),
            ("/tenant/emqx/auth", None),
            ("/t", None),
        ] {
            assert_eq!(split_tenant(path), expected, "{path}");
        }
    }

    #[test]
    fn not_found_text_lists_every_route() {
        let text = not_found_text(&Routes::default());
        assert!(Route::ALL.iter().all(|route| text.contains(route.path())), "{text}");
    }
}
