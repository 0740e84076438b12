//! Configuration: from the operator's text to [`model::Config`].
//!
//! ```text
//! files ─► tree ─► global, peers, checks, services ─► resolve ─► host ─► model::Config
//!           │              │                             │          │
//!           └──────────────┴── Report ───────────────────┴──────────┴─► Diagnostics
//! ```
//!
//! * `tree` keeps every key and value with its place in the text, and fills in the variables of values (`variables`).
//!   Only a syntax error ends the work there.
//! * The readers take a tree apart, collect all its errors, and know the defaults ([`defaults`]).
//! * `resolve` joins the files and follows names. A [`model::Config`] is made only without errors, so every
//!   [`model::Config`] is valid (I8).
//!
//! | to add … | change |
//! | --- | --- |
//! | a key | [`keys`] (its definition), the reader of its section, [`model`] |
//! | a kind of check | a folder of `check::kinds`, and its line there |
//! | a kind of value | `read::value` |
//!
//! All of this but `host` is pure once the files are read. `host` looks for the users, groups, programs and files that
//! the configuration names, and reports the effect of a missing one: see [`Host`].

pub mod diagnostic;

mod bfd;
pub(crate) mod checks;
mod file;
pub(crate) mod files;
mod global;
mod graceful_restart;
mod hooks;
pub(crate) mod host;
pub mod keys;
mod peers;
pub(crate) mod read;
mod resolve;
pub(crate) mod secret;
mod sense;
mod services;
mod socket;
mod transport;
mod variables;

#[cfg(test)]
pub(crate) mod tests;

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
pub use vipcast_node::defaults::CONTROL_SOCKET as DEFAULT_SOCKET;
pub use vipcast_node::model::Config;
use vipcast_node::{defaults, model};

pub use self::diagnostic::{Diagnostic, Diagnostics, Severity};
use self::diagnostic::{FileId, Report};
pub use self::host::Host;
use self::read::tree::{self, Node, Value};
pub use self::read::value::{DurationError, NameError, parse_duration, parse_service_name};
use self::resolve::{Document, resolve};
pub use self::socket::control_socket;
pub use self::variables::Variables;
use crate::blocking;

/// The default path of the configuration.
pub const DEFAULT_PATH: &str = "/etc/vipcast/vipcast.yaml";

/// The directory beside the main file whose `*.yaml` files hold more services and checks.
const DROP_IN_DIRECTORY: &str = "services.d";

/// The largest file that is read: 16 MiB.
const LARGEST_FILE: usize = 16 << 20;

/// A valid configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The warnings; usually empty.
    pub warnings: Diagnostics,
}

/// The files of a configuration as they were read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Texts {
    main: Text,
    drop_ins: Vec<Text>,
}

/// A file that was read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    name: String,
    mode: u32,
    #[serde(with = "octets")]
    bytes: Vec<u8>,
}

/// A text in JSON. What is handed over was read, so it is UTF-8.
mod octets {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&String::from_utf8_lossy(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        String::deserialize(deserializer).map(String::into_bytes)
    }
}

/// Without the content, which may have secrets.
impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Text").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Reads a configuration file and `services.d/*.yaml` beside it, fills in variables from the environment, and looks whether `host` has what it needs. Blocks for as
/// long as files and names take.
///
/// # Errors
///
/// Everything that is wrong with it, all at once, warnings included; after a syntax error in a file, nothing else of
/// that file.
pub fn load(path: &Path, host: Host) -> Result<Loaded, Diagnostics> {
    load_with_texts(path, host).map(|(loaded, _)| loaded)
}

/// The same, and the texts of its files, for a program that must not depend on the files.
///
/// # Errors
///
/// As [`load`].
pub(crate) fn load_with_texts(path: &Path, host: Host) -> Result<(Loaded, Texts), Diagnostics> {
    let mut report = Report::default();
    let main = read_file(path, &mut report);
    let paths = |report: &mut Report| drop_in_paths(path, report);
    load_from(main, paths, |path, report| read_file(path, report), host, report)
}

