//! Freeze and thaw of the engine.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use vipcast_bgp::adj_rib_out::Withheld;
use vipcast_bgp::wire::Asn;
use vipcast_bgp::{Extent, HoldTime, Instant, PrefixMap, RestartTime, RouteAttributes, Routes, Version};

use super::contest::Contest;
use super::facts::{CheckFact, PeerFact};
use super::kept::{self, Was};
use super::plan::{Actual, Advertised, Desired, Retiring};
use super::reach::Reach;
use super::{
    BindingFact, Decision, Engine, Event, Facts, Held, HeldBack, Kept, Leaving, Link, Links, Meanwhile,
    Recovery, Standing, Touched, recovery, users,
};
use crate::effect::Effect;
use crate::frozen::{Error, agree, ahead, engine as frozen, nanos, of_debug, past};
use crate::health::report::Outcome;
use crate::model::{Check, Condition, Config, Peer, Question, Service};
use crate::names::{CheckName, PeerName, ServiceName};
use crate::outbox::Outbox;
use crate::table::{Keys, Table};
use crate::vip::Vip;

/// No deadline of a node is further away: no configured time is longer.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// The configuration of the freeze, as far as it must be known, if it is another one than now.
#[derive(Debug)]
pub(crate) struct Before {
    /// It has the names and the checks of then. Peers and services have no content.
    config: Config,
    /// The health of every VIP.
    was: BTreeMap<Vip, Was>,
    /// The time for which each peer may keep our routes after its session.
    keeps: BTreeMap<PeerName, Option<Duration>>,
}

/// The definition of a check that is not the one of now.
#[derive(Debug, PartialEq)]
struct Other(u64);

impl Engine {
    /// The frozen form of the engine, at rest: between two wake-ups, and without a shutdown or a restart under way.
    pub(crate) fn freeze(&self) -> frozen::Engine {
        let Self {
            config,
            facts,
            standing,
            // The wanted routes are those that were advertised last.
            desired: Desired { bindings: wanted, routes: _, extent: _ },
            actual,
            reach,
            // These follow from the configuration.
            users: _,
            watched: _,
            // It counts until the first listing.
            announced_before: _,
            meanwhile,
            saved: HeldBack { held, watched: saved_watched },
            // Those in force.
            saved_overrides: _,
            // These follow from the overrides.
            exports: _,
            // These follow from all the rest.
            due: _,
            acted_at: _,
        } = self;
        let Facts {
            checks,
            pending,
            kept,
            peers,
            links,
            bindings,
            is_listed: _,
            asked,
            binding_errors,
            contests,
            overrides,
            cordons,
            leaving,
            peers_leaving,
            recovering,
            // Nobody hands over before the first listing, while the machine goes down, or in one of these.
            farewell: _,
            restart: _,
            shutdown: _,
            hurry: _,
            sessions_closed: _,
        } = facts;
        let Actual {
            advertised,
            // Nobody hands over in a restart or a shutdown.
            handover: _,
            left: _,
            whole_since,
            retiring,
            open,
            sent_in,
            // Nothing, after each wake-up.
            changed: _,
            missing_links,
        } = actual;
        let health = kept::before(config, facts);
        frozen::Engine {
            configured: configured(config),
            checks: checks.iter().map(freeze_check).collect(),
            pending: pending.clone(),
            kept: kept
                .iter()
                .map(|(vip, Kept { was, checks })| (*vip, (*was).into(), checks.clone()))
                .collect(),
            peers: peers.iter().map(|(name, fact)| (name.clone(), freeze_peer(fact))).collect(),
            links: freeze_links(links),
            bindings: bindings
                .iter()
                .map(|(binding, BindingFact { owner, state })| {
                    ((*binding).into(), (*owner).into(), (*state).into())
                })
                .collect(),
            asked: asked.iter().map(|(binding, asked)| ((*binding).into(), (*asked).into())).collect(),
            errors: binding_errors
                .iter()
                .map(|(binding, (error, retry_at))| ((*binding).into(), error.clone(), *retry_at))
                .collect(),
            contests: contests.iter().map(|(vip, contest)| (*vip, contest.freeze())).collect(),
            overrides: (&**overrides).into(),
            cordons: cordons.iter().map(|(cordon, drain)| ((*cordon).into(), (&**drain).into())).collect(),
            leaving: leaving
                .iter()
                .map(|(vip, Leaving { until, rank, out })| {
                    (*vip, frozen::Leaving { until: *until, rank: rank.map(Into::into), out: *out })
                })
                .collect(),
            peers_leaving: peers_leaving.clone(),
            recovering: recovering.iter().map(|(vip, one)| (*vip, freeze_recovery(*one))).collect(),
            standing: standing
                .iter()
                .map(|(vip, Standing { service, decision: Decision { verdict, bind }, since })| {
                    frozen::Standing {
                        vip: *vip,
                        service: service.clone(),
                        verdict: verdict.into(),
                        bind: *bind,
                        since: *since,
                        health: health.get(vip).map(|was| (*was).into()),
                    }
                })
                .collect(),
            wanted: wanted
                .iter()
                .map(|(vip, (carrier, interface))| (*vip, (*carrier).into(), interface.clone()))
                .collect(),
            advertised: freeze_advertised(advertised, sent_in),
            whole_since: whole_since.map(|version| version.0),
            retiring: retiring
                .iter()
                .map(|(vip, Retiring { version, settled_at })| (*vip, version.0, *settled_at))
                .collect(),
            open: open.iter().copied().collect(),
            missing_links: missing_links.clone(),
            reach: reach.freeze(),
            meanwhile: meanwhile.freeze(),
            held: held.clone(),
            watched: saved_watched.clone(),
        }
    }

