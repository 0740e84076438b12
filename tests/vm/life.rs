//! A node's life on a machine of its own: installed, reloaded, hung, upgraded, rebooted, with a wrong clock and a full disk,
//! purged. The tests share the machine and take it one after the other; each begins with a node in service, or without the
//! package.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;

use crate::site::{API, LIFE, OLD_PACKAGE, PACKAGE, Site, WEB, config};
use crate::supplies::Supplies;

type Test = fn(&mut Site) -> Result<()>;

const TESTS: [(&str, Test); 9] = [
    ("an_installation_starts_nothing_and_the_operator_does", installed),
    ("a_reload_changes_what_the_file_changed_and_a_broken_one_nothing", reloaded),
    ("a_loop_that_stands_still_is_ended_by_the_watchdog_and_started_again", hung),
    ("an_upgrade_keeps_the_process_the_session_and_the_routes", upgraded),
    ("a_reboot_keeps_a_drain_and_brings_the_other_vip_back", rebooted),
    ("a_maintenance_job_of_the_guide_runs_while_the_node_is_drained", maintained),
    ("a_clock_set_by_a_day_flaps_no_session_and_drains_end_in_time", clock_set),
    ("a_full_disk_is_a_warning_and_stops_nothing", disk_full),
    ("a_purge_leaves_nothing", purged),
];

pub(crate) fn trials(needs: &Result<(), String>, supplies: &Arc<Supplies>) -> Vec<Trial> {
    // The machine, when a test has booted it, until the last test ends.
    let shared: Arc<Mutex<Option<Site>>> = Arc::default();
    let trial = |(name, test): (&str, Test)| {
        let (shared, supplies) = (Arc::clone(&shared), Arc::clone(supplies));
        vipcast_lab::trial(&format!("life::{name}"), needs.clone(), move || {
            let mut place = shared.lock().unwrap_or_else(PoisonError::into_inner);
            let mut site = match place.take() {
                Some(site) => site,
                None => Site::boot(&supplies, &LIFE, None)?,
            };
            let began = Instant::now();
            let result = test(&mut site);
            println!("{:?}", began.elapsed());
            // A machine on which a test failed is in no known state: the next test boots another.
            if result.is_ok() {
                *place = Some(site);
            }
            result
        })
    };
    TESTS.into_iter().map(trial).collect()
}

fn installed(site: &mut Site) -> Result<()> {
    site.shell("dpkg --purge vipcast 2>&1")?;
    println!("{}", site.shell(&format!("dpkg --install {PACKAGE}"))?);
    let states =
        site.shell("systemctl show --value --property UnitFileState,ActiveState,LoadState vipcast")?;
    let states: Vec<&str> = states.split_whitespace().collect();
    ensure!(states == ["loaded", "inactive", "disabled"], "{states:?}");
    site.write("/etc/vipcast/vipcast.yaml", &config(0))?;
    site.shell("vipcast check && systemctl enable --now vipcast")?;
    site.announced(WEB)?;
    site.announced(API)?;
    println!("{}", site.shell("vipcast status")?);
    Ok(())
}

fn reloaded(site: &mut Site) -> Result<()> {
    site.serve()?;
    let (pid, sessions) = (site.pid()?, site.sessions()?);
    site.write("/etc/vipcast/vipcast.yaml", &config(77))?;
    site.shell("systemctl reload vipcast")?;
    let med = format!("birdc -s /run/tor.ctl show route {WEB}/32 all | grep -q 'BGP.med: 77'");
    site.until("the new MED at the router", &med)?;
    site.write("/etc/vipcast/vipcast.yaml", "local_ass: 65001")?;
    ensure!(site.shell("systemctl reload vipcast").is_err(), "a broken file was reloaded");
    site.shell(&med)?;
    ensure!(site.pid()? == pid && site.sessions()? == sessions, "the daemon or its session was touched");
    Ok(())
}

/// The unit as it is packaged: its watchdog has 20 s.
fn hung(site: &mut Site) -> Result<()> {
    site.serve()?;
    let pid = site.pid()?;
    let stopped = Instant::now();
    site.shell("systemctl kill --kill-whom=main --signal SIGSTOP vipcast")?;
    site.until(
        "another process",
        &format!("pid=$(systemctl show --value -p MainPID vipcast); [ $pid -gt 0 ] && [ $pid -ne {pid} ]"),
    )?;
    println!("another process after {:?}", stopped.elapsed());
    site.announced(WEB)?;
    let journal = site.journal();
    ensure!(journal.contains("Watchdog timeout (limit 20s)!"), "{journal}");
    Ok(())
}

