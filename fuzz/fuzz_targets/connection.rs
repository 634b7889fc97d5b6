//! Sequences of requests on one connection to a real gate: no client without valid credentials is allowed, each complete
//! request gets one answer in order, and the gate serves on.
//!
//! The gate is the program in `MQTT_GATE`, which `make fuzz` builds. It runs in a process of its own, so the fuzzer does
//! not see which code an input reaches.

#![no_main]

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use rustix::process::{Signal, set_parent_process_death_signal};

const ROUTES: [&str; 8] = [
    "/mqtt/auth",
    "/emqx/auth",
    "/emqx/acl",
    "/rabbitmq/user",
    "/mosquitto/user",
    "/vernemq",
    "/mqtt/acl",
    "/nowhere",
];

#[derive(Arbitrary, Debug)]
enum Step {
    /// A request that a broker could send for an unknown client.
    Login { route: u8, client_id: u8 },
    /// The same with a member of any text.
    Body { route: u8, body: Vec<u8> },
    Chunked { route: u8, body: Vec<u8>, is_cut: bool },
    /// A head with a header of any bytes.
    Header { route: u8, line: Vec<u8> },
    Http2Preface,
    Bytes(Vec<u8>),
}

struct Gate {
    address: SocketAddr,
    _child: Child,
}

/// Starts the gate. The kernel ends it together with this process.
static GATE: LazyLock<Gate> = LazyLock::new(|| {
    let program = std::env::var_os("MQTT_GATE").expect("MQTT_GATE is the path of the program; use `make fuzz`");
    let mut command = Command::new(program);
    // SAFETY: the closure makes one system call, and allocates nothing.
    unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
    let mut child = command
        .args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"])
        .env("MQTT_SIGNATURE_KEY", "a key that the fuzzer does not know")
        .stderr(Stdio::piped())
        .spawn()
        .expect("the gate starts");
    let mut lines = BufReader::new(child.stderr.take().expect("a pipe")).lines();
    let serving = lines.find_map(|line| line.ok().filter(|line| line.contains("\"serving\""))).expect("the gate serves");
    let listen = serving.split("\"listen\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let address = listen.and_then(|text| text.parse().ok()).expect("an address");
    std::thread::spawn(move || lines.for_each(drop));
    Gate { address, _child: child }
});

impl Step {
    fn bytes(&self) -> Vec<u8> {
        let head = |route: &u8, more: &str| {
            let route = ROUTES[usize::from(*route) % ROUTES.len()];
            format!("POST {route} HTTP/1.1\r\nhost: gate\r\ncontent-type: application/json\r\n{more}").into_bytes()
        };
        match self {
            Self::Login { route, client_id } => {
                let body = format!(r#"{{"clientid":"c{client_id}","username":"u","password":"p"}}"#);
                [head(route, &format!("content-length: {}\r\n\r\n", body.len())), body.into_bytes()].concat()
            }
            Self::Body { route, body } => {
                [head(route, &format!("content-length: {}\r\n\r\n", body.len())), body.clone()].concat()
            }
            Self::Chunked { route, body, is_cut } => {
                let mut bytes = head(route, "transfer-encoding: chunked\r\n\r\n");
                bytes.extend(format!("{:x}\r\n", body.len().max(1)).into_bytes());
                bytes.extend(if body.is_empty() { b"x" } else { &body[..] });
                bytes.extend(if *is_cut { &b""[..] } else { b"\r\n0\r\n\r\n" });
                bytes
            }
            Self::Header { route, line } => [head(route, ""), line.clone(), b"\r\n\r\n".to_vec()].concat(),
            Self::Http2Preface => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
            Self::Bytes(bytes) => bytes.clone(),
        }
    }

    fn is_login(&self) -> bool {
        matches!(self, Self::Login { .. })
    }
}

/// Sends all steps at once, and returns everything that the gate answers until it closes.
fn exchange(steps: &[Step]) -> Vec<u8> {
    let mut stream = TcpStream::connect(GATE.address).expect("the gate accepts");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    let mut writer = stream.try_clone().expect("a handle");
    let request: Vec<u8> = steps.iter().flat_map(Step::bytes).collect();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // The gate may close before it has read everything.
            let _ = writer.write_all(&request);
            let _ = writer.shutdown(Shutdown::Write);
        });
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the gate neither answers nor closes: {error}"),
        }
        answer
    })
}

fuzz_target!(|steps: Vec<Step>| {
    let steps = &steps[..steps.len().min(20)];
    let answer = String::from_utf8_lossy(&exchange(steps)).to_ascii_lowercase();
    for allow in ["\"result\":\"allow\"", "\"result\": \"allow\"", "\r\n\r\nallow", "\"result\":\"ok\""] {
        assert!(!answer.contains(allow), "{answer}");
    }
    // Complete logins in front of everything else are answered one by one.
    let logins = steps.iter().take_while(|step| step.is_login()).count();
    let answers = answer.matches("http/1.1 ").count();
    assert!(answers >= logins, "{logins} logins, {answers} answers: {answer}");
});
