//! Holds up a shutdown of the machine until the node has withdrawn its VIPs: a delay inhibitor of logind (systemd-inhibit(1)).
//!
//! ```text
//!  main thread                    │  thread "logind"                          logind, over the system bus
//!  Logind::set(wanted) ── Wish ───┼─► Inhibit("shutdown", …, "delay") ──────► a descriptor, held
//!  node ◄── Input::Cordon(…) ─────┼── PrepareForShutdown(true) ◄───────────── reboot, poweroff, halt, kexec, soft-reboot
//!  Logind::let_go() ──── Wish ────┼─► the descriptor is closed ─────────────► systemd stops the services
//!  node ◄── Input::Cordon(None) ──┼── PrepareForShutdown(false) ◄──────────── cancelled; Inhibit again
//! ```
//!
//! logind waits at most `InhibitDelayMaxSec` (5 s by default), whatever we hold.
//!
//! **Nothing depends on it.** No bus, no logind, a bus that hangs or restarts, a refusal: told once, tried again, and a reboot is
//! what it is without. An inhibitor is held until another one is there, so a bus or a logind that restarts makes no gap. The loop
//! never waits for this thread, which is never joined.
//!
//! **Cancel safety.** The thread awaits the connection's next message and a watch, both cancel-safe.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::thread;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use vipcast_bgp::net::words::io_error;
use vipcast_node::engine::{Cordon, Order};
use vipcast_node::input::Input;
use vipcast_node::model;

use crate::dbus::BusConnection;
use crate::dbus::wire::{BusMessage, MethodCall};
use crate::log::trouble;

pub(crate) mod asked;

/// Where the bus of the system listens.
pub(crate) const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";
const LOGIND: &str = "org.freedesktop.login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";
const OBJECT: &str = "/org/freedesktop/login1";
const INHIBITS: MethodCall<'_> =
    MethodCall { destination: Some(LOGIND), path: OBJECT, interface: MANAGER, member: "Inhibit" };
const GETS: MethodCall<'_> =
    MethodCall { interface: "org.freedesktop.DBus.Properties", member: "Get", ..INHIBITS };
/// The longest delay.
const DELAY: [&str; 2] = [MANAGER, "InhibitDelayMaxUSec"];
/// `Inhibit`: what, by which program, why, and how.
const INHIBIT: [&str; 4] = ["shutdown", "vipcast", "withdrawing service addresses", "delay"];
/// Until the bus lets us in.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two attempts: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(60)];
/// The time for the routers to acknowledge, besides the configured times.
pub(crate) const MARGIN: Duration = Duration::from_secs(1);
/// The thread does little.
const STACK: usize = 256 << 10;

/// The port. Dropping it ends the thread, and lets go.
#[derive(Debug)]
pub(crate) struct Logind {
    wishes: watch::Sender<Wish>,
}

/// The node's wishes.
#[derive(Debug, Clone, Copy, Default)]
struct Wish {
    wanted: bool,
    /// The longest time from the signal to the release, without routers that do not answer.
    takes: Duration,
    /// The number of releases so far.
    releases: u64,
}

impl Logind {
    /// Nothing is held before [`Self::set`]. Reports go to `tell`.
    pub(crate) fn start(tell: mpsc::UnboundedSender<Input>) -> Self {
        Self::start_at(SYSTEM_BUS.into(), tell)
    }

    fn start_at(bus: PathBuf, tell: mpsc::UnboundedSender<Input>) -> Self {
        let (wishes, wished) = watch::channel(Wish::default());
        let thread = thread::Builder::new().name("logind".to_owned()).stack_size(STACK);
        let started = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            match runtime {
                Ok(runtime) => runtime.block_on(follow(&bus, wished, tell)),
                Err(error) => trouble!(%error, "cannot hold up a shutdown of the machine"),
            }
        });
        if let Err(error) = started {
            trouble!(%error, "cannot hold up a shutdown of the machine");
        }
        Self { wishes }
    }

    /// Whether a shutdown is held up from now on.
    pub(crate) fn set(&self, shutdown: &model::Shutdown) {
        let takes = takes(shutdown);
        self.wishes.send_if_modified(|wish| {
            let before = (wish.wanted, wish.takes);
            (wish.wanted, wish.takes) = (shutdown.inhibit, takes);
            before != (wish.wanted, wish.takes)
        });
    }

    /// Lets the machine go down.
    pub(crate) fn let_go(&self) {
        self.wishes.send_modify(|wish| wish.releases += 1);
    }
}

