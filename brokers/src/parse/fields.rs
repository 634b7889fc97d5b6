//! The fields of a request, from its query, its form or its JSON.
//!
//! A field is present once: two readers of a duplicate could see two different clients. A POST to a URL with a query
//! has fields in both places, and a field in both must have the same value.

use std::borrow::Cow;
use std::string::FromUtf8Error;

use percent_encoding::percent_decode;

use super::json::{self, Value};
use super::request::{Method, Request};
use crate::error::RequestError;
use crate::warning::ConfigWarning;

/// The limit of fields in a request: more than any broker sends.
const MAX_FIELDS: usize = 256;

/// The placeholders of EMQX 4, which EMQX 5 sends as they are.
const EMQX_4_PLACEHOLDERS: [&[u8]; 11] = [b"%c", b"%u", b"%P", b"%a", b"%A", b"%t", b"%m", b"%r", b"%p", b"%C", b"%d"];

/// Stands for a field in errors, which never show names that a client may have chosen.
const ANY_FIELD: &str = "a field";

/// The fields that have not been taken out yet, in order.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    list: Vec<(Cow<'a, str>, Value<'a>)>,
    /// How many of the fields, from the first, are in the query.
    in_query: usize,
}

impl<'a> Fields<'a> {
    /// Parses the query, and the body of a POST.
    pub(crate) fn parse(request: &Request<'a>) -> Result<Self, RequestError> {
        let mut fields = Self::default();
        fields.parse_form(request.query.unwrap_or_default().as_bytes())?;
        fields.in_query = fields.list.len();
        if request.method == Method::Post {
            fields.parse_body(request)?;
        }
        if fields.list.is_empty() {
            return Err(RequestError::Empty);
        }
        Ok(fields)
    }

    /// Whether one of these fields is present.
    pub(crate) fn has(&self, names: &[&str]) -> bool {
        self.list.iter().any(|(name, _)| names.contains(&name.as_ref()))
    }

