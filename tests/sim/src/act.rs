//! The effect of each action on the world.

use std::time::Duration;

use vipcast_node::commands::{Command, Services};
use vipcast_node::input::Input;

use crate::action::{Action, Node, Silent, Tor};
use crate::host::Port;
use crate::kernel::{Kernel, LO, VIP0};
use crate::world::{Due, World};

impl World {
    /// Something happens from outside. What makes no sense as things are does nothing.
    pub fn act(&mut self, action: Action) {
        self.trace.tell(self.now, || format!("* {action}"));
        let now = self.now;
        match action {
            Action::Behave(Node(node), service, behaviour) => {
                if let Some(was) = self.hosts[node].services.get_mut(&service) {
                    *was = behaviour;
                    self.hint(node, &service);
                }
            }
            Action::Flush(Node(node), ip) => {
                let news = self.hosts[node].kernel.flush(ip.into(), now);
                self.kernel_says(node, news);
            }
            Action::Adopt(Node(node), ip) => {
                let news = self.hosts[node].kernel.adopt(ip);
                self.kernel_says(node, news.into_iter().collect());
            }
            Action::Link(Node(node), up) => {
                let news = self.hosts[node].kernel.set_link(VIP0, up, now);
                self.kernel_says(node, news.into_iter().collect());
            }
            Action::KernelRefuses(Node(node), refuses) => {
                self.hosts[node].kernel.refuses = refuses;
                self.hosts[node].truth.kernel_fails(now);
            }
            Action::KernelMumbles(Node(node), mumbles) => {
                self.hosts[node].kernel.mumbles = mumbles;
                self.hosts[node].truth.kernel_fails(now);
            }
            Action::Cut(Node(node), Tor(router), cut) => self.set_cut(self.pair_index(node, router), cut),
            Action::Silence(Node(node), Tor(router), whose) => {
                let pair = self.pair_index(node, router);
                let to_router = whose == Silent::Node;
                self.silence(pair, [!to_router, to_router]);
            }
            Action::Reset(Node(node), Tor(router)) => self.break_wires(self.pair_index(node, router), false),
            Action::HalfOpen(Node(node), Tor(router)) => {
                self.break_wires(self.pair_index(node, router), true)
            }
            Action::Refuse(Tor(router), refuses) => {
                self.routers[router].refuses = refuses;
                for node in 0..self.hosts.len() {
                    self.disturb(self.pair_index(node, router));
                }
            }
            Action::RestartRouter(Tor(router)) => self.restart_router(router),
            Action::Crash(Node(node), after) => {
                if self.hosts[node].node.is_some() {
                    self.end_process(node, true);
                    self.start_later(node, after);
                }
            }
            Action::PowerLoss(Node(node), after) => self.lose_power(node, after),
            Action::Terminate(Node(node)) => {
                let stops = self.hosts[node].truth.stopping.is_some();
                if self.hosts[node].node.is_some() && !stops {
                    self.tell(node, Port::Operator, Duration::ZERO, Input::Stop);
                }
            }
            Action::Hurry(Node(node)) => {
                if self.hosts[node].truth.stopping.is_some() {
                    self.tell(node, Port::Operator, Duration::ZERO, Input::Stop);
                }
            }
            Action::Restart(Node(node)) => self.command(node, Command::Restart),
            Action::Upgrade(Node(node)) => self.command(node, Command::Upgrade { dry: false }),
            Action::Reload(Node(node), shape) => {
                self.hosts[node].file = Some(shape);
                self.tell(node, Port::Operator, Duration::ZERO, Input::HangUp);
            }
            Action::ReloadBroken(Node(node)) => {
                self.hosts[node].file = None;
                self.tell(node, Port::Operator, Duration::ZERO, Input::HangUp);
            }
            Action::Drain(Node(node), service, lasts) => {
                let services = services(service);
                self.command(node, Command::Drain { services, reason: None, lasts, replace: false });
            }
            Action::Undrain(Node(node), service) => {
                self.command(node, Command::Undrain { services: services(service), reason: None });
            }
            Action::Force(Node(node), service, to, lasts) => {
                let services = services(service);
                self.command(node, Command::Force { to, services, reason: None, lasts });
            }
            Action::Clear(Node(node), service) => {
                self.command(node, Command::Clear { services: services(service), reason: None });
            }
            Action::Wall(Node(node), seconds) => {
                self.hosts[node].wall_offset += seconds;
                self.hosts[node].truth.wall_was_set = true;
            }
            Action::DiskFull(Node(node), full) => self.hosts[node].disk.full = full,
            Action::DiskHangs(Node(node), true) => self.hosts[node].disk.hangs = true,
            Action::DiskHangs(Node(node), false) => self.disk_answers(node),
        }
    }

    fn lose_power(&mut self, node: usize, after: Duration) {
        if !self.hosts[node].on {
            return;
        }
        self.end_process(node, false);
        let host = &mut self.hosts[node];
        host.on = false;
        host.kernel = Kernel { links: host.kernel.links.clone(), ..Kernel::default() };
        if let Some(link) = host.kernel.links.get_mut(&LO) {
            link.up = true;
        }
        self.dirty[node] = true;
        for router in 0..self.routers.len() {
            let pair = self.pair_index(node, router);
            self.break_wires(pair, true);
        }
        self.agenda.add(self.now + after, Due::Boot { node });
    }

    /// A host boots.
    pub fn boot(&mut self, node: usize) {
        self.hosts[node].on = true;
        self.hosts[node].boot += 1;
        for router in 0..self.routers.len() {
            let pair = self.pair_index(node, router);
            self.disturb(pair);
        }
        self.start_later(node, Duration::from_millis(200));
    }

    /// Faults stop: what is broken is mended, and what has ended is started.
    pub fn calm(&mut self) {
        self.trace.tell(self.now, || "* calm".to_owned());
        for node in 0..self.hosts.len() {
            for service in self.hosts[node].services.keys().cloned().collect::<Vec<_>>() {
                if let Some(behaviour @ crate::action::Behaviour::Flaps(_)) =
                    self.hosts[node].services.get_mut(&service)
                {
                    *behaviour = crate::action::Behaviour::Alive;
                    self.hint(node, &service);
                }
            }
            let kernel = &self.hosts[node].kernel;
            let disk = &self.hosts[node].disk;
            let mut mends = Vec::new();
            mends.extend(kernel.refuses.then_some(Action::KernelRefuses(Node(node), false)));
            mends.extend(kernel.mumbles.then_some(Action::KernelMumbles(Node(node), false)));
            mends.extend(disk.full.then_some(Action::DiskFull(Node(node), false)));
            mends.extend(disk.hangs.then_some(Action::DiskHangs(Node(node), false)));
            let is_down = kernel.links.values().any(|link| !link.up);
            mends.extend(is_down.then_some(Action::Link(Node(node), true)));
            for router in 0..self.routers.len() {
                let is_cut = self.pairs[self.pair_index(node, router)].is_cut();
                mends.extend(is_cut.then_some(Action::Cut(Node(node), Tor(router), false)));
            }
            mends.into_iter().for_each(|mend| self.act(mend));
        }
        for router in 0..self.routers.len() {
            if self.routers[router].refuses {
                self.act(Action::Refuse(Tor(router), false));
            }
        }
    }
}

fn services(service: Option<String>) -> Services {
    service.map_or(Services::All, Services::Service)
}
