//! The files beside the program: versions named in several places, man pages, completions.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use super::root;

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("cannot read {path}: {error}"))
}

/// All files in git's keeping, or that would be, with their paths from the root.
pub(crate) fn tree() -> Vec<String> {
    fn walk(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(directory).expect("a directory of the tree").flatten() {
            let (name, path) = (entry.file_name(), entry.path());
            if path.is_dir() && !path.is_symlink() {
                if name != "target" && name != ".git" {
                    walk(&path, found);
                }
            } else {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&root(), &mut found);
    let relative =
        found.iter().map(|path| path.strip_prefix(root()).expect("below the root").display().to_string());
    relative.collect()
}

/// `1.91` as numbers, whatever follows it.
fn version(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = text.split_once('.')?;
    let minor: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[test]
fn whatever_names_a_version_of_rust_names_one_that_the_manifest_allows() {
    let manifest = env!("CARGO_PKG_RUST_VERSION");
    let least = version(manifest).expect("rust-version of the manifest");
    let mut named = Vec::new();
    for path in tree() {
        let name = path.rsplit('/').next().unwrap_or_default();
        let said = |line: &str| -> Option<String> {
            let line = line.trim();
            match name {
                "README.md" | "CONTRIBUTING.md" | "run" => {
                    let (_, after) = line.split_once("Rust 1.")?;
                    Some(format!("1.{after}"))
                }
                "Dockerfile" => (line.strip_prefix("ARG RUST="))
                    .or_else(|| line.strip_prefix("FROM rust:"))
                    .map(str::to_owned),
                "rust-toolchain" | "rust-toolchain.toml" => {
                    line.strip_prefix("channel = \"").map(str::to_owned)
                }
                "Cargo.toml" => line.strip_prefix("rust-version = \"").map(str::to_owned),
                _ => None,
            }
        };
        if !matches!(
            name,
            "README.md"
                | "CONTRIBUTING.md"
                | "run"
                | "Dockerfile"
                | "rust-toolchain"
                | "rust-toolchain.toml"
                | "Cargo.toml"
        ) || path.starts_with("bgp/fuzz/")
        {
            continue;
        }
        let said: Vec<String> =
            read(&path).lines().filter_map(said).filter(|said| !said.starts_with("${")).collect();
        named.extend(said.into_iter().map(|said| (path.clone(), said)));
    }
    let places: Vec<&str> = named.iter().map(|(path, _)| path.as_str()).collect();
    for place in ["Cargo.toml", "README.md", "packaging/Dockerfile"] {
        assert!(places.contains(&place), "{place} names no version of Rust: {named:?}");
    }
    for (path, said) in &named {
        let found = version(said).unwrap_or_else(|| panic!("{path}: {said:?} is no version"));
        assert!(found >= least, "{path}: Rust {said} is older than {manifest}, which Cargo.toml asks for");
        // What people install is what is needed, and not a number that was once true.
        assert!(path != "README.md" || found == least, "README.md: Rust {said}, Cargo.toml: {manifest}");
    }
}

/// The build of the image sees only the files that `.dockerignore` names.
#[test]
fn the_image_is_built_from_every_member_of_the_workspace() {
    let manifest = read("Cargo.toml");
    let members = manifest.split_once("members = [").and_then(|(_, rest)| rest.split_once(']'));
    let (members, _) = members.expect("the members of the workspace");
    let members = members.split(',').map(|member| member.trim().trim_matches('"'));
    let ignored = read(".dockerignore");
    for path in members.chain(["src", "build.rs", "Cargo.toml", "Cargo.lock"]) {
        let top = path.split('/').next().expect("a path");
        let named = format!("!{top}");
        assert!(ignored.lines().any(|line| line == named), ".dockerignore leaves out {path}");
    }
}

/// `198.51.100.0/24 le 32` lets every shorter prefix of it in, the /24 itself included.
#[test]
fn no_prefix_list_of_ours_lets_in_more_than_host_routes() {
    let mut lists = 0;
    for path in tree() {
        if !["docs/", "examples/", "packaging/", "README.md"].iter().any(|place| path.starts_with(place)) {
            continue;
        }
        for line in read(&path).lines() {
            lists += usize::from(line.contains("/24 ge 32"));
            assert!(!line.contains(" le 32") && !line.contains(" le 128"), "{path}: {line}");
        }
    }
    assert!(lists >= 4, "the prefix lists are somewhere else");
}

/// What a program prints, with whatever it complains about; `None` where it is not installed, which is said.
#[expect(clippy::print_stderr, reason = "a test that cannot run here says so")]
fn printed(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root()).env("LC_ALL", "C.UTF-8").env("MANWIDTH", "80");
    // Shells keep things at home.
    let output = match command.env("HOME", env!("CARGO_TARGET_TMPDIR")).output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            eprintln!("SKIPPED {}: {program} is missing", thread::current().name().unwrap_or_default());
            return None;
        }
        Err(error) => panic!("cannot run {program}: {error}"),
    };
    let (text, complaint) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} {arguments:?}: {}: {complaint}", output.status);
    Some(format!("{text}{complaint}"))
}

