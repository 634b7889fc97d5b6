//! The named values of a request, however they are written down.
//!
//! A field of the request is there once: what is there twice could be read in two ways. A POST to an address with a
//! query has fields in both places, and what stands in both has to be the same. Nothing is copied that need not be.

use std::borrow::Cow;
use std::string::FromUtf8Error;

use percent_encoding::percent_decode;

use super::json;
use crate::{Method, Request, RequestError};

/// More fields than any broker sends.
const MAX_FIELDS: usize = 256;

/// The fields that have not been taken out yet, in their order.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    list: Vec<(Cow<'a, str>, Value<'a>)>,
    /// So many of them stand in the query.
    in_query: usize,
}

/// A value: what JSON says, or the bytes of a form.
#[derive(PartialEq)]
pub(crate) enum Value<'a> {
    /// Text.
    Text(Cow<'a, str>),
    /// A form's value that is not UTF-8.
    Bytes(Vec<u8>),
    /// Everything in JSON that is not text.
    Json(serde_json::Value),
}

impl<'a> Fields<'a> {
    /// Reads the query, and the body of a POST.
    pub(crate) fn read(request: &Request<'a>) -> Result<Self, RequestError> {
        let mut fields = Self::default();
        fields.read_form(request.query.unwrap_or_default().as_bytes())?;
        fields.in_query = fields.list.len();
        if request.method == Method::Post {
            fields.read_body(request)?;
        }
        if fields.list.is_empty() {
            return Err(RequestError::Empty);
        }
        Ok(fields)
    }

    /// Whether something stands under one of these names.
    pub(crate) fn has(&self, names: &[&str]) -> bool {
        self.list.iter().any(|(name, _)| names.contains(&name.as_ref()))
    }

