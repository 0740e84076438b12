//! Freeze and thaw of a connection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;

use super::{Connection, OPEN_HOLD, Phase, Side};
use crate::adj_rib_in::{AdjRibIn, Watched};
use crate::adj_rib_out::AdjRibOut;
use crate::frozen::route::Family as FrozenFamily;
use crate::frozen::{Error, Octets, agree, ahead, nanos, past, peer as frozen, size};
use crate::fsm::delivery::Delivery;
use crate::fsm::negotiation::{Keeping, Session};
use crate::fsm::opening::{egress, ingress};
use crate::fsm::{ConnId, Endpoints, HoldTime, PeerConfig};
use crate::route::Routes;
use crate::time::Instant;
use crate::wire::{Asn, Family, MAX_MESSAGE_LEN};

/// What a connection is thawed with: the applied settings, the caller's sets, and the time.
pub(in crate::fsm) struct Around<'a> {
    pub(in crate::fsm) config: &'a PeerConfig,
    pub(in crate::fsm) routes: &'a Routes,
    pub(in crate::fsm) watched: &'a Arc<Watched>,
    pub(in crate::fsm) now: Instant,
}

impl Connection {
    /// `None` for a dial that is under way.
    pub(in crate::fsm) fn freeze(&self) -> Option<frozen::Connection> {
        let phase = match &self.phase {
            Phase::Dialling { .. } => return None,
            Phase::OpenSent { until } => frozen::Phase::OpenSent { until: *until },
            Phase::OpenConfirm { session, hold_until, keepalive_at } => frozen::Phase::OpenConfirm {
                session: freeze_session(session),
                hold_until: *hold_until,
                keepalive_at: *keepalive_at,
            },
            Phase::Established { session, rib, heard, since, hold_until, keepalive_at } => {
                frozen::Phase::Established {
                    session: freeze_session(session),
                    rib: Box::new(rib.freeze()),
                    heard: Box::new(heard.freeze()),
                    since: *since,
                    hold_until: *hold_until,
                    keepalive_at: *keepalive_at,
                }
            }
        };
        let Endpoints { local, remote, interface_addresses, local_is_service } = self.endpoints.as_ref()?;
        Some(frozen::Connection {
            id: self.id.as_u64(),
            ours: self.side == Side::Ours,
            local: (*local).into(),
            remote: (*remote).into(),
            interface_addresses: interface_addresses.clone(),
            local_is_service: *local_is_service,
            phase,
            received: Octets(self.received.to_vec()),
            refresh: freeze_families(&self.refresh),
            refreshing: freeze_families(&self.refreshing),
            ask: freeze_families(&self.ask),
            offered: self.offered.into(),
            unsent: u64::try_from(self.unsent).unwrap_or(u64::MAX),
            queued: Octets::default(),
            delivery: self.delivery.freeze(),
            late: self.late.map(|(late, at)| (nanos(late), at)),
            send_hold_until: self.send_hold_until,
        })
    }

    pub(in crate::fsm) fn thaw(frozen: &frozen::Connection, around: &Around<'_>) -> Result<Self, Error> {
        let now = around.now;
        let endpoints = Endpoints {
            local: frozen.local.into(),
            remote: frozen.remote.into(),
            interface_addresses: frozen.interface_addresses.clone(),
            local_is_service: frozen.local_is_service,
        };
        let phase = thaw_phase(&frozen.phase, &endpoints, around)?;
        let delivery = Delivery::thaw(&frozen.delivery, now)?;
        agree(frozen.unsent <= delivery.outstanding(), "unsent")?;
        let unsent = size(frozen.unsent, "unsent")?;
        agree(frozen.queued.0.len() <= unsent, "queued")?;
        if frozen.received.0.len() >= MAX_MESSAGE_LEN {
            return Err(Error::Range("received"));
        }
        let late =
            frozen.late.map(|(late, at)| past(at, now, "late").map(|at| (Duration::from_nanos(late), at)));
        let connection = Self {
            id: ConnId(frozen.id),
            side: if frozen.ours { Side::Ours } else { Side::Theirs },
            phase,
            endpoints: Some(endpoints),
            peering: around.config.peering(),
            received: BytesMut::from(frozen.received.0.as_slice()),
            refresh: thaw_families(&frozen.refresh),
            refreshing: thaw_families(&frozen.refreshing),
            ask: thaw_families(&frozen.ask),
            offered: frozen.offered.into(),
            unsent,
            delivery,
            late: late.transpose()?,
            send_hold_until: frozen.send_hold_until,
        };
        connection.check(now)?;
        Ok(connection)
    }

