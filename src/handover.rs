//! The hand-over: this process becomes the next program, and everything goes on. See `docs/adr/0019`.
//!
//! ```text
//!  Effect::HandOver ─► settle ─► close the doors ─► freeze the checks ─► freeze sessions ─► last inputs
//!    ─► Node::freeze ─► form ─► freeze BFD ─► execve ─► BFD thaws ─► the form is read ─► configuration ─► Node::thaw ─► sessions thaw ─► the rest
//! ```
//!
//! The form lies in memory without a name (memfd_create(2)), and BFD in another, so that the next program goes on with BFD
//! before it reads the rest. An environment variable has their descriptors and the process id, because programs that we
//! start inherit variables.
//!
//! **A failed thaw** begins anew as after a crash. The process may then have threads and sockets of half a thaw, so it
//! replaces itself once more, with every descriptor closed and the reason in another variable.

mod form;
mod version;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::os::unix::fs::FileExt as _;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use serde::Serialize;
use vipcast_bgp::bfd::BfdEvent;
use vipcast_bgp::frozen::BfdThread;
use vipcast_bgp::frozen::bfd::Event;
use vipcast_bgp::net::{Descriptors, clock};

pub(crate) use self::form::{Copy, Events, Metrics, OfDaemon, Sockets, Told, V2};
use self::form::{Form, FormOfBfd, OfBfd, V1};
pub(crate) use self::version::Version;
use crate::config::{self, Host, Loaded};
use crate::{log, restart};

/// The variable with the process id and the descriptor of the form, and of that of BFD since version 2: `7:17,18`.
const HANDS_OVER: &str = "VIPCAST_HANDS_OVER";
/// The variable with the process id and the reason of a failed thaw.
const FAILED: &str = "VIPCAST_NOT_THAWED";
/// The longest form that is read, in bytes. One of 5,000 VIPs at 200 peers has some 20 MiB.
const LONGEST: u64 = 1 << 30;

/// The variables, for an `execve` that is no hand-over.
pub(crate) const VARIABLES: [&str; 2] = [HANDS_OVER, FAILED];

/// What a program finds at its start.
#[derive(Debug)]
pub(crate) enum Arrival {
    /// No program was before it.
    Nothing,
    /// The state and the descriptors of the program before.
    Form(Box<Arrived>),
    /// The thaw failed for this reason.
    Failed(String),
}

/// Memory for a file of a hand-over.
///
/// # Errors
/// The kernel has no memory, or no descriptor.
pub(crate) fn memory(name: &str) -> io::Result<File> {
    Ok(File::from(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?))
}

/// A file of a hand-over with this content.
///
/// # Errors
/// As [`memory`].
pub(crate) fn memory_with(name: &str, content: &[u8]) -> io::Result<File> {
    let mut file = memory(name)?;
    fill(&mut file, content)?;
    Ok(file)
}

/// Writes the content of [`memory`], which nobody changes then.
///
/// # Errors
/// The kernel has no memory.
pub(crate) fn fill(file: &mut File, content: &[u8]) -> io::Result<()> {
    file.write_all(content)?;
    file.rewind()?;
    seal(file)
}

/// Nobody changes it any more.
fn seal(file: &File) -> io::Result<()> {
    Ok(fcntl_add_seals(file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?)
}

/// The content of a file of a hand-over.
///
/// # Errors
/// It is no such file, or too long.
pub(crate) fn content(file: &File) -> io::Result<Vec<u8>> {
    let length = file.metadata()?.len();
    if length > LONGEST {
        return Err(io::Error::other("it is too long"));
    }
    let mut content = vec![0; usize::try_from(length).map_err(io::Error::other)?];
    file.read_exact_at(&mut content, 0)?;
    Ok(content)
}

/// Memory for the form. It is made early, so that a process without a descriptor or memory finds out before it is silent.
#[derive(Debug)]
pub(crate) struct Memory {
    form: File,
    bfd: File,
}

/// Everything but BFD is written.
#[derive(Debug)]
pub(crate) struct Written {
    form: RawFd,
    bfd: File,
    descriptors: Descriptors,
}

impl Memory {
    /// # Errors
    /// As [`memory`].
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { form: memory("vipcast state")?, bfd: memory("vipcast bfd")? })
    }

    /// Writes everything but BFD, which goes on meanwhile.
    ///
    /// # Errors
    /// The kernel has no memory.
    pub(crate) fn write(self, form: Box<V2>, mut descriptors: Descriptors) -> io::Result<Written> {
        let with = |descriptors| Form::V2(Box::new(V2 { descriptors, ..*form }));
        Ok(Written { form: write(self.form, &mut descriptors, with)?, bfd: self.bfd, descriptors })
    }

    /// Writes everything, for a program that reads no later version than 1, and replaces this process. Returns only on
    /// failure.
    pub(crate) fn hand_over_v1(
        self,
        form: Box<V2>,
        bfd: Option<BfdThread>,
        mut descriptors: Descriptors,
    ) -> io::Error {
        let with = |descriptors| Form::V1(Box::new(V1::of(V2 { descriptors, ..*form }, bfd)));
        let written = write(self.form, &mut descriptors, with).and_then(|form| {
            descriptors.inherit()?;
            Ok(form.to_string())
        });
        become_next(written)
    }
}

