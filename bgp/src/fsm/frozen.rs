//! Freeze and thaw of a peer.

use std::sync::Arc;
use std::time::Duration;

use super::connection::{Around, Connection, Side, freeze_families, thaw_families};
use super::{
    ConnId, Counters, DownReason, Extent, HeardOpen, Jitter, OFFER_AGAIN, Peer, PeerConfig, Seen, Stall,
    State, Version,
};
use crate::adj_rib_in::Watched;
use crate::frozen::end::Down;
use crate::frozen::{Error, agree, ahead, count, nanos, past, peer as frozen, size};
use crate::route::{NextHops, Routes};
use crate::time::Instant;
use crate::wire::Asn;

/// The longest delay between two attempts, with its jitter.
const LONGEST_DELAY: Duration = Duration::from_secs(PeerConfig::MAX_CONNECT_RETRY.as_secs() * 5 / 4 + 1);

impl Peer {
    /// The desired routes, those of the form.
    #[cfg(feature = "net")]
    pub(crate) fn wanted(&self) -> &Routes {
        &self.wanted
    }

    /// The watched prefixes, those of the form.
    #[cfg(feature = "net")]
    pub(crate) fn watched(&self) -> &Arc<Watched> {
        &self.watched
    }

    /// The frozen form of the peer. A dial that is under way is left out; bytes of
    /// [`Output::Send`](super::Output::Send) that the kernel has not taken are the caller's to add, see
    /// [`frozen::Connection::queued`].
    pub fn freeze(&self) -> frozen::Peer {
        frozen::Peer::V1(frozen::V1 {
            terms: terms(&self.config),
            tuning: freeze_tuning(&self.config),
            jitter: self.jitter.state(),
            running: self.running,
            connections: self.connections.iter().filter_map(Connection::freeze).collect(),
            last_id: self.next_id,
            offer: self.offer.into(),
            offer_again_at: self.offer_again_at,
            retry_at: self.retry_at,
            held_back: self.held_back,
            refuse_until: self.refuse_until,
            backoff: nanos(self.backoff.delay()),
            routes: frozen::Digest::of_routes(&self.wanted),
            watched: frozen::Digest::of_watched(&self.watched),
            version: self.version.0,
            extent: self.extent.into(),
            restarted: self.restarted.as_ref().map(freeze_families),
            reported: self.reported.map(|version| version.0),
            acknowledged: self.acknowledged.map(|version| version.0),
            state: self.state.0.into(),
            since: self.state.1,
            last_down: self.last_down.as_ref().map(freeze_down),
            telling: self.telling.as_ref().map(freeze_down),
            seen: freeze_seen(&self.seen),
            counters: freeze_counters(&self.counters),
        })
    }

