//! The cost of Envoy's MQTT filter: MQTT connections per second, with the filter and without it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::load::login::Login;
use crate::measure::summary::Summary;
use crate::report::section::Table;

/// The clients that connect at the same time, each one again and again.
const CLIENTS: usize = 8;

/// The connections of one run. Each closed connection occupies a local port for a minute, which limits the number.
const CONNECTIONS: usize = 2_000;

/// The longest wait for a CONNACK.
const CONNACK_TIMEOUT: Duration = Duration::from_secs(10);

/// CONNACK return codes of MQTT 3.1.1, section 3.2.2.3.
const ACCEPTED: u8 = 0;
const BAD_USER_NAME_OR_PASSWORD: u8 = 4;

/// A CONNECT packet and the return code that it must receive.
struct Handshake {
    connect: Vec<u8>,
    return_code: u8,
}

/// Starts a broker that accepts every CONNECT and does nothing else.
pub(crate) fn start_broker() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut buffer = [0; 1024];
                if client.read(&mut buffer).is_ok_and(|length| length > 0) {
                    let _ = client.write_all(&connack(ACCEPTED));
                    // Wait until the client closes the connection.
                    let _ = client.read(&mut buffer);
                }
            });
        }
    });
    Ok(address)
}

/// Measures connections to the broker itself and through the filter, both allowed and denied ones.
pub(crate) fn table(broker: SocketAddr, filter: SocketAddr, rounds: usize) -> Result<Table> {
    let login = Login::new(1)?;
    let valid = Handshake { connect: connect(login.body())?, return_code: ACCEPTED };
    let forged = Handshake { connect: connect(login.forged_body())?, return_code: BAD_USER_NAME_OR_PASSWORD };
    let rows = [
        ("directly to the broker", broker, &valid),
        ("through the filter, allowed", filter, &valid),
        ("through the filter, denied", filter, &forged),
    ];
    let mut rates = [const { Vec::new() }; 3];
    for round in 1..=rounds {
        eprintln!("MQTT connections: round {round} of {rounds}");
        for ((_, address, handshake), rates) in rows.iter().zip(&mut rates) {
            rates.push(handshake.rate(*address)?);
        }
    }
    let mut table = Table::new(["MQTT connections", "per second"]);
    for ((name, ..), rates) in rows.iter().zip(rates) {
        table.row([(*name).to_owned(), format!("{:.0}", Summary::of(rates))]);
    }
    Ok(table)
}

impl Handshake {
    /// Measures handshakes per second, made by [`CLIENTS`] clients in parallel.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn rate(&self, address: SocketAddr) -> Result<f64> {
        let started = Instant::now();
        thread::scope(|scope| {
            let clients: Vec<_> =
                (0..CLIENTS).map(|_| scope.spawn(|| self.repeat(address, CONNECTIONS / CLIENTS))).collect();
            clients.into_iter().try_for_each(|client| client.join().unwrap_or_else(|_| bail!("a client panicked")))
        })?;
        Ok(CONNECTIONS as f64 / started.elapsed().as_secs_f64())
    }

    fn repeat(&self, address: SocketAddr, times: usize) -> Result<()> {
        for _ in 0..times {
            let mut stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(CONNACK_TIMEOUT))?;
            stream.write_all(&self.connect)?;
            let mut response = [0; 4];
            stream.read_exact(&mut response)?;
            ensure!(response == connack(self.return_code), "unexpected response to a CONNECT: {response:02x?}");
        }
        Ok(())
    }
}

fn connack(return_code: u8) -> [u8; 4] {
    [0x20, 2, 0, return_code]
}

/// Builds an MQTT 3.1.1 CONNECT with the credentials of a login request's body.
fn connect(body: &[u8]) -> Result<Vec<u8>> {
    let login: Value = serde_json::from_slice(body)?;
    let mut packet = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0xc2, 0, 60];
    for field in ["client_id", "username", "password"] {
        let text = login.get(field).and_then(Value::as_str).with_context(|| format!("a login without {field}"))?;
        packet.extend(u16::try_from(text.len())?.to_be_bytes());
        packet.extend(text.bytes());
    }
    let mut header = vec![0x10];
    let mut length = packet.len();
    while length > 0x7f {
        header.push(u8::try_from(length & 0x7f)? | 0x80);
        length >>= 7;
    }
    header.push(u8::try_from(length)?);
    Ok([header, packet].concat())
}