impl Written {
    /// Writes BFD, with its `sockets`, and replaces this process. Returns only on failure.
    pub(crate) fn hand_over(
        self,
        sessions: Option<BfdThread>,
        news: Vec<Event>,
        mut sockets: Descriptors,
    ) -> io::Error {
        let Self { form, bfd, descriptors } = self;
        let with = |descriptors| FormOfBfd::V2(OfBfd { descriptors, sessions, news });
        let written = write(bfd, &mut sockets, with).and_then(|bfd| {
            // A child that starts before this inherits nothing.
            descriptors.inherit()?;
            sockets.inherit()?;
            Ok(format!("{form},{bfd}"))
        });
        become_next(written)
    }
}

fn become_next(written: io::Result<String>) -> io::Error {
    match written {
        Ok(files) => restart::exec_with(&[(HANDS_OVER, &of_this_process(&files))]),
        Err(error) => error,
    }
}

/// Writes the form with the descriptor of each number, also that of the file itself, which is the result.
fn write<T: Serialize>(
    memory: File,
    descriptors: &mut Descriptors,
    form: impl FnOnce(BTreeMap<u32, RawFd>) -> T,
) -> io::Result<RawFd> {
    let file = memory.try_clone()?;
    let inherited = memory.as_raw_fd();
    descriptors.put(memory);
    let form =
        form(descriptors.iter().map(|(number, descriptor)| (number, descriptor.as_raw_fd())).collect());
    let mut buffered = BufWriter::with_capacity(1 << 16, &file);
    serde_json::to_writer(&mut buffered, &form)?;
    buffered.flush()?;
    drop(buffered);
    seal(&file)?;
    Ok(inherited)
}

/// Whether a program was before this one in this process, whose sessions go on or have just ended.
pub(crate) fn is_arrival() -> bool {
    VARIABLES.into_iter().any(|name| value(std::env::var_os(name)).is_some())
}

/// What the program before has left. A form that cannot be read counts as a failed thaw.
pub(crate) fn arrive() -> Arrival {
    if let Some(reason) = value(std::env::var_os(FAILED)) {
        return Arrival::Failed(reason);
    }
    let Some(inherited) = value(std::env::var_os(HANDS_OVER)) else { return Arrival::Nothing };
    match Arrived::of(&inherited) {
        Ok(arrived) => Arrival::Form(Box::new(arrived)),
        Err(error) => Arrival::Failed(give_up(&unreadable(&error))),
    }
}

/// What the program before has left: BFD, and the rest, which may be long and is read later.
#[derive(Debug)]
pub(crate) struct Arrived {
    /// The sessions of BFD; `None`: it did not run.
    pub(crate) bfd: Option<BfdThread>,
    /// What they have done since the node was frozen.
    pub(crate) news: Vec<BfdEvent>,
    /// Their sockets; of version 1 all.
    pub(crate) sockets: Descriptors,
    rest: Rest,
}

#[derive(Debug)]
enum Rest {
    Unread(File),
    Read(Box<V2>),
}

impl Arrived {
    fn of(inherited: &str) -> io::Result<Self> {
        let file = |number: &str| descriptor(number.parse().map_err(io::Error::other)?);
        let Some((form, bfd)) = inherited.split_once(',') else {
            // Version 1.
            let (mut form, bfd) = read(&file(inherited)?)?;
            let sockets = Descriptors::adopt(&std::mem::take(&mut form.descriptors))?;
            return Ok(Self { bfd, news: Vec::new(), sockets, rest: Rest::Read(form) });
        };
        let FormOfBfd::V2(OfBfd { descriptors, sessions, news }) =
            serde_json::from_slice(&content(&file(bfd)?)?)?;
        let now = clock::now();
        let news = news.iter().map(|event| BfdEvent::thaw(event, now));
        Ok(Self {
            bfd: sessions,
            news: news.collect::<Result<_, _>>().map_err(io::Error::other)?,
            sockets: Descriptors::adopt(&descriptors)?,
            rest: Rest::Unread(file(form)?),
        })
    }

