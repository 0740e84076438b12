//! Notifications to systemd from the running loop (sd_notify(3)): the watchdog, and the status.
//!
//! Only the running loop sends `WATCHDOG=1`: a separate thread would go on while the loop stands still, and systemd
//! would not notice. The loop never waits for systemd: a message that a full socket refuses is sent again later, and
//! counts as sent only when it was accepted.

use std::collections::VecDeque;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use vipcast_bgp::Instant;

/// The shortest interval between two statuses.
const STATUS: Duration = Duration::from_secs(1);
/// The pause before a refused message is sent again.
const AGAIN: Duration = Duration::from_millis(250);

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

    /// Sends a message without waiting; returns whether it was accepted.
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

/// The pending messages of the loop, and their times.
#[derive(Debug)]
pub(super) struct Heartbeat {
    /// Half of systemd's watchdog time; `None`: no watchdog.
    interval: Option<Duration>,
    next: Instant,
    /// One-time messages that were not accepted yet. Of several in one datagram systemd obeys only the last.
    owed: VecDeque<String>,
    /// Whether systemd was told that a reload has begun, and not yet that it has ended.
    reloading: bool,
    /// Whether the status may have changed.
    stale: bool,
    status_at: Instant,
    said: String,
    /// The status that is being sent.
    saying: Option<String>,
    /// The time of the next attempt after a refused message.
    again_at: Option<Instant>,
}

impl Heartbeat {
    /// A heartbeat with the settings in the environment.
    pub(super) fn of_environment(now: Instant) -> Self {
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let ours = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        Self::new(number("WATCHDOG_USEC").filter(|usec| ours && *usec > 0).map(Duration::from_micros), now)
    }

    /// A heartbeat with this watchdog time.
    fn new(watchdog: Option<Duration>, now: Instant) -> Self {
        Self {
            interval: watchdog.map(|watchdog| watchdog / 2),
            next: now,
            owed: VecDeque::new(),
            reloading: false,
            stale: true,
            status_at: now,
            said: String::new(),
            saying: None,
            again_at: None,
        }
    }

    /// Sends this at the next turn, and again until it is accepted.
    pub(super) fn say(&mut self, assignments: impl Into<String>) {
        self.owed.push_back(assignments.into());
    }

    /// Says that a reload begins. systemd compares the time with that of its own request (`Type=notify-reload`).
    pub(super) fn reload_begins(&mut self, now: Instant) {
        self.reloading = true;
        self.say(format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_nanos() / 1_000));
    }

    /// Says that no reload is under way any more, if one was.
    pub(super) fn reload_ends(&mut self) {
        if std::mem::take(&mut self.reloading) {
            self.say("READY=1");
        }
    }

    /// Notes that the numbers in the status may have changed.
    pub(super) fn changed(&mut self) {
        self.stale = true;
    }

    /// When the next message is due. It may have passed already.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let status = self.stale.then_some(self.status_at);
        let alive = self.interval.map(|_| self.next);
        // At once.
        let owed = (!self.owed.is_empty()).then_some(Instant::BOOT);
        let due = [alive, status, owed].into_iter().flatten().min();
        due.map(|due| self.again_at.map_or(due, |again| due.max(again)))
    }

    /// The message that is due now; calls `status` only if that is due. [`Self::told`] answers it.
    pub(super) fn turn(&mut self, now: Instant, status: impl FnOnce() -> String) -> Option<String> {
        if self.again_at.is_some_and(|again| now < again) {
            return None;
        }
        let mut lines: Vec<String> = self.owed.front().cloned().into_iter().collect();
        if self.interval.is_some() && now >= self.next {
            lines.push("WATCHDOG=1".to_owned());
        }
        if self.stale && now >= self.status_at {
            let status = status();
            if status == self.said {
                (self.stale, self.status_at) = (false, now + STATUS);
            } else {
                lines.push(format!("STATUS={status}"));
                self.saying = Some(status);
            }
        }
        (!lines.is_empty()).then(|| lines.join("\n") + "\n")
    }

    /// Takes whether systemd has accepted the message of [`Self::turn`] at `now`.
    pub(super) fn told(&mut self, taken: bool, now: Instant) {
        let saying = self.saying.take();
        if !taken {
            self.again_at = Some(now + AGAIN);
            return;
        }
        self.again_at = None;
        self.owed.pop_front();
        if let Some(interval) = self.interval.filter(|_| now >= self.next) {
            self.next = now + interval;
        }
        if let Some(status) = saying {
            (self.stale, self.status_at, self.said) = (false, now + STATUS, status);
        }
    }
}

#[cfg(test)]
mod tests {
    use vipcast_bgp::net::clock;

    use super::*;