    /// Takes out the text of the field that has one of these names.
    pub(crate) fn text(&mut self, names: &[&'static str]) -> Result<Option<String>, RequestError> {
        self.take(names, |name, value| match value {
            Value::Text(text) => Ok(text.into_owned()),
            Value::Bytes(_) => Err(RequestError::NotUtf8(name)),
            Value::Json(_) => Err(RequestError::NotText(name)),
        })
    }

    /// Takes out the bytes of a field.
    pub(crate) fn bytes(&mut self, name: &'static str) -> Result<Option<Vec<u8>>, RequestError> {
        self.take(&[name], |name, value| match value {
            Value::Text(text) => Ok(text.into_owned().into_bytes()),
            Value::Bytes(bytes) => Ok(bytes),
            Value::Json(_) => Err(RequestError::NotText(name)),
        })
    }

    /// Takes out the text, number or boolean of a field, as text.
    pub(crate) fn scalar(&mut self, name: &'static str) -> Result<Option<String>, RequestError> {
        self.take(&[name], |name, value| value.into_text(name))
    }

    /// Reads a text, number or boolean without taking it out: the field stays an attribute.
    pub(crate) fn peek<T>(&self, name: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
        let (_, value) = self.list.iter().find(|(other, _)| other == name)?;
        match value {
            Value::Text(text) => read(text),
            Value::Bytes(_) => None,
            Value::Json(json) => read(&json.to_string()),
        }
    }

    /// Takes out the JSON array of a field.
    pub(crate) fn array(&mut self, name: &'static str) -> Result<Option<Vec<serde_json::Value>>, RequestError> {
        self.take(&[name], |name, value| match value {
            Value::Json(serde_json::Value::Array(list)) => Ok(list),
            _ => Err(RequestError::NotAnArray(name)),
        })
    }

    /// Drops a field unread.
    pub(crate) fn remove(&mut self, name: &str) {
        self.list.retain(|(other, _)| other != name);
    }

    /// Drops the fields that are `null`, for brokers that send `null` for what the client did not send.
    pub(crate) fn remove_nulls(&mut self) {
        self.list.retain(|(_, value)| *value != Value::Json(serde_json::Value::Null));
    }

    /// The fields that have not been taken out, as text: strings as they are, everything else as JSON.
    pub(crate) fn into_remaining(self) -> Result<Vec<(String, String)>, RequestError> {
        self.list.into_iter().map(|(name, value)| Ok((name.into_owned(), value.into_text(ANY_FIELD)?))).collect()
    }

    /// Warnings for the fields that hold a literal `${…}` or `%c` and nothing else: placeholders that the broker did not
    /// resolve.
    pub(crate) fn placeholder_warnings(&self) -> Vec<ConfigWarning> {
        let placeholders = self.list.iter().filter(|(_, value)| value.is_placeholder());
        placeholders.map(|(name, _)| ConfigWarning::UnresolvedPlaceholder(name.clone().into_owned())).collect()
    }

    /// Takes out the field that has one of these names. It is an error if two of them are present.
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

    fn parse_body(&mut self, request: &Request<'a>) -> Result<(), RequestError> {
        match request.media_type() {
            None => self.parse_json(request.body),
            Some(json) if json.eq_ignore_ascii_case("application/json") => self.parse_json(request.body),
            Some(form) if form.eq_ignore_ascii_case("application/x-www-form-urlencoded") => {
                if request.body.trim_ascii_start().starts_with(b"{") {
                    return Err(RequestError::JsonAsForm);
                }
                self.parse_form(request.body)
            }
            Some(_) => Err(RequestError::ContentType),
        }
    }

    fn parse_json(&mut self, body: &'a [u8]) -> Result<(), RequestError> {
        json::read(body, |name, value| self.put(name, value))
    }

    fn parse_form(&mut self, text: &'a [u8]) -> Result<(), RequestError> {
        for pair in text.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
            let (name, value) = match pair.iter().position(|&byte| byte == b'=') {
                Some(at) => (pair.get(..at).unwrap_or_default(), pair.get(at + 1..).unwrap_or_default()),
                None => (pair, &b""[..]),
            };
            let name = into_text(form_decode(name)).map_err(|_| RequestError::NotUtf8("a field name"))?;
            self.put(name, into_text(form_decode(value)).map_or_else(Value::Bytes, Value::Text))?;
        }
        Ok(())
    }

    /// Adds a field. Its name must be new, unless the query has it with the same value.
    fn put(&mut self, name: Cow<'a, str>, value: Value<'a>) -> Result<(), RequestError> {
        if let Some(at) = self.list.iter().position(|(other, _)| *other == name) {
            let is_same = self.list.get(at).is_some_and(|(_, other)| *other == value);
            return if at < self.in_query && is_same {
                Ok(())
            } else {
                Err(RequestError::Duplicate(well_known(&name)))
            };
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
        (bytes.starts_with(b"${") && bytes.ends_with(b"}")) || EMQX_4_PLACEHOLDERS.contains(&bytes)
    }
}

/// The name of a field as errors may show it. They never repeat other text from a request.
fn well_known(name: &str) -> &'static str {
    const NAMES: [&str; 8] =
        ["client_id", "clientid", "username", "password", "peerhost", "client_ip", "topic", "action"];
    NAMES.into_iter().find(|known| *known == name).unwrap_or(ANY_FIELD)
}

/// Decodes `application/x-www-form-urlencoded` to bytes: a password need not be UTF-8.
fn form_decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'+') {
        return percent_decode(text).into();
    }
    let spaced: Vec<u8> = text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    Cow::Owned(percent_decode(&spaced).collect())
}

/// The bytes as text, or the bytes themselves if they are not UTF-8.
fn into_text(bytes: Cow<'_, [u8]>) -> Result<Cow<'_, str>, Vec<u8>> {
    match bytes {
        Cow::Borrowed(bytes) => str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| bytes.to_vec()),
        Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(FromUtf8Error::into_bytes),
    }
}
