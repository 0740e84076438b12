//! `checks`: the cost of checking many servers every second.

use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow, ensure};
use vipcast_lab::{Host, Lab, Process, Usage, wait};

use super::contender::{Checks, Running};
use super::report::Section;
use super::table::Table;
use super::{Bench, Contender as _, Context, Starter};

/// The first port of the servers.
pub(super) const FIRST: u16 = 10_000;
/// How long a contender may take until it has made each check once: twenty interpreters of Python take their time.
const START: Duration = Duration::from_secs(20);
/// Who makes less than this part of the checks that are due does not do the work. A process that waits for a silent server for
/// a second and then sleeps for another makes half.
const LEAST: f64 = 0.45;

/// How a group of servers is.
#[derive(Debug, Clone, Copy)]
struct Servers {
    ports: u16,
    half_silent: bool,
    /// Answers a second in all; 0: as many as are asked for.
    rate: u32,
}

pub(super) fn run(context: &Context) -> Result<Section> {
    let (starters, absent) = context.field(Bench::Checks);
    let count = context.size(1000, 200);
    let ports = u16::try_from(count)?;
    let mut tables = Vec::new();
    for (title, half_silent) in [("all answer", false), ("half silent", true)] {
        let mut table = Table::new(title, &["CPU %", "PSS MiB"], &["user %", "sys %"]);
        context.rounds(&format!("checks, {title}"), || {
            let servers = Servers { ports, half_silent, rate: 0 };
            let measured = side_by_side(context, &starters, count, servers);
            for starter in &starters {
                let (label, share) = (starter.label(count), starter.share(count));
                let row = measured.as_ref().map_err(copy).and_then(|rows| {
                    let row = rows.iter().find(|(name, _)| *name == label).context("it was not measured")?;
                    row.1.as_ref().map_err(copy).cloned()
                });
                table.add(&label, share, row);
            }
        });
        tables.push(table);
    }
    let mut table = Table::new("vipcast alone", &["CPU %", "PSS MiB", "late p99 ms"], &[]).uncompared();
    let (overload, many) = (context.size(5000, 500), context.size(10_000, 1000));
    // A tenth of what is asked for.
    let cannot = Servers { ports: 50, half_silent: false, rate: overload / 10 };
    let keep_up = Servers { ports, half_silent: false, rate: 0 };
    context.rounds("checks, vipcast alone", || {
        for (title, count, servers) in [("kept up", many, keep_up), ("not kept up", overload, cannot)] {
            table.add(&format!("{count}/s, {title}"), 1.0, alone(context, count, servers));
        }
    });
    tables.push(table);
    let text = format!(
        "{count} HTTP checks a second of {count} servers on the same host, each contender with servers of its own, all at the \
         same time, after a warm-up. CPU is the share of one core. Below, vipcast alone: {many} checks a second of servers \
         that keep up, and {overload} of servers that answer a tenth; late is how much later than it was due a probe began."
    );
    Ok(Section { title: "Checks", text, tables, remarks: Vec::new(), absent })
}

type Rows = Vec<(String, Result<Vec<f64>>)>;

