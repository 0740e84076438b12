//! The screen in pictures: what it shows, at which size, after which keys.

use serde_json::json;

use super::draw::draw;
use super::rows::Pane;
use super::state::{Key, News, Then, Top};
use super::text::{Line, Tone};
use crate::control::api::{Event, Status, VipState};

fn status() -> Status {
    serde_json::from_str(include_str!("../../control/api/golden/status.json")).unwrap()
}

fn event(seq: u64, level: &str, message: &str, vip: &str) -> Event {
    let event = json!({
        "seq": seq, "at": format!("2026-11-27T12:00:{seq:02}.123Z"), "event": "announced", "level": level,
        "message": message, "vip": vip,
    });
    serde_json::from_value(event).unwrap()
}

fn events() -> Vec<Event> {
    vec![
        event(1, "info", "VIP announced", "192.0.2.1/32"),
        event(2, "debug", "only of interest for an examination", "192.0.2.1/32"),
        event(3, "warning", "VIP withdrawn", "192.0.2.2/32"),
    ]
}

fn top(columns: usize, lines: usize) -> Top {
    let mut top = Top::new((columns, lines));
    top.take([News::Status(Box::new(status()))]);
    top.take([News::Events(events())]);
    top
}

/// The screen as text; each line ends with `|` at the width of the screen.
fn picture(top: &Top) -> String {
    let lines = draw(top);
    assert_eq!(lines.len(), top.size.1, "as many lines as the screen has");
    let text = |line: &Line| {
        assert!(line.width() <= top.size.0, "{line:?}");
        let text: String = line.0.iter().map(|span| span.text.as_str()).collect();
        format!("{}{}|\n", text.trim_end(), " ".repeat(top.size.0 - text.trim_end().chars().count()))
    };
    lines.iter().map(text).collect()
}

/// The looks of the characters: good, warn, bad and quiet; capitals where they are inverse, `*` bold.
fn looks(top: &Top) -> String {
    let look = |line: Line| {
        let spans = line.0.into_iter().flat_map(|span| {
            let mark = match span.tone {
                _ if span.bold => '*',
                Tone::Good => 'g',
                Tone::Warn => 'w',
                Tone::Bad => 'b',
                Tone::Quiet => 'q',
                Tone::Plain => '.',
            };
            let mark = if span.inverse && mark == '.' { '#' } else { mark };
            span.text.chars().map(move |_| mark).collect::<Vec<_>>()
        });
        spans.collect::<String>() + "\n"
    };
    draw(top).into_iter().map(look).collect()
}

fn press(top: &mut Top, keys: &str) {
    for key in keys.chars() {
        assert_eq!(top.press(Key::Char(key)), Then::GoOn, "{key}");
    }
}

#[test]
fn a_screen_of_80_by_24() {
    let top = top(80, 24);
    insta::assert_snapshot!("screen_80x24", picture(&top));
    insta::assert_snapshot!("looks_80x24", looks(&top));
}

#[test]
fn a_screen_of_120_by_40() {
    insta::assert_snapshot!("screen_120x40", picture(&top(120, 40)));
}

#[test]
fn a_screen_of_40_by_12_has_one_pane() {
    let mut top = top(40, 12);
    insta::assert_snapshot!("screen_40x12", picture(&top));
    top.press(Key::Tab);
    top.press(Key::Tab);
    insta::assert_snapshot!("screen_40x12_peers", picture(&top));
}

#[test]
fn help_filter_and_a_lost_connection_are_shown() {
    let mut top = top(80, 24);
    press(&mut top, "?");
    insta::assert_snapshot!("help", picture(&top));
    press(&mut top, "x/WEB");
    assert!(top.typing && !top.help);
    insta::assert_snapshot!("typing", picture(&top));
    top.press(Key::Enter);
    top.take([News::Lost(
        "cannot reach the daemon on /run/vipcast/control.sock: connection refused".to_owned(),
    )]);
    insta::assert_snapshot!("lost", picture(&top));
    top.press(Key::Escape);
    top.take([News::Status(Box::new(status()))]);
    assert_eq!(picture(&top), picture(&self::top(80, 24)));
}

