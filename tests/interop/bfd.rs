//! The BFD driver of the bgp crate against real routers: it runs in a thread of this process that has entered the
//! namespace of a host.

use std::collections::BTreeMap;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU8;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use libtest_mimic::Trial;
use nix::sched::{CloneFlags, setns};
use tokio::sync::mpsc::UnboundedReceiver;
use vipcast_bgp::bfd::{BfdEvent, SessionSettings, Sessions};
use vipcast_bgp::bfd::{Cause, Discard, Hops, Interval, SessionConfig, State, Transition};
use vipcast_bgp::net::bfd::{Bfd, Options, SessionReport};
use vipcast_lab::{Bfd as Timers, Host, Lab, Neighbor, Router, RouterConfig, RouterKind, Subnet, Toggle};

use crate::{SOON, trial};

const KINDS: [RouterKind; 2] = [RouterKind::Frr, RouterKind::Bird];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for kind in KINDS {
        let name = |what: &str| format!("{kind}::bfd_{what}");
        trials.push(trial(&name("timers_are_negotiated_and_change_while_up"), &[kind], move |lab| {
            timers(lab, kind)
        }));
        trials.push(trial(&name("runs_over_routers"), &[kind], move |lab| multihop(lab, kind)));
        trials.push(trial(&name("notices_a_dead_router_and_finds_it_again"), &[kind], move |lab| {
            death(lab, kind)
        }));
        trials.push(trial(&name("operators_take_sessions_down"), &[kind], move |lab| operators(lab, kind)));
    }
    trials.push(trial("bfd::link_local_sessions_survive_what_happens_to_links", &[], link_local));
    trials.push(trial("bfd::an_address_may_come_go_and_come_back", &[], addresses));
    trials
}

/// A driver on a lab host.
struct Speaker {
    bfd: Bfd,
    events: UnboundedReceiver<BfdEvent>,
}

impl Speaker {
    fn start(host: &Host) -> Result<Self> {
        let namespace =
            File::open(format!("/run/netns/{}", host.namespace())).context("no such namespace")?;
        // Only this thread enters, and the thread that it starts is born there.
        let started = std::thread::spawn(move || {
            setns(&namespace, CloneFlags::CLONE_NEWNET).context("cannot enter the namespace")?;
            anyhow::Ok(Bfd::start(Options::default())?)
        });
        let (bfd, events) = started.join().map_err(|_| anyhow!("the thread panicked"))??;
        Ok(Self { bfd, events })
    }

    fn set(&self, sessions: &[(&str, &SessionSettings)]) {
        let named = |(name, settings): &(&str, &SessionSettings)| ((*name).into(), (*settings).clone());
        self.bfd.set(sessions.iter().map(named).collect::<Sessions>());
    }

    fn sessions(&self) -> Result<BTreeMap<String, SessionReport>> {
        let report = self.bfd.report().context("the driver does not answer")?;
        ensure!(report.deaf.is_empty(), "{:?}", report.deaf);
        Ok(report.sessions.into_iter().map(|(name, session)| (name.to_string(), session)).collect())
    }

    /// The next change into `state`, past others.
    fn event(&mut self, lab: &Lab, state: State) -> Result<Transition> {
        lab.until(format_args!("a change to {state}"), SOON, || {
            loop {
                let event = self.events.try_recv().with_context(|| format!("{:#?}", self.bfd.report()))?;
                if event.transition.to == state {
                    return Ok(event.transition);
                }
            }
        })
    }
}

fn ms(millis: u32) -> Duration {
    Duration::from_millis(millis.into())
}

fn config(transmit: u32, receive: u32, multiplier: u8) -> Result<SessionConfig> {
    Ok(SessionConfig {
        desired_min_tx: Interval::from_millis(transmit).context("too long")?,
        required_min_rx: Interval::from_millis(receive).context("too long")?,
        multiplier: NonZeroU8::new(multiplier).context("zero")?,
        admin_down: false,
    })
}

/// A router at the first address of each family, which nobody speaks BGP with.
fn router(
    lab: &Lab,
    kind: RouterKind,
    host: &Host,
    peers: &[IpAddr],
    bfd: Timers,
) -> Result<Arc<dyn Router>> {
    let mut config = RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1));
    for peer in peers {
        let neighbor = Neighbor::new(*peer, 65001).passive().bfd(bfd);
        config = config.neighbor(if bfd.multihop.is_some() { neighbor.multihop(3) } else { neighbor });
    }
    lab.router(kind, host, &config)
}

