//! What a program says while it runs, kept.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::support::child::PATIENCE;

/// The lines of a program so far. Read all along, so that the program never waits to write them.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Said>);

#[derive(Default)]
struct Said {
    text: Mutex<(String, bool)>,
    more: Notify,
}

impl Log {
    pub(crate) fn of(stream: impl AsyncRead + Send + Unpin + 'static) -> Self {
        let log = Self::default();
        let said = Arc::clone(&log.0);
        tokio::spawn(async move {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            // Not all of it is text: Envoy quotes what it was given.
            while stream.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
                said.text.lock().unwrap().0.push_str(&String::from_utf8_lossy(&line));
                said.more.notify_waiters();
                line.clear();
            }
            said.text.lock().unwrap().1 = true;
            said.more.notify_waiters();
        });
        log
    }

    pub(crate) fn text(&self) -> String {
        self.0.text.lock().unwrap().0.clone()
    }

    /// How often it has said so.
    pub(crate) fn count(&self, word: &str) -> usize {
        self.text().matches(word).count()
    }

    /// Waits until it says so.
    pub(crate) async fn until(&self, word: &str) {
        assert!(self.until_or_end(word).await, "it ended without {word:?}: {}", self.text());
    }

    /// Waits until it says so, or ends. Whether it said so.
    pub(crate) async fn until_or_end(&self, word: &str) -> bool {
        let said = async {
            loop {
                let more = self.0.more.notified();
                tokio::pin!(more);
                more.as_mut().enable();
                let (has_said, has_ended) = {
                    let text = self.0.text.lock().unwrap();
                    (text.0.contains(word), text.1)
                };
                if has_said || has_ended {
                    return has_said;
                }
                more.await;
            }
        };
        timeout(PATIENCE, said).await.unwrap_or_else(|_| panic!("it never said {word:?}: {}", self.text()))
    }
}