/// All contenders at once, each on a host of its own.
fn side_by_side(context: &Context, starters: &[Starter<'_>], count: u32, servers: Servers) -> Result<Rows> {
    let lab = Lab::new("bench")?;
    let mut started = Vec::new();
    for (number, starter) in starters.iter().enumerate() {
        let host = lab.host(&format!("host{number}"))?;
        let process = serve(context, &host, servers)?;
        let share = starter.count(count);
        let work = Checks { count: share, first: FIRST, ports: servers.ports, vips: share };
        started.push((starter, process, starter.contender.check(&host, &work)));
    }
    for (starter, servers, running) in &started {
        let wanted = u64::from(starter.count(count));
        // Who has not begun by then has a low rate below.
        let _late = wait::until("each check to have been made", START, || {
            ensure!(running.is_err() || accepted(servers)? >= wanted, "not yet");
            Ok(())
        });
    }
    std::thread::sleep(warm_up(context));
    let look = |servers: &Process, running: &Result<Running>| -> Result<(Usage, u64)> {
        let running = running.as_ref().map_err(copy)?;
        running.expect_alive()?;
        Ok((running.process.usage()?, accepted(servers)?))
    };
    let looks = || started.iter().map(|(_, servers, running)| look(servers, running)).collect::<Vec<_>>();
    let before = looks();
    std::thread::sleep(length(context));
    let after = looks();
    let rows = started.iter().zip(before.into_iter().zip(after)).map(|((starter, ..), (before, after))| {
        let used = before.and_then(|(used, asked)| {
            let (now, asked_now) = after?;
            let rate = (asked_now - asked) as f64 / length(context).as_secs_f64();
            let wanted = starter.count(count);
            ensure!(rate >= LEAST * f64::from(wanted), "it made {rate:.0} of {wanted} checks a second");
            Ok(columns(now - used, length(context)))
        });
        (starter.label(count), used)
    });
    Ok(rows.collect())
}

fn alone(context: &Context, count: u32, servers: Servers) -> Result<Vec<f64>> {
    let lab = Lab::new("bench")?;
    let host = lab.host("host")?;
    let _servers = serve(context, &host, servers)?;
    let work = Checks { count, first: FIRST, ports: servers.ports, vips: 0 };
    let running = context.vipcast.check(&host, &work)?;
    std::thread::sleep(warm_up(context));
    running.expect_alive()?;
    let before = running.process.usage()?;
    std::thread::sleep(length(context));
    let used = running.process.usage()? - before;
    let status = context.vipcast.status(&host)?;
    let late = status["probes"]["late_p99_us"].as_f64().context("no lateness in the status")?;
    let all = columns(used, length(context));
    Ok(vec![all[0], all[1], late / 1000.0])
}

fn serve(context: &Context, host: &Host, servers: Servers) -> Result<Process> {
    let Servers { ports, half_silent, rate } = servers;
    let numbers = [("--first", FIRST.into()), ("--ports", ports.into()), ("--rate", rate)];
    let words =
        numbers.iter().flat_map(|(name, value): &(&str, u32)| [(*name).to_owned(), value.to_string()]);
    let words: Vec<String> = words.chain(half_silent.then(|| "--half-silent".to_owned())).collect();
    context.serve(host, &words)
}

/// How many connections were accepted on the host of a process so far: each check is one.
fn accepted(servers: &Process) -> Result<u64> {
    let path = format!("/proc/{}/net/snmp", servers.pid());
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    passive_opens(&text).with_context(|| format!("no PassiveOpens in {path}"))
}

/// Two lines begin with `Tcp:`, names and numbers.
fn passive_opens(snmp: &str) -> Option<u64> {
    let mut lines = snmp.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let mut columns = names.split(' ').zip(numbers.split(' '));
    columns.find(|(name, _)| *name == "PassiveOpens")?.1.parse().ok()
}

/// Share of a core in all, memory, share of a core in the program and in the kernel.
fn columns(used: Usage, length: Duration) -> Vec<f64> {
    let share = |time: Duration| 100.0 * time.as_secs_f64() / length.as_secs_f64();
    vec![share(used.processor()), mebibytes(used), share(used.user), share(used.system)]
}

/// One failure of several rows.
fn copy(error: &Error) -> Error {
    anyhow!("{error:#}")
}

/// Memory, in MiB.
pub(super) fn mebibytes(used: Usage) -> f64 {
    used.proportional as f64 / 1024.0
}

fn warm_up(context: &Context) -> Duration {
    context.size(Duration::from_secs(6), Duration::from_secs(2))
}

fn length(context: &Context) -> Duration {
    context.size(Duration::from_secs(10), Duration::from_secs(2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepted_connections_are_found_by_their_name() {
        let snmp = "Ip: Forwarding\nIp: 1\nTcp: RtoMin ActiveOpens PassiveOpens\nTcp: 200 7 5\nUdp: InDatagrams\nUdp: 9\n";
        assert_eq!(passive_opens(snmp), Some(5));
        assert_eq!(passive_opens("Tcp: RtoMin\nTcp: 200\n"), None);
    }
}