/// Reads a configuration from the texts of its files.
///
/// # Errors
///
/// As [`load`].
pub(crate) fn load_texts(texts: Texts, host: Host) -> Result<Loaded, Diagnostics> {
    let Texts { main, drop_ins } = texts;
    let loaded = load_from(Some(main), |_| drop_ins, |text, _| Some(text.clone()), host, Report::default());
    loaded.map(|(loaded, _)| loaded)
}

/// `None`: a file that cannot be read, which is reported.
fn load_from<T>(
    main: Option<Text>,
    drop_ins: impl FnOnce(&mut Report) -> Vec<T>,
    read: impl Fn(&T, &mut Report) -> Option<Text>,
    host: Host,
    mut report: Report,
) -> Result<(Loaded, Texts), Diagnostics> {
    let variables = Variables::of_process();
    let (mut documents, mut texts) = (Vec::new(), Vec::new());
    let mut readable = true;
    let main_file = main.as_ref().and_then(|text| take_file(text, host, &mut report));
    for drop_in in drop_ins(&mut report) {
        let text = read(&drop_in, &mut report);
        let file = text.as_ref().and_then(|text| take_file(text, host, &mut report));
        match file.and_then(|file| parse_file(file, &variables, &mut report)) {
            Some(document) => documents.push(document),
            None => readable = false,
        }
        texts.extend(text);
    }
    let document = main_file.and_then(|file| parse_main(file, &variables, &mut report));
    match (document, main) {
        // With a file missing from the picture, names that it defines would be reported as unknown.
        (Some(document), Some(main)) if readable => {
            Ok((finish(&document, &documents, host, report)?, Texts { main, drop_ins: texts }))
        }
        _ => Err(report.finish()),
    }
}

/// Reads a configuration from text, for this host. `name` stands for the file in diagnostics.
///
/// # Errors
///
/// As [`load`].
pub fn parse(name: &str, text: &str) -> Result<Loaded, Diagnostics> {
    parse_with(name, text, &Variables::of_process())
}

/// The same, for any host, and without variables.
///
/// # Errors
///
/// As [`load`].
pub(crate) fn parse_offline(name: &str, text: &str) -> Result<Loaded, Diagnostics> {
    parse_for(name, text, &Variables::default(), Host::Offline)
}

/// The same, with these variables.
///
/// # Errors
///
/// As [`load`].
pub fn parse_with(name: &str, text: &str, variables: &Variables) -> Result<Loaded, Diagnostics> {
    parse_for(name, text, variables, Host::Strict)
}

fn parse_for(name: &str, text: &str, variables: &Variables, host: Host) -> Result<Loaded, Diagnostics> {
    let mut report = Report::default();
    let file = add_text(name, text, &mut report);
    match file.and_then(|file| parse_main(file, variables, &mut report)) {
        Some(main) => finish(&main, &[], host, report),
        None => Err(report.finish()),
    }
}

fn finish(
    main: &Document,
    drop_ins: &[Document],
    host: Host,
    mut report: Report,
) -> Result<Loaded, Diagnostics> {
    let config = resolve(main, drop_ins, &mut report);
    let config = host::settle(config, host, &mut report);
    let found = report.finish();
    match config {
        Some(config) => Ok(Loaded { config, warnings: found }),
        None => Err(found),
    }
}

fn parse_file(file: FileId, variables: &Variables, report: &mut Report) -> Option<Document> {
    let root = tree::parse(file, variables, report);
    if root.is_none() {
        report.redact_unparsed(file);
    }
    root.map(|root| Document { file, root })
}

fn parse_main(file: FileId, variables: &Variables, report: &mut Report) -> Option<Document> {
    let document = parse_file(file, variables, report)?;
    if let Node { value: Value::Null, .. } = document.root {
        report.file_error(file, "the configuration is empty").hint("examples/ has some to start from");
        return None;
    }
    Some(document)
}

