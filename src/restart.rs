//! The change of process in a graceful restart (RFC 4724): tests the next program, and replaces this process by it with
//! `execve`, which keeps the process id. See `docs/adr/0003`.
//!
//! ```text
//!  restart --graceful ─► rehearse: `vipcast version --json` and `vipcast check` of the program on disk ─► leave a note
//!    ─► answer ─► drop everything: sockets close without a NOTIFICATION, addresses stay ─► exec
//! ```

mod hanging;
mod machine;
mod trial;

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;
use vipcast_node::jobs::{Next, Program, Way};

use self::trial::{Outcome, Trouble, run};
use crate::control::api::Refusal;
use crate::handover::{self, Copy, Version};
use crate::log::trouble;
use crate::version::Identity;

/// The time-out of `vipcast version`.
const VERSION_PATIENCE: Duration = Duration::from_secs(5);
/// The time-out of `vipcast check`.
const CHECK_PATIENCE: Duration = Duration::from_secs(10);
/// The time-out of the hidden command that goes on from a copy of the state.
const THAW_PATIENCE: Duration = Duration::from_secs(10);
/// That command: whether it can go on from the state on standard input, with the configuration of the argument.
pub(crate) const THAW: &str = "thaw";

/// The variable that tells a program that it replaces the process with this id.
const FOLLOWS: &str = "VIPCAST_FOLLOWS";

/// The result of testing the next program.
pub type Rehearsal = oneshot::Receiver<Result<Rehearsed, Refusal>>;

/// A program that was tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsed {
    /// What it says that it is.
    pub(crate) program: Program,
    /// The newest form of a hand-over that both programs know; `None`: it was tried out for a graceful restart.
    pub(crate) form: Option<Version>,
    path: PathBuf,
    file: Option<FileState>,
}

impl Rehearsed {
    /// As the node knows it.
    pub(crate) fn next(&self) -> Next {
        let older_form = self
            .form
            .and_then(|form| Some(format!("form {} of the state: {}", form.number(), form.means()?)));
        Next { program: self.program.clone(), older_form }
    }
}

/// What changes when a file is replaced or written: its device, inode, size, and the time of its last change.
type FileState = (u64, u64, u64, (i64, i64));

fn state_of(path: &Path) -> Option<FileState> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.dev(), file.ino(), file.size(), (file.ctime(), file.ctime_nsec())))
}

/// Runs the next program with `version` and `check`, on a separate thread: it may be another version that reads the
/// configuration differently, and it may hang.
///
/// With a `copy` of the state the program must be able to go on from that, without a socket.
pub(crate) fn rehearse(config: &Path, copy: Option<Copy>) -> Rehearsal {
    let (sender, receiver) = oneshot::channel();
    let config = config.to_owned();
    let rehearsal = thread::Builder::new().name("rehearsal".to_owned());
    let rehearse = move || {
        let path = program();
        let file = state_of(&path);
        let (program, form) = try_out(&path, &config, copy)?;
        none_hangs()?;
        Ok(Rehearsed { program, form, path, file })
    };
    // Without a thread, or without a result, the receiver is disconnected.
    drop(rehearsal.spawn(move || drop(sender.send(rehearse()))));
    receiver
}

/// Looks a last time before a hand-over, on a separate thread: the program is the one that was rehearsed and can be started,
/// and no thread hangs.
pub fn look_again(rehearsed: Rehearsed) -> oneshot::Receiver<Result<(), Refusal>> {
    let (sender, receiver) = oneshot::channel();
    let look = move || is_as_rehearsed(&rehearsed).and_then(|()| none_hangs());
    let thread = thread::Builder::new().name("rehearsal".to_owned());
    drop(thread.spawn(move || drop(sender.send(look()))));
    receiver
}

fn is_as_rehearsed(Rehearsed { program, form, path, file }: &Rehearsed) -> Result<(), Refusal> {
    let changed = |is_same: bool| match is_same {
        true => Ok(()),
        false => Err(Refusal {
            error: format!("{} was changed since it was tried out", path.display()),
            hint: Some("nothing was changed; try again when the new program is in its place".to_owned()),
        }),
    };
    changed(*file == state_of(path))?;
    // Somebody may have it open to write, which only a start finds.
    let next = identify(path, Way::HandOver { dry: false })?;
    changed((&next.0, next.1) == (program, *form) && *file == state_of(path))
}

