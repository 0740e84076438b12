//! The way out for what is noticed.

use tokio::sync::mpsc;

use crate::notice::Notice;

/// Notices that wait for the caller. Those beyond are dropped: a caller that reads is never so far behind, because each kind
/// of notice is limited where it arises.
const ROOM: usize = 1024;

/// Tells notices, and never waits.
#[derive(Debug, Clone)]
pub(super) struct Notices(mpsc::Sender<Notice>);

impl Notices {
    pub(super) fn new() -> (Self, mpsc::Receiver<Notice>) {
        let (notices, receiver) = mpsc::channel(ROOM);
        (Self(notices), receiver)
    }

    pub(super) fn tell(&self, notice: Notice) {
        // Full, or a caller that keeps no log.
        drop(self.0.try_send(notice));
    }
}
