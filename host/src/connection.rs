//! One client's connection.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::gather::Gathered;
use crate::worker::Worker;

/// How long a connection may be quiet between two requests, or take over the head of one. EMQX reconnects needlessly
/// when it is under 15 s.
const IDLE: Duration = Duration::from_secs(75);

/// Serves one connection until it ends; once the gate stops, until what is in flight has been answered.
pub(crate) async fn serve(worker: Worker, connection: std::net::TcpStream) {
    let stream = match TcpStream::from_std(connection) {
        Ok(stream) => stream,
        Err(error) => return tracing::warn!(%error, "cannot take over a connection"),
    };
    // Answers are one small write each: waiting to fill a packet would only cost time.
    let _ = stream.set_nodelay(true);
    let gathered = Gathered::new(stream);
    let Worker { questions, limits, mut stopping } = worker;
    let service = service_fn(move |request| {
        let questions = Arc::clone(&questions);
        async move { questions.answer(request).await }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(IDLE)
            // Who has said all that it has to say still wants to hear the answer.
            .half_close(true)
            .serve_connection(TokioIo::new(gathered.clone()), service)
    );
    // The socket is looked at once more between the word and acting on it: what has arrived may not be known here yet.
    let mut stopped = pin!(async {
        stopping.wait().await;
        yield_now().await;
    });
    let mut is_stopping = false;
    let ended = poll_fn(|cx| {
        is_stopping = is_stopping || stopped.as_mut().poll(cx).is_ready();
        let mut ended = connection.as_mut().poll(cx);
        if is_stopping && ended.is_pending() && gathered.is_starved() {
            // Not before: it would drop the requests that have arrived and not been answered.
            connection.as_mut().graceful_shutdown();
            ended = connection.as_mut().poll(cx);
        }
        match gathered.poll_send(cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error.to_string())),
            _ => ended.map_err(|error| error.to_string()),
        }
    })
    .await;
    // What hyper says of a request that it cannot read, for one.
    let sent = timeout(limits.drain, gathered.send()).await;
    if ended.is_err() || !matches!(sent, Ok(Ok(()))) {
        tracing::debug!(?ended, "a connection broke");
    }
}
