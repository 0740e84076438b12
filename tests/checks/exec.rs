//! `exec` with the programs of the host.

use anyhow::Result;
use libtest_mimic::Trial;
use vipcast_lab::trial;

use crate::server::{Directory, expect};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial("exec_of_scripts_of_an_operator", Ok(()), scripts)]
}

fn scripts() -> Result<()> {
    let directory = Directory::new()?;
    let path = directory.path().display();
    let exec = |rest: &str| format!("{{exec: {{{rest}}}, timeout: 900ms}}");
    let told = "shell: 'echo $VIPCAST_CHECK, $VIPCAST_SERVICE, $VIPCAST_VIPS, $VIPCAST_TIMEOUT_MS'";
    // The children ignore SIGTERM, hold the pipes, and one of them is in a group of its own.
    let stubborn =
        "shell: \"trap '' TERM; echo stuck; (trap '' TERM; sleep 30) & setsid sleep 3 & sleep 30\"";
    expect(&[
        ("told", exec(told), true, "exit code 0: told, web, 198.51.100.1, 900"),
        (
            "environment",
            exec("shell: 'echo $A-$B', environment: {A: 1, B: \"two words\"}"),
            true,
            "exit code 0: 1-two words",
        ),
        (
            "directory",
            exec(&format!("command: [/bin/pwd], directory: {path}")),
            true,
            &format!("exit code 0: {path}"),
        ),
        ("failing", exec("shell: 'echo fine; echo broken >&2; exit 2'"), false, "exit code 2: broken"),
        ("killed", exec("shell: 'kill -9 $$'"), false, "killed by SIGKILL"),
        ("stubborn", exec(stubborn), false, "killed after 900 ms: stuck"),
        (
            "endless",
            exec("command: [/usr/bin/yes]"),
            false,
            "killed after 900 ms, having written more than we read",
        ),
        (
            "missing",
            exec("command: [/no/such/program]"),
            false,
            "cannot run /no/such/program: no such file or directory",
        ),
    ])
}
