//! The checks and the disk of a host, as ports of its node.

use std::sync::Arc;
use std::time::Duration;

use vipcast_bgp::Instant;
use vipcast_node::engine::Event;
use vipcast_node::health::report::Outcome;
use vipcast_node::health::{Health, Input as HealthInput, Output};
use vipcast_node::input::Input;
use vipcast_node::jobs::{Ticket, Unsaved};
use vipcast_node::model::Check;
use vipcast_node::names::CheckName;
use vipcast_node::table::Table;

use crate::disk::RETRY;
use crate::host::Port;
use crate::probe::{self, Running, Seen};
use crate::world::{Due, Machine, World};

impl World {
    /// Runs exactly these checks; one whose definition is what it was goes on.
    pub fn run_checks(&mut self, number: usize, wanted: &Table<CheckName, Arc<Check>>) {
        self.hosts[number].checks.retain(|name, running| wanted.get(name) == Some(&running.definition));
        let missing: Vec<_> =
            wanted.iter().filter(|(name, _)| !self.hosts[number].checks.contains_key(*name)).collect();
        let spread = probe::spread(missing.len());
        for (name, definition) in missing {
            let health = Health::new(definition, spread, self.rng.number(), self.now);
            let host = &mut self.hosts[number];
            host.runs += 1;
            let (run, definition) = (host.runs, Arc::clone(definition));
            let running = Running { definition, health, run, armed: None, seen: Seen::default() };
            host.checks.insert(name.clone(), running);
            self.arm_check(number, name);
        }
        self.dirty[number] = true;
    }

    /// The timer of a check has gone off.
    pub fn tick_check(&mut self, number: usize, check: CheckName, at: Instant) {
        let now = self.now;
        let Some(running) = self.hosts[number].checks.get_mut(&check).filter(|check| check.armed == Some(at))
        else {
            return;
        };
        running.armed = None;
        if running.health.deadline().is_some_and(|deadline| deadline <= now) {
            self.drive(number, &check, None);
        } else {
            self.arm_check(number, &check);
        }
    }

    /// The kernel says that a socket has come or gone.
    pub fn hint(&mut self, number: usize, service: &str) {
        let check = CheckName::from(service);
        let told =
            self.hosts[number].checks.get(&check).is_some_and(|check| probe::is_told(&check.definition));
        let now = self.now;
        if told && let Some(running) = self.hosts[number].checks.get_mut(&check) {
            self.steps += 1;
            let outputs = running.health.handle(HealthInput::Hint, now);
            self.check_does(number, &check, outputs, None);
        }
    }

    /// A probe has ended.
    pub fn probed(&mut self, number: usize, epoch: u64, check: &CheckName, run: u64, outcome: Outcome) {
        let host = &mut self.hosts[number];
        let is_this = host.epoch == epoch && host.checks.get(check).is_some_and(|check| check.run == run);
        if is_this {
            self.drive(number, check, Some(outcome));
        }
    }

    fn drive(&mut self, number: usize, check: &CheckName, outcome: Option<Outcome>) {
        let now = self.now;
        let host = &mut self.hosts[number];
        let Some(running) = host.checks.get_mut(check) else { return };
        self.steps += 1;
        let input = outcome.as_ref().map_or(HealthInput::Tick, HealthInput::Finished);
        let outputs = running.health.handle(input, now);
        if let Some(outcome) = &outcome {
            let before = running.seen.verdict;
            running.seen.note(outcome.passed, &running.definition);
            let after = running.seen.verdict;
            if before != after {
                self.dirty[number] = true;
                let name = &host.name;
                let word = if after == Some(true) { "up" } else { "down" };
                self.trace.tell(now, || format!("{name}: check {check} is {word}"));
            }
        }
        self.check_does(number, check, outputs, outcome);
    }

