//! Reads the body of a request, bounded in size and time.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use brokers::{MAX_DISCARDED_BODY, RequestError};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::time::timeout;

/// Reads a whole body of at most `max_body` bytes. No timer is set for a body that arrived with its head.
pub(super) async fn read(body: Incoming, max_body: usize, request_timeout: Duration) -> Result<Bytes, RequestError> {
    let mut reading = pin!(collect(body, max_body));
    match poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await {
        Poll::Ready(body) => body,
        Poll::Pending => timeout(request_timeout, reading).await.unwrap_or(Err(RequestError::TooSlow)),
    }
}

async fn collect(mut body: Incoming, max_body: usize) -> Result<Bytes, RequestError> {
    let mut collected = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| RequestError::Truncated)?.into_data() else { continue };
        if collected.len() + data.len() > max_body {
            discard_rest(body, collected.len() + data.len()).await;
            return Err(RequestError::TooLarge { limit: max_body });
        }
        // Nearly every body is one frame, which is not copied.
        if collected.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        collected.extend_from_slice(&data);
    }
    Ok(collected.freeze())
}

/// Reads a body of at most [`MAX_DISCARDED_BODY`] bytes, and keeps none of it.
pub(super) async fn discard(body: Incoming, request_timeout: Duration) {
    if !body.is_end_stream() {
        let _ = timeout(request_timeout, discard_rest(body, 0)).await;
    }
}

/// Reads the rest of a body that is too large, up to [`MAX_DISCARDED_BODY`] bytes.
///
/// Up to there the connection lives on, because other requests wait on it. What a client can make a broker send is less.
async fn discard_rest(mut body: Incoming, mut read: usize) {
    while read <= MAX_DISCARDED_BODY
        && let Some(Ok(frame)) = body.frame().await
    {
        read += frame.data_ref().map_or(0, Bytes::len);
    }
}
