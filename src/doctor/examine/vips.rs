//! VIPs and checks, as the daemon sees them, and the addresses of the host.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vipcast_node::model::Config;

use crate::control::api::{Check, CheckState, Reason, SessionState, Status, VipState};
use crate::doctor::finding::{Finding, Id, Place};
use crate::doctor::gathered::{Address, Gathered, Network};

/// A route needs this time to reach a router, in milliseconds; the daemon's log warns after the same time.
const ON_THE_WAY: u64 = 5_000;
/// A check that takes more than this part of its time-out is slow, in percent.
const SLOW: u64 = 70;
/// Probes that begin later than this mean a busy host, in microseconds.
const LATE: u64 = 50_000;
/// The first kernel that keeps the mark of our addresses (IFA_PROTO).
pub(super) const MARKS_SINCE: (u32, u32) = (5, 18);

pub(super) fn examine(gathered: &Gathered) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(status) = gathered.status() {
        found.extend(at_no_router(status));
        found.extend(not_bound(status));
        found.extend(status.checks.iter().filter_map(|(name, check)| down(name, check)));
        found.extend(slow(status, gathered.valid()));
        found.extend(late(status));
    }
    if let (Some(config), Some(network)) = (gathered.valid(), &gathered.network) {
        found.extend(misplaced(gathered, config, network));
    }
    found
}

fn at_no_router(status: &Status) -> Vec<Finding> {
    let ready: Vec<_> =
        status.vips.iter().filter(|vip| vip.state == VipState::Ready && vip.since_ms > ON_THE_WAY).collect();
    let Some(first) = ready.first() else { return Vec::new() };
    if status.peers.values().all(|peer| peer.state != SessionState::Established) {
        // One cause, however many VIPs.
        let what = format!("{} healthy, and no session is up", count(ready.len()));
        let fix = "see the findings about peers, or this";
        let place = if ready.len() == 1 { Place::Vip(first.vip) } else { Place::Daemon };
        return vec![Finding::new(Id::AtNoRouter, place, what, fix).line("vipcast status")];
    }
    let finding = |vip: &&crate::control::api::Vip| {
        let each: Vec<_> = vip.not_at.iter().map(|(peer, why)| format!("{peer}: {why}")).collect();
        let what = format!("it is healthy, and no router has it: {}", each.join("; "));
        let fix = "see the findings about the peers, or this";
        Finding::new(Id::AtNoRouter, Place::Vip(vip.vip), what, fix)
            .line(format!("vipcast explain {}", vip.vip.short()))
    };
    ready.iter().map(finding).collect()
}

fn count(vips: usize) -> String {
    if vips == 1 { "it is".to_owned() } else { format!("{vips} VIPs are") }
}

fn not_bound(status: &Status) -> Vec<Finding> {
    let is_unbound = |vip: &&crate::control::api::Vip| match vip.reason {
        Some(Reason::NotBound | Reason::Unusable | Reason::Contested) => true,
        Some(
            Reason::CheckUnknown
            | Reason::CheckDown
            | Reason::CheckDegraded
            | Reason::Standby
            | Reason::WarmingUp
            | Reason::HeldBack
            | Reason::ForcedDown
            | Reason::Draining
            | Reason::Drained
            | Reason::ShuttingDown
            | Reason::Shutdown
            | Reason::Other(_),
        )
        | None => false,
    };
    let finding = |vip: &crate::control::api::Vip| {
        let what = vip.why.clone().unwrap_or_else(|| "it is not bound on this host".to_owned());
        let fix = "find the program that removes it, or the interface that is missing or down; vipcast binds it again by itself";
        Finding::new(Id::NotBound, Place::Vip(vip.vip), what, fix)
            .line(format!("ip address show to {}", vip.vip.prefix()))
            .line("ip monitor address    # shows the next removal")
    };
    status.vips.iter().filter(is_unbound).map(finding).collect()
}

fn down(name: &str, check: &Check) -> Option<Finding> {
    if check.state != CheckState::Down {
        return None;
    }
    let detail = check.detail.clone().unwrap_or_else(|| "no result yet".to_owned());
    let fix = "look at the service; this asks every check once, without any effect";
    let place = Place::Check(name.into());
    Some(
        Finding::new(Id::CheckDown, place, format!("it is down: {detail}"), fix)
            .line("vipcast check --probe"),
    )
}