    fn check_does(
        &mut self,
        number: usize,
        check: &CheckName,
        outputs: Vec<Output>,
        outcome: Option<Outcome>,
    ) {
        let now = self.now;
        for output in outputs {
            let host = &self.hosts[number];
            let Some(running) = host.checks.get(check) else { return };
            match output {
                Output::Probe => {
                    let behaviour = host.services.get(check.as_str()).copied();
                    let behaviour = behaviour.unwrap_or(crate::action::Behaviour::Alive);
                    let outcome = probe::outcome(&running.definition, behaviour, now);
                    let (epoch, run, check) = (host.epoch, running.run, check.clone());
                    let at = now + outcome.took;
                    self.agenda.add(at, Due::Probed { node: number, epoch, check, run, outcome });
                }
                Output::Report(judged) => {
                    let Some(outcome) = outcome.clone() else { continue };
                    let report = probe::report(check, &running.definition, judged, outcome, now);
                    let after = self.rng.between(Duration::ZERO, Duration::from_micros(200));
                    self.tell(number, Port::Checks, after, Input::Fact(Event::Check(report)));
                }
            }
        }
        self.arm_check(number, check);
    }

    pub(crate) fn arm_check(&mut self, number: usize, check: &CheckName) {
        let now = self.now;
        let Some(running) = self.hosts[number].checks.get_mut(check) else { return };
        let Some(deadline) = running.health.deadline() else { return };
        if running.armed.is_none_or(|armed| armed > deadline) {
            let at = deadline.max(now);
            running.armed = Some(at);
            self.agenda.add(at, Due::Timer(Machine::Check(number, check.clone())));
        }
    }

    /// Something is to be written; a disk that does not answer is written to when it does.
    pub fn write(&mut self, number: usize) {
        let disk = &mut self.hosts[number].disk;
        if disk.writing || disk.hangs || disk.unread || disk.wish.is_none() {
            return;
        }
        disk.writing = true;
        self.write_in(number, Duration::from_millis(1), Duration::from_millis(20));
    }

    fn write_in(&mut self, number: usize, least: Duration, most: Duration) {
        let at = self.now + self.rng.between(least, most);
        let epoch = self.hosts[number].epoch;
        self.agenda.add(at, Due::Written { node: number, epoch });
    }

    /// A write has come to an end.
    pub fn written(&mut self, number: usize, epoch: u64) {
        let host = &mut self.hosts[number];
        if host.epoch != epoch {
            return;
        }
        host.disk.writing = false;
        if host.disk.hangs {
            return;
        }
        let result = if host.disk.full {
            host.disk.writing = true;
            self.write_in(number, RETRY, RETRY);
            Err(Unsaved::Failed("no space left on device".to_owned()))
        } else {
            host.disk.grant();
            Ok(())
        };
        for ticket in std::mem::take(&mut self.hosts[number].disk.waiting) {
            self.tell(number, Port::Disk, Duration::ZERO, Input::Saved(ticket, result.clone()));
        }
    }

    /// A command waits for a write.
    pub fn tell_when_saved(&mut self, number: usize, ticket: Ticket, patience: Duration) {
        let disk = &mut self.hosts[number].disk;
        if disk.wish.is_none() {
            self.tell(number, Port::Disk, Duration::ZERO, Input::Saved(ticket, Ok(())));
        } else if disk.hangs || disk.unread {
            self.tell(number, Port::Disk, patience, Input::Saved(ticket, Err(Unsaved::NotYet)));
        } else {
            disk.waiting.push(ticket);
        }
    }

    /// A disk that did not answer does so again.
    pub fn disk_answers(&mut self, number: usize) {
        let now = self.clocks(number);
        let host = &mut self.hosts[number];
        if !std::mem::replace(&mut host.disk.hangs, false) || host.node.is_none() {
            return;
        }
        if host.disk.unread {
            let left = host.disk.left(host.boot, now, false);
            self.tell(number, Port::Disk, Duration::from_millis(5), Input::Late(Box::new(left)));
        } else {
            self.write(number);
        }
    }
}
