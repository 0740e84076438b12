//! Reading a tree without stopping at the first mistake.
//!
//! A reader takes what it knows out of a map, and what is left is unknown. A key that is there but wrong was reported
//! and is [`Field::Broken`], so that nobody reports it missing as well. Values are put together at the very end, with
//! `?` over what was read, once everything there is to say has been said.

use std::num::{NonZeroU8, NonZeroU32};

use super::tree::{Entry, Node, Value};
use super::value;
use crate::config::diagnostic::{Report, Span};
use crate::config::keys::section::Section;

/// A value and where it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// What became of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Field<T> {
    /// It is not there.
    Absent,
    /// It is there, and what is wrong with it was reported.
    Broken,
    /// It is there.
    Set(Placed<T>),
}

impl<T> Field<T> {
    /// The value, or what is used when the key is not there. `None` when it is broken.
    pub(crate) fn or(self, default: T) -> Option<T> {
        match self {
            Self::Absent => Some(default),
            Self::Broken => None,
            Self::Set(placed) => Some(placed.value),
        }
    }

    /// Like [`Self::or`], for a value that takes making.
    pub(crate) fn or_else(self, default: impl FnOnce() -> T) -> Option<T> {
        match self {
            Self::Absent => Some(default()),
            Self::Broken => None,
            Self::Set(placed) => Some(placed.value),
        }
    }

    /// The value if there is one. `None` when it is broken.
    pub(crate) fn optional(self) -> Option<Option<T>> {
        match self {
            Self::Absent => Some(None),
            Self::Broken => None,
            Self::Set(placed) => Some(Some(placed.value)),
        }
    }

    /// This field, or the other where this is absent.
    pub(crate) fn or_field(self, other: Self) -> Self {
        match self {
            Self::Absent => other,
            Self::Broken | Self::Set(_) => self,
        }
    }

    /// The value, if it is there and right.
    pub(crate) fn set(&self) -> Option<&Placed<T>> {
        match self {
            Self::Set(placed) => Some(placed),
            Self::Absent | Self::Broken => None,
        }
    }

    /// What is made of the value.
    pub(crate) fn map<U>(self, make: impl FnOnce(T) -> U) -> Field<U> {
        match self {
            Self::Absent => Field::Absent,
            Self::Broken => Field::Broken,
            Self::Set(Placed { value, span }) => Field::Set(Placed { value: make(value), span }),
        }
    }

    /// Whether the key is there, right or wrong.
    pub(crate) fn is_given(&self) -> bool {
        !matches!(self, Self::Absent)
    }
}

/// A number that a key may hold.
pub(crate) trait Number: Sized {
    /// `None` when it cannot be one, which the range of its key excludes.
    fn of(number: u32) -> Option<Self>;
}

/// Through the type of the same size that may be zero, or this very type.
macro_rules! number {
    ($($name:ty: $number:ident => $made:expr;)+) => {
        $(impl Number for $name {
            fn of($number: u32) -> Option<Self> {
                $made
            }
        })+
    };
}

number! {
    u8: number => Self::try_from(number).ok();
    u16: number => Self::try_from(number).ok();
    u32: number => Some(number);
    NonZeroU8: number => u8::try_from(number).ok().and_then(Self::new);
    NonZeroU32: number => Self::new(number);
}

/// A map that says what holds for others that do not say it themselves.
#[derive(Debug)]
pub(crate) enum Shared<'t> {
    /// It is no map.
    Broken,
    /// What it says.
    Says {
        /// All of it.
        entries: &'t [Entry],
        /// Keys that unknown ones in it were probably meant to be.
        misspelt: Vec<&'static str>,
    },
}

impl<'t> Shared<'t> {
    /// That of a table which was opened; none of its keys was taken yet.
    pub(crate) fn of(node: &'t Node, table: Option<&Table<'t>>) -> Self {
        match (&node.value, table) {
            (Value::Map(entries), Some(table)) => Self::Says { entries, misspelt: table.misspelt.clone() },
            (Value::Map(_) | Value::Null | Value::Scalar(_) | Value::List(_), _) => Self::Broken,
        }
    }
}

