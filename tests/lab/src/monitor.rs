//! The changes of routes in the kernel of a host, with their times: `ip -ts monitor`.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};

use crate::host::Host;
use crate::process::Process;

const DAY: u64 = 24 * 60 * 60;

/// A running monitor of IPv4 routes. Dropping it ends it.
#[derive(Debug)]
pub struct RouteMonitor {
    process: Process,
}

impl RouteMonitor {
    pub(crate) fn start(host: &Host) -> Result<Self> {
        let mut command = host.command("ip");
        command.args(["-ts", "-4", "monitor", "route"]).env("TZ", "UTC");
        Ok(Self { process: host.spawn(&format!("monitor-{}", host.scene().next_number()), command)? })
    }

    /// When the route of an address changed, and whether it was deleted then.
    ///
    /// # Errors
    /// When a line has no time.
    pub fn changes(&self, address: IpAddr) -> Result<Vec<(SystemTime, bool)>> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        let midnight = SystemTime::UNIX_EPOCH + Duration::from_secs(now - now % DAY);
        changes(&self.process.log(), &address.to_string(), midnight)
    }
}

/// Reads lines such as `[2026-01-31T12:34:56.123456] Deleted 192.0.2.10 …`. The day is that of `midnight`, UTC.
fn changes(log: &str, address: &str, midnight: SystemTime) -> Result<Vec<(SystemTime, bool)>> {
    let lines = log.lines().filter(|line| line.split(' ').any(|word| word == address));
    lines
        .map(|line| {
            let stamp = line.trim_start_matches('[').split(']').next().unwrap_or_default();
            let (_, time) = stamp.split_once('T').with_context(|| format!("no time in {line:?}"))?;
            let mut since_midnight = Duration::ZERO;
            for (part, seconds) in time.split(':').zip([3600.0, 60.0, 1.0]) {
                since_midnight += Duration::from_secs_f64(part.parse::<f64>()? * seconds);
            }
            Ok((midnight + since_midnight, line.contains("] Deleted ")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_route_is_read_with_its_time() {
        let log = "[2026-01-31T00:01:02.500000] Deleted 192.0.2.10 via 10.0.1.2 dev to-edge proto bgp metric 20 \n\
                   [2026-01-31T00:01:03.500000] 192.0.2.1 via 10.0.1.2 dev to-edge\n";
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(62_500);
        assert_eq!(changes(log, "192.0.2.10", SystemTime::UNIX_EPOCH).unwrap(), [(at, true)]);
    }
}
