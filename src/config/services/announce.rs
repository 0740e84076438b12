//! `announce:` and `demoted:`: the attributes of a service's routes, healthy and not.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use vipcast_bgp::wire::{Community, ExtendedCommunity, LargeCommunity};
use vipcast_node::model::{Announce, NextHops};

use crate::config::diagnostic::{Report, Span};
use crate::config::peers::next_hops;
use crate::config::read::tree::Node;
use crate::config::read::{Field, Table, expected, list_of, short, value};
use crate::config::{defaults, keys};

/// The longest path: a longer one has no use, and some routers refuse it.
const MOST_PREPENDS: u8 = 16;

/// The name of an element of `communities` in a diagnostic.
const COMMUNITY: &str = "a community";

/// Reads `announce: {…}`.
pub(super) fn read(node: &Node, key: Span, report: &mut Report) -> Option<Announce> {
    let table = Table::open(node, &keys::ANNOUNCE, "`announce`", key, report)?;
    Attributes::read(table, report).over(&Announce::default())
}

/// Reads `demoted: {…}`. `healthy` are the attributes of the service when nothing is wrong; `None` when they are broken.
pub(super) fn demoted(
    table: &mut Table<'_>,
    healthy: Option<&Announce>,
    report: &mut Report,
) -> Option<Announce> {
    let demoted = table.field("demoted", report, |node, key, report| {
        let table = Table::open(node, &keys::DEMOTED, "`demoted`", key, report)?;
        let attributes = Attributes::read(table, report);
        worse(attributes, healthy?, node.span, report)
    });
    demoted.or_else(|| Announce { as_path_prepend: longer(healthy), ..healthy.cloned().unwrap_or_default() })
}

/// The number of times that our ASN is prepended to the worst path.
fn longer(healthy: Option<&Announce>) -> u8 {
    let prepends = healthy.map_or(0, |healthy| healthy.as_path_prepend);
    prepends.saturating_add(defaults::DEMOTE_PREPEND).min(MOST_PREPENDS)
}

/// Reports a service that would be announced the same when it is demoted. Without `demoted` this is no more than a path that
/// cannot get any longer.
pub(super) fn differs(
    healthy: Option<&Announce>,
    demoted: Option<&Announce>,
    span: Span,
    report: &mut Report,
) {
    if healthy.is_some() && healthy == demoted {
        report
            .error(span, "the demoted service would be announced like a healthy one")
            .hint(format!("its path cannot be longer than {MOST_PREPENDS} prepends: lower the `as_path_prepend` of `announce`"));
    }
}

/// The healthy attributes, overridden by those of `demoted`; the path is longer unless `demoted` gives its length.
fn worse(attributes: Attributes, healthy: &Announce, span: Span, report: &mut Report) -> Option<Announce> {
    let longer = longer(Some(healthy));
    let prepend = attributes.as_path_prepend.set().map(|prepend| prepend.span);
    let base = Announce { as_path_prepend: longer, ..healthy.clone() };
    let demoted = attributes.over(&base)?;
    if demoted.as_path_prepend < healthy.as_path_prepend {
        report
            .error(
                prepend.unwrap_or(span),
                format!(
                    "demoted, the path is shorter than when healthy ({} prepended)",
                    healthy.as_path_prepend
                ),
            )
            .hint(format!("routers would prefer this node when it is demoted: write {longer} or more"));
        return None;
    }
    if demoted == *healthy {
        report
            .error(prepend.unwrap_or(span), "the demoted service would be announced like a healthy one")
            .hint("make the `as_path_prepend` of `demoted` larger than that of `announce`");
        return None;
    }
    Some(demoted)
}

/// The attributes that are written; the others are inherited.
struct Attributes {
    med: Field<u32>,
    local_pref: Field<u32>,
    as_path_prepend: Field<u8>,
    communities: Field<BTreeSet<Community>>,
    extended_communities: Field<BTreeSet<ExtendedCommunity>>,
    large_communities: Field<BTreeSet<LargeCommunity>>,
    link_bandwidth: Field<u64>,
    next_hop: Field<NextHops>,
}

impl Attributes {
    fn read(mut table: Table<'_>, report: &mut Report) -> Self {
        let attributes = Self {
            med: table.number("med", "a number", report),
            local_pref: table.number("local_pref", "a number", report),
            as_path_prepend: table.number("as_path_prepend", "a number of prepends", report),
            communities: table.field("communities", report, |node, key, report| {
                set_of(
                    node,
                    key,
                    ["a list of communities", COMMUNITY],
                    "write it like `65001:100` or `no-export`",
                    report,
                )
            }),
            extended_communities: table.field("extended_communities", report, |node, key, report| {
                set_of(
                    node,
                    key,
                    ["a list of extended communities", "an extended community"],
                    "write it like `rt:65001:100` or `soo:65001:100`",
                    report,
                )
            }),
            link_bandwidth: table.field("link_bandwidth", report, value::bandwidth),
            large_communities: table.field("large_communities", report, |node, key, report| {
                set_of(
                    node,
                    key,
                    ["a list of large communities", "a large community"],
                    "write it like `65001:1:2`",
                    report,
                )
            }),
            next_hop: table.field("next_hop", report, next_hops),
        };
        table.finish(report);
        attributes
    }

    /// These attributes, and those of `base` where nothing was written. `None` when one is broken.
    fn over(self, base: &Announce) -> Option<Announce> {
        let med = self.med.optional();
        let local_pref = self.local_pref.optional();
        Some(Announce {
            med: med?.or(base.med),
            local_pref: local_pref?.or(base.local_pref),
            as_path_prepend: self.as_path_prepend.or(base.as_path_prepend)?,
            communities: self.communities.or_else(|| base.communities.clone())?,
            extended_communities: self.extended_communities.or_else(|| base.extended_communities.clone())?,
            link_bandwidth: self.link_bandwidth.optional()?.or(base.link_bandwidth),
            large_communities: self.large_communities.or_else(|| base.large_communities.clone())?,
            next_hop: self.next_hop.or(base.next_hop)?,
        })
    }
}

/// A list of communities, none of them twice.
fn set_of<T>(
    node: &Node,
    key: Span,
    [all, what]: [&str; 2],
    hint: &str,
    report: &mut Report,
) -> Option<BTreeSet<T>>
where
    T: FromStr + Ord + Copy + fmt::Display,
{
    let list = list_of(node, key, all, report, |node, key, report| {
        let written = value::text(node, key, what, report)?;
        // Routers write `no-export`, people also `no_export` and `NO_EXPORT`.
        match written.to_ascii_lowercase().replace('_', "-").parse::<T>() {
            Ok(community) => Some(community),
            Err(_) => {
                let diagnostic = expected(node, key, what, report);
                match written.split_once(':') {
                    // Two octets are all that a community has for an AS (RFC 1997, RFC 8092 §1).
                    Some((asn, value))
                        if what == COMMUNITY
                            && asn.parse::<u32>().is_ok_and(|asn| asn > u32::from(u16::MAX))
                            && value.parse::<u32>().is_ok() =>
                    {
                        diagnostic.hint(format!(
                            "AS {asn} does not fit in a community: `large_communities: [\"{asn}:0:{value}\"]`"
                        ))
                    }
                    Some(_) | None => diagnostic.hint(hint),
                };
                None
            }
        }
    })?;
    let mut set = BTreeSet::new();
    for community in list {
        if !set.insert(community.value) {
            report
                .error(community.span, format!("`{}` is listed twice", short(&community.value.to_string())))
                .hint("keep one of them");
        }
    }
    Some(set)
}
