//! Freeze and thaw of the peers.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use vipcast_bgp::fsm::Keeping;
use vipcast_bgp::jitter::Jitter;
use vipcast_bgp::transport::AoKey;
use vipcast_bgp::wire::Asn;
use vipcast_bgp::{Instant, Session, Watched};

use super::{
    Authentication, Config, ConnectMode, Effect, Event, Liveness, Outbox, Peer, PeerId, PeerName, Peers,
    RouterAddress, Running, Start, What, bgp_config, transport,
};
use crate::engine::Advertised;
use crate::engine::frozen::{freeze_withheld, thaw_withheld};
use crate::frozen::{Error, agree, nanos, peers as frozen};
use crate::model::{self, Reach};

/// The reason in the record of a session that does not go on.
const CHANGED: &str = "its settings have changed during the hand-over";
/// The same where the port has nothing of it.
const LOST: &str = "it was lost before the hand-over";

impl Peers {
    /// The frozen form of the peers. A peer that is being stopped does not go on: the next program closes its session.
    pub(crate) fn freeze(&self) -> frozen::Peers {
        let Self {
            seeds,
            last_id,
            liveness,
            router_id,
            listens,
            running,
            stopping,
            keys,
            unnumbered,
            // Nobody hands over in a restart, or after the end.
            restarted: _,
            over: _,
            // The configuration's.
            wanted: _,
            watched: _,
            // The engine's.
            advertised: _,
            exports: _,
        } = self;
        frozen::Peers {
            seeds: seeds.state(),
            last_id: *last_id,
            router_id: *router_id,
            listens: *listens,
            running: running.iter().map(|(name, running)| (name.clone(), running.freeze())).collect(),
            stopping: stopping.values().cloned().collect(),
            bfd: liveness
                .names()
                .iter()
                .map(|(name, session)| (name.clone(), (**session).to_owned()))
                .collect(),
            bfd_up: liveness.up().clone(),
            keyless: keys
                .waiting()
                .map(|(name, reason, since)| (name.clone(), (reason.to_owned(), since)))
                .collect(),
            links: unnumbered.freeze(),
        }
    }

    /// The peers that were frozen, with this configuration: those that go on, and the events of those that do not. Those
    /// begin anew with [`Self::start_missing`]. `has_form`: whether the port has the frozen form of a peer.
    pub(crate) fn thaw(
        config: &Config,
        frozen: &frozen::Peers,
        advertised: &Advertised,
        has_form: &dyn Fn(PeerId) -> bool,
        now: Instant,
        out: &mut Outbox,
    ) -> Result<(Self, Vec<Event>), Error> {
        let router_id = config.router_id.or(frozen.router_id);
        let vips = config.services.values().flat_map(|service| &service.vips);
        let mut peers = Self {
            seeds: Jitter::new(frozen.seeds),
            last_id: frozen.last_id,
            router_id,
            listens: frozen.listens,
            wanted: config.peers.clone(),
            advertised: advertised.clone(),
            watched: Arc::new(vips.map(|vip| vip.prefix()).collect::<Watched>()),
            ..Self::new(router_id, 0)
        };
        if frozen.last_id > u64::MAX / 2 {
            return Err(Error::Range("last_id"));
        }
        peers.keys.want(&peers.wanted, now, out);
        peers.keys.resume(&frozen.keyless, now)?;
        peers.unnumbered.set(&peers.wanted, now, out);
        peers.unnumbered.resume(&frozen.links, now)?;
        peers.unnumbered.fill_in(&mut peers.wanted);
        let lost = peers.resume(frozen, has_form, out)?;
        peers.watch_over(frozen, out);
        peers.listens |= peers.wanted.values().any(|peer| peer.mode != ConnectMode::Active);
        if peers.listens {
            out.push(Effect::Listen(config.listen.clone()));
        }
        Ok((peers, lost))
    }

