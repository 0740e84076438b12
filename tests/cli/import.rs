//! Configurations of other programs, and the translation of each beside it: tests/cli/import/PROGRAM/NAME.*. Files
//! `NAME+MORE.*` are given together with `NAME.*`.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use proptest::prelude::*;
use vipcast::config::{self, Host};
use vipcast::import::{Program, Source, translate};

use super::root;

fn directory(program: Program) -> PathBuf {
    root().join("tests/cli/import").join(program.name())
}

/// The examples of a program: by name, each with its files.
fn examples(program: Program) -> BTreeMap<String, Vec<Source>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory(program))
        .expect("the examples are there")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| !path.to_string_lossy().ends_with(".vipcast.yaml"))
        .collect();
    // `a.conf` before `a+b.conf`.
    paths.sort_by_key(|path| {
        (path.file_stem().map(|stem| stem.to_string_lossy().replace('+', "~")), path.clone())
    });
    let mut examples: BTreeMap<String, Vec<Source>> = BTreeMap::new();
    for path in paths {
        let text = fs::read_to_string(&path).expect("it can be read");
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let example = name.split(['+', '.']).next().unwrap_or_default().to_owned();
        let example = if name.starts_with("group-3.4") { "group-3.4".to_owned() } else { example };
        examples.entry(example).or_default().push(Source { name, text });
    }
    examples
}

fn golden(program: Program, name: &str) -> PathBuf {
    directory(program).join(format!("{name}.vipcast.yaml"))
}

#[test]
fn every_example_is_translated_as_it_was_reviewed() {
    let mut count = 0;
    for program in Program::ALL {
        for (name, files) in examples(program) {
            let translated = translate(program, &files);
            assert_eq!(translated.refused.map(|found| found.to_string()), None, "{name}");
            let path = golden(program, &name);
            let mut there = fs::read_to_string(&path).unwrap_or_default();
            // Other tests read them meanwhile.
            if there != translated.text && std::env::var_os("VIPCAST_WRITE").is_some() {
                fs::write(&path, &translated.text).expect("it can be written");
                there.clone_from(&translated.text);
            }
            assert!(there == translated.text, "{} is another:\n{}", path.display(), translated.text);
            count += 1;
        }
    }
    assert!(count >= 30, "only {count} examples");
}

#[test]
fn every_translation_passes_check_offline() {
    for program in Program::ALL {
        for name in examples(program).keys() {
            if let Err(found) = config::load(&golden(program, name), Host::Offline) {
                panic!("{}: {found}", golden(program, name).display());
            }
        }
    }
}

/// What has no place in a translation is named with its line: every word of a file that is neither in the comments nor
/// in the configuration was passed over.
#[test]
fn no_directive_is_passed_over() {
    // What a program calls its sections, and what is so by default: it shows in the form of the translation.
    const FORM: [(Program, &[&str]); 5] = [
        (
            Program::ExaBgp,
            &[
                "process",
                "run",
                "neighbor",
                "template",
                "inherit",
                "group",
                "static",
                "route",
                "next-hop",
                "self",
                "family",
                "capability",
                "announce",
                "asn4",
                "unicast",
                "enable",
                "igp",
                "auto",
                "md5-base64",
                "origin",
            ],
        ),
        (
            Program::AnycastHealthchecker,
            &[
                "check_disabled",
                "on_disabled",
                "ipv4",
                "ipv6",
                "true",
                "false",
                "withdraw",
                "advertise",
                "no",
                "lo",
                "interface",
            ],
        ),
        (Program::GoCast, &["igp"]),
        (
            Program::Pathosd,
            &["schema", "v1", "withdraw", "enabled", "graceful_restart", "required", "passive", "tls"],
        ),
        (
            Program::Keepalived,
            &[
                "state",
                "master",
                "backup",
                "weight",
                "quorum",
                "track_script",
                "track_process",
                "track_interface",
                "virtual_ipaddress",
            ],
        ),
    ];
    let mut passed_over = Vec::new();
    let numbers_and_names = |word: &str| word.chars().all(|c| c.is_ascii_digit() || c == '.');
    for (program, form) in FORM {
        for (name, files) in examples(program) {
            if ["broken", "odd"].contains(&name.as_str()) {
                continue;
            }
            let translated = translate(program, &files).text.to_lowercase().replace(['-', '_'], "");
            for file in &files {
                for (number, line) in file.text.lines().enumerate() {
                    let line = line.split(['#', ';', '!']).next().unwrap_or_default();
                    let line = line.split_once(" healthcheck ").map_or(line, |(_, options)| options);
                    // A name of a block.
                    let line = match line.trim_start().split_once(' ') {
                        Some(("process" | "group" | "template" | "neighbor" | "inherit", rest)) => {
                            rest.trim_start().split_once(' ').map_or("", |(_, rest)| rest)
                        }
                        Some(_) | None => line,
                    };
                    for word in line.split(|c: char| !(c.is_alphanumeric() || "._-".contains(c))) {
                        let word = word.trim_matches(['.', '-', '_']).to_lowercase();
                        let plain = word.replace(['-', '_'], "");
                        let is_known = form.contains(&word.as_str()) || numbers_and_names(&word);
                        if plain.len() > 2 && !is_known && !translated.contains(&plain) && !carried(&plain) {
                            passed_over.push(format!(
                                "{}/{}:{}: `{word}`",
                                program.name(),
                                file.name,
                                number + 1
                            ));
                        }
                    }
                }
            }
        }
    }
    assert_eq!(passed_over, [""; 0], "neither carried over nor lost");
}

