//! What systemd is told of the loop while it turns (sd_notify(3)): that it is alive, and what it has achieved.
//!
//! Only the loop says `WATCHDOG=1`, and only as it turns: a thread of its own would go on while the loop stands still, and
//! systemd would never know. Nothing waits for systemd: a socket that is full costs the message.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// How often the status may change.
const STATUS: Duration = Duration::from_secs(1);

/// The socket of systemd, if there is one.
#[derive(Debug)]
pub(super) struct Systemd(Option<UnixDatagram>);

impl Systemd {
    /// Finds it in the environment.
    pub(super) fn new() -> Self {
        let connect = || {
            let path = std::env::var("NOTIFY_SOCKET").ok()?;
            let address = match path.strip_prefix('@') {
                Some(name) => SocketAddr::from_abstract_name(name).ok()?,
                None => SocketAddr::from_pathname(path).ok()?,
            };
            let socket = UnixDatagram::unbound().ok()?;
            socket.set_nonblocking(true).ok()?;
            socket.connect_addr(&address).ok()?;
            Some(socket)
        };
        Self(connect())
    }

    /// Returns at once, and says whether the message was taken.
    pub(super) fn tell(&self, message: &str) -> bool {
        match &self.0 {
            Some(socket) => match socket.send(message.as_bytes()) {
                Ok(_) => true,
                Err(error) => {
                    tracing::debug!(%error, message, "systemd does not take a message");
                    false
                }
            },
            None => true,
        }
    }
}

/// When the loop has something to say.
#[derive(Debug)]
pub(super) struct Heartbeat {
    /// Half of what systemd waits for; `None`: it does not watch.
    interval: Option<Duration>,
    next: Instant,
    /// Something may have changed since the last status.
    stale: bool,
    status_at: Instant,
    said: String,
}

impl Heartbeat {
    /// With what systemd says in the environment.
    pub(super) fn of_environment(now: Instant) -> Self {
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        Self::new(number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0).map(Duration::from_micros), now)
    }

    /// Systemd waits for `watchdog`.
    fn new(watchdog: Option<Duration>, now: Instant) -> Self {
        let interval = watchdog.map(|watchdog| watchdog / 2);
        Self { interval, next: now, stale: true, status_at: now, said: String::new() }
    }

    /// The numbers in the status may have changed.
    pub(super) fn changed(&mut self) {
        self.stale = true;
    }

    /// When the loop must turn for it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let status = self.stale.then_some(self.status_at);
        [self.interval.map(|_| self.next), status].into_iter().flatten().min()
    }

    /// What is to be said now; `status` is asked only when it is due.
    pub(super) fn turn(&mut self, now: Instant, status: impl FnOnce() -> String) -> Option<String> {
        let mut message = String::new();
        if let Some(interval) = self.interval
            && now >= self.next
        {
            self.next = now + interval;
            message.push_str("WATCHDOG=1\n");
        }
        if self.stale && now >= self.status_at {
            self.stale = false;
            self.status_at = now + STATUS;
            let status = status();
            if status != self.said {
                message.push_str(&format!("STATUS={status}\n"));
                self.said = status;
            }
        }
        (!message.is_empty()).then_some(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loop_says_that_it_is_alive_at_half_the_time_that_systemd_waits() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(Some(Duration::from_secs(20)), start);
        assert_eq!(heartbeat.turn(start, || "a".into()).as_deref(), Some("WATCHDOG=1\nSTATUS=a\n"));
        assert_eq!(heartbeat.deadline(), Some(start + Duration::from_secs(10)));
        assert_eq!(heartbeat.turn(start + Duration::from_secs(9), || "a".into()), None);
        let next = heartbeat.turn(start + Duration::from_secs(10), || "a".into());
        assert_eq!(next.as_deref(), Some("WATCHDOG=1\n"));
    }

    #[test]
    fn the_status_is_said_when_it_changes_and_once_a_second_at_most() {
        let start = Instant::now();
        let mut heartbeat = Heartbeat::new(None, start);
        assert_eq!(heartbeat.turn(start, || "0 of 1".into()).as_deref(), Some("STATUS=0 of 1\n"));
        assert_eq!(heartbeat.deadline(), None, "nothing is watched and nothing has changed");
        heartbeat.changed();
        let soon = start + Duration::from_millis(1);
        assert_eq!(heartbeat.turn(soon, || unreachable!("too early")), None);
        assert_eq!(heartbeat.deadline(), Some(start + STATUS));
        assert_eq!(heartbeat.turn(start + STATUS, || "1 of 1".into()).as_deref(), Some("STATUS=1 of 1\n"));
        heartbeat.changed();
        assert_eq!(
            heartbeat.turn(start + 2 * STATUS, || "1 of 1".into()),
            None,
            "the same is not said again"
        );
    }
}
