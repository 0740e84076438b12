//! A node goes down in each way while another one has the VIP: no datagram is lost, and the withdrawal is at the router before the
//! first service of the node is stopped. That is seen three times, each time with one clock: on the wire, in the router's log, and in
//! the node's journal.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use vipcast_lab::Capture;

use crate::rack::{EDGE_A, Rack, VIP};
use crate::router::{self, Router};
use crate::site::{PORT, Site};

/// The number of reboots besides the other ways, where it is not 1.
const REBOOTS: &str = "VIPCAST_REBOOTS";

/// A way down, and what comes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The machine ends, and is switched on.
    Reboot,
    Poweroff,
    /// It stays on, until it is switched off.
    Halt,
    /// A kernel that was loaded before begins, without firmware.
    Kexec,
    /// The kernel stays; all processes but the first end.
    SoftReboot,
}

impl Way {
    fn word(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::Poweroff => "poweroff",
            Self::Halt => "halt",
            Self::Kexec => "kexec",
            Self::SoftReboot => "soft-reboot",
        }
    }
}

pub(crate) fn run(rack: &mut Rack) -> Result<()> {
    let began = Instant::now();
    cancelled(rack)?;
    // Only now: while systemd reads its files anew, the emulated processor has no time for the datagrams.
    let client = rack.client()?;
    let reboots = std::env::var(REBOOTS).ok().and_then(|number| number.parse().ok()).unwrap_or(1);
    let soft = rack.newer.then_some(Way::SoftReboot);
    let others = [Way::Kexec].into_iter().chain(soft).chain([Way::Poweroff, Way::Halt]);
    let mut least = Duration::MAX;
    for way in others.chain(std::iter::repeat_n(Way::Reboot, reboots)) {
        let ahead = goes_down(rack, way).with_context(|| way.word().to_owned())?;
        least = least.min(ahead);
    }
    println!(
        "all within {:?}, withdrawn at least {least:?} before the first service stopped",
        began.elapsed()
    );
    let report = client.stop()?;
    println!("{}", report.summary());
    ensure!(report.lost() == 0, "{}", report.summary());
    Ok(())
}

/// A reboot that is scheduled and cancelled, and one that fails after the drain, because systemd cannot start its target.
fn cancelled(rack: &mut Rack) -> Result<()> {
    let site = &mut rack.site;
    site.shell("shutdown +1 2>&1; shutdown -c 2>&1")?;
    let drains = "vipcast events --json | grep -c 'by.*logind'";
    ensure!(site.shell(&format!("! {drains}")).is_ok(), "it is drained though nothing happens yet");
    site.write("/run/systemd/system/reboot.target.d/broken.conf", "[Unit]\nRequires=nonesuch.service")?;
    site.shell("systemctl daemon-reload")?;
    let began = Instant::now();
    // logind answers before the delay, and finds out after it.
    site.shell("systemctl reboot 2>&1 || true")?;
    site.until("the drain to be lifted", "vipcast events | grep 'does not go down after all'")?;
    println!("a reboot that failed was drained and undrained within {:?}", began.elapsed());
    println!("{}", site.shell("vipcast events | grep logind")?);
    site.shell("rm -r /run/systemd/system/reboot.target.d; systemctl daemon-reload")?;
    rack.has_both()
}