    /// The engine that was frozen, with this configuration, before any conclusion: [`Self::resume`] follows.
    pub(crate) fn thaw(
        config: Arc<Config>,
        frozen: &frozen::Engine,
        now: Instant,
    ) -> Result<(Self, Option<Before>), Error> {
        frozen.configured.peers.values().try_for_each(|time| kept(*time, "configured.peers").map(drop))?;
        let before = (frozen.configured != configured(&config)).then(|| before(&config, frozen));
        let facts = thaw_facts(frozen, now)?;
        let mut standing = Table::default();
        for one in &frozen.standing {
            let decision = Decision { verdict: (&one.verdict).into(), bind: one.bind };
            let since = past(one.since, now, "standing.since")?;
            standing.insert(one.vip, Standing { service: one.service.clone(), decision, since });
        }
        let wanted = frozen.wanted.iter();
        let wanted: Table<_, _> =
            wanted.map(|(vip, carrier, interface)| (*vip, ((*carrier).into(), interface.clone()))).collect();
        agree(standing.len() == frozen.standing.len(), "standing")?;
        agree(wanted.len() == frozen.wanted.len(), "wanted")?;
        let (advertised, sent_in) = thaw_advertised(&frozen.advertised)?;
        let mut retiring = BTreeMap::new();
        for (vip, version, settled_at) in &frozen.retiring {
            let settled_at = settled_at.map(|at| past(at, now, "retiring")).transpose()?;
            retiring.insert(*vip, Retiring { version: thaw_version(*version, "retiring")?, settled_at });
        }
        // The plan looks at everything, except where the answer of the kernel is awaited, which opens it. The order of the
        // open ones is that of the steps.
        let mut open: Keys<Vip> = frozen.open.iter().copied().collect();
        open.extend(wanted.keys().copied().filter(|vip| !facts.is_asked(*vip)));
        open.extend(facts.bindings.vips().filter(|vip| !facts.is_asked(*vip)));
        let actual = Actual {
            handover: None,
            whole_since: frozen.whole_since.map(|since| thaw_version(since, "whole_since")).transpose()?,
            left: 0,
            retiring,
            open,
            sent_in,
            changed: Table::default(),
            missing_links: frozen.missing_links.clone(),
            advertised,
        };
        let (routes, extent) = (actual.advertised.routes.clone(), actual.advertised.extent);
        let engine = Self {
            users: users(&config),
            watched: recovery::watched(&config),
            config,
            saved_overrides: Arc::clone(&facts.overrides),
            exports: BTreeMap::new(),
            facts,
            standing,
            desired: Desired { bindings: wanted, routes, extent },
            actual,
            reach: Reach::thaw(&frozen.reach, now)?,
            announced_before: None,
            meanwhile: Meanwhile::thaw(&frozen.meanwhile),
            saved: HeldBack { held: frozen.held.clone(), watched: frozen.watched.clone() },
            due: None,
            acted_at: None,
        };
        Ok((engine, before))
    }

