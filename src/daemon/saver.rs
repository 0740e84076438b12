//! Saves what is held back, beside the loop: a withdrawal must not wait until a disk has it.
//!
//! **Task.** One, owned by [`Saver`]; it writes on a blocking thread, the newest wish only, and tries again what could not be
//! written. Cancel-safe: it awaits `watch::Receiver::changed`, a timer, and a write that goes on by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tracing::error;

use crate::engine::HeldBack;
use crate::state::StateDir;

/// Until what could not be written is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// How long the end waits for the last write.
const PATIENCE: Duration = Duration::from_secs(5);

/// Writes the newest wish.
#[derive(Debug)]
pub(super) struct Saver {
    wishes: Option<watch::Sender<HeldBack>>,
    task: JoinHandle<()>,
}

impl Saver {
    pub(super) fn start(state: Arc<StateDir>) -> Self {
        let (wishes, wished) = watch::channel(HeldBack::default());
        Self { wishes: Some(wishes), task: tokio::spawn(write(state, wished)) }
    }

    /// Returns at once.
    pub(super) fn save(&self, held_back: HeldBack) {
        if let Some(wishes) = &self.wishes {
            wishes.send_replace(held_back);
        }
    }

    /// Ends when the last wish is written, or could not be.
    pub(super) async fn finish(&mut self) {
        self.wishes = None;
        if tokio::time::timeout(PATIENCE, &mut self.task).await.is_err() {
            error!("the state directory does not answer: what is held back may not be after a restart");
        }
    }
}

async fn write(state: Arc<StateDir>, mut wished: watch::Receiver<HeldBack>) {
    let mut retry = false;
    loop {
        let over = tokio::select! {
            changed = wished.changed() => changed.is_err(),
            () = tokio::time::sleep(RETRY), if retry => false,
        };
        if over && !retry {
            return;
        }
        let (state, held_back) = (Arc::clone(&state), wished.borrow_and_update().clone());
        let written = tokio::task::spawn_blocking(move || state.save_held_back(&held_back)).await;
        retry = match written {
            Ok(Ok(())) => false,
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                error!(error, "what is held back will not be after a restart");
                true
            }
            Err(_) => true,
        };
        if over {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[tokio::test]
    async fn the_newest_wish_is_written_before_the_end() {
        let path = std::env::temp_dir().join(format!("vipcast-saver-{}", std::process::id()));
        let state = Arc::new(StateDir::open(&path).unwrap());
        let mut saver = Saver::start(Arc::clone(&state));
        for last in 1..=20 {
            let vip = ipnet::IpNet::from(std::net::IpAddr::from([192, 0, 2, last]));
            saver.save(HeldBack { held: BTreeSet::from([vip]), watched: BTreeSet::from([vip]) });
        }
        saver.finish().await;
        let saved = state.held_back().unwrap();
        assert_eq!(saved.held.iter().map(ToString::to_string).collect::<Vec<_>>(), ["192.0.2.20/32"]);
        std::fs::remove_dir_all(path).unwrap();
    }
}
