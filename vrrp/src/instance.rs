//! One instance (RFC 9568 §6): states, timers, election.

use std::net::IpAddr;
use std::time::Duration;

use crate::advertisement::{Advertisement, Form, Packet, Version};
use crate::config::{Config, Preempt};
use crate::discard::{Discard, Discards};
use crate::io::{Cause, Input, Notice, Occasion, Output, State, Transition, Transmission};
use crate::status::{Counters, Status};
use crate::values::Priority;
use vipcast_machine::Instant;

/// A notice of one kind is given no more often.
const NOTICE_INTERVAL: Duration = Duration::from_secs(60);

/// One VRRP instance. See the [crate].
#[derive(Debug, Clone)]
pub struct Instance {
    config: Config,
    priority: Priority,
    fault: bool,
    role: Role,
    since: Instant,
    last_transition: Option<Transition>,
    told: [Option<Instant>; Notice::KINDS],
    counters: Counters,
    discards: Discards,
}

/// The state, with its timers.
#[derive(Debug, Clone, Copy)]
enum Role {
    Initialize,
    Fault,
    Backup(Backup),
    Active(Active),
}

/// What a Backup Router knows of the Active Router.
#[derive(Debug, Clone, Copy)]
struct Backup {
    /// Its interval (Active_Adver_Interval); ours until one is heard.
    interval: Duration,
    /// Its last advertisement that counted, or our start.
    heard: Instant,
    /// Its address, once heard.
    following: Option<IpAddr>,
    /// It has stopped: only Skew_Time is waited for.
    released: Option<IpAddr>,
    /// A router of lower priority that was heard since.
    lower: Option<IpAddr>,
    /// When a router of lower priority is no longer followed.
    preempt_at: Option<Instant>,
    /// After a late wake-up: no takeover before this.
    grace: Option<Instant>,
}

/// The timers of an Active Router.
#[derive(Debug, Clone, Copy)]
struct Active {
    /// The next advertisement (Adver_Timer).
    next: Instant,
    /// The last advertisement out of turn.
    answered: Option<Instant>,
    /// The next announcement of the addresses, and its occasion.
    announce: Option<(Instant, Occasion)>,
    /// When a router of lower priority is taken as ended, and its address.
    lower: Option<(Instant, IpAddr)>,
}

impl Instance {
    /// An instance in Initialize.
    pub fn new(config: Config, now: Instant) -> Self {
        Self {
            priority: config.priority,
            config,
            fault: false,
            role: Role::Initialize,
            since: now,
            last_transition: None,
            told: [None; Notice::KINDS],
            counters: Counters::default(),
            discards: Discards::default(),
        }
    }

    /// Its configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its state.
    pub fn state(&self) -> State {
        match self.role {
            Role::Initialize => State::Initialize,
            Role::Fault => State::Fault,
            Role::Backup(_) => State::Backup,
            Role::Active(_) => State::Active,
        }
    }

    /// The priority in its advertisements.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// When [`Input::Tick`] is due; `None` in Initialize and Fault.
    pub fn deadline(&self) -> Option<Instant> {
        match &self.role {
            Role::Initialize | Role::Fault => None,
            Role::Backup(backup) => Some(self.takeover_at(backup)),
            Role::Active(active) => {
                let announce = active.announce.map_or(active.next, |(at, _)| at);
                let lower = active.lower.map_or(active.next, |(at, _)| at);
                Some(active.next.min(announce).min(lower))
            }
        }
    }

    /// Counts a packet that did not decode, or that belongs to no instance.
    pub fn count(&mut self, reason: Discard) {
        self.discards.count(reason);
    }

    /// Handles one input.
    pub fn handle(&mut self, input: Input, now: Instant) -> Vec<Output> {
        let mut out = Vec::new();
        match input {
            Input::Start => {
                if let Role::Initialize = self.role {
                    self.begin(Cause::Started, now, &mut out);
                }
            }
            Input::Received { packet, at } => self.received(&packet, at.min(now), now, &mut out),
            Input::Tick => self.tick(now, &mut out),
            Input::Priority(priority) => self.set_priority(priority, now, &mut out),
            Input::Fault(fault) => self.set_fault(fault, now, &mut out),
            Input::Configure(config) => self.configure(config, now, &mut out),
            Input::Stop => self.end(Role::Initialize, Cause::Stopped, now, &mut out),
        }
        self.counters.transmitted +=
            out.iter().filter(|output| matches!(output, Output::Transmit(_))).count() as u64;
        out
    }

