//! The router's side of a configuration, for each kind of router: tests/cli/recipe/CONFIGURATION.KIND.txt. That the first
//! four do what they say is shown in `tests/compose`, by the routers themselves.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use vipcast::config::{self, Host};
use vipcast::recipe::{Kind, recipes};

use super::root;

fn directory() -> PathBuf {
    root().join("tests/cli/recipe")
}

#[test]
fn a_recipe_for_each_kind_of_router_is_as_it_was_reviewed() {
    for name in ["rack", "minimal"] {
        let path = directory().join(name).with_extension("yaml");
        let loaded = config::load(&path, Host::Offline).unwrap_or_else(|found| panic!("{found}"));
        for kind in Kind::ALL {
            let made = recipes(kind, &loaded.config, None, &BTreeMap::new());
            let path = directory().join(format!("{name}.{}.txt", kind.name()));
            let mut there = fs::read_to_string(&path).unwrap_or_default();
            // Another test reads them meanwhile.
            if there != made && std::env::var_os("VIPCAST_WRITE").is_some() {
                fs::write(&path, &made).expect("it can be written");
                there.clone_from(&made);
            }
            assert!(there == made, "{} is another:\n{made}", path.display());
        }
    }
}

#[test]
fn only_recipes_that_were_run_say_so() {
    let path = directory().join("rack.yaml");
    let config = config::load(&path, Host::Offline).unwrap_or_else(|found| panic!("{found}")).config;
    for kind in Kind::ALL {
        let made = recipes(kind, &config, Some("tor"), &BTreeMap::new());
        let was_run = matches!(kind, Kind::Frr | Kind::Bird | Kind::GoBgp | Kind::OpenBgpd);
        assert_eq!(made.contains("its tests run it on"), was_run, "{made}");
        assert_eq!(made.contains("NOT run against the real thing"), !was_run, "{made}");
        assert!(!made.contains("correct-horse"), "{made}");
        assert!(made.contains("PASSWORD") && !made.contains("2001:db8:ffff::1"), "{made}");
        for vip in ["198.51.100.10/32", "203.0.113.0/25", "2001:db8::10/128", "2001:db8:5::/64"] {
            assert!(made.contains(vip), "{vip}: {made}");
        }
    }
}

#[test]
fn the_command_prints_one_router_or_names_those_that_there_are() {
    let vipcast = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vipcast"));
        let output = command.arg("recipe").args(arguments).arg(directory().join("rack.yaml")).output();
        let output = output.expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let all = fs::read_to_string(directory().join("rack.bird.txt")).expect("it is there");
    assert_eq!(vipcast(&["bird"]), (Some(0), all.clone(), String::new()));
    let (_, one, _) = vipcast(&["bird", "--peer", "core"]);
    assert!(all.starts_with(&one) && one.len() < all.len(), "{one}");
    let refused = "error: there is no peer spine in the configuration, which has core, tor\n";
    assert_eq!(vipcast(&["bird", "--peer", "spine"]), (Some(1), String::new(), refused.to_owned()));
}
