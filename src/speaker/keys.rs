//! Looks for missing keys of sessions again and again, each on its own thread, because reading may hang.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc;
use vipcast_node::input::Input;
use vipcast_node::model::KeySource;
use vipcast_node::names::PeerName;

use crate::config::files::read_key;

/// The interval between two looks at a file.
const AGAIN: Duration = Duration::from_secs(2);

/// The running searches.
#[derive(Debug)]
pub(super) struct Keys {
    /// Each with a handle of its thread, which ends when the handle is dropped.
    wanted: BTreeMap<PeerName, (KeySource, Arc<()>)>,
    read: mpsc::UnboundedSender<Input>,
}

impl Keys {
    /// No search yet. Results go to `read`.
    pub(super) fn new(read: mpsc::UnboundedSender<Input>) -> Self {
        Self { wanted: BTreeMap::new(), read }
    }

    /// Looks for exactly these keys.
    pub(super) fn want(&mut self, sources: &BTreeMap<PeerName, KeySource>) {
        self.wanted.retain(|peer, (source, _)| sources.get(peer) == Some(source));
        for (peer, source) in sources {
            if self.wanted.contains_key(peer) {
                continue;
            }
            let wanted = Arc::new(());
            if let Err(error) = self.look_for(peer, source, Arc::downgrade(&wanted)) {
                let key = Err(format!("its key cannot be read: {error}"));
                // An error occurs only while the daemon ends.
                drop(self.read.send(Input::Key { peer: peer.clone(), source: source.clone(), key }));
            }
            self.wanted.insert(peer.clone(), (source.clone(), wanted));
        }
    }

    fn look_for(&self, peer: &PeerName, source: &KeySource, wanted: Weak<()>) -> std::io::Result<()> {
        let (peer, source, read) = (peer.clone(), source.clone(), self.read.clone());
        let look = move || {
            while wanted.strong_count() > 0 {
                let key = read_key(&source).map_err(|error| error.to_string());
                let found = key.is_ok();
                let read = read.send(Input::Key { peer: peer.clone(), source: source.clone(), key });
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
    use std::os::unix::fs::PermissionsExt;

    use vipcast_bgp::transport::Authentication;

    use super::*;
    use crate::config::{self, Host};

    #[tokio::test]
    async fn a_key_that_is_missing_or_everybodys_is_looked_for_until_it_is_there() {
        let directory = std::env::temp_dir().join(format!("vipcast-keys-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let (file, key) = (directory.join("vipcast.yaml"), directory.join("key"));
        let text = format!(
            "local_as: 65001\npeers:\n  bare: {{address: 192.0.2.1, peer_as: 65000}}\n  signed: {{address: 192.0.2.2, peer_as: \
             65000, password_file: {}}}\nservices: {{}}\n",
            key.display()
        );
        fs::write(&file, text).unwrap();
        let peers = config::load(&file, Host::Lenient).unwrap().config.peers;
        assert!(peers["signed"].lacks_key() && !peers["bare"].lacks_key());
        let (read, mut reads) = mpsc::unbounded_channel();
        let mut keys = Keys::new(read);
        let source = peers["signed"].key_source.clone().unwrap();
        keys.want(&BTreeMap::from([("signed".into(), source)]));
        let mut next = async || match reads.recv().await {
            Some(Input::Key { peer, key, .. }) if peer.as_str() == "signed" => key,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            next().await.unwrap_err(),
            format!("cannot read `{}`: no such file or directory", key.display())
        );
        fs::write(&key, "secret\n").unwrap();
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(next().await.unwrap_err().ends_with("holds a password, and everyone may read or write it"));
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        let found: Authentication = next().await.unwrap();
        // The key that a reload reads.
        let reloaded = config::load(&file, Host::Strict).unwrap().config;
        assert_eq!(reloaded.peers["signed"].authentication, Some(found));
        fs::remove_dir_all(&directory).unwrap();
    }
}