#[test]
fn man_renders_every_page_without_a_warning() {
    let pages: Vec<String> = tree()
        .into_iter()
        .filter(|path| path.starts_with("packaging/man/") && path.ends_with(".8"))
        .collect();
    assert!(pages.len() > 10, "{pages:?}");
    for page in pages {
        let Some(text) = printed("man", &["--warnings", "--local-file", &page]) else { return };
        let title = page.trim_start_matches("packaging/man/").trim_end_matches(".8").to_uppercase();
        let last = format!("{title}(8)");
        // A warning would come after the last line, and no backquote or escape is left in the text.
        assert!(text.starts_with(&last) && text.trim_end().ends_with(&last), "{page}:\n{text}");
        assert!(!text.contains(['`', '\\', '‘']), "{page}:\n{text}");
    }
}

#[test]
fn bash_completes_a_command() {
    let script = "source packaging/completions/vipcast.bash && complete -p vipcast >/dev/null || exit
        COMP_WORDS=(vipcast dr) COMP_CWORD=1
        _vipcast vipcast dr vipcast
        echo \"${COMPREPLY[*]}\"";
    let Some(text) = printed("bash", &["--norc", "-c", script]) else { return };
    assert_eq!(text, "drain\n");
}

#[test]
fn zsh_loads_the_completions() {
    let script = "fpath=($PWD/packaging/completions $fpath)
        autoload -Uz compinit && compinit -u -D && autoload -Uz +X _vipcast && print $_comps[vipcast]";
    let Some(text) = printed("zsh", &["-f", "-c", script]) else { return };
    assert_eq!(text, "_vipcast\n");
}

#[test]
fn fish_completes_a_command() {
    let script = "source packaging/completions/vipcast.fish; complete --do-complete 'vipcast dr'";
    let Some(text) = printed("fish", &["--no-config", "-c", script]) else { return };
    let words: Vec<&str> = text.lines().filter_map(|line| line.split('\t').next()).collect();
    assert_eq!(words, ["drain"], "{text}");
}

/// The unit with drop-ins below it, in a directory where systemd-analyze finds all.
fn unit(name: &str, drop_ins: &[&str]) -> PathBuf {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&place).expect("a directory");
    let text = read("packaging/vipcast.service");
    let (text, _install) = text.split_once("[Install]").expect("the unit is installed");
    // The program is not where the package has it.
    let text = text.replace("/usr/bin/vipcast ", "/bin/true ").replace("man:vipcast(8)", "man:systemd(1)");
    let path = place.join("vipcast.service");
    let more: Vec<String> =
        drop_ins.iter().map(|drop_in| read(&format!("packaging/systemd/{drop_in}"))).collect();
    fs::write(&path, format!("{text}\n{}", more.join("\n"))).expect("a unit");
    path
}

/// It fails when the exposure grows, and when it shrinks and the page does not say so.
#[test]
fn systemd_states_the_exposure_that_the_documentation_does() {
    let page = read("docs/security.md");
    let stated = |name: &str, drop_ins: &[&str], edit: fn(String) -> String| -> Option<String> {
        let unit = unit(name, drop_ins);
        fs::write(&unit, edit(fs::read_to_string(&unit).expect("written just now"))).expect("a unit");
        let arguments = ["security", "--offline=true", "--no-pager", unit.to_str().expect("a path")];
        let text = printed("systemd-analyze", &arguments)?;
        let (_, level) = text.split_once("Overall exposure level for vipcast.service: ")?;
        level.split_whitespace().next().map(str::to_owned)
    };
    let both = ["without-exec.conf", "without-proc.conf"];
    let as_it_is: fn(String) -> String = |unit| unit;
    let with_networks: fn(String) -> String = |unit| unit.replace("#IPAddress", "IPAddress");
    for (name, drop_ins, edit, exposure) in [
        ("exposure-exec", &both[..0], as_it_is, "3.1"),
        ("exposure-without-exec", &both[..1], as_it_is, "2.0"),
        ("exposure-without-proc", &both[..], as_it_is, "1.6"),
        ("exposure-with-networks", &both[..], with_networks, "1.5"),
    ] {
        let Some(level) = stated(name, drop_ins, edit) else { return };
        assert_eq!(level, exposure, "{name}");
        assert!(page.contains(&format!("| {exposure} |")), "docs/security.md does not say {exposure}");
    }
}

#[test]
fn systemd_finds_no_fault_in_the_unit_and_its_drop_ins() {
    let all = ["without-exec.conf", "without-proc.conf", "order.conf"];
    for (number, drop_ins) in [&all[..0], &all[..1], &all[..2], &all[2..]].into_iter().enumerate() {
        let unit = unit(&format!("verify-{number}"), drop_ins);
        let arguments = ["verify", "--man=no", "--recursive-errors=no", unit.to_str().expect("a path")];
        let Some(text) = printed("systemd-analyze", &arguments) else { return };
        assert_eq!(text, "", "{drop_ins:?}");
    }
}
