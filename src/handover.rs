//! The hand-over: this process becomes the next program, and everything goes on. See `docs/adr/0019`.
//!
//! ```text
//!  Effect::HandOver ─► settle ─► close the doors ─► freeze the checks ─► freeze sessions, then BFD ─► last inputs
//!    ─► Node::freeze ─► form ─► execve ─► BFD thaws ─► configuration ─► Node::thaw ─► sessions thaw ─► the rest
//! ```
//!
//! The form lies in memory without a name (memfd_create(2)). An environment variable has its descriptor and the process
//! id, because programs that we start inherit variables.
//!
//! **A failed thaw** begins anew as after a crash. The process may then have threads and sockets of half a thaw, so it
//! replaces itself once more, with every descriptor closed and the reason in another variable.

mod form;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::os::unix::fs::FileExt as _;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use vipcast_bgp::net::Descriptors;

pub(crate) use self::form::{Copy, CopyV1, Events, Form, Metrics, OfDaemon, Sockets, V1};
use crate::config::{self, Host, Loaded};
use crate::{log, restart};

/// The variable with the process id and the descriptor of the form.
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
    Form(Box<V1>, Descriptors),
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

/// Writes the form into `memory` and replaces this process. Returns only on failure.
pub(crate) fn hand_over(form: Box<V1>, memory: File, mut descriptors: Descriptors) -> io::Error {
    match written(form, memory, &mut descriptors) {
        Ok(variable) => restart::exec_with(&[(HANDS_OVER, &variable)]),
        Err(error) => error,
    }
}

/// The value of the variable, when the form is written and the next program inherits everything. A child that starts
/// meanwhile inherits nothing.
fn written(mut form: Box<V1>, memory: File, descriptors: &mut Descriptors) -> io::Result<String> {
    let file = memory.try_clone()?;
    let inherited = memory.as_raw_fd();
    descriptors.put(memory);
    form.descriptors =
        descriptors.iter().map(|(number, descriptor)| (number, descriptor.as_raw_fd())).collect();
    let mut buffered = BufWriter::with_capacity(1 << 16, &file);
    serde_json::to_writer(&mut buffered, &Form::V1(form))?;
    buffered.flush()?;
    drop(buffered);
    seal(&file)?;
    descriptors.inherit()?;
    Ok(of_this_process(&inherited.to_string()))
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
    match received(&inherited) {
        Ok((form, descriptors)) => Arrival::Form(form, descriptors),
        Err(error) => Arrival::Failed(give_up(&format!("the form cannot be read: {error}"))),
    }
}

fn received(inherited: &str) -> io::Result<(Box<V1>, Descriptors)> {
    let file = descriptor(inherited.parse().map_err(io::Error::other)?)?;
    let Form::V1(mut form) = serde_json::from_slice(&content(&file)?)?;
    let descriptors = Descriptors::adopt(&std::mem::take(&mut form.descriptors))?;
    Ok((form, descriptors))
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
pub(crate) fn configuration(form: &V1, descriptors: &mut Descriptors) -> Result<Loaded, String> {
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
        let error = serde_json::from_str::<Form>(r#"{"v2": {}}"#).unwrap_err().to_string();
        assert!(error.starts_with("unknown variant `v2`, expected `v1`"), "{error}");
    }
}
