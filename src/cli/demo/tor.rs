//! The router: our own speaker, which only listens, and keeps the received routes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use ipnet::IpNet;
use tokio::sync::mpsc;
use tokio::time::timeout_at;
use vipcast_bgp::net::{PeerHandle, PeerId, Speaker};
use vipcast_bgp::transport::PeerAddress;
use vipcast_bgp::wire::{Asn, Attribute, Community, Update, iana};
use vipcast_bgp::{ConnectMode, PeerConfig, PeerEvent};

use super::namespace::{EDGE, TOR};

/// ASN of the router.
pub(super) const TOR_AS: u32 = 65000;
/// ASN of the edge node.
pub(super) const EDGE_AS: u32 = 65001;

/// A route of the router.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) next_hop: String,
    pub(super) as_path: String,
    pub(super) graceful_shutdown: bool,
}

/// The running router.
pub(super) struct Tor {
    events: mpsc::UnboundedReceiver<(PeerId, PeerEvent)>,
    routes: BTreeMap<IpNet, Route>,
    established: bool,
    goodbye: Option<String>,
    // Dropping them closes their sockets.
    _peer: PeerHandle,
    _speaker: Speaker,
}

impl Tor {
    pub(super) fn start() -> Result<Self> {
        let (mut speaker, events, _) = Speaker::new();
        let listening = SocketAddr::from((TOR, iana::BGP_PORT));
        speaker.listen(listening).with_context(|| format!("cannot listen on {listening}"))?;
        let config = PeerConfig {
            mode: ConnectMode::Passive,
            deliver_updates: true,
            ..PeerConfig::new(Asn(TOR_AS), Asn(EDGE_AS), TOR)
        };
        let remote = SocketAddr::from((EDGE, iana::BGP_PORT));
        let peer = speaker.add_peer(PeerAddress { remote, source: None }, config);
        let (routes, goodbye) = (BTreeMap::new(), None);
        Ok(Self { events, routes, established: false, goodbye, _peer: peer, _speaker: speaker })
    }

    pub(super) async fn wait_established(&mut self, patience: Duration) -> Result<()> {
        self.wait("the session", patience, |tor| tor.established.then_some(())).await
    }

    /// Waits until the router has a route to `vip` that `fits`.
    pub(super) async fn wait_route(
        &mut self,
        vip: IpNet,
        patience: Duration,
        fits: impl Fn(&Route) -> bool,
    ) -> Result<Route> {
        self.wait("the route", patience, |tor| tor.routes.get(&vip).filter(|route| fits(route)).cloned())
            .await
    }

    pub(super) async fn wait_withdrawn(&mut self, vip: IpNet, patience: Duration) -> Result<()> {
        self.wait("the withdrawal", patience, |tor| (!tor.routes.contains_key(&vip)).then_some(())).await
    }

    /// Waits until the edge node has closed the session, and returns its reason.
    pub(super) async fn wait_goodbye(&mut self, patience: Duration) -> Result<String> {
        self.wait("the end of the session", patience, |tor| tor.goodbye.take()).await
    }

    /// Folds events until `found` returns a value.
    async fn wait<T>(
        &mut self,
        what: &str,
        patience: Duration,
        found: impl Fn(&mut Self) -> Option<T>,
    ) -> Result<T> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(found) = found(self) {
                return Ok(found);
            }
            let event = timeout_at(deadline.into(), self.events.recv()).await;
            let event =
                event.map_err(|_elapsed| anyhow!("the router waited {patience:?} for {what} in vain"))?;
            match event {
                Some((_, event)) => self.fold(event),
                None => bail!("the router has stopped"),
            }
        }
    }

    fn fold(&mut self, event: PeerEvent) {
        match event {
            PeerEvent::Established(_) => self.established = true,
            PeerEvent::Down { reason, was_established } => {
                self.established = false;
                if was_established {
                    // RFC 4271 §8.2.2: with the session go its routes.
                    self.routes.clear();
                    self.goodbye = Some(reason.to_string());
                }
            }
            PeerEvent::Update(update) => self.learn(&update),
            PeerEvent::Synced(_) | PeerEvent::Acknowledged(_) | PeerEvent::Stalled(_) => {}
        }
    }

    fn learn(&mut self, update: &Update) {
        for prefix in update.withdrawn_prefixes() {
            self.routes.remove(&prefix);
        }
        let graceful_shutdown = update.attributes.iter().any(|attribute| {
            let Attribute::Communities(communities) = attribute else { return false };
            communities.contains(&Community(iana::community::GRACEFUL_SHUTDOWN))
        });
        for prefix in update.announced() {
            let route = Route {
                next_hop: update.next_hop().map(|hop| hop.to_string()).unwrap_or_default(),
                as_path: update.as_path().map(ToString::to_string).unwrap_or_default(),
                graceful_shutdown,
            };
            self.routes.insert(prefix, route);
        }
    }
}