    /// The peer that was frozen, at `now` of the same boot. `routes` and `watched` are the sets at the freeze; the
    /// caller hands newer ones in afterwards. So it does with the settings in [`Tuning`](super::Tuning), which are those
    /// of the freeze: [`Input::Tune`](super::Input::Tune) with those of `config` sends the difference.
    ///
    /// # Errors
    /// A setting other than those in `Tuning` has changed, a set is not the one of the freeze, or the frozen form cannot
    /// be that of a peer.
    pub fn thaw(
        config: PeerConfig,
        frozen: &frozen::Peer,
        routes: Routes,
        watched: Arc<Watched>,
        now: Instant,
    ) -> Result<Self, Error> {
        let frozen::Peer::V1(frozen) = frozen;
        let mut peer = Self::new(thaw_tuning(config, &frozen.tuning)?);
        same_terms(&frozen.terms, &terms(&peer.config))?;
        if frozen.routes != frozen::Digest::of_routes(&routes) {
            return Err(Error::Set("routes"));
        }
        if frozen.watched != frozen::Digest::of_watched(&watched) {
            return Err(Error::Set("watched prefixes"));
        }
        let around = Around { config: &peer.config, routes: &routes, watched: &watched, now };
        let connections: Result<_, _> =
            frozen.connections.iter().map(|connection| Connection::thaw(connection, &around)).collect();
        peer.connections = connections?;
        peer.backoff.resume(Duration::from_nanos(frozen.backoff)).ok_or(Error::Range("backoff"))?;
        let delay =
            |at: Option<Instant>, field| at.map(|at| ahead(at, now, LONGEST_DELAY, field)).transpose();
        let past = |at: Option<Instant>, field| at.map(|at| past(at, now, field)).transpose();
        let peer = Self {
            config: peer.config,
            backoff: peer.backoff,
            connections: peer.connections,
            wanted: routes,
            watched,
            jitter: Jitter::new(frozen.jitter),
            running: frozen.running,
            next_id: count(frozen.last_id, "last_id")?,
            offer: frozen.offer.into(),
            offer_again_at: (frozen.offer_again_at)
                .map(|at| ahead(at, now, OFFER_AGAIN, "offer_again_at"))
                .transpose()?,
            retry_at: delay(frozen.retry_at, "retry_at")?,
            held_back: frozen.held_back,
            refuse_until: delay(frozen.refuse_until, "refuse_until")?,
            version: Version(frozen.version),
            extent: Extent::from(frozen.extent),
            restarted: frozen.restarted.as_ref().map(thaw_families),
            reported: frozen.reported.map(Version),
            acknowledged: frozen.acknowledged.map(Version),
            state: (frozen.state.into(), past(frozen.since, "since")?),
            last_down: frozen.last_down.as_ref().map(|down| thaw_down(down, now)).transpose()?,
            telling: frozen.telling.as_ref().map(|down| thaw_down(down, now)).transpose()?,
            seen: thaw_seen(&frozen.seen)?,
            counters: thaw_counters(&frozen.counters)?,
        };
        peer.check()?;
        Ok(peer.dialling_anew(now))
    }

    /// The rules that hold between the connections after every input.
    fn check(&self) -> Result<(), Error> {
        let is_known = |id: ConnId| (1..=self.next_id).contains(&id.as_u64());
        agree(self.connections.iter().all(|connection| is_known(connection.id)), "connections.id")?;
        if let [one, other] = self.connections.as_slice() {
            agree(one.id != other.id && one.side != other.side, "connections")?;
            let far = |connection: &Connection| connection.state() >= State::OpenConfirm;
            let established = self.established().is_some();
            agree(!(established || far(one) && far(other)), "connections")?;
        }
        agree(self.connections.len() <= 2 && (self.running || self.connections.is_empty()), "connections")
    }

    /// The dial that was dropped begins at once.
    fn dialling_anew(mut self, now: Instant) -> Self {
        let dials = self.running && self.config.mode.dials() && !self.held_back;
        let goes_on = |connection: &Connection| {
            connection.side == Side::Ours || connection.state() >= State::OpenConfirm
        };
        if dials && !self.connections.iter().any(goes_on) {
            self.retry_at = self.retry_at.or(Some(now));
        }
        self
    }
}

fn terms(config: &PeerConfig) -> frozen::Terms {
    frozen::Terms {
        local_as: config.local_as.0,
        peer_as: config.peer_as.0,
        any_external: config.any_external,
        router_id: config.router_id,
        hold_time: config.hold_time.as_secs(),
        families: freeze_families(&config.families),
        extended_next_hop: config.extended_next_hop,
        graceful_restart: config
            .graceful_restart
            .as_ref()
            .map(|graceful| (graceful.restart_time.as_secs(), graceful.notification)),
        role: config.role.map(Into::into),
        require_role: config.require_role,
    }
}

fn same_terms(frozen: &frozen::Terms, now: &frozen::Terms) -> Result<(), Error> {
    let frozen::Terms {
        local_as,
        peer_as,
        any_external,
        router_id,
        hold_time,
        families,
        extended_next_hop,
        graceful_restart,
        role,
        require_role,
    } = frozen;
    let same = [
        ("local_as", *local_as == now.local_as),
        ("peer_as", *peer_as == now.peer_as),
        ("any_external", *any_external == now.any_external),
        ("router_id", *router_id == now.router_id),
        ("hold_time", *hold_time == now.hold_time),
        ("families", *families == now.families),
        ("extended_next_hop", *extended_next_hop == now.extended_next_hop),
        ("graceful_restart", *graceful_restart == now.graceful_restart),
        ("role", *role == now.role),
        ("require_role", *require_role == now.require_role),
    ];
    match same.into_iter().find(|(_, same)| !same) {
        Some((setting, _)) => Err(Error::Setting(setting)),
        None => Ok(()),
    }
}

