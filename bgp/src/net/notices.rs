//! The channel for notices.

use tokio::sync::mpsc;

use crate::notice::Notice;

/// The number of notices that wait for the caller. Further ones are dropped: a caller that reads is never that far
/// behind, because each kind of notice is limited at its source.
const ROOM: usize = 1024;

/// Sends notices, and never waits.
#[derive(Debug, Clone)]
pub(super) struct Notices(mpsc::Sender<Notice>);

impl Notices {
    pub(super) fn new() -> (Self, mpsc::Receiver<Notice>) {
        let (notices, receiver) = mpsc::channel(ROOM);
        (Self(notices), receiver)
    }

    pub(super) fn tell(&self, notice: Notice) {
        // An error means a full channel, or a caller without a log.
        drop(self.0.try_send(notice));
    }
}
