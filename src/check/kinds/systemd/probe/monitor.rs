//! One connection to systemd for all its checks.
//!
//! ```text
//!   checks ── Question ──► run ── Get, Get, Get … ──► systemd
//!   checks ◄── bell ────── run ◄── PropertiesChanged, UnitNew, Reloading ──┘
//! ```
//!
//! **Task.** `run`, owned by [`Systemd`] and ended with it.
//!
//! **When the connection ends** (systemd executes itself anew, the bus restarts) all checks are triggered, and waiting
//! questions are asked again on the next connection. It is made when a check asks, at most every [`PAUSES`]; a question
//! without an answer ends with its check's time-out, whose result has the error of the connection.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::{RELOADING, UnitState, path_of};
use crate::check::file_reader::{self, FileAccess, FileReader, LastRead};
use crate::check::limit::Limit;
use crate::check::subscriptions::{Monitor, Subscriptions, Topic};
use crate::check::words;
use crate::dbus::wire::{Arguments, BusMessage, MethodCall};
use crate::dbus::{BusConnection, PATIENCE};

/// Questions that wait to be taken; who comes later waits to ask.
const WAITING: usize = 1024;
/// Between two attempts to connect: the first, and the longest.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(1)];
/// The socket of systemd or of the bus.
const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
/// What we ask for: the interface that has the property, and its name.
const ASKED: [(&str, &str); 5] = [
    ("org.freedesktop.systemd1.Unit", "LoadState"),
    ("org.freedesktop.systemd1.Unit", "ActiveState"),
    ("org.freedesktop.systemd1.Unit", "SubState"),
    ("org.freedesktop.systemd1.Service", "Result"),
    ("org.freedesktop.systemd1.Unit", "Id"),
];

/// systemd, as it is reached by one socket. Dropping it ends its task.
#[derive(Debug)]
pub(super) struct Systemd {
    questions: mpsc::Sender<UnitQuery>,
    known: Arc<Mutex<KnownUnit>>,
    _task: JoinSet<()>,
}

impl Monitor for Systemd {}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Silence {
    /// systemd reads its units anew, and this one was active before.
    Reloading,
    Unreachable(String),
    /// It was asked and says nothing.
    Silent,
}

#[derive(Debug)]
struct UnitQuery {
    unit: String,
    answer: oneshot::Sender<Result<UnitState, String>>,
}

/// What a check is told that got no answer.
#[derive(Debug, Default)]
struct KnownUnit {
    /// Why the last attempt to connect failed, until one succeeds.
    unreachable: Option<String>,
    /// Since when systemd is reading its units anew.
    reloading: Option<Instant>,
    /// Units that were active when systemd was last asked.
    active: BTreeSet<String>,
}

impl Systemd {
    /// Connects when a check asks. On the thread of the checks.
    pub(super) fn start(
        bus: &Path,
        subscriptions: &Arc<Subscriptions>,
        file_reader: &FileReader,
        last_read: &Arc<LastRead>,
    ) -> Self {
        let (questions, asked) = mpsc::channel(WAITING);
        let known = Arc::default();
        let mut task = JoinSet::new();
        let state = State {
            bus: bus.to_owned(),
            subscriptions: Arc::clone(subscriptions),
            file_reader: file_reader.clone(),
            last_read: Arc::clone(last_read),
            known: Arc::clone(&known),
            waiting: vec![],
        };
        task.spawn(run(state, asked));
        Self { questions, known, _task: task }
    }

    /// What systemd says of a unit from now on. Waits for as long as it takes.
    pub(super) async fn ask(&self, unit: &str) -> Result<UnitState, String> {
        let (answer, answered) = oneshot::channel();
        let question = UnitQuery { unit: unit.to_owned(), answer };
        // Both end only by a panic of the task.
        self.questions.send(question).await.map_err(|_| String::from("nobody asks systemd any more"))?;
        let state = answered.await.unwrap_or_else(|_| Err("systemd was not asked to the end".into()))?;
        let mut known = lock(&self.known);
        if matches!(state.active.as_str(), "active" | "reloading") {
            known.active.insert(unit.to_owned());
        } else {
            known.active.remove(unit);
        }
        Ok(state)
    }

    /// Why there was no answer in time.
    pub(super) fn silence(&self, unit: &str) -> Silence {
        let known = lock(&self.known);
        let is_reloading = known.reloading.is_some_and(|since| since.elapsed() < RELOADING);
        match &known.unreachable {
            _ if is_reloading && known.active.contains(unit) => Silence::Reloading,
            Some(cause) => Silence::Unreachable(cause.clone()),
            None => Silence::Silent,
        }
    }
}

