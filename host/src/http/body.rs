//! Reading the body of a request, bounded in size and time.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use brokers::Malformed;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

/// How much of a body that is too large is read and thrown away. Up to here the connection lives on, because others
/// have requests waiting on it; beyond, it is closed. What a client can make a broker send is less: three texts of
/// 65,535 bytes, each byte written as six.
pub(crate) const MOST_DISCARDED: usize = 4 << 20;

/// Reads a whole body. Nearly every one has arrived with its head, and is not timed.
pub(crate) async fn read(body: Incoming, limit: usize, patience: Duration) -> Result<Bytes, Malformed> {
    let mut whole = pin!(collect(body, limit));
    match poll_fn(|cx| Poll::Ready(whole.as_mut().poll(cx))).await {
        Poll::Ready(body) => body,
        Poll::Pending => timeout(patience, whole).await.unwrap_or(Err(Malformed::TooSlow)),
    }
}

async fn collect(mut body: Incoming, limit: usize) -> Result<Bytes, Malformed> {
    // Nearly every body is one frame, which is not copied.
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Malformed::Cut)?.into_data() else { continue };
        if whole.len() + data.len() > limit {
            discard(body, whole.len() + data.len()).await;
            return Err(Malformed::TooLarge { limit });
        }
        if whole.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

async fn discard(mut body: Incoming, mut read: usize) {
    while read <= MOST_DISCARDED
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}
