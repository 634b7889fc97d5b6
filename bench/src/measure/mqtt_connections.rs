//! What the filter in front of a broker takes: MQTT connections a second, with it and without.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::load::login::Login;
use crate::measure::run::Spread;
use crate::report::section::Table;

/// Clients that connect at once, each again and again.
const CLIENTS: usize = 8;

/// Connections in a turn. Bounded, because each leaves a port that is not free for a minute.
const CONNECTIONS: usize = 2_000;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is sent first, and how the answer to it begins.
struct Hello {
    connect: Vec<u8>,
    return_code: u8,
}

/// A broker that lets everybody in and does nothing else.
pub(crate) fn broker() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut bytes = [0; 1024];
                if client.read(&mut bytes).is_ok_and(|length| length > 0) {
                    let _ = client.write_all(&[0x20, 2, 0, 0]);
                    // Until the client is gone.
                    let _ = client.read(&mut bytes);
                }
            });
        }
    });
    Ok(address)
}

/// Connections a second to the broker itself, and through the filter: those that are let in, and those that are not.
pub(crate) fn table(broker: SocketAddr, filter: SocketAddr, rounds: usize) -> Result<Table> {
    let login = Login::signed_by_last(1)?;
    let good = Hello { connect: connect(login.body())?, return_code: 0 };
    let forged = Hello { connect: connect(body(login.forged()))?, return_code: 4 };
    let rows = [
        ("to the broker itself", broker, &good),
        ("through the filter, let in", filter, &good),
        ("through the filter, refused by it", filter, &forged),
    ];
    let mut rates = [const { Vec::new() }; 3];
    for round in 1..=rounds {
        eprintln!("connections: round {round} of {rounds}");
        for ((_, address, hello), rates) in rows.iter().zip(&mut rates) {
            rates.push(hello.rate(*address)?);
        }
    }
    let mut table = Table::new(["MQTT connections", "a second"]);
    for ((name, ..), rates) in rows.iter().zip(rates) {
        table.row([(*name).to_owned(), format!("{:.0}", Spread::of(rates))]);
    }
    Ok(table)
}

impl Hello {
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    fn rate(&self, address: SocketAddr) -> Result<f64> {
        let began = Instant::now();
        thread::scope(|scope| {
            let clients: Vec<_> =
                (0..CLIENTS).map(|_| scope.spawn(|| self.say(address, CONNECTIONS / CLIENTS))).collect();
            clients.into_iter().try_for_each(|client| client.join().unwrap_or_else(|_| bail!("a client panicked")))
        })?;
        Ok(CONNECTIONS as f64 / began.elapsed().as_secs_f64())
    }

    fn say(&self, address: SocketAddr, times: usize) -> Result<()> {
        for _ in 0..times {
            let mut stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(&self.connect)?;
            let mut answer = [0; 4];
            stream.read_exact(&mut answer)?;
            ensure!(answer == [0x20, 2, 0, self.return_code], "another answer to a CONNECT: {answer:02x?}");
        }
        Ok(())
    }
}

/// The body of a request.
fn body(request: &[u8]) -> &[u8] {
    let end = request.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(0, |at| at + 4);
    request.get(end..).unwrap_or_default()
}

/// The CONNECT of MQTT 3.1.1 with the credentials of a login.
fn connect(login: &[u8]) -> Result<Vec<u8>> {
    let login: Value = serde_json::from_slice(login)?;
    let mut packet = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0xc2, 0, 60];
    for name in ["client_id", "username", "password"] {
        let text = login.get(name).and_then(Value::as_str).context("a login without a member")?;
        packet.extend(u16::try_from(text.len())?.to_be_bytes());
        packet.extend(text.bytes());
    }
    let mut start = vec![0x10];
    let mut length = packet.len();
    while length > 0x7f {
        start.push(u8::try_from(length & 0x7f)? | 0x80);
        length >>= 7;
    }
    start.push(u8::try_from(length)?);
    Ok([start, packet].concat())
}