/// The router is asked all the time whether it has the route.
fn upgraded(site: &mut Site) -> Result<()> {
    site.shell("dpkg --purge vipcast 2>&1")?;
    site.shell(&format!("dpkg --install {OLD_PACKAGE}"))?;
    site.serve()?;
    let (pid, sessions) = (site.pid()?, site.sessions()?);
    // The router's connection. What BIRD tells of the time of a session is off by some milliseconds on a busy machine.
    let seen = "ip netns exec tor ss -Htn state established | awk '{print $3, $4}'";
    let session = site.shell(seen)?;
    let watch = format!(
        "while sleep 0.1; do ip -n tor route show {WEB} | grep -q via && echo there || echo gone; done >/run/watch"
    );
    site.shell(&format!("systemd-run --quiet --unit watch sh -c '{watch}'"))?;
    let said = site.shell(&format!("dpkg --install {PACKAGE}"))?;
    println!("{said}");
    ensure!(said.contains("vipcast: upgraded from "), "{said}");
    ensure!(site.pid()? == pid, "it is another process: {said}");
    ensure!(site.sessions()? == sessions, "another session: {said}");
    let now = site.shell(seen)?;
    ensure!(
        !session.is_empty() && now == session,
        "another session for the router: {session}, then {now}: {said}"
    );
    site.shell(&format!("[ $(stat -Lc %i /proc/{pid}/exe) = $(stat -c %i /usr/bin/vipcast) ]"))?;
    let seen = site.shell("systemctl stop watch; sort /run/watch | uniq -c")?;
    println!("{seen}");
    ensure!(seen.contains("there") && !seen.contains("gone"), "the route was gone: {seen}");
    Ok(())
}

fn rebooted(site: &mut Site) -> Result<()> {
    site.serve()?;
    site.shell("vipcast drain web --reason memory")?;
    site.withdrawn(WEB)?;
    // When the route was gone, and when the reboot stopped the first services: one with all that a service has by default.
    site.until("the inhibitor", "systemd-inhibit --list | grep 'withdrawing service addresses'")?;
    let gone = format!(
        "while ip -n tor route show {API} | grep -q via; do sleep 0.01; done; cat /proc/uptime >/var/tmp/gone"
    );
    site.shell(&format!(
        "systemd-run --quiet --unit gone sh -c '{gone}'
        systemd-run --quiet --unit first --property ExecStop='/bin/cp /proc/uptime /var/tmp/stopped' sleep 1d"
    ))?;
    let boot = site.shell("cat /proc/sys/kernel/random/boot_id")?;
    let began = Instant::now();
    site.reboot()?;
    println!("rebooted in {:?}", began.elapsed());
    ensure!(site.shell("cat /proc/sys/kernel/random/boot_id")? != boot, "it did not boot");
    site.announced(API)?;
    site.withdrawn(WEB)?;
    let status = site.shell("vipcast status")?;
    ensure!(status.contains("memory"), "the drain is forgotten: {status}");
    ensure!(!status.contains("logind"), "the drain for the reboot has survived it: {status}");
    let order = site.shell("cat /var/tmp/gone /var/tmp/stopped")?;
    println!("uptime without the route, and when services stopped:\n{order}");
    site.shell("awk 'NR == 1 {gone = $1} NR == 2 {exit !(gone < $1)}' /var/tmp/gone /var/tmp/stopped")?;
    site.shell("vipcast undrain web")?;
    site.announced(WEB)
}

