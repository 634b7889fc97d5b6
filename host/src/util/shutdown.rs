//! The word that the gate is to stop, from the one who says it to all who wait for it.

use tokio::sync::watch;

/// Says it, once. Dropping it says it too.
pub(crate) struct Stop(watch::Sender<bool>);

/// Hears it.
#[derive(Clone)]
pub(crate) struct Stopping(watch::Receiver<bool>);

impl Stop {
    pub(crate) fn new() -> (Self, Stopping) {
        let (stop, stopping) = watch::channel(false);
        (Self(stop), Stopping(stopping))
    }

    pub(crate) fn say(&self) {
        self.0.send_replace(true);
    }
}

impl Stopping {
    /// Whether it has been said.
    pub(crate) fn is_said(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is said.
    pub(crate) async fn wait(&mut self) {
        // Whether it was said or can never be any more: there is nothing to wait for.
        drop(self.0.wait_for(|&said| said).await);
    }
}