/// Words that are called something else here, durations in another unit, secrets, and parts of services that are lost as a
/// whole.
fn carried(word: &str) -> bool {
    const CALLED_OTHERWISE: &str = "routerid localaddress localas peeras holdtime incomingttl outgoingttl md5password \
        python3 python exabgp healthcheck ip cmd command withdrawondown interval fastinterval timeout rise fall name encoder text \
        community largecommunity localpreference noipsetup startip upmetric downmetric increase sourceinterface connect \
        extendedcommunity target passive config debug ipifname gracefulrestart ttlsecurity api processes \
        daemon checkcmd checkinterval checktimeout checkfail checkrise ipprefix default tool warn agent monitorinterval bgp remoteas \
        peerip localip communities origin apps vip vipconfig bgpcommunities monitors port exec \
        router asn neighbors peerasn vips prefix check type http url responsecodes policy failaction responseregex headers \
        proto tlsinsecure address dns names querytype lowerpriority aspathprepend ping dstip count maxlossratio tcp udp grpc \
        tlscacert enablemultihop multihopttl listenaddress listenport bfd desiredminimumtxinterval requiredminimumreceive \
        detectionmultiplier responsetext method path host service readyz \
        vrrpscript script vrrpinstance user virtualipaddress vrrptrackprocess process preemptdelay nopreempt initfail check \
        virtualrouterid priority advertint \
        ipv4 ipv6 true false bin db8 500ms 1m30s 10s 20s 00000000000000000000000000000000 abc secret";
    CALLED_OTHERWISE.split_whitespace().any(|other| other == word)
}

#[test]
fn the_command_prints_the_translation_and_counts_what_is_lost() {
    let file = directory(Program::ExaBgp).join("metrics.conf");
    let output = Command::new(env!("CARGO_BIN_EXE_vipcast"))
        .args(["import", "exabgp"])
        .arg(&file)
        .output()
        .expect("it runs");
    assert!(output.status.success());
    let name = file.display().to_string();
    let text = fs::read_to_string(golden(Program::ExaBgp, "metrics")).expect("it is there");
    assert_eq!(String::from_utf8_lossy(&output.stdout).replace(&name, "metrics.conf"), text);
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stderr));
    let missing =
        Command::new(env!("CARGO_BIN_EXE_vipcast")).args(["import", "gocast", "/nonesuch"]).output();
    let missing = missing.expect("it runs");
    assert_eq!(missing.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&missing.stderr),
        "error: cannot read `/nonesuch`: no such file or directory\n"
    );
}

/// An example with a few bytes changed.
fn damaged() -> impl Strategy<Value = (Program, String)> {
    let all: Vec<(Program, String)> = Program::ALL
        .into_iter()
        .flat_map(|program| examples(program).into_values().flatten().map(move |file| (program, file.text)))
        .collect();
    let change = (any::<prop::sample::Index>(), 0_usize..12, "[ -~\n\\{\\}\"'$%]{0,8}");
    (prop::sample::select(all), prop::collection::vec(change, 1..6)).prop_map(|((program, text), changes)| {
        let mut characters: Vec<char> = text.chars().collect();
        for (at, gone, put) in changes {
            let at = at.index(characters.len() + 1);
            let end = (at + gone).min(characters.len());
            characters.splice(at..end, put.chars());
        }
        (program, characters.into_iter().collect())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_the_file_says_the_result_is_a_configuration((program, text) in damaged()) {
        let translated = translate(program, &[Source { name: "x".into(), text }]);
        prop_assert!(translated.refused.is_none(), "{}\n{}", translated.text, translated.refused.unwrap_or_default());
    }

    #[test]
    fn no_text_is_too_odd(text in "\\PC{0,200}") {
        for program in Program::ALL {
            let translated = translate(program, &[Source { name: "x".into(), text: text.clone() }]);
            prop_assert!(translated.refused.is_none(), "{}", translated.text);
        }
    }
}

#[test]
fn the_directories_are_those_of_the_programs() {
    let there: Vec<String> = fs::read_dir(root().join("tests/cli/import"))
        .expect("it is there")
        .map(|entry| entry.expect("it can be read").file_name().to_string_lossy().into_owned())
        .collect();
    for name in there {
        assert!(Program::ALL.iter().any(|program| program.name() == name), "{name}");
    }
}
