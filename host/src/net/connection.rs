//! One client's connection.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use crate::net::accept::Accepted;
use crate::http::body;
use crate::config::Limits;
use crate::net::drain::{Farewell, GRACE};
use crate::net::coalesce::Gathered;
use crate::decision::evaluate::Judge;
use crate::net::progress_timeout::{Patience, Requests, Stuck};
use crate::util::shutdown::Stopping;
use crate::security::tls::Tls;
use crate::security::stream::Wire;
use crate::net::worker::Worker;

/// How long a connection may be quiet between two requests. EMQX reconnects needlessly when it is under 15 s.
const IDLE: Duration = Duration::from_secs(75);

/// The longest head of a request. An address is at most 65,534 bytes.
const LONGEST_HEAD: usize = 128 << 10;

/// How a connection ended.
#[derive(Debug)]
enum End {
    /// As it should, or by the client.
    Done,
    /// With a request that is not HTTP, or too long.
    Unreadable,
    /// The client left it.
    Broken,
    /// The client kept the gate waiting.
    Lost(Stuck),
}

/// Serves one connection until it ends; once the gate stops, until what is in flight has been answered.
pub(crate) async fn serve<J: Judge>(worker: Worker<J>, Accepted { stream, place }: Accepted) {
    let stream = match TcpStream::from_std(stream) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%error, "cannot take over a connection"),
    };
    // Answers are one small write each: waiting to fill a packet would only cost time.
    let _ = stream.set_nodelay(true);
    let Worker { questions, limits, mut stopping, tls } = worker;
    let wire = match tls {
        None => Wire::Plain(stream),
        Some(tls) => match greet(tls, stream, limits, stopping.clone()).await {
            Some(wire) => wire,
            None => return,
        },
    };
    let gathered = Gathered::new(wire);
    let requests = Arc::new(Requests::default());
    let service = |request: Request<Incoming>| {
        let (questions, requests) = (Arc::clone(&questions), Arc::clone(&requests));
        async move {
            requests.begin();
            let answer = questions.answer(request).await;
            requests.answer();
            answer
        }
    };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(LONGEST_HEAD)
        // Who has said all that it has to say still wants to hear the answer.
        .half_close(true);
    let server = || http.serve_connection(TokioIo::new(gathered.clone()), service_fn(&service));
    let mut connection = server();
    let mut patience = Patience::new(limits.request);
    // The socket is looked at once more between the word and acting on it: what has arrived may not be known here yet.
    let mut stopped = pin!(async {
        stopping.wait().await;
        yield_now().await;
    });
    let mut is_stopping = false;
    let mut is_told = false;
    let mut farewell = Farewell::new(limits.drain);
    let end = poll_fn(|cx| {
        is_stopping = is_stopping || stopped.as_mut().poll(cx).is_ready();
        let mut ended = Pin::new(&mut connection).poll(cx);
        if is_stopping && ended.is_pending() && requests.are_answered() && gathered.flow().is_at_rest() {
            // Only the server knows whether a request has begun to arrive, and tells when it is taken apart.
            let begun = std::mem::replace(&mut connection, server()).into_parts().read_buf;
            is_told = begun.is_empty() && gathered.announce_end();
            gathered.put_back(&begun);
            // Also one that is in the middle of a request: whoever restarts the gate waits for all of them.
            if is_told || farewell.poll_silent(cx, gathered.flow().received).is_ready() {
                return Poll::Ready(End::Done);
            }
            ended = Pin::new(&mut connection).poll(cx);
        }
        let unreadable = matches!(&ended, Poll::Ready(Err(error)) if error.is_parse());
        if unreadable {
            // Its answer is not to leave yet.
            return Poll::Ready(End::Unreadable);
        }
        if matches!(gathered.poll_send(cx), Poll::Ready(Err(_))) {
            return Poll::Ready(End::Broken);
        }
        match ended {
            Poll::Ready(Ok(())) => Poll::Ready(End::Done),
            Poll::Ready(Err(_)) => Poll::Ready(End::Broken),
            Poll::Pending => patience.poll_lost(cx, gathered.flow(), &requests).map(End::Lost),
        }
    })
    .await;
    if matches!(end, End::Unreadable) {
        let head = connection.into_parts().read_buf;
        if let Some(answer) = questions.answer_unreadable(&head, &gathered.beginning()) {
            gathered.replace_last(&answer);
        }
    }
    let parting = async {
        if !matches!(end, End::Lost(Stuck::Answer(_))) {
            let _ = gathered.send().await;
        }
        match end {
            // What it has sent meanwhile is read, or the system would take back the answers with it.
            End::Done if is_told => gathered.linger(body::MOST_DISCARDED as u64, sleep(GRACE)).await,
            End::Done => drop(gathered.finish().await),
            End::Unreadable => {
                // Once it has been said that the gate stops, `stopped` is over.
                let stopped = async {
                    if !is_stopping {
                        stopped.await
                    }
                };
                gathered.linger(body::MOST_DISCARDED as u64, stopped).await;
            }
            End::Broken | End::Lost(_) => {}
        }
    };
    if timeout(limits.request.min(limits.drain), parting).await.is_err() || !matches!(end, End::Done) {
        tracing::debug!(?end, "a connection broke");
    }
    drop(place);
}

/// Comes to speak TLS with a client. Once the gate stops, no client that is at it is waited for longer than one that is
/// silent.
async fn greet(tls: Tls, stream: TcpStream, limits: Limits, mut stopping: Stopping) -> Option<Wire> {
    let no_longer = async {
        stopping.wait().await;
        sleep(GRACE.min(limits.drain)).await;
    };
    tokio::select! {
        wire = tls.greet(stream, limits.request) => wire,
        () = no_longer => None,
    }
}
