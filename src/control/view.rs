//! Pure functions from a [`Snapshot`] to the answers of the control socket.

mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use vipcast_bgp::Instant;
use vipcast_bgp::adj_rib_out::Withheld;
use vipcast_bgp::bfd;
use vipcast_bgp::net::bfd::SessionReport;
use vipcast_bgp::{PeerStatus, State};
use vipcast_node::engine::reach;
use vipcast_node::engine::{
    Engine, Everything, Force, Kind, Override, Overrides, Owner, Scoped, Standing, Verdict, Wanted,
};
use vipcast_node::health::report::HealthState;
use vipcast_node::model::{self, Condition, Service};
use vipcast_node::names::{CheckName, PeerName, ServiceName};
use vipcast_node::peers::reduced_offer;
use vipcast_node::preview::Preview;
use vipcast_node::record::Warning;
use vipcast_node::vip::Vip;
use vipcast_node::words as in_words;

use super::answer::{Refused, Why};
use super::api::{self, Refusal};
use super::snapshot::{PeerInfo, Snapshot, Surroundings};
use crate::check::lateness::Lateness;
use crate::check::telling::Numbers;
use crate::daemon::HandedOver;
use crate::version::Identity;

/// The punctuality of the checks.
pub fn probes(lateness: &Lateness) -> api::Probes {
    let us = |percent| u64::try_from(lateness.percentile(percent).as_micros()).unwrap_or(u64::MAX);
    api::Probes { started: lateness.probes(), late_p50_us: us(50), late_p99_us: us(99) }
}

/// The whole status.
pub fn status(Snapshot { engine, around, at, .. }: &Snapshot) -> api::Status {
    let now = *at;
    let checks = engine.config().checks.keys();
    let standing: BTreeMap<_, _> = engine.standing().iter().collect();
    let Overrides { drains, forces, peers, promotions } = &*engine.facts().overrides;
    api::Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        router_id: around.router_id,
        observing: around.observing,
        warnings: around.warnings.clone(),
        uptime_ms: ms(around.started, now),
        config: around.config.clone(),
        shutdown: engine.facts().shutdown.map(Into::into),
        hand_over: around.handed_over.as_ref().map(hand_over),
        not_upgraded: around.not_upgraded.clone(),
        restarting: engine.is_restarting(),
        peers: around
            .peers
            .iter()
            .map(|(name, info)| (name.to_string(), peer(engine, name, info, bfd_of(around, name, now), now)))
            .collect(),
        checks: checks.map(|name| (name.to_string(), check(engine, around, name, now))).collect(),
        probes: around.probes.clone(),
        vips: standing.iter().map(|(prefix, standing)| vip(engine, around, prefix, standing, now)).collect(),
        drained: of_everything(drains),
        cordons: (engine.facts().cordons.iter())
            .map(|(cordon, drain)| (cordon.word().to_owned(), set(drain)))
            .collect(),
        waiting_drains: all(drains.waiting(engine.config())),
        forced: [(Force::Up, &forces.up), (Force::Down, &forces.down)]
            .into_iter()
            .find_map(|(to, scoped)| Some(api::Forced { set: of_everything(scoped)?, to: to.into() })),
        forces: [(Force::Up, &forces.up), (Force::Down, &forces.down)]
            .into_iter()
            .flat_map(|(to, scoped)| scoped.services.iter().map(move |(name, one)| (name, to, one)))
            .map(|(name, to, one)| (name.to_string(), api::Forced { set: set(one), to: to.into() }))
            .collect(),
        promotions: all(promotions),
        waiting_peer_drains: peers
            .iter()
            .filter(|(name, _)| !engine.config().peers.contains_key(*name))
            .map(|(name, one)| (name.to_string(), set(one)))
            .collect(),
        unsaved: around.unsaved.clone(),
    }
}

/// The facts behind the verdict about one VIP.
///
/// # Errors
/// No service has it.
pub fn explain(snapshot: &Snapshot, vip: IpNet) -> Result<api::Explanation, Refused> {
    facts_behind(snapshot, vip).ok_or_else(|| {
        let refusal = Refusal::new(format!("no service has the VIP {vip}"), "`vipcast status` lists them");
        Refused::new(Why::NotFound, refusal)
    })
}

