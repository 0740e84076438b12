//! The same against a real dbus-daemon, on which the fake has the name of logind.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::*;

const DBUS_DAEMON: &str = "/usr/bin/dbus-daemon";

/// Lets everybody do everything, but for the rules in its middle.
const BEFORE: &str = "<!DOCTYPE busconfig PUBLIC \"-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN\"
 \"http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd\">
<busconfig><listen>unix:path=SOCKET</listen><auth>EXTERNAL</auth><policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/>
<allow send_type=\"signal\"/><allow send_type=\"method_call\"/><allow send_requested_reply=\"true\"/><allow receive_type=\"signal\"/>
<allow receive_type=\"method_call\"/><allow receive_requested_reply=\"true\"/>";
const AFTER: &str = "</policy></busconfig>";
const REFUSED: &str =
    "<deny send_destination=\"org.freedesktop.login1\" send_interface=\"org.freedesktop.login1.Manager\"/>";

/// A bus of our own.
struct Bus {
    directory: PathBuf,
    daemon: Child,
}

impl Bus {
    /// A bus with these rules, or `None` where there is no dbus-daemon.
    fn start(name: &str, rules: &str) -> Option<Self> {
        if !Path::new(DBUS_DAEMON).exists() {
            eprintln!("SKIPPED: dbus-daemon is missing (Debian package dbus-daemon)");
            return None;
        }
        let directory = std::env::temp_dir().join(format!("vipcast-bus-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        write(&directory, rules);
        let daemon = run(&directory);
        Some(Self { directory, daemon })
    }

    fn socket(&self) -> PathBuf {
        self.directory.join("socket")
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.daemon), signal).unwrap();
    }

    /// It ends, and comes back.
    fn restart(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
        fs::remove_file(self.socket()).unwrap();
        self.daemon = run(&self.directory);
    }

    /// A logind on it.
    fn logind(&self) -> Client {
        let mut client = self.client();
        // Neither replaced by another nor in a queue.
        let request = [&texts(&[LOGIND])[..], &[0], &0_u32.to_le_bytes()].concat();
        client.ask("RequestName", "su", &request);
        client
    }

    fn client(&self) -> Client {
        let socket = Socket::connect(self.socket()).unwrap();
        socket.set_read_timeout(Some(PATIENT)).unwrap();
        let mut client = Client { socket, received: Vec::new() };
        let user: String =
            nix::unistd::geteuid().to_string().bytes().map(|digit| format!("{digit:02x}")).collect();
        let login = format!("\0AUTH EXTERNAL {user}\r\nNEGOTIATE_UNIX_FD\r\nBEGIN\r\n");
        client.socket.write_all(login.as_bytes()).unwrap();
        client.line();
        client.line();
        client.ask("Hello", "", &[]);
        client
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
        fs::remove_dir_all(&self.directory).unwrap();
    }
}

fn write(directory: &Path, rules: &str) {
    let socket = directory.join("socket");
    let text = [BEFORE, rules, AFTER].concat().replace("SOCKET", socket.to_str().unwrap());
    fs::write(directory.join("config"), text).unwrap();
}

/// Returns when it listens: then it prints its address.
fn run(directory: &Path) -> Child {
    let mut command = Command::new(DBUS_DAEMON);
    command.arg(format!("--config-file={}", directory.join("config").display()));
    command.args(["--nofork", "--nopidfile", "--nosyslog", "--print-address=1"]);
    let log = fs::File::create(directory.join("log")).unwrap();
    let mut daemon = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
    let mut address = String::new();
    BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut address).unwrap();
    let log = fs::read_to_string(directory.join("log")).unwrap();
    assert!(address.starts_with("unix:path="), "dbus-daemon does not listen: {log}");
    daemon
}

impl Client {
    /// Calls a method of the bus, and waits for its answer.
    fn ask(&mut self, member: &str, signature: &str, body: &[u8]) {
        let bus = Caller { serial: 0, name: Some("org.freedesktop.DBus".to_owned()) };
        self.send(&message(1, &bus, member, signature, body), None);
        loop {
            match self.message() {
                BusMessage::Return { .. } => return,
                BusMessage::Error { name, .. } => panic!("{member}: {name}"),
                BusMessage::Signal { .. } | BusMessage::Other => {}
            }
        }
    }

    fn message(&mut self) -> BusMessage {
        loop {
            if let Some((message, length)) = crate::dbus::wire::decode(&self.received).unwrap() {
                self.received.drain(..length);
                return message;
            }
            self.read();
        }
    }

    /// Waits until somebody leaves the bus.
    fn left(&mut self) {
        loop {
            if let BusMessage::Signal { member, body, .. } = self.message()
                && member == "NameOwnerChanged"
                && body.texts().is_some_and(|[_, _, new]: [String; 3]| new.is_empty())
            {
                return;
            }
        }
    }
}

fn begin_on(bus: &Bus) -> (Logind, mpsc::UnboundedReceiver<Input>) {
    let (tell, told) = mpsc::unbounded_channel();
    let logind = Logind::start_at(bus.socket(), tell);
    logind.set(&shutdown(true));
    (logind, told)
}