/// The longest time from the signal to the release, without routers that do not answer.
pub(crate) fn takes(shutdown: &model::Shutdown) -> Duration {
    shutdown.drain_time + shutdown.unbind_delay + MARGIN
}

/// The `InhibitDelayMaxSec` that is long enough for it.
pub(crate) fn delay_for(takes: Duration) -> u64 {
    takes.as_secs() + 1
}

/// The thread.
async fn follow(bus: &Path, wished: watch::Receiver<Wish>, tell: mpsc::UnboundedSender<Input>) {
    let mut held = Held { wished, releases: 0, inhibitor: None };
    let (mut pause, mut failed) = (PAUSES[0], None);
    loop {
        // Closed when the daemon ends.
        if held.wished.wait_for(|wish| wish.wanted).await.is_err() {
            return;
        }
        held.obey();
        let mut is_held = false;
        let Some(connected) = held.meanwhile(connect(bus)).await else { return };
        let ended = match connected {
            Ok(connection) => hold(connection, &mut held, &tell, &mut is_held).await,
            Err(error) => Err(error),
        };
        if is_held {
            (pause, failed) = (PAUSES[0], None);
        }
        let Err(error) = ended else {
            // Closed: the daemon ends, and the last wish is still there.
            if held.wished.has_changed().is_err() {
                return;
            }
            continue;
        };
        let is_absent = error.kind() == io::ErrorKind::NotFound;
        let error = io_error(&error);
        if is_absent {
            tracing::debug!(error, bus = %bus.display(), "no system bus: a reboot is not held up");
        } else if failed.as_ref() != Some(&error) {
            trouble!(error, bus = %bus.display(), "cannot hold up a shutdown of the machine: trying again");
        }
        failed = Some(error);
        if held.meanwhile(tokio::time::sleep(pause)).await.is_none() {
            return;
        }
        pause = (2 * pause).min(PAUSES[1]);
    }
}

/// The inhibitor, and the wishes that it follows, also while there is no bus.
struct Held {
    wished: watch::Receiver<Wish>,
    /// The number of releases that were followed.
    releases: u64,
    /// Kept until another one is there: a bus that restarts makes no gap.
    inhibitor: Option<OwnedFd>,
}

impl Held {
    /// Lets go if that is wished. Returns the wish.
    fn obey(&mut self) -> Wish {
        let wish = *self.wished.borrow_and_update();
        if wish.releases != self.releases || !wish.wanted {
            self.releases = wish.releases;
            self.inhibitor = None;
        }
        wish
    }

    /// Waits for something, and follows the wishes. `None`: the daemon ends.
    async fn meanwhile<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return Some(done),
                changed = self.wished.changed() => {
                    changed.ok()?;
                    self.obey();
                }
            }
        }
    }
}

/// A connection that hears of logind.
async fn connect(bus: &Path) -> io::Result<BusConnection> {
    let connect = tokio::time::timeout(PATIENCE, UnixStream::connect(bus)).await;
    let stream = connect.unwrap_or_else(|_late| Err(io::ErrorKind::TimedOut.into()))?;
    let mut connection = BusConnection::with_descriptors(stream).await?;
    let signal = format!("type='signal',sender='{LOGIND}',interface='{MANAGER}',member='PrepareForShutdown'");
    connection.hear(&signal).await?;
    let owner =
        format!("type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{LOGIND}'");
    connection.hear(&owner).await?;
    Ok(connection)
}

/// A connection to logind.
struct Session<'a> {
    connection: BusConnection,
    tell: &'a mpsc::UnboundedSender<Input>,
    held: &'a mut Held,
    /// The serial number of the running call of `Inhibit`.
    inhibit: Option<u32>,
    /// That of the question for the longest delay.
    delay: Option<u32>,
    longest: Option<Duration>,
}

