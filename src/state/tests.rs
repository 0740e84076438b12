use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use vipcast_node::engine::{Order, Override, Scoped};
use vipcast_node::names::ServiceName;

use super::*;

pub(super) fn scratch(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("vipcast-state-{}-{name}", std::process::id()));
    drop(fs::remove_dir_all(&path));
    fs::create_dir_all(&path).unwrap();
    path
}

pub(super) fn drained(service: &str) -> Overrides {
    let order = Order { by: "alice".to_owned(), reason: Some("kernel update".to_owned()) };
    let drain = Override { order, since: "2026-11-22T12:00:00Z".parse().unwrap(), ends: None };
    let drains =
        Scoped { everything: None, services: [(ServiceName::from(service), Arc::new(drain))].into() };
    Overrides { drains, ..Overrides::default() }
}

fn open(path: &Path) -> StateDir {
    StateDir::open(path, 0o700).unwrap()
}

#[test]
fn a_second_daemon_is_refused_and_told_who_has_it() {
    let path = scratch("lock");
    let first = open(&path);
    let error = StateDir::open(&path, 0o700).unwrap_err();
    let pid = std::process::id();
    assert_eq!(
        error.to_string(),
        format!("another vipcast (process {pid}) runs with the state directory {}", path.display())
    );
    drop(first);
    open(&path);
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn a_directory_that_is_made_is_the_owners_alone() {
    let path = scratch("mode").join("state");
    open(&path);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    fs::remove_dir_all(path.parent().unwrap()).unwrap();
}

#[test]
fn what_was_announced_is_left_once_and_for_the_process_that_follows_by_execve_only() {
    let path = scratch("announced");
    let state = open(&path);
    assert_eq!(state.take_announced().unwrap(), None);
    let vips = BTreeSet::from(["192.0.2.10/32".parse().unwrap(), "2001:db8::/48".parse().unwrap()]);
    state.leave_announced(&vips).unwrap();
    assert_eq!(state.take_announced().unwrap(), Some(vips));
    assert_eq!(state.take_announced().unwrap(), None, "it is used up");
    // A later start in this boot has another id or, as process 1 of a container, another start time.
    let vips = BTreeSet::from(["192.0.2.10/32".parse().unwrap()]);
    for field in ["id", "started"] {
        state.leave_announced(&vips).unwrap();
        let mut note: Value = serde_json::from_slice(&fs::read(path.join(RESTART)).unwrap()).unwrap();
        note["process"][field] = (note["process"][field].as_u64().unwrap() + 1).into();
        fs::write(path.join(RESTART), note.to_string()).unwrap();
        assert_eq!(state.take_announced().unwrap(), None, "{field}");
    }
    fs::write(path.join(RESTART), r#"{"boot": "another", "vips": ["192.0.2.10/32"]}"#).unwrap();
    assert_eq!(state.take_announced().unwrap(), None, "a reboot has bound nothing");
    assert!(!path.join(RESTART).exists());
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn i12_what_was_saved_comes_back() {
    let path = scratch("saved");
    let state = open(&path);
    assert_eq!(
        (state.overrides().unwrap().0, state.held_back().unwrap()),
        (Overrides::default(), HeldBack::default())
    );
    let [held, other]: [Vip; 2] = ["192.0.2.10/32", "192.0.2.11/32"].map(|vip| vip.parse().unwrap());
    let held_back = HeldBack { held: [held].into(), watched: [held, other].into() };
    state.save_held_back(&held_back).unwrap();
    state.save_overrides(&drained("web")).unwrap();
    assert_eq!((state.overrides().unwrap().0, state.held_back().unwrap()), (drained("web"), held_back));
    fs::remove_dir_all(path).unwrap();
}

/// Damages each file.
type Damage = fn(&Path);

#[test]
fn whatever_is_in_the_place_of_a_state_file_it_is_set_aside_and_the_daemon_starts() {
    let damages: [(&str, Damage); 9] = [
        ("empty", |path| fs::write(path, "").unwrap()),
        ("zeros", |path| fs::write(path, [0; 100]).unwrap()),
        ("truncated", |path| fs::write(path, r#"{"web": {"by": "al"#).unwrap()),
        ("of another type", |path| fs::write(path, "[1, 2]").unwrap()),
        ("not UTF-8", |path| fs::write(path, [b'{', 0xff, b'}']).unwrap()),
        ("a directory", |path| fs::create_dir(path).unwrap()),
        ("a link", |path| std::os::unix::fs::symlink("/etc/hostname", path).unwrap()),
        ("a pipe", |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        ("huge", |path| File::create(path).unwrap().set_len(1 << 40).unwrap()),
    ];
    for (what, damage) in damages {
        let path = scratch("damaged");
        for name in [DRAINS, OVERRIDES, HELD, RESTART] {
            damage(&path.join(name));
        }
        let state = open(&path);
        let left = state.left().unwrap();
        assert_eq!((left.overrides, left.held, left.announced), Default::default(), "{what}");
        for name in [DRAINS, OVERRIDES, HELD, RESTART] {
            let aside = |entry: &fs::DirEntry| {
                entry.file_name().to_str().unwrap().starts_with(&format!("{name}.damaged-"))
            };
            assert_eq!(
                fs::read_dir(&path).unwrap().map(Result::unwrap).filter(aside).count(),
                1,
                "{name}: {what}"
            );
        }
        state.save_overrides(&drained("web")).unwrap();
        assert_eq!(state.overrides().unwrap().0, drained("web"), "{what}");
        fs::remove_dir_all(path).unwrap();
    }
}

#[test]
fn what_a_newer_version_wrote_is_kept_beside_what_replaces_it() {
    let path = scratch("newer");
    let text = r#"{"web": {"by": "alice", "since": "2026-11-22T12:00:00Z", "level": 3}, "dns": {"v": 9}}"#;
    fs::write(path.join(DRAINS), text).unwrap();
    let state = open(&path);
    let (overrides, forgotten) = state.overrides().unwrap();
    assert_eq!(overrides.drains.services.len(), 1, "what can be understood holds");
    assert_eq!(
        forgotten.iter().map(|(service, _)| service).collect::<Vec<_>>(),
        ["drain of dns"],
        "what cannot is told"
    );
    state.save_overrides(&overrides).unwrap();
    let copies = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path());
    let copies: Vec<_> = copies.filter(|path| path.to_str().unwrap().contains(".damaged-")).collect();
    assert_eq!(copies.len(), 1);
    assert_eq!(fs::read_to_string(&copies[0]).unwrap(), text);
    fs::remove_dir_all(path).unwrap();
}

#[test]
fn a_file_that_cannot_be_read_for_a_moment_is_not_taken_for_a_damaged_one() {
    let kernel = |errno: Errno| is_shortage(&io::Error::from(errno));
    for passing in [Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM, Errno::ESTALE] {
        assert!(kernel(passing), "{passing}");
    }
    for lasting in [Errno::EIO, Errno::ELOOP, Errno::EACCES] {
        assert!(!kernel(lasting), "{lasting}");
    }
    assert!(!is_shortage(&io::Error::other("it is no regular file")));
}
