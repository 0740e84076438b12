//! `announce`: many prefixes that need no binding, from start until one router has them all.

use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::Result;
use ipnet::Ipv4Net;

use super::checks::mebibytes;
use super::contender::Announce;
use super::report::Section;
use super::table::Table;
use super::{Bench, Context, Rack, Starter};

/// `count` prefixes of this length, one after the other.
pub(super) fn prefixes(count: u32, length: u8) -> Vec<Ipv4Net> {
    let step = 1 << (32 - u32::from(length));
    let first = Ipv4Addr::new(20, 0, 0, 0).to_bits();
    (0..count).map(|number| Ipv4Net::new_assert(Ipv4Addr::from_bits(first + number * step), length)).collect()
}

pub(super) fn run(context: &Context) -> Result<Section> {
    let (starters, absent) = context.field(Bench::Announce);
    let count = context.size(100_000, 5000);
    let mut table = Table::new("", &["CPU s", "ready s"], &["sent s", "PSS MiB"]);
    context.rounds("announce", || {
        for starter in &starters {
            table.add(&starter.label(count), starter.share(count), once(starter, count));
        }
    });
    let text = format!(
        "{count} prefixes (/28) that nobody binds, announced to an FRR that keeps them from its kernel. Ready is from \
         the start of the program until the router has counted all, sent is the part of it from the first one there; \
         CPU is that of the announcing program. BIRD 2.0.12 sends its last part three seconds after the rest, for a \
         reason that we do not know: compare its CPU, not its time. PSS is that of the moment in which all are counted; \
         vipcast gives back what the configuration took ten seconds after it. GoBGP has no routes in its configuration \
         and gets them by `gobgp mrt inject`, which is not counted."
    );
    Ok(Section { title: "Announcing", text, tables: vec![table], remarks: Vec::new(), absent })
}

fn once(starter: &Starter<'_>, count: u32) -> Result<Vec<f64>> {
    let count = starter.count(count);
    let rack = Rack::sink()?;
    let prefixes = prefixes(count, 28);
    let work = Announce { router: rack.router_address, local: rack.local, prefixes };
    let begun = Instant::now();
    let running = starter.contender.announce(&rack.edge, &work)?;
    let (first, all) = rack.count(usize::try_from(count)?, begun, || running.expect_alive())?;
    let used = running.process.usage()?;
    Ok(vec![used.processor().as_secs_f64(), all.as_secs_f64(), (all - first).as_secs_f64(), mebibytes(used)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_follow_each_other() {
        let words: Vec<String> = prefixes(3, 28).iter().map(ToString::to_string).collect();
        assert_eq!(words, ["20.0.0.0/28", "20.0.0.16/28", "20.0.0.32/28"]);
    }
}
