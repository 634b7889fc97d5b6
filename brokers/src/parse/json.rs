//! The fields of a JSON object, one by one: duplicate names are seen, and text is borrowed from the body.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, Error as _, MapAccess, Visitor};

use crate::error::RequestError;

/// The value of a field: text, or anything else in JSON. A form has text, or bytes that are not UTF-8.
#[derive(Deserialize, PartialEq)]
#[serde(untagged)]
pub(crate) enum Value<'a> {
    #[serde(borrow)]
    Text(Cow<'a, str>),
    #[serde(skip)]
    Bytes(Vec<u8>),
    Json(serde_json::Value),
}

/// Passes each field of a JSON object to `put`, in order. Stops at the first error.
pub(crate) fn read<'a>(
    body: &'a [u8],
    put: impl FnMut(Cow<'a, str>, Value<'a>) -> Result<(), RequestError>,
) -> Result<(), RequestError> {
    let mut rejected = None;
    let mut json = serde_json::Deserializer::from_slice(body);
    let object = Object { put, rejected: &mut rejected };
    let read = json.deserialize_map(object).and_then(|()| json.end());
    match (read, rejected) {
        (_, Some(error)) => Err(error),
        (Err(error), None) if error.is_data() => Err(RequestError::NotAnObject),
        (Err(_), None) => Err(RequestError::NotJson),
        (Ok(()), None) => Ok(()),
    }
}

struct Object<'p, P> {
    put: P,
    /// The error of `put`: serde's own error type has no place for it.
    rejected: &'p mut Option<RequestError>,
}

impl<'a, P: FnMut(Cow<'a, str>, Value<'a>) -> Result<(), RequestError>> Visitor<'a> for Object<'_, P> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(mut self, mut object: A) -> Result<(), A::Error> {
        while let Some((Name(name), value)) = object.next_entry()? {
            if let Err(error) = (self.put)(name, value) {
                *self.rejected = Some(error);
                return Err(A::Error::custom("rejected"));
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(body: &str) -> Result<Vec<(Cow<'_, str>, Value<'_>)>, RequestError> {
        let mut fields = Vec::new();
        read(body.as_bytes(), |name, value| {
            fields.push((name, value));
            Ok(())
        })?;
        Ok(fields)
    }

    #[test]
    fn plain_text_is_borrowed_and_escaped_text_is_decoded() {
        let fields = read_all(r#"{"plain":"text","esc\"aped":"\u00e9"}"#).unwrap_or_default();
        let [(plain, Value::Text(text)), (escaped, Value::Text(decoded))] = &fields[..] else { panic!("two texts") };
        assert!(matches!((plain, text), (Cow::Borrowed("plain"), Cow::Borrowed("text"))));
        assert_eq!((&**escaped, &**decoded), ("esc\"aped", "é"));
    }

    #[test]
    fn other_values_keep_their_json() {
        let json = r#"[null,true,18446744073709551615,-1,1.5,[],{"a":[1]}]"#;
        let values: Vec<serde_json::Value> = serde_json::from_str(json).unwrap();
        for value in values {
            let body = format!(r#"{{"x":{value}}}"#);
            let fields = read_all(&body).unwrap_or_default();
            assert!(fields == [("x".into(), Value::Json(value))], "{body}");
        }
    }

    #[test]
    fn every_field_is_passed_on_duplicates_included_until_one_is_rejected() {
        let mut names = Vec::new();
        let result = read(br#"{"a":1,"a":2,"b":3,"c":"#, |name, _| {
            names.push(name.into_owned());
            if names.len() == 3 { Err(RequestError::Duplicate("a field")) } else { Ok(()) }
        });
        assert_eq!(
            (result, names),
            (Err(RequestError::Duplicate("a field")), vec!["a".into(), "a".into(), "b".into()])
        );
    }

    #[test]
    fn broken_json_and_other_types_are_told_apart() {
        for (body, expected) in [
            ("", RequestError::NotJson),
            ("{", RequestError::NotJson),
            (r#"{"a":1}x"#, RequestError::NotJson),
            (r#"{"a":"\ud800"}"#, RequestError::NotJson),
            (r#"{"a":1e999}"#, RequestError::NotJson),
            (r#"{1:1}"#, RequestError::NotJson),
            (r#""a"#, RequestError::NotJson),
            (r#""a""#, RequestError::NotAnObject),
            ("[1]", RequestError::NotAnObject),
            ("null", RequestError::NotAnObject),
        ] {
            assert_eq!(read_all(body).err(), Some(expected), "{body}");
        }
        let deep = format!(r#"{{"a":{}"#, "[".repeat(10_000));
        assert_eq!(read_all(&deep).err(), Some(RequestError::NotJson));
        assert_eq!(read(b"{\"a\":\"\xff\"}", |_, _| Ok(())), Err(RequestError::NotJson));
    }
}