    /// A snapshot of the instance.
    pub fn status(&self) -> Status {
        let (active, interval) = match &self.role {
            Role::Initialize | Role::Fault => (None, self.interval()),
            Role::Backup(backup) => (backup.following, backup.interval),
            Role::Active(_) => (Some(self.config.link.source()), self.interval()),
        };
        Status {
            vrid: self.config.vrid,
            version: self.config.link.form().version(),
            state: self.state(),
            since: self.since,
            priority: self.priority,
            addresses: self.config.link.form().addresses(),
            active,
            interval,
            detection_time: self.detection_time(interval),
            last_transition: self.last_transition,
            counters: self.counters,
            discards: self.discards,
        }
    }

    /// The checks of RFC 9568 §7.1 that depend on the instance, then the rules of the state.
    fn received(&mut self, packet: &Packet, at: Instant, now: Instant, out: &mut Vec<Output>) {
        if let Role::Initialize | Role::Fault = self.role {
            return;
        }
        if let Err(reason) = self.is_ours(packet) {
            self.discards.count(reason);
            out.push(Output::Discarded(reason));
            if reason == Discard::SecondOwner {
                self.notice(Notice::SecondOwner { source: packet.endpoints.source() }, now, out);
            }
            return;
        }
        self.counters.received += 1;
        self.compare(packet, now, out);
        let source = packet.endpoints.source();
        let interval = packet.advertisement.form.interval();
        match (self.role, packet.advertisement.priority) {
            (Role::Initialize | Role::Fault, _) => {}
            (Role::Backup(backup), None) => {
                self.counters.released += 1;
                self.role = Role::Backup(self.followed_has_stopped(backup, source, at));
            }
            (Role::Backup(backup), Some(priority)) => {
                self.role = Role::Backup(self.heard(backup, priority, source, interval, at, now));
            }
            (Role::Active(active), None) => {
                self.counters.released += 1;
                self.lower_has_stopped(active, source, now, out);
            }
            (Role::Active(active), Some(priority)) => {
                if (priority, source) > (self.priority, self.config.link.source())
                    && !self.priority.is_owner()
                {
                    self.counters.yields += 1;
                    let backup = Backup { following: Some(source), ..Backup::new(interval, at) };
                    self.enter(Role::Backup(backup), Cause::Yields { source, priority }, now, out);
                } else {
                    self.lower_is_active(active, priority, source, interval, now, out);
                }
            }
        }
    }

    /// Whether the packet counts.
    fn is_ours(&self, packet: &Packet) -> Result<(), Discard> {
        let (ours, theirs) = (self.config.link.form(), &packet.advertisement.form);
        let source = packet.endpoints.source();
        if packet.advertisement.vrid != self.config.vrid {
            return Err(Discard::OtherVrid);
        }
        if theirs.version() != ours.version() {
            return Err(Discard::OtherVersion);
        }
        if theirs.is_v6() != ours.is_v6() || source.is_ipv6() != ours.is_v6() {
            return Err(Discard::OtherFamily);
        }
        if source == self.config.link.source() {
            return Err(Discard::OwnSource);
        }
        if !self.config.link.peers().is_empty() && !self.config.link.peers().contains(&source) {
            return Err(Discard::NotAPeer);
        }
        if let (Form::V2 { authentication: ours, .. }, Form::V2 { authentication: theirs, .. }) =
            (ours, theirs)
            && ours != theirs
        {
            return Err(Discard::Authentication);
        }
        if ours.version() == Version::V2 && theirs.interval() != ours.interval() {
            return Err(Discard::OtherInterval);
        }
        if self.priority.is_owner() && packet.advertisement.priority.is_some_and(Priority::is_owner) {
            return Err(Discard::SecondOwner);
        }
        Ok(())
    }

