//! One event on its way to the queue: always one line.

use std::cell::RefCell;
use std::io;

use tracing_subscriber::fmt::MakeWriter;

thread_local! {
    /// On the thread that writes, the line with the number of missing lines: it must not go through the queue.
    static ASIDE: RefCell<Option<Vec<u8>>> = const { RefCell::new(None) };
}

/// The writer of the subscriber. Never fails and never waits.
#[derive(Debug)]
pub(super) struct Lines;

/// Collects one event, and sends it when it is dropped.
#[derive(Debug, Default)]
pub(super) struct Line(Vec<u8>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line::default()
    }
}

impl io::Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let line = one_line(&self.0);
        ASIDE.with_borrow_mut(|aside| match (aside, super::THREAD.get()) {
            (Some(aside), _) => aside.extend_from_slice(&line),
            (None, Some(thread)) => thread.push(line.into_boxed_slice()),
            (None, None) => {}
        });
    }
}

/// The line that `log` writes, in the form of the log, without the queue. Empty without a subscriber.
pub(super) fn aside(log: impl FnOnce()) -> Vec<u8> {
    ASIDE.set(Some(Vec::new()));
    log();
    ASIDE.take().unwrap_or_default()
}

/// A value may have line ends, but the journal and every reader take each line for a separate event.
fn one_line(text: &[u8]) -> Vec<u8> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    let mut line = Vec::with_capacity(text.len() + 1);
    for byte in text {
        match byte {
            b'\n' => line.extend_from_slice(br"\n"),
            b'\r' => line.extend_from_slice(br"\r"),
            byte => line.push(*byte),
        }
    }
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn an_event_is_one_line_whatever_is_in_it() {
        assert_eq!(one_line(b"plain\n"), b"plain\n");
        assert_eq!(one_line(b"two\nlines\r\n"), b"two\\nlines\\r\n");
        assert_eq!(one_line(b""), b"\n");
    }
}
