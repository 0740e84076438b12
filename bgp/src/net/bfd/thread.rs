//! The loop of the thread: wait, read, tick, send.

mod frozen;
mod slow;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver as Orders, SyncSender};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::EventFd;
use nix::sys::time::TimeSpec;
use tokio::sync::mpsc::UnboundedSender;

use super::super::clock;
use super::Command;
use super::deadlines::Deadlines;
use super::receive::{Buffers, Moment, Port, Receiver};
use super::settings::{Options, Report, SessionReport};
use super::transmit::Transmitter;
use crate::bfd::iana::SOURCE_PORTS;
use crate::bfd::{BfdEvent, SessionName, SessionSettings, Sessions};
use crate::bfd::{Demux, Discards, Input, Output, Packet, Path, Session};
use crate::jitter::Jitter;
use crate::time::Instant;

/// The state of the thread.
pub(super) struct Thread {
    orders: Orders<Command>,
    wake: Arc<EventFd>,
    events: UnboundedSender<BfdEvent>,
    receivers: [Receiver; 4],
    /// A session keeps its slot as long as it lives; the index is its key.
    slots: Vec<Option<Slot>>,
    names: BTreeMap<SessionName, usize>,
    demux: Demux<usize>,
    deadlines: Deadlines,
    random: Jitter,
    discarded: Discards,
    worst_wakeup: Duration,
    /// When the receiving sockets were last empty.
    emptied: Instant,
    stopping: bool,
    /// Gets the thread's state, which ends the thread.
    freezing: Option<SyncSender<Box<Self>>>,
}

/// One session and its socket.
struct Slot {
    name: SessionName,
    settings: SessionSettings,
    session: Session,
    transmitter: Transmitter,
    /// No longer desired: it sends AdminDown, and its events are not reported any more.
    leaving: bool,
    discarded: Discards,
}

impl Thread {
    pub(super) fn new(
        options: &Options,
        orders: Orders<Command>,
        wake: Arc<EventFd>,
        events: UnboundedSender<BfdEvent>,
    ) -> Self {
        Self {
            orders,
            wake,
            events,
            receivers: Port::ALL.map(|port| Receiver::new(port, options)),
            slots: Vec::new(),
            names: BTreeMap::new(),
            demux: Demux::new(),
            deadlines: Deadlines::default(),
            random: Jitter::new(RandomState::new().hash_one(clock::now())),
            discarded: Discards::default(),
            worst_wakeup: Duration::ZERO,
            emptied: clock::now(),
            stopping: false,
            freezing: None,
        }
    }

    /// Runs until all sessions have ended after a [`Command::Stop`], or until a [`Command::Freeze`].
    pub(super) fn run(mut self) {
        let mut buffers = Buffers::new();
        while !(self.stopping && self.slots.iter().all(Option::is_none)) {
            self.wait();
            let moment = Moment::read(self.emptied);
            self.obey(moment.now);
            if let Some(answer) = self.freezing.take() {
                // An error means that the caller has stopped waiting.
                let _frozen = answer.send(Box::new(self));
                return;
            }
            // All waiting packets are read before a session is declared down.
            self.read(&mut buffers, &moment);
            self.emptied = moment.now;
            self.tick(moment.now);
        }
    }

