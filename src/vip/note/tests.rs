use std::fs;
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;

const LONG: Duration = Duration::from_secs(60);

fn address(last: u8) -> Binding {
    Binding::host(std::net::IpAddr::from([192, 0, 2, last]), 1)
}

fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("vipcast-note-{}-{name}", std::process::id()));
    drop(fs::remove_dir_all(&path));
    fs::create_dir_all(&path).unwrap();
    path
}

/// The note of a process in this boot.
async fn on(directory: &Path, boot: &str) -> Note {
    Note::start(Disk { directory: directory.to_owned(), boot: boot.to_owned() }, LONG).await
}

fn add(note: &Note, address: Binding) {
    note.change(|ours| ours.extend([address]));
}

/// A disk with answers from the test.
struct Slow {
    reads: Mutex<Receiver<BTreeSet<Binding>>>,
    writes: Sender<BTreeSet<Binding>>,
    answers: Mutex<Receiver<io::Result<()>>>,
}

impl Keep for Slow {
    fn read(&self) -> io::Result<BTreeSet<Binding>> {
        Ok(self.reads.lock().unwrap().recv().unwrap_or_default())
    }

    fn write(&self, addresses: BTreeSet<Binding>) -> io::Result<()> {
        self.writes.send(addresses).ok();
        self.answers.lock().unwrap().recv().unwrap_or(Ok(()))
    }
}

struct Hands {
    reads: Sender<BTreeSet<Binding>>,
    written: Receiver<BTreeSet<Binding>>,
    answers: Sender<io::Result<()>>,
}

fn slow() -> (Slow, Hands) {
    let ((reads, read), (writes, written), (answers, answer)) = (channel(), channel(), channel());
    let disk = Slow { reads: Mutex::new(read), writes, answers: Mutex::new(answer) };
    (disk, Hands { reads, written, answers })
}

#[test]
fn kernels_that_mark_addresses_are_told_by_their_release() {
    for (release, want) in [
        ("5.17.9-300.fc36", false),
        ("5.18.0", true),
        ("6.1.0-25-amd64", true),
        ("4.18.0-553.el8", false),
        ("5.14.0-503.el9.x86_64", false),
        ("", false),
    ] {
        assert_eq!(marks_addresses(release), want, "{release}");
    }
}

#[tokio::test]
async fn i3_the_note_survives_a_crash_and_not_a_reboot() {
    let path = scratch("crash");
    let note = on(&path, "this boot").await;
    assert!(!note.has(&address(10)));
    add(&note, address(10));
    assert!(on(&path, "this boot").await.has(&address(10)));
    assert!(!on(&path, "the next boot").await.has(&address(10)));
    note.change(|ours| ours.clear());
    assert!(!on(&path, "this boot").await.has(&address(10)));
    fs::remove_dir_all(path).unwrap();
}

#[tokio::test]
async fn a_note_that_is_empty_zeroed_or_damaged_is_set_aside_and_the_next_address_is_noted() {
    for damage in [&b""[..], &[0; 64], b"{\"boot\": \"this", b"[]", &[0xff; 9]] {
        let path = scratch("damaged");
        fs::write(path.join(NAME), damage).unwrap();
        let note = on(&path, "this boot").await;
        add(&note, address(10));
        assert!(on(&path, "this boot").await.has(&address(10)), "{damage:?}");
        let names =
            fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let aside: Vec<String> = names.filter(|name| name.starts_with("addresses.json.damaged-")).collect();
        assert_eq!(aside.len(), 1, "{aside:?}");
        assert_eq!(fs::read(path.join(&aside[0])).unwrap(), damage);
        fs::remove_dir_all(path).unwrap();
    }
}

#[tokio::test]
async fn a_note_that_cannot_be_written_keeps_no_address_from_being_bound_and_is_written_again() {
    let (disk, Hands { reads, written, answers }) = slow();
    reads.send(BTreeSet::new()).unwrap();
    let note = Note::start(disk, LONG).await;
    answers.send(Err(io::Error::other("no space left"))).unwrap();
    add(&note, address(10));
    assert_eq!(written.recv().unwrap(), [address(10)].into());
    assert!(note.has(&address(10)), "it is bound, and ours");
    answers.send(Ok(())).unwrap();
    note.save_again();
    assert_eq!(written.recv().unwrap(), [address(10)].into());
}

#[tokio::test]
async fn a_directory_that_hangs_delays_neither_the_start_nor_addresses_and_is_merged_when_it_answers() {
    let (disk, Hands { reads, written, answers }) = slow();
    let note = Note::start(disk, Duration::from_millis(20)).await;
    add(&note, address(1));
    assert!(note.has(&address(1)));
    assert!(written.try_recv().is_err(), "nothing is replaced before it was read");
    reads.send([address(2)].into()).unwrap();
    let both = [address(1), address(2)];
    assert_eq!(written.recv().unwrap(), both.into());
    assert!(note.has(&address(2)), "while the disk is at work");
    add(&note, address(3));
    answers.send(Ok(())).unwrap();
    assert_eq!(written.recv().unwrap(), [address(1), address(2), address(3)].into());
    answers.send(Ok(())).unwrap();
}
