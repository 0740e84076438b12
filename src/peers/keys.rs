//! Keys of sessions that could not be read when the daemon started. A peer that has one is not talked to without it; its file is
//! looked at again and again, on a thread of its own, because reading may hang.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{info, warn};
use vipcast_bgp::Instant;
use vipcast_bgp::transport::Authentication;
use vipcast_node::model::{KeySource, Peer};
use vipcast_node::names::PeerName;

use crate::config::files::read_key;

/// Between two looks at a file.
const AGAIN: Duration = Duration::from_secs(2);

/// What a look at a key showed: the key, or in words why there is none.
#[derive(Debug)]
pub struct KeyRead {
    peer: PeerName,
    source: KeySource,
    key: Result<Authentication, String>,
}

/// Peers that wait for their key.
#[derive(Debug)]
pub(super) struct Keys {
    waiting: BTreeMap<PeerName, Waiting>,
    read: mpsc::UnboundedSender<KeyRead>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Waiting {
    source: KeySource,
    /// Why there is no session, in words.
    pub(super) reason: String,
    pub(super) since: Instant,
    /// The thread ends when nobody holds this any more.
    _wanted: Arc<()>,
}

impl Keys {
    pub(super) fn new() -> (Self, mpsc::UnboundedReceiver<KeyRead>) {
        let (read, reads) = mpsc::unbounded_channel();
        (Self { waiting: BTreeMap::new(), read }, reads)
    }

    /// Looks for the keys of those of `peers` that lack them, and for no others.
    pub(super) fn want(&mut self, peers: &BTreeMap<PeerName, Peer>, now: Instant) {
        let lacking = |name: &PeerName| {
            peers.get(name).filter(|peer| peer.lacks_key()).and_then(|peer| peer.key_source.as_ref())
        };
        self.waiting.retain(|name, waiting| lacking(name) == Some(&waiting.source));
        for name in peers.keys() {
            let Some(source) = lacking(name) else { continue };
            if self.waiting.contains_key(name) {
                continue;
            }
            let wanted = Arc::new(());
            let reason = match self.look_for(name, source, Arc::downgrade(&wanted)) {
                Ok(()) => "its key has not been read yet".to_owned(),
                Err(error) => format!("its key cannot be read: {error}"),
            };
            let source = source.clone();
            self.waiting.insert(name.clone(), Waiting { source, reason, since: now, _wanted: wanted });
        }
    }

    /// Who waits.
    pub(super) fn waiting(&self) -> &BTreeMap<PeerName, Waiting> {
        &self.waiting
    }

    /// A look is over: the peer and its key, if there is one now.
    pub(super) fn read(&mut self, read: KeyRead) -> Option<(PeerName, Authentication)> {
        let KeyRead { peer, source, key } = read;
        let waiting = self.waiting.get_mut(&peer).filter(|waiting| waiting.source == source)?;
        match key {
            Ok(key) => {
                self.waiting.remove(&peer);
                info!(%peer, "the key of the session is there");
                Some((peer, key))
            }
            Err(cause) => {
                if waiting.reason != cause {
                    warn!(%peer, reason = cause, "no session without its key");
                    waiting.reason = cause;
                }
                None
            }
        }
    }

    fn look_for(&self, peer: &PeerName, source: &KeySource, wanted: Weak<()>) -> std::io::Result<()> {
        let (peer, source, read) = (peer.clone(), source.clone(), self.read.clone());
        let look = move || {
            while wanted.strong_count() > 0 {
                let key = read_key(&source).map_err(|error| error.to_string());
                let found = key.is_ok();
                let read = read.send(KeyRead { peer: peer.clone(), source: source.clone(), key });
                if found || read.is_err() {
                    return;
                }
                thread::sleep(AGAIN);
            }
        };
        thread::Builder::new().name("keys".into()).spawn(look).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use vipcast_bgp::net::clock;

    use super::*;
    use crate::config::{self, Host};

    fn peers(directory: &std::path::Path) -> BTreeMap<PeerName, Peer> {
        let file = directory.join("vipcast.yaml");
        let text = format!(
            "local_as: 65001\npeers:\n  bare: {{address: 192.0.2.1, peer_as: 65000}}\n  signed: {{address: 192.0.2.2, peer_as: \
             65000, password_file: {}}}\nservices: {{}}\n",
            directory.join("key").display()
        );
        fs::write(&file, text).unwrap();
        config::load(&file, Host::Lenient).unwrap().config.peers
    }

    #[tokio::test]
    async fn a_key_that_is_missing_or_everybodys_is_waited_for_and_its_peer_with_it() {
        let directory = std::env::temp_dir().join(format!("vipcast-keys-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let peers = peers(&directory);
        assert!(peers["signed"].lacks_key() && !peers["bare"].lacks_key());
        let (mut keys, mut reads) = Keys::new();
        keys.want(&peers, clock::now());
        assert_eq!(keys.waiting().keys().map(PeerName::as_str).collect::<Vec<_>>(), ["signed"]);
        let key = directory.join("key");
        let reason = |keys: &Keys| keys.waiting()["signed"].reason.clone();
        assert!(keys.read(reads.recv().await.unwrap()).is_none());
        assert_eq!(reason(&keys), format!("cannot read `{}`: No such file or directory", key.display()));
        fs::write(&key, "secret\n").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(keys.read(reads.recv().await.unwrap()).is_none());
        assert!(reason(&keys).ends_with("holds a password, and everyone may read or write it"));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let (name, found) = keys.read(reads.recv().await.unwrap()).unwrap();
        assert_eq!(name.as_str(), "signed");
        // What a reload would read.
        let reloaded = config::load(&directory.join("vipcast.yaml"), Host::Strict).unwrap().config;
        assert_eq!(reloaded.peers["signed"].authentication, Some(found));
        assert!(keys.waiting().is_empty());
        fs::remove_dir_all(&directory).unwrap();
    }
}
