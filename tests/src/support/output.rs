//! Captured output of a running program.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::Notify;

use crate::support::within_timeout;

/// The lines that a program has printed so far. Read all the time, so that the program never blocks on a full pipe.
#[derive(Clone, Default)]
pub(crate) struct Output(Arc<Captured>);

#[derive(Default)]
struct Captured {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    text: String,
    is_closed: bool,
}

impl Output {
    pub(crate) fn capture(stream: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let output = Self::default();
        let captured = Arc::clone(&output.0);
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            // Not all of it is UTF-8: Envoy quotes its input.
            while stream.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
                captured.state.lock().unwrap().text.push_str(&String::from_utf8_lossy(&line));
                captured.changed.notify_waiters();
                line.clear();
            }
            captured.state.lock().unwrap().is_closed = true;
            captured.changed.notify_waiters();
        });
        output
    }

    pub(crate) fn text(&self) -> String {
        self.0.state.lock().unwrap().text.clone()
    }

    /// Number of occurrences of `text`.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.text().matches(text).count()
    }

    /// Waits until the output contains `text`.
    pub(crate) async fn wait_for(&self, text: &str) {
        assert!(self.wait_for_or_eof(text).await, "the output ended without {text:?}: {}", self.text());
    }

    /// Waits until the output contains `text` or ends. Returns whether it contains `text`.
    pub(crate) async fn wait_for_or_eof(&self, text: &str) -> bool {
        let found = async {
            loop {
                let changed = self.0.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                let (is_found, is_closed) = {
                    let state = self.0.state.lock().unwrap();
                    (state.text.contains(text), state.is_closed)
                };
                if is_found || is_closed {
                    return is_found;
                }
                changed.await;
            }
        };
        within_timeout(&format!("{text:?} in the output"), found).await
    }
}
