//! `vipcast reload`.

use std::time::Duration;

use clap::Args;

use super::output::{print, print_json};
use super::{ClientArgs, Failure, block_on, overrides};
use crate::control::api::{Names, Preview};
use crate::control::client::ClientError;
use crate::control::routes;

/// The daemon gives up a hanging read after ten seconds, and another read may come before ours.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub(super) struct ReloadArgs {
    /// Do not print the daemon's answer, which is also in its log
    #[arg(short, long)]
    quiet: bool,
    /// Change nothing: say which sessions, addresses, announcements and checks a reload would touch; exits with 1 if the
    /// reload would be refused
    #[arg(long, conflicts_with = "quiet")]
    dry_run: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) fn reload(args: &ReloadArgs) -> Result<(), Failure> {
    if args.dry_run {
        return preview(args);
    }
    match block_on(args.client.client(PATIENCE).call(&routes::RELOAD, &()))? {
        Ok(_) if args.quiet => Ok(()),
        Err(ClientError::Refused(_)) if args.quiet => Err(Failure::Logged),
        Ok(done) => overrides::show(&args.client, &done),
        Err(error) => Err(refused(error, "not reloaded, the running configuration stays")),
    }
}

/// An invalid configuration is told with its diagnostics alone.
fn refused(error: ClientError, then: &str) -> Failure {
    if let ClientError::Refused(refusal) = &error
        && refusal.hint.is_none()
    {
        return Failure::Config(format!("{}\nerror: {then}\n", refusal.error));
    }
    error.into()
}

fn preview(args: &ReloadArgs) -> Result<(), Failure> {
    let preview = block_on(args.client.client(PATIENCE).call(&routes::RELOAD_PREVIEW, &()))?
        .map_err(|error| refused(error, "a reload would be refused"))?;
    if args.client.json {
        print_json(&preview)?;
    } else {
        print(&render(&preview))?;
    }
    match preview.needs_restart.is_empty() {
        true => Ok(()),
        false => {
            let keys = preview.needs_restart.join(", ");
            Err(anyhow::anyhow!("a reload would be refused: it cannot change {keys}").into())
        }
    }
}

fn render(preview: &Preview) -> String {
    let mut text = String::new();
    for warning in &preview.warnings {
        text += &format!("warning: {warning}\n");
    }
    if !preview.needs_restart.is_empty() {
        return text + &format!("needs a restart: {}\n", preview.needs_restart.join(", "));
    }
    let rows = [
        ("sessions", "reset", &preview.sessions_reset),
        ("sessions", "stopped", &preview.sessions_stopped),
        ("sessions", "started", &preview.sessions_started),
        ("sessions", "changed without a reset", &preview.sessions_tuned),
        ("addresses", "bound", &preview.addresses_bound),
        ("addresses", "unbound", &preview.addresses_unbound),
        ("announcements", "added, when healthy", &preview.announcements_added),
        ("announcements", "changed", &preview.announcements_changed),
        ("announcements", "withdrawn", &preview.announcements_withdrawn),
        ("checks", "added", &preview.checks_added),
        ("checks", "changed: they lose their state", &preview.checks_changed),
        ("checks", "removed", &preview.checks_removed),
    ];
    let mut last = "";
    for (what, how, names) in rows.into_iter().filter(|(_, _, names)| names.count > 0) {
        let what = if what == last { "" } else { what };
        text += &format!("{what:<15}{} {how}: {}\n", names.count, listed(names));
        last = if what.is_empty() { last } else { what };
    }
    if last.is_empty() {
        text += "nothing would change\n";
    }
    text + &format!("{} checks keep their state\n", preview.checks_kept)
}

fn listed(Names { count, first }: &Names) -> String {
    let more = count.saturating_sub(first.len());
    let shown = first.join(", ");
    if more > 0 { format!("{shown}, and {more} more") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize, first: &[&str]) -> Names {
        Names { count, first: first.iter().map(ToString::to_string).collect() }
    }

    fn nothing() -> Preview {
        Preview {
            needs_restart: Vec::new(),
            sessions_started: names(0, &[]),
            sessions_stopped: names(0, &[]),
            sessions_reset: names(0, &[]),
            sessions_tuned: names(0, &[]),
            addresses_bound: names(0, &[]),
            addresses_unbound: names(0, &[]),
            announcements_added: names(0, &[]),
            announcements_changed: names(0, &[]),
            announcements_withdrawn: names(0, &[]),
            checks_kept: 3,
            checks_added: names(0, &[]),
            checks_changed: names(0, &[]),
            checks_removed: names(0, &[]),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_preview_names_what_a_reload_would_touch_and_nothing_else() {
        let some = Preview {
            sessions_reset: names(1, &["tor-a"]),
            sessions_started: names(1, &["tor-c"]),
            announcements_withdrawn: names(3, &["192.0.2.1", "192.0.2.2"]),
            checks_changed: names(1, &["web"]),
            warnings: vec!["vipcast.yaml:3: unused check".to_owned()],
            ..nothing()
        };
        let restart = Preview { needs_restart: vec!["state_dir".to_owned()], ..nothing() };
        let all = [nothing(), some, restart].map(|preview| render(&preview)).join("---\n");
        assert_eq!(
            all,
            "\
nothing would change
3 checks keep their state
---
warning: vipcast.yaml:3: unused check
sessions       1 reset: tor-a
               1 started: tor-c
announcements  3 withdrawn: 192.0.2.1, 192.0.2.2, and 1 more
checks         1 changed: they lose their state: web
3 checks keep their state
---
needs a restart: state_dir
"
        );
    }
}