    fn check(&self, now: Instant) -> Result<(), Error> {
        let none = BTreeSet::new();
        let families = self.session().map_or(&none, |session| &session.families);
        for (asked, field) in
            [(&self.refresh, "refresh"), (&self.refreshing, "refreshing"), (&self.ask, "ask")]
        {
            agree(asked.is_subset(families), field)?;
        }
        if let Some(until) = self.send_hold_until {
            let hold = self.send_hold().ok_or(Error::Contradiction("send_hold_until"))?;
            ahead(until, now, hold, "send_hold_until")?;
        }
        Ok(())
    }
}

fn thaw_phase(frozen: &frozen::Phase, endpoints: &Endpoints, around: &Around<'_>) -> Result<Phase, Error> {
    let Around { config, routes, watched, now } = *around;
    Ok(match frozen {
        frozen::Phase::OpenSent { until } => {
            Phase::OpenSent { until: ahead(*until, now, OPEN_HOLD, "until")? }
        }
        frozen::Phase::OpenConfirm { session, hold_until, keepalive_at } => {
            let session = thaw_session(session, config)?;
            let hold = session.hold().unwrap_or(OPEN_HOLD);
            Phase::OpenConfirm {
                hold_until: ahead(*hold_until, now, hold, "hold_until")?,
                keepalive_at: thaw_keepalive(*keepalive_at, &session, now)?,
                session,
            }
        }
        frozen::Phase::Established { session, rib, heard, since, hold_until, keepalive_at } => {
            let session = thaw_session(session, config)?;
            agree(hold_until.is_some() == session.hold().is_some(), "hold_until")?;
            let hold = session.hold().unwrap_or_default();
            let egress = egress(&session, config, Some(endpoints));
            let ingress = ingress(&session, config, Some(endpoints));
            Phase::Established {
                rib: Box::new(AdjRibOut::thaw(egress, rib, routes)?),
                heard: Box::new(AdjRibIn::thaw(ingress, heard, Arc::clone(watched))?),
                since: past(*since, now, "since")?,
                hold_until: hold_until.map(|at| ahead(at, now, hold, "hold_until")).transpose()?,
                keepalive_at: thaw_keepalive(*keepalive_at, &session, now)?,
                session,
            }
        }
    })
}

fn thaw_keepalive(at: Option<Instant>, session: &Session, now: Instant) -> Result<Option<Instant>, Error> {
    agree(at.is_some() == session.hold().is_some(), "keepalive_at")?;
    let longest = session.hold().unwrap_or_default() / 3;
    at.map(|at| ahead(at, now, longest, "keepalive_at")).transpose()
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
        families: freeze_families(families),
        four_octet_as: *four_octet_as,
        route_refresh: *route_refresh,
        enhanced_route_refresh: *enhanced_route_refresh,
        extended_next_hop: *extended_next_hop,
        peer_role: peer_role.map(Into::into),
        graceful_restart: graceful_restart.map(|keeping| (keeping.restart_time, keeping.notification)),
    }
}

/// A session that these settings can have negotiated.
fn thaw_session(frozen: &frozen::Session, config: &PeerConfig) -> Result<Session, Error> {
    let session = Session {
        peer_router_id: frozen.peer_router_id,
        peer_as: Asn(frozen.peer_as),
        hold_time: frozen.hold_time,
        families: thaw_families(&frozen.families),
        four_octet_as: frozen.four_octet_as,
        route_refresh: frozen.route_refresh,
        enhanced_route_refresh: frozen.enhanced_route_refresh,
        extended_next_hop: frozen.extended_next_hop,
        peer_role: frozen.peer_role.map(Into::into),
        graceful_restart: frozen
            .graceful_restart
            .map(|(restart_time, notification)| Keeping { restart_time, notification }),
    };
    let fits = match config.any_external {
        true => session.peer_as != config.local_as,
        false => session.peer_as == config.peer_as,
    };
    agree(fits, "peer_as")?;
    let (least, most) = match config.hold_time {
        HoldTime::NONE => (0, 0),
        hold_time => (HoldTime::MIN.as_secs(), hold_time.as_secs()),
    };
    agree((least..=most).contains(&session.hold_time), "hold_time")?;
    let families = !session.families.is_empty() && session.families.is_subset(&config.families);
    agree(families, "families")?;
    agree(config.extended_next_hop || !session.extended_next_hop, "extended_next_hop")?;
    agree(config.graceful_restart.is_some() || session.graceful_restart.is_none(), "graceful_restart")?;
    Ok(session)
}

pub(in crate::fsm) fn freeze_families(families: &BTreeSet<Family>) -> BTreeSet<FrozenFamily> {
    families.iter().copied().map(Into::into).collect()
}

pub(in crate::fsm) fn thaw_families(families: &BTreeSet<FrozenFamily>) -> BTreeSet<Family> {
    families.iter().copied().map(Into::into).collect()
}