    /// Notices what is likely a mistake.
    fn compare(&mut self, packet: &Packet, now: Instant, out: &mut Vec<Output>) {
        let source = packet.endpoints.source();
        let (ours, theirs) = (self.config.link.form(), &packet.advertisement.form);
        // The order is not compared: keepalived and FRR have orders of their own.
        let sorted = |form: &Form| {
            let mut addresses = form.addresses().to_vec();
            addresses.sort_unstable();
            addresses
        };
        let other_checksum =
            ours.version() == Version::V3 && !ours.is_v6() && packet.coverage != self.config.checksum;
        if ours.addresses() != theirs.addresses() && sorted(ours) != sorted(theirs) {
            self.notice(Notice::OtherAddresses { source }, now, out);
        }
        if other_checksum {
            self.notice(Notice::OtherChecksum { source, coverage: packet.coverage }, now, out);
        }
    }

    fn notice(&mut self, notice: Notice, now: Instant, out: &mut Vec<Output>) {
        let Some(told) = self.told.get_mut(notice.kind()) else { return };
        if told.is_none_or(|at| now - at >= NOTICE_INTERVAL) {
            *told = Some(now);
            out.push(Output::Notice(notice));
        }
    }

    // ── Backup ──────────────────────────────────────────────────────────────────────────────────────────────────────

    /// RFC 9568 §6.4.2: an advertisement that is not of priority 0.
    fn heard(
        &self,
        backup: Backup,
        priority: Priority,
        source: IpAddr,
        interval: Duration,
        at: Instant,
        now: Instant,
    ) -> Backup {
        let mut preempt_at = None;
        if priority < self.priority
            && let Some(delay) = self.preempt_delay()
        {
            let due = backup.preempt_at.unwrap_or(now + delay);
            if due <= now {
                // It does not count: the timer runs on.
                return Backup { lower: Some(source), preempt_at: Some(due), ..backup };
            }
            preempt_at = Some(due);
        }
        // A reordered packet counts, but does not shorten the time.
        let heard = backup.heard.max(at);
        Backup { following: Some(source), preempt_at, ..Backup::new(interval, heard) }
    }

    /// RFC 9568 §6.4.2: priority 0. From a router that is not followed it tells nothing of the one that is.
    fn followed_has_stopped(&self, backup: Backup, source: IpAddr, at: Instant) -> Backup {
        let followed = backup.following.is_none_or(|following| following == source);
        if !followed && backup.lower != Some(source) {
            return backup;
        }
        if backup.released.is_some() {
            return backup;
        }
        Backup { heard: backup.heard.max(at), following: None, released: Some(source), grace: None, ..backup }
    }

    /// The end of Active_Down_Timer.
    fn takeover_at(&self, backup: &Backup) -> Instant {
        let wait = match backup.released {
            Some(_) => self.skew_time(backup.interval),
            None => self.detection_time(backup.interval),
        };
        (backup.heard + wait).max(backup.grace.unwrap_or(Instant::BOOT))
    }

    /// `None`: this router does not preempt. An owner always does (RFC 9568 §6.1).
    fn preempt_delay(&self) -> Option<Duration> {
        match self.config.preempt {
            _ if self.priority.is_owner() => Some(Duration::ZERO),
            Preempt::Never => None,
            Preempt::After(delay) => Some(delay),
        }
    }

    /// Active_Down_Interval (RFC 9568 §6.1).
    fn detection_time(&self, interval: Duration) -> Duration {
        interval * 3 + self.skew_time(interval)
    }

    /// Skew_Time (RFC 9568 §6.1): the lower the priority, the longer. Version 2 counts in seconds (RFC 3768 §6.1).
    fn skew_time(&self, interval: Duration) -> Duration {
        let unit = match self.config.link.form().version() {
            Version::V2 => Duration::from_secs(1),
            Version::V3 => interval,
        };
        unit * (256 - u32::from(self.priority.get())) / 256
    }