fn slow(status: &Status, config: Option<&Config>) -> Vec<Finding> {
    let finding = |(name, check): (&String, &Check)| {
        let timeout = config?.checks.get(name.as_str())?.timeout;
        let limit = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let took = check.took_ms?;
        if check.state == CheckState::Down || took.saturating_mul(100) < limit.saturating_mul(SLOW) {
            return None;
        }
        let what = format!("its last probe took {took} ms, and it fails at {timeout:?}");
        let fix = "make the service faster, or lengthen `timeout` (and `interval`) of this check";
        Some(Finding::new(Id::CheckSlow, Place::Check(name.as_str().into()), what, fix))
    };
    status.checks.iter().filter_map(finding).collect()
}

fn late(status: &Status) -> Option<Finding> {
    let us = Some(status.probes.late_p99_us).filter(|us| *us >= LATE && status.probes.started > 0)?;
    let more = if us >= 100_000 { " or more" } else { "" };
    let what = format!("one probe in a hundred begins {} ms{more} late: this host is busy", us / 1000);
    let fix = "give it more CPU, or ask less: longer `interval`s, event-driven checks, fewer `exec` checks";
    Some(
        Finding::new(Id::ProbesLate, Place::Host, what, fix)
            .line("uptime; ps -eo pid,pcpu,comm --sort=-pcpu | head"),
    )
}

/// VIPs on other interfaces, or put on the host by another program.
fn misplaced(gathered: &Gathered, config: &Config, network: &Network) -> Vec<Finding> {
    let is_marked = gathered.kernel.is_some_and(|kernel| kernel >= MARKS_SINCE);
    let mut by_ip: BTreeMap<IpAddr, Vec<&Address>> = BTreeMap::new();
    for address in &network.addresses {
        by_ip.entry(address.prefix.addr()).or_default().push(address);
    }
    let mut found = Vec::new();
    for service in config.services.values() {
        let interface = network.name_of(&service.interface);
        for vip in service.vips.iter().filter(|vip| service.carrier(vip).is_some()) {
            let at = by_ip.get(&vip.ip()).into_iter().flatten().filter(|address| {
                // An address with a longer or shorter prefix is the same address, and a route another route.
                if address.is_route { address.prefix == vip.prefix() } else { vip.is_host() }
            });
            for address in at {
                if address.interface != interface {
                    let what = format!(
                        "it is on {}, and `interface` says {}: neighbors of that link may get it by ARP, and the host \
                         may use it as a source",
                        address.interface, service.interface
                    );
                    let fix = "take it off there, and out of the host's network configuration";
                    let line = remove(address);
                    found.push(Finding::new(Id::OtherInterface, Place::Vip(*vip), what, fix).line(line));
                } else if !address.is_ours && is_marked {
                    let what = format!(
                        "another program has put it on {}: vipcast uses it, and leaves it there when it stops",
                        address.interface
                    );
                    let fix = "take it out of the host's network configuration, and off the interface; vipcast puts \
                               it back at once";
                    let line = remove(address);
                    found.push(Finding::new(Id::ForeignAddress, Place::Vip(*vip), what, fix).line(line));
                }
            }
        }
    }
    found
}