/// Holds a shutdown up until that is no longer wanted (`Ok`).
async fn hold(
    connection: BusConnection,
    held: &mut Held,
    tell: &mpsc::UnboundedSender<Input>,
    is_held: &mut bool,
) -> io::Result<()> {
    let mut session = Session { connection, tell, held, inhibit: None, delay: None, longest: None };
    // Asking it must not start it: where there is none, it is waited for.
    if session.connection.has_owner(LOGIND).await? {
        session.begin().await?;
    } else {
        tracing::debug!("no logind on the system bus: a reboot is not held up");
    }
    loop {
        tokio::select! {
            message = session.connection.next() => {
                *is_held |= session.take(message?).await?;
                session.compare();
            }
            changed = session.held.wished.changed() => {
                let wish = session.held.obey();
                if changed.is_err() || !wish.wanted {
                    return Ok(());
                }
            }
        }
    }
}

impl Session<'_> {
    /// Asks for the inhibitor, and for the longest delay.
    async fn begin(&mut self) -> io::Result<()> {
        self.inhibit = Some(self.connection.call(&INHIBITS, &INHIBIT).await?);
        self.delay = Some(self.connection.call(&GETS, &DELAY).await?);
        Ok(())
    }

    /// Returns whether it is a new inhibitor.
    async fn take(&mut self, message: BusMessage) -> io::Result<bool> {
        match message {
            BusMessage::Return { serial, .. } if self.inhibit == Some(serial) => {
                self.inhibit = None;
                let held = self.connection.take_descriptor();
                // An earlier one is closed only now: there is no gap.
                self.held.inhibitor =
                    Some(held.ok_or_else(|| io::Error::other("logind sent no descriptor"))?);
                tracing::debug!("a shutdown of the machine is held up");
                // logind gives none while it shuts down.
                self.report(false);
                return Ok(true);
            }
            BusMessage::Error { serial, name } if self.inhibit == Some(serial) => {
                self.inhibit = None;
                match name.rsplit('.').next() {
                    // We come too late, and nothing waits for us: what can be withdrawn is withdrawn.
                    Some("OperationInProgress") => self.report(true),
                    _ => return Err(io::Error::other(format!("logind refuses: {name}"))),
                }
            }
            BusMessage::Return { serial, body } if self.delay == Some(serial) => {
                self.longest = body.number().map(Duration::from_micros);
            }
            BusMessage::Signal { member, body, .. } if member == "PrepareForShutdown" => {
                match body.boolean() {
                    Some(true) => self.report(true),
                    Some(false) => {
                        self.report(false);
                        self.begin().await?;
                    }
                    None => {}
                }
            }
            // logind is back. While it is away its own files keep the inhibitor.
            BusMessage::Signal { member, body, .. } if member == "NameOwnerChanged" => {
                if body.texts().is_some_and(|[_, _, new]: [String; 3]| !new.is_empty()) {
                    self.begin().await?;
                }
            }
            BusMessage::Return { .. }
            | BusMessage::Error { .. }
            | BusMessage::Signal { .. }
            | BusMessage::Other => {}
        }
        Ok(false)
    }

    /// Warns once if logind waits for less time than a drain takes.
    fn compare(&mut self) {
        let takes = self.held.wished.borrow().takes;
        if let Some(longest) = self.longest.take()
            && longest < takes
        {
            let hint = format!("set InhibitDelayMaxSec={} in /etc/systemd/logind.conf.d/", delay_for(takes));
            trouble!(
                ?longest,
                ?takes,
                hint,
                "logind delays a shutdown for less time than the withdrawal takes"
            );
        }
    }

    /// Tells the node whether the machine goes down. An error occurs only while the daemon ends.
    fn report(&self, goes_down: bool) {
        let order = Order { by: "logind".to_owned(), reason: Some("the machine goes down".to_owned()) };
        drop(self.tell.send(Input::Cordon(Cordon::Machine, goes_down.then_some(order))));
    }
}

#[cfg(test)]
mod tests;