#[test]
fn over_a_real_bus_a_shutdown_is_held_up_until_the_node_lets_go_and_again_after_it_was_cancelled() {
    let Some(bus) = Bus::start("life", "") else { return };
    let mut client = bus.logind();
    let (logind, mut told) = begin_on(&bus);
    let pipe = client.inhibit(30_000_000);
    assert!(!next(&mut told));
    client.prepare(true);
    assert!(next(&mut told));
    assert!(is_open(&pipe), "the node has not let go");
    logind.let_go();
    closed(pipe);
    client.prepare(false);
    assert!(!next(&mut told), "it was cancelled");
    let pipe = client.inhibit(30_000_000);
    assert!(!next(&mut told));
    drop(logind);
    closed(pipe);
}

#[test]
fn over_a_real_bus_a_logind_that_comes_late_restarts_or_is_away_is_asked_when_it_is_there() {
    let Some(bus) = Bus::start("late", "") else { return };
    let mut other = bus.client();
    other.ask("AddMatch", "s", &texts(&["type='signal',member='NameOwnerChanged'"]));
    let (_logind, mut told) = begin_on(&bus);
    let mut client = bus.logind();
    let first = client.inhibit(1);
    assert!(!next(&mut told));
    drop(client);
    other.left();
    assert!(is_open(&first), "logind keeps it while it restarts");
    let mut client = bus.logind();
    let second = client.inhibit(1);
    closed(first);
    assert!(is_open(&second));
}

#[test]
fn over_a_real_bus_that_goes_or_hangs_nothing_is_lost_and_the_machine_is_let_go() {
    let Some(mut bus) = Bus::start("hangs", "") else { return };
    let mut client = bus.logind();
    let (logind, mut told) = begin_on(&bus);
    let first = client.inhibit(1);
    assert!(!next(&mut told));
    bus.restart();
    let mut client = bus.logind();
    let second = client.inhibit(1);
    closed(first);
    assert!(!next(&mut told));
    client.prepare(true);
    assert!(next(&mut told));
    bus.signal(Signal::STOP);
    logind.let_go();
    closed(second);
    bus.signal(Signal::CONT);
    client.prepare(false);
    assert!(!next(&mut told));
    // One that hangs when it is called for the first time.
    let third = client.inhibit(1);
    bus.signal(Signal::STOP);
    let (_another, mut told) = begin_on(&bus);
    assert!(is_open(&third));
    bus.signal(Signal::CONT);
    let fourth = client.inhibit(1);
    assert!(!next(&mut told));
    assert!(is_open(&third) && is_open(&fourth));
}

#[test]
fn over_a_real_bus_whose_rules_refuse_the_inhibitor_it_is_tried_again() {
    let Some(bus) = Bus::start("refuses", REFUSED) else { return };
    let mut client = bus.logind();
    let mut other = bus.client();
    other.ask("AddMatch", "s", &texts(&["type='signal',member='NameOwnerChanged'"]));
    let (_logind, mut told) = begin_on(&bus);
    // Refused: it leaves, and comes back later.
    other.left();
    assert!(told.is_empty());
    write(&bus.directory, "");
    bus.signal(Signal::HUP);
    let pipe = client.inhibit(1);
    assert!(!next(&mut told));
    assert!(is_open(&pipe));
}

#[tokio::test]
async fn over_a_real_bus_the_doctor_sees_the_delay_and_the_holders() {
    assert_eq!(asked::ask(Path::new("/nonexistent")).await.unwrap(), None);
    let Some(mut bus) = Bus::start("doctor", "") else { return };
    let wanted = asked::Logind { longest: Duration::from_secs(5), holders: vec![7] };
    loop {
        let without = asked::ask(&bus.socket()).await;
        let client = bus.logind();
        let answers = thread::spawn(move || answer(client));
        let with = asked::ask(&bus.socket()).await;
        let is_late = |asked: &io::Result<_>| {
            asked.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::TimedOut)
        };
        // A machine that stood still for a second says nothing.
        if is_late(&without) || is_late(&with) {
            bus.restart();
            drop(answers.join());
            continue;
        }
        assert_eq!((without.unwrap(), with.unwrap()), (None, Some(wanted)));
        answers.join().unwrap();
        break;
    }
    bus.signal(Signal::STOP);
    assert_eq!(asked::ask(&bus.socket()).await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    bus.signal(Signal::CONT);
}

/// Answers the doctor's two questions: 5 s, and three inhibitors, of which one is a delay of ours.
fn answer(mut client: Client) {
    let value = [&[1, b't', 0, 0, 0, 0, 0, 0][..], &5_000_000_u64.to_le_bytes()].concat();
    client.answer("InhibitDelayMaxUSec", "v", &value, None);
    let mut rows = Vec::new();
    for (who, mode, pid) in [("vipcast", "delay", 7_u32), ("vipcast", "block", 8), ("other", "delay", 9)] {
        rows.resize(rows.len().next_multiple_of(8), 0);
        rows.extend(texts(&["sleep:shutdown", who, "", mode]));
        rows.resize(rows.len().next_multiple_of(4), 0);
        rows.extend(0_u32.to_le_bytes());
        rows.extend(pid.to_le_bytes());
    }
    let length = u32::try_from(rows.len()).unwrap().to_le_bytes();
    client.answer("ListInhibitors", "a(ssssuu)", &[&length[..], &[0; 4], &rows].concat(), None);
}
