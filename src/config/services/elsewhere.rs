//! Checks that ask a VIP which is on this host only while it is announced. Otherwise another node has the VIP and
//! answers, and a dead service would come up on the health of its neighbour; or no host has the VIP, and the service
//! never comes up.

use std::collections::BTreeMap;
use std::net::IpAddr;

use vipcast_node::model::{BindPolicy, Check, Service};
use vipcast_node::names::{CheckName, ServiceName};

use crate::check::kind::{Reach, definition};
use crate::config::diagnostic::Report;
use crate::config::read::short;
use crate::config::read::tree::Entry;

/// Reports them: an error where the check decides about that very VIP, a warning where it decides about another service.
pub(crate) fn look_at_targets(
    services: &BTreeMap<ServiceName, Service>,
    checks: &BTreeMap<CheckName, Check>,
    entries: &[&Entry],
    report: &mut Report,
) {
    let coming: BTreeMap<IpAddr, &ServiceName> = services
        .iter()
        .filter(|(_, service)| match service.bind {
            BindPolicy::Announced => true,
            BindPolicy::Always | BindPolicy::Route => false,
        })
        .flat_map(|(name, service)| service.vips.iter().map(move |vip| (*vip, name)))
        .filter(|(vip, _)| vip.is_host())
        .map(|(vip, name)| (vip.ip(), name))
        .collect();
    if coming.is_empty() {
        return;
    }
    for entry in entries {
        let Some(service) = services.get_key_value(entry.key.as_str()) else { continue };
        for name in service.1.checks.checks(None) {
            let Some(check) = checks.get(name) else { continue };
            for (vip, does) in uses(check) {
                let Some(owner) = coming.get(&vip) else { continue };
                let shown = short(name.as_str());
                let message = format!("`{shown}` {does} {vip}, which is here only when announced");
                let diagnostic = match *owner == service.0 {
                    true => report.error(entry.key_span, message),
                    false => report.warning(entry.key_span, message),
                };
                diagnostic
                    .label("until then another node answers, or none")
                    .hint("leave `bind: announced` out, or ask the service at an address of its own");
            }
        }
    }
}

/// The target and source addresses of a check, if they are written as addresses.
fn uses(check: &Check) -> Vec<(IpAddr, &'static str)> {
    let host = match definition(check).reach() {
        Reach::Network(host) => Some(host),
        Reach::Socket | Reach::Local => None,
    };
    let asked = host.and_then(|host| host.parse::<IpAddr>().ok()).map(|address| (address, "asks"));
    let from = check.via.source.map(|address| (address, "asks from"));
    [asked, from].into_iter().flatten().map(|(address, does)| (address.to_canonical(), does)).collect()
}
