//! Files made from the commands: the reference, the man pages, and the completions of the shells.
//!
//! ```text
//!                        ┌─► docs/commands.md
//!  vipcast::cli::command ┼─► packaging/man/*.8, with more.roff
//!                        └─► packaging/completions/
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt::Write as _;
use std::fs;

use clap::{Arg, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::super::root;
use super::{WRITE, settle};

/// The exit codes of every command but `doctor`, as `src/cli.rs` has them.
const EXIT_CODES: &[(u8, &str)] =
    &[(0, "done"), (1, "failed"), (2, "wrong usage"), (78, "the configuration is broken")];

/// Those of `vipcast drain`, as `src/cli/wait.rs` has them.
const EXIT_CODES_OF_DRAIN: &[(u8, &str)] = &[
    (0, "done"),
    (1, "failed, or `--wait` was not over in time"),
    (2, "wrong usage"),
    (3, "`--wait`: drained, and no router has a session to be told"),
];

/// The exit codes of `vipcast doctor`, as `src/cli/doctor.rs` has them.
const EXIT_CODES_OF_DOCTOR: &[(u8, &str)] = &[
    (0, "nothing was found"),
    (1, "a warning was found"),
    (2, "a critical finding"),
    (3, "a part could not be examined, or wrong usage"),
];

fn exit_codes(command: &Command) -> &'static [(u8, &'static str)] {
    match command.get_name() {
        "doctor" => EXIT_CODES_OF_DOCTOR,
        "drain" => EXIT_CODES_OF_DRAIN,
        _other => EXIT_CODES,
    }
}

const HEAD: &str = "# Commands

`vipcast COMMAND --help` and `man vipcast-COMMAND` say the same. `packaging/completions/` completes commands and options in bash,
zsh and fish; the Debian package installs the pages and the completions.

A command prints its result on stdout, and errors on stderr.

";

/// What the man pages have from hand: it continues the description of `vipcast.8`, and then has more sections for it.
const MORE: &str = "more.roff";

/// All commands, complete, with nothing in them that depends on who asks.
fn commands() -> Command {
    let quiet = |arg: Arg| arg.hide_env_values(true);
    let mut all = vipcast::cli::command().disable_help_subcommand(true).mut_args(quiet);
    all = all.mut_subcommands(|command| command.mut_args(quiet));
    all.build();
    for command in all.get_subcommands() {
        assert!(
            !command.has_subcommands(),
            "{} has commands of its own, which nothing here shows",
            command.get_name()
        );
    }
    all
}

/// Compares a directory with what it should hold beside the files that are `kept`, or writes it.
fn settle_all(directory: &str, made: &BTreeMap<String, String>, kept: &[&str]) {
    let path = root().join(directory);
    for (name, text) in made {
        settle(&path.join(name), text);
    }
    let entries = fs::read_dir(&path).expect("the directory is there").flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let stale: BTreeSet<_> =
        names.filter(|name| !made.contains_key(name) && !kept.contains(&&**name)).collect();
    if env::var_os(WRITE).is_none() {
        assert!(stale.is_empty(), "{directory} has {stale:?}, which nothing makes: run `tests/run --write`");
    }
    for name in stale {
        fs::remove_file(path.join(&name)).unwrap_or_else(|error| panic!("cannot remove {name}: {error}"));
    }
}

// ── The reference ───────────────────────────────────────────────────────────────────────────────────────────────────

/// `` `-c`, `--config FILE` ``.
fn spelled(arg: &Arg) -> String {
    let values: Vec<&str> =
        arg.get_value_names().unwrap_or_default().iter().map(|name| name.as_str()).collect();
    let values = values.join(" ");
    if arg.is_positional() {
        return format!("`{values}`");
    }
    let range = arg.get_num_args().expect("it is built");
    let value = match (range.takes_values(), range.min_values()) {
        (false, _) => String::new(),
        (true, 0) => format!(" [{values}]"),
        (true, _) => format!(" {values}"),
    };
    let short = arg.get_short().map(|short| format!("`-{short}`, ")).unwrap_or_default();
    format!("{short}`--{}{value}`", arg.get_long().expect("every option has a long name"))
}

/// A row of the table of a command.
fn row(arg: &Arg) -> String {
    let mut help = arg.get_long_help().or(arg.get_help()).expect("every argument has a help").to_string();
    let takes_values = arg.get_num_args().expect("it is built").takes_values();
    if takes_values && !arg.get_default_values().is_empty() {
        write!(help, "; default `{}`", arg.get_default_values()[0].display()).expect("a string");
    }
    let choices: Vec<_> =
        arg.get_possible_values().iter().map(|value| format!("`{}`", value.get_name())).collect();
    if takes_values && !choices.is_empty() {
        write!(help, "; one of {}", choices.join(", ")).expect("a string");
    }
    if let Some(variable) = arg.get_env() {
        write!(help, "; or `{}` in the environment", variable.display()).expect("a string");
    }
    format!("| {} | {} |\n", spelled(arg), help.replace('\n', " ").replace('|', "\\|"))
}

