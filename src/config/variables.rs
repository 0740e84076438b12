//! Variables in values, so that one file serves a fleet: `${NAME}` from the environment, `${NAME:-default}`, and
//! `${hostname}`.
//!
//! Only `${` begins a variable, and `$${` is the text `${`. Every other dollar stands for itself, because expressions end
//! in one and programs get them as arguments. A value is read after it was filled in, so a number stays a number; keys
//! have no variables.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::Range;

use super::diagnostic::secret_words;

/// The variable with the name of the host.
const HOSTNAME: &str = "hostname";

/// The values of variables: the environment of this process, and the name of the host.
#[derive(Debug, Clone, Default)]
pub struct Variables {
    hostname: String,
    environment: BTreeMap<OsString, OsString>,
}

impl Variables {
    /// Those of this process and this host.
    pub fn of_process() -> Self {
        let hostname = rustix::system::uname().nodename().to_string_lossy().into_owned();
        Self { hostname, environment: std::env::vars_os().collect() }
    }

    /// These.
    pub fn new<'a>(hostname: &str, environment: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let environment = environment.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { hostname: hostname.to_owned(), environment }
    }

    fn value(&self, name: &str) -> Result<Option<&str>, Fault> {
        if name == HOSTNAME {
            return Ok(Some(&self.hostname));
        }
        let value = self.environment.get(name.as_ref() as &std::ffi::OsStr);
        value.map(|value| value.to_str().ok_or(Fault::NotText)).transpose()
    }
}

/// A value in which variables were filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filled {
    pub(crate) text: String,
    /// Whether it has variables at all, and not only the text of one.
    pub(crate) has_variables: bool,
    /// Whether a part of it is from the environment, and not in the file.
    pub(crate) is_from_environment: bool,
    /// Whether the name of a variable announces a secret.
    pub(crate) is_secret: bool,
}

/// Why a variable cannot be filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// No `}`.
    Open,
    /// Between the braces is no name.
    NoName,
    /// A variable in a default.
    Nested,
    /// The environment does not have it.
    Missing,
    /// The environment has it, and it is not UTF-8.
    NotText,
}

/// A variable that cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unfilled {
    /// The variable as it is written, to be found in the file.
    pub(crate) written: String,
    name: String,
    fault: Fault,
}

impl Unfilled {
    /// The error.
    pub(crate) fn message(&self) -> String {
        let Self { written, name, fault } = self;
        match fault {
            Fault::Open => "this `${` has no `}`".to_owned(),
            Fault::NoName => format!("`{written}` is not a variable"),
            Fault::Nested => format!("the default of `{name}` has a variable in it"),
            Fault::Missing => format!("the environment has no variable `{name}`"),
            Fault::NotText => format!("the variable `{name}` is not UTF-8"),
        }
    }

    /// The remedy.
    pub(crate) fn hint(&self) -> String {
        let name = &self.name;
        match self.fault {
            Fault::Open | Fault::NoName => {
                "write a variable as `${NAME}` or `${NAME:-default}`, and `$${` for the text `${`".to_owned()
            }
            Fault::Nested => "a default is plain text".to_owned(),
            Fault::Missing if name.eq_ignore_ascii_case(HOSTNAME) => {
                format!("the name of this host is `${{{HOSTNAME}}}`")
            }
            Fault::Missing => format!(
                "set it (`Environment=` or `EnvironmentFile=` of the systemd unit), give it a default with \
                 `${{{name}:-…}}`, or write `$${{{name}}}` for the text itself"
            ),
            Fault::NotText => "a value is UTF-8".to_owned(),
        }
    }
}

/// Whether a text has a variable, or the text of one.
pub(crate) fn is_in(text: &str) -> bool {
    text.contains("${")
}

/// Fills in the variables of a value.
pub(crate) fn fill(text: &str, variables: &Variables) -> Result<Filled, Unfilled> {
    let mut filled =
        Filled { text: String::new(), has_variables: false, is_from_environment: false, is_secret: false };
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        if let Some(before) = rest[..at].strip_suffix('$') {
            filled.text += before;
            filled.text += "${";
            rest = &rest[at + "${".len()..];
            continue;
        }
        filled.text += &rest[..at];
        let end = rest[at..].find('}').map(|end| at + end);
        let Some(end) = end else { return Err(unfilled("${", "", Fault::Open)) };
        variable(rest, at..end + 1, variables, &mut filled)?;
        rest = &rest[end + 1..];
    }
    filled.text += rest;
    Ok(filled)
}

