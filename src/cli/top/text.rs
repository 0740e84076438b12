//! Text on a screen: spans with a tone, on lines of a fixed width.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};
use vipcast_node::plain::plain;

/// The meaning of a text. The symbols say the same without colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// Neither good nor bad.
    #[default]
    Plain,
    /// Of less importance.
    Quiet,
    /// Worth a look.
    Warn,
    /// Trouble.
    Bad,
}

impl Tone {
    /// The symbol before a state.
    pub(super) fn symbol(self) -> &'static str {
        match self {
            Self::Good => "● ",
            Self::Warn => "▲ ",
            Self::Bad => "■ ",
            Self::Plain | Self::Quiet => "",
        }
    }
}

/// A text with one look.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Span {
    pub(super) text: String,
    pub(super) tone: Tone,
    pub(super) bold: bool,
    /// Foreground and background exchanged, as the terminal has them.
    pub(super) inverse: bool,
}

/// A line of a screen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Line(pub(super) Vec<Span>);

impl Line {
    /// Appends a text. The daemon, a peer or an operator may have made it, so what would act on a terminal is written out.
    pub(super) fn add(mut self, tone: Tone, text: &str) -> Self {
        self.0.push(Span { text: plain(text), tone, ..Span::default() });
        self
    }

    pub(super) fn bold(mut self, text: &str) -> Self {
        self.0.push(Span { text: plain(text), bold: true, ..Span::default() });
        self
    }

    /// The same line with all of it inverse.
    pub(super) fn inverse(mut self) -> Self {
        self.0.iter_mut().for_each(|span| span.inverse = true);
        self
    }

    /// Columns on the terminal.
    pub(super) fn width(&self) -> usize {
        self.0.iter().map(|span| span.text.width()).sum()
    }

    /// Cut to a width; `…` stands for the rest.
    pub(super) fn cut(mut self, width: usize) -> Self {
        if self.width() <= width {
            return self;
        }
        let mut room = width;
        let mut kept = Vec::new();
        for mut span in std::mem::take(&mut self.0) {
            let is_last = span.text.width() >= room;
            if is_last {
                // One column for the ellipsis, also if the next span would just fit.
                span.text = shortened(&span.text, room);
                kept.push(span);
                break;
            }
            room -= span.text.width();
            kept.push(span);
        }
        Self(kept)
    }

    /// Filled with blanks to a width.
    pub(super) fn filled(mut self, width: usize) -> Self {
        let missing = width.saturating_sub(self.width());
        let inverse = self.0.last().is_some_and(|span| span.inverse);
        if missing > 0 {
            self.0.push(Span { text: " ".repeat(missing), inverse, ..Span::default() });
        }
        self
    }

    /// This on the left, `right` at the end of the line, if there is room for both.
    pub(super) fn with_right(self, right: Self, width: usize) -> Self {
        let room = width.saturating_sub(right.width() + 1);
        if room < width / 3 || right.width() > width {
            return self.cut(width);
        }
        let mut line = self.cut(room).filled(width.saturating_sub(right.width()));
        line.0.extend(right.0);
        line
    }
}

/// The text in at most `room` columns, its end replaced by `…` where it was cut.
fn shortened(text: &str, room: usize) -> String {
    let (mut short, mut left) = (String::new(), room.saturating_sub(1));
    for c in text.chars() {
        let width = c.width().unwrap_or(0);
        if width > left {
            break;
        }
        left -= width;
        short.push(c);
    }
    if room > 0 {
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(line: &Line) -> String {
        line.0.iter().map(|span| span.text.as_str()).collect()
    }

    #[test]
    fn a_line_is_never_wider_than_its_screen() {
        let line = || Line::default().add(Tone::Good, "● up").add(Tone::Plain, " 東京 and more");
        for width in 0..30 {
            let cut = line().cut(width);
            assert!(cut.width() <= width, "{width}: {:?}", text(&cut));
            let both = line().with_right(Line::default().bold("live"), width);
            assert!(both.width() <= width, "{width}: {:?}", text(&both));
        }
        assert_eq!(text(&line().cut(8)), "● up 東…");
        assert_eq!(text(&line().with_right(Line::default().bold("live"), 25)), "● up 東京 and more   live");
    }

    #[test]
    fn what_would_act_on_the_terminal_is_written_out() {
        assert_eq!(text(&Line::default().add(Tone::Plain, "\x1b[2J")), "\\u{1b}[2J");
    }
}