/// Reads one file. Its errors are reported under its name.
fn read_file(path: &Path, report: &mut Report) -> Option<Text> {
    let name = path.display().to_string();
    match read_bytes(path) {
        Ok((bytes, mode)) => Some(Text { name, mode, bytes }),
        Err(error) => {
            let file = report.add_file(&name, "");
            let diagnostic = report.unread(file, &error);
            if error.kind() == ErrorKind::NotFound {
                diagnostic.hint("give the path of a configuration; examples/ has some to start from");
            } else if error.kind() == ErrorKind::PermissionDenied {
                diagnostic.hint("the user that vipcast runs as must be able to read it");
            }
            None
        }
    }
}

/// Takes the content of one file, and looks who may read it.
fn take_file(Text { name, mode, bytes }: &Text, host: Host, report: &mut Report) -> Option<FileId> {
    match std::str::from_utf8(bytes) {
        Ok(text) => {
            let file = add_text(name, text, report)?;
            let exposure = match host {
                Host::Strict => Some(Severity::Error),
                // Others have read it already: a node without routes is no remedy.
                Host::Lenient => Some(Severity::Warning),
                // A file has whatever mode a checkout gave it.
                Host::Offline => None,
            };
            if let Some(severity) = exposure.filter(|_| mode & 0o006 != 0) {
                report.set_exposed(file, severity);
            }
            if mode & 0o002 != 0 && host != Host::Offline {
                report
                    .file_warning(
                        file,
                        "everyone may change this file, and with it what vipcast runs and announces",
                    )
                    .hint(format!("`chmod o-w {name}`"));
            }
            Some(file)
        }
        Err(_) if is_utf16(bytes) => {
            let file = report.add_file(name, "");
            report
                .file_error(file, "the file is UTF-16")
                .hint(format!("convert it: `iconv -f utf-16 -t utf-8 {name}`"));
            None
        }
        Err(error) => {
            let text = String::from_utf8_lossy(&bytes[..error.valid_up_to()]).into_owned();
            let file = report.add_file(name, &text);
            let line = text.matches('\n').count() + 1;
            report
                .file_error(file, format!("the file is not UTF-8: line {line} holds other bytes"))
                .hint(format!("convert it, for example: `iconv -f latin1 -t utf-8 {name}`"));
            None
        }
    }
}

/// Known by its byte order mark, which is no UTF-8.
fn is_utf16(bytes: &[u8]) -> bool {
    matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..])
}

/// The content and the mode of a file.
fn read_bytes(path: &Path) -> std::io::Result<(Vec<u8>, u32)> {
    // One byte more than allowed, to tell a file that fits from one that does not.
    let (metadata, bytes) = file::read_stream(path, LARGEST_FILE as u64 + 1)?;
    Ok((bytes, metadata.permissions().mode()))
}

fn add_text(name: &str, text: &str, report: &mut Report) -> Option<FileId> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.len() > LARGEST_FILE {
        let file = report.add_file(name, "");
        report
            .file_error(file, format!("the file is larger than {} MiB", LARGEST_FILE >> 20))
            .hint("is it really a configuration?");
        return None;
    }
    Some(report.add_file(name, text))
}

/// The files of `services.d`, by name. Empty without that directory.
fn drop_in_paths(main: &Path, report: &mut Report) -> Vec<PathBuf> {
    let directory = main.parent().unwrap_or(Path::new("")).join(DROP_IN_DIRECTORY);
    let list = || -> std::io::Result<Vec<PathBuf>> {
        std::fs::read_dir(&directory)?.map(|entry| entry.map(|entry| entry.path())).collect()
    };
    let listed = blocking::at(|| directory.display().to_string(), list);
    let mut paths = match listed {
        Ok(paths) => paths,
        Err(error) if error.kind() == ErrorKind::NotFound => return Vec::new(),
        Err(error) => {
            let name = directory.display().to_string();
            let file = report.add_file(&name, "");
            report.unread(file, &error);
            return Vec::new();
        }
    };
    paths.sort();
    paths.retain(|path| {
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if !hidden && matches!(extension, "yml" | "json") {
            let file = report.add_file(&path.display().to_string(), "");
            report
                .file_warning(file, "the file is not read: its name does not end in `.yaml`")
                .hint("rename it, or remove it");
        }
        !hidden && extension == "yaml"
    });
    paths
}
