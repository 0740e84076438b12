//! Planted bugs between a node and its ports, to test that the rules find them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use vipcast_bgp::wire::iana::notification::{CEASE, cease};
use vipcast_bgp::wire::{Community, Notification, iana};
use vipcast_bgp::{RouteAttributes, Routes};
use vipcast_node::effect::Effect;
use vipcast_node::engine::{Advertised, Binding, BindingFact, Event, Overrides, Owner};
use vipcast_node::health::report::{CheckReport, HealthState};
use vipcast_node::input::Input;
use vipcast_node::names::CheckName;

use crate::host::Host;

/// A bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// An address is unbound before its route is withdrawn.
    UnbindFirst,
    /// A failure of one check counts for another service's.
    LeakedFailure,
    /// A reload ends a session that it does not touch.
    ReloadResets,
    /// Drains are said to be saved, and are not.
    ForgottenDrains,
    /// Whatever is on the host is taken for our own.
    AllIsOurs,
    /// It is not heard that an address is gone.
    DeafToLoss,
    /// A drain does not say GRACEFUL_SHUTDOWN.
    NoGracefulShutdown,
    /// A reload takes a failed check for a good one.
    ForgottenFailure,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::UnbindFirst,
        Self::LeakedFailure,
        Self::ReloadResets,
        Self::ForgottenDrains,
        Self::AllIsOurs,
        Self::DeafToLoss,
        Self::NoGracefulShutdown,
        Self::ForgottenFailure,
    ];

    fn as_str(self) -> &'static str {
        match self {
            Self::UnbindFirst => "unbind-first",
            Self::LeakedFailure => "leaked-failure",
            Self::ReloadResets => "reload-resets",
            Self::ForgottenDrains => "forgotten-drains",
            Self::AllIsOurs => "all-is-ours",
            Self::DeafToLoss => "deaf-to-loss",
            Self::NoGracefulShutdown => "no-graceful-shutdown",
            Self::ForgottenFailure => "forgotten-failure",
        }
    }

    /// What the node hears instead.
    pub fn hears(self, host: &Host, input: Input) -> Vec<Input> {
        match (self, input) {
            (Self::LeakedFailure, Input::Fact(Event::Check(report))) => {
                let leaks = report.check.as_str() == "web" && report.state == HealthState::Down;
                let others = ["dns-a", "dns-b"].into_iter().filter(|_| leaks);
                let leaked: Vec<Input> =
                    others.filter_map(|other| forged(host, other, &report, HealthState::Down)).collect();
                std::iter::once(Input::Fact(Event::Check(report))).chain(leaked).collect()
            }
            (Self::AllIsOurs, Input::Fact(Event::Added(address, fact))) => {
                let fact = BindingFact { owner: Owner::Us, ..fact };
                vec![Input::Fact(Event::Added(address, fact))]
            }
            (Self::DeafToLoss, Input::Fact(Event::Removed(_))) => Vec::new(),
            (Self::ForgottenFailure, input @ Input::Read(Ok(_))) => {
                let down = host.checks.iter().filter(|(_, check)| check.seen.verdict == Some(false));
                let forged = down.filter_map(|(name, _)| {
                    let report = host.node.as_ref()?.engine().facts().checks.get(name)?;
                    let report = CheckReport {
                        check: name.clone(),
                        definition: Arc::clone(&host.checks.get(name)?.definition),
                        state: HealthState::Up,
                        since: report.since,
                        degraded: None,
                        held_until: None,
                        outcome: report.outcome.clone(),
                        at: report.at,
                    };
                    Some(Input::Fact(Event::Check(report)))
                });
                let forged: Vec<Input> = forged.collect();
                std::iter::once(input).chain(forged).collect()
            }
            (_, input) => vec![input],
        }
    }

    /// What is done instead.
    pub fn does(self, host: &Host, effects: Vec<Effect>) -> Vec<Effect> {
        let mut done = Vec::new();
        for effect in effects {
            match (self, effect) {
                (Self::UnbindFirst, Effect::Advertise(advertised)) => {
                    let gone = host.announced().keys().filter(|vip| !advertised.routes.contains_key(vip));
                    let ours = gone.filter_map(|vip| is_ours(host, vip)).map(Effect::Unbind);
                    done.extend(ours.collect::<Vec<_>>());
                    done.push(Effect::Advertise(advertised));
                }
                (Self::ReloadResets, Effect::Configure { config, restarted }) => {
                    done.push(Effect::Configure { config, restarted });
                    let reset =
                        Notification::new(CEASE, cease::OTHER_CONFIGURATION_CHANGE, bytes::Bytes::new());
                    done.extend(host.first_peer().map(|id| Effect::StopPeer(id, reset)));
                }
                (Self::ForgottenDrains, Effect::SaveOverrides(_)) => {
                    done.push(Effect::SaveOverrides(Arc::new(Overrides::default())));
                }
                (Self::NoGracefulShutdown, Effect::Advertise(advertised)) => {
                    let routes = advertised.routes.iter().map(|(vip, route)| (*vip, without(route)));
                    let routes: Routes = routes.collect();
                    done.push(Effect::Advertise(Advertised { routes, ..advertised }));
                }
                (_, effect) => done.push(effect),
            }
        }
        done
    }
}

fn forged(host: &Host, other: &str, report: &CheckReport, state: HealthState) -> Option<Input> {
    let definition = Arc::clone(&host.checks.get(other)?.definition);
    let check = CheckName::from(other);
    Some(Input::Fact(Event::Check(CheckReport { check, definition, state, ..report.clone() })))
}

fn is_ours(host: &Host, vip: &IpNet) -> Option<Binding> {
    host.kernel.ours().find(|binding| binding.vip().prefix() == *vip).copied()
}

fn without(route: &Arc<RouteAttributes>) -> Arc<RouteAttributes> {
    let mut route = (**route).clone();
    route.communities.remove(&Community(iana::community::GRACEFUL_SHUTDOWN));
    Arc::new(route)
}

impl fmt::Display for Bug {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Bug {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|bug| bug.as_str() == text);
        found.ok_or_else(|| format!("no bug: {text:?}"))
    }
}