    /// Restores the peers whose settings are those of the freeze.
    fn resume(
        &mut self,
        frozen: &frozen::Peers,
        has_form: &dyn Fn(PeerId) -> bool,
        out: &mut Outbox,
    ) -> Result<Vec<Event>, Error> {
        let mut lost = Vec::new();
        let mut ids = BTreeSet::new();
        for (name, running) in &frozen.running {
            agree((1..=frozen.last_id).contains(&running.id) && ids.insert(running.id), "running.id")?;
            if !has_form(PeerId(running.id)) {
                // It was to be started after the ports were frozen, or its task had ended.
                if running.session.is_some() {
                    out.tell(What::SessionStopped { peer: name.clone(), reason: LOST.to_owned() });
                }
                lost.push(Event::PeerDown(name.clone()));
                continue;
            }
            let same =
                |peer: &&Peer| settings(peer) == running.settings && self.router_id == frozen.router_id;
            let goes_on = self.wanted.get(name).filter(same);
            match goes_on.and_then(|peer| Running::thaw(peer, self.router_id?, running)) {
                Some(running) => drop(self.running.insert(name.clone(), running)),
                None => {
                    out.tell(What::SessionStopped { peer: name.clone(), reason: CHANGED.to_owned() });
                    lost.push(Event::PeerDown(name.clone()));
                }
            }
        }
        // Another session may have taken its name over.
        let is_up = |name: &PeerName| self.running.get(name).is_some_and(|it| it.session.is_some());
        let stopped = frozen.stopping.iter().filter(|name| !is_up(name));
        lost.extend(stopped.map(|name| Event::PeerDown(name.clone())));
        Ok(lost)
    }

    /// Restores the BFD sessions: a session with the same way goes on.
    fn watch_over(&mut self, frozen: &frozen::Peers, out: &mut Outbox) {
        let same_way = |name: &PeerName, peer: &Peer| {
            let before = frozen.running.get(name).filter(|running| running.settings == settings(peer));
            let ttl = |bfd: frozen::Bfd| bfd.min_ttl;
            let before = before.and_then(|running| running.bfd).map(ttl);
            before.is_some() && before == peer.bfd.map(freeze_bfd).map(ttl)
        };
        let before = self.wanted.iter().filter(|(name, peer)| same_way(name, peer));
        let before: BTreeMap<_, _> = before.map(|(name, peer)| (name.clone(), peer.clone())).collect();
        let sessions = frozen.bfd.iter().map(|(name, session)| (name.clone(), session.as_str().into()));
        self.liveness = Liveness::thaw(before, sessions.collect(), frozen.bfd_up.clone());
        self.liveness.set(&self.wanted, out);
    }

    /// The running peers among these, to be thawed.
    pub(crate) fn thawed(&self, frozen: &frozen::Peers) -> Vec<Start> {
        let goes_on = |running: &Running| frozen.running.values().any(|frozen| frozen.id == running.id.0);
        let start = |(name, running): (&PeerName, &Running)| Start {
            id: running.id,
            transport: running.transport.clone(),
            config: running.bgp.clone(),
            advertised: self.advertised.clone(),
            watched: Arc::clone(&self.watched),
            liveness: self.liveness.of(name),
        };
        self.running.iter().filter(|(_, running)| goes_on(running)).map(start).collect()
    }
}

impl Running {
    fn freeze(&self) -> frozen::Running {
        // The address and the options of the socket follow from the settings.
        let Self { id, peer, bgp, transport: _, session, withheld } = self;
        frozen::Running {
            id: id.0,
            settings: settings(peer),
            bfd: peer.bfd.map(freeze_bfd),
            seed: bgp.seed,
            export: bgp.export.into(),
            session: session.as_ref().map(freeze_session),
            withheld: freeze_withheld(withheld),
        }
    }