fn facts_behind(Snapshot { engine, around, at, .. }: &Snapshot, prefix: IpNet) -> Option<api::Explanation> {
    let now = *at;
    let (prefix, standing) = engine.standing().get_key_value(&prefix)?;
    let service = engine.config().services.get(&standing.service)?;
    let names = service.checks.checks(Some(prefix));
    let overrides = &engine.facts().overrides;
    // It is not sent to eBGP peers.
    let is_internal = engine.config().peers.values().any(model::Peer::is_internal);
    Some(api::Explanation {
        vip: vip(engine, around, prefix, standing, now),
        attributes: engine.route(prefix).map(|route| api::Attributes {
            med: route.med,
            local_pref: route.local_pref.filter(|_| is_internal),
            as_path_prepend: route.as_path_prepend,
            link_bandwidth: route.link_bandwidth,
            communities: (route.communities.iter().map(ToString::to_string))
                .chain(route.extended_communities.iter().map(ToString::to_string))
                .chain(route.large_communities.iter().map(ToString::to_string))
                .collect(),
        }),
        observing: around.observing,
        address: bound_as(engine, prefix, service, around.observing),
        condition: condition(&service.checks, prefix) + &kept(engine, prefix),
        checks: names.iter().map(|name| (name.to_string(), check(engine, around, name, now))).collect(),
        warning: around.announced_by_others.get(prefix).cloned(),
        drain: engine.lasting_drain(&standing.service).map(set),
        force: (overrides.forces.of(standing.service.as_str()))
            .map(|(to, one)| api::Forced { set: set(one), to: to.into() }),
        unforced: engine.unforced(prefix, &standing.service, now).map(|without| api::Unforced {
            verdict: (&without.verdict).into(),
            why: engine.why_not(prefix, &without.verdict, now),
        }),
        promotion: overrides.promotions.get(&standing.service).map(|one| set(one)),
        peers: around
            .peers
            .iter()
            .map(|(name, info)| (name.to_string(), peer_view(engine, around, name, info, prefix, standing)))
            .collect(),
    })
}

fn vip(engine: &Engine, around: &Surroundings, prefix: &Vip, standing: &Standing, now: Instant) -> api::Vip {
    let verdict = &standing.decision.verdict;
    let has = |name: &PeerName, info: &PeerInfo| has(engine, name, info, prefix);
    let sent_to = around.peers.iter().filter(|(name, info)| has(name, info)).count();
    let missing = |(name, info): (&PeerName, &PeerInfo)| {
        let lacks = verdict.is_announced() && !has(name, info);
        // Computed once for the peer, not for each of thousands of VIPs.
        let why = || {
            if info.status.state == State::Established { not_sent(info, prefix) } else { info.waits.clone() }
        };
        lacks.then(|| (name.to_string(), why().unwrap_or_else(|| "no session".to_owned())))
    };
    api::Vip {
        vip: *prefix,
        service: standing.service.to_string(),
        verdict: verdict.into(),
        state: words::state(verdict, sent_to),
        since_ms: ms(standing.since, now),
        reason: verdict.reason().map(Into::into),
        why: engine.why(prefix, now),
        bound: is_bound(engine, prefix, standing),
        sent_to,
        not_at: around.peers.iter().filter_map(missing).collect(),
        heard: around.peers.iter().filter_map(|(name, info)| heard(name, info, prefix)).collect(),
        leaving_ms: (engine.facts().leaving.get(prefix))
            .filter(|leaving| verdict.is_announced() && leaving.until > now)
            .map(|leaving| ms(now, leaving.until)),
        untold: engine.untold(prefix, now).map(ToString::to_string).collect(),
    }
}

fn heard(name: &PeerName, info: &PeerInfo, prefix: &Vip) -> Option<api::Heard> {
    let path = info.status.paths.get(&prefix.prefix())?;
    let (plain, large) = (path.communities.iter(), path.large_communities.iter());
    Some(api::Heard {
        peer: name.to_string(),
        whose: path.whose.into(),
        next_hop: path.next_hop,
        as_path: path.as_path.iter().map(|asn| asn.0).collect(),
        more_asns: path.more_asns,
        origin_as: path.origin_as.map(|asn| asn.0),
        med: path.med,
        local_pref: path.local_pref,
        communities: plain.map(ToString::to_string).chain(large.map(ToString::to_string)).collect(),
        more_communities: path.more_communities,
    })
}