fn reference() -> String {
    let mut text = HEAD.to_owned() + "| exit code | |\n| --- | --- |\n";
    for (code, meaning) in EXIT_CODES {
        writeln!(text, "| {code} | {meaning} |").expect("a string");
    }
    text.push_str("\n| command | what it does |\n| --- | --- |\n");
    let all = commands();
    let about = |command: &Command| command.get_about().expect("every command has a text").to_string();
    for command in all.get_subcommands() {
        let name = command.get_name();
        writeln!(text, "| [`{name}`](#vipcast-{name}) | {} |", about(command)).expect("a string");
    }
    for command in all.get_subcommands() {
        let mut command = command.clone();
        let usage = command.render_usage().to_string();
        let usage = usage.strip_prefix("Usage: ").expect("a usage");
        write!(text, "\n## vipcast {}\n\n{}.\n\n```\n{usage}\n```\n", command.get_name(), about(&command))
            .expect("a string");
        let shown = |arg: &&Arg| !arg.is_hide_set() && arg.get_id() != "help";
        let (arguments, options): (Vec<_>, Vec<_>) =
            command.get_arguments().filter(shown).partition(|arg| arg.is_positional());
        if !(arguments.is_empty() && options.is_empty()) {
            text.push_str("\n| argument or option | |\n| --- | --- |\n");
            text.extend(arguments.into_iter().chain(options).map(row));
        }
        let codes = exit_codes(&command);
        if codes != EXIT_CODES {
            text.push_str("\n| exit code | |\n| --- | --- |\n");
            for (code, meaning) in codes {
                writeln!(text, "| {code} | {meaning} |").expect("a string");
            }
        }
    }
    text
}

#[test]
fn the_reference_of_the_commands_is_that_of_the_program() {
    settle(&root().join("docs/commands.md"), &reference());
}

// ── Man pages ───────────────────────────────────────────────────────────────────────────────────────────────────────

/// The page of a command: no version and no date, so that it changes only with the command.
fn page(command: &Command) -> String {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    // An empty argument would not be quoted, and the next one would stand in its place.
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .section("8")
        .date(" ")
        .source("vipcast")
        .manual("System administration");
    let mut text = Vec::new();
    man.render(&mut text).expect("memory");
    let text = String::from_utf8(text).expect("UTF-8").replace(" \n", "\n");
    let (text, _version) = text.split_once(".SH VERSION\n").unwrap_or((&text, ""));
    let mut text = text.to_owned() + ".SH \"EXIT STATUS\"\n";
    for (code, meaning) in exit_codes(command) {
        write!(text, ".TP\n.B {code}\n{meaning}\n").expect("a string");
    }
    emboldened(&text)
}

/// What is between backquotes, which `man` would show as opening quotes, in bold.
fn emboldened(text: &str) -> String {
    let mut made = String::new();
    for (index, part) in text.split('`').enumerate() {
        made.push_str(if index == 0 {
            ""
        } else if index % 2 == 1 {
            "\\fB"
        } else {
            "\\fR"
        });
        made.push_str(part);
    }
    made
}

#[test]
fn the_man_pages_are_those_of_the_program() {
    let all = commands().subcommand_help_heading("COMMANDS").subcommand_value_name("COMMAND");
    let more = fs::read_to_string(root().join("packaging/man").join(MORE)).expect("more.roff is there");
    let (description, sections) = more.split_once(".SH ").expect("it has sections");
    let whole = page(&all).replacen(".SH OPTIONS\n", &format!("{description}.SH OPTIONS\n"), 1);
    assert!(whole.contains(description), "the page of the whole has no options");
    let mut pages = BTreeMap::from([("vipcast.8".to_owned(), format!("{whole}.SH {sections}"))]);
    for command in all.get_subcommands() {
        let page = page(command) + ".SH \"SEE ALSO\"\n.BR vipcast (8)\n";
        pages.insert(format!("vipcast-{}.8", command.get_name()), page);
    }
    settle_all("packaging/man", &pages, &[MORE]);
}

// ── Completions ─────────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn the_completions_are_those_of_the_program() {
    let files = [(Shell::Bash, "vipcast.bash"), (Shell::Zsh, "_vipcast"), (Shell::Fish, "vipcast.fish")];
    let made = files.map(|(shell, name)| {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut vipcast::cli::command(), "vipcast", &mut text);
        (name.to_owned(), String::from_utf8(text).expect("UTF-8"))
    });
    settle_all("packaging/completions", &BTreeMap::from(made), &[]);
}
