//! `checks:` of a service: a tree over the names of checks.

use std::collections::BTreeMap;

use vipcast_node::model::Condition;
use vipcast_node::names::CheckName;

use crate::config::diagnostic::{Report, Span};
use crate::config::keys;
use crate::config::read::near::nearest;
use crate::config::read::tree::{Node, Value};
use crate::config::read::{Field, Placed, Table, expected, list_of, short, value};

/// The defined checks, and whether a service names them.
#[derive(Debug)]
pub(crate) struct ReadChecks<'t> {
    /// Where each name was defined, and whether it is used.
    known: BTreeMap<&'t str, (Span, bool)>,
    /// The number of pairs of names that may still be compared for a suggestion.
    comparisons: usize,
}

impl<'t> ReadChecks<'t> {
    /// Nothing is used yet.
    pub(crate) fn new(known: impl IntoIterator<Item = (&'t str, Span)>) -> Self {
        /// Enough for every name of a large configuration that somebody mistypes, and over in a moment.
        const COMPARISONS: usize = 50_000;
        let known = known.into_iter().map(|(name, span)| (name, (span, false))).collect();
        Self { known, comparisons: COMPARISONS }
    }

    /// Warns about checks that no service names.
    pub(crate) fn finish(self, report: &mut Report) {
        for (name, (span, used)) in self.known {
            if !used {
                report
                    .warning(span, format!("no service names the check `{}`", short(name)))
                    .hint("it has no effect; name it under a service, or remove it");
            }
        }
    }

    fn named(&mut self, name: &str, span: Span, report: &mut Report) -> Option<CheckName> {
        if let Some((_, used)) = self.known.get_mut(name) {
            *used = true;
            return Some(CheckName::from(name));
        }
        let meant = self.comparisons.checked_sub(self.known.len()).and_then(|left| {
            self.comparisons = left;
            nearest(name, self.known.keys().copied())
        });
        let hint = match meant {
            Some(meant) => format!("did you mean `{meant}`?"),
            None if self.known.is_empty() => String::from("define it under `checks:` at the top level"),
            None => format!("define it under `checks:` at the top level (defined: {})", self.list()),
        };
        report.error(span, format!("there is no check `{}`", short(name))).hint(hint);
        None
    }

    /// The names, or as many as fit in a hint.
    fn list(&self) -> String {
        const SHOWN: usize = 5;
        let shown = self.known.keys().take(SHOWN).map(|name| format!("`{}`", short(name)));
        let mut list = shown.collect::<Vec<_>>().join(", ");
        if self.known.len() > SHOWN {
            list.push_str(", …");
        }
        list
    }
}

/// The hint for a group.
const GROUPS: &str = "a group is `{all: […]}`, `{any: […]}` or `{at_least: N, of: […]}`";

/// Reads `checks:`. An empty list always passes.
pub(super) fn read(
    node: &Node,
    key: Span,
    checks: &mut ReadChecks<'_>,
    report: &mut Report,
) -> Option<Condition> {
    const WHAT: &str = "a list of checks";
    match &node.value {
        Value::List(_) => Some(Condition::All(members(node, key, checks, report)?)),
        Value::Map(_) => group(node, key, checks, report),
        Value::Scalar(name) => {
            expected(node, key, WHAT, report).hint(format!("write `[{}]`", short(name)));
            None
        }
        Value::Null => {
            expected(node, key, WHAT, report).hint("write `checks: []` to announce it unconditionally");
            None
        }
    }
}

/// The elements of a list: names and nested groups, none of them twice.
fn members(
    node: &Node,
    key: Span,
    checks: &mut ReadChecks<'_>,
    report: &mut Report,
) -> Option<Vec<Condition>> {
    let list = list_of(node, key, "a list of checks", report, |node, key, report| match &node.value {
        Value::Map(_) => group(node, key, checks, report),
        Value::Scalar(name) => checks.named(name, node.span, report).map(Condition::Check),
        Value::Null | Value::List(_) => {
            expected(node, key, "the name of a check", report).hint(GROUPS);
            None
        }
    })?;
    let mut first: BTreeMap<&CheckName, Span> = BTreeMap::new();
    for member in &list {
        if let Condition::Check(name) = &member.value
            && let Some(first) = first.insert(name, member.span)
        {
            report
                .error(member.span, format!("`{name}` is listed twice"))
                .also(first, "first listed here")
                .hint("keep one of them");
        }
    }
    Some(list.into_iter().map(|member| member.value).collect())
}

/// `{all: […]}`, `{any: […]}` or `{at_least: N, of: […]}`.
fn group(node: &Node, key: Span, checks: &mut ReadChecks<'_>, report: &mut Report) -> Option<Condition> {
    let mut table = Table::open(node, &keys::CONDITION, "a condition", key, report)?;
    let mut some = |key: &'static str, table: &mut Table<'_>, report: &mut Report| {
        table.field(key, report, |node, key, report| {
            let members = members(node, key, checks, report)?;
            if members.is_empty() {
                report.error(node.span, "the list is empty").hint("name the checks, or remove the group");
                return None;
            }
            Some(members)
        })
    };
    let all = some("all", &mut table, report);
    let any = some("any", &mut table, report);
    let of = some("of", &mut table, report);
    let at_least = table.field("at_least", report, |node, key, report| {
        value::integer(node, key, 1..=u32::MAX, "a number of checks, 1 or more", report)
    });
    let unknown = table.has_unknown();
    table.finish(report);
    let groups = [all.is_given(), any.is_given(), of.is_given() || at_least.is_given()];
    match groups.into_iter().filter(|given| *given).count() {
        1 => {}
        0 if unknown => return None,
        0 => {
            report.error(node.span, "the condition is empty").hint(GROUPS);
            return None;
        }
        _ => {
            report
                .error(node.span, "a condition is one of `all`, `any` and `at_least` with `of`")
                .hint("nest them: `all: [{any: [a, b]}, c]`");
            return None;
        }
    }
    match (all, any, at_least, of) {
        (Field::Set(all), ..) => Some(Condition::All(all.value)),
        (_, Field::Set(any), ..) => Some(Condition::Any(any.value)),
        (_, _, Field::Set(count), Field::Set(of)) => at_least_of(count, of, report),
        (_, _, Field::Set(count), Field::Absent) => {
            report
                .error(count.span, "`at_least` does not say of what")
                .hint("write `{at_least: 2, of: [a, b, c]}`");
            None
        }
        (_, _, Field::Absent, Field::Set(of)) => {
            report.error(of.span, "`of` does not say how many").hint("write `{at_least: 2, of: [a, b, c]}`");
            None
        }
        (Field::Absent | Field::Broken, Field::Absent | Field::Broken, _, _) => None,
    }
}

fn at_least_of(count: Placed<u32>, of: Placed<Vec<Condition>>, report: &mut Report) -> Option<Condition> {
    let number = usize::try_from(count.value).unwrap_or(usize::MAX);
    let there_are = of.value.len();
    if number > there_are {
        report
            .error(count.span, format!("`at_least` is {number}, but there are only {there_are} to pass"))
            .also(of.span, format!("{there_are} here"))
            .hint(if there_are == 1 { String::from("write 1") } else { format!("write 1 to {there_are}") });
        return None;
    }
    Some(Condition::AtLeast(number, of.value))
}