/// Ours and the router's: transmit and receive in milliseconds, multiplier.
type Change = ((u32, u32, u8), (u32, u32, u8));

/// One session of each family, and each change is made on both ends of both.
fn timers(lab: &Lab, kind: RouterKind) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::dual(1))?;
    let ours = [link.v4(&edge)?, link.v6(&edge)?];
    let theirs = [link.v4(&tor)?, link.v6(&tor)?];
    const CHANGES: [Change; 6] = [
        ((300, 300, 3), (300, 300, 3)),
        ((100, 100, 3), (100, 100, 3)),
        ((50, 50, 3), (50, 50, 3)),
        ((80, 150, 5), (200, 60, 4)),
        ((400, 60, 3), (60, 60, 6)),
        ((50, 50, 3), (50, 50, 3)),
    ];
    let bfd =
        |(transmit, receive, multiplier): (u32, u32, u8)| Timers::new(transmit, multiplier).receive(receive);
    let router = router(lab, kind, &tor, &ours, bfd(CHANGES[0].1))?;
    let speaker = Speaker::start(&edge)?;
    println!("{kind}: {}", speaker.bfd.priority());
    for (our, their) in CHANGES {
        let mut wanted = Vec::new();
        for (remote, local) in theirs.into_iter().zip(ours) {
            let config = config(our.0, our.1, our.2)?;
            wanted.push(SessionSettings { local: Some(local), config, ..SessionSettings::new(remote) });
            router.set_bfd(local, bfd(their))?;
        }
        speaker.set(&[("v4", &wanted[0]), ("v6", &wanted[1])]);
        let transmit = ms(our.0.max(their.1));
        let receive = ms(their.0.max(our.1));
        lab.until(format_args!("the timers {our:?} and {their:?}"), SOON, || {
            for session in speaker.sessions()?.values() {
                let status = &session.status;
                let found = (status.state, status.transmit_interval, status.detection_time, status.polling);
                let expected = (State::Up, Some(transmit), Some(receive * their.2.into()), false);
                ensure!(found == expected, "{session:#?}");
            }
            for local in ours {
                let seen = router.bfd(local)?;
                let found = (seen.state.as_str(), seen.transmit, seen.detection);
                ensure!(found == ("up", receive, transmit * our.2.into()), "{seen:?}");
            }
            Ok(())
        })?;
    }
    // They stay up, and were all the time.
    vipcast_lab::wait::holds("the sessions to stay up", Duration::from_secs(2), || {
        for session in speaker.sessions()?.values() {
            let counters = session.status.counters;
            ensure!((counters.ups, counters.downs) == (1, 0), "{session:#?}");
            ensure!(session.discarded.total() == 0, "{}", session.discarded);
        }
        Ok(())
    })
}

/// edge ── middle ── tor
fn multihop(lab: &Lab, kind: RouterKind) -> Result<()> {
    let (tor, middle, edge) = (lab.host("tor")?, lab.host("middle")?, lab.host("edge")?);
    let near = lab.link(&middle, &edge, Subnet::dual(1))?;
    let far = lab.link(&middle, &tor, Subnet::dual(2))?;
    edge.route(&["10.0.2.0/24", "via", &near.v4(&middle)?.to_string()])?;
    tor.route(&["10.0.1.0/24", "via", &far.v4(&middle)?.to_string()])?;
    let (ours, theirs) = (near.v4(&edge)?, far.v4(&tor)?);
    let router = router(lab, kind, &tor, &[ours], Timers::new(100, 3).multihop(theirs))?;
    let mut speaker = Speaker::start(&edge)?;
    // BIRD sends what goes over routers with the usual TTL.
    let arrives = if kind == RouterKind::Bird { 63 } else { 254 };
    let session = |min_ttl| {
        let config = config(100, 100, 3)?;
        let hops = Hops::Multi { min_ttl };
        anyhow::Ok(SessionSettings { hops, local: Some(ours), config, ..SessionSettings::new(theirs) })
    };
    speaker.set(&[("far", &session(arrives)?)]);
    speaker.event(lab, State::Up)?;
    let router_sees = |state: &str| {
        lab.until(format_args!("the router to see it {state}"), SOON, || {
            let seen = router.bfd(ours)?;
            ensure!(seen.state == state, "{seen:?}");
            Ok(())
        })
    };
    router_sees("up")?;
    // One hop less is allowed than there are.
    speaker.set(&[("far", &session(arrives + 1)?)]);
    lab.until("packets to be dropped for their TTL", SOON, || {
        let session = speaker.sessions()?.remove("far").context("no session")?;
        ensure!(
            session.discarded.of(Discard::Ttl) > 2 && session.status.state == State::Down,
            "{session:#?}"
        );
        Ok(())
    })
}

