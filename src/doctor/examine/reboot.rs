//! A reboot of the machine: whether logind delays it until the VIPs are withdrawn.

use std::time::Duration;

use vipcast_node::model::Config;

use crate::doctor::finding::{Finding, Id, Place};
use crate::doctor::gathered::{Gathered, Logind};
use crate::logind::{MARGIN, delay_for, takes};

pub(super) fn examine(gathered: &Gathered) -> Vec<Finding> {
    let (Some(config), Some(logind)) = (gathered.valid(), &gathered.logind) else { return Vec::new() };
    if !config.shutdown.inhibit {
        return Vec::new();
    }
    short(config, logind).into_iter().chain(not_delayed(gathered, logind)).collect()
}

fn short(config: &Config, logind: &Logind) -> Option<Finding> {
    let shutdown = &config.shutdown;
    let takes = takes(shutdown);
    if logind.longest >= takes {
        return None;
    }
    let what = format!(
        "logind delays a reboot for {}, and the withdrawal takes {} (`drain_time` {}, `unbind_delay` {}, {} for the \
         routers): services are stopped before it is over",
        seconds(logind.longest),
        seconds(takes),
        seconds(shutdown.drain_time),
        seconds(shutdown.unbind_delay),
        seconds(MARGIN)
    );
    let fix = "write this file, and restart logind, which ends no session of a user";
    Some(
        Finding::new(Id::ShutdownDelayShort, Place::Host, what, fix)
            .line("# /etc/systemd/logind.conf.d/vipcast.conf")
            .line("[Login]")
            .line(format!("InhibitDelayMaxSec={}", delay_for(takes)))
            .line("systemctl restart systemd-logind"),
    )
}

/// A daemon that answers and has no inhibitor.
fn not_delayed(gathered: &Gathered, logind: &Logind) -> Option<Finding> {
    // One that only observes has nothing to withdraw.
    gathered.status().filter(|status| !status.observing)?;
    let pid = gathered.process.as_ref()?.pid;
    if logind.holders.contains(&pid) {
        return None;
    }
    let what = "logind does not delay a reboot for it: services are stopped before the VIPs are withdrawn";
    let fix = "see why in the log of the daemon, which tries again each minute; without a way to get it, set `shutdown: \
               {inhibit: false}`, and order the daemon after the services (docs/operations.md)";
    Some(
        Finding::new(Id::ShutdownNotDelayed, Place::Daemon, what, fix)
            .line("systemd-inhibit --list")
            .line("journalctl --unit vipcast --grep 'hold up a shutdown'"),
    )
}

fn seconds(time: Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::super::bench::{CONFIG, healthy, short as words, with_config, with_status};
    use super::*;
    use crate::doctor::gathered::Daemon;

    fn logind(seconds: u64, holders: &[u32]) -> Option<Logind> {
        Some(Logind { longest: Duration::from_secs(seconds), holders: holders.to_vec() })
    }

    const SLOW: &str = "shutdown: {drain_time: 8s, unbind_delay: 500ms}\n";

    #[test]
    fn a_delay_that_is_shorter_than_the_withdrawal_is_named_with_one_that_is_long_enough() {
        let text = format!("{CONFIG}{SLOW}");
        let with = |seconds| Gathered { logind: logind(seconds, &[7]), ..with_config(&text) };
        let found = examine(&with(5));
        let what = "logind delays a reboot for 5 s, and the withdrawal takes 9.5 s (`drain_time` 8 s, `unbind_delay` 0.5 s, \
                    1 s for the routers): services are stopped before it is over";
        assert_eq!(words(&found), [(Id::ShutdownDelayShort, "this host".to_owned(), what)]);
        assert_eq!(found[0].lines[2], "InhibitDelayMaxSec=10");
        // What the finding says to write is enough.
        assert_eq!(examine(&with(10)), []);
        assert_eq!(examine(&with(9)).len(), 1);
    }

    #[test]
    fn a_daemon_without_an_inhibitor_is_named_and_one_that_does_not_run_is_not() {
        let with = |holders: &[u32]| Gathered { logind: logind(30, holders), ..healthy() };
        let found = examine(&with(&[8]));
        let what =
            "logind does not delay a reboot for it: services are stopped before the VIPs are withdrawn";
        assert_eq!(words(&found), [(Id::ShutdownNotDelayed, "the daemon".to_owned(), what)]);
        assert_eq!(examine(&with(&[8, 7])), []);
        assert_eq!(examine(&Gathered { daemon: Some(Daemon::Absent), process: None, ..with(&[]) }), []);
        let observer = with_status(|status| status["observing"] = true.into());
        assert_eq!(examine(&Gathered { logind: logind(30, &[]), ..observer }), []);
    }

    #[test]
    fn a_host_without_logind_and_a_configuration_that_does_not_want_it_are_no_fault() {
        assert_eq!(examine(&healthy()), []);
        assert_eq!(examine(&Gathered { logind: None, ..healthy() }), []);
        let off = format!("{CONFIG}shutdown: {{inhibit: false}}\n");
        assert_eq!(examine(&Gathered { logind: logind(0, &[]), ..with_config(&off) }), []);
    }
}