    // ── Active ──────────────────────────────────────────────────────────────────────────────────────────────────────

    /// RFC 9568 §6.4.3: an advertisement of a router that has to yield. Hosts and switches may have learned its MAC, so the
    /// addresses are announced again, now and when it has ended.
    fn lower_is_active(
        &mut self,
        mut active: Active,
        priority: Priority,
        source: IpAddr,
        interval: Duration,
        now: Instant,
        out: &mut Vec<Output>,
    ) {
        // Its Skew_Time, which it waits as well, is at most an interval.
        active.lower = Some((now + interval * 4, source));
        if self.may_answer(&active, now) {
            active.answered = Some(now);
            active.next = now + self.interval();
            out.push(Output::Transmit(self.advertisement()));
            out.push(Output::Announce(Occasion::LowerRouter));
        }
        self.role = Role::Active(active);
        self.notice(Notice::LowerRouter { source, priority }, now, out);
    }

    /// RFC 9568 §6.4.3: priority 0 is answered, so that Backup Routers stay.
    fn lower_has_stopped(&mut self, mut active: Active, source: IpAddr, now: Instant, out: &mut Vec<Output>) {
        if active.lower.is_some_and(|(_, lower)| lower == source) {
            active.lower = None;
            out.push(Output::Announce(Occasion::LowerRouterEnded));
        }
        if self.may_answer(&active, now) {
            active.answered = Some(now);
            active.next = now + self.interval();
            out.push(Output::Transmit(self.advertisement()));
        }
        self.role = Role::Active(active);
    }

    /// Whether half an interval has passed since the last advertisement out of turn.
    fn may_answer(&self, active: &Active, now: Instant) -> bool {
        active.answered.is_none_or(|at| now - at >= self.interval() / 2)
    }

    // ── Timers and the caller ───────────────────────────────────────────────────────────────────────────────────────

    fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        match self.role {
            Role::Initialize | Role::Fault => {}
            Role::Backup(backup) => {
                let due = self.takeover_at(&backup);
                if due > now {
                    return;
                }
                if backup.grace.is_none() && now - due > backup.interval / 2 {
                    self.counters.late_wakeups += 1;
                    // The next advertisement comes within an interval of the *other* clock, and needs its way.
                    self.role = Role::Backup(Backup { grace: Some(now + backup.interval * 5 / 4), ..backup });
                    return;
                }
                let cause = match (backup.released, backup.lower) {
                    (Some(source), _) => Cause::Released { source },
                    (None, Some(source)) => Cause::Preempts { source },
                    (None, None) => Cause::Silence,
                };
                self.take_over(cause, now, out);
            }
            Role::Active(mut active) => {
                if active.next <= now {
                    out.push(Output::Transmit(self.advertisement()));
                    let next = active.next + self.interval();
                    active.next = if next > now { next } else { now + self.interval() };
                }
                if active.lower.is_some_and(|(at, _)| at <= now) {
                    active.lower = None;
                    out.push(Output::Announce(Occasion::LowerRouterEnded));
                }
                if let Some((at, occasion)) = active.announce
                    && at <= now
                {
                    out.push(Output::Announce(occasion));
                    active.announce = self.refresh(now);
                }
                self.role = Role::Active(active);
            }
        }
    }

    /// RFC 9568 §6.4.1.
    fn begin(&mut self, cause: Cause, now: Instant, out: &mut Vec<Output>) {
        if self.fault {
            self.enter(Role::Fault, Cause::Fault, now, out);
        } else if self.priority.is_owner() {
            self.take_over(cause, now, out);
        } else {
            self.enter(Role::Backup(Backup::new(self.interval(), now)), cause, now, out);
        }
    }

    /// RFC 9568 §6.4.2: first the advertisement, then gratuitous ARP; the driver binds between them.
    fn take_over(&mut self, cause: Cause, now: Instant, out: &mut Vec<Output>) {
        let announce = match self.config.announcements.again_after {
            Some(after) => Some((now + after, Occasion::Again)),
            None => self.refresh(now),
        };
        let active = Active { next: now + self.interval(), answered: None, announce, lower: None };
        self.counters.takeovers += 1;
        out.push(Output::Transmit(self.advertisement()));
        self.enter(Role::Active(active), cause, now, out);
        out.push(Output::Announce(Occasion::Takeover));
    }

    /// Leaves Backup or Active for `role`. An Active Router tells so.
    fn end(&mut self, role: Role, cause: Cause, now: Instant, out: &mut Vec<Output>) {
        match self.role {
            Role::Initialize => return,
            Role::Fault | Role::Backup(_) => {}
            Role::Active(_) => out.push(Output::Transmit(self.release())),
        }
        self.enter(role, cause, now, out);
    }

    fn set_fault(&mut self, fault: bool, now: Instant, out: &mut Vec<Output>) {
        self.fault = fault;
        match (self.role, fault) {
            (Role::Backup(_) | Role::Active(_), true) => self.end(Role::Fault, Cause::Fault, now, out),
            (Role::Fault, false) => self.begin(Cause::Recovered, now, out),
            (Role::Initialize | Role::Fault, true)
            | (Role::Initialize | Role::Backup(_) | Role::Active(_), false) => {}
        }
    }

    fn set_priority(&mut self, priority: Priority, now: Instant, out: &mut Vec<Output>) {
        if priority == self.priority {
            return;
        }
        self.priority = priority;
        self.advertise(now, out);
    }

    fn configure(&mut self, config: Config, now: Instant, out: &mut Vec<Output>) {
        if config == self.config {
            return self.set_priority(config.priority, now, out);
        }
        let runs = self.state() != State::Initialize;
        if !config.same_router(&self.config) {
            self.end(Role::Initialize, Cause::Stopped, now, out);
        }
        let before = std::mem::replace(&mut self.config, config);
        self.priority = self.config.priority;
        if !self.config.same_router(&before) {
            if runs {
                self.begin(Cause::Started, now, out);
            }
            return;
        }
        self.advertise(now, out);
        if let Role::Active(active) = &mut self.role {
            if before.link.form().addresses() != self.config.link.form().addresses() {
                out.push(Output::Announce(Occasion::Configured));
            }
            if before.announcements != self.config.announcements {
                active.announce =
                    self.config.announcements.refresh.map(|after| (now + after, Occasion::Refresh));
            }
        }
    }

    /// An Active Router sends an advertisement in place of the next one.
    fn advertise(&mut self, now: Instant, out: &mut Vec<Output>) {
        let (next, advertisement) = (now + self.interval(), self.advertisement());
        if let Role::Active(active) = &mut self.role {
            active.next = next;
            out.push(Output::Transmit(advertisement));
        }
    }

    fn enter(&mut self, role: Role, cause: Cause, now: Instant, out: &mut Vec<Output>) {
        let from = self.state();
        self.role = role;
        self.since = now;
        let transition = Transition { from, to: self.state(), cause, at: now };
        self.last_transition = Some(transition);
        out.push(Output::Transition(transition));
    }

    fn interval(&self) -> Duration {
        self.config.link.form().interval()
    }

    fn refresh(&self, now: Instant) -> Option<(Instant, Occasion)> {
        self.config.announcements.refresh.map(|after| (now + after, Occasion::Refresh))
    }

    fn advertisement(&self) -> Transmission {
        self.transmission(Some(self.priority))
    }

    /// RFC 9568 §6.4.3: priority 0.
    fn release(&self) -> Transmission {
        self.transmission(None)
    }

    fn transmission(&self, priority: Option<Priority>) -> Transmission {
        let form = self.config.link.form().clone();
        Transmission {
            advertisement: Advertisement { vrid: self.config.vrid, priority, form },
            destinations: self.config.link.destinations(),
            checksum: self.config.checksum,
        }
    }
}

impl Backup {
    /// Waits for the router that was heard at `heard`, with this interval.
    fn new(interval: Duration, heard: Instant) -> Self {
        Self { interval, heard, following: None, released: None, lower: None, preempt_at: None, grace: None }
    }
}

#[cfg(test)]
mod tests;
