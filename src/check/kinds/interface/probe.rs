//! `interface:` checks: the link of a network interface is up.
//!
//! One socket receives every change of a link (RTNLGRP_LINK) and triggers the checks of that interface. Then another
//! thread asks the kernel, which answers only while no other process changes or lists the network (RTNL).

#![expect(clippy::wildcard_enum_match_arm, reason = "the enums of netlink are the kernel's and grow with it")]

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rtnetlink::packet_core::{DefaultNla, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage, Prop, State};
use rtnetlink::sys::protocols::NETLINK_ROUTE;
use tokio::task::JoinSet;

use crate::check::kinds::interface::InterfaceCheck;
use crate::check::limit::{Answer, Limit};
use crate::check::netlink::{Asker, Netlink, messages};
use crate::check::subscriptions::{Monitor, Subscription, Subscriptions, Topic, WhileUsed};
use crate::check::words;
use crate::log::trouble;

#[cfg(test)]
mod tests;

/// Until the kernel is asked again for its events, where it had none left to give.
const PAUSE: Duration = Duration::from_secs(1);

/// The one who hears of interfaces for all checks.
#[derive(Debug, Clone, Default)]
pub(super) struct Interfaces {
    monitor: Arc<WhileUsed<LinkMonitor>>,
    subscriptions: Arc<Subscriptions>,
    asker: Asker,
}

impl Interfaces {
    /// Rings when the interface of this check has changed.
    pub(super) fn subscribe(&self, check: &InterfaceCheck) -> Subscription {
        let monitor = self.monitor.get(|| LinkMonitor::start(&self.subscriptions));
        self.subscriptions.subscribe(Topic::Interface(check.name.clone()), monitor)
    }
}

/// Hears of links. Dropping it ends its task.
#[derive(Debug)]
struct LinkMonitor {
    _task: JoinSet<()>,
}

impl Monitor for LinkMonitor {}

impl LinkMonitor {
    fn start(subscriptions: &Arc<Subscriptions>) -> Self {
        let mut task = JoinSet::new();
        task.spawn(hear(subscribe(), Arc::clone(subscriptions)));
        Self { _task: task }
    }
}

/// Passes when the link is up.
pub(super) async fn probe(check: &InterfaceCheck, interfaces: &Interfaces, limit: Limit) -> Answer {
    let name = &check.name;
    let answer = limit.within(ask(name, &interfaces.asker)).await;
    let link = match answer.unwrap_or_else(|| Err(io::Error::other(limit.exceeded("no answer")))) {
        Ok(Some(link)) => link,
        Ok(None) => return Err("the kernel says nothing of this interface".into()),
        Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ENODEV as i32) => {
            return Err(format!("there is no interface {name}"));
        }
        Err(error) => return Err(format!("cannot ask the kernel for {name}: {}", words::io_error(&error))),
    };
    judge(name, &link)
}

async fn ask(name: &str, asker: &Asker) -> io::Result<Option<LinkMessage>> {
    let mut question = LinkMessage::default();
    question.attributes.push(named(name));
    let link = |message| match message {
        RouteNetlinkMessage::NewLink(link) => Some(link),
        _ => None,
    };
    let (mut found, _) = asker.ask(NETLINK_ROUTE, RouteNetlinkMessage::GetLink(question), 0, link).await?;
    Ok(found.pop())
}

/// How the kernel is asked for an interface by name. It finds it by its alternative names in either attribute, but only one
/// has room for a long one.
fn named(name: &str) -> LinkAttribute {
    /// linux/if_link.h; more than 15 bytes are no IFLA_IFNAME.
    const IFLA_ALT_IFNAME: u16 = 53;
    const LONGEST: usize = 15;
    if name.len() <= LONGEST {
        return LinkAttribute::IfName(name.to_owned());
    }
    let bytes = name.bytes().chain([0]).collect();
    LinkAttribute::Other(DefaultNla::new(IFLA_ALT_IFNAME, bytes))
}

/// RFC 2863 §3.1.12: what the operator wants, what the link below says, and what became of both.
fn judge(name: &str, link: &LinkMessage) -> Answer {
    let state = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::OperState(state) => Some(*state),
        _ => None,
    });
    let (flags, state) = (link.header.flags, state.unwrap_or(State::Unknown));
    if !flags.contains(LinkFlags::Up) {
        return Err(format!("{name} is administratively down"));
    }
    if !flags.contains(LinkFlags::LowerUp) {
        return Err(format!("the link of {name} is down (no carrier)"));
    }
    match state {
        // Many drivers, and loopback, never say more.
        State::Up | State::Unknown => Ok(format!("the link of {name} is up")),
        State::Dormant => Err(format!("the link of {name} is up and waits (dormant: 802.1X, LACP)")),
        State::LowerLayerDown => Err(format!("what {name} is built on is down")),
        State::Testing => Err(format!("{name} is under test")),
        State::NotPresent => Err(format!("a part of {name} is missing")),
        State::Down => Err(format!("the link of {name} is down")),
        _ => Err(format!("the link of {name} is in a state that this vipcast does not know")),
    }
}

fn subscribe() -> io::Result<Netlink> {
    /// RTNLGRP_LINK (linux/rtnetlink.h).
    const LINKS: u32 = 1;
    let netlink = Netlink::open(NETLINK_ROUTE)?;
    netlink.join(LINKS)?;
    Ok(netlink)
}

async fn hear(mut subscribed: io::Result<Netlink>, subscriptions: Arc<Subscriptions>) {
    let everything = || subscriptions.notify_all(|topic| matches!(topic, Topic::Interface(_)));
    // The names of the watched interfaces, by index: the event of a rename has only the new names.
    let mut names = BTreeMap::new();
    let mut buffer = Vec::new();
    loop {
        let error = match &subscribed {
            Ok(netlink) => loop {
                match netlink.receive(&mut buffer).await {
                    Ok(()) => heard(&buffer, &mut names, &subscriptions),
                    // More was told than fitted.
                    Err(error) if error.raw_os_error() == Some(nix::errno::Errno::ENOBUFS as i32) => {
                        everything()
                    }
                    Err(error) => break words::io_error(&error),
                }
            },
            Err(error) => words::io_error(error),
        };
        trouble!(cause = error, "not told when links change: trying again");
        tokio::time::sleep(PAUSE).await;
        subscribed = subscribe();
        everything();
    }
}

fn heard(datagram: &[u8], names: &mut BTreeMap<u32, Vec<String>>, subscriptions: &Subscriptions) {
    for message in messages::<RouteNetlinkMessage>(datagram) {
        let (link, stays) = match message {
            Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link))) => (link, true),
            Ok(NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link))) => (link, false),
            _ => continue,
        };
        let index = link.header.index;
        for before in names.remove(&index).unwrap_or_default() {
            subscriptions.notify(&Topic::Interface(before));
        }
        for topic in link.attributes.into_iter().flat_map(names_in).map(Topic::Interface) {
            if subscriptions.has(&topic) {
                subscriptions.notify(&topic);
                if stays && let Topic::Interface(name) = topic {
                    names.entry(index).or_default().push(name);
                }
            }
        }
    }
}

/// The name of an interface, or its alternative ones.
fn names_in(attribute: LinkAttribute) -> Vec<String> {
    match attribute {
        LinkAttribute::IfName(name) => vec![name],
        LinkAttribute::PropList(properties) => {
            let name = |property| match property {
                Prop::AltIfName(name) => Some(name),
                _ => None,
            };
            properties.into_iter().filter_map(name).collect()
        }
        _ => Vec::new(),
    }
}