    /// Draws all conclusions anew, and tells the ports what they have to know from the start: as a start, but without news
    /// about what was known. `before` is the configuration of the freeze, if it was another one; `lost` are events about
    /// sessions that do not go on.
    pub(crate) fn resume(
        &mut self,
        before: Option<Before>,
        lost: Vec<Event>,
        now: Instant,
        out: &mut Outbox,
    ) {
        // What was due comes first, as at any wake-up.
        let due = self.fold_time(now, out);
        self.exports = self.exports_at(now);
        out.push(Effect::Export(self.exports.clone()));
        self.act(due, now, out);
        if let Some(Before { config, was, keeps }) = before {
            self.follow_config(&config, &was, &keeps, now, out);
        }
        for event in lost {
            self.reach.note(&event);
            let _everything_is_touched = self.fold(event, now, out);
        }
        self.act(Touched::All, now, out);
        // Whatever the port of the predecessor has not written is written now.
        out.push(Effect::SaveOverrides(Arc::clone(&self.facts.overrides)));
        out.push(Effect::SaveHeldBack(Arc::new(self.saved.clone())));
    }
}

fn configured(config: &Config) -> frozen::Configured {
    frozen::Configured {
        checks: config.checks.iter().map(|(name, check)| (name.clone(), check.digest())).collect(),
        services: config.services.iter().map(|(name, service)| (name.clone(), of_debug(service))).collect(),
        peers: config
            .peers
            .iter()
            .map(|(name, peer)| (name.clone(), peer.keeps_routes().map(nanos)))
            .collect(),
    }
}

/// The configuration of the freeze as far as a reload looks at it. A check of then that is still there, under any name, has
/// its definition of now.
fn before(config: &Config, frozen: &frozen::Engine) -> Before {
    let by_digest: BTreeMap<u64, &Arc<Check>> =
        config.checks.values().map(|check| (check.digest(), check)).collect();
    let check = |(name, digest): (&CheckName, &u64)| {
        let same = by_digest.get(digest).map(|check| Arc::clone(check));
        (name.clone(), same.unwrap_or_else(|| Arc::new(Check::new(Question::new(Other(*digest))))))
    };
    let service = |name: &ServiceName| (name.clone(), Service::new([], Condition::All(Vec::new())));
    let peer = |name: &PeerName| (name.clone(), Peer::new(Ipv4Addr::UNSPECIFIED.into(), Asn(0), Asn(0)));
    let frozen::Configured { checks, services, peers } = &frozen.configured;
    let mut before = Config::new(peers.keys().map(peer), services.keys().map(service));
    before.checks = checks.iter().map(check).collect();
    let standing = frozen.standing.iter();
    Before {
        config: before,
        was: standing.filter_map(|one| Some((one.vip, one.health?.into()))).collect(),
        keeps: peers.iter().map(|(name, time)| (name.clone(), time.map(Duration::from_nanos))).collect(),
    }
}

fn freeze_check((name, fact): (&CheckName, &CheckFact)) -> frozen::Check {
    let CheckFact { state, since, degraded, held_until, outcome: Outcome { passed, detail, took }, at } =
        fact;
    frozen::Check {
        name: name.clone(),
        state: (*state).into(),
        since: *since,
        degraded: degraded.clone(),
        held_until: *held_until,
        passed: *passed,
        detail: detail.clone(),
        took: nanos(*took),
        at: *at,
    }
}

fn freeze_peer(fact: &PeerFact) -> frozen::Peer {
    let PeerFact { established, synced, withheld, keeps_until, asked_before } = fact;
    frozen::Peer {
        established: *established,
        synced: synced.map(|version| version.0),
        withheld: freeze_withheld(withheld),
        keeps_until: *keeps_until,
        asked_before: asked_before.map(nanos),
    }
}

/// By reason: there are few reasons, and thousands of prefixes.
pub(crate) fn freeze_withheld(withheld: &PrefixMap<Withheld>) -> Vec<(frozen::Withheld, Vec<IpNet>)> {
    let mut by_reason: BTreeMap<frozen::Withheld, Vec<IpNet>> = BTreeMap::new();
    for (prefix, why) in withheld {
        by_reason.entry((*why).into()).or_default().push(*prefix);
    }
    by_reason.into_iter().collect()
}