/// Refuses if a thread hangs: `execve` would wait for it, with every session closed.
fn none_hangs() -> Result<(), Refusal> {
    match hanging::hanging() {
        Ok(threads) if threads.is_empty() => Ok(()),
        Ok(threads) => Err(Refusal {
            error: format!(
                "a thread of vipcast hangs in the kernel ({}), and the restart would wait for it with every session closed",
                threads.join(", ")
            ),
            hint: Some(
                "nothing was changed; a disk or a file server does not answer: fix that and try again"
                    .to_owned(),
            ),
        }),
        // Without /proc hanging threads are not visible, and most restarts succeed anyway.
        Err(error) => {
            trouble!(%error, "cannot look whether threads hang");
            Ok(())
        }
    }
}

/// The program, and the form of a hand-over to it.
fn try_out(program: &Path, config: &Path, copy: Option<Copy>) -> Result<(Program, Option<Version>), Refusal> {
    let way = if copy.is_some() { Way::HandOver { dry: true } } else { Way::GracefulRestart };
    let (next, form) = identify(program, way)?;
    let check = [OsString::from("check"), config.into()];
    match run(program, &check, Stdio::null(), CHECK_PATIENCE) {
        Ok(outcome) if outcome.status.success() => {}
        Ok(Outcome { status, stderr, .. }) => {
            return Err(Refusal {
                error: format!(
                    "{} does not accept the configuration ({status}):\n{}",
                    program.display(),
                    stderr.trim_end()
                ),
                hint: Some("nothing was changed; fix it and try again".to_owned()),
            });
        }
        Err(trouble) => return Err(troubled(program, "check", &trouble)),
    }
    if let Some((copy, form)) = copy.zip(form) {
        thaw(program, config, copy, form)?;
    }
    Ok((next, form))
}

/// Lets the program go on from a copy of the state, in this form.
fn thaw(program: &Path, config: &Path, copy: Copy, form: Version) -> Result<(), Refusal> {
    let refuse = |error: String| {
        let hint =
            "nothing was changed; `vipcast restart --graceful`, or stop and start, does not need the state";
        Err(Refusal { error, hint: Some(hint.to_owned()) })
    };
    let copy = copy.write(form).map_err(io::Error::from);
    let copy = match copy.and_then(|copy| handover::memory_with("vipcast copy", &copy)) {
        Ok(copy) => copy,
        Err(error) => return refuse(format!("no memory for a copy of the state: {error}")),
    };
    let thaw = [OsString::from(THAW), config.into()];
    match run(program, &thaw, copy.into(), THAW_PATIENCE) {
        Ok(outcome) if outcome.status.success() => Ok(()),
        Ok(Outcome { status, stderr, .. }) => refuse(format!(
            "{} cannot go on from the state of this one ({status}):\n{}",
            program.display(),
            stderr.trim_end()
        )),
        Err(trouble) => Err(troubled(program, THAW, &trouble)),
    }
}

/// Checks that the program is a vipcast that can take over: any program may exit with 0. Its name, and the form of a
/// hand-over to it, which does not count in a restart.
fn identify(program: &Path, way: Way) -> Result<(Program, Option<Version>), Refusal> {
    if machine::is_foreign(program) {
        return Err(Refusal {
            error: format!("{} is a program for another architecture", program.display()),
            hint: Some("nothing was changed; put the program for this machine there".to_owned()),
        });
    }
    let asked = [OsString::from("version"), OsString::from("--json")];
    let outcome = run(program, &asked, Stdio::null(), VERSION_PATIENCE)
        .map_err(|trouble| troubled(program, "version --json", &trouble))?;
    let identity = serde_json::from_str::<Identity>(&outcome.stdout).ok();
    let refuse = |error: String, hint: &str| {
        Err(Refusal { error, hint: Some(format!("nothing was changed; {hint}")) })
    };
    let Some(identity) = identity.filter(|identity| outcome.status.success() && identity.name == "vipcast")
    else {
        return refuse(
            format!(
                "{} is no vipcast that can take over: it does not say so when run with `version --json`",
                program.display()
            ),
            "put the right program for this machine there; to go back to an old vipcast, stop and start, which drains first",
        );
    };
    let (form, takes_over) = (identity.form(), identity.takes_over());
    let Identity { version, commit, hands_over: theirs, .. } = identity;
    let next = Program { version, commit };
    match (form, way) {
        (form @ Some(_), Way::HandOver { .. }) => Ok((next, form)),
        (_, Way::GracefulRestart) if takes_over => Ok((next, None)),
        (_, Way::GracefulRestart) => refuse(
            format!("{} is vipcast {next}, which cannot take over from this one", program.display()),
            "stop and start instead, which drains first",
        ),
        (None, Way::HandOver { .. }) => refuse(
            format!(
                "{} is vipcast {next}, which does not read the state of this one: it reads {}, this one writes {}",
                program.display(),
                forms(&theirs),
                forms(&Version::ALL.map(Version::number))
            ),
            "`vipcast restart --graceful`, or stop and start, does not need the state",
        ),
    }
}