/// The machine is stopped in this way, and comes back. Tells how long before the first service stopped the withdrawal was on the wire.
fn goes_down(rack: &mut Rack, way: Way) -> Result<Duration> {
    let site = &mut rack.site;
    site.until("the inhibitor", "systemd-inhibit --list | grep 'withdrawing service addresses'")?;
    if way == Way::Kexec {
        site.shell(
            "kexec --load /boot/vmlinuz --initrd=/boot/initrd --append='console=ttyS0 quiet panic=-1'",
        )?;
    }
    // A service with all that a service has by default. Its stop is seen on the wire and in the router's log.
    site.shell(&format!(
        "systemd-run --quiet --unit first \
         --property 'ExecStop=/bin/bash -c \"exec 3<>/dev/tcp/10.0.9.1/{}\"' sleep 1d",
        router::MARKS
    ))?;
    let (pid, cursor) = (site.pid()?, site.shell("journalctl --quiet --lines 0 --show-cursor")?);
    let cursor = cursor.rsplit("cursor: ").next().unwrap_or_default().trim().to_owned();
    let boot = site.shell("cat /proc/sys/kernel/random/boot_id")?;
    let log = rack.router.log_length()?;
    let capture = rack.wire.capture(PORT, &format!("tcp port 179 or tcp dst port {}", router::MARKS))?;
    let began = Instant::now();
    site.stop(&format!("systemctl {}", way.word()))?;
    match way {
        Way::Reboot | Way::Poweroff => site.machine().wait_off()?,
        Way::Halt => {
            site.machine().wait_halted()?;
            site.machine().switch_off();
        }
        // The agent of the next boot answers.
        Way::Kexec | Way::SoftReboot => site.booted()?,
    }
    let down = began.elapsed();
    capture.stop()?;
    let stopped = stopped(&capture)?;
    let withdrawn = capture.withdrawals()?.first().copied().context("nothing was withdrawn")?;
    let ahead = stopped.duration_since(withdrawn).ok();
    let ahead = ahead.with_context(|| format!("withdrawn {withdrawn:?}, stopped {stopped:?}"))?;
    let heard = rack.router.log_since(log)?;
    router_knew(&heard).with_context(|| heard.join("\n"))?;
    println!("{way:?}: withdrawn {ahead:?} before the first service was stopped; down in {down:?}");
    if !matches!(way, Way::Kexec | Way::SoftReboot) {
        rack.site.switch_on()?;
    }
    let same = rack.site.shell("cat /proc/sys/kernel/random/boot_id")? == boot;
    ensure!(same == (way == Way::SoftReboot), "whether the kernel is the same: {same}");
    journal_agrees(&mut rack.site, &cursor)?;
    rack.has_both()?;
    if way == Way::SoftReboot {
        ensure!(rack.site.pid()? != pid, "the process has survived");
    }
    println!("{way:?}: back after {:?}", began.elapsed());
    Ok(ahead)
}

/// When the first service was stopped.
fn stopped(capture: &Capture) -> Result<SystemTime> {
    let port = format!(".{}: Flags [S]", router::MARKS);
    let found = capture.packets()?.into_iter().find(|(_, text)| text.contains(&port));
    found.map(|(time, _)| time).context("no service was stopped")
}

/// In the router's log, the withdrawal and the last change of its kernel's route, to the other node, come before the mark of the
/// service.
fn router_knew(log: &[String]) -> Result<()> {
    let stopped = log.iter().position(|line| Router::is_mark(line)).context("no service left its mark")?;
    let before = &log[..stopped];
    let withdrawn = |line: &String| {
        line.contains(EDGE_A) && line.contains("rcvd UPDATE about") && line.ends_with("-- withdrawn")
    };
    ensure!(before.iter().any(withdrawn), "the router knew of no withdrawal when a service was stopped");
    // With GRACEFUL_SHUTDOWN the other path is the better one already.
    let route = before.iter().rev().find(|line| line.starts_with(VIP));
    let route = route.context("the router's kernel kept the route")?;
    ensure!(!route.contains(EDGE_A), "the router still had {route:?} when a service was stopped");
    Ok(())
}

/// In the node's journal since the cursor, the daemon lets go before systemd stops anything.
fn journal_agrees(site: &mut Site, cursor: &str) -> Result<()> {
    let text = site.shell(&format!(
        "journalctl --quiet --no-pager --output short-monotonic --after-cursor '{cursor}' \
         | grep -E 'systemd\\[1\\]: Stopping |every router was told' | head -n 20"
    ))?;
    let stopping = text.find(": Stopping ").with_context(|| format!("nothing was stopped: {text}"))?;
    let told = text.find("every router was told").with_context(|| format!("it did not let go: {text}"))?;
    ensure!(told < stopping, "stopped before it let go: {text}");
    Ok(())
}