pub(crate) fn thaw_withheld(frozen: &[(frozen::Withheld, Vec<IpNet>)]) -> PrefixMap<Withheld> {
    let each = frozen
        .iter()
        .flat_map(|(why, prefixes)| prefixes.iter().map(|prefix| (prefix.trunc(), Withheld::from(*why))));
    each.collect()
}

fn freeze_links(links: &Links) -> Vec<(u32, frozen::Link)> {
    let mut all: Vec<_> = links.iter().collect();
    all.sort_by_key(|(index, link)| link.names().all(|name| links.index_of(name) == Some(*index)));
    let freeze = |(index, Link { name, altnames, up }): (u32, &Link)| {
        (index, frozen::Link { name: name.clone(), altnames: altnames.clone(), up: *up })
    };
    all.into_iter().map(freeze).collect()
}

fn freeze_recovery(Recovery { down, lost, promoted, warm_until, held }: Recovery) -> frozen::Recovery {
    let held = held.map(|held| match held {
        Held::UntilPromoted => frozen::Held::UntilPromoted,
        Held::Until(until) => frozen::Held::Until(until),
    });
    frozen::Recovery { down, lost, promoted, warm_until, held }
}

fn freeze_advertised(advertised: &Advertised, sent_in: &Table<Vip, Version>) -> frozen::Advertised {
    // Nobody hands over while a set is partial.
    let Advertised { version, routes, extent: _ } = advertised;
    let mut attributes: Vec<Arc<RouteAttributes>> = Vec::new();
    // Services have attributes of their own, which are often alike.
    let (mut known, mut alike) = (BTreeMap::new(), BTreeMap::new());
    let mut index_of = |route: &Arc<RouteAttributes>| -> usize {
        *known.entry(Arc::as_ptr(route)).or_insert_with(|| {
            let alike: &mut Vec<usize> = alike.entry(of_debug(route)).or_default();
            let same = alike.iter().find(|at| attributes.get(**at) == Some(route)).copied();
            same.unwrap_or_else(|| {
                alike.push(attributes.len());
                attributes.push(Arc::clone(route));
                attributes.len() - 1
            })
        })
    };
    let route = |(prefix, route): (&IpNet, &Arc<RouteAttributes>)| {
        let index = u32::try_from(index_of(route)).unwrap_or(u32::MAX);
        let sent_in = sent_in.get(prefix).copied().unwrap_or_default();
        (*prefix, index, sent_in.0)
    };
    let routes = routes.iter().map(route).collect();
    let attributes = attributes.iter().map(|attributes| (&**attributes).into()).collect();
    frozen::Advertised { version: version.0, attributes, routes }
}

fn thaw_advertised(frozen: &frozen::Advertised) -> Result<(Advertised, Table<Vip, Version>), Error> {
    let version = thaw_version(frozen.version, "advertised")?;
    let attributes: Vec<Arc<RouteAttributes>> =
        frozen.attributes.iter().map(|attributes| Arc::new(attributes.clone().into())).collect();
    let (mut routes, mut sent_in) = (Routes::new(), Table::default());
    for (prefix, index, since) in &frozen.routes {
        let attributes = usize::try_from(*index).ok().and_then(|index| attributes.get(index));
        let attributes = attributes.ok_or(Error::Contradiction("advertised.routes"))?;
        agree(*prefix == prefix.trunc() && *since <= version.0, "advertised.routes")?;
        routes.insert(*prefix, Arc::clone(attributes));
        sent_in.insert(Vip::from(*prefix), Version(*since));
    }
    Ok((Advertised { version, routes, extent: Extent::Whole }, sent_in))
}

/// The time for which a peer keeps routes, in nanoseconds: at most as long as a configuration can ask for. A longer one
/// would become a time that the next hand-over refuses.
fn kept(time: Option<u64>, field: &'static str) -> Result<Option<Duration>, Error> {
    let longest = RestartTime::MAX.duration() + HoldTime::MAX.duration();
    let time = time.map(Duration::from_nanos);
    if time.is_none_or(|time| time <= longest) { Ok(time) } else { Err(Error::Range(field)) }
}

