//! Reading a client's credentials out of the members of a request.
//!
//! Which names stand for what is the operator's choice in every broker, so the usual spellings are all read. Whatever
//! else is there is handed to the policy as an attribute.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::Value;

use crate::request::Encoding;
use crate::{Malformed, Request};

/// What a client sent in its CONNECT packet and what the broker says of its connection. Nobody has verified it.
///
/// It has no `Debug`: it holds a password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The client identifier. May be empty.
    pub client_id: String,
    /// The user name; `None` if there is none or an empty one.
    pub username: Option<String>,
    /// The password; `None` if there is none or an empty one. Any bytes.
    pub password: Option<Vec<u8>>,
    /// The client's address without the port.
    pub peer_host: Option<String>,
    /// Every other member of the request, in its order.
    pub attributes: Vec<(String, String)>,
}

pub(crate) fn parse(request: &Request) -> Result<Credentials, Malformed> {
    let mut draft = Draft::default();
    match request.members()? {
        Encoding::Form(text) => {
            draft.read_form(text)?;
            draft.finish(text.trim_ascii_start().starts_with(b"{"))
        }
        Encoding::Json(text) => {
            draft.read_json(text)?;
            draft.finish(false)
        }
    }
}

/// Credentials that are still being read: what is there twice is found out here.
#[derive(Default)]
struct Draft {
    client_id: Option<String>,
    username: Option<String>,
    password: Option<Vec<u8>>,
    peer_host: Option<String>,
    attributes: Vec<(String, String)>,
}

impl Draft {
    fn read_form(&mut self, text: &[u8]) -> Result<(), Malformed> {
        for pair in text.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()) {
            let (name, value) = match pair.iter().position(|&byte| byte == b'=') {
                Some(at) => (pair.get(..at).unwrap_or_default(), pair.get(at + 1..).unwrap_or_default()),
                None => (pair, &b""[..]),
            };
            let name = String::from_utf8(form_decode(name)).map_err(|_| Malformed::NotUtf8("a name"))?;
            self.put(name, Member::Bytes(form_decode(value)))?;
        }
        Ok(())
    }

    fn read_json(&mut self, text: &[u8]) -> Result<(), Malformed> {
        let mut problem = None;
        let mut json = serde_json::Deserializer::from_slice(text);
        let read = JsonMembers { draft: self, problem: &mut problem }.deserialize(&mut json).and_then(|()| json.end());
        match (read, problem) {
            (_, Some(problem)) => Err(problem),
            (Err(error), None) if error.is_data() => Err(Malformed::NotAnObject),
            (Err(_), None) => Err(Malformed::NotJson),
            (Ok(()), None) => Ok(()),
        }
    }

    fn put(&mut self, name: String, value: Member) -> Result<(), Malformed> {
        match name.as_str() {
            "clientid" | "client_id" => set(&mut self.client_id, value.text("client_id")?, "client_id"),
            "username" => set(&mut self.username, value.text("username")?, "username"),
            "password" => set(&mut self.password, value.bytes("password")?, "password"),
            "peerhost" | "client_ip" => set(&mut self.peer_host, value.text("peerhost")?, "peerhost"),
            _ => {
                self.attributes.push((name, value.any_text()?));
                Ok(())
            }
        }
    }

    fn finish(self, json_as_form: bool) -> Result<Credentials, Malformed> {
        Ok(Credentials {
            client_id: self.client_id.ok_or(Malformed::NoClientId { json_as_form })?,
            username: self.username.filter(|text| !text.is_empty()),
            password: self.password.filter(|bytes| !bytes.is_empty()),
            peer_host: self.peer_host.filter(|text| !text.is_empty()),
            attributes: self.attributes,
        })
    }
}

fn set<T>(place: &mut Option<T>, value: T, name: &'static str) -> Result<(), Malformed> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Malformed::Twice(name)),
    }
}

/// The value of a member: what JSON says, or the bytes of a form.
enum Member {
    Json(Value),
    Bytes(Vec<u8>),
}

impl Member {
    fn text(self, name: &'static str) -> Result<String, Malformed> {
        match self {
            Self::Json(Value::String(text)) => Ok(text),
            Self::Json(_) => Err(Malformed::NotText(name)),
            Self::Bytes(bytes) => String::from_utf8(bytes).map_err(|_| Malformed::NotUtf8(name)),
        }
    }

    fn bytes(self, name: &'static str) -> Result<Vec<u8>, Malformed> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            json => json.text(name).map(String::into_bytes),
        }
    }

    /// An attribute: a string as it stands, everything else as its JSON.
    fn any_text(self) -> Result<String, Malformed> {
        match self {
            Self::Json(value) if !value.is_string() => Ok(value.to_string()),
            text => text.text("an attribute"),
        }
    }
}

/// Decodes `application/x-www-form-urlencoded` to bytes: a password need not be UTF-8.
fn form_decode(text: &[u8]) -> Vec<u8> {
    let spaced: Cow<[u8]> = if text.contains(&b'+') {
        text.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect()
    } else {
        text.into()
    };
    percent_decode(&spaced).collect()
}