/// Whether the VIP is bound; true for one that is never bound.
fn is_bound(engine: &Engine, prefix: &Vip, standing: &Standing) -> bool {
    let service = engine.config().services.get(&standing.service);
    let is_carried = service.is_some_and(|service| service.carrier(prefix).is_some());
    !is_carried || engine.facts().is_bound(*prefix)
}

fn bound_as(engine: &Engine, prefix: &Vip, service: &Service, observing: bool) -> String {
    let Some(wanted) = Wanted::by(service, prefix) else {
        return "a wider prefix: announced, not bound without `bind: route`".to_owned();
    };
    let facts = engine.facts();
    let held = facts.holders(*prefix).map(|(binding, fact)| {
        let what = match binding.kind {
            Kind::Address { .. } => "on",
            Kind::Route { .. } => "a local route on",
        };
        let whose = match fact.owner {
            Owner::Us if observing => "as vipcast would bind it",
            Owner::Us => "by vipcast",
            Owner::Other => "not by vipcast, which will leave it there",
        };
        let unusable = facts.unusable(binding, fact).map(|why| format!(", unusable: {why}"));
        let interface = facts.shown_name(binding, &service.interface);
        format!("{what} {interface}, {whose}{}", unusable.unwrap_or_default())
    });
    let held: Vec<String> = held.collect();
    match (held.is_empty(), facts.obstacle(*prefix, wanted)) {
        (false, _) => held.join("; "),
        (true, Some(error)) => format!("cannot be bound: {error}"),
        (true, None) => "not on this host".to_owned(),
    }
}

fn bfd_of(around: &Surroundings, name: &PeerName, now: Instant) -> Option<api::Bfd> {
    let report = around.bfd.as_ref()?;
    let session = report.sessions.get(name.as_str())?;
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let status = &session.status;
    Some(api::Bfd {
        state: status.state.into(),
        since_ms: ms(status.since, now),
        transmit_us: status.transmit_interval.map(micros),
        detection_us: status.detection_time.map(micros),
        last_change: status.last_transition.map(|transition| transition.to_string()),
        downs: status.counters.downs,
        late_wakeups: status.counters.late_wakeups,
        error: (session.send_error.clone())
            .or_else(|| report.deaf.first().cloned())
            .or_else(|| dropped(session)),
    })
}

/// The reason why the packets of a BFD session are dropped.
fn dropped(session: &SessionReport) -> Option<String> {
    let useless = session.status.state != bfd::State::Up && session.discarded.total() > 0;
    useless.then(|| format!("the router's packets are dropped: {}", session.discarded))
}

fn peer(engine: &Engine, name: &PeerName, info: &PeerInfo, bfd: Option<api::Bfd>, now: Instant) -> api::Peer {
    let PeerInfo { peer, status, hint, waits: _ } = info;
    let down = status.state != State::Established;
    let telling = status.telling.as_ref();
    let telling = telling.filter(|telling| down && status.last_down.as_ref() != Some(*telling));
    api::Peer {
        address: peer.address.ip(),
        interface: peer.interface.clone(),
        peer_as: peer
            .peer_as
            .or_else(|| status.session.as_ref().map(|session| session.peer_as))
            .map(|asn| asn.0),
        state: status.state.into(),
        since_ms: ms(status.since, now),
        hold_time: status.session.as_ref().map(|session| session.hold_time),
        families: status.session.iter().flat_map(|s| &s.families).map(ToString::to_string).collect(),
        local_address: status.endpoints.as_ref().map(|endpoints| endpoints.local.ip()),
        sessions: status.counters.established,
        advertised: status.acknowledged,
        updates_sent: status.counters.updates_sent,
        received: status.counters.prefixes_received,
        restart_time: (status.session.as_ref())
            .and_then(|session| session.graceful_restart)
            .map(|keeping| keeping.restart_time),
        bfd,
        fault: words::fault(status).filter(|_| down),
        last_error: why_down(info),
        telling_error: telling.map(|(reason, _)| reason.to_string()),
        telling_ms: telling.map(|(_, at)| ms(*at, now)),
        reduced_offer: reduced_offer(status.offer).map(str::to_owned),
        unacknowledged: status.seen.stall.map(|stall| stall.to_string()),
        hint: hint.clone().filter(|_| down),
        drain: engine.facts().overrides.peers.get(name).map(|one| set(one)),
        leaving_ms: engine.facts().peers_leaving.get(name).map(|until| ms(now, *until)),
        // Of a drained peer that would be every route.
        withheld: (status.withheld.iter())
            .filter(|(_, why)| **why != Withheld::Drained)
            .map(|(prefix, why)| (Vip::from(*prefix), why))
            .map(|(vip, why)| (vip, withheld(*why, &vip, status)))
            .collect(),
    }
}

