//! The gate restarts while brokers ask, and not one request is lost: the service manager holds the socket.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;

use crate::security::tls::Files;
use crate::support::ca::Authority;
use crate::support::child::{Running, run};
use crate::support::device::Device;
use crate::support::fake_systemd::{Manager, handing_over};
use crate::support::http::{Answer, Connection, post};

const CONNECTIONS: usize = 8;
const RESTARTS: u64 = 4;
/// More than a server takes in one go.
const DEPTH: usize = 48;

/// What became of the requests of all brokers.
#[derive(Clone, Default)]
struct Figures {
    sent: Arc<AtomicU64>,
    /// Sent on a connection that ended without an answer.
    unanswered: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
}

/// Three that take turns, so that an answer in another's place is seen.
fn questions() -> [(Vec<u8>, u16); 3] {
    [
        (Device::genuine().request(), 200),
        (post("/mqtt/auth", "application/json", b"{"), 400),
        (Device::named("x").request(), 401),
    ]
}

/// One connection of a broker that asks by the dozen and waits for the answers. It connects anew when the connection was
/// ended in between.
async fn broker_that_waits(at: SocketAddr, figures: Figures) {
    let asked = questions();
    let burst: Vec<u8> = (0..DEPTH).flat_map(|at| asked[at % asked.len()].0.iter().copied()).collect();
    let mut connection = Connection::open(at).await;
    while !figures.done.load(SeqCst) {
        if connection.is_ended() {
            connection = Connection::open(at).await;
        }
        figures.sent.fetch_add(DEPTH as u64, SeqCst);
        connection.try_send(&burst).await;
        for number in 0..DEPTH {
            let answer = connection.try_answer().await;
            let Some(Answer { status, .. }) = answer else {
                figures.unanswered.fetch_add((DEPTH - number) as u64, SeqCst);
                break;
            };
            assert_eq!(status, asked[number % asked.len()].1, "question {number}");
            if answer.is_some_and(|answer| answer.header("connection") == Some("close")) {
                figures.unanswered.fetch_add((DEPTH - number - 1) as u64, SeqCst);
                connection = Connection::open(at).await;
                break;
            }
        }
    }
}

/// One connection of a broker that has so many requests on the way all the while. What a connection did not answer is
/// asked again on the next, as EMQX does it, and no more often than EMQX.
async fn broker_that_does_not_wait<S: AsyncRead + AsyncWrite + Unpin>(
    open: impl AsyncFn() -> Connection<S>,
    figures: Figures,
) {
    let asked = questions();
    let (mut underway, mut again) = (VecDeque::new(), VecDeque::new());
    let mut connection = open().await;
    let mut next = 0;
    while !figures.done.load(SeqCst) || !underway.is_empty() || !again.is_empty() {
        while underway.len() < DEPTH && (!again.is_empty() || !figures.done.load(SeqCst)) {
            let (question, tries) = again.pop_front().unwrap_or((next % asked.len(), 0));
            (next, _) = (next + usize::from(tries == 0), figures.sent.fetch_add(u64::from(tries == 0), SeqCst));
            assert!(tries < 3, "EMQX asks no more than three times");
            underway.push_back((question, tries + 1));
            connection.try_send(&asked[question].0).await;
        }
        let answer = connection.try_answer().await;
        if let Some(answer) = &answer {
            let (question, _) = underway.pop_front().unwrap();
            assert_eq!(answer.status, asked[question].1);
        }
        if answer.is_none_or(|answer| answer.header("connection") == Some("close")) {
            figures.unanswered.fetch_add(underway.len() as u64, SeqCst);
            again.append(&mut underway);
            connection = open().await;
        }
    }
}

