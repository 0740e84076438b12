//! Checks with `host: vip`: one is made for each VIP of the services that name it.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;

use vipcast_node::model::{Check, Condition, Service};
use vipcast_node::names::{CheckName, ServiceName};
use vipcast_node::vip::Vip;

use crate::config::checks::{self, ReadChecks};
use crate::config::diagnostic::Report;
use crate::config::read::short;
use crate::config::read::tree::Entry;

/// Every check that is run; the conditions of `services` name them. Reports VIPs that cannot be asked.
pub(crate) fn expand(
    services: &mut BTreeMap<ServiceName, Service>,
    entries: &[&Entry],
    checks: ReadChecks<'_>,
    report: &mut Report,
) -> BTreeMap<CheckName, Check> {
    let ReadChecks { mut plain, of_each_vip } = checks;
    if of_each_vip.is_empty() {
        return plain;
    }
    for entry in entries {
        let Some(service) = services.get_mut(entry.key.as_str()) else { continue };
        let mut made = Made { vips: service.vips.iter().copied().collect(), checks: BTreeMap::new() };
        made.name(&mut service.checks, &of_each_vip);
        for (template, names) in made.checks {
            for (vip, name) in names {
                if !vip.is_host() {
                    let (check, vip) = (short(template.as_str()), vip.short());
                    report
                        .error(
                            entry.key_span,
                            format!("`{check}` asks each VIP, and {vip} is not one address"),
                        )
                        .hint(
                            "give such prefixes a service of their own, with checks that do not ask the VIP",
                        );
                    continue;
                }
                match plain.entry(name) {
                    MapEntry::Vacant(place) => {
                        if let Some(check) = checks::for_vip(of_each_vip[&template], vip.ip(), report) {
                            place.insert(check);
                        }
                    }
                    MapEntry::Occupied(taken) => {
                        let taken = short(taken.key().as_str());
                        report
                            .error(entry.key_span, format!("the name `{taken}` is taken"))
                            .hint("the check of this VIP has this name: rename the other one");
                    }
                }
            }
        }
    }
    plain
}

/// The checks of one service.
struct Made {
    vips: Vec<Vip>,
    /// The names that were given, by the check that they are made of.
    checks: BTreeMap<CheckName, BTreeMap<Vip, CheckName>>,
}

impl Made {
    /// Puts the names of the checks of each VIP in the place of the one they are made of.
    fn name(&mut self, condition: &mut Condition, of_each_vip: &BTreeMap<CheckName, &Entry>) {
        match condition {
            Condition::Check(name) if of_each_vip.contains_key(name) => {
                let named = |vip: &Vip| (*vip, CheckName::from(&*format!("{name}@{}", vip.short())));
                let names: BTreeMap<_, _> = self.vips.iter().map(named).collect();
                self.checks.insert(name.clone(), names.clone());
                *condition = Condition::EachVip(names);
            }
            Condition::Check(_) | Condition::EachVip(_) => {}
            Condition::All(of) | Condition::Any(of) | Condition::AtLeast(_, of) => {
                of.iter_mut().for_each(|part| self.name(part, of_each_vip));
            }
        }
    }
}
