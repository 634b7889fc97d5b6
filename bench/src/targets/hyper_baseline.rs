//! What hyper alone gives: it reads a request and sends the answer, which is always the same.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::num::NonZero;
use std::thread;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::mpsc;

/// Serves until it is ended, as the gate does: a thread has a runtime of its own, and connections in turn.
pub(crate) fn serve(listen: SocketAddr, workers: Option<NonZero<usize>>) -> Result<()> {
    let workers = workers.map_or_else(thread::available_parallelism, Ok)?;
    let lines = (0..workers.get()).map(|_| worker()).collect::<Result<Vec<_>>>()?;
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        eprintln!("listening on {}", listener.local_addr()?);
        for line in lines.iter().cycle() {
            line.send(listener.accept().await?.0.into_std()?)?;
        }
        Ok(())
    })
}

fn worker() -> Result<mpsc::UnboundedSender<std::net::TcpStream>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (line, mut connections) = mpsc::unbounded_channel();
    thread::spawn(move || {
        runtime.block_on(async {
            while let Some(connection) = connections.recv().await {
                tokio::spawn(answer_all(connection));
            }
        });
    });
    Ok(line)
}

async fn answer_all(stream: std::net::TcpStream) {
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let _ = stream.set_nodelay(true);
    // An end of the connection is the client's business.
    let _ = http1::Builder::new().pipeline_flush(true).serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let _ = request.into_body().collect().await;
    let mut response = Response::new(Full::new(Bytes::from_static(br#"{"result":"allow"}"#)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