/// A map whose keys are ours.
#[derive(Debug)]
pub(crate) struct Table<'t> {
    section: &'static Section,
    /// What to point at when a key is missing: the name or key that the map stands under.
    pub(crate) span: Span,
    left: Vec<&'t Entry>,
    shared: Option<&'t Shared<'t>>,
    /// Keys that stand here themselves.
    given: Vec<&'static str>,
    /// Keys that unknown ones were probably meant to be. They are not reported missing as well.
    misspelt: Vec<&'static str>,
}

impl<'t> Table<'t> {
    /// How many unknown keys are compared with the known ones when a map is opened.
    const LOOKED_AT: usize = 20;

    /// The table in a node, which `title` says in an error ("a peer").
    pub(crate) fn open(
        node: &'t Node,
        section: &'static Section,
        title: &str,
        span: Span,
        report: &mut Report,
    ) -> Option<Self> {
        match &node.value {
            Value::Map(entries) => {
                let unknown = entries.iter().filter(|entry| !section.has(&entry.key));
                let misspelt =
                    unknown.take(Self::LOOKED_AT).filter_map(|entry| section.meant(&entry.key)).collect();
                Some(Self {
                    section,
                    span,
                    left: entries.iter().collect(),
                    shared: None,
                    given: Vec::new(),
                    misspelt,
                })
            }
            Value::Null | Value::Scalar(_) | Value::List(_) => {
                expected(node, span, &format!("{title} as a map of keys and values"), report);
                None
            }
        }
    }

    /// The same, where what another map says holds unless this one says it itself.
    pub(crate) fn inheriting(mut self, shared: Option<&'t Shared<'t>>) -> Self {
        let names = self.section.names();
        self.given = names.filter(|name| self.left.iter().any(|entry| entry.key == *name)).collect();
        self.given.extend(&self.misspelt);
        self.shared = shared;
        self
    }

    /// Whether a key stands here itself, right or wrong, in whichever spelling; for a table that inherits.
    pub(crate) fn says(&self, key: &str) -> bool {
        self.given.contains(&key)
    }

