//! `bind`: thousands of VIPs on a host and at the router, compared with the kernel alone, which only binds.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use vipcast_lab::Lab;

use super::announce::prefixes;
use super::checks::mebibytes;
use super::contender::{Announce, Binding};
use super::report::Section;
use super::samples::number;
use super::table::Table;
use super::{Bench, Context, PATIENCE, Rack, Starter};

pub(super) fn run(context: &Context) -> Result<Section> {
    let (starters, absent) = context.field(Bench::Bind);
    let (few, many) = context.size((10_000, 50_000), (1000, 5000));
    let mut tables = Vec::new();
    for (count, binding, what) in [
        (few, Binding::Route, "routes"),
        (many, Binding::Route, "routes"),
        (few, Binding::Address, "addresses"),
    ] {
        let title = format!("{count} {what}");
        let mut table = Table::new(title.clone(), &["ready s", "CPU s"], &["PSS MiB"]);
        context.rounds(&format!("bind, {title}"), || {
            for starter in &starters {
                table.add(starter.contender.name(), 1.0, once(starter, count, binding));
            }
        });
        tables.push(table);
    }
    let growth = |name: &str| {
        let (less, more) = (tables[0].median(name, 0)?, tables[1].median(name, 0)?);
        let ratio = more / less;
        Some(format!("{name}: {many} routes take {} times as long as {few}", number(ratio, ratio)))
    };
    let remarks = starters.iter().filter_map(|starter| growth(starter.contender.name())).collect();
    let text = "VIPs of one service, bound and announced: from the start of vipcast until an FRR that keeps them from its kernel \
                has counted all. Routes are local routes (`bind: route`), addresses are on `lo` (`bind: always`). The kernel is \
                `ip -batch`, which only binds, from its start to its end; its CPU is not that of the kernel's own threads."
        .to_owned();
    Ok(Section { title: "Binding", text, tables, remarks, absent })
}

fn once(starter: &Starter<'_>, count: u32, binding: Binding) -> Result<Vec<f64>> {
    if starter.contender.name() == "kernel" {
        return kernel(starter, count, binding);
    }
    let rack = Rack::sink()?;
    let work = Announce { router: rack.router_address, local: rack.local, prefixes: prefixes(count, 32) };
    let begun = Instant::now();
    let running = starter.contender.bind(&rack.edge, &work, binding)?;
    let (_, all) = rack.count(usize::try_from(count)?, begun, || running.expect_alive())?;
    let used = running.process.usage()?;
    Ok(vec![all.as_secs_f64(), used.processor().as_secs_f64(), mebibytes(used)])
}

/// It has no router to tell, and is ready when it has ended.
fn kernel(starter: &Starter<'_>, count: u32, binding: Binding) -> Result<Vec<f64>> {
    let lab = Lab::new("bench")?;
    let host = lab.host("host")?;
    let unspecified = std::net::IpAddr::from([0, 0, 0, 0]);
    let work = Announce { router: unspecified, local: unspecified, prefixes: prefixes(count, 32) };
    let begun = Instant::now();
    let running = starter.contender.bind(&host, &work, binding)?;
    let mut used = None;
    let status = loop {
        // The last look before its end has nearly all of its time; when it has ended, it has no memory.
        if let Ok(now) = running.process.usage()
            && now.proportional > 0
        {
            used = Some(now);
        }
        if let Some(status) = running.process.exit_status()? {
            break status;
        }
        ensure!(begun.elapsed() < PATIENCE, "it still runs after {PATIENCE:?}");
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    let took = begun.elapsed();
    ensure!(status.success(), "ip failed: {}", running.process.log().trim());
    let used = used.context("it was too fast to be seen")?;
    Ok(vec![took.as_secs_f64(), used.processor().as_secs_f64(), mebibytes(used)])
}
