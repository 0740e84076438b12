//! Reads `hooks`: programs and webhooks that are told of events.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::header::{HOST, HeaderName};
use vipcast_node::model::Question;
use vipcast_node::names::{HookName, ServiceName};

use super::diagnostic::{Report, Span};
use super::read::near::nearest;
use super::read::tree::{Entry, Node};
use super::read::value;
use super::read::{Field, Placed, Table, expected, list_of, map_of, missing, only_one, short};
use super::{keys, secret};
use crate::check::kinds::exec::{ExecCheck, read as exec};
use crate::check::kinds::http::{HttpCheck, read as http};
use crate::check::kinds::tls::read as tls;
use crate::control::api::EventKind;
use crate::hooks::definition::{Action, Hook, On, Webhook};

/// `timeout`.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The shortest and the longest.
const LEAST_TIMEOUT: Duration = Duration::from_millis(100);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(10 * 60);
/// `retry_for`.
const RETRY_FOR: Duration = Duration::from_secs(60);
const LONGEST_RETRY: Duration = Duration::from_secs(60 * 60);

/// The keys of a program, which a webhook does not have.
const OF_PROGRAMS: [&str; 4] = ["user", "group", "directory", "environment"];

/// The hooks of a configuration, with the services that they name.
#[derive(Debug, Default)]
pub(super) struct Hooks<'t> {
    hooks: BTreeMap<HookName, Question>,
    services: Vec<Placed<&'t str>>,
}

/// Reads the value of `hooks`. A hook that is wrong was reported, and is left out.
pub(super) fn read<'t>(node: &'t Node, key: Span, report: &mut Report) -> Option<Hooks<'t>> {
    let mut all = Hooks::default();
    for entry in map_of(node, key, "a map of hooks by name", report)? {
        let is_named = value::name(entry, "hook", report);
        let hook = hook(entry, &mut all.services, report);
        if let Some(hook) = hook.filter(|_| is_named) {
            all.hooks.insert(entry.key.as_str().into(), hook.opaque());
        }
    }
    Some(all)
}

impl Hooks<'_> {
    /// Reports names of services that are not among `known`, and gives the hooks.
    pub(super) fn finish<'k>(
        self,
        known: impl Iterator<Item = &'k str> + Clone,
        report: &mut Report,
    ) -> BTreeMap<HookName, Question> {
        for Placed { value, span } in self.services {
            if known.clone().any(|known| known == value) {
                continue;
            }
            let diagnostic = report.error(span, format!("there is no service `{}`", short(value)));
            match nearest(value, known.clone()) {
                Some(meant) => diagnostic.hint(format!("did you mean `{meant}`?")),
                None => diagnostic.hint("leave `services` out for the events of all, and of peers"),
            };
        }
        self.hooks
    }
}

/// One hook; the services that it names are added to `named`.
fn hook<'t>(entry: &'t Entry, named: &mut Vec<Placed<&'t str>>, report: &mut Report) -> Option<Hook> {
    let mut table = Table::open(&entry.value, &keys::HOOK, "a hook", entry.key_span, report)?;
    let on = table.field("on", report, on).or(On::Usual);
    let services = table
        .field("services", report, |node, key, report| {
            list_of(node, key, "a list of services", report, |node, key, report| {
                value::text(node, key, "the name of a service", report)
            })
        })
        .or_else(Vec::new);
    let timeout = table.field("timeout", report, timeout).or(TIMEOUT);
    let action = action(&mut table, report);
    table.finish(report);
    let services = services.map(|services| {
        let names = services.iter().map(|service| ServiceName::from(service.value)).collect();
        named.extend(services);
        names
    });
    Some(Hook { on: on?, services: services?, timeout: timeout?, action: action? })
}

/// What stands under `command`, `shell` or `url`.
enum What {
    Run(Vec<String>),
    Post(http::Url),
}