fn remove(Address { prefix, interface, is_route, .. }: &Address) -> String {
    if *is_route {
        format!("ip route delete local {prefix} dev {interface} table local")
    } else {
        format!("ip address delete {prefix} dev {interface}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::bench::{healthy, short, with_config, with_status};
    use super::*;

    #[test]
    fn a_vip_that_no_router_has_is_named_with_the_reason_of_each() {
        let gathered = with_status(|status| {
            let vip = &mut status["vips"][0];
            vip["state"] = json!("ready");
            vip["sent_to"] = json!(0);
            vip["not_at"] = json!({"tor-a": "no session", "tor-b": "its TCP has not acknowledged it yet"});
            status["peers"]["tor-a"]["state"] = json!("Idle");
        });
        let what = "it is healthy, and no router has it: tor-a: no session; tor-b: its TCP has not acknowledged it yet";
        assert_eq!(short(&examine(&gathered)), [(Id::AtNoRouter, "VIP 192.0.2.10".to_owned(), what)]);
        let alone = with_status(|status| {
            let vip = &mut status["vips"][0];
            vip["state"] = json!("ready");
            let another = vip.clone();
            status["vips"].as_array_mut().unwrap().push(another);
            for peer in ["tor-a", "tor-b"] {
                status["peers"][peer]["state"] = json!("Connect");
            }
        });
        let what = "2 VIPs are healthy, and no session is up";
        assert_eq!(short(&examine(&alone)), [(Id::AtNoRouter, "the daemon".to_owned(), what)]);
        let fresh = with_status(|status| {
            status["vips"][0]["state"] = json!("ready");
            status["vips"][0]["since_ms"] = json!(ON_THE_WAY);
        });
        assert_eq!(examine(&fresh), []);
    }

    #[test]
    fn a_vip_that_is_not_bound_is_named_and_a_drained_one_is_not() {
        let withheld = |reason: &str| {
            with_status(|status| {
                let vip = &mut status["vips"][0];
                vip["state"] = json!("withheld");
                vip["reason"] = json!(reason);
                vip["why"] = json!("there is no interface \"svc0\"");
            })
        };
        for reason in ["not_bound", "unusable", "contested"] {
            let found = examine(&withheld(reason));
            let what = "there is no interface \"svc0\"";
            assert_eq!(short(&found), [(Id::NotBound, "VIP 192.0.2.10".to_owned(), what)]);
        }
        for reason in ["drained", "check_down", "standby"] {
            assert_eq!(examine(&withheld(reason)), [], "{reason}");
        }
    }

    #[test]
    fn checks_that_are_down_slow_or_late_are_named() {
        let with = |state: &str, took: u64, late: u64| {
            let gathered = with_status(|status| {
                status["checks"]["web"]["state"] = json!(state);
                status["checks"]["web"]["took_ms"] = json!(took);
                status["checks"]["web"]["detail"] = json!("connection refused");
                status["probes"]["late_p99_us"] = json!(late);
            });
            let found = examine(&gathered);
            found.into_iter().map(|found| (found.id, found.what)).collect::<Vec<_>>()
        };
        assert_eq!(with("down", 2, 250), [(Id::CheckDown, "it is down: connection refused".to_owned())]);
        assert_eq!(with("falling", 2, 250), []);
        let timeout = healthy().valid().unwrap().checks["web"].timeout;
        let slow = u64::try_from(timeout.as_millis()).unwrap() * 7 / 10;
        let what = format!("its last probe took {slow} ms, and it fails at {timeout:?}");
        assert_eq!(with("up", slow, 250), [(Id::CheckSlow, what)]);
        assert_eq!(with("up", slow - 1, LATE - 1), []);
        let what = "one probe in a hundred begins 100 ms or more late: this host is busy";
        assert_eq!(with("up", 2, 100_000), [(Id::ProbesLate, what.to_owned())]);
    }

    #[test]
    fn a_vip_on_another_interface_or_of_another_program_is_named_with_the_command() {
        let with = |prefix: &str, interface: &str, is_ours| {
            let mut gathered = healthy();
            let address = Address {
                prefix: prefix.parse().unwrap(),
                interface: interface.to_owned(),
                is_ours,
                is_route: false,
            };
            gathered.network.as_mut().unwrap().addresses.push(address);
            gathered
        };
        let found = examine(&with("192.0.2.10/24", "eth0", false));
        assert_eq!((found[0].id, found.len()), (Id::OtherInterface, 1));
        assert_eq!(found[0].lines, ["ip address delete 192.0.2.10/24 dev eth0"]);
        let found = examine(&with("192.0.2.10/32", "lo", false));
        assert_eq!((found[0].id, found.len()), (Id::ForeignAddress, 1));
        assert_eq!(found[0].lines, ["ip address delete 192.0.2.10/32 dev lo"]);
        // A kernel that keeps no mark does not tell.
        let old = Gathered { kernel: Some((5, 10)), ..with("192.0.2.10/32", "lo", false) };
        assert_eq!(examine(&old), []);
        assert_eq!(examine(&with("192.0.2.11/24", "eth0", false)), []);
        // The interface by another name.
        let text =
            super::super::bench::CONFIG.replace("checks: [web]}", "checks: [web], interface: service}");
        let mut named = Gathered { network: healthy().network, ..with_config(&text) };
        named.network.as_mut().unwrap().aliases.insert("service".to_owned(), "lo".to_owned());
        assert_eq!(examine(&named), []);
    }
}