fn death(lab: &Lab, kind: RouterKind) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::dual(1))?;
    let (ours, theirs) = (link.v4(&edge)?, link.v4(&tor)?);
    let router = router(lab, kind, &tor, &[ours], Timers::new(50, 3))?;
    let mut speaker = Speaker::start(&edge)?;
    speaker.set(&[("tor", &SessionSettings { config: config(50, 50, 3)?, ..SessionSettings::new(theirs) })]);
    let mut took = Vec::new();
    for _ in 0..5 {
        speaker.event(lab, State::Up)?;
        lab.until("150 ms to be agreed on", SOON, || {
            let sessions = speaker.sessions()?;
            ensure!(
                sessions.values().all(|session| session.status.detection_time == Some(ms(150))),
                "{sessions:#?}"
            );
            Ok(())
        })?;
        let dies = vipcast_bgp::net::clock::now();
        tor.isolate()?;
        let lost = speaker.event(lab, State::Down)?;
        ensure!(lost.cause == Cause::DetectionTimeExpired && lost.is_failure(), "{lost}");
        took.push(lost.at - dies);
        tor.heal()?;
    }
    took.sort();
    println!(
        "{kind}: a router that is dead with its link up was noticed after {took:?}, the time of nft included"
    );
    let report = speaker.bfd.report().context("no report")?;
    let late = report.sessions["tor"].status.counters.late_wakeups;
    println!("{kind}: late wakeups {late}, worst {:?}", report.worst_wakeup);
    speaker.event(lab, State::Up)?;
    // And one that is restarted.
    router.kill();
    speaker.event(lab, State::Down)?;
    router.start()?;
    speaker.event(lab, State::Up)?;
    Ok(())
}

fn operators(lab: &Lab, kind: RouterKind) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::dual(1))?;
    let (ours, theirs) = (link.v4(&edge)?, link.v4(&tor)?);
    let router = router(lab, kind, &tor, &[ours], Timers::new(100, 3))?;
    let mut speaker = Speaker::start(&edge)?;
    let session = SessionSettings { config: config(100, 100, 3)?, ..SessionSettings::new(theirs) };
    let down =
        SessionSettings { config: SessionConfig { admin_down: true, ..session.config }, ..session.clone() };
    let router_sees_down = |what: &str| {
        lab.until(format_args!("the router to see it down: {what}"), SOON, || {
            let seen = router.bfd(ours)?;
            ensure!(seen.state == "down", "{seen:?}");
            Ok(())
        })
    };
    speaker.set(&[("tor", &session)]);
    speaker.event(lab, State::Up)?;
    speaker.set(&[("tor", &down)]);
    speaker.event(lab, State::AdminDown)?;
    router_sees_down("AdminDown")?;
    speaker.set(&[("tor", &session)]);
    speaker.event(lab, State::Up)?;
    // No longer wanted, and wanted again.
    speaker.set(&[]);
    router_sees_down("removed")?;
    speaker.set(&[("tor", &session)]);
    speaker.event(lab, State::Up)?;
    // A restart of ours, with a goodbye.
    drop(speaker);
    router_sees_down("dropped")?;
    let mut speaker = Speaker::start(&edge)?;
    speaker.set(&[("tor", &session)]);
    speaker.event(lab, State::Up)?;
    // The router's goodbye.
    router.stop()?;
    let lost = speaker.event(lab, State::Down)?;
    println!("{kind} was stopped: {lost}");
    Ok(())
}

