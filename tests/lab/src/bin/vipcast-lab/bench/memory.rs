//! `memory`: the memory of VIPs with a check each, in normal operation.

use std::time::Duration;

use anyhow::Result;
use vipcast_lab::Lab;

use super::checks::{FIRST, mebibytes};
use super::contender::Checks;
use super::report::Section;
use super::table::Table;
use super::{Bench, Context, Starter};

pub(super) fn run(context: &Context) -> Result<Section> {
    let (starters, absent) = context.field(Bench::Memory);
    let sizes = context.size([100, 1000], [20, 100]);
    let mut tables = Vec::new();
    for count in sizes {
        let mut table = Table::new(format!("{count} VIPs"), &["PSS MiB"], &[]);
        context.rounds(&format!("memory, {count} VIPs"), || {
            for starter in &starters {
                table.add(&starter.label(count), starter.share(count), once(context, starter, count));
            }
        });
        tables.push(table);
    }
    let text = "The proportional set of a program and of all processes that it starts, with an HTTP check for each VIP, once a \
                second, after a warm-up. HAProxy has no VIPs, only the checks. Nothing is bound there that others would \
                share."
        .to_owned();
    Ok(Section { title: "Memory", text, tables, remarks: Vec::new(), absent })
}

fn once(context: &Context, starter: &Starter<'_>, count: u32) -> Result<Vec<f64>> {
    let count = starter.count(count);
    let lab = Lab::new("bench")?;
    let host = lab.host("host")?;
    let ports = u16::try_from(count)?;
    let words = ["--first", &FIRST.to_string(), "--ports", &ports.to_string()].map(str::to_owned);
    let _servers = context.serve(&host, &words)?;
    let running = starter.contender.check(&host, &Checks { count, first: FIRST, ports, vips: count })?;
    std::thread::sleep(context.size(Duration::from_secs(5), Duration::from_secs(2)));
    running.expect_alive()?;
    Ok(vec![mebibytes(running.process.usage()?)])
}
