//! Sessions in words, limited: a peer that is down for a day is a few lines and not thousands.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use tracing::debug;
use vipcast_bgp::Instant;
use vipcast_bgp::frozen::end;
use vipcast_bgp::fsm::DownReason;
use vipcast_bgp::net::Limiter;
use vipcast_node::names::PeerName;
use vipcast_node::peers::reduced_offer;
use vipcast_node::record::OfSession;

use super::told::{Told, told};

/// The most different failures of one peer that are kept.
const COMPLAINTS: usize = 8;

/// The kinds of lines that are limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Established,
    Down,
    Failed,
    Stalled,
}

/// The lines written about each peer.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    limiter: Limiter<(PeerName, Kind)>,
    /// The failures of each peer that runs, logged since its last session. At most [`COMPLAINTS`] of a peer.
    complained: BTreeMap<PeerName, VecDeque<DownReason>>,
}

/// The failures that were logged of each peer, the latest first. A session that is down is not told once more after a
/// hand-over.
pub(crate) type Frozen = BTreeMap<String, Vec<end::Reason>>;

impl Sessions {
    /// The failures that were told. The counts of the limiter are not frozen: at most a burst of lines is written more.
    pub(super) fn freeze(&self) -> Frozen {
        let of = |(peer, complained): (&PeerName, &VecDeque<DownReason>)| {
            (peer.to_string(), complained.iter().map(end::Reason::from).collect())
        };
        self.complained.iter().map(of).collect()
    }

    pub(super) fn thaw(frozen: &Frozen) -> Self {
        let of = |(peer, complained): (&String, &Vec<end::Reason>)| {
            let complained = complained.iter().take(COMPLAINTS).map(DownReason::from).collect();
            (PeerName::from(peer.as_str()), complained)
        };
        Self { limiter: Limiter::default(), complained: frozen.iter().map(of).collect() }
    }

    /// Tells an event of a session; `None`: it was told before.
    pub(super) fn tell(
        &mut self,
        peer: &PeerName,
        address: IpAddr,
        what: &OfSession,
        now: Instant,
    ) -> Option<Told> {
        match what {
            OfSession::Up { peer_as, hold_time, families, offer } => {
                self.complained.remove(peer);
                let families: Vec<String> = families.iter().map(ToString::to_string).collect();
                let left_out = self.ask(peer, Kind::Established, now)?;
                let reduced = reduced_offer(*offer);
                Some(
                    told!(info SessionUp: %peer, %address, %peer_as, hold_time, families = families.join(","), reduced,
                    left_out, "session established"),
                )
            }
            OfSession::FromService(local) => Some(told!(warn SessionFromService: %peer, %local,
                hint = "set `source_address`, and the router's neighbor to it",
                "our end of the session is a VIP: the session ends when the VIP leaves this host")),
            OfSession::Down { reason, hint } => {
                self.complain(peer, reason);
                let left_out = self.ask(peer, Kind::Down, now)?;
                let reason = reason.to_string();
                Some(told!(warn SessionDown: %peer, %address, reason, hint, left_out, "session down"))
            }
            OfSession::Failed { reason, earlier, hint } => {
                let words = reason.to_string();
                let is_known =
                    self.complained.get(peer).is_some_and(|complained| complained.contains(reason));
                self.complain(peer, reason);
                if is_known {
                    debug!(%peer, %address, reason = words, "still no session");
                    return None;
                }
                let left_out = self.ask(peer, Kind::Failed, now)?;
                let earlier = earlier.as_ref().map(ToString::to_string);
                Some(
                    told!(warn SessionFailed: %peer, %address, reason = words, earlier, hint, left_out, "no session"),
                )
            }
            OfSession::Stalled(stall) => {
                let left_out = self.ask(peer, Kind::Stalled, now)?;
                Some(told!(warn SessionStalled: %peer, %address, left_out, "{stall}"))
            }
        }
    }

    /// The peer was removed or changed: whatever fails next is news.
    pub(super) fn forget(&mut self, peer: &PeerName) {
        self.complained.remove(peer);
    }

    /// Whether a line of this kind is written now: `Some` with the number of lines left out, if any.
    #[expect(clippy::option_option, reason = "whether, and with which field")]
    fn ask(&mut self, peer: &PeerName, kind: Kind, now: Instant) -> Option<Option<u64>> {
        let left_out = self.limiter.ask((peer.clone(), kind), now)?;
        Some((left_out > 0).then_some(left_out))
    }

    fn complain(&mut self, peer: &PeerName, reason: &DownReason) {
        let complained = self.complained.entry(peer.clone()).or_default();
        if !complained.contains(reason) {
            complained.truncate(COMPLAINTS - 1);
            complained.push_front(reason.clone());
        }
    }
}