/// The unit of docs/operations.md, as it stands there.
fn maintained(site: &mut Site) -> Result<()> {
    site.serve()?;
    let guide = include_str!("../../docs/operations.md");
    let unit = guide.split("```ini\n").find(|block| block.contains("/usr/local/sbin/maintenance"));
    let unit = unit.and_then(|block| block.split("```").next()).context("the guide has no such unit")?;
    site.write("/etc/systemd/system/job.service", unit)?;
    site.write(
        "/usr/local/sbin/maintenance",
        &format!("#!/bin/sh\nip -n tor route show {WEB} >/run/routes\nvipcast status >/run/status\nexit $(cat /run/result)"),
    )?;
    site.shell("chmod 755 /usr/local/sbin/maintenance; systemctl daemon-reload")?;
    // Also after a job that fails the node is back.
    for (result, command) in [("0", "systemctl start job"), ("7", "! systemctl start job")] {
        site.shell(&format!("echo {result} >/run/result; {command}"))?;
        let seen = site.shell("cat /run/routes /run/status")?;
        ensure!(!seen.contains("via") && seen.contains("job.service"), "{seen}");
        site.announced(WEB)?;
        site.announced(API)?;
    }
    site.shell(
        "rm /etc/systemd/system/job.service; systemctl daemon-reload; systemctl reset-failed job || true",
    )
    .map(drop)
}

/// The session is the same after both steps, and a drain lasts as long as it was told, whatever the calendar says.
fn clock_set(site: &mut Site) -> Result<()> {
    const DRAIN: Duration = Duration::from_secs(15);
    site.serve()?;
    let (pid, sessions) = (site.pid()?, site.sessions()?);
    for step in ["1 day", "1 day ago"] {
        site.shell(&format!("vipcast drain web --reason {DRAIN:?} --for {}s", DRAIN.as_secs()))?;
        let began = Instant::now();
        site.shell(&format!("date --set \"$(date --date '{step}')\""))?;
        site.withdrawn(WEB)?;
        ensure!(began.elapsed() < DRAIN, "too slow to see the drain: {:?}", began.elapsed());
        site.announced(WEB)?;
        let lasted = began.elapsed();
        println!("{step}: drained for {lasted:?}");
        ensure!(lasted + Duration::from_secs(5) > DRAIN, "{step}: the drain ended after {lasted:?}");
        ensure!(site.pid()? == pid && site.sessions()? == sessions, "{step}: {}", site.journal());
        site.announced(API)?;
    }
    Ok(())
}

fn disk_full(site: &mut Site) -> Result<()> {
    site.serve()?;
    let (pid, sessions) = (site.pid()?, site.sessions()?);
    // Files that take what is left, to the last block.
    site.shell(
        "fallocate -l $(($(stat -f -c '%f * %S' /))) /root/full || true
        dd if=/dev/zero of=/root/rest bs=4k 2>/dev/null || true",
    )?;
    site.shell("! sh -c 'echo full >/var/lib/full'")?;
    // It is done, and fails because a restart would forget it.
    let Err(said) = site.shell("vipcast drain web --reason 'a full disk'") else {
        bail!("nobody is told that the drain is not saved");
    };
    let said = format!("{said:#}");
    println!("{said}");
    ensure!(said.contains("withdrawn in") && said.contains("warning: not saved"), "{said}");
    site.withdrawn(WEB)?;
    let status = site.shell("vipcast status 2>&1")?;
    println!("{status}");
    let warned = status.lines().find(|line| line.to_lowercase().contains("no space left on device"));
    warned.with_context(|| format!("nobody is warned: {status}\n{said}"))?;
    ensure!(site.pid()? == pid && site.sessions()? == sessions, "the daemon was touched: {}", site.journal());
    site.announced(API)?;
    // With room again it is saved, and the warning ends.
    site.shell("rm -f /root/full /root/rest /var/lib/full")?;
    site.until("the warning to end", "! vipcast status 2>&1 | grep -i 'no space left'")?;
    site.shell("grep -r 'a full disk' /var/lib/vipcast")?;
    site.shell("vipcast undrain web")?;
    site.announced(WEB)
}

fn purged(site: &mut Site) -> Result<()> {
    site.serve()?;
    println!("{}", site.shell("dpkg --purge vipcast 2>&1")?);
    let found = site.shell("find /etc /usr /var /run -xdev -name '*vipcast*' ! -path '/run/systemd/*'")?;
    ensure!(found.is_empty(), "left behind:\n{found}");
    let addresses = site.shell("ip address show lo")?;
    ensure!(!addresses.contains(WEB) && !addresses.contains(API), "a VIP is left: {addresses}");
    ensure!(site.shell("pidof vipcast").is_err(), "a process is left");
    site.withdrawn(WEB)?;
    site.withdrawn(API)
}