fn action(table: &mut Table<'_>, report: &mut Report) -> Option<Action> {
    let command = table.field("command", report, exec::command).map(What::Run);
    let shell = table.field("shell", report, exec::shell).map(What::Run);
    let url = table.field("url", report, http::url).map(What::Post);
    let span = table.span;
    let given = [("command", command), ("shell", shell), ("url", url)];
    let what = only_one(given, "a hook runs a program or posts to a URL; write two hooks for both", report);
    let program = program(table, report);
    let webhook = webhook(table, report);
    match what {
        Field::Absent => {
            let hint = "write `command: [/path/to/program]`, `shell: \"…\"` or `url: \"https://…\"`";
            missing(span, "command", hint, report);
            None
        }
        Field::Broken => None,
        Field::Set(Placed { value: What::Run(command), .. }) => {
            webhook.refuse("a program", "`url`", report)?;
            Some(Action::Program(ExecCheck { command, ..program.value? }))
        }
        Field::Set(Placed { value: What::Post(url), span }) => {
            program.refuse("a webhook", "`command` or `shell`", report)?;
            let Keys { given, value } = webhook;
            let has_tls = given.iter().find(|(key, _)| *key == "tls");
            if let (Some((_, tls)), false) = (has_tls, url.https) {
                report
                    .error(*tls, "`tls` is for https, and the url is http")
                    .also(span, "not https")
                    .hint("write `https://` in the url, or remove `tls`");
                return None;
            }
            let Parts { headers, tls, secret, retry_for } = value?;
            let http = HttpCheck { headers, tls, ..HttpCheck::posting(url) };
            Some(Action::Webhook(Box::new(Webhook { http, secret, retry_for })))
        }
    }
}