    /// Waits for a packet, a command or the next deadline.
    fn wait(&self) {
        let retries = self.receivers.iter().filter_map(Receiver::retry_at);
        let next = self.deadlines.first().map(|(at, _)| at).into_iter().chain(retries).min();
        let timeout = next.map(|at| TimeSpec::from(at.saturating_duration_since(clock::now())));
        // The place of a closed socket is filled with the eventfd.
        let mut open = self.receivers.iter().filter_map(Receiver::fd);
        let mut fds: [PollFd<'_>; Port::ALL.len() + 1] = std::array::from_fn(|_| {
            PollFd::new(open.next().unwrap_or_else(|| self.wake.as_fd()), PollFlags::POLLIN)
        });
        // A signal wakes the thread early, which does no harm; with open sockets there is no other error.
        let _ready = ppoll(&mut fds, timeout, None);
    }

    fn obey(&mut self, now: Instant) {
        // The counter is only a wake-up; the commands are in the channel.
        let _woken = self.wake.read();
        while let Ok(command) = self.orders.try_recv() {
            match command {
                Command::Set(sessions) if !self.stopping => self.set(&sessions, now),
                Command::Set(_) => {}
                Command::Report(answer) => self.report(&answer),
                Command::Slow(least) => self.slow(least, now),
                // The caller may have stopped waiting.
                Command::IsSlow(least, answer) => drop(answer.try_send(self.is_slow(least))),
                Command::Freeze(answer) => self.freezing = Some(answer),
                Command::Stop(said) => {
                    self.set(&Sessions::new(), now);
                    self.stopping = true;
                    // The caller may have stopped waiting.
                    let _said = said.try_send(());
                }
            }
        }
        for receiver in &mut self.receivers {
            if receiver.retry_at().is_some_and(|at| at <= now) {
                receiver.retry(now);
            }
        }
    }

    fn read(&mut self, buffers: &mut Buffers, moment: &Moment) {
        for index in 0..self.receivers.len() {
            while let Some(received) = self.receivers.get(index).and_then(|receiver| receiver.next(buffers)) {
                let found = Packet::decode(buffers.payload(received.length))
                    .and_then(|packet| Ok((packet, self.demux.find(&packet, &received.arrival)?)));
                let at = moment.instant(received.stamp);
                match found {
                    Ok((packet, slot)) => self.input(slot, Input::Received { packet, at }, moment.now),
                    Err(reason) => {
                        let blamed = self.demux.blame(&received.arrival);
                        let slot = blamed.and_then(|slot| self.slots.get_mut(slot)?.as_mut());
                        slot.map_or(&mut self.discarded, |slot| &mut slot.discarded).count(reason);
                    }
                }
                // Packets after the wake-up are left for the next turn: a flood must not keep the thread here.
                if at >= moment.now {
                    break;
                }
            }
        }
    }

    fn tick(&mut self, now: Instant) {
        while let Some((at, slot)) = self.deadlines.first().filter(|(at, _)| *at <= now) {
            self.worst_wakeup = self.worst_wakeup.max(now - at);
            self.input(slot, Input::Tick, now);
        }
    }

    /// Hands an input to a session and performs its outputs.
    fn input(&mut self, index: usize, input: Input, now: Instant) {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        let Output { transmit, event, finished } = slot.session.handle(input, now);
        let deadline = slot.session.deadline();
        if let Some(packet) = transmit {
            self.send(index, &packet);
        }
        if let Some(transition) = event
            && let Some(slot) = self.slots.get(index).and_then(Option::as_ref)
            && !slot.leaving
        {
            // An error means that the receiver was dropped.
            let _told = self.events.send(BfdEvent { session: Arc::clone(&slot.name), transition });
        }
        if finished {
            self.forget(index);
        } else {
            self.deadlines.set(index, deadline);
        }
    }

    fn send(&mut self, index: usize, packet: &Packet) {
        let closed = |slot: &Slot| slot.transmitter.is_closed();
        if self.slots.get(index).and_then(Option::as_ref).is_some_and(closed) {
            self.open(index);
        }
        if let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) {
            slot.transmitter.send(&packet.encode());
        }
    }

    fn open(&mut self, index: usize) {
        let mut taken = self.ports();
        let Self { slots, random, demux, .. } = self;
        let Some(slot) = slots.get_mut(index).and_then(Option::as_mut) else { return };
        let before = slot.transmitter.interface();
        slot.transmitter.open(&slot.settings, || {
            let port = free_port(&taken, random);
            taken.insert(port);
            port
        });
        if slot.transmitter.interface() != before && !slot.leaving {
            demux.insert(slot.session.discriminator(), index, slot.path());
        }
    }

    fn ports(&self) -> BTreeSet<u16> {
        self.slots.iter().flatten().map(|slot| slot.transmitter.port()).collect()
    }

    /// Applies the differences to the desired sessions.
    fn set(&mut self, wanted: &Sessions, now: Instant) {
        for index in 0..self.slots.len() {
            let Some(slot) = self.slots.get(index).and_then(Option::as_ref) else { continue };
            let still =
                wanted.get(&slot.name).filter(|settings| !slot.leaving && settings.same_path(&slot.settings));
            if let Some(settings) = still {
                self.configure(index, settings.clone(), now);
                continue;
            }
            // A new session with the same neighbour replaces this one: packets of both would confuse the neighbour.
            let replaced = wanted.values().any(|settings| settings.same_remote(&slot.settings));
            if !slot.leaving {
                self.leave(index, now);
            }
            if replaced {
                self.forget(index);
            }
        }
        for (name, settings) in wanted {
            if !self.names.contains_key(name) {
                self.add(Arc::clone(name), settings.clone(), now);
            }
        }
        for receiver in &mut self.receivers {
            let port = receiver.port();
            let used = wanted.values().any(|settings| Port::of(settings.remote, settings.hops) == port);
            receiver.want(used, now);
        }
    }

    fn configure(&mut self, index: usize, settings: SessionSettings, now: Instant) {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        let config = settings.config;
        slot.settings = settings;
        if *slot.session.config() != config {
            self.input(index, Input::Configure(config), now);
        }
    }

    fn leave(&mut self, index: usize, now: Instant) {
        let Some(slot) = self.slots.get_mut(index).and_then(Option::as_mut) else { return };
        slot.leaving = true;
        self.names.remove(&slot.name);
        self.demux.unlist(index);
        self.input(index, Input::Stop, now);
    }

    fn forget(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(index).and_then(Option::take) {
            self.demux.remove(slot.session.discriminator());
        }
        self.deadlines.set(index, None);
    }

    fn add(&mut self, name: SessionName, settings: SessionSettings, now: Instant) {
        let discriminator = self.discriminator();
        let session = Session::new(settings.config, discriminator, self.random.next(), now);
        let transmitter = Transmitter::new(free_port(&self.ports(), &mut self.random));
        let (leaving, discarded) = (false, Discards::default());
        self.insert(Slot { name, settings, session, transmitter, leaving, discarded });
    }

    /// Takes a session in. One that is leaving is reached only by its discriminator.
    fn insert(&mut self, slot: Slot) {
        let (name, discriminator, leaving) =
            (Arc::clone(&slot.name), slot.session.discriminator(), slot.leaving);
        let path = slot.path();
        let deadline = slot.session.deadline();
        let index = match self.slots.iter().position(Option::is_none) {
            Some(free) => {
                self.slots[free] = Some(slot);
                free
            }
            None => {
                self.slots.push(Some(slot));
                self.slots.len() - 1
            }
        };
        self.demux.insert(discriminator, index, path);
        if leaving {
            self.demux.unlist(index);
        } else {
            self.names.insert(name, index);
        }
        self.deadlines.set(index, deadline);
    }

    /// A random discriminator that is not in use.
    fn discriminator(&mut self) -> NonZeroU32 {
        loop {
            let [.., third, second, first, last] = self.random.next().to_be_bytes();
            let number = NonZeroU32::new(u32::from_be_bytes([third, second, first, last]));
            if let Some(number) = number.filter(|number| !self.demux.contains(*number)) {
                return number;
            }
        }
    }

    fn report(&self, answer: &SyncSender<Report>) {
        let of = |index: &usize| self.slots.get(*index)?.as_ref().map(Slot::report);
        let sessions = self.names.iter().filter_map(|(name, index)| Some((Arc::clone(name), of(index)?)));
        // The caller may have stopped waiting.
        let _asked = answer.try_send(Report {
            sessions: sessions.collect(),
            discarded: self.discarded,
            deaf: self.receivers.iter().filter_map(Receiver::trouble).collect(),
            worst_wakeup: self.worst_wakeup,
        });
    }
}

impl Slot {
    fn path(&self) -> Path {
        // No interface has the index 0: no packet matches until the named interface exists.
        let interface = self.settings.interface.as_ref().map(|_| self.transmitter.interface().unwrap_or(0));
        Path { remote: self.settings.remote, local: self.settings.local, interface, hops: self.settings.hops }
    }

    fn report(&self) -> SessionReport {
        SessionReport {
            status: self.session.status(),
            source_port: self.transmitter.port(),
            send_errors: self.transmitter.errors(),
            send_error: self.transmitter.error().map(ToString::to_string),
            discarded: self.discarded,
        }
    }
}

/// A random port that no other session has. There are 16,384 ports, more than one thread can serve.
fn free_port(taken: &BTreeSet<u16>, random: &mut Jitter) -> u16 {
    let count = u64::from(SOURCE_PORTS.end() - SOURCE_PORTS.start()) + 1;
    let offset = u16::try_from(random.next() % count).unwrap_or(0);
    let from_there = SOURCE_PORTS.skip(usize::from(offset)).chain(SOURCE_PORTS);
    from_there.into_iter().find(|port| !taken.contains(port)).unwrap_or(*SOURCE_PORTS.start())
}