fn thaw_facts(frozen: &frozen::Engine, now: Instant) -> Result<Facts, Error> {
    let ahead = |at: Instant, field| ahead(at, now, LONGEST, field);
    frozen.pending.values().try_for_each(|at| ahead(*at, "pending").map(drop))?;
    frozen.peers_leaving.values().try_for_each(|at| ahead(*at, "peers_leaving").map(drop))?;
    let mut facts = Facts {
        pending: frozen.pending.clone(),
        peers_leaving: frozen.peers_leaving.clone(),
        is_listed: true,
        overrides: Arc::new((&frozen.overrides).into()),
        ..Facts::default()
    };
    for check in &frozen.checks {
        facts.checks.insert(check.name.clone(), thaw_check(check, now)?);
    }
    for (vip, was, checks) in &frozen.kept {
        facts.kept.insert(*vip, Kept { was: (*was).into(), checks: checks.clone() });
    }
    for (name, peer) in &frozen.peers {
        facts.peers.insert(
            name.clone(),
            PeerFact {
                established: peer.established,
                synced: peer.synced.map(|version| thaw_version(version, "synced")).transpose()?,
                withheld: thaw_withheld(&peer.withheld),
                keeps_until: peer.keeps_until.map(|at| ahead(at, "keeps_until")).transpose()?,
                asked_before: kept(peer.asked_before, "asked_before")?,
            },
        );
    }
    for (index, frozen::Link { name, altnames, up }) in &frozen.links {
        facts.links.insert(*index, Link { name: name.clone(), altnames: altnames.clone(), up: *up });
    }
    for (binding, owner, state) in &frozen.bindings {
        let fact = BindingFact { owner: (*owner).into(), state: (*state).into() };
        facts.bindings.insert((*binding).into(), fact);
    }
    for (binding, asked) in &frozen.asked {
        facts.asked.insert((*binding).into(), (*asked).into());
    }
    for (binding, error, retry_at) in &frozen.errors {
        facts.binding_errors.insert((*binding).into(), (error.clone(), ahead(*retry_at, "errors")?));
    }
    for (vip, contest) in &frozen.contests {
        facts.contests.insert(*vip, Contest::thaw(contest, now)?);
    }
    for (cordon, drain) in &frozen.cordons {
        facts.cordons.insert((*cordon).into(), Arc::new(drain.into()));
    }
    for (vip, frozen::Leaving { until, rank, out }) in &frozen.leaving {
        let (until, rank) = (ahead(*until, "leaving")?, rank.map(Into::into));
        facts.leaving.insert(*vip, Leaving { until, rank, out: *out });
    }
    for (vip, recovery) in &frozen.recovering {
        facts.recovering.insert(*vip, thaw_recovery(recovery, now)?);
    }
    Ok(facts)
}

fn thaw_check(frozen: &frozen::Check, now: Instant) -> Result<CheckFact, Error> {
    let (passed, detail) = (frozen.passed, frozen.detail.clone());
    Ok(CheckFact {
        state: frozen.state.into(),
        since: past(frozen.since, now, "checks.since")?,
        degraded: frozen.degraded.clone(),
        held_until: frozen.held_until,
        outcome: Outcome { passed, detail, took: Duration::from_nanos(frozen.took) },
        at: past(frozen.at, now, "checks.at")?,
    })
}

fn thaw_recovery(frozen: &frozen::Recovery, now: Instant) -> Result<Recovery, Error> {
    let ahead = |at: Instant| ahead(at, now, LONGEST, "recovering");
    Ok(Recovery {
        down: frozen.down,
        lost: frozen.lost,
        promoted: frozen.promoted,
        warm_until: frozen.warm_until.map(ahead).transpose()?,
        held: match frozen.held {
            None => None,
            Some(frozen::Held::UntilPromoted) => Some(Held::UntilPromoted),
            Some(frozen::Held::Until(until)) => Some(Held::Until(ahead(until)?)),
        },
    })
}

/// The number of a set, with room to count on.
fn thaw_version(version: u64, field: &'static str) -> Result<Version, Error> {
    if version <= u64::MAX / 2 { Ok(Version(version)) } else { Err(Error::Range(field)) }
}
