//! The requirements of a configuration on its host: users, groups, programs, files. The readers collect them; this
//! module verifies them once everything is read. So a configuration can be read on another host ([`Host::Offline`]),
//! and a missing requirement at a start stops only the part that needs it ([`Host::Lenient`]): names and files are
//! looked up again when they are used.

use std::fs::Metadata;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::{Group, User};
use vipcast_bgp::net::words::io_error;
use vipcast_bgp::transport::Authentication;

use super::diagnostic::{Report, Severity, Span};
use super::files::{self, ClientFiles, FileError};
use super::model::{Config, KeyPlace, KeySource};
use super::read::short;
use crate::blocking;

/// The time that a start waits for a host that does not answer (LDAP, NFS). A requirement without an answer by then
/// counts as missing.
const PATIENCE: Duration = Duration::from_secs(3);

/// The effect of a requirement that the host does not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Host {
    /// The configuration is invalid: for `vipcast check` and a reload.
    Strict,
    /// The configuration works, except for the part that needs it: for a start, when no other process announces.
    Lenient,
    /// The host is not examined: for `vipcast check` on another host.
    Offline,
}

/// A requirement on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    /// A user that programs run as.
    User(String),
    /// A group.
    Group(String, GroupUse),
    /// A program; without it a check or a hook fails, which is no mistake.
    Program(PathBuf),
    /// A directory where a program runs; the same.
    Directory(PathBuf),
    /// A PEM file with certificates.
    Certificates(PathBuf),
    /// A PEM file with a private key.
    PrivateKey(PathBuf),
    /// The key must be that of the certificate, which stands at the span.
    Pair(ClientFiles, Span),
    /// The key of a session.
    Key(KeySource),
    /// The password of a check.
    Password(KeyPlace),
    /// Two peers at one address must have the same key; the span is that of the first.
    SameKey(IpAddr, [KeyOrNot; 2], Span),
}

/// The key of a session, if it is known before the host is examined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyOrNot {
    Written(Option<Authentication>),
    At(KeySource),
}

/// The use of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GroupUse {
    Exec,
    Control,
}

