//! Peers whose key could not be read with the configuration. They have no session without it; a port looks for it again
//! and again.

use std::collections::BTreeMap;

use vipcast_bgp::Instant;
use vipcast_bgp::transport::Authentication;

use crate::effect::Effect;
use crate::frozen::{Error, past};
use crate::model::{KeySource, Peer};
use crate::names::PeerName;
use crate::outbox::Outbox;
use crate::record::What;

/// Peers that wait for their key.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys(BTreeMap<PeerName, Waiting>);

#[derive(Debug, Clone)]
struct Waiting {
    source: KeySource,
    /// The reason why there is no session, in words.
    reason: String,
    since: Instant,
}

impl Keys {
    /// Looks for the keys of exactly those `peers` that lack them.
    pub(super) fn want(&mut self, peers: &BTreeMap<PeerName, Peer>, now: Instant, out: &mut Outbox) {
        let lacking = |name: &PeerName| {
            peers.get(name).filter(|peer| peer.lacks_key()).and_then(|peer| peer.key_source.as_ref())
        };
        let before = self.sources();
        self.0.retain(|name, waiting| lacking(name) == Some(&waiting.source));
        for (name, source) in peers.keys().filter_map(|name| Some((name, lacking(name)?))) {
            self.0.entry(name.clone()).or_insert_with(|| Waiting {
                source: source.clone(),
                reason: "its key has not been read yet".to_owned(),
                since: now,
            });
        }
        self.look_for(&before, out);
    }

    /// After a hand-over: the waits that began before it, each with its reason.
    pub(super) fn resume(
        &mut self,
        before: &BTreeMap<PeerName, (String, Instant)>,
        now: Instant,
    ) -> Result<(), Error> {
        for (name, (reason, since)) in before {
            if let Some(waiting) = self.0.get_mut(name) {
                waiting.reason.clone_from(reason);
                waiting.since = past(*since, now, "keyless")?;
            }
        }
        Ok(())
    }

    /// The waiting peers, each with its reason and the begin of its wait.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&PeerName, &str, Instant)> {
        self.0.iter().map(|(name, waiting)| (name, waiting.reason.as_str(), waiting.since))
    }

    /// Takes the result of a search; returns the key if it was found.
    pub(super) fn looked(
        &mut self,
        peer: &PeerName,
        source: &KeySource,
        key: Result<Authentication, String>,
        out: &mut Outbox,
    ) -> Option<Authentication> {
        let before = self.sources();
        let waiting = self.0.get_mut(peer).filter(|waiting| waiting.source == *source)?;
        match key {
            Ok(key) => {
                self.0.remove(peer);
                self.look_for(&before, out);
                out.tell(What::KeyFound { peer: peer.clone() });
                Some(key)
            }
            Err(reason) => {
                if waiting.reason != reason {
                    waiting.reason.clone_from(&reason);
                    out.tell(What::KeyMissing { peer: peer.clone(), reason });
                }
                None
            }
        }
    }

    fn sources(&self) -> BTreeMap<PeerName, KeySource> {
        self.0.iter().map(|(name, waiting)| (name.clone(), waiting.source.clone())).collect()
    }

    fn look_for(&self, before: &BTreeMap<PeerName, KeySource>, out: &mut Outbox) {
        let sources = self.sources();
        if sources != *before {
            out.push(Effect::LookForKeys(sources));
        }
    }
}
