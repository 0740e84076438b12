//! `failover`: a service dies; measures the time of the withdrawal on the wire, and of the route's removal from the
//! router's kernel.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use vipcast_lab::{Router, RouterConfig, RouterKind, Signal, wait};

use super::contender::{Running, Watch};
use super::report::Section;
use super::samples::Samples;
use super::table::Table;
use super::{Bench, Context, PATIENCE, Rack, Starter};

const PORT: u16 = 8080;
const VIP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

pub(super) fn run(context: &Context) -> Result<Section> {
    let (starters, absent) = context.field(Bench::Failover);
    let flips = context.size(20, 3);
    let mut table = Table::new("", &["fault to UPDATE ms", "route gone ms"], &["worst UPDATE ms"]);
    context.rounds("failover", || {
        for starter in &starters {
            table.add(starter.contender.name(), 1.0, once(context, starter, flips));
        }
    });
    let text = format!(
        "A process that listens is killed {flips} times a round, and comes back. From the kill to the UPDATE that withdraws its \
         VIP, by packet capture on the contender's host (the median of a round, and the worst of a round), is the \
         contender's; from there until the route has left the kernel of the router, an FRR, is the router's. vipcast has a \
         `listener` check, which is told by the kernel; ExaBGP has its `healthcheck`, which tries to connect every 0.1 s, \
         withdraws at the first failure, and starts a shell each time."
    );
    Ok(Section { title: "Fail-over", text, tables: vec![table], remarks: Vec::new(), absent })
}

fn once(context: &Context, starter: &Starter<'_>, flips: u32) -> Result<Vec<f64>> {
    let rack = Rack::new(RouterKind::Frr, RouterConfig::neighbor)?;
    let work = Watch { router: rack.router_address, local: rack.local, vip: VIP, port: PORT };
    let words = ["--first", &PORT.to_string(), "--ports", "1"].map(str::to_owned);
    let mut service = context.serve(&rack.edge, &words)?;
    let running = starter.contender.watch(&rack.edge, &work)?;
    let interface = &rack.link.end(&rack.edge).interface;
    let capture = rack.edge.capture(interface, &format!("tcp port 179 and src host {}", rack.local))?;
    let monitor = rack.router.host().monitor_routes()?;
    let mut deaths = Vec::new();
    for _ in 0..flips {
        wait_route(&*rack.router, &running, true)?;
        deaths.push(SystemTime::now());
        service.kill(Signal::SIGKILL)?;
        wait_route(&*rack.router, &running, false)?;
        service = context.serve(&rack.edge, &words)?;
    }
    // The last packet and the last line may be on their way to their files.
    let (mut ours, mut theirs) = (Samples::default(), Samples::default());
    for death in deaths {
        let (sent, gone) = wait::until("the withdrawal to be captured", PATIENCE, || {
            let sent = first_after(death, capture.withdrawals()?).context("no UPDATE withdraws anything")?;
            let deleted =
                monitor.changes(IpAddr::V4(VIP))?.into_iter().filter_map(|(time, gone)| gone.then_some(time));
            Ok((sent, first_after(sent, deleted).context("the route was not deleted")?))
        })?;
        ours.add(milliseconds(sent.duration_since(death)?));
        theirs.add(milliseconds(gone.duration_since(sent)?));
    }
    let (_, worst) = ours.range().context("nothing was measured")?;
    Ok(vec![ours.median().context("no median")?, theirs.median().context("no median")?, worst])
}

/// Waits until the kernel of the router has the VIP, or has it no more.
fn wait_route(router: &dyn Router, running: &Running, wanted: bool) -> Result<()> {
    running.until(&format!("the router's route to be there: {wanted}"), || {
        let there = !router.host().routes(ipnet::Ipv4Net::from(VIP).into())?.is_empty();
        ensure!(there == wanted, "it is {there}");
        Ok(())
    })
}

pub(super) fn first_after(
    event: SystemTime,
    times: impl IntoIterator<Item = SystemTime>,
) -> Option<SystemTime> {
    times.into_iter().filter(|time| *time >= event).min()
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