    /// The rest, and its descriptors.
    ///
    /// # Errors
    /// The reason, in words: it cannot be read.
    pub(crate) fn rest(self) -> Result<(Box<V2>, Descriptors), String> {
        let rest = || match self.rest {
            Rest::Read(form) => Ok((form, self.sockets)),
            Rest::Unread(file) => {
                let (mut form, _in_its_own) = read(&file)?;
                let descriptors = Descriptors::adopt(&std::mem::take(&mut form.descriptors))?;
                Ok((form, descriptors))
            }
        };
        rest().map_err(|error: io::Error| unreadable(&error))
    }
}

fn read(file: &File) -> io::Result<(Box<V2>, Option<BfdThread>)> {
    Ok(serde_json::from_slice::<Form>(&content(file)?)?.into_newest())
}

fn unreadable(error: &io::Error) -> String {
    format!("the form cannot be read: {error}")
}

/// Another descriptor of what is inherited by this number.
fn descriptor(number: RawFd) -> io::Result<File> {
    if number <= 2 {
        return Err(io::Error::other("no descriptor of a form"));
    }
    #[expect(unsafe_code, reason = "only the number of an inherited descriptor is known")]
    // SAFETY: the number is not negative, the value lives for one system call, and that fails if nothing is open there.
    let inherited = unsafe { BorrowedFd::borrow_raw(number) };
    Ok(File::from(inherited.try_clone_to_owned()?))
}

/// The configuration that the program before had in force, whatever the files say now.
///
/// # Errors
/// The reason, in words.
pub(crate) fn configuration(form: &V2, descriptors: &mut Descriptors) -> Result<Loaded, String> {
    let file = descriptors.take(form.configuration).ok_or("there is no configuration in the form")?;
    let texts = content(&File::from(file)).and_then(|texts| Ok(serde_json::from_slice(&texts)?));
    let texts = texts.map_err(|error| format!("the configuration of the form: {error}"))?;
    // Users or programs that it names may have gone since.
    config::load_texts(texts, Host::Lenient).map_err(|diagnostics| diagnostics.render(false))
}

/// Begins anew, without anything of the program before. Returns only on failure, with the reason and the error.
pub(crate) fn give_up(reason: &str) -> String {
    log::finish();
    close_all_at_exec();
    // A variable cannot have a zero.
    let reason = reason.replace('\0', " ");
    let error = restart::exec_with(&[(FAILED, &of_this_process(&reason))]);
    format!("{reason}; and this process cannot begin anew: {error}")
}

/// Nothing but the standard streams outlives the next `execve`.
fn close_all_at_exec() {
    let listed = std::fs::read_dir("/proc/self/fd").map(|entries| {
        let names = entries.flatten().map(|entry| entry.file_name());
        names.filter_map(|name| name.to_str()?.parse().ok()).collect::<Vec<RawFd>>()
    });
    for number in listed.unwrap_or_else(|_| (3..4096).collect()).into_iter().filter(|number| *number > 2) {
        #[expect(unsafe_code, reason = "every descriptor of this process, whoever owns it")]
        // SAFETY: the number is not negative, the value lives for one system call, and the flag harms no owner.
        let open = unsafe { BorrowedFd::borrow_raw(number) };
        // It may not be open any more.
        let _closed = fcntl(open, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }
}

/// A value that only this process takes for its own: programs that it starts inherit the variable.
fn of_this_process(value: &str) -> String {
    format!("{}:{value}", std::process::id())
}

fn value(variable: Option<OsString>) -> Option<String> {
    let variable = variable?.into_string().ok()?;
    let (process, value) = variable.split_once(':')?;
    (process == std::process::id().to_string()).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_is_only_for_the_process_that_it_names() {
        let mine = of_this_process("7: or more");
        assert_eq!(value(Some(mine.into())).as_deref(), Some("7: or more"));
        let others = format!("{}:7", std::process::id() + 1);
        assert_eq!(value(Some(others.into())), None);
        assert_eq!(value(Some("nonsense".into())), None);
        assert_eq!(value(None), None);
    }

    #[test]
    fn the_content_of_a_file_is_read_by_its_number_and_nobody_changes_it() {
        let mut file = memory_with("test", b"{}").unwrap();
        let other = descriptor(file.as_raw_fd()).unwrap();
        assert_eq!(content(&other).unwrap(), b"{}");
        assert!(file.write_all(b"x").is_err(), "it is sealed");
        assert!(descriptor(1).is_err() && descriptor(1_000_000).is_err());
    }

    #[test]
    fn a_form_of_another_version_is_refused_with_its_name() {
        let error = serde_json::from_str::<Form>(r#"{"v9": {}}"#).unwrap_err().to_string();
        assert!(error.starts_with("unknown variant `v9`, expected `v1` or `v2`"), "{error}");
    }
}