    /// The message at `now`, accepted.
    fn said(heartbeat: &mut Heartbeat, now: Instant, status: &str) -> Option<String> {
        let message = heartbeat.turn(now, || status.to_owned());
        if message.is_some() {
            heartbeat.told(true, now);
        }
        message
    }

    #[test]
    fn the_loop_says_that_it_is_alive_at_half_the_time_that_systemd_waits() {
        let start = clock::now();
        let mut heartbeat = Heartbeat::new(Some(Duration::from_secs(20)), start);
        assert_eq!(said(&mut heartbeat, start, "a").as_deref(), Some("WATCHDOG=1\nSTATUS=a\n"));
        assert_eq!(heartbeat.deadline(), Some(start + Duration::from_secs(10)));
        assert_eq!(said(&mut heartbeat, start + Duration::from_secs(9), "a"), None);
        let next = said(&mut heartbeat, start + Duration::from_secs(10), "a");
        assert_eq!(next.as_deref(), Some("WATCHDOG=1\n"));
    }

    #[test]
    fn the_status_is_said_when_it_changes_and_once_a_second_at_most() {
        let start = clock::now();
        let mut heartbeat = Heartbeat::new(None, start);
        assert_eq!(said(&mut heartbeat, start, "0 of 1").as_deref(), Some("STATUS=0 of 1\n"));
        assert_eq!(heartbeat.deadline(), None, "nothing is watched and nothing has changed");
        heartbeat.changed();
        let soon = start + Duration::from_millis(1);
        assert_eq!(heartbeat.turn(soon, || unreachable!("too early")), None);
        assert_eq!(heartbeat.deadline(), Some(start + STATUS));
        assert_eq!(said(&mut heartbeat, start + STATUS, "1 of 1").as_deref(), Some("STATUS=1 of 1\n"));
        heartbeat.changed();
        assert_eq!(said(&mut heartbeat, start + 2 * STATUS, "1 of 1"), None, "the same is not said again");
        assert_eq!(heartbeat.deadline(), None);
    }

    #[test]
    fn what_a_full_socket_does_not_take_is_said_until_it_is_taken_and_then_no_more() {
        let start = clock::now();
        let mut heartbeat = Heartbeat::new(Some(Duration::from_secs(20)), start);
        heartbeat.say("READY=1");
        let all = "READY=1\nWATCHDOG=1\nSTATUS=a\n";
        for turn in 0..3 {
            let now = start + turn * AGAIN;
            assert_eq!(heartbeat.turn(now, || "a".into()).as_deref(), Some(all), "turn {turn}");
            heartbeat.told(false, now);
            assert_eq!(heartbeat.deadline(), Some(now + AGAIN), "the loop does not spin");
            assert_eq!(heartbeat.turn(now, || unreachable!("too early")), None);
        }
        let now = start + 3 * AGAIN;
        heartbeat.say("STOPPING=1");
        let taken = said(&mut heartbeat, now, "b");
        assert_eq!(taken.as_deref(), Some("READY=1\nWATCHDOG=1\nSTATUS=b\n"));
        assert!(heartbeat.deadline().is_some_and(|at| at <= now + STATUS));
        assert_eq!(said(&mut heartbeat, now, "b").as_deref(), Some("STOPPING=1\n"));
        assert_eq!(heartbeat.deadline(), Some(now + Duration::from_secs(10)));
    }

    #[test]
    fn what_is_said_once_does_not_wait_for_the_next_status() {
        let start = clock::now();
        let mut heartbeat = Heartbeat::new(None, start);
        said(&mut heartbeat, start, "a");
        heartbeat.say("STOPPING=1");
        assert!(heartbeat.deadline().is_some_and(|at| at <= start + STATUS));
        assert_eq!(said(&mut heartbeat, start, "a").as_deref(), Some("STOPPING=1\n"));
    }

    #[test]
    fn each_reload_is_said_with_its_time_and_its_end_once() {
        let start = Instant::from_nanos(7_000_999);
        let mut heartbeat = Heartbeat::new(None, start);
        said(&mut heartbeat, start, "a");
        heartbeat.reload_ends();
        assert_eq!(said(&mut heartbeat, start, "a"), None, "none was under way");
        heartbeat.reload_begins(start);
        heartbeat.reload_begins(Instant::from_nanos(8_000_000));
        heartbeat.reload_ends();
        heartbeat.reload_ends();
        for message in
            ["RELOADING=1\nMONOTONIC_USEC=7000\n", "RELOADING=1\nMONOTONIC_USEC=8000\n", "READY=1\n"]
        {
            assert_eq!(said(&mut heartbeat, start, "a").as_deref(), Some(message));
        }
        assert_eq!(said(&mut heartbeat, start, "a"), None);
    }
}
