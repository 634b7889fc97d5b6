//! A value that another thread loads, so that the watch thread goes on.

use std::io;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;

use super::Waker;

/// A value on its way. It is cancelled when this is dropped.
pub struct Load<T> {
    loaded: Receiver<T>,
    cancel: Option<Box<dyn FnOnce() + Send>>,
}

/// How a load goes.
pub(super) enum LoadState<T> {
    Running,
    Ended(T),
    Panicked,
}

impl<T: Send + 'static> Load<T> {
    /// Loads a value on a thread of its own, which calls `waker` at the end. `cancel` makes `load` end soon.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub fn spawn(
        load: impl FnOnce() -> T + Send + 'static,
        cancel: impl FnOnce() + Send + 'static,
        waker: Option<Waker>,
    ) -> io::Result<Self> {
        let (send, loaded) = sync_channel(1);
        let run = move || {
            // Dropped after the sender, also by a panic.
            let _woken = WakeOnDrop(waker);
            let send = send;
            // Nobody receives the value of a load that was cancelled.
            let _ = send.send(load());
        };
        thread::Builder::new().name("policy-load".to_owned()).spawn(run)?;
        Ok(Self { loaded, cancel: Some(Box::new(cancel)) })
    }

    pub(super) fn state(&self) -> LoadState<T> {
        match self.loaded.try_recv() {
            Ok(value) => LoadState::Ended(value),
            Err(TryRecvError::Empty) => LoadState::Running,
            Err(TryRecvError::Disconnected) => LoadState::Panicked,
        }
    }
}

impl<T> Drop for Load<T> {
    fn drop(&mut self) {
        if let Some(cancel) = self.cancel.take() {
            cancel();
        }
    }
}

struct WakeOnDrop(Option<Waker>);

impl Drop for WakeOnDrop {
    fn drop(&mut self) {
        if let Some(waker) = &self.0 {
            waker.wake();
        }
    }
}
