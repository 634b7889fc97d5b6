//! The login that `mqtt-gate eval` evaluates.

use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use brokers::{AuthRequest, Credentials, Method, Request, Route};
use clap::Args;
use mqtt_gate_engine::util::file::read_file;
use serde_json::value::RawValue;

/// Longest standard input, in bytes: some 100,000 logins.
const MAX_INPUT: usize = 64 << 20;

/// A login, in flags or as JSON on standard input.
///
/// The password is never a flag: other users of the machine can read command lines.
#[derive(Args)]
pub(super) struct CredentialArgs {
    /// Client id [default: read the login from standard input, as the JSON that /mqtt/auth takes]
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// User name
    #[arg(long, value_name = "NAME", requires = "client_id")]
    username: Option<String>,
    /// Read the password from this file, or from standard input with `-`, without one line ending at its end
    #[arg(long, value_name = "FILE", requires = "client_id")]
    password_file: Option<PathBuf>,
    /// IP address of the client
    #[arg(long, value_name = "ADDR")]
    peer_host: Option<String>,
    /// Another field of the broker's request; can be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = parse_attribute)]
    attributes: Vec<(String, String)>,
}

fn parse_attribute(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("an attribute is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl CredentialArgs {
    /// Reads the login, or those on standard input. A login may have `max_body` bytes.
    pub(super) fn read(self, max_body: usize) -> Result<Vec<Credentials>> {
        let mut logins = match self.client_id {
            Some(client_id) => vec![Credentials {
                client_id,
                username: self.username.filter(|name| !name.is_empty()),
                password: self.password_file.map(|file| read_password(&file, max_body)).transpose()?,
                ..Credentials::default()
            }],
            None => read_json(max_body)?,
        };
        for credentials in &mut logins {
            credentials.password = credentials.password.take().filter(|password| !password.is_empty());
            credentials.peer_host = self.peer_host.clone().or(credentials.peer_host.take());
            credentials.attributes.extend(self.attributes.iter().cloned());
        }
        Ok(logins)
    }
}

/// Reads a password. The error does not repeat the path, which may be a password in the wrong place.
fn read_password(file: &Path, max_body: usize) -> Result<Vec<u8>> {
    let password = if file.as_os_str() == "-" { read_stdin(max_body) } else { read_file(file).map_err(Into::into) };
    let mut password = password.context("--password-file: cannot read this file")?;
    strip_line_ending(&mut password);
    Ok(password)
}

fn strip_line_ending(bytes: &mut Vec<u8>) {
    if bytes.pop_if(|byte| *byte == b'\n').is_some() {
        bytes.pop_if(|byte| *byte == b'\r');
    }
}

fn read_json(max_body: usize) -> Result<Vec<Credentials>> {
    if io::stdin().is_terminal() {
        bail!("no client: pass --client-id, or pipe a login as JSON (see mqtt-gate mint)");
    }
    parse_all(&read_stdin(MAX_INPUT)?, max_body)
}

/// Parses logins that follow each other, as `mint` prints them.
fn parse_all(input: &[u8], max_body: usize) -> Result<Vec<Credentials>> {
    let values = serde_json::Deserializer::from_slice(input).into_iter::<&RawValue>();
    let Ok(bodies) = values.collect::<Result<Vec<_>, _>>() else { return Ok(vec![parse_json(input)?]) };
    if bodies.is_empty() {
        return Ok(vec![parse_json(input)?]);
    }
    let parse = |body: &&RawValue| {
        ensure!(body.get().len() <= max_body, "a login is longer than limits.max_body, {max_body} bytes");
        parse_json(body.get().as_bytes())
    };
    bodies.iter().map(parse).collect()
}

/// Parses a login as `/mqtt/auth` does.
fn parse_json(body: &[u8]) -> Result<Credentials> {
    let request = Request { method: Method::Post, query: None, header: &|_| None, body };
    match Route::MqttAuth.parse(&request).context("standard input is not a login")?.request {
        AuthRequest::Authenticate(credentials) => Ok(credentials),
        _ => bail!("standard input is not a login"),
    }
}

fn read_stdin(max_body: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(max_body).unwrap_or(u64::MAX).saturating_add(1);
    io::stdin().lock().take(limit).read_to_end(&mut bytes).context("cannot read standard input")?;
    ensure!(bytes.len() <= max_body, "standard input is longer than {max_body} bytes");
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_ending_is_not_part_of_a_password() {
        for (text, password) in [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a\r", "a\r"), ("", "")] {
            let mut bytes = text.as_bytes().to_vec();
            strip_line_ending(&mut bytes);
            assert_eq!(bytes, password.as_bytes(), "{text:?}");
        }
    }

    #[test]
    fn attributes_may_contain_equals_signs() {
        assert_eq!(parse_attribute("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(parse_attribute("a").is_err());
    }

    #[test]
    fn logins_follow_each_other() {
        let ids = |text: &str| {
            parse_all(text.as_bytes(), 1000).map(|logins| logins.into_iter().map(|it| it.client_id).collect::<Vec<_>>())
        };
        assert_eq!(ids("{\"client_id\":\"a\"}\n{\"client_id\":\"b\"}\n").unwrap(), ["a", "b"]);
        assert_eq!(ids("{\n \"client_id\": \"a\"\n}").unwrap(), ["a"]);
        for text in ["", "{\"client_id\":\"a\"} s3cret", "{\"client_id\":\"a\"}\n{\"username\":\"s3cret\"}"] {
            let error = format!("{:#}", ids(text).err().unwrap());
            assert!(error.starts_with("standard input is not a login: ") && !error.contains("s3cret"), "{error}");
        }
        let long = format!("{{\"client_id\":\"{}\"}}", "x".repeat(1000));
        assert_eq!(ids(&long).unwrap_err().to_string(), "a login is longer than limits.max_body, 1000 bytes");
    }

    #[test]
    fn a_login_is_the_json_of_mqtt_auth() {
        let credentials = parse_json(br#"{"client_id":"c","username":"u","password":"p"}"#).unwrap();
        assert_eq!((credentials.client_id.as_str(), credentials.username.as_deref()), ("c", Some("u")));
        for body in ["", "s3cret", r#"{"username":"s3cret"}"#] {
            let error = format!("{:#}", parse_json(body.as_bytes()).err().unwrap());
            assert!(error.starts_with("standard input is not a login: ") && !error.contains("s3cret"), "{error}");
        }
    }
}
