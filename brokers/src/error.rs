//! Why a request cannot be evaluated.

use crate::foreign_protocol::ForeignProtocol;

/// The header in which a broker sends the shared secret, if the gate has one.
pub const SECRET_HEADER: &str = "x-mqtt-gate-secret";

/// Why a request cannot be evaluated. Names fields and never shows their values.
///
/// The [`Display`](std::fmt::Display) text is sent to the broker and logged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The method is neither POST nor GET.
    #[error("method not allowed: use POST, or GET with a query")]
    Method,
    /// The path is not a route.
    #[error("no such route")]
    Route,
    /// The path names a tenant that the gate does not have.
    #[error("no such tenant")]
    Tenant,
    /// A broker calls the address for operators.
    #[error("this is the admin address of the gate, and not its address for brokers")]
    AdminAddress,
    /// The gate requires a secret, and the request has none.
    #[error("the secret is missing: send it in the header authorization or {}", SECRET_HEADER)]
    NoSecret,
    /// The gate requires a secret, and the request has a different one.
    #[error("the secret is wrong")]
    WrongSecret,
    /// The head is not HTTP.
    #[error("the request head is not valid HTTP")]
    InvalidHttp,
    /// The client speaks another protocol.
    #[error("the client speaks {}, and this port HTTP/1.1 without TLS", .0.name())]
    Protocol(ForeignProtocol),
    /// A request of HTTP/1.1 has no header `host`, or several (RFC 9112, section 3.2).
    #[error("the request has no header host, or several")]
    Host,
    /// The URL or the head is too long.
    #[error("the URL or the request head is too long")]
    HeadTooLong,
    /// The body is longer than the limit.
    #[error("the body is longer than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The request has more fields, or asks about more topics, than the limit.
    #[error("the request has more than {limit} fields or topics")]
    TooManyFields {
        /// The limit.
        limit: usize,
    },
    /// The body did not arrive in time.
    #[error("the body did not arrive in time")]
    TooSlow,
    /// The connection ended before the body did.
    #[error("the body ended early")]
    Truncated,
    /// The content type is neither JSON nor a form.
    #[error("unsupported content type: use application/json or application/x-www-form-urlencoded")]
    ContentType,
    /// The content type says form, and the body looks like JSON.
    #[error("the content type says form, but the body looks like JSON: send content-type: application/json")]
    JsonAsForm,
    /// The body is not JSON.
    #[error("the body is not JSON in UTF-8")]
    NotJson,
    /// The body is JSON, but not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
    /// The request has no fields.
    #[error("the request has no fields")]
    Empty,
    /// A required field is missing.
    #[error("{} is missing", spellings(.0))]
    Missing(&'static str),
    /// A field that must be a string is something else.
    #[error("{0} is not a string")]
    NotText(&'static str),
    /// A field that must be an array of topics is something else.
    #[error("{0} is not an array of objects with the field topic")]
    NotAnArray(&'static str),
    /// A field is not UTF-8.
    #[error("{0} is not UTF-8")]
    NotUtf8(&'static str),
    /// A field is present twice. Two readers of the request could see two different clients.
    #[error("{0} is present twice")]
    Duplicate(&'static str),
    /// A field has none of its possible values.
    #[error("{0} has an unknown value")]
    InvalidValue(&'static str),
    /// A request of EMQX 4 on a route of EMQX 5. EMQX 4 reads every status 200 as *allow* (`emqx_auth_http` 4.4).
    #[error("the request is one of EMQX 4, which reads every status 200 as a permission")]
    Emqx4,
    /// A field on which the verdict depends holds a literal `${…}`.
    #[error("{0} holds an unresolved placeholder ${{…}}")]
    UnresolvedPlaceholder(&'static str),
}

/// The fixed properties of a kind of error.
struct Info {
    kind: &'static str,
    status: u16,
    hint: &'static str,
}

const fn info(kind: &'static str, status: u16, hint: &'static str) -> Info {
    Info { kind, status, hint }
}

impl RequestError {
    const fn info(&self) -> Info {
        match self {
            Self::Method => info("method", 405, "configure the broker to use POST, or GET with a query"),
            Self::Route => {
                info("no-such-route", 404, "correct the URL in the broker's configuration; the README lists the routes")
            }
            Self::Tenant => info(
                "no-such-tenant",
                404,
                "correct the URL in the broker's configuration, or add the table [tenant.NAME] to that of the gate",
            ),
            Self::AdminAddress => info(
                "admin-address",
                403,
                "write the gate's address for brokers in the broker's URL: `listen` of its configuration, port 8003 by \
                 default",
            ),
            Self::NoSecret => info("no-secret", 401, SECRET_HINT),
            Self::WrongSecret => info("wrong-secret", 401, SECRET_HINT),
            Self::InvalidHttp => info("invalid-http", 400, "point brokers only at this port, and with HTTP/1.1"),
            Self::Protocol(ForeignProtocol::Tls) => {
                info("tls-on-plain-port", 400, "write http:// in the broker's URL, or configure [tls] in the gate")
            }
            Self::Protocol(ForeignProtocol::Http2) => info("http2", 400, "configure the client to use HTTP/1.1"),
            Self::Protocol(ForeignProtocol::Mqtt) => {
                info("mqtt", 400, "connect MQTT clients to the broker: this port is for the requests of the broker")
            }
            Self::Protocol(ForeignProtocol::Proxy) => {
                info("proxy-protocol", 400, "switch the PROXY protocol off for this port at the load balancer")
            }
            Self::Host => info("host", 400, "point brokers only at this port, and with HTTP/1.1"),
            Self::HeadTooLong => info(
                "head-too-long",
                414,
                "configure the broker to use POST: a URL is limited to 65,534 bytes, and a user name or password can \
                 be longer",
            ),
            Self::TooLarge { .. } => info(
                "too-large",
                413,
                "raise limits.max_body, or make the broker send less; for VerneMQ set no_payload = on",
            ),
            Self::TooManyFields { .. } => {
                info("too-many-fields", 400, "list fewer fields in the broker's body template")
            }
            Self::TooSlow => info("too-slow", 408, NETWORK_HINT),
            Self::Truncated => info("truncated-body", 400, NETWORK_HINT),
            Self::ContentType => info("content-type", 400, CONTENT_TYPE_HINT),
            Self::JsonAsForm => info("json-as-form", 400, CONTENT_TYPE_HINT),
            Self::NotJson => info("not-json", 400, CONTENT_TYPE_HINT),
            Self::NotAnObject => info("not-an-object", 400, "send a JSON object with the client's fields"),
            Self::Empty => info(
                "empty",
                400,
                "check that the body template reaches the broker: EMQX drops environment variables for parts of a \
                 body, so set EMQX_AUTHENTICATION='[{…}]' as one variable, or use a file",
            ),
            Self::Missing(_) => info("missing-field", 400, "add this field to the broker's body template"),
            Self::NotText(_) => info("not-text", 400, QUOTE_HINT),
            Self::NotAnArray(_) => info("not-an-array", 400, QUOTE_HINT),
            Self::NotUtf8(_) => {
                info("not-utf-8", 400, "send UTF-8; only a password in a form or a query may hold other bytes")
            }
            Self::Duplicate(_) => {
                info("duplicate-field", 400, "send each field once: under one name, and in the query or the body")
            }
            Self::InvalidValue(_) => info("invalid-value", 400, "use the broker's own placeholder for this field"),
            Self::Emqx4 => info("emqx-4", 403, EMQX_4_HINT),
            Self::UnresolvedPlaceholder(_) => info("placeholder", 400, PLACEHOLDER_HINT),
        }
    }

    /// The kind of error, for metrics, logs and the status.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.info().kind
    }

    /// The remedy, for the operator.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        self.info().hint
    }

    /// The HTTP status of the reply, where the broker reads the status.
    pub(crate) const fn http_status(&self) -> u16 {
        self.info().status
    }

    /// The field that is wrong, if the error is about one.
    #[must_use]
    pub const fn field(&self) -> Option<&'static str> {
        match self {
            Self::Missing(name)
            | Self::NotText(name)
            | Self::NotAnArray(name)
            | Self::NotUtf8(name)
            | Self::Duplicate(name)
            | Self::InvalidValue(name)
            | Self::UnresolvedPlaceholder(name) => Some(name),
            _ => None,
        }
    }
}

const SECRET_HINT: &str = "configure the broker to send the value of access.broker_secret, as `authorization: \
                           Bearer …` or in the header x-mqtt-gate-secret; if none of your brokers sends these requests, close this port to \
                           other hosts";

const NETWORK_HINT: &str = "check the network between the broker and the gate";

const CONTENT_TYPE_HINT: &str = "set the request header content-type to application/json or \
                                 application/x-www-form-urlencoded, as the body is, without a charset";

const QUOTE_HINT: &str =
    "quote the placeholder in the broker's body template; amqtt sends null for a field that the client did not send";

/// The hint for requests of EMQX 4.
const EMQX_4_HINT: &str = "upgrade to EMQX 5.8 or newer; until then use /mqtt/auth and /mqtt/acl, where a \
                                      denial is a status 401, and no superuser request";

/// The hint for a literal `${…}`, which can be an error or a warning.
pub(crate) const PLACEHOLDER_HINT: &str = "correct or remove this placeholder in the broker's body template; if it is a \
                                           valid one of EMQX, another placeholder of the template is not: EMQX logs \
                                           that one as auth_template_invalid; EMQX 5 writes ${clientid} for the %c of \
                                           EMQX 4";

/// A field name with its other spelling.
fn spellings(name: &'static str) -> &'static str {
    if name == "client_id" { "client_id (or clientid)" } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_names_the_field_and_both_spellings_of_the_client_id() {
        for (error, text) in [
            (RequestError::Missing("client_id"), "client_id (or clientid) is missing"),
            (RequestError::Missing("topic"), "topic is missing"),
            (
                RequestError::NoSecret,
                "the secret is missing: send it in the header authorization or x-mqtt-gate-secret",
            ),
            (RequestError::UnresolvedPlaceholder("topic"), "topic holds an unresolved placeholder ${…}"),
            (RequestError::TooLarge { limit: 9 }, "the body is longer than 9 bytes"),
        ] {
            assert_eq!(error.to_string(), text);
        }
        assert_eq!(RequestError::Duplicate("topic").field(), Some("topic"));
        assert_eq!(RequestError::NotJson.field(), None);
    }

    #[test]
    fn secret_hint_names_the_header() {
        assert!(RequestError::NoSecret.hint().contains(SECRET_HEADER));
    }
}