    /// `None`: it cannot run with these settings.
    fn thaw(peer: &Peer, router_id: Ipv4Addr, frozen: &frozen::Running) -> Option<Self> {
        let mut bgp = bgp_config(peer, router_id, None, frozen.seed);
        bgp.export = frozen.export.into();
        Some(Self {
            id: PeerId(frozen.id),
            peer: peer.clone(),
            bgp,
            transport: transport(peer)?,
            session: frozen.session.as_ref().map(thaw_session),
            withheld: thaw_withheld(&frozen.withheld),
        })
    }
}

fn settings(peer: &Peer) -> frozen::Settings {
    let Peer {
        address,
        port,
        local_as,
        peer_as,
        hold_time,
        families,
        source_address,
        interface,
        reach,
        authentication,
        tcp_mss,
        role,
        require_role,
        extended_next_hop,
        graceful_restart,
        // These may change under a session.
        connect_retry: _,
        mode: _,
        key_source: _,
        next_hop: _,
        med: _,
        bfd: _,
    } = peer;
    frozen::Settings {
        address: address.ip(),
        learnt: matches!(address, RouterAddress::OnLink(_)),
        port: *port,
        local_as: local_as.0,
        peer_as: peer_as.map(|asn| asn.0),
        hold_time: hold_time.as_secs(),
        families: families.iter().copied().map(Into::into).collect(),
        source_address: *source_address,
        interface: interface.clone(),
        reach: match reach {
            Reach::ByPeering => frozen::Reach::ByPeering,
            Reach::Multihop(hops) => frozen::Reach::Multihop(hops.get()),
            Reach::TtlSecurity(hops) => frozen::Reach::TtlSecurity(hops.get()),
        },
        authentication: authentication.as_ref().map(|authentication| match authentication {
            Authentication::Md5(_secret) => frozen::Authentication::Md5,
            Authentication::Ao(AoKey { secret: _, send_id, receive_id, algorithm }) => {
                frozen::Authentication::Ao(*send_id, *receive_id, (*algorithm).into())
            }
        }),
        tcp_mss: *tcp_mss,
        role: role.map(Into::into),
        require_role: *require_role,
        extended_next_hop: *extended_next_hop,
        graceful_restart: graceful_restart
            .map(|graceful| (graceful.restart_time.as_secs(), graceful.notification)),
    }
}

fn freeze_bfd(model::Bfd { interval, multiplier, strict, min_ttl }: model::Bfd) -> frozen::Bfd {
    frozen::Bfd { interval: nanos(interval), multiplier: multiplier.get(), strict, min_ttl }
}

fn freeze_session(session: &Session) -> frozen::Session {
    let Session {
        peer_router_id,
        peer_as,
        hold_time,
        families,
        four_octet_as,
        route_refresh,
        enhanced_route_refresh,
        extended_next_hop,
        peer_role,
        graceful_restart,
    } = session;
    frozen::Session {
        peer_router_id: *peer_router_id,
        peer_as: peer_as.0,
        hold_time: *hold_time,
        families: families.iter().copied().map(Into::into).collect(),
        four_octet_as: *four_octet_as,
        route_refresh: *route_refresh,
        enhanced_route_refresh: *enhanced_route_refresh,
        extended_next_hop: *extended_next_hop,
        peer_role: peer_role.map(Into::into),
        graceful_restart: graceful_restart.map(|keeping| (keeping.restart_time, keeping.notification)),
    }
}

fn thaw_session(frozen: &frozen::Session) -> Session {
    Session {
        peer_router_id: frozen.peer_router_id,
        peer_as: Asn(frozen.peer_as),
        hold_time: frozen.hold_time,
        families: frozen.families.iter().copied().map(Into::into).collect(),
        four_octet_as: frozen.four_octet_as,
        route_refresh: frozen.route_refresh,
        enhanced_route_refresh: frozen.enhanced_route_refresh,
        extended_next_hop: frozen.extended_next_hop,
        peer_role: frozen.peer_role.map(Into::into),
        graceful_restart: frozen
            .graceful_restart
            .map(|(restart_time, notification)| Keeping { restart_time, notification }),
    }
}