/// Two of ours, with the addresses that every link has.
fn link_local(lab: &Lab) -> Result<()> {
    let (one, other) = (lab.host("one")?, lab.host("other")?);
    let link = lab.link(&one, &other, Subnet::none())?;
    let (here, there) = (&link.end(&one).interface, &link.end(&other).interface);
    let (first_ip, second_ip) = (link_local_address(&one, here)?, link_local_address(&other, there)?);
    let (mut first, mut second) = (Speaker::start(&one)?, Speaker::start(&other)?);
    let session = |remote, interface: &str| {
        let interface = Some(interface.to_owned());
        anyhow::Ok(SessionSettings { interface, config: config(50, 50, 3)?, ..SessionSettings::new(remote) })
    };
    first.set(&[("it", &session(second_ip, here)?)]);
    second.set(&[("it", &session(first_ip, there)?)]);
    first.event(lab, State::Up)?;
    second.event(lab, State::Up)?;
    one.set_link(here, Toggle::Down)?;
    first.event(lab, State::Down)?;
    second.event(lab, State::Down)?;
    let trouble = first.sessions()?.remove("it").context("no session")?;
    ensure!(trouble.send_errors > 0 && trouble.send_error.is_some(), "{trouble:#?}");
    one.set_link(here, Toggle::Up)?;
    first.event(lab, State::Up)?;
    second.event(lab, State::Up)?;
    // Both interfaces go and come back: they have their names and addresses, but another index.
    let (here_mac, there_mac) = (hardware_address(&one, here)?, hardware_address(&other, there)?);
    one.run(["ip", "link", "delete", here])?;
    first.event(lab, State::Down)?;
    second.event(lab, State::Down)?;
    let peer = ["peer", "name", there, "address", &there_mac, "netns", other.namespace()];
    one.run([&["ip", "link", "add", here, "address", &here_mac, "type", "veth"], &peer[..]].concat())?;
    one.set_link(here, Toggle::Up)?;
    other.set_link(there, Toggle::Up)?;
    first.event(lab, State::Up)?;
    second.event(lab, State::Up)?;
    Ok(())
}

fn link_local_address(host: &Host, interface: &str) -> Result<IpAddr> {
    let addresses = host.addresses()?;
    let mut candidates = addresses.iter().filter(|address| address.interface == interface);
    let found = candidates.find(|address| address.scope == "link" && address.address.addr().is_ipv6());
    Ok(found.with_context(|| format!("no link-local address among {addresses:?}"))?.address.addr())
}

fn hardware_address(host: &Host, interface: &str) -> Result<String> {
    let links: serde_json::Value =
        serde_json::from_str(&host.run(["ip", "-j", "link", "show", "dev", interface])?)?;
    links[0]["address"].as_str().map(str::to_owned).with_context(|| format!("no address in {links}"))
}

/// The address that a session is bound to does not exist yet, comes, goes and comes back.
fn addresses(lab: &Lab) -> Result<()> {
    let (one, other) = (lab.host("one")?, lab.host("other")?);
    let link = lab.link(&one, &other, Subnet::dual(1))?;
    let there = link.v4(&other)?;
    let extra: IpAddr = Ipv4Addr::new(10, 0, 1, 77).into();
    let (mut first, mut second) = (Speaker::start(&one)?, Speaker::start(&other)?);
    let session = |remote, local| {
        anyhow::Ok(SessionSettings {
            local: Some(local),
            config: config(50, 50, 3)?,
            ..SessionSettings::new(remote)
        })
    };
    first.set(&[("it", &session(there, extra)?)]);
    second.set(&[("it", &session(extra, there)?)]);
    lab.until("the trouble to be told", SOON, || {
        let session = first.sessions()?.remove("it").context("no session")?;
        let told = session.send_error.as_deref().unwrap_or_default();
        ensure!(told.starts_with("Cannot assign requested address"), "{session:#?}");
        Ok(())
    })?;
    let net = format!("{extra}/24").parse()?;
    let interface = &link.end(&one).interface;
    for _ in 0..2 {
        one.add_address(interface, net)?;
        first.event(lab, State::Up)?;
        second.event(lab, State::Up)?;
        let port = first.sessions()?["it"].source_port;
        one.remove_address(interface, net)?;
        first.event(lab, State::Down)?;
        second.event(lab, State::Down)?;
        ensure!(first.sessions()?["it"].source_port == port, "the source port has changed");
    }
    Ok(())
}