/// Nothing that holds the lock can panic half-way.
fn lock(known: &Mutex<KnownUnit>) -> MutexGuard<'_, KnownUnit> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What outlives a connection.
struct State {
    bus: PathBuf,
    subscriptions: Arc<Subscriptions>,
    file_reader: FileReader,
    last_read: Arc<LastRead>,
    known: Arc<Mutex<KnownUnit>>,
    /// Questions without an answer.
    waiting: Vec<UnitQuery>,
}

async fn run(mut state: State, mut asked: mpsc::Receiver<UnitQuery>) {
    let mut pause = PAUSES[0];
    loop {
        state.waiting.retain(|question| !question.answer.is_closed());
        if state.waiting.is_empty() {
            match asked.recv().await {
                Some(question) => state.waiting.push(question),
                None => return,
            }
        }
        let ended = match Session::open(&mut state).await {
            Ok(mut session) => {
                pause = PAUSES[0];
                session.serve(&mut asked).await
            }
            Err(error) => {
                let cause = if error.kind() == io::ErrorKind::NotFound {
                    String::from("there is no such socket; is systemd running?")
                } else {
                    words::io_error(&error)
                };
                lock(&state.known).unreachable = Some(cause);
                tokio::time::sleep(pause).await;
                pause = (2 * pause).min(PAUSES[1]);
                continue;
            }
        };
        let Some(error) = ended else { return };
        tracing::debug!(bus = %state.bus.display(), %error, "the connection to systemd has ended");
        // Events meanwhile are not reported.
        state.subscriptions.notify_all(|topic| matches!(topic, Topic::Unit(bus, _) if *bus == state.bus));
        tokio::time::sleep(pause).await;
    }
}

/// Connects as the user that we are.
///
/// # Errors
/// Nobody listens there, we are not let in, or it takes too long.
async fn connect(bus: &Path, reader: FileAccess<'_>) -> io::Result<BusConnection> {
    let socket = bus.to_owned();
    let connected =
        reader.at(bus, Limit::starting_now(PATIENCE), move || file_reader::connect(&socket)).await;
    BusConnection::over(UnixStream::from_std(connected.map_err(io::Error::other)??)?).await
}

/// What is known of one connection.
struct Session<'a> {
    state: &'a mut State,
    connection: BusConnection,
    /// Calls that have no answer yet: which question, and which of the properties.
    calls: BTreeMap<u32, (u64, usize)>,
    /// Questions that are under way, and what was answered so far.
    asked: BTreeMap<u64, (UnitQuery, UnitState)>,
    next_question: u64,
    /// The watched units by their objects: a unit may have several names.
    objects: BTreeMap<String, BTreeSet<String>>,
}

impl<'a> Session<'a> {
    async fn open(state: &'a mut State) -> io::Result<Self> {
        let owner = state.bus.to_string_lossy();
        let reader = FileAccess { file_reader: &state.file_reader, last: &state.last_read, owner: &owner };
        let mut connection = connect(&state.bus, reader).await?;
        let manager = |member| MethodCall {
            destination: Some(SYSTEMD),
            path: "/org/freedesktop/systemd1",
            interface: MANAGER,
            member,
        };
        // Without it systemd tells a bus nothing.
        connection.call(&manager("Subscribe"), &[]).await?;
        connection
            .hear(&format!("type='signal',sender='{SYSTEMD}',interface='{MANAGER}',member='Reloading'"))
            .await?;
        let owner =
            format!("type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged',arg0='{SYSTEMD}'");
        connection.hear(&owner).await?;
        let mut known = lock(&state.known);
        // A systemd that accepts connections has read its units.
        (known.unreachable, known.reloading) = (None, None);
        drop(known);
        let (calls, asked, objects) = Default::default();
        Ok(Self { state, connection, calls, asked, next_question: 0, objects })
    }

    /// Runs until the connection breaks, or (`None`) until no check can ask any more.
    async fn serve(&mut self, asked: &mut mpsc::Receiver<UnitQuery>) -> Option<io::Error> {
        let error = loop {
            let step = match self.state.waiting.pop() {
                Some(question) => self.begin(question).await,
                None => tokio::select! {
                    question = asked.recv() => {
                        self.state.waiting.push(question?);
                        Ok(())
                    }
                    message = self.connection.next() => match message {
                        Ok(message) => self.take(message).await,
                        Err(error) => Err(error),
                    },
                },
            };
            if let Err(error) = step {
                break error;
            }
        };
        self.state
            .waiting
            .extend(std::mem::take(&mut self.asked).into_values().map(|(question, _)| question));
        Some(error)
    }