#[test]
fn a_node_that_observes_says_what_it_would_announce() {
    let mut status = status();
    status.observing = true;
    status.peers.clear();
    for vip in &mut status.vips {
        if vip.state == VipState::Withheld {
            continue;
        }
        vip.state = VipState::Ready;
        vip.sent_to = 0;
        vip.not_at.clear();
    }
    let mut top = Top::new((80, 16));
    top.take([News::Status(Box::new(status))]);
    insta::assert_snapshot!("observing", picture(&top));
}

#[test]
fn rows_are_built_once_for_all_news_and_only_where_there_are_some() {
    let mut top = top(80, 24);
    let flush = || {
        (0..256).map(|seq| News::Event(Box::new(event(seq % 60, "info", "VIP withdrawn", "192.0.2.1/32"))))
    };
    let status = || News::Status(Box::new(status()));
    let built = |top: &mut Top, news: Vec<News>| {
        top.built.clear();
        top.take(news);
        top.built.clone()
    };
    assert_eq!(built(&mut top, flush().collect()), [Pane::Events]);
    assert_eq!(built(&mut top, flush().chain([status(), status()]).collect()), Pane::ALL);
    assert_eq!(built(&mut top, vec![status()]), [Pane::Vips, Pane::Checks, Pane::Peers]);
    let debug = News::Event(Box::new(event(1, "debug", "of no interest here", "192.0.2.1/32")));
    assert_eq!(built(&mut top, vec![News::Lost("gone".to_owned()), debug]), []);
    press(&mut top, "p");
    assert_eq!(built(&mut top, flush().chain([status()]).collect()), [], "paused");
    press(&mut top, "p");
    assert_eq!(top.built, Pane::ALL);
}

#[test]
fn a_pause_keeps_the_screen_and_ends_with_the_latest() {
    let mut top = top(80, 24);
    let before = picture(&top);
    press(&mut top, "p");
    top.take([News::Event(Box::new(event(4, "error", "reload failed", "192.0.2.3/32")))]);
    assert_eq!(picture(&top).replace("paused", "live"), before.replace("  live", "live"));
    press(&mut top, "p");
    assert!(picture(&top).contains("12:00:04  ■ reload failed vip=192.0.2.3/32"), "{}", picture(&top));
}

#[test]
fn scrolling_stays_inside_the_rows_of_the_chosen_pane() {
    let mut top = top(80, 24);
    let mut many = status();
    let one = many.vips[0].clone();
    many.vips = (0..200)
        .map(|n| crate::control::api::Vip { vip: format!("10.0.0.{n}").parse().unwrap(), ..one.clone() })
        .collect();
    top.take([News::Status(Box::new(many))]);
    let first = |top: &Top| top.first(top.pane);
    let room = top.layout()[0].1;
    let story = [
        (Key::Up, 0),
        (Key::Down, 1),
        (Key::Char('j'), 2),
        (Key::Char('k'), 1),
        (Key::PageDown, room),
        (Key::PageUp, 1),
        (Key::End, 200 - room),
        (Key::Down, 200 - room),
        (Key::Home, 0),
        (Key::Char('G'), 200 - room),
    ];
    for (key, wanted) in story {
        assert_eq!((top.press(key), first(&top)), (Then::GoOn, wanted), "{key:?}");
    }
    top.take([News::Status(Box::new(status()))]);
    assert_eq!(first(&top), 14 - top.layout()[0].1, "most rows have gone");
    for size in [(1, 1), (0, 0), (20, 3), (300, 100)] {
        top.size = size;
        picture(&top);
    }
    assert_eq!(top.press(Key::Char('q')), Then::Quit);
    press(&mut top, "?");
    assert_eq!(top.press(Key::Interrupt), Then::Quit);
}

#[test]
fn text_of_a_peer_does_nothing_on_the_terminal() {
    let mut status = status();
    let peer = status.peers.values_mut().next().unwrap();
    (peer.state, peer.last_error) = ("Idle".into(), Some("\x1b[2J\x1b]0;title\x07".to_owned()));
    let mut top = top(120, 40);
    top.take([News::Status(Box::new(status))]);
    assert!(!picture(&top).contains(['\x1b', '\x07']), "{}", picture(&top));
}