/// Restarts the program again and again while so many of these brokers ask; what became of their requests.
async fn restart_under<B: Future<Output = ()> + Send + 'static>(
    arguments: &[&str],
    broker: impl Fn(SocketAddr, Figures) -> B,
) -> (u64, u64) {
    let manager = Manager::new();
    let figures = Figures::default();
    let mut gate = Running::start(&mut manager.serve(arguments)).await;
    let brokers: Vec<JoinHandle<()>> =
        (0..CONNECTIONS).map(|_| tokio::spawn(broker(manager.logins(), figures.clone()))).collect();
    for _ in 0..RESTARTS {
        let sent = figures.sent.load(SeqCst);
        while figures.sent.load(SeqCst) < sent + (20 * CONNECTIONS * DEPTH) as u64 {
            tokio::task::yield_now().await;
        }
        gate.terminate();
        assert_eq!(gate.end().await.0, Some(0));
        // The next one is started only when this one is gone: meanwhile the brokers wait in the socket.
        gate = Running::start(&mut manager.serve(arguments)).await;
    }
    figures.done.store(true, SeqCst);
    for broker in brokers {
        broker.await.unwrap();
    }
    gate.terminate();
    assert_eq!(gate.end().await.0, Some(0));
    (figures.sent.load(SeqCst), figures.unanswered.load(SeqCst))
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_under_load_lose_nothing() {
    let (sent, lost) = restart_under(&[], broker_that_waits).await;
    println!("{RESTARTS} restarts, {sent} requests, {lost} lost");
    assert_eq!(lost, 0, "of {sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_on_its_way_at_a_restart_is_answered_when_it_is_asked_again() {
    let broker = |at, figures| broker_that_does_not_wait(async move || Connection::open(at).await, figures);
    let (sent, again) = restart_under(&[], broker).await;
    println!("{RESTARTS} restarts, {sent} requests, {again} asked again, all answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_is_in_tls() {
    let authority = Arc::new(Authority::new());
    let files = Files::of(&authority.identity());
    let config = files.path("gate.toml");
    fs::write(&config, format!("tls = {}\nlimits.deadline = \"20s\"", files.toml())).unwrap();
    // Who has not come to speak TLS with a gate that stops tries again with the next.
    let open = async |authority: &Authority, at| loop {
        if let Ok(connection) = authority.connect(at, None).await {
            return connection;
        }
    };
    let broker = |at, figures| {
        let authority = Arc::clone(&authority);
        broker_that_does_not_wait(async move || open(&authority, at).await, figures)
    };
    let (sent, again) = restart_under(&["--config", config.to_str().unwrap()], broker).await;
    println!("{RESTARTS} restarts in TLS, {sent} requests, {again} asked again, all answered");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_in_a_socket_that_is_held_is_answered_by_the_next_gate() {
    let manager = Manager::new();
    let gate = Running::start(&mut manager.serve(&[])).await;
    // Held, so that nobody is taken before it hears of the stop.
    gate.signal("STOP");
    let mut waiting = Vec::new();
    for _ in 0..50 {
        let mut connection = Connection::open(manager.logins()).await;
        connection.send(&Device::genuine().request()).await;
        waiting.push(connection);
    }
    gate.terminate();
    gate.signal("CONT");
    assert_eq!(gate.end().await.0, Some(0));
    let gate = Running::start(&mut manager.serve(&[])).await;
    for mut connection in waiting {
        assert_eq!(connection.answer().await.status, 200);
    }
    gate.terminate();
    assert_eq!(gate.end().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_socket_that_is_handed_over_counts_and_not_the_address_in_the_configuration() {
    let manager = Manager::new();
    let gate = Running::start(&mut manager.serve(&[])).await;
    assert_eq!((gate.logins, gate.admin), (manager.logins(), manager.admin()));
    assert_eq!(Connection::open(manager.logins()).await.ask(&Device::genuine().request()).await.status, 200);
    gate.terminate();
    assert_eq!(gate.end().await.0, Some(0));

    // One without a name is for brokers; the operator's is opened as configured then.
    let logins = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = logins.local_addr().unwrap();
    let gate = Running::start(&mut handing_over([logins.into()], "mqtt-gate.socket", &[])).await;
    assert_eq!(gate.logins, address);
    assert_ne!(gate.admin, address);
    gate.terminate();
    assert_eq!(gate.end().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_listening_socket_is_refused_in_one_line() {
    let listening = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let connected = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        OwnedFd::from(std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap())
    };
    for (descriptors, names, complaint) in [
        (vec![File::open("/dev/null").unwrap().into()], "logins", "socket 1 (logins)"),
        (vec![UdpSocket::bind("127.0.0.1:0").unwrap().into()], "x", "not a listening TCP socket"),
        (vec![listening(), connected()], "logins:admin", "socket 2 (admin)"),
        (vec![listening(), listening(), listening()], "a:b:c", "3 sockets were handed over"),
        (vec![listening(), listening()], "logins:logins", "handed over as `logins`"),
        (vec![listening(), listening()], "logins:web", "handed over as `web`"),
    ] {
        let (code, printed, error) = run(&mut handing_over(descriptors, names, &[])).await;
        assert_eq!((code, printed.as_str()), (Some(64), ""), "{error}");
        assert!(error.contains(complaint) && error.lines().count() == 1, "{error}");
    }
}
