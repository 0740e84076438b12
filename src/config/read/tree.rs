//! YAML text as a tree in which every key and value knows where it stands.
//!
//! `serde_yaml` (serde-saphyr) parses, expands anchors, aliases and merge keys, and reports where each node begins. We
//! keep scalars as the operator wrote them (`1.10` is an ASN, not the number 1.1; `65001:100` is a community), and
//! leave it to whoever knows what is expected to read them.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{
    DuplicateKeyPolicy, Location, NonFiniteFloatPolicy, Options, Spanned, UserMessageFormatter,
};

use crate::config::diagnostic::{FileId, Report, Span, secret_words};
use crate::config::variables::{self, Variables};

/// Maps and lists may be nested this deep.
const MAX_DEPTH: usize = 32;

/// Keys, values, maps and lists in one file, and those that aliases may multiply them to.
const MAX_NODES: usize = 1_000_000;
const MAX_ALIASED: usize = 200_000;

/// A value and where it stands. A value that came through an alias stands where its anchor is: that is the text to edit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// The text of a scalar; of a map or list, from its beginning to the end of its last value.
    pub(crate) span: Span,
    /// The content.
    pub(crate) value: Value,
}

impl Node {
    /// The keys and values of a map; none of anything else.
    pub(crate) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Null | Value::Scalar(_) | Value::List(_) => &[],
        }
    }
}

/// The content of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// Text as it was written, without quotes.
    Scalar(String),
    /// `- a` or `[a]`.
    List(Vec<Node>),
    /// `a: b` or `{a: b}`, each key once, in the order of the file.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The key's text.
    pub(crate) key: String,
    /// Where the key stands.
    pub(crate) key_span: Span,
    /// Its value.
    pub(crate) value: Node,
}

/// Parses a file that was made known to `report`. Duplicate keys and keys that are not text are reported; the tree then
/// holds the first. Variables in values are filled in; one that cannot be is reported. `None` after a syntax error, which
/// is reported too.
pub(crate) fn parse(file: FileId, variables: &Variables, report: &mut Report) -> Option<Node> {
    let text = report.text(file).to_owned();
    match serde_yaml::from_str_with_options::<Spanned<Parsed>>(&text, options()) {
        Ok(parsed) => {
            Some(Builder { file, text: &text, variables, report, secrets: Vec::new() }.root(parsed))
        }
        Err(error) => {
            syntax_error(file, &text, &error, report);
            None
        }
    }
}

fn options() -> Options {
    serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            // One `&defaults` that a thousand services use is not an attack.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: MAX_ALIASED },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        reject_unsupported_tags: true,
        with_snippet: false,
    }
}

fn syntax_error(file: FileId, text: &str, error: &serde_yaml::Error, report: &mut Report) {
    let rendered = error.without_snippet().render_with_formatter(&UserMessageFormatter);
    // The position is ours to show.
    let said = rendered.split_once(" at line ").map_or(rendered.as_str(), |(said, _)| said);
    let Some(start) = error.location().map(|at| offset_of(text, at)) else {
        report.file_error(file, limit(error, said).unwrap_or_else(|| said.to_owned()));
        return;
    };
    let length = text[start..].chars().next().filter(|c| *c != '\n').map_or(0, char::len_utf8);
    let span = Span { file, start, end: start + length };
    if let Some(message) = limit(error, said) {
        report.error(span, message).hint("make it flatter, or spread it over files in services.d");
        return;
    }
    let diagnostic = report.error(span, said);
    if let Some(hint) = syntax_hint(text, start, said) {
        diagnostic.hint(hint);
    }
}

/// The limit that a file exceeds, if the error is of that kind.
fn limit(error: &serde_yaml::Error, said: &str) -> Option<String> {
    use serde_yaml::{Error, budget::BudgetBreach};
    if let Error::AliasError { error, .. } = error {
        limit(error, said)
    } else if let Error::AliasReplayLimitExceeded { .. } = error {
        Some(format!("aliases multiply this to more than {MAX_ALIASED} values"))
    } else if said.starts_with("recursion limit") || is_too_deep(error) {
        Some(format!("maps and lists are nested more than {MAX_DEPTH} deep"))
    } else if let Error::Budget { breach: BudgetBreach::Events { .. } | BudgetBreach::Nodes { .. }, .. } =
        error
    {
        Some(format!("there are more than {MAX_NODES} keys and values"))
    } else {
        None
    }
}

