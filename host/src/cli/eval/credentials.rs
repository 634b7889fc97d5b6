//! Who wants in, as the operator says it.

use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use brokers::{Credentials, Method, Question, Request, Route};
use clap::Args;
use mqtt_gate::settings::read_file;

/// A client, in flags or as JSON on standard input. The password is never a flag: others on the machine can read a command
/// line.
#[derive(Args)]
pub(crate) struct Login {
    /// The client id [default: the login is read from standard input, as the JSON that /mqtt/auth takes]
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
    /// The user name
    #[arg(long, value_name = "NAME", requires = "client_id")]
    username: Option<String>,
    /// Read the password from this file, or from standard input with `-`; one line ending at its end is dropped
    #[arg(long, value_name = "FILE", requires = "client_id")]
    password_file: Option<PathBuf>,
    /// The address that the client comes from
    #[arg(long, value_name = "ADDR")]
    peer_host: Option<String>,
    /// What the broker tells besides; may be given many times
    #[arg(long = "attribute", value_name = "NAME=VALUE", value_parser = attribute)]
    attributes: Vec<(String, String)>,
}

fn attribute(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("an attribute is NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Login {
    /// The credentials, of which at most so many bytes are read.
    pub(crate) fn read(self, most: usize) -> Result<Credentials> {
        let mut who = match self.client_id {
            Some(client_id) => Credentials {
                client_id,
                username: self.username.filter(|name| !name.is_empty()),
                password: self.password_file.map(|file| password(&file, most)).transpose()?,
                ..Credentials::default()
            },
            None => from_json(most)?,
        };
        who.password = who.password.filter(|password| !password.is_empty());
        who.peer_host = self.peer_host.or(who.peer_host);
        who.attributes.extend(self.attributes);
        Ok(who)
    }
}

/// The name of the file is not repeated: it may be a password in the wrong place.
fn password(file: &Path, most: usize) -> Result<Vec<u8>> {
    let read = if file.as_os_str() == "-" { from_stdin(most) } else { read_file(file).map_err(Into::into) };
    let mut password = read.context("--password-file: cannot read this file")?;
    if password.last() == Some(&b'\n') {
        password.pop();
        if password.last() == Some(&b'\r') {
            password.pop();
        }
    }
    Ok(password)
}

/// A login as a broker sends it.
fn from_json(most: usize) -> Result<Credentials> {
    if io::stdin().is_terminal() {
        bail!("who? give --client-id, or the login as JSON on standard input, such as `mqtt-gate mint` prints");
    }
    let body = from_stdin(most)?;
    let request = Request { method: Method::Post, query: None, header: &|_| None, body: &body };
    match Route::MqttAuth.read(&request).context("standard input is not a login")?.question {
        Question::Login(who) => Ok(who),
        _ => bail!("standard input is not a login"),
    }
}

fn from_stdin(most: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let bound = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    io::stdin().lock().take(bound).read_to_end(&mut bytes).context("cannot read standard input")?;
    ensure!(bytes.len() <= most, "standard input is longer than limits.body, {most} bytes");
    Ok(bytes)
}
