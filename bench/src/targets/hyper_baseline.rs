//! The upper bound: hyper reads each request and sends a constant response.

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

/// Serves until the process is killed. As in the gate, each worker thread has its own runtime, and connections are
/// assigned round-robin.
pub(crate) fn serve(listen: SocketAddr, workers: Option<NonZero<usize>>) -> Result<()> {
    let workers = workers.map_or_else(thread::available_parallelism, Ok)?;
    let senders = (0..workers.get()).map(|_| spawn_worker()).collect::<Result<Vec<_>>>()?;
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind(listen).await?;
        eprintln!("listening on {}", listener.local_addr()?);
        for sender in senders.iter().cycle() {
            sender.send(listener.accept().await?.0.into_std()?)?;
        }
        Ok(())
    })
}

fn spawn_worker() -> Result<mpsc::UnboundedSender<std::net::TcpStream>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (sender, mut connections) = mpsc::unbounded_channel();
    thread::spawn(move || {
        runtime.block_on(async {
            while let Some(connection) = connections.recv().await {
                tokio::spawn(serve_connection(connection));
            }
        });
    });
    Ok(sender)
}

async fn serve_connection(stream: std::net::TcpStream) {
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    let _ = stream.set_nodelay(true);
    // An error means that the client closed the connection, which ends every run of the load.
    let _ = http1::Builder::new().pipeline_flush(true).serve_connection(TokioIo::new(stream), service_fn(allow)).await;
}

async fn allow(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let _ = request.into_body().collect().await;
    let mut response = Response::new(Full::new(Bytes::from_static(br#"{"result":"allow"}"#)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
