use std::io::{IoSlice, PipeReader, Read as _, Write as _, pipe};
use std::mem::MaybeUninit;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream as Socket};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::*;

mod bus;

/// Longer than a busy machine takes.
const PATIENT: Duration = Duration::from_secs(20);

/// A bus with a logind on it, in one: it answers what it is asked, by the names in the calls.
struct Fake {
    listener: UnixListener,
    path: PathBuf,
}

/// A client of it; or a bus, whose calls come with their senders.
struct Client {
    socket: Socket,
    received: Vec<u8>,
}

impl Fake {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("vipcast-logind-{}-{name}", std::process::id()));
        drop(std::fs::remove_file(&path));
        Self { listener: UnixListener::bind(&path).unwrap(), path }
    }

    /// The next client, let in.
    fn accept(&self) -> Client {
        let (socket, _) = self.listener.accept().unwrap();
        socket.set_read_timeout(Some(PATIENT)).unwrap();
        let mut client = Client { socket, received: Vec::new() };
        client.line();
        client.line();
        client.line();
        client.socket.write_all(b"OK 1234\r\nAGREE_UNIX_FD\r\n").unwrap();
        client.answer("Hello", "", &[], None);
        client.answer("NameHasOwner", "b", &1_u32.to_le_bytes(), None);
        client
    }

    /// The next client until it has its inhibitor: the other end tells when that is closed.
    fn inhibited(&self, longest: u64) -> (Client, PipeReader) {
        let mut client = self.accept();
        let pipe = client.inhibit(longest);
        (client, pipe)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

impl Client {
    fn read(&mut self) {
        let mut chunk = [0; 4096];
        let length = self.socket.read(&mut chunk).expect("nothing came");
        assert!(length > 0, "the client is gone");
        self.received.extend(&chunk[..length]);
    }

    fn line(&mut self) {
        loop {
            if let Some(end) = self.received.windows(2).position(|octets| octets == b"\r\n") {
                self.received.drain(..end + 2);
                return;
            }
            self.read();
        }
    }

    /// The next call of this method, or with this argument; other messages are skipped. Returns its caller and its bytes.
    fn called(&mut self, member: &str) -> (Caller, Vec<u8>) {
        let word = [member.as_bytes(), &[0]].concat();
        loop {
            match crate::dbus::wire::decode(&self.received).unwrap() {
                None => self.read(),
                Some((_, length)) => {
                    let call: Vec<u8> = self.received.drain(..length).collect();
                    let serial = u32::from_le_bytes(*call[8..].first_chunk().unwrap());
                    if call[1] == 1 && call.windows(word.len()).any(|part| part == word) {
                        return (Caller { serial, name: sender(&call) }, call);
                    }
                }
            }
        }
    }

    fn send(&self, bytes: &[u8], descriptor: Option<&io::PipeWriter>) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = descriptor.iter().map(|descriptor| descriptor.as_fd()).collect();
        if !descriptors.is_empty() {
            assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        }
        let sent = sendmsg(&self.socket, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
        assert_eq!(sent, bytes.len());
    }

    /// Answers the next call of this method.
    fn answer(&mut self, member: &str, signature: &str, body: &[u8], descriptor: Option<&io::PipeWriter>) {
        let (caller, _) = self.called(member);
        self.send(&message(2, &caller, "", signature, body), descriptor);
    }

    fn refuse(&mut self, member: &str, name: &str) {
        let (caller, _) = self.called(member);
        self.send(&message(3, &caller, name, "", &[]), None);
    }

    fn inhibit(&mut self, longest: u64) -> PipeReader {
        let (reader, writer) = pipe().unwrap();
        let (caller, call) = self.called("Inhibit");
        for word in INHIBIT {
            assert!(call.windows(word.len()).any(|part| part == word.as_bytes()), "{word}");
        }
        self.send(&message(2, &caller, "", "h", &0_u32.to_le_bytes()), Some(&writer));
        drop(writer);
        let value = [&[1, b't', 0, 0, 0, 0, 0, 0][..], &longest.to_le_bytes()].concat();
        self.answer("InhibitDelayMaxUSec", "v", &value, None);
        reader
    }

    fn prepare(&self, goes_down: bool) {
        let body = u32::from(goes_down).to_le_bytes();
        self.send(&message(4, &Caller::default(), "PrepareForShutdown", "b", &body), None);
    }
}

/// The caller of a method: the serial number of its call, and its name on a bus.
#[derive(Default)]
struct Caller {
    serial: u32,
    name: Option<String>,
}

/// The field 7 of a message, which a bus writes: its sender. No other field or text of ours has these octets.
fn sender(call: &[u8]) -> Option<String> {
    let at = call.windows(4).position(|octets| octets == [7, 1, b's', 0])? + 4;
    let length = u32::from_le_bytes(*call[at..].first_chunk().unwrap());
    let name = &call[at + 4..at + 4 + usize::try_from(length).unwrap()];
    Some(String::from_utf8(name.to_vec()).unwrap())
}

/// An answer, or a call, an error or a signal of this name.
fn message(kind: u8, to: &Caller, name: &str, signature: &str, body: &[u8]) -> Vec<u8> {
    let mut fields = vec![0; 16];
    let mut text = |code: u8, kind: u8, text: &str| {
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend([code, 1, kind, 0]);
        if kind == b'g' {
            fields.push(u8::try_from(text.len()).unwrap());
        } else {
            fields.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        }
        fields.extend(text.bytes().chain([0]));
    };
    match kind {
        1 => [(1, b'o', "/org/freedesktop/DBus"), (2, b's', "org.freedesktop.DBus"), (3, b's', name)]
            .into_iter()
            .for_each(|(c, k, t)| text(c, k, t)),
        3 => text(4, b's', name),
        4 => [(1, b'o', OBJECT), (2, b's', MANAGER), (3, b's', name)]
            .into_iter()
            .for_each(|(c, k, t)| text(c, k, t)),
        _ => {}
    }
    if let Some(name) = &to.name {
        text(6, b's', name);
    }
    text(8, b'g', signature);
    if signature == "h" {
        // The number of descriptors.
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend([9, 1, b'u', 0, 1, 0, 0, 0]);
    }
    if [2, 3].contains(&kind) {
        fields.resize(fields.len().next_multiple_of(8), 0);
        fields.extend([5, 1, b'u', 0]);
        fields.extend(to.serial.to_le_bytes());
    }
    let length = u32::try_from(fields.len() - 16).unwrap();
    fields.resize(fields.len().next_multiple_of(8), 0);
    fields[..4].copy_from_slice(&[b'l', kind, 0, 1]);
    fields[4..8].copy_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
    fields[8..12].copy_from_slice(&1_u32.to_le_bytes());
    fields[12..16].copy_from_slice(&length.to_le_bytes());
    fields.extend(body);
    fields
}

/// The values of a message: texts.
fn texts(texts: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for text in texts {
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(u32::try_from(text.len()).unwrap().to_le_bytes());
        body.extend(text.bytes().chain([0]));
    }
    body
}

fn shutdown(inhibit: bool) -> model::Shutdown {
    let second = Duration::from_secs(1);
    model::Shutdown { drain_time: second, unbind_delay: second, keep_addresses: false, inhibit }
}

fn begin(fake: &Fake) -> (Logind, mpsc::UnboundedReceiver<Input>) {
    let (tell, told) = mpsc::unbounded_channel();
    let logind = Logind::start_at(fake.path.clone(), tell);
    logind.set(&shutdown(true));
    (logind, told)
}

/// Whether the machine goes down, as the node is told next.
fn next(told: &mut mpsc::UnboundedReceiver<Input>) -> bool {
    let Some(Input::Cordon(Cordon::Machine, order)) = told.blocking_recv() else { panic!("it is gone") };
    order.is_some_and(|order| order.by == "logind")
}

/// Waits until the inhibitor is closed.
fn closed(mut pipe: PipeReader) {
    assert!(is_ready(&pipe, PATIENT), "it is held still");
    assert_eq!(pipe.read(&mut [0]).unwrap(), 0);
}

fn is_open(pipe: &PipeReader) -> bool {
    !is_ready(pipe, Duration::ZERO)
}

fn is_ready(pipe: &PipeReader, patience: Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let mut ready = [PollFd::new(pipe, PollFlags::IN)];
    let patience = Timespec::try_from(patience).unwrap();
    // The end of a child interrupts it.
    rustix::io::retry_on_intr(|| poll(&mut ready, Some(&patience))).unwrap() > 0
}

#[test]
fn a_shutdown_is_held_up_until_the_node_lets_go_and_again_after_it_was_cancelled() {
    let fake = Fake::new("life");
    let (logind, mut told) = begin(&fake);
    let (mut client, pipe) = fake.inhibited(30_000_000);
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
    assert!(is_open(&pipe));
    logind.set(&shutdown(false));
    closed(pipe);
}

#[test]
fn a_bus_that_ends_and_a_logind_that_restarts_are_asked_again_and_the_inhibitor_is_held_meanwhile() {
    let fake = Fake::new("again");
    let (_logind, mut told) = begin(&fake);
    let (client, first) = fake.inhibited(1);
    assert!(!next(&mut told));
    drop(client);
    let mut client = fake.accept();
    assert!(is_open(&first), "there is a gap");
    let second = client.inhibit(1);
    closed(first);
    assert!(!next(&mut told));
    let owner =
        |new: &str| message(4, &Caller::default(), "NameOwnerChanged", "sss", &texts(&[LOGIND, "", new]));
    // It goes, and comes back.
    client.send(&owner(""), None);
    client.send(&owner(":1.7"), None);
    let third = client.inhibit(1);
    closed(second);
    assert!(is_open(&third));
}

#[test]
fn the_machine_is_let_go_while_the_bus_is_away() {
    let fake = Fake::new("away");
    let (logind, mut told) = begin(&fake);
    let (client, pipe) = fake.inhibited(1);
    assert!(!next(&mut told));
    client.prepare(true);
    assert!(next(&mut told));
    drop(client);
    // It is in the middle of a login.
    let _silent = fake.listener.accept().unwrap();
    assert!(is_open(&pipe), "the node has not let go");
    logind.let_go();
    closed(pipe);
    // What was let go before is no reason to let go of another.
    let (mut client, pipe) = fake.inhibited(1);
    assert!(!next(&mut told));
    let shutdown = model::Shutdown { drain_time: Duration::from_secs(2), ..shutdown(true) };
    logind.set(&shutdown);
    client.send(
        &message(4, &Caller::default(), "NameOwnerChanged", "sss", &texts(&[LOGIND, "", ":1.7"])),
        None,
    );
    client.called("Inhibit");
    assert!(is_open(&pipe));
}

#[test]
fn a_refusal_is_tried_again_and_a_shutdown_that_has_begun_drains() {
    let fake = Fake::new("refused");
    let (_logind, mut told) = begin(&fake);
    fake.accept().refuse("Inhibit", "org.freedesktop.DBus.Error.AccessDenied");
    let mut client = fake.accept();
    client.refuse("Inhibit", "org.freedesktop.login1.OperationInProgress");
    assert!(next(&mut told), "the machine is going down");
    // A bus that goes with the machine does not undrain.
    drop(client);
    let _silent = fake.accept();
    assert!(told.is_empty());
}

#[test]
fn an_end_of_the_daemon_lets_go() {
    let fake = Fake::new("end");
    let (logind, _told) = begin(&fake);
    let (_client, pipe) = fake.inhibited(30_000_000);
    drop(logind);
    closed(pipe);
}