    /// Takes the entry out, if there is one.
    pub(crate) fn entry(&mut self, key: &'static str) -> Option<&'t Entry> {
        debug_assert!(self.section.has(key), "{key} is not stated {}", self.section.place);
        let at = self.left.iter().position(|entry| entry.key == key)?;
        Some(self.left.remove(at))
    }

    /// Takes whichever of the two names of one key is there and reads its value; both are an error.
    pub(crate) fn alias<T>(
        &mut self,
        key: &'static str,
        alias: &'static str,
        report: &mut Report,
        read: impl FnOnce(&'t Node, Span, &mut Report) -> Option<T>,
    ) -> Field<T> {
        let entry = match (self.entry(key), self.entry(alias)) {
            (Some(a), Some(b)) => {
                let (first, second) = if a.key_span.start <= b.key_span.start { (a, b) } else { (b, a) };
                report
                    .error(second.key_span, format!("`{key}` and `{alias}` are the same thing"))
                    .also(first.key_span, "first given here")
                    .hint(format!("keep `{key}`"));
                Some(a)
            }
            (one, other) => one.or(other),
        };
        match entry {
            Some(entry) => read_entry(entry, report, read),
            None if self.misspelt.contains(&key) || self.misspelt.contains(&alias) => Field::Broken,
            None => self.inherited(&[key, alias], report, read),
        }
    }

    /// Takes a key and reads its value.
    pub(crate) fn field<T>(
        &mut self,
        key: &'static str,
        report: &mut Report,
        read: impl FnOnce(&'t Node, Span, &mut Report) -> Option<T>,
    ) -> Field<T> {
        match self.entry(key) {
            Some(entry) => read_entry(entry, report, read),
            None if self.misspelt.contains(&key) => Field::Broken,
            None => self.inherited(&[key], report, read),
        }
    }

    /// Takes a key that holds a whole number, within the range that the section states; `what` names it ("a number of packets").
    pub(crate) fn number<T: Number>(
        &mut self,
        key: &'static str,
        what: &str,
        report: &mut Report,
    ) -> Field<T> {
        let section = self.section;
        self.field(key, report, |node, span, report| {
            let (least, most) = section.range(key);
            let what = format!("{what}, {least} to {most}");
            T::of(value::integer(node, span, least..=most, &what, report)?)
        })
    }

    /// Reads keys that are one thing together, and that are inherited together: what is wrong with inherited ones was reported when
    /// the shared map was read.
    pub(crate) fn group<T>(
        &mut self,
        keys: &[&str],
        report: &mut Report,
        read: impl FnOnce(&mut Self, &mut Report) -> Field<T>,
    ) -> Field<T> {
        match self.shared.is_some() && !keys.iter().any(|key| self.says(key)) {
            true => report.quietly(|report| read(self, report)),
            false => read(self, report),
        }
    }

    /// What the shared map says of a key, which was reported when that was read.
    fn inherited<T>(
        &self,
        names: &[&'static str],
        report: &mut Report,
        read: impl FnOnce(&'t Node, Span, &mut Report) -> Option<T>,
    ) -> Field<T> {
        let Some(shared) = self.shared else { return Field::Absent };
        let instead = |name: &&str| self.section.instead_of(name).any(|other| self.given.contains(&other));
        if names.iter().any(instead) {
            return Field::Absent;
        }
        match shared {
            Shared::Broken => Field::Broken,
            Shared::Says { misspelt, .. } if names.iter().any(|name| misspelt.contains(name)) => {
                Field::Broken
            }
            Shared::Says { entries, .. } => {
                let entry = names.iter().find_map(|name| entries.iter().find(|entry| entry.key == *name));
                entry.map_or(Field::Absent, |entry| report.quietly(|report| read_entry(entry, report, read)))
            }
        }
    }

    /// Takes a key that must be there and reads its value.
    pub(crate) fn required<T>(
        &mut self,
        key: &'static str,
        hint: &str,
        report: &mut Report,
        read: impl FnOnce(&'t Node, Span, &mut Report) -> Option<T>,
    ) -> Option<Placed<T>> {
        let field = self.field(key, report, read);
        self.present(key, hint, field, report)
    }

    /// What was taken, which must be there.
    fn present<T>(
        &self,
        key: &'static str,
        hint: &str,
        field: Field<T>,
        report: &mut Report,
    ) -> Option<Placed<T>> {
        match field {
            Field::Absent => {
                missing(self.span, key, hint, report);
                None
            }
            Field::Broken => None,
            Field::Set(placed) => Some(placed),
        }
    }

    /// Takes a key that must be there and holds a whole number.
    pub(crate) fn required_number<T: Number>(
        &mut self,
        key: &'static str,
        hint: &str,
        what: &str,
        report: &mut Report,
    ) -> Option<Placed<T>> {
        let field = self.number(key, what, report);
        self.present(key, hint, field, report)
    }

    /// Whether there are keys that this place does not know.
    pub(crate) fn has_unknown(&self) -> bool {
        self.left.iter().any(|entry| !self.section.has(&entry.key))
    }

    /// Reports what nobody took.
    pub(crate) fn finish(self, report: &mut Report) {
        for entry in self.left {
            let crowded = report.is_crowded();
            let unknown = report.error(entry.key_span, format!("unknown key `{}`", short(&entry.key)));
            if !crowded {
                unknown.hint(self.section.hint(&entry.key));
            }
        }
    }
}

/// A required key is not there; `span` is what lacks it.
pub(crate) fn missing(span: Span, key: &str, hint: &str, report: &mut Report) {
    report.error(span, format!("`{key}` is missing")).hint(hint);
}

/// Whichever of these keys is there; two of them are an error.
pub(crate) fn only_one<T, const N: usize>(
    written: [(&'static str, Field<T>); N],
    why: &str,
    report: &mut Report,
) -> Field<T> {
    let mut found: Option<(&str, Field<T>)> = None;
    for (key, field) in written {
        if !field.is_given() {
            continue;
        }
        let Some((first, earlier)) = &found else {
            found = Some((key, field));
            continue;
        };
        if let (Some(earlier), Some(later)) = (earlier.set(), field.set()) {
            report
                .error(later.span, format!("`{first}` and `{key}` exclude each other"))
                .also(earlier.span, format!("`{first}` is given here"))
                .hint(why);
        }
        return Field::Broken;
    }
    found.map_or(Field::Absent, |(_, field)| field)
}

/// Reads the value of an entry. `read` is given the key's span to point at where there is no value.
fn read_entry<'t, T>(
    entry: &'t Entry,
    report: &mut Report,
    read: impl FnOnce(&'t Node, Span, &mut Report) -> Option<T>,
) -> Field<T> {
    match read(&entry.value, entry.key_span, report) {
        Some(value) => Field::Set(Placed { value, span: entry.value.span }),
        None => Field::Broken,
    }
}

/// The entries of a map whose keys are the operator's. Nothing at all is an empty map: everything under
/// `services:` may have been commented out.
pub(crate) fn map_of<'t>(node: &'t Node, key: Span, what: &str, report: &mut Report) -> Option<&'t [Entry]> {
    match &node.value {
        Value::Map(entries) => Some(entries),
        Value::Null => Some(&[]),
        Value::Scalar(_) | Value::List(_) => {
            expected(node, key, what, report);
            None
        }
    }
}

/// A list whose elements `read` makes sense of; `None` if one of them is wrong, after all were read.
pub(crate) fn list_of<'t, T>(
    node: &'t Node,
    key: Span,
    what: &str,
    report: &mut Report,
    mut read: impl FnMut(&'t Node, Span, &mut Report) -> Option<T>,
) -> Option<Vec<Placed<T>>> {
    let Value::List(list) = &node.value else {
        let diagnostic = expected(node, key, what, report);
        if let Value::Scalar(text) = &node.value {
            diagnostic.hint(format!("write `[{}]`", short(text)));
        }
        return None;
    };
    let read: Vec<Option<Placed<T>>> = list
        .iter()
        .map(|element| {
            let value = read(element, element.span, report)?;
            Some(Placed { value, span: element.span })
        })
        .collect();
    read.into_iter().collect()
}

/// Reports that a node is not what it should be. `key` is pointed at where there is no value.
pub(crate) fn expected<'r>(
    node: &Node,
    key: Span,
    what: &str,
    report: &'r mut Report,
) -> &'r mut crate::config::diagnostic::Diagnostic {
    match &node.value {
        Value::Null => report
            .error(key, format!("expected {what}, found nothing"))
            .hint("give it a value, or remove the key"),
        Value::Scalar(text) if text.trim().is_empty() => {
            report.error(node.span, format!("expected {what}, found an empty text"))
        }
        Value::Scalar(text) => report.error(node.span, format!("expected {what}, found `{}`", short(text))),
        Value::List(_) => report.error(node.span, format!("expected {what}, found a list")),
        Value::Map(entries) => {
            let diagnostic = report.error(node.span, format!("expected {what}, found a map"));
            // `[2001:db8::]` is a map with the key `2001:db8:`.
            if let [Entry { key, value: Node { value: Value::Null, .. }, .. }] = entries.as_slice() {
                diagnostic.hint(format!("put it in quotes: `\"{}:\"`", short(key)));
            }
            diagnostic
        }
    }
}

/// A text as it is shown in a message: on one line, and not too long.
pub(crate) fn short(text: &str) -> String {
    const LONGEST: usize = 40;
    let mut line: String =
        text.trim_end().chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST + 1).collect();
    if line.chars().count() > LONGEST {
        line.pop();
        line.push('…');
    }
    line
}