    /// Takes out the text that stands under one of these names.
    pub(crate) fn text(&mut self, names: &[&'static str]) -> Result<Option<String>, RequestError> {
        self.take(names, |name, value| match value {
            Value::Text(text) => Ok(text.into_owned()),
            Value::Bytes(_) => Err(RequestError::NotUtf8(name)),
            Value::Json(_) => Err(RequestError::NotText(name)),
        })
    }

    /// Takes out the bytes that stand under this name.
    pub(crate) fn bytes(&mut self, name: &'static str) -> Result<Option<Vec<u8>>, RequestError> {
        self.take(&[name], |name, value| match value {
            Value::Text(text) => Ok(text.into_owned().into_bytes()),
            Value::Bytes(bytes) => Ok(bytes),
            Value::Json(_) => Err(RequestError::NotText(name)),
        })
    }

    /// Takes out the text, number or truth value that stands under this name, as text.
    pub(crate) fn scalar(&mut self, name: &'static str) -> Result<Option<String>, RequestError> {
        self.take(&[name], |name, value| value.into_text(name))
    }

    /// Takes out the JSON that stands under this name.
    pub(crate) fn json(&mut self, name: &'static str) -> Result<Option<serde_json::Value>, RequestError> {
        self.take(&[name], |name, value| match value {
            Value::Json(json) => Ok(json),
            _ => Err(RequestError::NotAnArray(name)),
        })
    }

    /// Forgets a field unread.
    pub(crate) fn remove(&mut self, name: &str) {
        self.list.retain(|(other, _)| other != name);
    }

    /// Forgets what is `null`, for brokers that say so when there is none.
    pub(crate) fn remove_nulls(&mut self) {
        self.list.retain(|(_, value)| *value != Value::Json(serde_json::Value::Null));
    }

    /// What has not been taken out, as text: strings as they stand, everything else as its JSON.
    pub(crate) fn into_remaining(self) -> Result<Vec<(String, String)>, RequestError> {
        let text = |(name, value): (Cow<str>, Value)| Ok((name.into_owned(), value.into_text("a field")?));
        self.list.into_iter().map(text).collect()
    }

    /// The names of those that hold a literal `${…}` and nothing else: a placeholder that the broker did not fill in.
    pub(crate) fn placeholders(&self) -> impl Iterator<Item = &str> {
        self.list.iter().filter(|(_, value)| value.is_placeholder()).map(|(name, _)| name.as_ref())
    }

    fn take<T>(
        &mut self,
        names: &[&'static str],
        read: impl Fn(&'static str, Value<'a>) -> Result<T, RequestError>,
    ) -> Result<Option<T>, RequestError> {
        let mut taken = None;
        for name in names {
            let Some(at) = self.list.iter().position(|(other, _)| other == name) else { continue };
            let (_, value) = self.list.remove(at);
            if taken.replace(read(name, value)?).is_some() {
                return Err(RequestError::Duplicate(name));
            }
        }
        Ok(taken)
    }

    fn read_body(&mut self, request: &Request<'a>) -> Result<(), RequestError> {
        match request.media_type() {
            None => json::read(request.body, self),
            Some(json) if json.eq_ignore_ascii_case("application/json") => json::read(request.body, self),
            Some(form) if form.eq_ignore_ascii_case("application/x-www-form-urlencoded") => {
                if request.body.trim_ascii_start().starts_with(b"{") {
                    return Err(RequestError::JsonAsForm);
                }
                self.read_form(request.body)
            }
            Some(_) => Err(RequestError::ContentType),
        }
    }

    fn read_form(&mut self, text: &'a [u8]) -> Result<(), RequestError> {
        for pair in text.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
            let (name, value) = match pair.iter().position(|&byte| byte == b'=') {
                Some(at) => (pair.get(..at).unwrap_or_default(), pair.get(at + 1..).unwrap_or_default()),
                None => (pair, &b""[..]),
            };
            let name = into_text(form_decode(name)).map_err(|_| RequestError::NotUtf8("a name"))?;
            self.put(name, into_text(form_decode(value)).map_or_else(Value::Bytes, Value::Text))?;
        }
        Ok(())
    }

    /// Adds a field, which has to be the only one of its name.
    pub(crate) fn put(&mut self, name: Cow<'a, str>, value: Value<'a>) -> Result<(), RequestError> {
        if let Some(at) = self.list.iter().position(|(other, _)| *other == name) {
            let is_same = self.list.get(at).is_some_and(|(_, other)| *other == value);
            return if at < self.in_query && is_same { Ok(()) } else { Err(RequestError::Duplicate(known(&name))) };
        }
        if self.list.len() >= MAX_FIELDS {
            return Err(RequestError::TooManyFields { limit: MAX_FIELDS });
        }
        self.list.push((name, value));
        Ok(())
    }
}

impl Value<'_> {
    fn into_text(self, name: &'static str) -> Result<String, RequestError> {
        match self {
            Self::Text(text) => Ok(text.into_owned()),
            Self::Bytes(_) => Err(RequestError::NotUtf8(name)),
            Self::Json(json) => Ok(json.to_string()),
        }
    }

    fn is_placeholder(&self) -> bool {
        let bytes = match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
            Self::Json(_) => return false,
        };
        bytes.starts_with(b"${") && bytes.ends_with(b"}")
    }
}

/// The names that may be told in an answer; whatever else a request holds is not repeated.
fn known(name: &str) -> &'static str {
    const KNOWN: [&str; 8] =
        ["client_id", "clientid", "username", "password", "peerhost", "client_ip", "topic", "action"];
    KNOWN.into_iter().find(|known| *known == name).unwrap_or("a field")
}

/// Decodes `application/x-www-form-urlencoded` to bytes: a password need not be UTF-8.
fn form_decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'+') {
        return percent_decode(text).into();
    }
    let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    Cow::Owned(percent_decode(&spaced).collect())
}

/// The bytes as text, or as they are if they are none.
fn into_text(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>, Vec<u8>> {
    match bytes {
        Cow::Borrowed(bytes) => str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| bytes.to_vec()),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(FromUtf8Error::into_bytes),
    }
}