/// Keys that belong together: those that are given, and their value.
struct Keys<T> {
    given: Vec<(&'static str, Span)>,
    value: Option<T>,
}

impl<T> Keys<T> {
    /// Reports those that are given, because this hook is of the other kind.
    fn refuse(&self, this: &str, other: &str, report: &mut Report) -> Option<()> {
        for (key, span) in &self.given {
            report
                .error(*span, format!("{this} has no `{key}`"))
                .hint(format!("`{key}` goes with {other}: remove it"));
        }
        self.given.is_empty().then_some(())
    }
}

fn program(table: &mut Table<'_>, report: &mut Report) -> Keys<ExecCheck> {
    let [user, group, directory, environment] = OF_PROGRAMS;
    let user = table.field(user, report, exec::user);
    let group = table.field(group, report, exec::group);
    let directory = table.field(directory, report, exec::directory);
    let environment = table.field(environment, report, exec::environment);
    let spans = [span(&user), span(&group), span(&directory), span(&environment)];
    let given = OF_PROGRAMS.into_iter().zip(spans).filter_map(|(key, span)| Some((key, span?))).collect();
    let value = (|| {
        Some(ExecCheck {
            user: user.optional()?,
            group: group.optional()?,
            directory: directory.optional()?,
            environment: environment.or_else(Default::default)?,
            ..ExecCheck::default()
        })
    })();
    Keys { given, value }
}

/// The keys of a webhook besides its URL.
struct Parts {
    headers: http::Headers,
    tls: crate::check::tls::TlsOptions,
    secret: Option<crate::check::password::PasswordSource>,
    retry_for: Duration,
}

fn webhook(table: &mut Table<'_>, report: &mut Report) -> Keys<Parts> {
    let headers = table.field("headers", report, headers);
    let tls = table.field("tls", report, tls::options);
    let secret = secret::of_hook(table, report);
    let retry_for = table.field("retry_for", report, retry_for);
    let spans = [
        ("headers", span(&headers)),
        ("tls", span(&tls)),
        ("secret", span(&secret)),
        ("retry_for", span(&retry_for)),
    ];
    let given = spans.into_iter().filter_map(|(key, span)| Some((key, span?))).collect();
    let value = (|| {
        Some(Parts {
            headers: headers.or_else(Vec::new)?,
            tls: tls.or_else(Default::default)?,
            secret: secret.optional()?,
            retry_for: retry_for.or(RETRY_FOR)?,
        })
    })();
    Keys { given, value }
}

/// The headers of a request, besides those of its event.
fn headers(node: &Node, key: Span, report: &mut Report) -> Option<http::Headers> {
    let refused = |name: &HeaderName| {
        let (why, hint) = if *name == HOST {
            ("a hook has the Host header of its url".to_owned(), "remove it, or write that name in `url`")
        } else if name.as_str().starts_with("webhook-") {
            (
                format!("`{name}` is set by vipcast"),
                "remove it: headers that begin with `webhook-` have the id, the time and the signature",
            )
        } else {
            return None;
        };
        Some(http::Refused { why, hint: hint.to_owned() })
    };
    http::headers_except(node, key, refused, report)
}

fn span<T>(field: &Field<T>) -> Option<Span> {
    field.set().map(|placed| placed.span)
}

/// The kinds of events.
fn on(node: &Node, key: Span, report: &mut Report) -> Option<On> {
    let kinds = list_of(node, key, "a list of kinds of events", report, |node, key, report| {
        let written = value::text(node, key, "a kind of event", report)?;
        let mut words = EventKind::KNOWN.iter().map(EventKind::word);
        if words.clone().any(|word| word == written) {
            return Some(written.to_owned());
        }
        let diagnostic = expected(node, key, "a kind of event", report);
        match nearest(written, &mut words) {
            Some(meant) => diagnostic.hint(format!("did you mean `{meant}`?")),
            None => diagnostic.hint("docs/hooks.md has all of them, for example `withdrawn` and `announced`"),
        };
        None
    })?;
    if kinds.is_empty() {
        report.error(node.span, "a hook for no event does nothing").hint("leave `on` out for all of them");
        return None;
    }
    Some(On::Kinds(kinds.into_iter().map(|kind| kind.value).collect()))
}

fn timeout(node: &Node, key: Span, report: &mut Report) -> Option<Duration> {
    at_most(value::duration(node, key, LEAST_TIMEOUT, report)?, LONGEST_TIMEOUT, node, report)
}

fn retry_for(node: &Node, key: Span, report: &mut Report) -> Option<Duration> {
    let time = value::duration_of(node, key, Duration::ZERO, value::Unit::Seconds, report)?;
    at_most(time, LONGEST_RETRY, node, report)
}

fn at_most(time: Duration, most: Duration, node: &Node, report: &mut Report) -> Option<Duration> {
    if time > most {
        report
            .error(
                node.span,
                format!("{} is too long: later events wait meanwhile", value::show_duration(time)),
            )
            .hint(format!("the most is {}", value::show_duration(most)));
        return None;
    }
    Some(time)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::check::password::{Password, PasswordSource};
    use crate::config::tests::config;

    fn hooks(written: &str) -> BTreeMap<HookName, Question> {
        let text = "local_as: 65001
peers: {tor: {address: 192.0.2.1, peer_as: 65000}}
services: {web: {vips: [198.51.100.1], checks: []}}
";
        config(&format!("{text}hooks: {written}\n")).hooks
    }

    fn hook(written: &str) -> Hook {
        Hook::of(&hooks(&format!("{{h: {written}}}"))["h"]).clone()
    }

    #[test]
    fn programs_and_webhooks_are_read() {
        assert_eq!(hooks("{}"), BTreeMap::new());
        let program = ExecCheck { command: vec!["/bin/true".into()], ..ExecCheck::default() };
        let plain = Hook {
            on: On::Usual,
            services: BTreeSet::new(),
            timeout: Duration::from_secs(10),
            action: Action::Program(program.clone()),
        };
        assert_eq!(hook("{command: [/bin/true]}"), plain);
        let all = hook(
            "{command: [/bin/true], on: [withdrawn, announced], services: [web], timeout: 2s, user: root, environment: {A: b}}",
        );
        let environment = crate::check::kinds::exec::Environment([("A".into(), "b".into())].into());
        assert_eq!(
            all,
            Hook {
                on: On::Kinds(["announced".into(), "withdrawn".into()].into()),
                services: ["web".into()].into(),
                timeout: Duration::from_secs(2),
                action: Action::Program(ExecCheck { user: Some("root".into()), environment, ..program }),
            }
        );
        let webhook = |written: &str| match hook(written).action {
            Action::Webhook(webhook) => *webhook,
            Action::Program(program) => panic!("{program:?}"),
        };
        let url = webhook("{url: \"https://a.example/x\"}");
        assert_eq!((url.http.https, url.http.path.as_str(), &url.secret), (true, "/x", &None));
        assert_eq!(url.retry_for, Duration::from_secs(60));
        let signed = webhook("{url: \"http://[::1]:8080\", secret: hush, retry_for: 0, headers: {A: b}}");
        let secret = PasswordSource::Written(Password::new(b"hush").unwrap());
        assert_eq!((signed.secret, signed.retry_for), (Some(secret), Duration::ZERO));
        assert_eq!((signed.http.target.port, signed.http.headers.len()), (8080, 1));
        assert!(!format!("{:?}", hook("{url: \"http://a/\", secret: hush}")).contains("hush"));
    }
}
