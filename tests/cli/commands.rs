//! The commands: their output and exit codes.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::config_errors::FIVE_MISTAKES;

/// Runs `vipcast` in a directory of its own, without what the environment could add.
struct Vipcast(PathBuf);

impl Vipcast {
    fn new(test: &str) -> Self {
        let directory = std::env::temp_dir().join(format!("vipcast-cli-{test}-{}", std::process::id()));
        fs::create_dir_all(&directory).expect("a temporary directory");
        Self(directory)
    }

    fn with(self, file: &str, text: &str) -> Self {
        fs::write(self.0.join(file), text).expect("a temporary file");
        self
    }

    /// Exit code, stdout and stderr, as one text.
    fn said(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vipcast"));
        command.args(arguments).current_dir(&self.0).env_clear().env("COLUMNS", "100");
        let Output { status, stdout, stderr } = command.output().expect("vipcast runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it prints UTF-8");
        let code = status.code().expect("it was not killed");
        format!("exit code {code}\n──── stdout\n{}──── stderr\n{}", text(stdout), text(stderr))
    }
}

impl Drop for Vipcast {
    fn drop(&mut self) {
        // Nothing is wrong with the test when it stays.
        let _kept = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn check_shows_every_mistake_on_stderr_and_exits_with_78() {
    let vipcast = Vipcast::new("mistakes").with("vipcast.yaml", FIVE_MISTAKES);
    insta::assert_snapshot!("check_mistakes", vipcast.said(&["check", "vipcast.yaml"]));
    insta::assert_snapshot!("check_mistakes_json", vipcast.said(&["check", "--json", "vipcast.yaml"]));
}

#[test]
fn check_counts_what_a_valid_configuration_has() {
    let text = "\
local_as: 65001
peers: {tor: {address: 192.0.2.1, peer_as: 65000}}
checks: {web: {tcp: \"127.0.0.1:80\"}}
services:
  web: {vips: [198.51.100.1], checks: [web]}
  dns: {vips: [198.51.100.2], checks: [web]}
";
    let vipcast = Vipcast::new("valid").with("vipcast.yaml", text);
    insta::assert_snapshot!("check_valid", vipcast.said(&["check", "vipcast.yaml"]));
    insta::assert_snapshot!("check_valid_json", vipcast.said(&["check", "--json", "vipcast.yaml"]));
}

#[test]
fn with_strict_a_warning_is_an_error() {
    let text = "local_as: 65001\npeers: {tor: {address: 192.0.2.1, peer_as: 65000}}\n";
    let nothing = Vipcast::new("strict-nothing").with("vipcast.yaml", &format!("{text}services: {{}}\n"));
    insta::assert_snapshot!("check_strict", nothing.said(&["check", "--strict", "vipcast.yaml"]));
    assert!(nothing.said(&["check", "vipcast.yaml"]).starts_with("exit code 0"));
    let json = nothing.said(&["check", "--strict", "--json", "vipcast.yaml"]);
    assert!(json.starts_with("exit code 78") && json.contains("\"severity\": \"warning\""), "{json}");
    let web = "services: {web: {vips: [198.51.100.1], checks: []}}\n";
    let valid = Vipcast::new("strict-valid").with("vipcast.yaml", &format!("{text}{web}"));
    assert!(valid.said(&["check", "--strict", "vipcast.yaml"]).starts_with("exit code 0"));
}

#[test]
fn a_missing_configuration_exits_with_78_from_check_and_from_run() {
    let vipcast = Vipcast::new("missing");
    insta::assert_snapshot!("check_missing", vipcast.said(&["check", "vipcast.yaml"]));
    insta::assert_snapshot!("run_missing", vipcast.said(&["run", "--config", "vipcast.yaml"]));
}

/// Exit code with both outputs full, and with both closed.
fn codes_when_nobody_reads(arguments: &str, directory: &std::path::Path) -> [Option<i32>; 2] {
    ["/dev/full 2>/dev/full", "&- 2>&-"].map(|outputs| {
        let line = format!("exec \"$0\" {arguments} >{outputs}");
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &line, env!("CARGO_BIN_EXE_vipcast")]).current_dir(directory);
        shell.status().expect("sh runs").code()
    })
}

#[test]
fn no_command_panics_when_its_output_is_full_or_closed() {
    let vipcast = Vipcast::new("outputs").with("broken.yaml", FIVE_MISTAKES);
    let valid = "local_as: 1\npeers: {tor: {address: 192.0.2.1, peer_as: 2}}\nservices: {}\n";
    let vipcast = vipcast.with("valid.yaml", valid);
    // What is closed takes everything; what is full is said with the exit code.
    assert_eq!(codes_when_nobody_reads("version", &vipcast.0)[0], Some(1));
    assert_eq!(codes_when_nobody_reads("check valid.yaml", &vipcast.0)[0], Some(1));
    for (arguments, code) in [
        ("check broken.yaml", 78),
        ("run broken.yaml", 78),
        ("status --socket /nonexistent", 1),
        ("explain 192.0.2.1x", 2),
        ("--no-such-option", 2),
    ] {
        assert_eq!(codes_when_nobody_reads(arguments, &vipcast.0), [Some(code); 2], "{arguments}");
    }
}

#[test]
fn run_and_check_take_the_file_with_and_without_its_option() {
    let vipcast = Vipcast::new("file").with("vipcast.yaml", FIVE_MISTAKES);
    let check = vipcast.said(&["check", "vipcast.yaml"]);
    assert!(check.starts_with("exit code 78"), "{check}");
    for same in
        [&["check", "--config", "vipcast.yaml"][..], &["run", "vipcast.yaml"], &["run", "-c", "vipcast.yaml"]]
    {
        assert_eq!(vipcast.said(same), check, "{same:?}");
    }
    let both = vipcast.said(&["run", "vipcast.yaml", "--config", "vipcast.yaml"]);
    assert!(both.starts_with("exit code 2"), "{both}");
}

#[test]
fn what_is_wrong_without_asking_the_daemon_is_a_mistake_of_the_command_line() {
    let vipcast = Vipcast::new("arguments");
    let (long, name) = ("x".repeat(257), "x".repeat(65));
    let cases: [(&[&str], &str); 13] = [
        (
            &["explain", "not-an-ip"],
            "'not-an-ip' for '<VIP>': \"not-an-ip\" is neither an IP address nor a prefix; \
             write it like 192.0.2.10 or 2001:db8::/48",
        ),
        (
            &["explain", "192.0.2.1O"],
            "'192.0.2.1O' for '<VIP>': \"192.0.2.1O\" is neither an IP address nor a prefix; \
             write it like 192.0.2.10 or 2001:db8::/48",
        ),
        (&["drain", "web/1"], "'web/1' for '[SERVICE]': a name has no blanks and no `/`"),
        (&["undrain", "web 1"], "'web 1' for '[SERVICE]': a name has no blanks and no `/`"),
        (&["promote", &name], &format!("'{name}' for '[SERVICE]': a name has 1 to 64 characters")),
        (&["drain", ""], "'' for '[SERVICE]': a name has 1 to 64 characters"),
        (&["drain", "web", "--for", "2"], "'2' for '--for <DURATION>': a duration needs a unit, like `3s`"),
        (&["drain", "web", "--for", "0s"], "'0s' for '--for <DURATION>': must be greater than zero"),
        (&["status", "--timeout", "0"], "'0' for '--timeout <DURATION>': must be greater than zero"),
        (
            &["status", "--timeout", "soon"],
            "'soon' for '--timeout <DURATION>': not a duration; \
             write it like `500ms`, `3s`, `1m30s`, `2h` or `1d`",
        ),
        (
            &["drain", "web", "--reason", &long],
            &format!(
                "'{long}' for '--reason <TEXT>': it has 257 characters, and 256 are allowed; \
                 shorten it, or give the number of a ticket"
            ),
        ),
        (
            &["check", "--probe", "./vipcast.yaml"],
            "'./vipcast.yaml' for '--probe [<SERVICE>]': a name has no blanks and no `/`; \
             the file comes first: check ./vipcast.yaml --probe",
        ),
        (
            &["check", "--probe", "my web"],
            "'my web' for '--probe [<SERVICE>]': a name has no blanks and no `/`",
        ),
    ];
    for (arguments, why) in cases {
        let said = format!(
            "exit code 2\n──── stdout\n──── stderr\nerror: invalid value {why}\n\nFor more information, try '--help'.\n"
        );
        assert_eq!(vipcast.said(arguments), said);
    }
}

#[test]
fn a_file_in_utf_16_is_called_that() {
    let vipcast = Vipcast::new("utf16");
    let text: Vec<u8> = "\u{feff}local_as: 1".encode_utf16().flat_map(u16::to_le_bytes).collect();
    fs::write(vipcast.0.join("vipcast.yaml"), text).expect("a temporary file");
    let said = vipcast.said(&["check", "vipcast.yaml"]);
    assert!(said.contains("the file is UTF-16"), "{said}");
    assert!(said.contains("hint: convert it: `iconv -f utf-16 -t utf-8 vipcast.yaml`"), "{said}");
}

#[test]
fn a_file_or_program_that_everyone_may_change_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let open = |path: &PathBuf| fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("chmod");
    let vipcast = Vipcast::new("writable");
    let program = vipcast.0.join("program");
    fs::write(&program, "#!/bin/sh\n").expect("a temporary file");
    open(&program);
    let text = format!(
        "local_as: 1\npeers: {{tor: {{address: 192.0.2.1, peer_as: 2}}}}\nchecks: {{c: {{exec: {{command: [{}]}}}}}}\n\
         services: {{web: {{vips: [198.51.100.1], checks: [c]}}}}\n",
        program.display()
    );
    let vipcast = vipcast.with("vipcast.yaml", &text);
    open(&vipcast.0.join("vipcast.yaml"));
    let said = vipcast.said(&["check", "vipcast.yaml"]);
    assert!(said.starts_with("exit code 0"), "{said}");
    assert!(said.contains("everyone may change this file"), "{said}");
    assert!(said.contains("and vipcast runs it"), "{said}");
}

/// A disk that errs, a mode that somebody has changed: systemd tries exit code 1 again, and never 78.
#[test]
fn a_configuration_that_cannot_be_read_may_pass_and_one_that_is_broken_does_not() {
    let vipcast = Vipcast::new("unread");
    let exit = |command: &str| {
        let said = vipcast.said(&[command, "--config", "vipcast.yaml"]);
        said.split_once('\n').map(|(code, _)| code.to_owned()).unwrap_or_default()
    };
    let exits = || [exit("run"), exit("check")];
    let text = "local_as: 1\npeers: {tor: {address: 192.0.2.1, peer_as: 2}}\nservices: {}\n";
    fs::write(vipcast.0.join("vipcast.yaml"), text).expect("a temporary file");
    fs::create_dir(vipcast.0.join("services.d")).expect("a directory");
    let drop_in = vipcast.0.join("services.d/web.yaml");
    // The memory at address zero: EIO, for root as well.
    std::os::unix::fs::symlink("/proc/self/mem", &drop_in).expect("a link");
    let said = vipcast.said(&["run", "--config", "vipcast.yaml"]);
    assert!(said.contains("cannot read `services.d/web.yaml`: input/output error"), "{said}");
    assert_eq!(exits(), ["exit code 1", "exit code 78"]);
    fs::write(vipcast.0.join("vipcast.yaml"), "local_as: [").expect("a temporary file");
    assert_eq!(exits(), ["exit code 78", "exit code 78"]);
}

#[test]
fn a_named_pipe_is_refused_at_once_and_that_of_a_shell_is_read() {
    let vipcast = Vipcast::new("pipes");
    let pipe = vipcast.0.join("vipcast.yaml");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
    for command in [&["check", "vipcast.yaml"][..], &["run", "--config", "vipcast.yaml"]] {
        let said = vipcast.said(command);
        assert!(said.starts_with("exit code 78\n"), "{said}");
        assert!(said.contains("cannot read `vipcast.yaml`: it is a pipe, not a file"), "{said}");
    }
    let text = "{local_as: 65001, peers: {tor: {address: 192.0.2.1, peer_as: 65000}}, services: {}}";
    let program = env!("CARGO_BIN_EXE_vipcast");
    for line in [format!("{program} check <(echo '{text}')"), format!("echo '{text}' | {program} check -")] {
        let Output { status, stdout, stderr } =
            Command::new("bash").args(["-c", &line]).output().expect("bash runs");
        let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
        assert!(
            status.success() && stdout.contains("1 peer, 0 checks, 0 services"),
            "{line}: {stdout}{stderr}"
        );
    }
}

#[test]
fn i8_run_refuses_a_broken_configuration_with_78() {
    let vipcast = Vipcast::new("broken").with("vipcast.yaml", FIVE_MISTAKES);
    let (check, run) =
        (vipcast.said(&["check", "vipcast.yaml"]), vipcast.said(&["run", "--config", "vipcast.yaml"]));
    assert_eq!(run, check, "both say the same");
}

#[test]
fn without_a_daemon_every_command_says_so_and_exits_with_1() {
    let vipcast = Vipcast::new("alone");
    let status = vipcast.said(&["status", "--socket", "control.sock"]);
    insta::assert_snapshot!("no_daemon", status);
    let others: [&[&str]; 5] = [
        &["status", "--json"],
        &["explain", "192.0.2.1"],
        &["drain", "web"],
        &["undrain", "--all"],
        &["reload"],
    ];
    for arguments in others {
        let said = vipcast.said(&[arguments, &["--socket", "control.sock"]].concat());
        assert_eq!(said, status, "{arguments:?}");
    }
}

#[test]
fn the_doctor_has_the_exit_codes_of_nagios() {
    let vipcast = Vipcast::new("doctor").with("vipcast.yaml", FIVE_MISTAKES);
    let code = |arguments: &[&str]| {
        let said = vipcast.said(&[&["doctor", "--socket", "none.sock"], arguments].concat());
        said.split_once('\n').map(|(code, _)| code.to_owned()).unwrap_or_default()
    };
    assert_eq!(code(&["vipcast.yaml"]), "exit code 2", "an invalid configuration");
    assert_eq!(code(&["--help"]), "exit code 0");
    for usage in [&["--no-such-option"][..], &["--ignore", "nonesuch"], &["vipcast.yaml", "--peer", "none"]] {
        assert_eq!(code(usage), "exit code 3", "{usage:?}");
    }
    // On a line each: other findings are about the host of the test.
    let said = vipcast.said(&["doctor", "vipcast.yaml", "--socket", "none.sock"]);
    assert!(said.contains("critical: vipcast.yaml: invalid-configuration\n"), "{said}");
    assert!(said.contains("\n    vipcast check vipcast.yaml\n"), "{said}");
}

#[test]
fn what_makes_no_sense_exits_with_2() {
    let vipcast = Vipcast::new("usage");
    insta::assert_snapshot!("usage_unknown_command", vipcast.said(&["anounce"]));
    insta::assert_snapshot!("usage_no_command", vipcast.said(&[]));
    insta::assert_snapshot!("usage_drain_what", vipcast.said(&["drain"]));
}

#[test]
fn version_is_one_line_and_the_same_for_the_flag() {
    let vipcast = Vipcast::new("version");
    let version = concat!("exit code 0\n──── stdout\nvipcast ", env!("CARGO_PKG_VERSION"), "\n──── stderr\n");
    assert_eq!(vipcast.said(&["version"]), version);
    assert_eq!(vipcast.said(&["--version"]), version);
}

#[test]
fn help_fits_in_a_hundred_columns() {
    let vipcast = Vipcast::new("help");
    let commands =
        ["run", "check", "demo", "status", "explain", "doctor", "drain", "undrain", "reload", "version"];
    let mut all = vipcast.said(&["--help"]);
    for command in commands {
        all += &format!("\n════ {command}\n{}", vipcast.said(&[command, "--help"]));
    }
    for line in all.lines() {
        assert!(line.chars().count() <= 100, "this line is too long: {line}");
    }
    insta::assert_snapshot!("help", all);
}

#[test]
fn probe_asks_the_checks_of_a_service_and_fails_when_one_does() {
    let text = "\
local_as: 65001
peers: {tor: {address: 192.0.2.1, peer_as: 65000}}
checks:
  well: {exec: {shell: \"echo all is well\"}}
  ill: {exec: {shell: \"echo not today >&2; exit 3\"}}
  vip: {tcp: \"127.0.0.1:1\", source_address: vip}
services:
  web: {vips: [198.51.100.1], checks: [well]}
  dns: {vips: [198.51.100.2], checks: [well, ill]}
  api: {vips: [198.51.100.3], checks: [vip]}
";
    let vipcast = Vipcast::new("probe").with("vipcast.yaml", text);
    let said = |arguments: &[&str]| {
        let said = vipcast.said(&[&["check", "vipcast.yaml", "--probe"], arguments].concat());
        // How long it took is not the same twice.
        let lines = said.lines().map(|line| {
            let words: Vec<&str> = line.split("  ").map(str::trim).filter(|word| !word.is_empty()).collect();
            let [name, result, took, rest @ ..] = words.as_slice() else { return line.to_owned() };
            assert!(took.ends_with(" ms") || took.ends_with(" s") || *took == "TOOK", "{line}");
            [&[*name, *result], rest].concat().join(" | ")
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!("probe_passed", said(&["web"]));
    insta::assert_snapshot!("probe_failed", said(&["dns"]));
    insta::assert_snapshot!("probe_nobody", said(&["mail"]));
    let unbound = said(&["api"]);
    let hint = "hint: 198.51.100.3 is not on this host; VIPs are bound when vipcast runs, and can be asked only then";
    assert!(unbound.lines().any(|line| line == hint), "{unbound}");
}
