//! Reading the fields of a JSON object one by one, so that what is there twice is seen, and text is not copied.

use std::borrow::Cow;
use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::RequestError;
use crate::parse::fields::{Fields, Value};

/// Reads a JSON object into fields.
pub(crate) fn read<'a>(text: &'a [u8], fields: &mut Fields<'a>) -> Result<(), RequestError> {
    let mut problem = None;
    let mut json = serde_json::Deserializer::from_slice(text);
    let object = Object { fields, problem: &mut problem };
    match (object.deserialize(&mut json).and_then(|()| json.end()), problem) {
        (_, Some(problem)) => Err(problem),
        (Err(error), None) if error.is_data() => Err(RequestError::NotAnObject),
        (Err(_), None) => Err(RequestError::NotJson),
        (Ok(()), None) => Ok(()),
    }
}

struct Object<'m, 'a> {
    fields: &'m mut Fields<'a>,
    problem: &'m mut Option<RequestError>,
}

impl<'a> DeserializeSeed<'a> for Object<'_, 'a> {
    type Value = ();

    fn deserialize<D: Deserializer<'a>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'a> Visitor<'a> for Object<'_, 'a> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some((Name(name), value)) = object.next_entry::<Name, Value>()? {
            if let Err(problem) = self.fields.put(name, value) {
                *self.problem = Some(problem);
                return Err(A::Error::custom("malformed"));
            }
        }
        Ok(())
    }
}

struct Name<'a>(Cow<'a, str>);

impl<'a> Deserialize<'a> for Name<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Text).map(Name)
    }
}

struct Text;

impl<'a> Visitor<'a> for Text {
    type Value = Cow<'a, str>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Cow<'a, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

impl<'a> Deserialize<'a> for Value<'a> {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'a> Visitor<'a> for Any {
    type Value = Value<'a>;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'a str) -> Result<Value<'a>, E> {
        Text.visit_borrowed_str(text).map(Value::Text)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'a>, E> {
        Text.visit_str(text).map(Value::Text)
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'a>, E> {
        Ok(Value::Json(serde_json::Value::Null))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value<'a>, E> {
        Ok(Value::Json(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value<'a>, E> {
        Ok(Value::Json(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value<'a>, E> {
        Ok(Value::Json(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value<'a>, E> {
        Ok(Value::Json(value.into()))
    }

    fn visit_seq<A: SeqAccess<'a>>(self, list: A) -> Result<Value<'a>, A::Error> {
        serde_json::Value::deserialize(SeqAccessDeserializer::new(list)).map(Value::Json)
    }

    fn visit_map<A: MapAccess<'a>>(self, object: A) -> Result<Value<'a>, A::Error> {
        serde_json::Value::deserialize(MapAccessDeserializer::new(object)).map(Value::Json)
    }
}
