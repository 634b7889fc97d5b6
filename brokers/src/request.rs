//! What of an HTTP request matters to a dialect.

use crate::Malformed;

/// A request, as far as dialects look at it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// How it was asked.
    pub method: Method,
    /// The header `content-type`, as it came.
    pub content_type: Option<&'a str>,
    /// What follows the `?` of the address.
    pub query: Option<&'a str>,
    /// The whole body.
    pub body: &'a [u8],
}

/// The methods by which a login can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The credentials stand in the query.
    Get,
    /// The credentials stand in the body.
    Post,
}

/// The two ways of writing members down.
pub(crate) enum Encoding<'a> {
    Json(&'a [u8]),
    Form(&'a [u8]),
}

impl<'a> Request<'a> {
    /// Where the members stand, and how they are written.
    pub(crate) fn members(&self) -> Result<Encoding<'a>, Malformed> {
        if self.method == Method::Get {
            return Ok(Encoding::Form(self.query.unwrap_or_default().as_bytes()));
        }
        let essence = self.content_type.map(|text| text.split(';').next().unwrap_or(text).trim());
        match essence {
            None => Ok(Encoding::Json(self.body)),
            Some(json) if json.eq_ignore_ascii_case("application/json") => Ok(Encoding::Json(self.body)),
            Some(form) if form.eq_ignore_ascii_case("application/x-www-form-urlencoded") => {
                Ok(Encoding::Form(self.body))
            }
            Some(_) => Err(Malformed::ContentType),
        }
    }
}