fn peer_view(
    engine: &Engine,
    around: &Surroundings,
    name: &PeerName,
    info: &PeerInfo,
    prefix: &Vip,
    standing: &Standing,
) -> api::PeerView {
    let status = &info.status;
    let announced = standing.decision.verdict.is_announced();
    let sent = announced && has(engine, name, info, prefix);
    let nothing_wanted =
        !announced && status.state == State::Established && !status.withheld.contains_key(&prefix.prefix());
    let drained = engine.facts().overrides.peers.get(name).filter(|_| announced);
    let why = match drained.map(|drain| in_words::set(drain)) {
        Some(by) if sent => Some(format!("being drained, GRACEFUL_SHUTDOWN is set: {by}")),
        Some(by) if status.state == State::Established => Some(format!("drained: {by}")),
        Some(_) | None if sent || nothing_wanted => None,
        Some(_) | None => not_sent(info, prefix),
    };
    let session = around.bfd.as_ref().and_then(|report| report.sessions.get(name.as_str()));
    let bfd = session.map(|session| session.status.state.into());
    api::PeerView { state: status.state.into(), sent, why, bfd }
}

/// Whether a router has a VIP, by the engine and by the session's later changes.
fn has(engine: &Engine, name: &PeerName, info: &PeerInfo, prefix: &Vip) -> bool {
    let carried =
        info.status.state == State::Established && !info.status.withheld.contains_key(&prefix.prefix());
    carried && engine.is_at(name, prefix)
}

/// The reason why a router lacks an announced VIP.
fn not_sent(info: &PeerInfo, prefix: &Vip) -> Option<String> {
    let status = &info.status;
    if status.state != State::Established {
        return match (&status.telling, why_down(info)) {
            (Some((telling, _)), Some(now)) if telling.to_string() != now => {
                Some(format!("{telling}; since then: {now}"))
            }
            (Some(_) | None, why) => why,
        };
    }
    let obstacle = status.withheld.get(&prefix.prefix()).map(|why| withheld(*why, prefix, status));
    obstacle.or_else(|| {
        let stall = status.seen.stall.map(|stall| stall.to_string());
        stall.or_else(|| Some("its TCP has not acknowledged it yet".to_owned()))
    })
}

/// The reason for the end of the last session or attempt.
fn why_down(PeerInfo { status, waits, .. }: &PeerInfo) -> Option<String> {
    if waits.is_some() {
        return waits.clone();
    }
    if status.held_back && status.state != State::Established {
        return Some("waits for BFD to be up (`strict`)".to_owned());
    }
    status.last_down.as_ref().map(|(reason, _)| reason.to_string())
}

fn withheld(why: Withheld, prefix: &Vip, status: &PeerStatus) -> String {
    let own_end = status.endpoints.as_ref().filter(|ends| ends.local_is_service).map(|ends| ends.local.ip());
    match (why, own_end) {
        (Withheld::NoNextHop, Some(local)) if local.is_ipv4() == prefix.ip().is_ipv4() => {
            format!("no next hop: our end of the session is {local}, a VIP; set `source_address`")
        }
        (
            Withheld::FamilyNotNegotiated
            | Withheld::NoNextHop
            | Withheld::AttributesTooLarge
            | Withheld::Drained,
            _,
        ) => reach::withheld(why).to_owned(),
    }
}