fn is_too_deep(error: &serde_yaml::Error) -> bool {
    matches!(error, serde_yaml::Error::Budget { breach: serde_yaml::budget::BudgetBreach::Depth { .. }, .. })
}

/// The usual causes of the usual syntax errors.
fn syntax_hint(text: &str, at: usize, message: &str) -> Option<&'static str> {
    let here = &text[at..];
    if message.contains("tabs disallowed") || here.starts_with('\t') {
        Some("indent with spaces, YAML allows no tabs there")
    } else if message.contains("mapping values are not allowed") {
        Some(
            "the indentation of this line does not fit the line above, or a text with `: ` in it needs quotes",
        )
    } else if message.contains("unclosed quote") {
        Some("the quote that begins here has no end")
    } else if message.contains("unknown value") {
        Some("`*name` stands for what `&name` marked further up; a text that begins with `*` needs quotes")
    } else if message.contains("unsupported tag") {
        Some("a text that begins with `!` needs quotes")
    } else if line_of(text, at).contains("${") {
        Some("within `{…}` and `[…]`, a text with a variable needs quotes: `\"${NAME}\"`")
    } else if here.starts_with(['@', '%', '`', '|', '>', '*', '&', '!']) {
        Some("a text that begins with this character needs quotes")
    } else if message.contains("only single YAML document") {
        Some("a configuration is one document: remove the line `---`")
    } else if message.contains("did not find expected") || message.contains("illegal placement") {
        Some(
            "look for a bracket or quote that is not closed, a line indented differently from its neighbours, or an \
             IPv6 address that ends in `:` and needs quotes",
        )
    } else {
        None
    }
}

/// The line of an offset.
fn line_of(text: &str, at: usize) -> &str {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    text[start..].lines().next().unwrap_or_default()
}

/// Where the parser stopped. Errors carry characters, not bytes.
fn offset_of(text: &str, location: Location) -> usize {
    if let Some(bytes) = location.span().byte_offset().and_then(|at| usize::try_from(at).ok())
        && text.is_char_boundary(bytes)
    {
        return bytes;
    }
    let characters = usize::try_from(location.span().offset()).unwrap_or(usize::MAX);
    text.char_indices().nth(characters).map_or(text.len(), |(at, _)| at)
}