/// An unmet requirement.
#[derive(Debug)]
struct Finding {
    severity: Severity,
    message: String,
    hint: Option<String>,
    also: Option<(Span, &'static str)>,
}

/// The key of a session, if the requirement is one.
type Seen = Result<Option<Authentication>, Finding>;

/// Verifies the requirements of `config`, and reads the keys of its peers. Unmet requirements are reported.
pub(super) fn settle(config: Option<Config>, host: Host, report: &mut Report) -> Option<Config> {
    let needs = report.take_needs();
    let seen = match host {
        Host::Offline => Vec::new(),
        Host::Strict => needs.iter().map(|(_, need)| look(need)).collect(),
        Host::Lenient => within(PATIENCE, needs.iter().map(|(_, need)| need.clone()).collect()),
    };
    let mut keys = Vec::new();
    for ((span, need), seen) in needs.iter().zip(seen) {
        match (seen, need) {
            (Ok(Some(key)), Need::Key(source)) => keys.push((source, key)),
            (Ok(_), _) => {}
            // Nothing is missing: the file itself contradicts itself.
            (Err(finding), Need::SameKey(..)) => tell(finding, *span, Host::Strict, report),
            (Err(finding), _) => tell(finding, *span, host, report),
        }
    }
    let mut config = config.filter(|_| !report.has_errors())?;
    for peer in config.peers.values_mut() {
        let Some(source) = &peer.key_source else { continue };
        peer.authentication = keys.iter().find(|(of, _)| *of == source).map(|(_, key)| key.clone());
    }
    Some(config)
}

/// The consequence at a start.
const UNTIL_MENDED: &str = "; only what needs it fails, until that is mended";

fn tell(finding: Finding, span: Span, host: Host, report: &mut Report) {
    let Finding { severity, mut message, hint, also } = finding;
    let diagnostic = match (severity, host) {
        (Severity::Error, Host::Lenient) => {
            message.push_str(UNTIL_MENDED);
            report.warning(span, message)
        }
        (Severity::Error, Host::Strict | Host::Offline) => report.error(span, message),
        (Severity::Warning, _) => report.warning(span, message),
    };
    if let Some(hint) = hint {
        diagnostic.hint(hint);
    }
    if let Some((span, label)) = also {
        diagnostic.also(span, label);
    }
}

/// The same for all, on a separate thread; a requirement without an answer in time is missing.
fn within(patience: Duration, needs: Vec<Need>) -> Vec<Seen> {
    let mut seen: Vec<Seen> = needs.iter().map(|need| Err(silent(need, patience))).collect();
    let (tell, hear) = mpsc::channel();
    let looking = move || {
        for (at, need) in needs.iter().enumerate() {
            if tell.send((at, look(need))).is_err() {
                return;
            }
        }
    };
    if thread::Builder::new().name("host".into()).spawn(looking).is_err() {
        return seen;
    }
    let until = Instant::now() + patience;
    while let Ok((at, answer)) = hear.recv_timeout(until.saturating_duration_since(Instant::now())) {
        seen[at] = answer;
    }
    seen
}

fn silent(need: &Need, patience: Duration) -> Finding {
    let subject = match need {
        Need::User(name) => format!("the user `{}` cannot be looked up", short(name)),
        Need::Group(name, _) => format!("the group `{}` cannot be looked up", short(name)),
        Need::Program(path)
        | Need::Directory(path)
        | Need::Certificates(path)
        | Need::PrivateKey(path)
        | Need::Pair(ClientFiles { key: path, .. }, _) => format!("`{}` cannot be read", path.display()),
        Need::Password(_) => "the password cannot be read".to_owned(),
        Need::Key(_) | Need::SameKey(..) => "the key of the session cannot be read".to_owned(),
    };
    let message = format!("{subject}: no answer within {} s{UNTIL_MENDED}", patience.as_secs());
    Finding { severity: Severity::Warning, message, hint: None, also: None }
}

/// Looks at the host; may block for as long as that takes.
fn look(need: &Need) -> Seen {
    let error =
        |message, hint: Option<String>| Finding { severity: Severity::Error, message, hint, also: None };
    let of_file = |cause: FileError| error(cause.to_string(), cause.hint());
    match need {
        Need::User(name) => match blocking::at(|| format!("the user {name}"), || User::from_name(name)) {
            Ok(Some(_)) => Ok(None),
            Ok(None) => Err(error(
                format!("there is no user `{}` on this host", short(name)),
                Some("`getent passwd` lists the users; leave `user` out to run as the daemon".to_owned()),
            )),
            Err(errno) => Err(error(
                format!("cannot look up the user `{}`: {}", short(name), io_error(&errno.into())),
                None,
            )),
        },
        Need::Group(name, purpose) => {
            match blocking::at(|| format!("the group {name}"), || Group::from_name(name)) {
                Ok(Some(_)) => Ok(None),
                Ok(None) => Err(error(
                    format!("there is no group `{}` on this host", short(name)),
                    Some(match purpose {
                        GroupUse::Exec => {
                            "`getent group` lists the groups; leave `group` out for that of the user"
                                .to_owned()
                        }
                        GroupUse::Control => {
                            format!("create it with `groupadd --system {}`, or name another", short(name))
                        }
                    }),
                )),
                Err(errno) => Err(error(
                    format!("cannot look up the group `{}`: {}", short(name), io_error(&errno.into())),
                    None,
                )),
            }
        }
        Need::Program(path) => {
            let trouble = match metadata(path) {
                Ok(found) if !found.is_file() => String::from("it is not a file"),
                Ok(found) if found.permissions().mode() & 0o111 == 0 => String::from("it is not executable"),
                Ok(found) if found.permissions().mode() & 0o002 != 0 => return Err(everyones(path)),
                Ok(_) => return Ok(None),
                Err(error) => io_error(&error),
            };
            Err(until_it_can(format!("`{}` cannot be run: {trouble}", short(&path.display().to_string()))))
        }
        Need::Directory(path) => {
            let trouble = match metadata(path) {
                Ok(found) if found.is_dir() => return Ok(None),
                Ok(_) => String::from("it is not a directory"),
                Err(error) => io_error(&error),
            };
            Err(until_it_can(format!(
                "nothing can run in `{}`: {trouble}",
                short(&path.display().to_string())
            )))
        }
        Need::Certificates(path) => files::certificates(path).map(|_| None).map_err(of_file),
        Need::PrivateKey(path) => files::private_key(path).map(|_| None).map_err(of_file),
        Need::Pair(files, place) => match files::identity(files) {
            Err(cause @ FileError::Unfitting { .. }) => {
                Err(Finding { also: Some((*place, "the certificate")), ..of_file(cause) })
            }
            // An error in one of them alone is reported by its own requirement.
            Ok(_) | Err(_) => Ok(None),
        },
        Need::Key(source) => files::read_key(source).map(Some).map_err(of_file),
        Need::Password(place) => files::password(place).map(|_| None).map_err(of_file),
        Need::SameKey(address, keys, first) => {
            let [Ok(this), Ok(other)] = keys.each_ref().map(KeyOrNot::read) else { return Ok(None) };
            if this == other {
                return Ok(None);
            }
            Err(Finding {
                also: Some((*first, "the other is here")),
                ..error(
                    format!("two peers at {address} have different passwords"),
                    Some(
                        "the kernel checks incoming packets by address; give both the same, or use another address"
                            .to_owned(),
                    ),
                )
            })
        }
    }
}

fn metadata(path: &Path) -> std::io::Result<Metadata> {
    blocking::at(|| path.display().to_string(), || std::fs::metadata(path))
}

/// A user who may change a program decides what the daemon runs.
fn everyones(program: &Path) -> Finding {
    let name = short(&program.display().to_string());
    let message = format!("everyone may change `{name}`, and vipcast runs it");
    Finding { severity: Severity::Warning, message, hint: Some(format!("`chmod o-w {name}`")), also: None }
}

/// The check or the hook fails, which is no mistake of the configuration.
fn until_it_can(message: String) -> Finding {
    let hint = Some("the check or hook fails until it can".to_owned());
    Finding { severity: Severity::Warning, message, hint, also: None }
}

impl KeyOrNot {
    fn read(&self) -> Result<Option<Authentication>, FileError> {
        match self {
            Self::Written(key) => Ok(key.clone()),
            Self::At(source) => files::read_key(source).map(Some),
        }
    }
}