fn check(engine: &Engine, around: &Surroundings, name: &CheckName, now: Instant) -> api::Check {
    let fact = engine.facts().checks.get(name);
    let told = fact.map(|fact| Numbers { took: fact.outcome.took, at: fact.at });
    let numbers =
        told.map(|told| around.latest.of(name).filter(|latest| latest.at > told.at).unwrap_or(told));
    let state = fact.map_or(HealthState::Unknown, |fact| fact.state);
    api::Check {
        state: state.into(),
        since_ms: fact.map(|fact| ms(fact.since, now)),
        degraded: fact.and_then(|fact| fact.degraded.clone()),
        held_ms: fact
            .and_then(|fact| fact.held_until)
            .filter(|until| *until > now)
            .map(|until| ms(now, until)),
        detail: fact.map(|fact| fact.outcome.detail.clone()),
        took_ms: numbers.map(|Numbers { took, .. }| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
        ago_ms: numbers.map(|Numbers { at, .. }| ms(at, now)),
    }
}

fn set(one: &Override) -> api::Override {
    api::Override {
        by: one.order.by.clone(),
        reason: one.order.reason.clone(),
        since: format!("{:.0}", one.since),
        until: one.ends.map(|ends| format!("{:.0}", ends.wall)),
        except: Vec::new(),
    }
}

/// The override of everything, with its exceptions.
fn of_everything(scoped: &Scoped) -> Option<api::Override> {
    let Everything { common, except } = scoped.everything.as_ref()?;
    Some(api::Override { except: except.iter().map(ToString::to_string).collect(), ..set(common) })
}

fn all<'a>(
    named: impl IntoIterator<Item = (&'a ServiceName, &'a Arc<Override>)>,
) -> BTreeMap<String, api::Override> {
    named.into_iter().map(|(name, one)| (name.to_string(), set(one))).collect()
}

/// The checks that do not count yet.
fn kept(engine: &Engine, vip: &Vip) -> String {
    let kept = engine.facts().kept.get(vip).map(|kept| &kept.checks);
    let checks: Vec<String> = kept.into_iter().flatten().map(ToString::to_string).collect();
    if checks.is_empty() {
        return String::new();
    }
    format!("; the verdict is kept until {} has settled since the reload", checks.join(", "))
}

/// A condition in words, for one VIP.
fn condition(condition: &Condition, vip: &Vip) -> String {
    let list =
        |of: &[Condition]| of.iter().map(|part| self::condition(part, vip)).collect::<Vec<_>>().join(", ");
    match condition {
        Condition::Check(check) => check.to_string(),
        Condition::EachVip(checks) => checks.get(vip).map(CheckName::to_string).unwrap_or_default(),
        Condition::All(of) if of.is_empty() => "none: always healthy".to_owned(),
        Condition::All(of) => format!("all of ({})", list(of)),
        Condition::Any(of) => format!("any of ({})", list(of)),
        Condition::AtLeast(needed, of) => format!("at least {needed} of ({})", list(of)),
    }
}

fn hand_over(over: &HandedOver) -> api::HandOver {
    let HandedOver { from, at, pause, count } = over;
    api::HandOver {
        at: format!("{at:.0}"),
        from: from.to_string(),
        to: Identity::program().to_string(),
        pause_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
        count: *count,
    }
}

fn ms(from: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(from).as_millis()).unwrap_or(u64::MAX)
}

/// The effects of a reload that did not take place.
pub fn preview(preview: &Preview) -> api::Preview {
    let Preview { needs_restart, sessions, bound, unbound, announcements, checks, warnings } = preview;
    api::Preview {
        needs_restart: needs_restart.iter().map(ToString::to_string).collect(),
        sessions_started: names(&sessions.started),
        sessions_stopped: names(&sessions.stopped),
        sessions_reset: names(&sessions.reset),
        sessions_tuned: names(&sessions.tuned),
        addresses_bound: vips(bound),
        addresses_unbound: vips(unbound),
        announcements_added: vips(&announcements.added),
        announcements_changed: vips(&announcements.changed),
        announcements_withdrawn: vips(&announcements.withdrawn),
        checks_kept: checks.kept,
        checks_added: names(&checks.added),
        checks_changed: names(&checks.changed),
        checks_removed: names(&checks.removed),
        warnings: warnings.iter().map(warning).collect(),
    }
}

/// The most names in a list.
const NAMED: usize = 20;

fn names<T: ToString>(all: &BTreeSet<T>) -> api::Names {
    api::Names { count: all.len(), first: all.iter().take(NAMED).map(ToString::to_string).collect() }
}

fn vips(all: &BTreeSet<Vip>) -> api::Names {
    api::Names { count: all.len(), first: all.iter().take(NAMED).map(|vip| vip.short()).collect() }
}

fn warning(Warning { file, line, message, hint }: &Warning) -> String {
    let line = line.map(|line| format!(":{line}")).unwrap_or_default();
    let hint = hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
    format!("{file}{line}: {message}{hint}")
}

/// The word for a verdict in the log.
pub fn verdict_word(verdict: Option<&Verdict>) -> &'static str {
    verdict.map_or("not configured", Verdict::word)
}