/// Versions of the form, in words.
fn forms(numbers: &[u32]) -> String {
    match numbers {
        [] => "no form of it".to_owned(),
        [one] => format!("form {one}"),
        [begin @ .., last] => {
            let begin: Vec<String> = begin.iter().map(u32::to_string).collect();
            format!("forms {} and {last}", begin.join(", "))
        }
    }
}

fn troubled(program: &Path, arguments: &str, trouble: &Trouble) -> Refusal {
    match trouble {
        Trouble::NotStarted(error) => Refusal {
            error: format!("cannot run {}: {error}", program.display()),
            hint: Some("nothing was changed; is the new program in its place?".to_owned()),
        },
        Trouble::Hangs(after) => Refusal {
            error: format!("`{} {arguments}` does not end: killed after {after:?}", program.display()),
            hint: Some("nothing was changed; fix it and try again".to_owned()),
        },
    }
}

/// Replaces this process for a graceful restart. Returns only on failure.
pub fn exec() -> io::Error {
    exec_with(&[(FOLLOWS, &std::process::id().to_string())])
}

/// Replaces this process by the next program, with the same arguments, and with these variables for it. Returns only on
/// failure.
pub(crate) fn exec_with(variables: &[(&str, &str)]) -> io::Error {
    let mut command = Command::new(program());
    command.args(std::env::args_os().skip(1));
    // Those of an earlier change of process, which had the same id.
    for variable in handover::VARIABLES.into_iter().chain([FOLLOWS]) {
        command.env_remove(variable);
    }
    command.envs(variables.iter().copied()).exec()
}

/// Whether this program has replaced another vipcast: routers keep its routes, and its addresses are on the host.
pub fn follows() -> bool {
    is_of_this_process(std::env::var_os(FOLLOWS)) || handover::is_arrival()
}

/// Programs that we start may inherit the variable: it is only for the process with this id.
fn is_of_this_process(value: Option<OsString>) -> bool {
    value.is_some_and(|value| value == OsString::from(std::process::id().to_string()))
}

/// The path that this process was started by, not the file of that time: an upgrade has replaced the file.
fn program() -> PathBuf {
    let name = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    // A plain name was searched in PATH; a name with a slash is a path, which stays unchanged.
    let found = match name.components().count() {
        1 if !name.has_root() => std::env::var_os("PATH").and_then(|path| {
            std::env::split_paths(&path).map(|directory| directory.join(&name)).find(|path| path.is_file())
        }),
        _ => std::path::absolute(&name).ok(),
    };
    found.filter(|path| path.is_file()).or_else(own_path).unwrap_or(name)
}

