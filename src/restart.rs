//! A graceful restart (RFC 4724) from the outside: the program that will follow is tried out first, and takes the place
//! of this process, with its id, by `execve`. Why so: `docs/adr/0003`.
//!
//! ```text
//!  restart --graceful ─► rehearse: `vipcast version --json` and `vipcast check` of the program on disk ─► leave a note
//!    ─► answer ─► drop everything: sockets close with no NOTIFICATION, addresses stay ─► exec
//! ```

mod hanging;
mod trial;

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use tokio::sync::oneshot;

use self::trial::{Outcome, Trouble, run};
use crate::control::api::Refusal;
use crate::log::trouble;
use crate::version::Identity;

/// How long it may take to say which version it is.
const VERSION_PATIENCE: Duration = Duration::from_secs(5);
/// How long it may take to read the configuration.
const CHECK_PATIENCE: Duration = Duration::from_secs(10);

/// Tells a program that it takes the place of the process of this id.
const FOLLOWS: &str = "VIPCAST_FOLLOWS";

/// What comes of trying out the program that is to follow.
pub type Rehearsal = oneshot::Receiver<Result<(), Refusal>>;

/// Asks the program that would follow which vipcast it is, and runs it with `check`, on a thread of its own: it may be
/// another version, which reads the configuration differently, and it may hang.
pub fn rehearse(config: &Path) -> Rehearsal {
    let (sender, receiver) = oneshot::channel();
    let config = config.to_owned();
    let rehearsal = thread::Builder::new().name("rehearsal".to_owned());
    // Whether the thread could not be made or has no result to send: the receiver learns that it is gone.
    drop(
        rehearsal.spawn(move || drop(sender.send(try_out(&program(), &config).and_then(|()| none_hangs())))),
    );
    receiver
}

/// `execve` would wait for a thread that hangs, with every session closed.
fn none_hangs() -> Result<(), Refusal> {
    match hanging::hanging() {
        Ok(threads) if threads.is_empty() => Ok(()),
        Ok(threads) => Err(Refusal {
            error: format!(
                "a thread of vipcast hangs in the kernel ({}), and the restart would wait for it with every session closed",
                threads.join(", ")
            ),
            hint: Some(
                "nothing was changed; a disk or a file server does not answer: mend that and try again"
                    .to_owned(),
            ),
        }),
        // Without /proc nothing can be seen of it, and most restarts are well without.
        Err(error) => {
            trouble!(%error, "cannot look whether threads hang");
            Ok(())
        }
    }
}

fn try_out(program: &Path, config: &Path) -> Result<(), Refusal> {
    identify(program)?;
    let check = [OsString::from("check"), config.into()];
    match run(program, &check, CHECK_PATIENCE) {
        Ok(outcome) if outcome.status.success() => Ok(()),
        Ok(Outcome { status, stderr, .. }) => Err(Refusal {
            error: format!(
                "{} does not accept the configuration ({status}):\n{}",
                program.display(),
                stderr.trim_end()
            ),
            hint: Some("nothing was changed; mend it and try again".to_owned()),
        }),
        Err(trouble) => Err(troubled(program, "check", &trouble)),
    }
}

/// Any program may exit with 0.
fn identify(program: &Path) -> Result<(), Refusal> {
    let asked = [OsString::from("version"), OsString::from("--json")];
    let outcome = run(program, &asked, VERSION_PATIENCE)
        .map_err(|trouble| troubled(program, "version --json", &trouble))?;
    let identity = serde_json::from_str::<Identity>(&outcome.stdout).ok();
    let refuse = |error: String, hint: &str| {
        Err(Refusal { error, hint: Some(format!("nothing was changed; {hint}")) })
    };
    match identity.filter(|identity| outcome.status.success() && identity.name == "vipcast") {
        Some(identity) if identity.follows_us() => Ok(()),
        Some(Identity { version, .. }) => refuse(
            format!("{} is vipcast {version}, which cannot take over from this one", program.display()),
            "stop and start instead, which drains first",
        ),
        None => refuse(
            format!(
                "{} is no vipcast that can take over: it does not say so when run with `version --json`",
                program.display()
            ),
            "put the right program there; to go back to an old vipcast, stop and start, which drains first",
        ),
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
            hint: Some("nothing was changed; mend it and try again".to_owned()),
        },
    }
}

/// Replaces this process. Returns only when that fails.
pub fn exec() -> io::Error {
    Command::new(program())
        .args(std::env::args_os().skip(1))
        .env(FOLLOWS, std::process::id().to_string())
        .exec()
}

/// Whether this program has taken the place of another vipcast: routers keep its routes, and its addresses are on the host.
pub fn follows() -> bool {
    is_of_this_process(std::env::var_os(FOLLOWS))
}

/// Programs that we start may inherit it: it is for the process of this id alone.
fn is_of_this_process(value: Option<OsString>) -> bool {
    value.is_some_and(|value| value == OsString::from(std::process::id().to_string()))
}

/// What this process was started as, and not the file that it was then: an upgrade has put another in its place.
fn program() -> PathBuf {
    let name = std::env::args_os().next().map(PathBuf::from).unwrap_or_default();
    // A name alone was looked for in PATH; one with a slash is a path, which stays as it is.
    let found = match name.components().count() {
        1 if !name.has_root() => std::env::var_os("PATH").and_then(|path| {
            std::env::split_paths(&path).map(|directory| directory.join(&name)).find(|path| path.is_file())
        }),
        _ => std::path::absolute(&name).ok(),
    };
    found.filter(|path| path.is_file()).or_else(own_path).unwrap_or(name)
}

/// Where this program was when it was started, for whoever calls it by another name; the kernel marks one that is gone.
fn own_path() -> Option<PathBuf> {
    let path = std::fs::read_link("/proc/self/exe").ok()?.into_os_string().into_string().ok()?;
    Some(PathBuf::from(path.strip_suffix(" (deleted)").unwrap_or(&path)))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Instant;

    use super::*;

    fn script(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("vipcast-rehearsal-{}-{name}", std::process::id()));
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn refused(name: &str, text: &str) -> String {
        let path = script(name, text);
        let refusal = try_out(&path, Path::new("/nonexistent/vipcast.yaml")).unwrap_err();
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
    fn a_program_that_hangs_is_killed_with_what_it_has_started_and_refused() {
        let began = Instant::now();
        let pid = std::env::temp_dir().join(format!("vipcast-rehearsal-{}-child", std::process::id()));
        let said = refused("hangs", &format!("sleep 1000 & echo $! > {}; wait", pid.display()));
        assert_eq!(said, "`PROGRAM version --json` does not end: killed after 5s");
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
        let child = fs::read_to_string(&pid).unwrap();
        // It was told to die; it does so when it next has a turn.
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
        assert!(try_out(&path, Path::new("/nonexistent")).is_ok());
        fs::remove_file(path).unwrap();
    }
}
