//! What of an HTTP request matters to a dialect.

/// A request, as far as dialects look at it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// How it was asked.
    pub method: Method,
    /// What follows the `?` of the address.
    pub query: Option<&'a str>,
    /// A header by its name in lower case. One that is not text is the empty text.
    pub header: &'a dyn Fn(&str) -> Option<&'a str>,
    /// The whole body. Not looked at in a GET.
    pub body: &'a [u8],
}

/// The methods by which brokers ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The fields stand in the query.
    Get,
    /// The fields stand in the body.
    Post,
}

impl<'a> Request<'a> {
    /// The content type without its parameters, if there is one.
    pub(crate) fn media_type(&self) -> Option<&'a str> {
        (self.header)("content-type").map(|text| text.split(';').next().unwrap_or(text).trim())
    }
}