/// Adds the value of the variable that is written at `at`.
fn variable(
    text: &str,
    at: Range<usize>,
    variables: &Variables,
    filled: &mut Filled,
) -> Result<(), Unfilled> {
    let written = &text[at.clone()];
    let inner = &text[at.start + "${".len()..at.end - 1];
    let (name, default) =
        inner.split_once(":-").map_or((inner, None), |(name, default)| (name, Some(default)));
    if !is_name(name) {
        return Err(unfilled(written, name, Fault::NoName));
    }
    if default.is_some_and(is_in) {
        return Err(unfilled(written, name, Fault::Nested));
    }
    let value = variables.value(name).map_err(|fault| unfilled(written, name, fault))?;
    // As in a shell, a default stands for an empty variable as well.
    let value = value.filter(|value| !value.is_empty() || default.is_none());
    filled.has_variables = true;
    filled.is_secret |= secret_words::is_secret_key(name);
    filled.is_from_environment |= value.is_some() && name != HOSTNAME;
    filled.text += value.or(default).ok_or_else(|| unfilled(written, name, Fault::Missing))?;
    Ok(())
}

fn unfilled(written: &str, name: &str, fault: Fault) -> Unfilled {
    Unfilled { written: written.to_owned(), name: name.to_owned(), fault }
}

/// POSIX's names of variables.
fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, String> {
        let variables =
            Variables::new("edge-7", [("A", "x"), ("PORT", "8080"), ("EMPTY", ""), ("D", "${A}")]);
        fill(text, &variables).map(|filled| filled.text).map_err(|unfilled| unfilled.message())
    }

    #[test]
    fn variables_are_filled_in() {
        let table = [
            ("${A}", "x"),
            ("a${A}b${PORT}c", "axb8080c"),
            ("${hostname}.example", "edge-7.example"),
            ("${NONE:-7}", "7"),
            ("${NONE:-}", ""),
            ("${EMPTY:-7}", "7"),
            ("${EMPTY}", ""),
            ("${A:-7}", "x"),
            ("${NONE:-a:-b}", "a:-b"),
            // A value is not looked at again.
            ("${D}", "${A}"),
        ];
        for (text, expected) in table {
            assert_eq!(filled(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn every_other_dollar_stands_for_itself() {
        for text in ["^ok$", "$A", "$(hostname)", "$$", "a$1b", "$", "", "{A}", "$ {A}", "${"] {
            let expected =
                if text == "${" { Err("this `${` has no `}`".to_owned()) } else { Ok(text.to_owned()) };
            assert_eq!(filled(text), expected, "{text}");
        }
        assert_eq!(filled("$${A}").as_deref(), Ok("${A}"));
        assert_eq!(filled("a$${A} ${A}").as_deref(), Ok("a${A} x"));
        assert_eq!(filled("$$${A}").as_deref(), Ok("$${A}"));
    }

    #[test]
    fn what_cannot_be_filled_in_is_named() {
        let table = [
            ("${NONE}", "the environment has no variable `NONE`"),
            ("${HOSTNAME}", "the environment has no variable `HOSTNAME`"),
            ("a ${A", "this `${` has no `}`"),
            ("${}", "`${}` is not a variable"),
            ("${1}", "`${1}` is not a variable"),
            ("${a.b}", "`${a.b}` is not a variable"),
            ("${A%%x}", "`${A%%x}` is not a variable"),
            ("${A:?no}", "`${A:?no}` is not a variable"),
            ("${B:-${A}}", "the default of `B` has a variable in it"),
        ];
        for (text, expected) in table {
            assert_eq!(filled(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_text_from_the_environment_is_told_from_one_of_the_file() {
        let variables = Variables::new("edge-7", [("TOR_PASSWORD", "x")]);
        let told = |text| fill(text, &variables).map(|f| (f.is_from_environment, f.is_secret));
        assert_eq!(told("${TOR_PASSWORD}"), Ok((true, true)));
        assert_eq!(told("${OTHER_PASSWORD:-y}"), Ok((false, true)));
        assert_eq!(told("${hostname}"), Ok((false, false)));
    }
}