fn freeze_tuning(config: &PeerConfig) -> frozen::Tuning {
    let super::Tuning { connect_retry, mode, next_hops, med, export } = config.tuning();
    frozen::Tuning {
        connect_retry: nanos(connect_retry),
        mode: mode.into(),
        next_hop_v4: next_hops.v4,
        next_hop_v6: next_hops.v6,
        med,
        export: export.into(),
    }
}

fn thaw_tuning(config: PeerConfig, frozen: &frozen::Tuning) -> Result<PeerConfig, Error> {
    let connect_retry = Duration::from_nanos(frozen.connect_retry);
    if !(PeerConfig::MIN_CONNECT_RETRY..=PeerConfig::MAX_CONNECT_RETRY).contains(&connect_retry) {
        return Err(Error::Range("connect_retry"));
    }
    Ok(PeerConfig {
        connect_retry,
        mode: frozen.mode.into(),
        next_hops: NextHops { v4: frozen.next_hop_v4, v6: frozen.next_hop_v6 },
        med: frozen.med,
        export: frozen.export.into(),
        ..config
    })
}

fn freeze_down((reason, at): &(DownReason, Instant)) -> Down {
    Down { reason: reason.into(), at: *at }
}

fn thaw_down(frozen: &Down, now: Instant) -> Result<(DownReason, Instant), Error> {
    Ok(((&frozen.reason).into(), past(frozen.at, now, "down")?))
}

fn freeze_seen(Seen { open, late, stall }: &Seen) -> frozen::Seen {
    frozen::Seen {
        open: open.map(|HeardOpen { asn, router_id, hold_time, role }| frozen::HeardOpen {
            asn: asn.0,
            router_id,
            hold_time,
            role: role.map(Into::into),
        }),
        late: late.map(nanos),
        stall: stall.map(|Stall { bytes, retransmissions, segment }| frozen::Stall {
            bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            retransmissions,
            segment,
        }),
    }
}

fn thaw_seen(frozen::Seen { open, late, stall }: &frozen::Seen) -> Result<Seen, Error> {
    Ok(Seen {
        open: open.as_ref().map(|open| HeardOpen {
            asn: Asn(open.asn),
            router_id: open.router_id,
            hold_time: open.hold_time,
            role: open.role.map(Into::into),
        }),
        late: late.map(Duration::from_nanos),
        stall: match stall {
            Some(stall) => Some(Stall {
                bytes: size(stall.bytes, "stall")?,
                retransmissions: stall.retransmissions,
                segment: stall.segment,
            }),
            None => None,
        },
    })
}

fn freeze_counters(counters: &Counters) -> frozen::Counters {
    let Counters {
        established,
        updates_sent,
        updates_received,
        prefixes_received,
        prefixes_withdrawn,
        updates_malformed,
    } = *counters;
    frozen::Counters {
        established,
        updates_sent,
        updates_received,
        prefixes_received,
        prefixes_withdrawn,
        updates_malformed,
    }
}

fn thaw_counters(frozen: &frozen::Counters) -> Result<Counters, Error> {
    Ok(Counters {
        established: count(frozen.established, "established")?,
        updates_sent: count(frozen.updates_sent, "updates_sent")?,
        updates_received: count(frozen.updates_received, "updates_received")?,
        prefixes_received: count(frozen.prefixes_received, "prefixes_received")?,
        prefixes_withdrawn: count(frozen.prefixes_withdrawn, "prefixes_withdrawn")?,
        updates_malformed: count(frozen.updates_malformed, "updates_malformed")?,
    })
}
