//! Keys that both ends of a session share, and passwords of checks: in the configuration itself, in a file, or in a credential of
//! systemd. They are never shown: a diagnostic names the file, or has stars where the key stands.

use vipcast_bgp::secret::Secret;

use super::diagnostic::{Report, Severity, Span};
use super::files;
use super::host::Need;
use super::model::KeyPlace;
use super::read::tree::{Node, Value};
use super::read::{Field, Placed, Table, expected, only_one, value};
use crate::check::password::{Password, PasswordSource};

/// `password: …`. The file that it stands in is then a secret itself.
pub(super) fn written(node: &Node, key: Span, report: &mut Report) -> Option<Secret> {
    match Secret::new(secret(node, key, ("password", "password_file"), report)?.as_bytes()) {
        Ok(secret) => Some(secret),
        Err(error) => {
            let diagnostic = report.error(node.span, format!("the password cannot be used: {error}"));
            if let Some(hint) = files::without_password(&error) {
                diagnostic.hint(hint);
            }
            None
        }
    }
}

/// `password`, `password_file` or `password_credential` of a check.
pub(crate) fn of_check(table: &mut Table<'_>, report: &mut Report) -> Field<PasswordSource> {
    let keys = ["password", "password_file", "password_credential"];
    one_of(keys, "a check has one password", table, report)
}

/// `secret`, `secret_file` or `secret_credential` of a hook.
pub(super) fn of_hook(table: &mut Table<'_>, report: &mut Report) -> Field<PasswordSource> {
    one_of(["secret", "secret_file", "secret_credential"], "a hook has one secret", table, report)
}

/// A secret that is written, in a file, or a credential.
fn one_of(
    [written_key, file_key, credential_key]: [&'static str; 3],
    why: &str,
    table: &mut Table<'_>,
    report: &mut Report,
) -> Field<PasswordSource> {
    let written = table.field(written_key, report, |node, key, report| {
        match Password::new(secret(node, key, (written_key, file_key), report)?.as_bytes()) {
            Ok(password) => Some(password),
            Err(cause) => {
                report
                    .error(node.span, format!("the {written_key} cannot be used: {cause}"))
                    .hint(format!("leave the key out where the server wants no {written_key}"));
                None
            }
        }
    });
    let file = table.field(file_key, report, file);
    let credential = table.field(credential_key, report, credential);
    let given = [
        (written_key, written.map(PasswordSource::Written)),
        (file_key, file.map(PasswordSource::At)),
        (credential_key, credential.map(PasswordSource::At)),
    ];
    let source = only_one(given, why, report);
    if let Field::Set(Placed { value: PasswordSource::At(place), span }) = &source {
        report.needs(*span, Need::Password(place.clone()));
    }
    source
}

/// A secret that stands in the configuration under the key `what`; the key `file` names a file for it.
fn secret<'t>(node: &'t Node, key: Span, (what, file): (&str, &str), report: &mut Report) -> Option<&'t str> {
    report.redact(node.span);
    let Value::Scalar(text) = &node.value else {
        expected(node, key, &format!("a {what}"), report);
        return None;
    };
    let everyones = format!("there is a {what} in this file, and everyone may read it");
    let hint = format!("`chmod o-rw` the file, or write the {what} to another and name it with `{file}`");
    // Of a password from the environment, the file has only the name.
    match report.exposed(key.file).filter(|_| !report.is_from_environment(node.span)) {
        None => {}
        Some(Severity::Warning) => {
            report.warning(key, format!("{everyones}; a reload is refused until that is mended")).hint(hint);
        }
        Some(Severity::Error) => {
            report.error(key, everyones).hint(hint);
            return None;
        }
    }
    Some(text)
}

/// `password_file: /path`.
pub(super) fn file(node: &Node, key: Span, report: &mut Report) -> Option<KeyPlace> {
    value::absolute_path(node, key, report).map(KeyPlace::File)
}

/// `password_credential: name`: what `LoadCredential=name:…` of the systemd unit provides.
pub(super) fn credential(node: &Node, key: Span, report: &mut Report) -> Option<KeyPlace> {
    const WHAT: &str = "the name of a systemd credential";
    let name = value::text(node, key, WHAT, report)?;
    if name.is_empty() || matches!(name, "." | "..") || name.contains(['/', '\0']) {
        expected(node, key, WHAT, report).hint("the name that stands before the colon of `LoadCredential=`");
        return None;
    }
    Some(KeyPlace::Credential(name.to_owned()))
}