/// The path of the executable at the start, for a caller that used another name; the kernel marks a removed file.
fn own_path() -> Option<PathBuf> {
    let path = std::fs::read_link("/proc/self/exe").ok()?.into_os_string().into_string().ok()?;
    Some(PathBuf::from(path.strip_suffix(" (deleted)").unwrap_or(&path)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;
    use std::time::Instant;

    use jiff::Timestamp;
    use vipcast_node::engine::Left;
    use vipcast_node::model::Config;
    use vipcast_node::node::{Birth, Node};

    use super::*;

    fn script(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("vipcast-rehearsal-{}-{name}", std::process::id()));
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn refused(name: &str, text: &str) -> String {
        let path = script(name, text);
        let refusal = try_out(&path, Path::new("/nonexistent/vipcast.yaml"), None).unwrap_err();
        fs::remove_file(&path).unwrap();
        refusal.error.replace(&path.display().to_string(), "PROGRAM")
    }

    #[test]
    fn only_the_process_that_was_replaced_follows_itself() {
        let pid = std::process::id();
        assert!(is_of_this_process(Some(pid.to_string().into())));
        assert!(!is_of_this_process(Some((pid + 1).to_string().into())));
        assert!(!is_of_this_process(None) && !follows());
    }

    /// A copy of a node that has just begun.
    fn copy() -> Copy {
        let birth = Birth {
            config: Arc::new(Config::new([], [])),
            warnings: Vec::new(),
            path: String::new(),
            left: Left::default(),
            version: (String::new(), None),
            seed: 7,
        };
        Copy { by: Identity::program(), at: Timestamp::UNIX_EPOCH, node: Node::new(birth).freeze() }
    }

    const IDENTITY: &str = r#"[ $1 = version ] && { echo '{"name": "vipcast", "version": "9.9.9", "takes_over": 99}'; exit 0; }"#;

    #[test]
    fn a_program_that_exits_with_0_and_is_no_vipcast_is_refused() {
        let no_vipcast =
            "PROGRAM is no vipcast that can take over: it does not say so when run with `version --json`";
        assert_eq!(refused("true", "exit 0"), no_vipcast);
        assert_eq!(
            refused("other", r#"echo '{"name": "other", "version": "1", "takes_over": 9}'"#),
            no_vipcast
        );
        assert_eq!(refused("old", "echo vipcast 0.1.0; exit 2"), no_vipcast);
    }

    #[test]
    fn a_vipcast_that_is_too_old_to_take_over_is_refused_with_its_version() {
        let old = r#"echo '{"name": "vipcast", "version": "0.0.9"}'"#;
        assert_eq!(refused("older", old), "PROGRAM is vipcast 0.0.9, which cannot take over from this one");
    }

    #[test]
    fn a_vipcast_that_does_not_read_our_state_cannot_be_handed_over_to() {
        let tried = |forms: &str| {
            let text = IDENTITY.replace(r#""takes_over": 99"#, &format!(r#""takes_over": 99{forms}"#));
            let path = script("before", &format!("{text}\nexit 0"));
            let refusal = try_out(&path, Path::new("/nonexistent"), Some(copy())).unwrap_err();
            fs::remove_file(&path).unwrap();
            let hint = "nothing was changed; `vipcast restart --graceful`, or stop and start, does not need the state";
            assert_eq!(refusal.hint.as_deref(), Some(hint));
            refusal.error.replace(&path.display().to_string(), "PROGRAM")
        };
        let says = "PROGRAM is vipcast 9.9.9, which does not read the state of this one";
        assert_eq!(tried(""), format!("{says}: it reads no form of it, this one writes forms 1 and 2"));
        let later = tried(r#", "hands_over": [7, 8, 9]"#);
        assert_eq!(later, format!("{says}: it reads forms 7, 8 and 9, this one writes forms 1 and 2"));
    }

    #[test]
    fn a_vipcast_that_cannot_go_on_from_the_state_is_refused_with_its_words() {
        let tried = |forms: &str, text: &str| {
            let reads = IDENTITY.replace(r#""takes_over": 99"#, &format!(r#""hands_over": {forms}"#));
            let path = script("thaws", &format!("{reads}\n[ $1 = check ] && exit 0\n{text}"));
            let tried = try_out(&path, Path::new("/nonexistent"), Some(copy()));
            fs::remove_file(&path).unwrap();
            tried.map_err(|refusal| refusal.error.replace(&path.display().to_string(), "PROGRAM"))
        };
        let program = Program { version: "9.9.9".to_owned(), commit: None };
        for (forms, key, version) in
            [("[1]", "v1", Version::V1), ("[1, 2]", "v2", Version::V2), ("[2, 3]", "v2", Version::V2)]
        {
            let reads = format!(r#"[ "$1 $2" = "thaw /nonexistent" ] && [ "$(head -c 5)" = '{{"{key}"' ]"#);
            assert_eq!(tried(forms, &reads), Ok((program.clone(), Some(version))));
        }
        let panics = "echo thread panicked >&2; exit 101";
        let said = "PROGRAM cannot go on from the state of this one (exit status: 101):\nthread panicked";
        assert_eq!(tried("[1]", panics).unwrap_err(), said);
    }

    #[test]
    fn a_program_that_was_changed_since_it_was_tried_out_is_refused() {
        let text = IDENTITY.replace(r#""takes_over": 99"#, r#""takes_over": 99, "hands_over": [1]"#);
        let path = script("changes", &text);
        let program = Program { version: "9.9.9".to_owned(), commit: None };
        let rehearsed = Rehearsed { program, form: Some(Version::V1), file: state_of(&path), path };
        let path = &rehearsed.path;
        assert_eq!(is_as_rehearsed(&rehearsed), Ok(()));
        let said = format!("{} was changed since it was tried out", path.display());
        // Other content of the same length, and another file with the same content.
        let other = text.replace("9.9.9", "9.9.8");
        fs::write(path, format!("#!/bin/sh\n{other}\n")).unwrap();
        assert_eq!(is_as_rehearsed(&rehearsed).unwrap_err().error, said);
        let another = Rehearsed { file: state_of(path), ..rehearsed.clone() };
        assert_eq!(is_as_rehearsed(&another).unwrap_err().error, said, "it says another version");
        fs::remove_file(path).unwrap();
        assert_eq!(is_as_rehearsed(&rehearsed).unwrap_err().error, said);
    }

    #[test]
    fn the_last_look_refuses_while_a_thread_hangs_in_the_kernel() {
        let text = IDENTITY.replace(r#""takes_over": 99"#, r#""takes_over": 99, "hands_over": [1]"#);
        let path = script("waits", &text);
        let program = Program { version: "9.9.9".to_owned(), commit: None };
        let rehearsed =
            Rehearsed { program, form: Some(Version::V1), file: state_of(&path), path: path.clone() };
        let hung = hanging::tests::Hung::new("hung-for-look");
        let refused = look_again(rehearsed.clone()).blocking_recv().unwrap().unwrap_err();
        assert!(
            refused.error.contains("hangs in the kernel (") && refused.error.contains("hung-for-look"),
            "{refused:?}"
        );
        drop(hung);
        // A thread of another test may hang then.
        let after = look_again(rehearsed).blocking_recv().unwrap();
        assert!(after.err().is_none_or(|refused| !refused.error.contains("hung-for-look")));
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_what_it_has_started_and_refused() {
        let began = Instant::now();
        let pid = std::env::temp_dir().join(format!("vipcast-rehearsal-{}-child", std::process::id()));
        let said = refused("hangs", &format!("sleep 1000 & echo $! > {}; wait", pid.display()));
        assert_eq!(said, "`PROGRAM version --json` does not end: killed after 5s");
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        let child = fs::read_to_string(&pid).unwrap();
        // The process has its SIGKILL; it dies when it is next scheduled.
        let state = || fs::read_to_string(format!("/proc/{}/stat", child.trim())).unwrap_or_default();
        while !(state().is_empty() || state().contains(") Z ")) {
            assert!(began.elapsed() < Duration::from_secs(60), "{}", state());
            std::thread::sleep(Duration::from_millis(10));
        }
        fs::remove_file(pid).unwrap();
    }

    #[test]
    fn endless_output_is_bounded_and_what_it_says_is_shown() {
        let said =
            refused("talks", &format!("{IDENTITY}\nhead -c 50000000 /dev/zero | tr '\\0' x >&2; exit 78"));
        assert!(
            said.starts_with("PROGRAM does not accept the configuration (exit status: 78):\nxxx"),
            "{}",
            &said[..99]
        );
        assert!(said.len() < 100_000, "{}", said.len());
    }

    #[test]
    fn a_vipcast_that_accepts_the_configuration_may_follow() {
        let path = script("good", &format!("{IDENTITY}\nexit 0"));
        assert!(try_out(&path, Path::new("/nonexistent"), None).is_ok());
        fs::remove_file(path).unwrap();
    }
}