/// A node as serde returns it, with locations instead of spans.
enum Parsed {
    Null,
    /// A number or a boolean: its text has to be taken from the source.
    Typed,
    Text(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<Self>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Parsed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AnyNode;

        impl<'de> Visitor<'de> for AnyNode {
            type Value = Parsed;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("any value")
            }

            fn visit_unit<E>(self) -> Result<Parsed, E> {
                Ok(Parsed::Null)
            }

            fn visit_bool<E>(self, _: bool) -> Result<Parsed, E> {
                Ok(Parsed::Typed)
            }

            fn visit_u64<E>(self, _: u64) -> Result<Parsed, E> {
                Ok(Parsed::Typed)
            }

            fn visit_u128<E>(self, _: u128) -> Result<Parsed, E> {
                Ok(Parsed::Typed)
            }

            fn visit_i64<E>(self, _: i64) -> Result<Parsed, E> {
                Ok(Parsed::Typed)
            }

            fn visit_i128<E>(self, _: i128) -> Result<Parsed, E> {
                Ok(Parsed::Typed)
            }

            fn visit_f64<E>(self, _: f64) -> Result<Parsed, E> {
                Ok(Parsed::Typed)
            }

            fn visit_str<E>(self, text: &str) -> Result<Parsed, E> {
                Ok(Parsed::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Parsed, E> {
                Ok(Parsed::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Parsed, A::Error> {
                let mut list = Vec::new();
                while let Some(node) = access.next_element()? {
                    list.push(node);
                }
                Ok(Parsed::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Parsed, A::Error> {
                let mut map = Vec::new();
                while let Some(entry) = access.next_entry()? {
                    map.push(entry);
                }
                Ok(Parsed::Map(map))
            }
        }

        deserializer.deserialize_any(AnyNode)
    }
}

/// Turns locations into spans and looks at the keys.
struct Builder<'a> {
    file: FileId,
    text: &'a str,
    variables: &'a Variables,
    report: &'a mut Report,
    /// The possible secrets.
    secrets: Vec<Range<usize>>,
}

impl Builder<'_> {
    fn root(&mut self, parsed: Spanned<Parsed>) -> Node {
        let root = self.filled(parsed);
        for Range { start, end } in std::mem::take(&mut self.secrets) {
            self.report.redact(Span { file: self.file, start, end });
        }
        root
    }

    /// A value, in which variables are filled in.
    fn filled(&mut self, parsed: Spanned<Parsed>) -> Node {
        let mut node = self.node(parsed);
        if let Value::Scalar(text) = &mut node.value
            && variables::is_in(text)
        {
            match variables::fill(text, self.variables) {
                Ok(filled) => {
                    text.clone_from(&filled.text);
                    self.report.filled(node.span, filled);
                }
                Err(unfilled) => self.report.unfilled(node.span, &unfilled),
            }
        }
        node
    }

    fn node(&mut self, parsed: Spanned<Parsed>) -> Node {
        let mut span = self.span(parsed.defined);
        let value = match parsed.value {
            Parsed::Null => Value::Null,
            Parsed::Typed => Value::Scalar(self.text[span.start..span.end].to_owned()),
            // The parser turns `.inf` and `.nan` into these words; the operator's text is kept.
            Parsed::Text(text) if matches!(text.as_str(), ".inf" | "-.inf" | ".nan") => {
                Value::Scalar(self.text[span.start..span.end].to_owned())
            }
            Parsed::Text(text) => Value::Scalar(text),
            Parsed::List(list) => {
                let list: Vec<Node> = list.into_iter().map(|node| self.filled(node)).collect();
                span.end = list.iter().map(|node| node.span.end).fold(span.end, usize::max);
                Value::List(list)
            }
            Parsed::Map(map) => {
                let map = self.entries(map);
                span.end = map.iter().map(|entry| entry.value.span.end).fold(span.end, usize::max);
                Value::Map(map)
            }
        };
        if let Value::Scalar(text) = &value {
            // Without a separator a text announces nothing.
            if text.contains([' ', '=', ':']) {
                secret_words::in_text(&self.text[span.start..span.end], span.start, &mut self.secrets);
            }
        }
        Node { span, value }
    }

    fn entries(&mut self, map: Vec<(Spanned<Parsed>, Spanned<Parsed>)>) -> Vec<Entry> {
        let mut entries: Vec<Entry> = Vec::with_capacity(map.len());
        let mut seen: HashMap<String, usize> = HashMap::with_capacity(map.len());
        for (key, value) in map {
            let Node { span: key_span, value: key } = self.node(key);
            let value = self.filled(value);
            let key = match key {
                Value::Scalar(key) if variables::is_in(&key) => {
                    self.report
                        .error(key_span, "a key has no variables")
                        .hint("variables such as `${NAME}` are filled in in values");
                    continue;
                }
                Value::Scalar(key) => key,
                Value::Null => self.text[key_span.start..key_span.end].to_owned(),
                Value::List(_) | Value::Map(_) => {
                    self.report.error(key_span, "a key must be text").hint(
                        "a text that begins with `{` or `[` needs quotes; `{{ … }}` is a template that was not filled in",
                    );
                    continue;
                }
            };
            secret_words::in_entry(&key, &value, &mut self.secrets);
            match seen.get(&key) {
                Some(first) => {
                    let first = &mut entries[*first];
                    self.report
                        .error(key_span, format!("duplicate key `{key}`"))
                        .also(first.key_span, "first given here")
                        .hint("keep one of them");
                    keep_both(&mut first.value, value);
                }
                None => {
                    seen.insert(key.clone(), entries.len());
                    entries.push(Entry { key, key_span, value });
                }
            }
        }
        entries
    }

    fn span(&self, location: Location) -> Span {
        let span = location.span();
        let byte = |offset: Option<u64>| offset.and_then(|at| usize::try_from(at).ok()).unwrap_or_default();
        let start = self.boundary(byte(span.byte_offset()));
        let end = self.boundary(start.saturating_add(byte(span.byte_len())));
        let trimmed = self.text[start..end].trim_end().len();
        Span { file: self.file, start, end: start + trimmed }
    }

    /// The offset, or the nearest before it that can be cut at.
    fn boundary(&self, offset: usize) -> usize {
        (0..=offset.min(self.text.len())).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or_default()
    }
}

/// After a duplicate key: what only the second map holds joins the first, so that it is read and its names are known,
/// and one mistake is not followed by others that are none.
fn keep_both(first: &mut Node, second: Node) {
    if let (Value::Map(first), Value::Map(second)) = (&mut first.value, second.value) {
        let known: std::collections::HashSet<String> = first.iter().map(|entry| entry.key.clone()).collect();
        first.extend(second.into_iter().filter(|entry| !known.contains(&entry.key)));
    }
}
