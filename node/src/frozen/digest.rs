//! Digests, to see whether a definition is the one of the freeze.

use std::fmt;
use std::hash::Hasher as _;

use fnv::FnvHasher;

/// The digest of a value by its `Debug` form without the fields that say nothing: FNV-1a with 64 bits. A secret is not in
/// that form. A later program may have one more field: the digest stays as long as the field is `None`, `false` or empty.
/// A golden text of each kind of check and of a service (`check/definitions.rs`, `node/src/frozen/tests`) tells when a name
/// or anything else has changed.
pub(crate) fn of_debug(value: &dyn fmt::Debug) -> u64 {
    let mut hash = FnvHasher::default();
    hash.write(text_of(value).as_bytes());
    hash.finish()
}

/// The text that the digest is of.
pub(crate) fn text_of(value: &dyn fmt::Debug) -> String {
    telling(&format!("{value:?}"))
}

/// What a field has that is not given.
const SAYS_NOTHING: [&str; 5] = ["None", "false", "[]", "{}", "\"\""];

/// The text without fields that say nothing. Texts in it are left as they are.
fn telling(debug: &str) -> String {
    let mut out = String::with_capacity(debug.len());
    let mut rest = debug;
    while let Some(next) = rest.chars().next() {
        if next == '"' {
            let (text, after) = rest.split_at(quoted(rest));
            out.push_str(text);
            rest = after;
        } else if let Some(after) = out.ends_with(['{', ',']).then(|| silent(rest)).flatten() {
            if after.starts_with(" }") && out.ends_with(',') {
                out.pop();
            }
            rest = after;
        } else {
            out.push(next);
            rest = &rest[next.len_utf8()..];
        }
    }
    out
}

/// The rest after a field ` name: value` that says nothing, with its comma.
fn silent(rest: &str) -> Option<&str> {
    let (name, value) = rest.strip_prefix(' ')?.split_once(": ")?;
    let is_name = |c: char| c == '_' || c.is_ascii_alphanumeric();
    name.chars().all(is_name).then_some(())?;
    let after = SAYS_NOTHING.iter().find_map(|nothing| value.strip_prefix(nothing))?;
    after.strip_prefix(',').or_else(|| after.starts_with(" }").then_some(after))
}

/// The length of the text in quotes at the begin.
fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    let end = rest.char_indices().skip(1).find(|(_, c)| {
        let ends = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        ends
    });
    end.map_or(rest.len(), |(at, _)| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Before {
        _url: &'static str,
        _ports: Vec<u16>,
        _tls: Option<bool>,
    }

    /// The same in a later program.
    #[derive(Debug, Default)]
    struct After {
        _more: Option<u8>,
        _url: &'static str,
        _ports: Vec<u16>,
        _tls: Option<bool>,
        _flag: bool,
        _last: Vec<Before>,
    }

    fn telling_of(value: &dyn fmt::Debug) -> String {
        telling(&format!("{value:?}")).replace("Before", "It").replace("After", "It")
    }

    #[test]
    fn a_field_that_is_not_given_does_not_count() {
        let url = "a \\\" { _flag: None, \"";
        let both = |url, ports: Vec<u16>| {
            let before = telling_of(&Before { _url: url, _ports: ports.clone(), _tls: None });
            let after = telling_of(&After { _url: url, _ports: ports, ..After::default() });
            (before, after)
        };
        for ports in [vec![], vec![80, 443]] {
            let (before, after) = both(url, ports);
            assert_eq!(before, after);
            assert!(before.contains(&format!("{url:?}")), "{before}");
        }
        assert_ne!(both(url, vec![]).0, both(url, vec![80]).0);
        let given = Before { _tls: Some(false), ..Before::default() };
        assert_ne!(telling_of(&given), telling_of(&Before::default()));
    }
}
