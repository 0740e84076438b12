//! A thousand services, each with its own HTTP check every second: their cost and their punctuality.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use vipcast_lab::{Host, Lab, Neighbor, Process, RouterConfig, RouterKind, Subnet};

use crate::SOON;
use crate::node::Node;

/// Services, checks and targets.
const SERVICES: u16 = 1000;
/// The first of their ports.
const PORT: u16 = 20_000;
/// Seconds that it is measured for.
const VARIABLE: &str = "VIPCAST_SCALE";

pub(crate) fn trials() -> Vec<Trial> {
    let needs = || {
        Lab::available_with(&[RouterKind::Frr])?;
        if fs::exists("/usr/sbin/nginx").unwrap_or(false) {
            Ok(())
        } else {
            Err("nginx is not installed".into())
        }
    };
    let trial = |name: &'static str, hanging| {
        vipcast_lab::trial(name, needs(), move || Lab::run(name, |lab| a_thousand(lab, hanging)))
    };
    vec![
        trial("frr::a_thousand_checks_a_second_are_punctual", 0),
        trial("frr::a_thousand_checks_a_second_are_punctual_while_half_of_them_hang", SERVICES / 2),
    ]
}

/// The last `hanging` targets take connections and say nothing.
fn targets(host: &Host, hanging: u16) -> Result<Vec<Process>> {
    let (first_hanging, end) = (PORT + SERVICES - hanging, PORT + SERVICES - 1);
    let directory = host.write_file("nginx.pid", "")?;
    let directory = directory.parent().context("a file is in a directory")?.display();
    let config = format!(
        "daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log stderr;\nevents {{ worker_connections 4096; }}\n\
         http {{ access_log off; client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy; \
         fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;\nserver \
         {{ listen 127.0.0.1:{PORT}-{}; location / {{ return 200 'fine\\n'; }} }} }}\n",
        first_hanging - 1
    );
    let config = host.write_file("nginx.conf", &config)?;
    let mut nginx = host.command("/usr/sbin/nginx");
    nginx.arg("-c").arg(config);
    let mut servers = vec![host.spawn("nginx", nginx)?];
    if hanging > 0 {
        let script = format!(
            "import socket, signal\nkept = []\nfor port in range({first_hanging}, {end} + 1):\n    s = socket.socket()\n    \
             s.bind(('127.0.0.1', port)); s.listen(1000); kept.append(s)\nsignal.pause()\n"
        );
        let mut silent = host.command("python3");
        silent.args(["-c", &script]);
        servers.push(host.spawn("silent", silent)?);
    }
    Ok(servers)
}

fn config() -> Result<String> {
    let (mut checks, mut services) = (String::new(), String::new());
    for number in 0..SERVICES {
        let port = PORT + number;
        writeln!(
            checks,
            "  c{number}: {{http: {{url: \"http://127.0.0.1:{port}/healthz\"}}, fast_interval: 1s}}"
        )?;
        let vip = Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + u32::from(number));
        writeln!(services, "  s{number}: {{vips: [{vip}], checks: [c{number}]}}")?;
    }
    Ok(format!(
        "local_as: 65001\npeers: {{tor: {{address: 10.1.1.0, peer_as: 65000}}}}\nchecks:\n{checks}services:\n{services}"
    ))
}

fn a_thousand(lab: &Lab, hanging: u16) -> Result<()> {
    let (tor, edge) = (lab.host("tor")?, lab.host("edge")?);
    let link = lab.link(&tor, &edge, Subnet::v4(1))?;
    let router =
        RouterConfig::new(65000, Ipv4Addr::new(10, 0, 0, 1)).neighbor(Neighbor::new(link.v4(&edge)?, 65001));
    let _router = lab.router(RouterKind::Frr, &tor, &router)?;
    let _servers = targets(&edge, hanging)?;
    lab.until("the targets to listen", SOON, || {
        let listening = edge.run(["ss", "-Hltn"])?.lines().count();
        ensure!(listening >= usize::from(SERVICES), "{listening} ports");
        Ok(())
    })?;
    let config = config()?.replace("10.1.1.0", &link.v4(&tor)?.to_string());
    let node = Node::start(lab, &edge, &config)?;
    let healthy = usize::from(SERVICES - hanging);
    lab.until("the healthy half to be announced", SOON, || {
        let announced = node.status()?.peers["tor"].advertised;
        ensure!(announced == healthy, "{announced}");
        Ok(())
    })?;
    let (begin, before) = (Instant::now(), node.process.usage()?.processor());
    let started = node.status()?.probes.started;
    let length = std::env::var(VARIABLE).ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(5);
    let end = begin + Duration::from_secs(length);
    lab.until("the time to be over", SOON + Duration::from_secs(length), || {
        ensure!(Instant::now() >= end, "measuring");
        Ok(())
    })?;
    let (took, used) = (begin.elapsed(), node.process.usage()?.processor() - before);
    let status = node.status()?;
    let rate = (status.probes.started - started) as f64 / took.as_secs_f64();
    let memory = node.process.memory()?;
    println!(
        "{SERVICES} checks a second, {hanging} targets hang: {rate:.0} probes a second, {:.1} % of a core; late by {} us at \
         the median, {} us at the 99th percentile; {memory:?}",
        100.0 * used.as_secs_f64() / took.as_secs_f64(),
        status.probes.late_p50_us,
        status.probes.late_p99_us,
    );
    // What is promised is promised of a release build on a machine with nothing else to do. A debug build beside other tests
    // shows that nothing blocks the thread: half of the probes are punctual all the same.
    let (late, most, least_rate) = match cfg!(debug_assertions) {
        true => (status.probes.late_p50_us, 50, 0.5),
        false => (status.probes.late_p99_us, 20, 0.9),
    };
    let late = Duration::from_micros(late);
    ensure!(late <= Duration::from_millis(most), "late by {late:?}");
    ensure!(rate > f64::from(SERVICES) * least_rate, "only {rate:.0} probes a second");
    let announced = status.peers["tor"].advertised;
    ensure!(announced == healthy, "{announced} of {healthy} healthy services are announced");
    Ok(())
}