    async fn begin(&mut self, question: UnitQuery) -> io::Result<()> {
        // Those whose time is over are not waited for.
        self.asked.retain(|_, (question, _)| !question.answer.is_closed());
        let asked = &self.asked;
        self.calls.retain(|_, (question, _)| asked.contains_key(question));
        let path = path_of(&question.unit);
        self.follow(&path, &question.unit).await?;
        for (index, (interface, property)) in ASKED.into_iter().enumerate() {
            let get =
                MethodCall { destination: Some(SYSTEMD), path: &path, interface: PROPERTIES, member: "Get" };
            let serial = self.connection.call(&get, &[interface, property]).await?;
            self.calls.insert(serial, (self.next_question, index));
        }
        self.asked.insert(self.next_question, (question, UnitState::default()));
        self.next_question += 1;
        Ok(())
    }

    /// Hears of the object, for the unit.
    async fn follow(&mut self, path: &str, unit: &str) -> io::Result<()> {
        if self.objects.get(path).is_some_and(|units| units.contains(unit)) {
            return Ok(());
        }
        self.objects.entry(path.to_owned()).or_default().insert(unit.to_owned());
        let rules = [
            format!("interface='{PROPERTIES}',member='PropertiesChanged',path='{path}'"),
            // The first that is heard of a unit which was not loaded.
            format!("interface='{MANAGER}',member='UnitNew',arg0='{unit}'"),
        ];
        for rule in rules {
            self.connection.hear(&format!("type='signal',sender='{SYSTEMD}',{rule}")).await?;
        }
        Ok(())
    }

    async fn take(&mut self, message: BusMessage) -> io::Result<()> {
        match message {
            BusMessage::Return { serial, body } => {
                if let Some((question, index)) = self.calls.remove(&serial) {
                    self.answered(question, index, body.text().unwrap_or_default()).await?;
                }
            }
            BusMessage::Error { serial, name } => match self.calls.remove(&serial) {
                // Units that are no services have no result, and objects that cannot be are no units.
                Some((question, index)) if is_unknown(&name) => {
                    let value = if ASKED[index].1 == "LoadState" { "not-found" } else { "" };
                    self.answered(question, index, value.into()).await?;
                }
                Some((question, _)) => {
                    self.calls.retain(|_, (other, _)| *other != question);
                    if let Some((question, _)) = self.asked.remove(&question) {
                        let cause = match name.rsplit('.').next() {
                            Some("ServiceUnknown" | "NameHasNoOwner") => "systemd is not on this bus".into(),
                            Some("AccessDenied") => "systemd may not be asked: access denied".into(),
                            _ => format!("systemd says {}", words::one_line(&name)),
                        };
                        // Nobody is left to tell when its time is over.
                        drop(question.answer.send(Err(cause)));
                    }
                }
                None => {}
            },
            BusMessage::Signal { path, member, body, .. } => self.heard(&path, &member, &body),
            BusMessage::Other => {}
        }
        Ok(())
    }

    async fn answered(&mut self, number: u64, index: usize, value: String) -> io::Result<()> {
        let Some((question, state)) = self.asked.get_mut(&number) else { return Ok(()) };
        match ASKED[index].1 {
            "LoadState" => state.load = value,
            "ActiveState" => state.active = value,
            "SubState" => state.sub = value,
            "Result" => state.result = value,
            // The last one; the calls are answered in their order.
            _id => {
                let unit = question.unit.clone();
                if !value.is_empty() && value != unit {
                    self.follow(&path_of(&value), &unit).await?;
                }
                if let Some((question, state)) = self.asked.remove(&number) {
                    // Nobody is left to tell when its time is over.
                    drop(question.answer.send(Ok(state)));
                }
            }
        }
        Ok(())
    }

    fn heard(&self, path: &str, member: &str, body: &Arguments) {
        let ring = |unit: &String| {
            self.state.subscriptions.notify(&Topic::Unit(self.state.bus.clone(), unit.clone()))
        };
        match member {
            "PropertiesChanged" => self.objects.get(path).into_iter().flatten().for_each(ring),
            "UnitNew" => {
                let unit = body.text().unwrap_or_default();
                self.objects.get(&path_of(&unit)).into_iter().flatten().for_each(ring);
            }
            "Reloading" => {
                let is_reloading = body.boolean() == Some(true);
                lock(&self.state.known).reloading = is_reloading.then(Instant::now);
                if !is_reloading {
                    self.objects.values().flatten().for_each(ring);
                }
            }
            "NameOwnerChanged" => self.objects.values().flatten().for_each(ring),
            _ => {}
        }
    }
}

/// Whether what was asked for is not there, and the answer is no failure.
fn is_unknown(error: &str) -> bool {
    const UNKNOWN: [&str; 5] =
        ["UnknownObject", "UnknownInterface", "UnknownProperty", "UnknownMethod", "NoSuchUnit"];
    error.rsplit('.').next().is_some_and(|last| UNKNOWN.contains(&last))
}