/// Reads a JSON object into a draft, member by member, so that what is there twice is seen.
struct JsonMembers<'a> {
    draft: &'a mut Draft,
    problem: &'a mut Option<Malformed>,
}

impl<'de> DeserializeSeed<'de> for JsonMembers<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for JsonMembers<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some((name, value)) = members.next_entry::<String, Value>()? {
            if let Err(problem) = self.draft.put(name, Member::Json(value)) {
                *self.problem = Some(problem);
                return Err(A::Error::custom("malformed"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Method;

    fn json(body: &str) -> Result<Credentials, Malformed> {
        parse(&Request {
            method: Method::Post,
            content_type: Some("application/json"),
            query: None,
            body: body.as_bytes(),
        })
    }

    fn form(body: &str) -> Result<Credentials, Malformed> {
        let content_type = Some("application/x-www-form-urlencoded; charset=utf-8");
        parse(&Request { method: Method::Post, content_type, query: None, body: body.as_bytes() })
    }

    fn query(query: &str) -> Result<Credentials, Malformed> {
        parse(&Request { method: Method::Get, content_type: None, query: Some(query), body: b"" })
    }

    fn problem(read: Result<Credentials, Malformed>) -> Malformed {
        read.err().expect("should be refused")
    }

    #[test]
    fn the_three_ways_of_asking_say_the_same() {
        let client = Credentials {
            client_id: "c l+i/e=n&t".into(),
            username: Some("us er+/=&é".into()),
            password: Some(b"pa+ss/==".to_vec()),
            peer_host: Some("127.0.0.1".into()),
            attributes: vec![("listener".into(), "tcp:default".into())],
        };
        let as_form = "clientid=c+l%2Bi%2Fe%3Dn%26t&username=us+er%2B%2F%3D%26%C3%A9&password=pa%2Bss%2F%3D%3D\
                       &peerhost=127.0.0.1&listener=tcp%3Adefault";
        let as_json = r#"{"client_id":"c l+i/e=n&t","username":"us er+/=&é","password":"pa+ss/==",
                          "client_ip":"127.0.0.1","listener":"tcp:default"}"#;
        assert!(
            form(as_form) == Ok(client.clone()) && query(as_form) == Ok(client.clone()) && json(as_json) == Ok(client)
        );
    }

    #[test]
    fn a_password_in_a_form_is_bytes() {
        assert_eq!(form("clientid=c&password=%FF%FF%00").ok().and_then(|who| who.password), Some(vec![255, 255, 0]));
        assert_eq!(problem(form("clientid=%FF")), Malformed::NotUtf8("client_id"));
    }

    #[test]
    fn what_is_empty_was_not_sent() {
        let who = json(r#"{"clientid":"","username":"","password":""}"#).ok().unwrap();
        assert!(who.client_id.is_empty() && who.username.is_none() && who.password.is_none());
    }

    #[test]
    fn known_members_are_text_and_others_anything() {
        for name in ["client_id", "username", "password"] {
            for value in ["7", "null", "true", "[]", r#"{"$ne":""}"#] {
                let body = format!(r#"{{"clientid_":"c","{name}":{value}}}"#);
                assert_eq!(problem(json(&body)), Malformed::NotText(name), "{body}");
            }
        }
        let who = json(r#"{"clientid":"c","port":1883,"tls":true,"x":null,"y":[1]}"#).ok().unwrap();
        let attributes: Vec<_> = who.attributes.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(attributes, ["1883", "true", "null", "[1]"]);
    }

    #[test]
    fn no_member_is_there_twice() {
        assert_eq!(problem(json(r#"{"clientid":"a","client_id":"a"}"#)), Malformed::Twice("client_id"));
        assert_eq!(problem(json(r#"{"clientid":"a","password":"p","password":"q"}"#)), Malformed::Twice("password"));
        assert_eq!(problem(form("clientid=a&clientid=b")), Malformed::Twice("client_id"));
        assert_eq!(problem(query("clientid=a&username=u&username=u")), Malformed::Twice("username"));
    }

    #[test]
    fn what_is_no_request_is_told_apart() {
        assert_eq!(problem(json("")), Malformed::NotJson);
        assert_eq!(problem(json("{")), Malformed::NotJson);
        assert_eq!(problem(json(r#"{"clientid":"c"} x"#)), Malformed::NotJson);
        assert_eq!(problem(json(r#""clientid""#)), Malformed::NotAnObject);
        assert_eq!(problem(json(r#"["clientid"]"#)), Malformed::NotAnObject);
        assert_eq!(problem(json("{}")), Malformed::NoClientId { json_as_form: false });
        assert_eq!(problem(form(r#"{"clientid":"c"}"#)), Malformed::NoClientId { json_as_form: true });
        let text = Request { method: Method::Post, content_type: Some("text/plain"), query: None, body: b"{}" };
        assert_eq!(problem(parse(&text)), Malformed::ContentType);
    }
}
